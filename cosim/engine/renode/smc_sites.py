"""Finds `smc` instructions in code, because Renode's ARMv7-A core does not deliver them.

Encodings: ARMv7-A manual, A8.8.162 (SMC): A1 `cond 0001 0110 0000 0000 0000 0111 imm4`, T1 `1111 0111 1111 imm4 1000
0000 0000 0000`. Which of the two holds is known only when the instruction is reached.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_A32 = rb"[\x70-\x7f]\x00\x60[\x01\x11\x21\x31\x41\x51\x61\x71\x81\x91\xa1\xb1\xc1\xd1\xe1]"
_T32 = rb"[\xf0-\xff]\xf7\x00\x80"
# Looking ahead finds overlapping matches too, of which only the aligned ones count.
_SEARCHES = ((re.compile(b"(?=%b)" % _A32), 4), (re.compile(b"(?=%b)" % _T32), 2))
SIZE = 4


def find_sites(code: bytes, address: int) -> Iterator[int]:
    """Addresses of what encodes an SMC in `code`, which lies at `address` (halfword-aligned)."""
    for pattern, alignment in _SEARCHES:
        for match in pattern.finditer(code):
            if (address + match.start()) % alignment == 0:
                yield address + match.start()


def is_smc(word: bytes, *, thumb: bool) -> bool:
    """Whether the four bytes are an SMC in the given instruction set."""
    return re.fullmatch(_T32 if thumb else _A32, word) is not None


def condition_holds(condition: int, cpsr: int) -> bool:
    """Whether an instruction with this condition field executes (ARMv7-A manual, A8.3.1)."""
    n, z, c, v = (bool(cpsr >> bit & 1) for bit in (31, 30, 29, 28))
    tests = (z, c, n, v, c and not z, n == v, n == v and not z, True)
    holds = tests[condition >> 1 & 7]
    return holds if condition >= 14 or not condition & 1 else not holds
