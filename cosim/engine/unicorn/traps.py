"""Opcode traps: instructions at which a lane stops for the engine, told by a pattern of their encoding.

Unicorn executes some instructions without asking anybody that the engine has to know of. Which ones these are, a core
says with a table of `Trap`; which of them count at the moment, with the bits of `Lane.traps_on`. A first-level table
over one byte of the encoding keeps the rest of the code at one load and one test.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import NamedTuple

MAX_TRAPS = 31
THUMB, ARM = 0, 1


@dataclass(frozen=True)
class Trap:
    """Instructions whose encoding, masked, equals `value`.

    An encoding is written as the Arm manuals print it: 16-bit Thumb `size` 2, 32-bit Thumb with its first halfword in
    the upper half, ARM with `arm` set. `after` stops behind the instruction, which has retired; otherwise the lane
    stands before it. `when_zero` is the position of a 4-bit register field: only where that register holds zero.
    `when_unaligned`, likewise (3 bits in a 16-bit instruction): only where it holds no multiple of four.
    `when_misplaced`: only where the single load or store accesses an address that is no multiple of its size.

    An instruction that its IT block skips is not trapped; an ARM instruction is, whatever its condition says.
    """

    size: int
    mask: int
    value: int
    after: bool = False
    arm: bool = False
    when_zero: int | None = None
    when_unaligned: int | None = None
    when_misplaced: bool = False


class Reach(NamedTuple):
    """What a load or store of `size` bytes accesses: `base` + (`offset` << `shift`) + `displacement`.

    `base` and `offset` are registers by number. A base of 15 is PC as a multiple of four, an offset of 15 is none.
    """

    base: int
    offset: int
    shift: int
    displacement: int
    size: int


_NONE = 15
#: Bytes of the 16-bit loads and stores with a register offset, by their opcode field (A5.2.4).
_SIZES_16 = (4, 2, 1, 1, 4, 2, 1, 2)


def reach(opcode: int, size: int) -> Reach:
    """The address of a single Thumb load or store (ARMv7-M manual, A5.2.4, A5.3.6 to A5.3.10)."""
    if size == 2:
        base, immediate = opcode >> 3 & 7, opcode >> 6 & 31
        if opcode >> 12 == 5:
            return Reach(base, opcode >> 6 & 7, 0, 0, _SIZES_16[opcode >> 9 & 7])
        width = 4 if opcode >> 12 == 6 else 2
        return Reach(base, _NONE, 0, width * immediate, width)
    base, width = opcode >> 16 & 15, (1, 2, 4, 1)[opcode >> 21 & 3]
    if opcode >> 24 == 0xE8:  # LDREXH, STREXH
        return Reach(base, _NONE, 0, 0, 2)
    if base != _NONE and not opcode & (1 << 23 | 1 << 11):
        return Reach(base, opcode & 15, opcode >> 4 & 3, 0, width)
    return Reach(base, _NONE, 0, _displacement(opcode), width)


def _displacement(opcode: int) -> int:
    """The immediate offset of a 32-bit load or store: of 12 bits, or of 8 bits that come after if P is clear."""
    if opcode & 1 << 23:
        return opcode & 0xFFF
    if opcode >> 16 & 15 == _NONE:
        return -(opcode & 0xFFF)
    offset = opcode & 0xFF if opcode & 0x200 else -(opcode & 0xFF)
    return offset if opcode & 0x400 else 0


@functools.lru_cache(maxsize=8)  # every core of a kind has the same traps
def filters(traps: tuple[Trap, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Bits of the traps that may match, by the top byte of the first Thumb halfword, and by bits 27:20 of ARM."""
    tables: tuple[list[int], list[int]] = ([0] * 256, [0] * 256)
    for number, trap in enumerate(traps):
        shift = 20 if trap.arm else 8 * trap.size - 8
        mask, value = trap.mask >> shift & 0xFF, trap.value >> shift & 0xFF
        table = tables[ARM if trap.arm else THUMB]
        for index in range(256):
            if index & mask == value:
                table[index] |= 1 << number
    return tuple(tables[THUMB]), tuple(tables[ARM])


def next_it_state(state: int) -> int:
    """ITSTATE behind one more member of its block (ARMv7-M manual, A7.3.2: ITAdvance)."""
    return state & 0xE0 | state << 1 & 0x1F if state & 7 else 0
