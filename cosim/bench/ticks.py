"""What an RTOS tick costs: the same program on the M4 with a SysTick of 1 kHz and without.

The tick's handler returns at once, so that what is measured is the exception, its entry and its return.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from cosim.access import Initiator
from cosim.bench.computing import M4, MIPS
from cosim.bench.measurement import Finding, Measurement, Ratio, Sizes, processor_seconds
from cosim.bench.programs import M4_SPIN, read_program
from cosim.engine import CoreState
from cosim.errors import EngineError
from cosim.events import EventLog
from cosim.scripts import loading, start
from cosim.soc import Soc
from cosim.testing import default_signer

_SECTION = "ticks"
TICKS_PER_SECOND = 1000
#: Where the M4 begins instead of at the program, as both cores see it; the vectors as the A7 sees them.
_STUB, _VECTORS = 0x1001E000, 0x38000000
_SYSTICK_CSR = 0xE000E010
_SYSTICK_VECTOR = 15
_ENABLED = 7  # ENABLE, TICKINT, CLKSOURCE


class TickingSoc:
    """The M4 computing, interrupted by its SysTick or not, on one SoC: others run at other rates in one process."""

    def __init__(self) -> None:
        self._soc = soc = Soc()
        self._program = read_program(M4_SPIN)
        image = default_signer().sign(self._program.elf)
        soc.run_script(loading(soc.stage(image), len(image)))
        self._loaded = soc.snapshot()

    def begin(self, ticks_per_second: int) -> None:
        """Start the M4 anew, with so many interrupts a second of virtual time; 0: none."""
        soc = self._soc
        soc.restore(self._loaded)
        entry = struct.unpack("<2I", soc.debug_read(_VECTORS, 8))[1]
        reload = MIPS[M4] * 10**6 // ticks_per_second - 1 if ticks_per_second else 0
        stub = _stub(reload, _ENABLED if ticks_per_second else 0, entry)
        # Between LOAD and START, past the firewall: only what the M4 executes shall differ.
        soc.bus.write(Initiator.DEBUG, _STUB, stub + _BX_LR)
        soc.bus.write(Initiator.DEBUG, _VECTORS + 4, struct.pack("<I", _STUB | 1))
        handler = struct.pack("<I", _STUB + len(stub) | 1)
        soc.bus.write(Initiator.DEBUG, _VECTORS + 4 * _SYSTICK_VECTOR, handler)
        soc.run_script([start()])
        if soc.m4.state is not CoreState.RUNNING:
            raise EngineError("the benchmark wants the M4 to run", core=soc.m4.name)

    @property
    def log(self) -> EventLog:
        """The SoC's events."""
        return self._soc.log

    def run(self, instructions: int) -> float:
        """Go on for that many instructions of the M4; million instructions per second of processor time."""
        before = self._soc.m4.retired
        taken, _ = processor_seconds(lambda: self._soc.run(None, instructions * 10**6 // MIPS[M4]))
        return (self._soc.m4.retired - before) / taken / 1e6


def measure_ticks(sizes: Sizes) -> Iterator[Finding]:
    """The M4's rate without and with ticks, the best of runs in changing order.

    Every third start the M4 runs faster by a fifth, with ticks and without: Unicorn's table of pages has fewer
    collisions then.
    """
    rates = dict.fromkeys((0, TICKS_PER_SECOND, 100 * TICKS_PER_SECOND), 0.0)
    soc = TickingSoc()
    order = list(rates)
    for _ in range(2 * sizes.repeats):
        order.append(order.pop(0))
        for ticks in order:
            soc.begin(ticks)
            soc.run(sizes.native_instructions // 10)
            rates[ticks] = max(rates[ticks], soc.run(sizes.native_instructions))
    how, none = f"best of {2 * sizes.repeats}", rates.pop(0)
    yield Measurement(_SECTION, "M4 alone, no SysTick", none, "MIPS", how)
    for ticks, rate in rates.items():
        name = f"M4 alone, SysTick of {ticks // 1000} kHz"
        yield Measurement(_SECTION, name, rate, "MIPS", how, (Ratio(rate / none, "no SysTick"),))
    ticks = max(rates)
    cost = (1 / rates[ticks] - 1 / none) * MIPS[M4] * 10**6 / ticks
    yield Measurement(_SECTION, "a tick: exception, handler and return", cost, "us", how)


_BX_LR, _BX_R3 = struct.pack("<H", 0x4770), struct.pack("<H", 0x4718)


def _stub(reload: int, control: int, entry: int) -> bytes:
    """Set SysTick and go to `entry` (encodings: ARMv7-M manual, A7.7; MOV T3, MOVT T1, STR T1, BX T1)."""
    stores = struct.pack("<5H", 0x6041, 0x2200, 0x6082, 0x2200 | control, 0x6002)
    return _load(0, _SYSTICK_CSR) + _load(1, reload) + stores + _load(3, entry) + _BX_R3


def _load(register: int, value: int) -> bytes:
    words = b""
    for opcode, half in ((0xF240, value & 0xFFFF), (0xF2C0, value >> 16)):
        first = opcode | (half >> 11 & 1) << 10 | half >> 12
        words += struct.pack("<2H", first, (half >> 8 & 7) << 12 | register << 8 | half & 0xFF)
    return words
