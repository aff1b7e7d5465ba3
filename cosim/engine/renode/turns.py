"""Lets Renode's virtual time pass in turns of a quantum, and asks the engine at the sync points that it wants.

Between two turns all cores stand still at one time; a *look* is a call at such a point, on the thread of Renode's
dispatcher. A look costs about 0.1 ms, to start and stop the dispatcher some 5 ms: so the engine looks seldom, and stops
only for what cannot be done while Renode's threads live.

Renode counts nanoseconds, but turns are whole microseconds: of anything else a core of 209 MIPS would lose some.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from cosim.engine.renode.host import Net

NANOSECONDS = 1000  # in a microsecond
#: How long the waiting thread takes to notice Ctrl-C, in seconds.
_PATIENCE = 0.1

#: Told the virtual time in microseconds; answers when the next look is wanted at the latest, or None to stop.
Look = Callable[[int], "int | None"]


class Turns:
    """The time of one emulation. `quantum_us` is the length of a turn in microseconds; a look in between cuts it."""

    def __init__(self, emulation: Net, machine: Net, quantum_us: int) -> None:
        from Antmicro.Renode.Time import TimeStamp
        from System import Action

        self._emulation = emulation
        self._machine = machine
        self._master = emulation.MasterTimeSource
        self._quantum_us = self._turn_us = quantum_us
        self.goal_us = 0  # when the next look is
        self._stopped = threading.Event()
        self._scheduled: int | None = None
        self._look: Look = lambda _now: None
        self._failure: BaseException | None = None
        self._action = Action[TimeStamp](lambda _when: self._at_sync_point())

    @property
    def now_us(self) -> int:
        """The virtual time in microseconds that all cores have reached."""
        return int(self._master.ElapsedVirtualTime.Ticks) // NANOSECONDS

    def save(self) -> int:
        """The length of a turn that Renode is set to, for `load`; Renode has the time."""
        return self._turn_us

    def load(self, turn_us: int) -> None:
        """Restore what `save` returned."""
        self._turn_us = turn_us

    def run(self, look: Look) -> None:
        """Let time pass until `look` answers None; it is asked first as soon as possible. Raises what it raises."""
        goal = look(self.now_us)
        if goal is None:
            return
        self._look = look
        self._stopped.clear()
        self._aim(goal)
        self._machine.Start()
        self._master.Start()
        try:
            while not self._stopped.wait(_PATIENCE):
                pass
        except BaseException:
            self._look = lambda _now: None
            self.look_soon()
            self._stopped.wait()
            raise
        finally:
            self._emulation.PauseAll()
            self._forget()
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def look_soon(self) -> None:
        """Look when this turn ends; for the threads of the cores."""
        self._master.ExecuteInNearestSyncedState(self._action)

    def _at_sync_point(self) -> None:
        if self._stopped.is_set():
            return
        goal = None
        try:
            goal = self._look(self.now_us)
        except BaseException as error:  # must not cross Renode's frames; `run` raises it again
            self._failure = error
        if goal is None:
            self._master.Stop()
            self._stopped.set()  # not before: both threads would wait for each other in Renode's Stop
        else:
            self._aim(goal)

    def _aim(self, goal_us: int) -> None:
        """Look again at the goal; where it is not at the end of a whole turn, at the last such end before it."""
        from Antmicro.Renode.Time import TimeInterval, TimeStamp

        now_us = self.now_us
        self.goal_us = max(goal_us, now_us + 1)
        left_us = self.goal_us - now_us
        self._set_turn(min(left_us, self._quantum_us))
        when = TimeInterval.FromMicroseconds(now_us + left_us // self._turn_us * self._turn_us)
        self._forget()
        self._scheduled = self._master.ExecuteInSyncedState(self._action, TimeStamp(when, self._master.Domain))

    def _forget(self) -> None:
        if self._scheduled is not None:
            self._master.CancelActionToExecuteInSyncedState(self._scheduled)
            self._scheduled = None

    def _set_turn(self, length_us: int) -> None:
        from Antmicro.Renode.Time import TimeInterval

        if length_us == self._turn_us:
            return
        self._turn_us = length_us
        length = TimeInterval.FromMicroseconds(length_us)
        for source in (self._master, self._machine.LocalTimeSource):
            source.Quantum = length
