"""The embedded engine: what the SoC sees of the cores that `turns.py` runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from unicorn import __version__ as unicorn_version

from cosim.engine import CoreState, Debugger, Machine, StopReason
from cosim.engine.unicorn.core import Core
from cosim.engine.unicorn.loop import Loop, clock_of
from cosim.engine.unicorn.native import NativeLoop, library_path
from cosim.engine.unicorn.python_loop import PythonLoop
from cosim.engine.unicorn.turns import Turns
from cosim.errors import EngineError, RunTimeout
from cosim.events import CoreHeld

MOST_PICOSECONDS = 10**16  # ten thousand seconds; keeps the C loop's arithmetic within 64 bits


def make_loop(kind: str) -> Loop:
    """The inner loop: "native", "python", or "auto" for the native one where it was built. Raises `EngineError`."""
    if kind == "auto":
        kind = "native" if library_path() else "python"
    if kind not in ("native", "python"):
        raise EngineError(f"no loop named {kind!r}", hint="choose auto, native or python", engine="unicorn")
    return NativeLoop() if kind == "native" else PythonLoop()


class UnicornEngine(Turns):
    """See `cosim.engine.Engine`."""

    name = "unicorn"

    def __init__(self, machine: Machine, loop: str = "auto") -> None:
        super().__init__(machine, make_loop(loop))

    @property
    def version(self) -> str:
        """See `Engine.version`."""
        return f"unicorn {unicorn_version}, {self._loop.name} loop"

    def start(self, core: str, entry: int) -> None:
        """See `Engine.start`."""
        if core != self._a7.name:
            raise EngineError(f"only the application core can be started at an address, not {core!r}", core=core)
        self._rest = None
        lane = self._a7.lane
        # It slept since its last instruction: its clock goes on from where the machine is.
        lane.origin_ps, lane.origin = max(self._horizon_ps, self._a7.time_ps), clock_of(lane)
        self._a7.start(entry)

    def run(self, until: Callable[[], bool] | None, budget_ps: int) -> StopReason:
        """See `Engine.run`."""
        end = min(self._horizon_ps + budget_ps, MOST_PICOSECONDS)
        self._reason = self._rest = None
        try:
            while True:
                reason = self._why_stop(until, end)
                if reason is not None:
                    return reason
                self._turn(end)
        finally:
            self._current = None
            self._rest = self.stamp()

    def _why_stop(self, until: Callable[[], bool] | None, end: int) -> StopReason | None:
        if self._reason is not None:
            return self._reason
        if len(self._machine.log) > self._machine.most_events:
            raise RunTimeout(
                f"the run made more than {self._machine.most_events} events",
                hint="the end of the log shows which access is repeated; raise most_events if that is meant",
                events=len(self._machine.log),
            )
        if self._debugger is not None:
            self._debugger.look()
        if until is not None and until():
            return StopReason.CONDITION
        if not self._any_runs() and not self._alerted() and self._machine.timers.next_at() is None:
            return StopReason.IDLE
        return StopReason.TIME if self._at_horizon and self._horizon_ps >= end else None

    def stop(self, reason: StopReason) -> None:
        """See `Engine.stop`."""
        self._reason = reason
        self._interrupt_current()

    def release(self, core: str) -> None:
        """See `Engine.release`."""
        if core != self._m4.name or self._m4.state is not CoreState.HELD:
            return
        if self._current is self._m4:
            self._restart = True  # it asked for its own reset: when the instruction that did so has ended
        else:
            self._leave_reset()

    def hold(self, core: str) -> None:
        """See `Engine.hold`."""
        if core != self._m4.name or self._m4.state is CoreState.HELD:
            return
        self._fresh.discard(core)
        self._m4.set_state(CoreState.HELD)
        self._machine.log.emit(CoreHeld(core, self._m4.retired, self._m4.cycles))

    def debug_core(self, name: str) -> Core:
        """See `Debuggable.debug_core`."""
        return self.cores[name]

    def attach(self, debugger: Debugger | None) -> None:
        """See `Debuggable.attach`."""
        self._debugger = debugger

    def save(self) -> object:
        """See `Engine.save`."""
        return self._horizon_ps, self._idle_ps, frozenset(self._fresh), tuple(core.save() for core in self._order)

    def load(self, state: Any) -> None:
        """See `Engine.load`."""
        self._rest = None
        self._horizon_ps, self._idle_ps, fresh, cores = state
        self._fresh = set(fresh)
        for core, saved in zip(self._order, cores, strict=True):
            core.load(saved)
            core.lane.fresh = int(core.name in self._fresh)
            core.lane.runnable &= not core.lane.fresh
        self._rest = self.stamp()
