"""Typing into a UART of the M4: byte after byte at the baud rate that the firmware has set, as a terminal does.

The first frame begins when the firmware switches its receiver on: nobody could be heard before, and no later moment is
told by anything but a guess. What a receiver that is off would lose waits for it instead.
"""

from __future__ import annotations

from cosim.access import Initiator
from cosim.engine import CoreState
from cosim.errors import UsageError
from cosim.events import ConsoleInput
from cosim.peripherals.usart import LINE_LIMIT, RECEIVE_LIMIT, Stm32Usart
from cosim.soc import Soc

#: At 115,200 baud these bytes take a minute and a half.
MOST_UART_INPUT = 1 << 20
_LINE_ENDS = b"\r\n"
_ALIVE = (CoreState.RUNNING, CoreState.SLEEPING)


class UartInput:
    """Types `data` into the first serial port whose receiver the M4 switches on; one for a `Soc`, made before it runs.

    A byte arrives at the end of its frame; the line falls idle one frame after the last. Frames stop while receiver or
    M4 are off, and go on when the M4 next writes the port's CR1. A byte that finds `RECEIVE_LIMIT` others waiting is
    repeated. Each line that the firmware has read leaves a `ConsoleInput`. Raises `UsageError` (`size`) for more than
    1 MiB.
    """

    def __init__(self, soc: Soc, data: bytes) -> None:
        check_size(len(data))
        self.arrived = 0
        self._soc, self._data = soc, data
        self._port: Stm32Usart | None = None
        self._line = bytearray()
        self._over = not data
        self._alarm = soc.timers.alarm(self._frame_ended)
        for block in soc.blocks.values():
            if isinstance(block, Stm32Usart):
                block.sender = self

    @property
    def port(self) -> str | None:
        """The name of the serial port, None as long as no receiver is on."""
        return None if self._port is None else self._port.name

    @property
    def size(self) -> int:
        """How many bytes there are to type."""
        return len(self._data)

    def as_dict(self) -> dict[str, object]:
        """Port, and how many of how many bytes arrived there, for JSON."""
        return {"port": self.port, "bytes": self.size, "arrived": self.arrived}

    def controlled(self, port: Stm32Usart, initiator: Initiator) -> None:
        """See `Sender`: begin, or go on, when the M4 listens."""
        if initiator is not Initiator.M4 or self._over or not port.listening or self._port not in (None, port):
            return
        self._port = port
        if self._alarm.at_ps is None:
            self._alarm.set(self._soc.log.clock().time_ps + port.frame_ps)

    def taken(self, port: Stm32Usart, byte: int) -> None:
        """See `Sender`: tell the log of each line, and of the rest of the last one."""
        if port is not self._port:
            return
        self._line.append(byte)
        last = self.arrived == len(self._data) and not port.waiting
        if byte in _LINE_ENDS or last or len(self._line) == LINE_LIMIT:
            text = self._line.decode("latin-1").encode("unicode_escape").decode()
            self._line.clear()
            self._soc.log.emit(ConsoleInput(port.name, text))

    def _frame_ended(self, at_ps: int) -> None:
        port = self._port
        if port is None or not port.listening or self._soc.m4.state not in _ALIVE:
            return
        if self.arrived == len(self._data):
            self._over = True
            port.fall_idle()
            return
        self._alarm.set(at_ps + port.frame_ps)
        if port.waiting < RECEIVE_LIMIT:
            self.arrived += 1  # first: DMA takes the byte while it is received
            port.receive(self._data[self.arrived - 1 : self.arrived], more=True)


def check_size(size: int) -> None:
    """Raise `UsageError` (`size`) when that many bytes are more than can be typed."""
    if size > MOST_UART_INPUT:
        hint = "Type less, or cut the file into several runs."
        raise UsageError(f"more than {MOST_UART_INPUT} bytes to type into the UART", hint=hint, size=size)
