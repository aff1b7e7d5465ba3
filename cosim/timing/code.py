"""The costs of a range of code memory, packed so that a loop in C reads one record per executed instruction.

Records are filled when an instruction first executes and forgotten by range when its bytes change. A record depends on
the bytes of its instruction and of the one before it only, never on the order in which code ran.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntFlag

from cosim.errors import UsageError
from cosim.timing.decode import Decoder, InstructionCost
from cosim.timing.table import Dynamic

#: Bytes of a record; one lies at every halfword of the range. Layout, a byte each:
#: cycles (0: not decoded yet), after_narrow, after_wide (signed: what a neighbour of 16 or 32 bits directly before it
#: changes; `UNSEEN`: not known yet), refill (P of its own when it leaves), target (further P when it is arrived at),
#: flags (`Flag`), operands (dividend and divisor register of a divide, a nibble each), spare.
RECORD = 8
CYCLES, AFTER_NARROW, AFTER_WIDE, REFILL, TARGET, FLAGS, OPERANDS = range(7)
UNSEEN = 0x80
MOST_BYTES = 64 << 20


class Flag(IntFlag):
    """What a loop must do beside adding up."""

    WIDE = 1  # 32 bits long
    LEAVES = 2  # P is due whatever comes next
    DIVIDE = 4  # cycles are a maximum: ask `Divide` with the operands
    SIGNED = 8
    FPU = 16  # waits for the FPU
    FPU_DIVIDE = 32  # cycles but one pass in the FPU alone
    WAIT = 64
    UNKNOWN = 128  # the table does not list it


class CodeCosts:
    """Costs of the code in [`base`, `base` + `size`), byte addresses; `read(address, size)` gives its present bytes.

    `records` is the packed table: a `bytearray` that never moves, for a loop to point at.
    Raises `UsageError` for a range that is not made of whole words, or too large.
    """

    def __init__(self, decoder: Decoder, base: int, size: int, read: Callable[[int, int], bytes]) -> None:
        if base % 4 or size % 4 or not 0 < size <= MOST_BYTES or not 0 <= base <= (1 << 32) - size:
            raise UsageError(
                f"costs of 0x{base:08x} + 0x{size:x}: not a range of code",
                hint=f"whole words, at most {MOST_BYTES} bytes, below 4 GiB",
                address=base,
                size=size,
            )
        self.decoder = decoder
        self.base = base
        self.size = size
        self.records = bytearray(size // 2 * RECORD)
        self.unknown: set[int] = set()
        self._read = read

    def __contains__(self, address: int) -> bool:
        return 0 <= address - self.base < self.size

    def offset(self, address: int) -> int:
        """Where the record of `address` starts in `records`."""
        return (address - self.base) // 2 * RECORD

    def ensure(self, address: int) -> int:
        """Decode the instruction at `address` if that was not done; returns the offset of its record.

        Raises `UsageError` when it does not lie in the range.
        """
        if address not in self:
            raise UsageError(f"0x{address:08x} has no costs here", hint="ask the range it lies in", address=address)
        offset = self.offset(address)
        if not self.records[offset]:
            self._fill(offset, self.instruction(address))
        return offset

    def prepare(self, address: int, most: int = 64) -> int:
        """Decode the run of at most `most` instructions from `address` on, and what neighbours add; returns its length.

        The run ends before an instruction that was decoded already and behind one that always leads elsewhere or is
        unknown, so that a loop calls back once a run and not once an instruction.
        """
        before: InstructionCost | None = None
        for length in range(most):
            if address not in self or self.records[self.offset(address)]:
                return length
            found = self.instruction(address)
            offset = self.offset(address)
            self._fill(offset, found)
            if before is not None:
                place = AFTER_WIDE if before.size == 4 else AFTER_NARROW
                self.records[offset + place] = self.decoder.pair_cycles(before, found) & 0xFF
            if found.leaves or not found.known:
                return length + 1
            before, address = found, address + found.size
        return most

    def pair(self, before: int, address: int) -> int:
        """What the instruction at `address` takes more directly behind the one at `before`; both were ensured."""
        offset = self.offset(address)
        place = offset + (AFTER_WIDE if address - before == 4 else AFTER_NARROW)
        if self.records[place] == UNSEEN:
            cycles = self.decoder.pair_cycles(self.instruction(before), self.instruction(address))
            self.records[place] = cycles & 0xFF
        value = self.records[place]
        return value - 256 if value > UNSEEN else value

    def instruction(self, address: int) -> InstructionCost:
        """The decoded instruction at `address`, from the bytes that lie there now."""
        return self.decoder.one(self._read(address, min(4, self.base + self.size - address)), address)

    def invalidate(self, address: int, size: int) -> None:
        """Forget the costs that depend on the `size` bytes at `address`, which have changed."""
        # An instruction may start two bytes before, and the pair of the one behind it starts up to two behind.
        first = max(address - 2, self.base) & ~1
        last = min(address + size + 4, self.base + self.size)
        if first < last:
            begin, end = self.offset(first), self.offset(last + 1)
            self.records[begin:end] = bytes(end - begin)
            self.unknown.difference_update(range(first, last))

    def _fill(self, offset: int, found: InstructionCost) -> None:
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
        if found.row.dynamic is Dynamic.WAIT:
            flags |= Flag.WAIT
        if not found.known:
            flags |= Flag.UNKNOWN
            self.unknown.add(found.address)
        across = found.size == 4 and found.address % 4 == 2
        self.records[offset : offset + RECORD] = bytes(
            (
                found.cycles,
                UNSEEN,
                UNSEEN,
                found.row.refill,
                table.unaligned_wide_target if across else 0,
                flags,
                found.dividend << 4 | found.divisor,
                0,
            )
        )
