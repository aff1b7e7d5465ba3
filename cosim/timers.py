"""Alarms in virtual time: what blocks with a clock want done later, in an order that only the virtual times decide.

For engines: before each turn, and after each access of a core to a block, ask `next_at()`; do not let a core run past
that time, and call `run_due(now)` when virtual time has reached it. Callbacks get the time that they were set for,
which `now` may have passed by up to a turn. Alarms of the same time go off in the order in which they were created,
whatever the order in which they were set, so that a restored snapshot goes on as the original run did.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable

from cosim.errors import EngineError

#: Told the virtual time in picoseconds that the alarm was set for.
Expired = Callable[[int], None]
#: Picoseconds of a second.
SECOND_PS = 10**12
#: What stands for "no alarm" where a time is kept in 64 bits.
NEVER_PS = (1 << 64) - 1


class Alarm:
    """One thing that may be due: set or not."""

    def __init__(self, timers: Timers, expired: Expired) -> None:
        self._timers = timers
        self._expired = expired
        self.at_ps: int | None = None

    def set(self, at_ps: int | None) -> None:
        """Go off at virtual time `at_ps`, in place of any earlier setting; None: not at all."""
        self.at_ps = at_ps
        self._timers.changed(self)

    def go_off(self) -> None:
        """It is due: unset it and do what it is for."""
        at_ps, self.at_ps = self.at_ps, None
        self._timers.changed(self)
        if at_ps is not None:
            self._expired(at_ps)


class Timers:
    """All alarms of a machine."""

    def __init__(self) -> None:
        self._alarms: list[Alarm] = []
        self._next: Alarm | None = None
        #: What `next_at` gives, as one word of memory that stays where it is, or `NEVER_PS`.
        self.next_ps = array("Q", [NEVER_PS])

    def alarm(self, expired: Expired) -> Alarm:
        """A new alarm, unset. Make all of them while the machine is built: a snapshot knows them by their order."""
        alarm = Alarm(self, expired)
        self._alarms.append(alarm)
        return alarm

    def next_at(self) -> int | None:
        """The virtual time in picoseconds at which the next alarm is due, None when none is set."""
        return None if self._next is None else self._next.at_ps

    def run_due(self, now_ps: int) -> None:
        """Let every alarm go off that is due at `now_ps`, the earliest first; also those that are set meanwhile.

        A callback that sets an alarm must set it for a later time than its own.
        """
        while self._next is not None and self._next.at_ps is not None and self._next.at_ps <= now_ps:
            self._next.go_off()

    def changed(self, alarm: Alarm) -> None:
        """An alarm was set or unset: find the next one."""
        due = self.next_at()
        if alarm is not self._next and (alarm.at_ps is None or (due is not None and due < alarm.at_ps)):
            return
        self._find_next()

    def _find_next(self) -> None:
        waiting = [alarm for alarm in self._alarms if alarm.at_ps is not None]
        self._next = min(waiting, key=lambda alarm: alarm.at_ps or 0, default=None)
        due = self.next_at()
        self.next_ps[0] = NEVER_PS if due is None else min(max(due, 0), NEVER_PS)

    def save(self) -> tuple[int | None, ...]:
        """When each alarm is due."""
        return tuple(alarm.at_ps for alarm in self._alarms)

    def load(self, state: object) -> None:
        """Restore what `save` returned. Raises `EngineError` for the state of another machine."""
        if not isinstance(state, tuple) or len(state) != len(self._alarms):
            raise EngineError("not a snapshot of the alarms", hint="restore into the SoC that was saved")
        for alarm, at_ps in zip(self._alarms, state, strict=True):
            alarm.at_ps = at_ps
        self._find_next()
