"""Double fetch: while the TA works on shared memory, the normal world changes a word of it between two reads."""

from __future__ import annotations

import random
from dataclasses import dataclass

from cosim.campaign.caller import IMAGE
from cosim.campaign.model import CaseId, CaseResult, Kind
from cosim.campaign.target import Target

_RANDOM_CASES = 1000
#: Reads up to this size get every value; larger ones, which are contents, only a flipped bit.
_SMALL = 64
_VALUES = ("flip", 0, 1, 0x80000000, 0xFFFFFFF9, 0xFFFFFFFF)
_MOMENTS = ("before", "after", "during")


@dataclass(frozen=True)
class _Change:
    """Set the word at `address` when the TA makes its `read`-th read of shared memory.

    `moment`: before that read, after it (just before the next one), or during it alone, put back before the next.
    """

    read: int
    address: int
    moment: str
    value: int | str


class DoubleFetch:
    """Every case is one LOAD_FW of the untouched image, with one word of shared memory changed on the way."""

    kind = Kind.DOUBLE_FETCH

    def __init__(self, target: Target) -> None:
        self._target = target
        self._reads = _reads_of(target)
        self._changes = [
            _Change(read, at, moment, value)
            for read, (address, size) in enumerate(self._reads)
            for at in range(address - address % 4, address + size, 4)
            for moment in _MOMENTS
            for value in (_VALUES if size <= _SMALL else _VALUES[:1])
        ]
        self.exhaustive = len(self._changes)
        self.usual = self.exhaustive + _RANDOM_CASES

    def run(self, case: CaseId) -> CaseResult:
        """See `Attack`."""
        change = self._changes[case.index] if case.index < self.exhaustive else self._random(case)
        target = self._target
        target.reset()
        memory = target.soc.secure_world.shared_memory
        first = memory.reads
        before = change.read + (change.moment == "after")
        old = b""

        def act(reads: int, _address: int, _size: int) -> None:
            nonlocal old
            number = reads - first
            if number == before:
                old = target.caller.read(change.address, 4)
                target.caller.write(change.address, _new_word(old, change.value))
            elif number == before + 1 and change.moment == "during":
                target.caller.write(change.address, old)

        memory.observer = act
        target.flow(target.image)
        judgement = target.judge()
        return CaseResult(case, judgement.verdict, self._tell(change), judgement.evidence)

    def _random(self, case: CaseId) -> _Change:
        rng = random.Random(str(case))
        read = rng.randrange(len(self._reads))
        address, size = rng.choice(self._reads)
        at = address + rng.randrange(size)
        value = rng.choice((*_VALUES, rng.getrandbits(32), rng.getrandbits(8)))
        return _Change(read, at - at % 4, rng.choice(_MOMENTS), value)

    def _tell(self, change: _Change) -> str:
        address, size = self._reads[change.read]
        value = "^ 1" if isinstance(change.value, str) else f"= 0x{change.value:08x}"
        where = f"word 0x{change.address:08x}"
        if IMAGE <= change.address < IMAGE + len(self._target.image):
            where += f" (image+0x{change.address - IMAGE:x})"
        return f"{where} {value} {change.moment} read {change.read} (0x{address:08x}, {size} bytes)"


def _reads_of(target: Target) -> list[tuple[int, int]]:
    """Address and size of every read that LOAD_FW of the untouched image makes of shared memory."""
    reads: list[tuple[int, int]] = []
    target.reset()
    target.caller.write(IMAGE, target.image)
    target.soc.secure_world.shared_memory.observer = lambda _count, address, size: reads.append((address, size))
    target.caller.load(target.session, len(target.image))
    target.reset()
    return [(address, size) for address, size in reads if size]


def _new_word(old: bytes, value: int | str) -> bytes:
    word = int.from_bytes(old, "little") ^ 1 if isinstance(value, str) else value
    return word.to_bytes(4, "little")
