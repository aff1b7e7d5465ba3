"""DMA1 and DMA2 of the STM32MP15: eight streams each; transfers happen at once.

Source: RM0436 (DMA) as quoted by ST's CMSIS header and SVD.
A stream in memory-to-memory mode reads at PAR and writes at M0AR as soon as EN is set; the transfer is over before the
write to CR returns, so half-transfer and completion rise together. A part that reaches nothing, or that the platform
answers with an abort, ends it with a transfer error. Its accesses carry the M4's attributes, to the firewall and in the
log; the hardware's own NSAID (6) is not told apart from the M4's (1) at the TZC-400.
A stream from or to a peripheral moves one item of PSIZE for another while the peripheral asks for it; items lie one
behind the other in memory, whatever MSIZE says. NDTR counts down, HTIF and TCIF rise on the way. In circular and double
buffer mode the stream begins again; one that feeds a peripheral which always asks makes one round each time the request
rises or the stream is switched on, since an endless transfer that takes no time has no end. For the same reason a
stream that a transfer itself switches on, or makes a peripheral ask for, does not run. FIFO thresholds, bursts,
peripheral flow control and priorities are stored without effect.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar, Protocol

from cosim.access import Initiator
from cosim.errors import BusFault, EngineError
from cosim.events import EventLog
from cosim.interrupts import Output
from cosim.registers import Access, Field, Register, RegisterBlock

STREAMS = 8
_EN, _TEIE, _HTIE, _TCIE, _PINC, _MINC = 1 << 0, 1 << 2, 1 << 3, 1 << 4, 1 << 9, 1 << 10
_DIRECTION, _MEMORY_TO_PERIPHERAL, _MEMORY_TO_MEMORY = 3 << 6, 1 << 6, 2 << 6
_CIRC, _DBM, _CT = 1 << 8, 1 << 18, 1 << 19
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


class Turn:
    """Whether a transfer is under way; the controllers of a machine share one."""

    def __init__(self) -> None:
        self.taken = False


class Dma(RegisterBlock):
    """One controller; `outputs` has an interrupt per stream: Stream0 to Stream7."""

    registers: ClassVar[tuple[Register, ...]] = REGISTERS
    output_names: ClassVar[tuple[str, ...]] = tuple(f"Stream{n}" for n in range(STREAMS))

    def __init__(
        self, base: int, log: EventLog, outputs: Mapping[str, Output], name: str, *, memory: Memory, turn: Turn
    ) -> None:
        super().__init__(name, base, log)
        self._outputs = outputs
        self._memory = memory
        self._turn = turn
        self._asking = [False] * STREAMS
        self._lengths = [0] * STREAMS  # NDTR when the stream was switched on

    def request(self, stream: int) -> Output:
        """The request input of `stream`: told whether its peripheral asks for transfers."""
        return lambda level: self._ask(stream, level)

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
        elif register.name in _CONTROLS and after & _EN and not before & _EN:
            self._begin(int(register.name[1]), after)
        self._update()

    def reset(self) -> None:
        """Back to the reset values; who asks goes on asking."""
        super().reset()
        self._lengths = [0] * STREAMS
        self._update()

    def save_extra(self) -> tuple[tuple[bool, ...], tuple[int, ...]]:
        """Which streams are asked to transfer, and the lengths of their transfers."""
        return tuple(self._asking), tuple(self._lengths)

    def load_extra(self, extra: object) -> None:
        """Restore them; the interrupts follow the restored registers."""
        match extra:
            case (tuple(asking), tuple(lengths)):
                self._asking, self._lengths = list(asking), list(lengths)
            case _:
                raise EngineError(f"not a snapshot of block {self.name}", hint="restore into the SoC that was saved")
        self._update()

    def _begin(self, n: int, control: int) -> None:
        self._lengths[n] = self.value(f"S{n}NDTR")
        self._run(n, self._copy_all if control & _DIRECTION == _MEMORY_TO_MEMORY else self._serve)

    def _run(self, n: int, transfer: Callable[[int], None]) -> None:
        if self._turn.taken:
            return
        self._turn.taken = True
        try:
            transfer(n)
        finally:
            self._turn.taken = False

    # Memory to memory

    def _copy_all(self, n: int) -> None:
        try:
            self._move(n, self.value(f"S{n}CR"))
        except BusFault:
            self._end(n, _TEIF)
        else:
            self.poke(f"S{n}NDTR", 0)
            self._end(n, _HTIF | _TCIF)

    def _move(self, n: int, control: int) -> None:
        source, destination, items = self.value(f"S{n}PAR"), self.value(f"S{n}M0AR"), self.value(f"S{n}NDTR")
        source_width, width = _width(control >> 11), _width(control >> 13)
        if control & _PINC:
            data = self._memory.read(Initiator.M4, source, items * source_width)
        else:
            data = b"".join(self._memory.read(Initiator.M4, source, source_width) for _ in range(items))
        if control & _MINC:
            self._memory.write(Initiator.M4, destination, data)
            return
        for at in range(0, len(data), width):
            self._memory.write(Initiator.M4, destination, data[at : at + width])

    # From and to peripherals

    def _ask(self, n: int, level: bool) -> None:
        rises = level and not self._asking[n]
        self._asking[n] = level
        if rises:
            self._run(n, self._serve)
            self._update()

    def _serve(self, n: int) -> None:
        """Transfer while the peripheral asks."""
        waiting = self.value(f"S{n}CR") & _DIRECTION != _MEMORY_TO_MEMORY
        while waiting and self._asking[n] and self.value(f"S{n}CR") & _EN:
            waiting = self._item(n)

    def _item(self, n: int) -> bool:
        """Move one item; whether the stream may move another for the same request."""
        control, left, length = self.value(f"S{n}CR"), self.value(f"S{n}NDTR"), self._lengths[n]
        if not left:
            return False
        try:
            self._copy(n, control, length - left)
        except BusFault:
            self._end(n, _TEIF)
            return False
        left -= 1
        self._raise(n, _HTIF if left == length // 2 else 0)
        if left:
            self.poke(f"S{n}NDTR", left)
            return True
        if not control & (_CIRC | _DBM):
            self.poke(f"S{n}NDTR", 0)
            self._end(n, _TCIF)
            return False
        self.poke(f"S{n}NDTR", length)
        self.poke(f"S{n}CR", control ^ (_CT if control & _DBM else 0))
        self._raise(n, _TCIF)
        return control & _DIRECTION != _MEMORY_TO_PERIPHERAL

    def _copy(self, n: int, control: int, index: int) -> None:
        width = _width(control >> 11)
        second = control & (_DBM | _CT) == _DBM | _CT
        memory = self.value(f"S{n}M1AR" if second else f"S{n}M0AR") + (index * width if control & _MINC else 0)
        peripheral = self.value(f"S{n}PAR") + (index * width if control & _PINC else 0)
        outwards = control & _DIRECTION == _MEMORY_TO_PERIPHERAL
        source, destination = (memory, peripheral) if outwards else (peripheral, memory)
        self._memory.write(Initiator.M4, destination, self._memory.read(Initiator.M4, source, width))

    # Flags and interrupts

    def _end(self, n: int, flags: int) -> None:
        self.poke(f"S{n}CR", self.value(f"S{n}CR") & ~_EN)
        self._raise(n, flags)

    def _raise(self, n: int, flags: int) -> None:
        status = "LISR" if n < 4 else "HISR"
        self.poke(status, self.value(status) | flags << _SHIFTS[n % 4])

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


def _width(size: int) -> int:
    """Bytes of an item by MSIZE or PSIZE; the reserved coding counts as a word."""
    return 1 << min(size & 3, 2)
