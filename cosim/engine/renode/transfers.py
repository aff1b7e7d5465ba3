"""How wide the access of a load or store is, and what a store writes: Renode's fault hook tells only the address.

Encodings: ARMv7-A/R manual, A5.3 (A32), A6.2 and A6.3 (T32); the ARMv7-M ones are a subset. Of a multiple transfer the
first word counts. Floating-point and unknown transfers count as words of unknown value (0).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

#: Reads r0 to r15 by number.
ReadRegister = Callable[[int], int]
_T16_REGISTER_SIZES = (4, 2, 1, 1, 4, 2, 1, 2)  # STR, STRH, STRB, LDRSB, LDR, LDRH, LDRB, LDRSH
_FIELD_SIZES = (1, 2, 4, 4)


@dataclass(frozen=True)
class Transfer:
    """Width in bytes, and the number of the register whose low bytes a store writes (None: unknown)."""

    size: int
    register: int | None

    def value(self, read: ReadRegister) -> int:
        """What a store of this kind writes."""
        return 0 if self.register is None else read(self.register) & ((1 << 8 * self.size) - 1)


UNKNOWN = Transfer(4, None)


def decode(code: bytes, *, thumb: bool) -> Transfer:
    """The transfer that the instruction at the start of `code` (four bytes) makes."""
    first, second = int.from_bytes(code[:2], "little"), int.from_bytes(code[2:4], "little")
    if not thumb:
        return _a32(second << 16 | first)
    return _t32(first, second) if first >> 11 in (0b11101, 0b11110, 0b11111) else _t16(first)


def _lowest(registers: int) -> int | None:
    return (registers & -registers).bit_length() - 1 if registers else None


def _t16(word: int) -> Transfer:
    top = word >> 12
    if top == 5:
        return Transfer(_T16_REGISTER_SIZES[word >> 9 & 7], word & 7)
    if top in (6, 7, 8):
        return Transfer({6: 4, 7: 1, 8: 2}[top], word & 7)
    if top == 9:
        return Transfer(4, word >> 8 & 7)
    if top == 12:
        return Transfer(4, _lowest(word & 0xFF))
    if word & 0xFE00 == 0xB400:
        return Transfer(4, _lowest(word & 0xFF | (word & 0x100) << 6))
    return UNKNOWN


def _t32(first: int, second: int) -> Transfer:
    if first & 0xFE00 == 0xF800:
        return Transfer(_FIELD_SIZES[first >> 5 & 3], second >> 12)
    if first & 0xFE40 == 0xE800:
        return Transfer(4, _lowest(second))
    if first & 0xFFE0 == 0xE8C0 and second >> 6 & 3 == 1:
        return Transfer(_FIELD_SIZES[second >> 4 & 3], second >> 12)  # LDREXB, LDREXH, STREXB, STREXH
    return Transfer(4, second >> 12) if first & 0xFE40 == 0xE840 else UNKNOWN


def _a32(word: int) -> Transfer:
    register = word >> 12 & 15
    if word >> 26 & 3 == 1:
        return Transfer(1 if word >> 22 & 1 else 4, register)
    if word >> 25 & 7 == 4:
        return Transfer(4, _lowest(word & 0xFFFF))
    if word & 0x0F8000F0 == 0x01800090:
        return Transfer({0: 4, 1: 8, 2: 1, 3: 2}[word >> 21 & 3], word & 15)  # the exclusives
    kind = word >> 5 & 3
    if word >> 25 & 7 == 0 and word & 0x90 == 0x90 and kind:
        if word >> 20 & 1:
            return Transfer({1: 2, 2: 1, 3: 2}[kind], register)
        return Transfer(2 if kind == 1 else 4, register)  # STRH; LDRD and STRD begin with a word
    return UNKNOWN
