"""What a fuzz target is, and the small helpers that every target uses.

A target plays one input and raises when an invariant does not hold. `BrokenInvariantError` is never a `CosimError`, so
no handler of the code under test can swallow it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
VECTORS = HERE.parent / "vectors"

#: Plays one input.
Play = Callable[[bytes], None]


class BrokenInvariantError(Exception):
    """What must hold for every input does not hold for this one."""


def require(holds: bool, what: str) -> None:
    """Raise `BrokenInvariantError` unless `holds`; an assert would be gone under -O."""
    if not holds:
        raise BrokenInvariantError(what)


@dataclass(frozen=True)
class FuzzTarget:
    """`seeds` are good inputs to start from; `make` builds whatever is needed once; inputs have up to `most` bytes."""

    name: str
    seeds: Callable[[], Sequence[bytes]]
    make: Callable[[], Play]
    most: int

    @property
    def corpus(self) -> Path:
        """Folder of the inputs that a fuzzer found: each once broke something, or reached what no seed reaches."""
        return HERE / "corpus" / self.name

    def inputs(self) -> list[bytes]:
        """Seeds, then the corpus in the order of its file names."""
        files = sorted(self.corpus.glob("*")) if self.corpus.is_dir() else []
        return [*self.seeds(), *(file.read_bytes() for file in files)]


def take(data: bytes, size: int) -> tuple[bytes, bytes]:
    """The first `size` bytes, filled up with zeros, and the rest."""
    return data[:size].ljust(size, b"\0"), data[size:]
