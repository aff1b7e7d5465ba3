"""DMA1 and DMA2 of the STM32MP15: eight streams each; memory-to-memory transfers happen at once.

Source: RM0436 (DMA) as quoted by ST's CMSIS header and SVD.
A stream in memory-to-memory mode reads at PAR and writes at M0AR as soon as EN is set; the transfer is over before the
write to CR returns, so half-transfer and completion rise together. A part that reaches nothing, or that the platform
answers with an abort, ends it with a transfer error. Its accesses carry the M4's attributes, to the firewall and in the
log; the hardware's own NSAID (6) is not told apart from the M4's (1) at the TZC-400.
Streams from and to peripherals wait for requests that no block here makes. FIFO thresholds, bursts, double buffering
and priorities are stored without effect.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Protocol

from cosim.access import Initiator
from cosim.errors import BusFault
from cosim.events import EventLog
from cosim.interrupts import Output
from cosim.registers import Access, Field, Register, RegisterBlock

STREAMS = 8
_EN, _TEIE, _HTIE, _TCIE, _PINC, _MINC = 1 << 0, 1 << 2, 1 << 3, 1 << 4, 1 << 9, 1 << 10
_DIRECTION, _MEMORY_TO_MEMORY = 3 << 6, 2 << 6
_TEIF, _HTIF, _TCIF = 1 << 3, 1 << 4, 1 << 5
#: Where the flags of a stream lie in LISR (streams 0 to 3) and HISR (4 to 7).
_SHIFTS = (0, 6, 16, 22)
_CONTROLS = tuple(f"S{n}CR" for n in range(STREAMS))
#: What an enabled stream does not let go of.
_GUARDED = tuple(f"S{n}{setting}" for n in range(STREAMS) for setting in ("NDTR", "PAR", "FCR"))
_FLAGS = tuple(Field(f"S{n}", shift, 6) for n, shift in enumerate(_SHIFTS))


def _stream(n: int) -> tuple[Register, ...]:
    base = 0x10 + 0x18 * n
    return (
        Register(f"S{n}CR", base, 0, (Field("CR", 0, 25),), logged=False),
        Register(f"S{n}NDTR", base + 0x04, 0, (Field("NDT", 0, 16),), logged=False),
        Register(f"S{n}PAR", base + 0x08, logged=False),
        Register(f"S{n}M0AR", base + 0x0C, logged=False),
        Register(f"S{n}M1AR", base + 0x10, logged=False),
        Register(
            f"S{n}FCR",
            base + 0x14,
            0x21,
            (Field("FTH", 0, 2), Field("DMDIS", 2), Field("FS", 3, 3, Access.RO), Field("FEIE", 7)),
            logged=False,
        ),
    )


REGISTERS: tuple[Register, ...] = (
    Register("LISR", 0x00, 0, _FLAGS, Access.RO, logged=False),
    Register("HISR", 0x04, 0, _FLAGS, Access.RO, logged=False),
    Register("LIFCR", 0x08, 0, _FLAGS, Access.PULSE, logged=False),
    Register("HIFCR", 0x0C, 0, _FLAGS, Access.PULSE, logged=False),
    *(register for n in range(STREAMS) for register in _stream(n)),
    Register("HWCFGR2", 0x3EC, 0x1, access=Access.RO),
    Register("HWCFGR1", 0x3F0, 0x22222222, access=Access.RO),
    Register("VERR", 0x3F4, 0x14, access=Access.RO),
    Register("IPDR", 0x3F8, 0x00100002, access=Access.RO),
    Register("SIDR", 0x3FC, 0xA3C5DD01, access=Access.RO),
)


class Memory(Protocol):
    """What a DMA controller transfers through: the system bus."""

    def read(self, initiator: Initiator, address: int, size: int) -> bytes:
        """`size` bytes at `address`. Raises `BusFault`."""
        ...

    def write(self, initiator: Initiator, address: int, data: bytes) -> None:
        """Write `data` at `address`. Raises `BusFault`."""
        ...


class Dma(RegisterBlock):
    """One controller; `outputs` has an interrupt per stream: Stream0 to Stream7."""

    registers: ClassVar[tuple[Register, ...]] = REGISTERS
    output_names: ClassVar[tuple[str, ...]] = tuple(f"Stream{n}" for n in range(STREAMS))

    def __init__(self, base: int, log: EventLog, outputs: Mapping[str, Output], name: str, memory: Memory) -> None:
        super().__init__(name, base, log)
        self._outputs = outputs
        self._memory = memory

    def combine(self, register: Register, before: int, written: int, lanes: int) -> int:
        """As the table says; an enabled stream keeps its settings until it is switched off."""
        if register.name in _GUARDED and self.value(f"{register.name[:2]}CR") & _EN:
            return before
        return super().combine(register, before, written, lanes)

    def written(self, register: Register, before: int, after: int, written: int, initiator: Initiator) -> None:  # noqa: ARG002
        """Clear flags, or begin a transfer."""
        if register.name in ("LIFCR", "HIFCR"):
            status = f"{register.name[0]}ISR"
            self.poke(status, self.value(status) & ~written)
        elif register.name in _CONTROLS and not before & _EN and after & (_DIRECTION | _EN) == _MEMORY_TO_MEMORY | _EN:
            self._transfer(int(register.name[1]), after)
        self._update()

    def reset(self) -> None:
        """Back to the reset values."""
        super().reset()
        self._update()

    def load_extra(self, extra: object) -> None:  # noqa: ARG002
        """The interrupts follow the restored registers."""
        self._update()

    def _transfer(self, n: int, control: int) -> None:
        try:
            self._move(n, control)
        except BusFault:
            flags = _TEIF
        else:
            flags = _HTIF | _TCIF
            self.poke(f"S{n}NDTR", 0)
        self.poke(f"S{n}CR", control & ~_EN)
        status = "LISR" if n < 4 else "HISR"
        self.poke(status, self.value(status) | flags << _SHIFTS[n % 4])

    def _move(self, n: int, control: int) -> None:
        source, destination, items = self.value(f"S{n}PAR"), self.value(f"S{n}M0AR"), self.value(f"S{n}NDTR")
        source_width, width = 1 << min(control >> 11 & 3, 2), 1 << min(control >> 13 & 3, 2)
        if control & _PINC:
            data = self._memory.read(Initiator.M4, source, items * source_width)
        else:
            data = b"".join(self._memory.read(Initiator.M4, source, source_width) for _ in range(items))
        if control & _MINC:
            self._memory.write(Initiator.M4, destination, data)
            return
        for at in range(0, len(data), width):
            self._memory.write(Initiator.M4, destination, data[at : at + width])

    def _update(self) -> None:
        for n in range(STREAMS):
            flags = self.value("LISR" if n < 4 else "HISR") >> _SHIFTS[n % 4]
            control = self.value(f"S{n}CR")
            enabled = (
                (_TEIF if control & _TEIE else 0)
                | (_HTIF if control & _HTIE else 0)
                | (_TCIF if control & _TCIE else 0)
            )
            self._outputs[f"Stream{n}"](bool(flags & enabled))
