"""The costs of code, packed so that a loop in C reads one record per executed instruction.

Records are filled when an instruction first executes. Each holds the bytes that it was made from, and counts only while
these are what lies in memory: changed code, whoever changed it and through whatever alias, never keeps an old cost.
A record depends on the bytes of its instruction and of the one before it, never on the order in which code ran.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from enum import IntFlag

from cosim.timing.decode import Decoder, InstructionCost
from cosim.timing.memory import MemoryTiming
from cosim.timing.operands import AccessForm
from cosim.timing.table import Dynamic

#: Bytes of a record; one lies at every halfword. Layout, a byte each: cycles (0: not decoded yet), after_narrow,
#: after_wide (signed: what a neighbour of 16 or 32 bits directly before it changes; `UNSEEN`: not known yet), refill (P
#: of its own when it leaves), target (further P when it is arrived at), flags (`Flag`), operands (dividend and divisor
#: register of a divide, a nibble each), waits (wait states for each word fetched); then the instruction's bytes as a
#: little-endian word, the upper half 0 for one of 16 bits; then a word for the loop, all ones in a new record; then
#: where it loads or stores (`AccessForm`): base, index (`NO_REGISTER` without), shift, bytes of an access (0: none that
#: could take further cycles; `WRITES` in a store's), the displacement as a signed halfword, how many accesses, unused.
RECORD = 24
CYCLES, AFTER_NARROW, AFTER_WIDE, REFILL, TARGET, FLAGS, OPERANDS, WAITS, CODE = range(9)
BASE, INDEX, SHIFT, ACCESS, DISPLACEMENT, WORDS = 16, 17, 18, 19, 20, 22
UNSEEN = 0x80
NO_REGISTER = 0xFF
WRITES = 0x80
#: Records lie in pages of this much memory each.
PAGE = 0x1000
_LAYOUT = struct.Struct("<8B2I4BhBx")
_WORD = struct.Struct("<I")


class Flag(IntFlag):
    """What a loop must do beside adding up."""

    WIDE = 1  # 32 bits long
    LEAVES = 2  # P is due whatever comes next
    DIVIDE = 4  # cycles are a maximum: ask `Divide` with the operands
    SIGNED = 8
    FPU = 16  # waits for the FPU
    FPU_DIVIDE = 32  # cycles but one pass in the FPU alone
    SWITCHES = 64  # may lead from ARM to Thumb state, or back
    UNKNOWN = 128  # the table does not list it


class CodeCosts:
    """Costs of the code that `read(address, size)` gives: its present bytes, fewer than `size` where memory ends.

    `memory` has the wait states of fetches, and says whether accesses have any. A page of records, once made, never
    moves, for a loop to point at.
    """

    def __init__(self, decoder: Decoder, read: Callable[[int, int], bytes], memory: MemoryTiming | None = None) -> None:
        self.decoder = decoder
        self._read = read
        self._memory = memory
        self._waits = memory is not None and bool(memory.data)
        self._pages: dict[int, bytearray] = {}

    def page(self, address: int) -> bytearray:
        """The records of the page that `address` lies in."""
        page = self._pages.get(address // PAGE)
        if page is None:
            page = self._pages[address // PAGE] = bytearray(PAGE // 2 * RECORD)
        return page

    @staticmethod
    def offset(address: int) -> int:
        """Where the record of `address` starts in its page."""
        return address % PAGE // 2 * RECORD

    def ensure(self, address: int) -> tuple[bytearray, int]:
        """The page and offset of the record of the instruction that lies at `address` now."""
        page, offset = self.page(address), self.offset(address)
        if not page[offset] or _WORD.unpack_from(page, offset + CODE)[0] != self._code(address)[1]:
            self._fill(address, self.instruction(address))
        return page, offset

    def prepare(self, address: int, most: int = 64) -> int:
        """Decode the run of at most `most` instructions from `address` on, and what neighbours add; returns its length.

        The run ends before an instruction that was decoded already and behind one that always leads elsewhere or is
        unknown, so that a loop calls back once a run and not once an instruction. The first one is decoded in any case.
        """
        before: InstructionCost | None = None
        for length in range(most):
            page, offset = self.page(address), self.offset(address)
            if before is not None and page[offset]:
                return length
            found = self.instruction(address)
            self._fill(address, found)
            if before is not None:
                place = AFTER_WIDE if before.size == 4 else AFTER_NARROW
                page[offset + place] = self.decoder.pair_cycles(before, found) & 0xFF
            if found.leaves or not found.known:
                return length + 1
            before, address = found, address + found.size & 0xFFFF_FFFF
        return most

    def pair(self, before: int, address: int) -> int:
        """What the instruction at `address` takes more directly behind the one at `before`; both were ensured."""
        page = self.page(address)
        place = self.offset(address) + (AFTER_WIDE if address - before == 4 else AFTER_NARROW)
        if page[place] == UNSEEN:
            page[place] = self.decoder.pair_cycles(self.instruction(before), self.instruction(address)) & 0xFF
        value = page[place]
        return value - 256 if value > UNSEEN else value

    def instruction(self, address: int) -> InstructionCost:
        """The decoded instruction at `address`, from the bytes that lie there now."""
        return self.decoder.one(self._code(address)[0])

    def _code(self, address: int) -> tuple[bytes, int]:
        """The bytes of the instruction that lies at `address`, and the same as a word."""
        code = self._read(address, 4)
        code = code[: self.decoder.width(code)]
        return code, int.from_bytes(code, "little")

    def _access(self, form: AccessForm | None) -> tuple[int, int, int, int, int, int]:
        """The fields of a record from `BASE` on; those of no access where none can take further cycles."""
        if form is None or not (self._waits or self._may_be_unaligned(form)):
            return NO_REGISTER, NO_REGISTER, 0, 0, 0, 0
        index = NO_REGISTER if form.index is None else form.index
        size = form.size | (WRITES if form.write else 0)
        return form.base, index, form.shift, size, form.displacement, form.words

    def _may_be_unaligned(self, form: AccessForm) -> bool:
        costs = self.decoder.table.unaligned
        if form.words > 1 or not any(costs.cycles(address, form.size) for address in (1, 2)):
            return False
        # SP and PC are always aligned (ARMv7-M manual, B1.4.1).
        return form.base not in (13, 15) or form.index is not None or form.displacement % form.size != 0

    def _fill(self, address: int, found: InstructionCost) -> None:
        table = self.decoder.table
        flags = Flag(0)
        if found.size == 4:
            flags |= Flag.WIDE
        if found.leaves:
            flags |= Flag.LEAVES
        if found.row.dynamic is Dynamic.DIVIDE:
            flags |= Flag.DIVIDE
        if found.signed:
            flags |= Flag.SIGNED
        if "fpu" in found.row.tags:
            flags |= Flag.FPU
        if found.row.dynamic is Dynamic.FPU_DIVIDE:
            flags |= Flag.FPU_DIVIDE
        if found.switches:
            flags |= Flag.SWITCHES
        if not found.known:
            flags |= Flag.UNKNOWN
        region = self._memory.at(address) if self._memory is not None else None
        _LAYOUT.pack_into(
            self.page(address),
            self.offset(address),
            found.cycles,
            UNSEEN,
            UNSEEN,
            found.row.refill,
            table.unaligned_wide_target if found.size == 4 and address % 4 == 2 else 0,
            flags,
            found.dividend << 4 | found.divisor,
            region.fetch if region is not None else 0,
            self._code(address)[1],
            0xFFFF_FFFF,
            *self._access(found.access),
        )
        # What the instruction behind it pairs with is another one now, whichever length this one had before.
        for behind, place in ((address + 2, AFTER_NARROW), (address + 4, AFTER_WIDE)):
            page = self._pages.get((behind & 0xFFFF_FFFF) // PAGE)
            if page is not None:
                page[self.offset(behind) + place] = UNSEEN
