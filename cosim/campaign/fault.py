"""Fault: one statement of the TA is skipped once while it serves an attacker's image.

A statement that may be skipped is a bare call (verify, check, wipe, close the firewall) or a `raise` (the refusal
itself), with a statement behind it to go on with. Skipping it is what a glitch does to a branch or a call. The points
are found by running: each one that a given image reaches is a case.
"""

from __future__ import annotations

import ast
import itertools
import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import ta
from cosim.campaign.forging import attacker_images
from cosim.campaign.model import CaseId, CaseResult, Kind, Verdict
from cosim.campaign.target import Judgement, Target
from ta.image import parse_image

_FOLDER = str(Path(ta.__file__).parent)
#: What reports to the log decides nothing.
_REPORTS = ("_sink", "sink")
#: Files without decisions: how errors are made, and what stands for the memory of the machine.
_NO_DECISIONS = ("errors.py", "results.py", "events.py", "heap.py", "shared_memory.py")

#: A statement of the TA: source file and first line.
Place = tuple[str, int]


@dataclass(frozen=True)
class _Point:
    """Skip the statement at `place` while the image called `image` is served."""

    image: str
    data: bytes
    place: Place


class Fault:
    """Every case skips one statement once; random cases skip two."""

    kind = Kind.FAULT

    def __init__(self, target: Target) -> None:
        self._target = target
        self._next = _skippable()
        images = [("untouched image", target.image), *attacker_images(target.image, parse_image(target.image))]
        self._points = [_Point(name, data, place) for name, data in images for place in self._reached(data)]
        self.exhaustive = len(self._points)
        self.usual = self.exhaustive

    def run(self, case: CaseId) -> CaseResult:
        """See `Attack`."""
        if case.index < self.exhaustive:
            point = self._points[case.index]
            places = [point.place]
        else:
            rng = random.Random(str(case))
            point = rng.choice(self._points)
            others = [other.place for other in self._points if other.image == point.image]
            places = [point.place, rng.choice(others)]
        left = set(places)

        def skip(frame: FrameType, place: Place) -> None:
            if place in left:
                left.remove(place)
                setattr(frame, "f_lineno", self._next[place])  # noqa: B010 - typeshed calls it read-only; a tracer may set it

        crash = self._play(point.data, skip)
        judgement = self._target.judge()
        if crash and judgement.verdict is not Verdict.BYPASS:
            judgement = Judgement(Verdict.HANG, f"the TA could not go on: {crash}")
        what = " and ".join(_tell(place) for place in places)
        return CaseResult(case, judgement.verdict, f"{point.image}, {what} skipped", judgement.evidence)

    def _reached(self, data: bytes) -> Sequence[Place]:
        found: dict[Place, None] = {}
        self._play(data, lambda _frame, place: found.setdefault(place))
        return tuple(found)

    def _play(self, data: bytes, at: Callable[[FrameType, Place], object]) -> str:
        """Serve an image, and call `at` before each statement that may be skipped; says what crashed, or ""."""

        def lines(frame: FrameType, event: str, _argument: object) -> Any:
            place = (frame.f_code.co_filename, frame.f_lineno)
            if event == "line" and place in self._next:
                at(frame, place)
            return lines

        def calls(frame: FrameType, _event: str, _argument: object) -> Any:
            return lines if frame.f_code.co_filename.startswith(_FOLDER) else None

        self._target.reset()
        before = sys.gettrace()
        sys.settrace(calls)
        try:
            self._target.flow(data)
        except Exception as error:  # behind a skipped check the model may run into anything
            return f"{type(error).__name__}: {error}"
        finally:
            sys.settrace(before)
        return ""


def _tell(place: Place) -> str:
    path, line = place
    text = Path(path).read_text(encoding="utf-8").splitlines()[line - 1].strip()
    return f"ta/{Path(path).name}:{line} `{text}`"


def _skippable() -> dict[Place, int]:
    """Every statement that may be skipped, with the line to go on with."""
    found: dict[Place, int] = {}
    for path in sorted(Path(_FOLDER).glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and path.name not in _NO_DECISIONS:
                _in_block(node.body, None, str(path), found)
    return found


def _in_block(body: Sequence[ast.stmt], after: int | None, path: str, found: dict[Place, int]) -> None:
    """Collect from one block; `after` is where control goes when it ends, None where that is not a statement."""
    for statement, behind in itertools.zip_longest(body, body[1:]):
        follower = behind.lineno if behind is not None else after
        if isinstance(statement, ast.If):
            _in_block(statement.body, follower, path, found)
            _in_block(statement.orelse, follower, path, found)
        elif isinstance(statement, (ast.With, ast.Try, ast.For, ast.While)):
            # A jump may not leave these, so only what has a follower inside can be skipped.
            _in_block(statement.body, None, path, found)
        elif follower is not None and _may_be_skipped(statement):
            found[(path, statement.lineno)] = follower


def _may_be_skipped(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.Raise):
        return True
    if not isinstance(statement, ast.Expr) or not isinstance(statement.value, ast.Call):
        return False
    function = statement.value.func
    return getattr(function, "attr", getattr(function, "id", "")) not in _REPORTS
