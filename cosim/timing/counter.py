"""Adds up the cycles of an execution: the reference in plain Python that a loop in C must agree with to the cycle."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from cosim.timing.code import CYCLES, FLAGS, REFILL, TARGET, CodeCosts, Flag
from cosim.timing.memory import MemoryTiming


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

    `cycles` is the sum so far. An instruction's static cost counts when it is told; the refill of a branch with the
    next instruction, because only then is it known whether it was taken.
    """

    def __init__(self, costs: CodeCosts, memory: MemoryTiming | None = None) -> None:
        self.costs = costs
        self.memory = memory
        self.cycles = 0
        self._before = -1  # the instruction before, if neighbours can pair with it
        self._next = -1  # the address behind it
        self._record = -1  # its record, if its refill is still open
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
        costs = self.costs
        record = costs.ensure(address)
        data = costs.records
        flags = data[record + FLAGS]
        cycles = data[record + CYCLES]
        if flags & Flag.DIVIDE:
            cycles = costs.decoder.table.divide.cycles(dividend, divisor, signed=bool(flags & Flag.SIGNED))
        if self._arrive(address, record) and self._before >= 0:
            cycles += costs.pair(self._before, address)
        if flags & Flag.FPU:
            self.cycles = max(self.cycles, self._fpu_free)
            if flags & Flag.FPU_DIVIDE:
                self._fpu_free = self.cycles + cycles
                cycles = 1
        self.cycles += cycles
        if self.memory is not None:
            self._fetch(address, 4 if flags & Flag.WIDE else 2)
        self._before = address
        self._next = address + (4 if flags & Flag.WIDE else 2)
        self._record = record

    def skip(self, address: int) -> None:
        """An IT block passes over an instruction."""
        record = self.costs.ensure(address)
        self._arrive(address, record)
        self.cycles += self.costs.decoder.table.skipped_cycles
        self._before = self._record = -1
        self._next = address + (4 if self.costs.records[record + FLAGS] & Flag.WIDE else 2)

    def access(self, access: Access) -> None:
        """The instruction at work accesses memory: alignment, and wait states of the region."""
        self.cycles += self.costs.decoder.table.unaligned.cycles(access.address, access.size)
        region = self.memory.at(access.address) if self.memory is not None else None
        if region is not None:
            self.cycles += region.write if access.write else region.read

    def exception(self, how: ExceptionEvent, *, floating_point: bool = False) -> None:
        """A handler is entered or left; `floating_point` when the frame holds FP state that is stacked at once."""
        table = self.costs.decoder.table
        self.cycles += table.event_cycles(how.value)
        if floating_point and how in (ExceptionEvent.ENTRY, ExceptionEvent.RETURN):
            self.cycles += table.event_cycles(f"{how.value}-fp")
        self._before = self._next = self._record = -1

    def _arrive(self, address: int, record: int) -> bool:
        """Pay the refill that the instruction before left open; true when control came straight on."""
        straight = address == self._next
        if self._record >= 0:
            data = self.costs.records
            if not straight or data[self._record + FLAGS] & Flag.LEAVES:
                limit = self.costs.decoder.table.refill_limit
                self.cycles += min(data[self._record + REFILL] + data[record + TARGET], limit)
                return False
        return straight

    def _fetch(self, address: int, size: int) -> None:
        """Wait states of the words that this instruction is the first to need."""
        assert self.memory is not None
        region = self.memory.at(address)
        if region is None or not region.fetch:
            return
        first = address >> 2
        if self._next == address and address & 2:
            first += 1  # came with the instruction before
        self.cycles += region.fetch * (((address + size - 1) >> 2) - first + 1)
