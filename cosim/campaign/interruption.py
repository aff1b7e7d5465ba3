"""Interruption: the TA aborts, the power fails, the M4 resets or locks up at any event of a boot; then others go on.

Every event of the untouched image's life, from LOAD_FW to RELEASE_FW, is a point: each PTA call, register write of RCC
and ETZPC, and SMC exit leaves one. While the M4 executes there are points in between, among them one in a GET_RSC_TABLE
that the TA serves meanwhile. After it the normal world asks for START_FW without a LOAD_FW, and then boots the
untouched image once more, which must work.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence

from cosim.campaign.lockup import lock_up
from cosim.campaign.model import CaseId, CaseResult, Kind
from cosim.campaign.target import Judgement, Target
from cosim.events import Record
from cosim.peripherals.rcc import ResetCause
from ta.events import (
    AuthenticationStep,
    CommandInvoked,
    CommandReturned,
    ImageAuthenticated,
    ProcessorStarted,
    ProcessorStopped,
    ResourceTableLocated,
    SegmentLoaded,
    SegmentRefused,
    SmcEntered,
)
from ta.results import DeathCause, TaDeathError

ABORT, CUT, CRASH, LOCKUP = "TA abort", "power cut", "M4 reset", "M4 lockup"
_ACTIONS = (ABORT, CUT, CRASH)
#: Only code that executes can lock up.
_WHILE_EXECUTING = (CUT, CRASH, LOCKUP)
_RANDOM_CASES = 300
_EXECUTING = "the M4 executes"


class _PowerCutError(Exception):
    """Unwinds everything down to the campaign; no code of the secure world may catch it."""


class Interruption:
    """Every case interrupts one boot at one event, random ones at two or three."""

    kind = Kind.INTERRUPTION

    def __init__(self, target: Target) -> None:
        self._target = target
        self._events: list[str] = []
        self._points: list[tuple[int, str]] = []
        self._learn()
        self.exhaustive = len(self._points)
        self.usual = self.exhaustive + _RANDOM_CASES

    def run(self, case: CaseId) -> CaseResult:
        """See `Attack`."""
        if case.index < self.exhaustive:
            actions = dict([self._points[case.index]])
        else:
            rng = random.Random(str(case))
            span = len(self._events) + 8
            actions = {rng.randrange(span): rng.choice((*_ACTIONS, LOCKUP)) for _ in range(rng.choice((2, 2, 3)))}
        judgement = self.interrupt(actions)
        what = ", ".join(f"{action} at event {at} ({self._name(at)})" for at, action in sorted(actions.items()))
        return CaseResult(case, judgement.verdict, what, judgement.evidence)

    def _name(self, at: int) -> str:
        return self._events[at] if at < len(self._events) else "after the boot"

    def _learn(self) -> None:
        """List the events of a boot that may be interrupted; the TA can abort only while it serves a command."""
        serving = _Serving()

        def point(event: str, actions: Sequence[str]) -> None:
            self._points += [(len(self._events), action) for action in actions]
            self._events.append(event)

        def watch(record: Record) -> None:
            inside = serving.at(record)
            by_m4 = record.stamp.core == self._target.soc.m4.name
            point(record.event, () if by_m4 else _ACTIONS if inside else _ACTIONS[1:])

        self._target.reset(watch=watch)
        self._target.while_running = self._meanwhile(lambda: point(_EXECUTING, _WHILE_EXECUTING))
        self._boot()
        self._target.reset()

    def interrupt(self, actions: Mapping[int, str]) -> Judgement:
        """Boot, do each action at the event of its number, and boot the untouched image again."""
        target, count, armed = self._target, 0, True
        serving = _Serving()

        def act(*, inside: bool = False, by_m4: bool = False, between: bool = False) -> None:
            nonlocal count
            action, count = actions.get(count), count + 1
            # Nothing can be thrown through the M4's engine while it runs.
            if action is None or not armed or by_m4:
                return
            if action == CUT:
                raise _PowerCutError
            if action == CRASH:
                target.soc.rcc.core_reset_request(ResetCause.SYSRESETREQ)
            elif action == LOCKUP:
                if between:
                    lock_up(target.soc)
            elif inside:
                serving.end()
                raise TaDeathError(DeathCause.PANIC, "interruption", "aborted by the campaign")

        def watch(record: Record) -> None:
            act(inside=serving.at(record), by_m4=record.stamp.core == target.soc.m4.name)

        target.reset(watch=watch)
        target.while_running = self._meanwhile(lambda: act(between=True))
        for stage in (self._boot, self._start_alone):
            try:
                stage()
            except _PowerCutError:
                target.restart()
        armed = False
        return target.boot_again()

    def _meanwhile(self, point: Callable[[], None]) -> Callable[[int, int], None]:
        """What happens while the M4 executes: a point after each slice, and a call that the TA serves."""

        def do(number: int, session: int) -> None:
            point()
            if number == 0:
                self._target.caller.table(session)

        return do

    def _boot(self) -> None:
        self._target.flow(self._target.image, self._target.session_now())

    def _start_alone(self) -> None:
        self._target.start_alone(self._target.session_now())


#: What the TA does or has just been answered. The rest of a command's events come from inside the PTA, which is part of
#: the TEE core: no abort of the TA can split it, only the power can fail there.
_OF_THE_TA = (
    CommandInvoked,
    AuthenticationStep,
    SegmentLoaded,
    SegmentRefused,
    ResourceTableLocated,
    ImageAuthenticated,
    ProcessorStarted,
    ProcessorStopped,
)


class _Serving:
    """Follows the log: whether the TA itself is at work on a command when an event happens."""

    def __init__(self) -> None:
        self._begun = False

    def end(self) -> None:
        """The TA is about to die: what follows until its next command is the TEE core's work."""
        self._begun = False

    def at(self, record: Record) -> bool:
        """Take notice of the next event."""
        # A power cut leaves a command without its end; the next call is then the first sign of life.
        ended = isinstance(record.payload, (CommandReturned, SmcEntered))
        self._begun = (self._begun and not ended) or isinstance(record.payload, CommandInvoked)
        return self._begun and isinstance(record.payload, _OF_THE_TA)
