"""Opcode traps: instructions at which a lane stops for the engine, told by a pattern of their encoding.

Unicorn executes some instructions without asking anybody that the engine has to know of. Which ones these are, a core
says with a table of `Trap`; which of them count at the moment, with the bits of `Lane.traps_on`. A first-level table
over one byte of the encoding keeps the rest of the code at one load and one test.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

MAX_TRAPS = 31
THUMB, ARM = 0, 1


@dataclass(frozen=True)
class Trap:
    """Instructions whose encoding, masked, equals `value`.

    An encoding is written as the Arm manuals print it: 16-bit Thumb `size` 2, 32-bit Thumb with its first halfword in
    the upper half, ARM with `arm` set. `after` stops behind the instruction, which has retired; otherwise the lane
    stands before it. `when_zero` is the position of a 4-bit register field: only where that register holds zero.
    `when_unaligned`, likewise (3 bits in a 16-bit instruction): only where it holds no multiple of four.

    An instruction that its IT block skips is not trapped; an ARM instruction is, whatever its condition says.
    """

    size: int
    mask: int
    value: int
    after: bool = False
    arm: bool = False
    when_zero: int | None = None
    when_unaligned: int | None = None


def filters(traps: Sequence[Trap]) -> tuple[list[int], list[int]]:
    """Bits of the traps that may match, by the top byte of the first Thumb halfword, and by bits 27:20 of ARM."""
    tables: tuple[list[int], list[int]] = ([0] * 256, [0] * 256)
    for number, trap in enumerate(traps):
        shift = 20 if trap.arm else 8 * trap.size - 8
        mask, value = trap.mask >> shift & 0xFF, trap.value >> shift & 0xFF
        table = tables[ARM if trap.arm else THUMB]
        for index in range(256):
            if index & mask == value:
                table[index] |= 1 << number
    return tables


def next_it_state(state: int) -> int:
    """ITSTATE behind one more member of its block (ARMv7-M manual, A7.3.2: ITAdvance)."""
    return state & 0xE0 | state << 1 & 0x1F if state & 7 else 0
