"""Image mutation: bits, bytes, fields, truncation and structure of the signed image, exhaustive first, random after."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cosim.campaign.fields import header_spans, number_fields
from cosim.campaign.forging import structures
from cosim.campaign.model import CaseId, CaseResult, Kind
from cosim.campaign.target import Target
from ta.image import SignedImage, parse_image

_MASKS = (0x01, 0x80, 0xFF)
_RANDOM_CASES = 2000
_MOST_GROWTH = 16


@dataclass(frozen=True)
class Mutant:
    """A changed image; `vendor` when it was signed with the right key, which no attacker has."""

    what: str
    data: bytes
    vendor: bool = False


@dataclass(frozen=True)
class _Group:
    """`count` cases of one sort; `make` builds the n-th."""

    count: int
    make: Callable[[int], Mutant]


class Mutation:
    """Every case hands one changed image to LOAD_FW, and starts it if that succeeds."""

    kind = Kind.MUTATION

    def __init__(self, target: Target) -> None:
        self._target = target
        self._data = target.image
        parsed = parse_image(self._data)
        self._groups = _groups(self._data, parsed)
        self.exhaustive = sum(group.count for group in self._groups)
        self.usual = self.exhaustive + _RANDOM_CASES
        # Where random changes go: half of them where numbers are.
        self._numbers = [field.offset for field in number_fields(parsed, self._data)]

    def run(self, case: CaseId) -> CaseResult:
        """See `Attack`."""
        mutant = self.mutant(case)
        self._target.reset(vendor=mutant.vendor)
        self._target.flow(mutant.data)
        judgement = self._target.judge()
        return CaseResult(case, judgement.verdict, mutant.what, judgement.evidence)

    def mutant(self, case: CaseId) -> Mutant:
        """The changed image of a case."""
        index = case.index
        for group in self._groups:
            if index < group.count:
                return group.make(index)
            index -= group.count
        return self._random(random.Random(str(case)))

    def _random(self, rng: random.Random) -> Mutant:
        data, told = bytearray(self._data), []
        for _ in range(rng.choice((1, 1, 2, 3, 5, 8))):
            at = rng.choice(self._numbers) if rng.random() < 0.5 else rng.randrange(len(self._data))
            size = rng.choice((1, 1, 2, 4, 8))
            source = rng.randrange(len(self._data))
            new = self._data[source : source + size] if rng.random() < 0.3 else rng.randbytes(size)
            data[at : at + len(new)] = new
            told.append(f"0x{at:x}={new.hex()}")
        if rng.random() < 0.1:
            del data[rng.randrange(1, len(data)) :]
            told.append(f"cut to {len(data)}")
        return Mutant("random change: " + ", ".join(told), bytes(data))


def _groups(data: bytes, parsed: SignedImage) -> list[_Group]:
    signed_size = parsed.header.image_offset
    spans = header_spans(parsed, data)
    places = [(span.name, span.offset, at) for span in spans for at in range(span.offset, span.offset + span.size)]
    boundaries = _boundaries(data, parsed)
    forged = structures(data, parsed)

    def bit(index: int) -> Mutant:
        at, number = divmod(index, 8)
        return Mutant(f"bit {number} of byte 0x{at:x} ({_part(parsed, at)})", _xor(data, at, 1 << number))

    def byte(index: int) -> Mutant:
        (name, start, at), mask = places[index // len(_MASKS)], _MASKS[index % len(_MASKS)]
        return Mutant(f"byte 0x{at:x} ({name}+0x{at - start:x}) ^ 0x{mask:02x}", _xor(data, at, mask))

    def boundary(index: int) -> Mutant:
        name, at, size, value = boundaries[index]
        changed = data[:at] + value.to_bytes(size, "little") + data[at + size :]
        return Mutant(f"{name} at 0x{at:x} = 0x{value:x}", changed)

    def cut(index: int) -> Mutant:
        return Mutant(f"cut to {index + 1} bytes", data[: index + 1])

    def grown(index: int) -> Mutant:
        return Mutant(f"{index + 1} bytes appended", data + bytes(index + 1))

    def structure(index: int) -> Mutant:
        made = forged[index]
        return Mutant(made.what, made.make(), made.vendor)

    return [
        _Group(8 * signed_size, bit),
        _Group(len(places) * len(_MASKS), byte),
        _Group(len(boundaries), boundary),
        _Group(len(data) - 1, cut),
        _Group(_MOST_GROWTH, grown),
        _Group(len(forged), structure),
    ]


def _boundaries(data: bytes, parsed: SignedImage) -> Sequence[tuple[str, int, int, int]]:
    """(field, offset, size, value) for each field and each value at which something could tip over."""
    sizes = (len(data), parsed.header.image_offset, parsed.header.img_len, parsed.header.tlv_len)
    near = [size + delta for size in sizes for delta in (-1, 0, 1)]
    wide = [0x7FFFFFFF, 0x80000000, 0xFFFFFFD8, 0xFFFFFFF8, 0xFFFFFFF9, 0xFFFFFFFF]
    places = [0x10000000, 0x10048000, 0x30000000, 0x38000000, 0xC0000000]
    values = sorted({0, 1, 2, 3, 4, 7, 8, 0x7F, 0x80, 0xFF, 0xFFFF, *near, *wide, *places})
    return [
        (field.name, field.offset, field.size, value)
        for field in number_fields(parsed, data)
        for value in values
        if 0 <= value < 1 << 8 * field.size
        and value != int.from_bytes(data[field.offset : field.offset + field.size], "little")
    ]


def _part(parsed: SignedImage, at: int) -> str:
    if at < parsed.header.sign_offset:
        return next((t.name for t in reversed(parsed.tlvs) if t.offset <= at), "header")
    return "signature"


def _xor(data: bytes, at: int, mask: int) -> bytes:
    return data[:at] + bytes([data[at] ^ mask]) + data[at + 1 :]
