"""What a benchmark returns, how large the benchmarks are, and how something is timed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Ratio:
    """A measurement divided by its yardstick, which was measured in the same process."""

    value: float
    yardstick: str


@dataclass(frozen=True)
class Measurement:
    """One number. `how` says what was taken: a median or the best of how many."""

    section: str
    name: str
    value: float
    unit: str
    how: str
    ratios: tuple[Ratio, ...] = ()

    def as_dict(self) -> dict[str, object]:
        """JSON-ready."""
        return asdict(self)


@dataclass(frozen=True)
class Skipped:
    """What could not be measured here, and why."""

    section: str
    name: str
    reason: str

    def as_dict(self) -> dict[str, object]:
        """JSON-ready."""
        return asdict(self)


Finding = Measurement | Skipped


@dataclass(frozen=True)
class Sizes:
    """How much is measured: repeats of everything, instructions and accesses per run, boots and decisions in a row.

    `mutations` and `races` are the cases of the two campaigns, `messages` go to the echo firmware and back.
    """

    repeats: int = 5
    native_instructions: int = 20_000_000
    python_instructions: int = 1_000_000
    accesses: int = 5_000
    boots: int = 20
    quanta: tuple[int, ...] = (100, 1_000, 10_000)
    decisions: int = 100
    mutations: int = 8_000
    races: int = 1_000
    messages: int = 1_000


#: Enough to see that everything works; the numbers mean little.
QUICK = Sizes(1, 400_000, 40_000, 200, 2, (100, 1_000), decisions=2, mutations=130, races=130, messages=20)


def processor_seconds(action: Callable[[], T]) -> tuple[float, T]:
    """Seconds of this process on the processor that `action` takes, and what it returns; waiting does not count."""
    begin = time.process_time()
    result = action()
    return time.process_time() - begin, result
