"""Fault: one decision of the TA goes wrong while it serves an image, and then the attacker goes on.

The decisions (`cosim.campaign.decisions`) are found by running: each statement that an image reaches, at its first
times and at its last, is a case for each other way that it could go.
"""

from __future__ import annotations

import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Any

from cosim.campaign.decisions import FOLDER, Jump, Place, decisions, describe
from cosim.campaign.forging import attacker_images, older_image
from cosim.campaign.glitch import InstructionGlitches, client_glitches, firmware_glitches
from cosim.campaign.model import CaseId, CaseResult, Kind, Verdict
from cosim.campaign.target import Judgement, Target
from ta.events import ProcessorStarted
from ta.image import parse_image

#: How often at most one statement is forced for one image: its first times, and its last.
_FIRST_TIMES = 3
#: How many pairs of forced decisions a campaign of them tries unless told otherwise.
_PAIRS = 1000


@dataclass(frozen=True)
class _Scenario:
    """Images that are booted in order; the fault hits while `victim` is served."""

    name: str
    before: tuple[bytes, ...]
    victim: bytes
    after: tuple[bytes, ...] = ()
    start: bool = True


@dataclass(frozen=True)
class _Point:
    """The `time`-th time (from 0) that the statement at `place` is reached, go on where `jump` says."""

    scenario: _Scenario
    place: Place
    time: int
    jump: Jump


