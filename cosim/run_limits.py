"""What ends the runs of a SoC besides their own conditions: its bounds of time and instructions, and an interrupt.

A bound on instructions is exact to one turn of the engine: the M4 executes that many, and at most a quantum more.
"""

from __future__ import annotations

from collections.abc import Callable

from cosim.engine import CoreState, CoreView, StopReason
from cosim.errors import CosimError, RunTimeout
from cosim.events import EventLog

_PICOSECONDS = 10**6  # of an instruction, times MIPS
#: An engine's `run`.
Run = Callable[[Callable[[], bool] | None, int], StopReason]


class RunLimits:
    """Bounds for all runs of one SoC together; `ending` may be set at any time: the run ends soon, and raises it.

    `mips` is the highest instruction rate of the remote processor `m4`. A bound that is None does not count.
    """

    def __init__(
        self,
        run: Run,
        m4: CoreView,
        mips: int,
        log: EventLog,
        *,
        most_time_ps: int | None,
        most_instructions: int | None,
    ) -> None:
        self.ending: CosimError | None = None
        self._run = run
        self._m4 = m4
        self._mips = mips
        self._log = log
        self._most_time_ps = most_time_ps
        self._most_instructions = most_instructions

    def run(self, until: Callable[[], bool] | None, budget_ps: int) -> StopReason:
        """Run as the engine does, for `budget_ps` at most. Raises `RunTimeout` and `ending`."""
        left = budget_ps
        while True:
            self._check()
            counting = self._m4.state is CoreState.RUNNING
            piece, before = self._piece(left, counting), self._now()
            reason = self._run(self._condition(until, counting), piece)
            self._check()
            left -= piece if reason is StopReason.TIME else self._now() - before
            if reason is StopReason.CONDITION and (until is None or not until()):
                reason = StopReason.TIME  # only the M4 began or ceased to count
            if reason is not StopReason.TIME or left <= 0:
                return reason

    def _now(self) -> int:
        return self._log.clock().time_ps

    def _piece(self, left: int, counting: bool) -> int:
        """How long the engine may go on before the bounds have to be looked at."""
        if self._most_time_ps is not None:
            left = min(left, self._most_time_ps - self._now())
        if self._most_instructions is not None and counting:
            left = min(left, -(-(self._most_instructions - self._m4.retired) * _PICOSECONDS // self._mips))
        return max(left, 1)

    def _condition(self, until: Callable[[], bool] | None, counting: bool) -> Callable[[], bool]:
        def ended() -> bool:
            if self.ending is not None or (until is not None and until()):
                return True
            changed = (self._m4.state is CoreState.RUNNING) is not counting
            return changed and self._most_instructions is not None

        return ended

    def _check(self) -> None:
        if self.ending is not None:
            error, self.ending = self.ending, None
            raise error
        if self._most_instructions is not None and self._m4.retired >= self._most_instructions:
            raise RunTimeout(
                f"the M4 executed {self._m4.retired} instructions, {self._most_instructions} were allowed",
                hint="raise the bound (--max-instructions), or find out where the firmware is at",
                instructions=self._m4.retired,
                time_ps=self._now(),
            )
        if self._most_time_ps is not None and self._now() >= self._most_time_ps:
            raise RunTimeout(
                f"the run lasted {self._now() // 10**6} us of virtual time, {self._most_time_ps // 10**6} were allowed",
                hint="raise the bound (--timeout), or find out what the run waits for",
                time_ps=self._now(),
            )
