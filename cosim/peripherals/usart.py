"""USART/UART of the STM32MP15 (the layout of the STM32H7 USART) as a console: lines out, bytes in.

Sources: RM0436 (USART) as quoted by ST's SVD, Linux drivers/tty/serial/stm32-usart.h.
Transmission is instant, so TXE is always set, and TC again with the byte that was written; a byte goes out only while
UE and TE are set, as on silicon. Each finished line becomes one `ConsoleLine`. Bytes from outside wait in a queue and
appear in RDR one after the other; the line counts as idle (IDLE) when the last of them was taken, or, for a sender
that keeps the time of the frames (`frame_ps`), when it says so. In FIFO mode
(CR1.FIFOEN) the flags are named TXFNF and RXFNE, and TXFE, TXFT (always: nothing waits to go out), RXFT (as many bytes
as CR3.RXFTCFG asks for) and RXFF (16 bytes) join them. With CR3.DMAT and DMAR the port asks the DMA controllers for
transfers instead. Nothing overruns and no frame is broken; guard time and errors are settings that are stored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar, Protocol

from cosim.access import Initiator
from cosim.errors import EngineError
from cosim.events import ConsoleLine, EventLog
from cosim.interrupts import Output
from cosim.peripherals.usart_clock import HSI_HZ, frame_ps
from cosim.registers import Access, Field, Register, RegisterBlock

#: A line is cut after this many characters, so that a guest cannot make the log grow by one endless line.
LINE_LIMIT = 512
#: Bytes that wait for the guest at most.
RECEIVE_LIMIT = 4096

_UE, _RE, _TE = 1 << 0, 1 << 2, 1 << 3
_DMAR, _DMAT = 1 << 6, 1 << 7
_IDLE, _RXNE, _TC, _TXE, _TEACK, _REACK = 1 << 4, 1 << 5, 1 << 6, 1 << 7, 1 << 21, 1 << 22
#: Interrupt enables of CR1 that lie where their flags lie in ISR, and flags that ICR clears there.
_ENABLES, _CLEARED = _IDLE | _RXNE | _TC | _TXE, _IDLE | _TC
_RXFRQ = 1 << 3
_FIFOEN, _TXFEIE, _RXFFIE = 1 << 29, 1 << 30, 1 << 31
_TXFTIE, _RXFTIE = 1 << 23, 1 << 28
_TXFE, _RXFF, _RXFT, _TXFT = 1 << 23, 1 << 24, 1 << 26, 1 << 27
#: Flags of ISR that follow from the settings and from what waits.
_FOLLOWING = _RXNE | _TEACK | _REACK | _TXFE | _RXFF | _RXFT | _TXFT
_FIFO_DEPTH = 16
#: Bytes in the receive FIFO at which RXFT rises, by CR3.RXFTCFG; the two reserved codings count as the largest.
_RECEIVE_THRESHOLDS = (2, 4, 8, 12, 14, 16, 16, 16)

REGISTERS: tuple[Register, ...] = (
    Register("CR1", 0x00, logged=False),
    Register("CR2", 0x04, logged=False),
    Register("CR3", 0x08, logged=False),
    Register("BRR", 0x0C, 0, (Field("BRR", 0, 16),), logged=False),
    Register("GTPR", 0x10, 0, (Field("PSC", 0, 8), Field("GT", 8, 8)), logged=False),
    Register("RTOR", 0x14, logged=False),
    Register("RQR", 0x18, 0, (Field("REQUESTS", 0, 5),), Access.PULSE, logged=False),
    Register("ISR", 0x1C, _TXE | _TC, access=Access.RO, logged=False),
    Register("ICR", 0x20, access=Access.PULSE, logged=False),
    Register("RDR", 0x24, 0, (Field("RDR", 0, 9),), Access.RO, logged=False),
    Register("TDR", 0x28, 0, (Field("TDR", 0, 9),), logged=False),
    Register("PRESC", 0x2C, 0, (Field("PRESCALER", 0, 4),), logged=False),
    Register("HWCFGR2", 0x3EC, 0x14, access=Access.RO),
    Register("HWCFGR1", 0x3F0, 0x14, access=Access.RO),
    Register("VERR", 0x3F4, 0x23, access=Access.RO),
    Register("IPIDR", 0x3F8, 0x00130003, access=Access.RO),
    Register("SIDR", 0x3FC, 0xA3C5DD01, access=Access.RO),
)


class Sender(Protocol):
    """Who sends to a serial port that it is the `sender` of."""

    def controlled(self, port: Stm32Usart, initiator: Initiator) -> None:
        """`initiator` wrote CR1, which says whether the port listens."""
        ...

    def taken(self, port: Stm32Usart, byte: int) -> None:
        """The guest read `byte` from RDR."""
        ...


class Stm32Usart(RegisterBlock):
    """One serial port; `irq` is told the level of its interrupt line whenever it changes.

    `requests` has its two DMA requests by name, Rx and Tx; without them nothing serves the port's DMA.
    `clock` gives its kernel clock in hertz.
    """

    registers: ClassVar[tuple[Register, ...]] = REGISTERS
    computed: ClassVar[frozenset[str] | None] = frozenset({"RDR"})

    def __init__(
        self,
        base: int,
        log: EventLog,
        name: str,
        irq: Output | None = None,
        requests: Mapping[str, Output] | None = None,
        *,
        clock: Callable[[], int] = lambda: HSI_HZ,
    ) -> None:
        super().__init__(name, base, log)
        self.sender: Sender | None = None
        self._clock = clock
        self._busy = False
        self._irq = irq
        self._requests = requests or {}
        self._requested: dict[str, bool] = {}
        self._level = False
        self._line = bytearray()
        self._received = bytearray()

    @property
    def listening(self) -> bool:
        """Whether port and receiver are enabled."""
        return self.value("CR1") & (_UE | _RE) == _UE | _RE

    @property
    def frame_ps(self) -> int:
        """How long a frame lasts, in picoseconds."""
        return frame_ps(self.value, self._clock())

    @property
    def waiting(self) -> int:
        """How many bytes wait for the guest."""
        return len(self._received)

    def receive(self, data: bytes, *, more: bool = False) -> int:
        """Queue bytes from outside; returns how many were taken, at most what `RECEIVE_LIMIT` leaves room for.

        With `more` the line is not idle behind them before `fall_idle`.
        """
        taken = data[: RECEIVE_LIMIT - len(self._received)]
        self._received += taken
        self._busy = more
        self._update()
        return len(taken)

    def fall_idle(self) -> None:
        """The line has been idle for a frame."""
        self._busy = False
        self.poke("ISR", self.value("ISR") | _IDLE)
        self._update()

    def flush(self) -> None:
        """Report the unfinished rest of the output as a line (end of a run)."""
        if self._line:
            self._emit_line()

    def reset(self) -> None:
        """Back to the reset values; bytes that wait for the guest are lost, the unfinished line is reported."""
        super().reset()
        self.flush()
        self._received.clear()
        self._busy = False
        self._update()

    def read_register(self, register: Register, initiator: Initiator) -> int:  # noqa: ARG002
        """RDR takes the next byte out of the queue (a debugger only looks)."""
        if not self._receiving():
            return 0
        byte = self._received[0]
        if initiator is not Initiator.DEBUG:
            self._take()
        return byte

    def written(self, register: Register, before: int, after: int, written: int, initiator: Initiator) -> None:  # noqa: ARG002
        """Transmit, serve flush and clear requests, follow the enables."""
        if register.name == "TDR" and self._transmitting():
            self._transmit(after & 0xFF)
            self.poke("ISR", self.value("ISR") | _TC)
        elif register.name == "RQR" and written & _RXFRQ:
            self._received.clear()
        elif register.name == "ICR":
            self.poke("ISR", self.value("ISR") & ~(written & _CLEARED))
        elif register.name == "CR1" and not after & _UE:
            self.poke("ISR", _TXE | _TC)
        self._update()
        if register.name == "CR1" and self.sender is not None:
            self.sender.controlled(self, initiator)

    def save_extra(self) -> tuple[bytes, bytes, tuple[tuple[str, bool], ...], bool]:
        """The unfinished line, the queue, the DMA requests, and whether more is on its way."""
        return bytes(self._line), bytes(self._received), tuple(self._requested.items()), self._busy

    def load_extra(self, extra: object) -> None:
        """Restore them; the interrupt output follows, the DMA controllers have the requests in their own snapshot."""
        match extra:
            case (bytes(line), bytes(received), tuple(requested), bool(busy)):
                self._line, self._received = bytearray(line), bytearray(received)
                self._requested, self._busy = dict(requested), busy
            case _:
                raise EngineError(f"not a snapshot of block {self.name}", hint="restore into the SoC that was saved")
        self._drive_irq()

    def _take(self) -> None:
        """The first byte of the queue was read."""
        byte = self._received.pop(0)
        if not self._received and not self._busy:
            self.poke("ISR", self.value("ISR") | _IDLE)
        self._update()
        if self.sender is not None:
            self.sender.taken(self, byte)

    def _transmitting(self) -> bool:
        return self.value("CR1") & (_UE | _TE) == _UE | _TE

    def _receiving(self) -> bool:
        return bool(self.listening and self._received)

    def _renew_status(self) -> None:
        """ISR says what is ready."""
        control, status = self.value("CR1"), self.value("ISR") & ~_FOLLOWING
        if control & _UE:
            status |= (_TEACK if control & _TE else 0) | (_REACK if control & _RE else 0)
            status |= _RXNE if self._receiving() else 0
        self.poke("ISR", status | (self._fifo_status() if control & _FIFOEN else 0))

    def _fifo_status(self) -> int:
        waiting = len(self._received) if self._receiving() else 0
        threshold = _RECEIVE_THRESHOLDS[self.value("CR3") >> 25 & 7]
        full, reached = waiting >= _FIFO_DEPTH, waiting >= threshold
        return _TXFE | _TXFT | (_RXFF if full else 0) | (_RXFT if reached else 0)

    def _transmit(self, byte: int) -> None:
        if byte == ord("\n"):
            self._emit_line()
        elif byte != ord("\r"):
            self._line.append(byte)
            if len(self._line) == LINE_LIMIT:
                self._emit_line()

    def _emit_line(self) -> None:
        # Control characters are spelled out: the text ends up on terminals.
        text = "".join(chr(b) if 0x20 <= b < 0x7F or b == ord("\t") else f"\\x{b:02x}" for b in self._line)
        self._line.clear()
        self._log.emit(ConsoleLine(self.name, text))

    def _update(self) -> None:
        """Tell the DMA controllers and the interrupt line what changed; a transfer comes back here meanwhile."""
        self._renew_status()
        dma = self.value("CR3")
        levels = {"Rx": bool(dma & _DMAR) and self._receiving(), "Tx": bool(dma & _DMAT) and self._transmitting()}
        for name, output in self._requests.items():
            if levels[name] is not self._requested.get(name, False):
                self._requested[name] = levels[name]
                output(levels[name])
        self._drive_irq()

    def _drive_irq(self) -> None:
        control = self.value("CR1")
        enabled = control & _ENABLES
        if control & _FIFOEN:
            thresholds = self.value("CR3")
            enabled |= (_TXFE if control & _TXFEIE else 0) | (_RXFF if control & _RXFFIE else 0)
            enabled |= (_TXFT if thresholds & _TXFTIE else 0) | (_RXFT if thresholds & _RXFTIE else 0)
        level = bool(control & _UE and self.value("ISR") & enabled)
        if level != self._level:
            self._level = level
            if self._irq is not None:
                self._irq(level)
