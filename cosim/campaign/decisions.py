"""The decisions of the TA's source: where a fault can send it another way, statement by statement.

A glitch skips an instruction or turns a branch. In the source that is a statement which does not happen, or an `if`
that goes the wrong way. Jumps stay within one block, so what has no statement behind it in its block has no jump.
"""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import ta

FOLDER = str(Path(ta.__file__).parent)
#: What reports to the log decides nothing.
_REPORTS = ("_sink", "sink")
#: Files without decisions: how errors are made, and what stands for the memory of the machine.
_NO_DECISIONS = ("errors.py", "results.py", "events.py", "heap.py", "shared_memory.py")
_SIMPLE = (ast.Raise, ast.Assign, ast.AugAssign, ast.Return)
_BLOCKS = (ast.With, ast.Try, ast.For, ast.While)

#: A statement: source file and first line.
Place = tuple[str, int]


@dataclass(frozen=True)
class Jump:
    """Go on at line `to` instead of executing the statement; `effect` says what that does."""

    to: int
    effect: str  # "skipped", "taken", "not taken"


@dataclass(frozen=True)
class Decision:
    """A statement, the last line of what it evaluates itself, and where a fault can send it."""

    end: int
    jumps: tuple[Jump, ...]


def decisions() -> Mapping[Place, Decision]:
    """Every decision of the secure world's source."""
    found: dict[Place, Decision] = {}
    for path in sorted(Path(FOLDER).glob("*.py")):
        if path.name in _NO_DECISIONS:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                for line, decision in _in_block(node.body, None):
                    found[(str(path), line)] = decision
    return found


def describe(place: Place, jump: Jump) -> str:
    """A jump in words, with the first line of its statement."""
    path, line = place
    text = Path(path).read_text(encoding="utf-8").splitlines()[line - 1].strip()
    return f"ta/{Path(path).name}:{line} `{text}` {jump.effect}"


def _in_block(body: Sequence[ast.stmt], after: int | None) -> Iterator[tuple[int, Decision]]:
    """The decisions of one block; `after` is where control goes when it ends, None where that is not a statement."""
    for statement, behind in itertools.zip_longest(body, body[1:]):
        follower = behind.lineno if behind is not None else after
        if isinstance(statement, ast.If):
            yield statement.lineno, Decision(statement.test.end_lineno or statement.lineno, _ways(statement, follower))
            yield from _in_block(statement.body, follower)
            yield from _in_block(statement.orelse, follower)
            continue
        if follower is not None and _may_be_skipped(statement):
            yield statement.lineno, Decision(statement.lineno, (Jump(follower, "skipped"),))
        if isinstance(statement, _BLOCKS):
            # A jump may not leave these, so the last statement inside has no jump.
            yield from _in_block(statement.body, None)
        if isinstance(statement, ast.Try):
            for handler in statement.handlers:
                yield from _in_block(handler.body, None)


def _ways(statement: ast.If, follower: int | None) -> tuple[Jump, ...]:
    ways = [Jump(statement.body[0].lineno, "taken")]
    other = statement.orelse[0].lineno if statement.orelse else follower
    return tuple(ways if other is None else [*ways, Jump(other, "not taken")])


def _may_be_skipped(statement: ast.stmt) -> bool:
    if isinstance(statement, (*_SIMPLE, *_BLOCKS)):
        return True
    if not isinstance(statement, ast.Expr) or not isinstance(statement.value, ast.Call):
        return False
    function = statement.value.func
    return getattr(function, "attr", getattr(function, "id", "")) not in _REPORTS
