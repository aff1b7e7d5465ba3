"""Adds up the cycles of an execution: the reference in plain Python that a loop in C must agree with to the cycle."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

from cosim.timing.code import CYCLES, FLAGS, REFILL, TARGET, CodeCosts, Flag
from cosim.timing.memory import MemoryTiming
from cosim.timing.table import CostTable


@dataclass(frozen=True)
class Access:
    """A data access: address, bytes, and whether it writes."""

    address: int
    size: int
    write: bool = False


@dataclass(frozen=True)
class Step:
    """One retired instruction of a trace. `executed` is false for one that an IT block skipped.

    `dividend` and `divisor` are the operand registers of a divide before it executes.
    """

    address: int
    executed: bool = True
    dividend: int = 0
    divisor: int = 0
    accesses: tuple[Access, ...] = ()


class ExceptionEvent(Enum):
    """How an exception handler is reached or left."""

    ENTRY = "exception-entry"
    RETURN = "exception-return"
    TAIL_CHAIN = "tail-chain"
    LATE_ARRIVAL = "late-arrival"


class CycleCounter:
    """Counts the cycles of one core from its retired instructions, in their order.

    `costs` are the ranges that the core executes from; an instruction elsewhere takes the table's default and is told
    by `unknown`. `cycles` is the sum so far. An instruction's static cost counts when it is told; the refill of a
    branch with the next instruction, because only then is it known whether it was taken.
    """

    def __init__(self, table: CostTable, costs: Sequence[CodeCosts], memory: MemoryTiming | None = None) -> None:
        self.table = table
        self.costs = tuple(costs)
        self.memory = memory
        self.cycles = 0
        self.unknown = 0
        self._before: tuple[CodeCosts, int] | None = None  # the instruction before, if neighbours can pair with it
        self._next = -1  # the address behind it
        self._refill = 0  # its refill, if still open
        self._leaves = False
        self._fpu_free = 0  # the cycle at which the FPU takes the next instruction

    def count(self, trace: Iterable[Step]) -> int:
        """Tell all steps; returns the cycles so far."""
        for step in trace:
            if step.executed:
                self.step(step.address, step.dividend, step.divisor)
                for access in step.accesses:
                    self.access(access)
            else:
                self.skip(step.address)
        return self.cycles

    def step(self, address: int, dividend: int = 0, divisor: int = 0) -> None:
        """An instruction executes. The operands matter for a divide only."""
        costs = self._range(address)
        if costs is None:
            self._arrive(address, 0)
            self.unknown += 1
            self.cycles += self.table.unknown_cycles
            self._settle(-1)
            return
        record = costs.ensure(address)
        data = costs.records
        flags = data[record + FLAGS]
        size = 4 if flags & Flag.WIDE else 2
        straight = self._arrive(address, data[record + TARGET])
        if flags & Flag.UNKNOWN:
            self.unknown += 1
        cycles = data[record + CYCLES]
        if flags & Flag.DIVIDE:
            cycles = self.table.divide.cycles(dividend, divisor, signed=bool(flags & Flag.SIGNED))
        if straight and self._before is not None and self._before[0] is costs:
            cycles += costs.pair(self._before[1], address)
        if flags & Flag.FPU:
            self.cycles = max(self.cycles, self._fpu_free)
            if flags & Flag.FPU_DIVIDE:
                self._fpu_free = self.cycles + cycles
                cycles = 1
        self.cycles += cycles + self._fetch(address, size)
        self._before = (costs, address)
        self._next = address + size
        self._refill = data[record + REFILL]
        self._leaves = bool(flags & Flag.LEAVES)

    def skip(self, address: int) -> None:
        """An IT block passes over an instruction."""
        costs = self._range(address)
        self._arrive(address, 0)
        wide = costs is not None and costs.records[costs.ensure(address) + FLAGS] & Flag.WIDE
        size = 4 if wide else 2
        self.cycles += self.table.skipped_cycles + self._fetch(address, size)
        self._settle(address + size)

    def access(self, access: Access) -> None:
        """The instruction at work accesses memory: alignment, and wait states of the region."""
        self.cycles += self.table.unaligned.cycles(access.address, access.size)
        region = self.memory.at(access.address) if self.memory is not None else None
        if region is not None:
            self.cycles += region.write if access.write else region.read

    def exception(self, how: ExceptionEvent, *, floating_point: bool = False) -> None:
        """A handler is entered or left; `floating_point` when the frame holds FP state that is stacked at once."""
        self.cycles += self.table.event_cycles(how.value)
        if floating_point and how in (ExceptionEvent.ENTRY, ExceptionEvent.RETURN):
            self.cycles += self.table.event_cycles(f"{how.value}-fp")
        self._settle(-1)

    def _range(self, address: int) -> CodeCosts | None:
        return next((costs for costs in self.costs if address in costs), None)

    def _settle(self, following: int) -> None:
        """Nothing pairs with what comes next, and no refill is open."""
        self._before, self._next, self._refill, self._leaves = None, following, 0, False

    def _arrive(self, address: int, target: int) -> bool:
        """Pay the refill that the instruction before left open; true when control came straight on.

        `target` is what arriving at this instruction adds.
        """
        straight = address == self._next and not self._leaves
        if not straight and self._refill:
            self.cycles += min(self._refill + target, self.table.refill_limit)
        return straight

    def _fetch(self, address: int, size: int) -> int:
        """Wait states of the words that this instruction is the first to need."""
        region = self.memory.at(address) if self.memory is not None else None
        if region is None or not region.fetch:
            return 0
        first = address >> 2
        if self._next == address and address & 2:
            first += 1  # came with the instruction before
        return region.fetch * (((address + size - 1) >> 2) - first + 1)