class DecisionFaults:
    """Every enumerated case forces one decision once."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._decisions = decisions()
        self._points = [point for scenario in _scenarios(target) for point in self._reached(scenario)]
        self.exhaustive = len(self._points)

    def run(self, index: int) -> tuple[Judgement, str]:
        """One forced decision: what came of it, and what it was."""
        return self._run([self._points[index]])

    def run_random(self, rng: random.Random) -> tuple[Judgement, str]:
        """Two forced decisions in one scenario; the second may be one that only an accepted image reaches."""
        first = rng.choice(self._points)
        scenario = rng.choice((first.scenario, self._points[0].scenario))
        others = [p for p in self._points if p.scenario is scenario and (p.place, p.time) != (first.place, first.time)]
        return self._run([first, rng.choice(others)])

    def _run(self, points: list[_Point]) -> tuple[Judgement, str]:
        left = {(point.place, point.time): point.jump for point in points}

        def force(frame: FrameType, place: Place, time: int) -> None:
            jump = left.pop((place, time), None)
            if jump is not None:
                setattr(frame, "f_lineno", jump.to)  # noqa: B010 - typeshed calls it read-only; a tracer may set it

        scenario = points[0].scenario
        crash = self._play(scenario, force)
        judgement = self._target.judge()
        if crash and judgement.verdict is not Verdict.BYPASS:
            judgement = Judgement(Verdict.HANG, f"the TA could not go on: {crash}")
        return judgement, f"{scenario.name}: {' and '.join(map(_tell, points))}"

    def _reached(self, scenario: _Scenario) -> Iterator[_Point]:
        """The points of a scenario; a jump to where control goes anyhow is none."""
        times: Counter[Place] = Counter()
        goes: dict[tuple[Place, int], int] = {}
        pending: dict[FrameType, tuple[Place, int]] = {}

        def note(frame: FrameType, place: Place, time: int) -> None:
            times[place] += 1
            pending[frame] = place, time

        def next_line(frame: FrameType, line: int) -> None:
            at = pending.get(frame)
            if at is not None and not at[0][1] <= line <= self._decisions[at[0]].end:
                goes[pending.pop(frame)] = line

        self._play(scenario, note, next_line)
        if self._target.judge().verdict is Verdict.BYPASS:
            return  # it gets through as it is, so no decision carries anything
        for place, count in times.items():
            for time in sorted({*range(min(count, _FIRST_TIMES)), count - 1}):
                for jump in self._decisions[place].jumps:
                    if goes.get((place, time)) != jump.to or jump.effect == "skipped":
                        yield _Point(scenario, place, time, jump)

    def _play(
        self,
        scenario: _Scenario,
        at: Callable[[FrameType, Place, int], object],
        each: Callable[[FrameType, int], object] = lambda _frame, _line: None,
    ) -> str:
        """Play a scenario and call `at` at each decision while the victim is served; says what crashed, or ""."""
        target, times = self._target, Counter[Place]()

        def lines(frame: FrameType, event: str, _argument: object) -> Any:
            if event == "line":
                place = (frame.f_code.co_filename, frame.f_lineno)
                each(frame, frame.f_lineno)
                if place in self._decisions:
                    time, times[place] = times[place], times[place] + 1
                    at(frame, place, time)
            return lines

        def calls(frame: FrameType, _event: str, _argument: object) -> Any:
            return lines if frame.f_code.co_filename.startswith(FOLDER) else None

        target.reset()
        for image in scenario.before:
            target.flow(image)
        crash = _guarded(calls, lambda: target.flow(scenario.victim, start=scenario.start))
        return crash or _guarded(None, lambda: self._go_on(scenario))

    def _go_on(self, scenario: _Scenario) -> None:
        """What the attacker does with what the fault left: START_FW without LOAD_FW, then further images."""
        started = bool(self._target.soc.log.of(ProcessorStarted))
        self._target.start_alone()
        # An image that never started has raised no counter, so the older one may come.
        for image in scenario.after if started else ():
            self._target.flow(image)


def _scenarios(target: Target) -> list[_Scenario]:
    parsed = parse_image(target.image)
    older = older_image(target.image, parsed)
    found = [_Scenario("untouched image, then an older one", (), target.image, older)]
    found.append(_Scenario("untouched image, released without START_FW", (), target.image, start=False))
    found += [_Scenario("an older image", (target.image,), image) for image in older]
    return found + [_Scenario(name, (), data) for name, data in attacker_images(target.image, parsed)]


def _guarded(trace: Any, work: Callable[[], None]) -> str:
    """Do `work` under a trace function; what it raised in words. Behind a forced decision that may be anything."""
    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    finally:
        sys.settrace(before)
    return ""


def _tell(point: _Point) -> str:
    time = f" ({point.time + 1}. time)" if point.time else ""
    return describe(point.place, point.jump) + time


class Fault:
    """Faults of the TA's decisions, then of the client's instructions, then of the firmware's.

    Random cases are two glitches outside the secure world, which no number of glitches there may touch.
    """

    kind = Kind.FAULT

    def __init__(self, target: Target) -> None:
        self._glitches = (client_glitches(target), firmware_glitches(target))
        self._groups: tuple[DecisionFaults | InstructionGlitches, ...] = (DecisionFaults(target), *self._glitches)
        self.exhaustive = self.usual = sum(group.exhaustive for group in self._groups)

    def run(self, case: CaseId) -> CaseResult:
        """See `Attack`."""
        judgement, what = self._run(case)
        return CaseResult(case, judgement.verdict, what, judgement.evidence)

    def _run(self, case: CaseId) -> tuple[Judgement, str]:
        index = case.index
        for group in self._groups:
            if index < group.exhaustive:
                return group.run(index)
            index -= group.exhaustive
        rng = random.Random(str(case))
        return rng.choice(self._glitches).run_random(rng)


class FaultPairs:
    """Two forced decisions in one life, all of them random: another class of attacker than `Fault`."""

    kind = Kind.FAULT_PAIR
    exhaustive = 0
    usual = _PAIRS

    def __init__(self, target: Target) -> None:
        self._decisions = DecisionFaults(target)

    def run(self, case: CaseId) -> CaseResult:
        """See `Attack`."""
        judgement, what = self._decisions.run_random(random.Random(str(case)))
        return CaseResult(case, judgement.verdict, what, judgement.evidence)
