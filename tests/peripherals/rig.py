"""What the tests of blocks share: an event log with a clock to set, alarms, and outputs that are noted."""

from __future__ import annotations

from collections.abc import Callable

from cosim.events import EventLog, Stamp
from cosim.timers import Timers


class Rig:
    """A place to put one block: `now` is virtual time in picoseconds."""

    def __init__(self) -> None:
        self.now = 0
        self.log = EventLog()
        self.log.clock = lambda: Stamp(self.now, "m4", 0, 0)
        self.timers = Timers()
        self.levels: dict[str, bool] = {}

    def outputs(self, names: tuple[str, ...]) -> dict[str, Callable[[bool], None]]:
        return {name: self._output(name) for name in names}

    def high(self) -> set[str]:
        return {name for name, level in self.levels.items() if level}

    def pass_to(self, at_ps: int) -> None:
        """Let time pass; the alarms on the way go off, each at its time."""
        while (due := self.timers.next_at()) is not None and due <= at_ps:
            self.now = max(self.now, due)
            self.timers.run_due(due)
        self.now = at_ps

    def _output(self, name: str) -> Callable[[bool], None]:
        def drive(level: bool) -> None:
            self.levels[name] = level

        return drive
