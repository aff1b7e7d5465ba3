"""Interrupt wires: carries the output level of each block to the lines of NVIC and GIC that the description names.

A wire is known by the entry that stands for it: a serial port by its own entry, an output of a Python-modelled block by
a `Miscellaneous.CombinedInput` entry named `<block><Output>` (`ipccRx1`, `tim2Irq`), because Renode's Python
peripherals have no outputs of their own. A line is high while any of the wires that end at it is.

For engines: connect the NVIC once, with `interrupts.nvic.connect(sink)`; the sink is told each change of a line, and
first the lines that are high at that moment. The state is a plain value (`save`, `load`). `load` tells no sink: blocks
and engine restore what they had made of the levels from their own snapshots.
"""

from __future__ import annotations

from collections.abc import Callable

from cosim.errors import EngineError, PlatformError
from cosim.platform.model import Entry, Platform

#: Told the number of a line and its new level.
InterruptSink = Callable[[int, bool], None]
#: A block's interrupt output: told its level, as often as the block likes.
Output = Callable[[bool], None]

NVIC_TYPE = "IRQControllers.NVIC"
GIC_TYPE = "IRQControllers.ARM_GenericInterruptController"
WIRE_TYPE = "Miscellaneous.CombinedInput"
#: Classes of the entries that are wires or have one.
_SOURCE_TYPES = (WIRE_TYPE, "UART.STM32F7_USART")


class Lines:
    """The input lines of one interrupt controller: NVIC interrupts, or SPIs of the GIC, by number."""

    def __init__(self) -> None:
        self._drivers: dict[int, set[str]] = {}
        self._sink: InterruptSink | None = None

    def connect(self, sink: InterruptSink) -> None:
        """Tell `sink` each change from now on; first, which lines are high."""
        self._sink = sink
        for line in self.high():
            sink(line, True)

    def level(self, line: int) -> bool:
        """Whether `line` is high."""
        return bool(self._drivers.get(line))

    def high(self) -> tuple[int, ...]:
        """The numbers of the lines that are high, ascending."""
        return tuple(sorted(line for line, drivers in self._drivers.items() if drivers))

    def drive(self, line: int, wire: str, level: bool, *, tell: bool = True) -> None:
        """One wire changes its level at `line`; `tell` says whether the sink hears of the change."""
        drivers = self._drivers.setdefault(line, set())
        before = bool(drivers)
        drivers.add(wire) if level else drivers.discard(wire)
        if tell and self._sink is not None and bool(drivers) != before:
            self._sink(line, level)


class Interrupts:
    """All wires of a machine. Raises `PlatformError` for a wire that ends at something else than NVIC or GIC."""

    def __init__(self, platform: Platform) -> None:
        self.nvic = Lines()
        self.gic = Lines()
        self._high: set[str] = set()
        self._routes: dict[str, tuple[tuple[Lines, int], ...]] = {}
        controllers = {entry.name: self.nvic for entry in platform.of_type(NVIC_TYPE)}
        controllers |= {entry.name: self.gic for entry in platform.of_type(GIC_TYPE)}
        for entry in platform.entries.values():
            if entry.type in _SOURCE_TYPES:
                self._routes[entry.name] = _routes(entry, controllers)

    def output(self, wire: str) -> Output:
        """The output that drives `wire`; one that the description does not have leads nowhere."""
        return lambda level: self._set(wire, level, tell=True)

    def save(self) -> tuple[str, ...]:
        """The wires that are high."""
        return tuple(sorted(self._high))

    def load(self, state: object) -> None:
        """Restore what `save` returned; no sink is told. Raises `EngineError` for anything else."""
        if not isinstance(state, tuple) or not all(isinstance(wire, str) for wire in state):
            raise EngineError("not a snapshot of the interrupt wires", hint="restore into the SoC that was saved")
        for wire in self._high - set(state):
            self._set(wire, False, tell=False)
        for wire in state:
            self._set(wire, True, tell=False)

    def _set(self, wire: str, level: bool, *, tell: bool) -> None:
        if level is (wire in self._high):
            return
        self._high.add(wire) if level else self._high.discard(wire)
        for lines, line in self._routes.get(wire, ()):
            lines.drive(line, wire, level, tell=tell)


def _routes(entry: Entry, controllers: dict[str, Lines]) -> tuple[tuple[Lines, int], ...]:
    for interrupt in entry.interrupts:
        if interrupt.destination not in controllers or interrupt.local is not None:
            raise PlatformError(
                f"{entry.file.name}:{entry.line}: {entry.name} is wired to {interrupt.destination}, "
                "which has no shared interrupt lines",
                hint="wire it to the NVIC or to a shared interrupt of the GIC",
                file=str(entry.file),
                line=entry.line,
                entry=entry.name,
                type=entry.type,
            )
    return tuple((controllers[interrupt.destination], interrupt.line) for interrupt in entry.interrupts)
