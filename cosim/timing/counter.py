"""Adds up the cycles of an execution: the reference in plain Python that a loop in C agrees with to the cycle.

An instruction is told three times: `arrive` when control has come to it, which settles whether the branch before it was
taken, `begin` when it executes, and `complete` when it has retired. One that is abandoned in between, because it faults
or has to be repeated, costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from cosim.timing.code import (
    ACCESS,
    BASE,
    CYCLES,
    DISPLACEMENT,
    FLAGS,
    INDEX,
    OPERANDS,
    REFILL,
    SHIFT,
    TARGET,
    WAITS,
    WORDS,
    WRITES,
    CodeCosts,
    Flag,
)
from cosim.timing.memory import MemoryTiming
from cosim.timing.state import NOWHERE, UNSURE, CountState, CycleState, ExceptionEvent
from cosim.timing.table import CostTable

_PC = 15


@dataclass(frozen=True)
class Access:
    """A data access: address, bytes, whether it writes, and how many of this size follow each other."""

    address: int
    size: int
    write: bool = False
    words: int = 1


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


class CycleCounter:
    """Counts the cycles of one core in `state`.

    `thumb` and `arm` are the costs of its code in either state; a core without ARM state has no second one.
    """

    def __init__(
        self,
        table: CostTable,
        thumb: CodeCosts,
        memory: MemoryTiming | None = None,
        *,
        arm: CodeCosts | None = None,
        state: CycleState | None = None,
    ) -> None:
        self.table = table
        self.memory = memory
        self.state: CycleState = CountState() if state is None else state
        self.two_states = arm is not None
        self.costs = (thumb if arm is None else arm, thumb)
        self._record: tuple[bytearray, int] = (bytearray(), 0)

    @property
    def cycles(self) -> int:
        """The cycles so far."""
        return self.state.cycles

    def count(self, trace: Iterable[Step]) -> int:
        """Tell all steps; returns the cycles so far."""
        for step in trace:
            if step.executed:
                self.step(step)
            else:
                self.skip(step.address)
        return self.cycles

    def step(self, step: Step) -> None:
        """An instruction executes and retires."""
        self.arrive(step.address)
        if self.begin(step.address):
            self.divide(step.dividend, step.divisor)
        for access in step.accesses:
            self.access(access.address, access.size, write=access.write, words=access.words)
        self.complete()

    # -- one instruction -------------------------------------------------------------------------------------------

    def arrive(self, address: int) -> None:
        """Control has come to `address`: pay the refill that the instruction before left open, unless it led here."""
        state = self.state
        self._record = page, record = self.costs[state.thumb].ensure(address)
        if address != state.next and state.refill:
            state.cycles += min(state.refill + page[record + TARGET], self.table.refill_limit)
            state.refill = 0

    def begin(self, address: int) -> bool:
        """The instruction that control has arrived at executes. When this is true, tell the operands with `divide`."""
        state = self.state
        page, record = self._record
        flags = page[record + FLAGS]
        straight = address == state.next
        cost = page[record + CYCLES] + self._fetch(address, flags, page[record + WAITS], straight=straight)
        if straight and state.before != NOWHERE:
            cost += self.costs[state.thumb].pair(state.before, address)
        if flags & Flag.FPU:
            wait = max(0, state.fpu_free - state.cycles)
            if flags & Flag.FPU_DIVIDE:
                state.then_fpu_free = state.cycles + wait + page[record + CYCLES]
                wait -= page[record + CYCLES] - 1
            cost += wait
        state.pc, state.cost, state.then_flags, state.then_refill = address, cost, flags, page[record + REFILL]
        return bool(flags & Flag.DIVIDE)

    @property
    def operands(self) -> tuple[int, int]:
        """The numbers of the dividend's and the divisor's register, of a divide at work."""
        page, record = self._record
        return page[record + OPERANDS] >> 4, page[record + OPERANDS] & 15

    def divide(self, dividend: int, divisor: int) -> None:
        """The values that the divide at work divides."""
        page, record = self._record
        divide, signed = self.table.divide, bool(page[record + FLAGS] & Flag.SIGNED)
        self.state.cost += divide.cycles(dividend, divisor, signed=signed) - page[record + CYCLES]

    @property
    def reach(self) -> tuple[int, int] | None:
        """The numbers of base and index register of the access at work, `NO_REGISTER` for none; None to tell nothing.

        A loop that sees no accesses tells what they hold with `reached`, one that has a trace calls `access`.
        """
        page, record = self._record
        return (page[record + BASE], page[record + INDEX]) if page[record + ACCESS] else None

    def reached(self, base: int, index: int) -> None:
        """The values of the registers of `reach`, 0 for `NO_REGISTER` and for PC, before the instruction executes."""
        page, record = self._record
        if page[record + BASE] == _PC:
            base = (self.state.pc & ~3) + 4
        displacement = int.from_bytes(page[record + DISPLACEMENT : record + DISPLACEMENT + 2], "little", signed=True)
        address = base + (index << page[record + SHIFT]) + displacement & 0xFFFF_FFFF
        size = page[record + ACCESS]
        self.access(address, size & ~WRITES, write=bool(size & WRITES), words=page[record + WORDS])

    def access(self, address: int, size: int, *, write: bool, words: int = 1) -> None:
        """The instruction at work accesses memory: an unaligned access is several, and each waits for its region."""
        further = self.table.unaligned.cycles(address, size) if words == 1 else 0
        region = self.memory.at(address) if self.memory is not None else None
        waits = 0 if region is None else region.write if write else region.read
        self.state.cost += further + waits * (words + further)

    def complete(self) -> None:
        """The instruction at work has retired."""
        state, flags = self.state, self.state.then_flags
        state.cycles += state.cost
        state.before, state.refill = state.pc, state.then_refill
        state.next = NOWHERE if flags & Flag.LEAVES else state.pc + (4 if flags & Flag.WIDE else 2)
        if flags & Flag.FPU_DIVIDE:
            state.fpu_free = state.then_fpu_free
        if flags & Flag.SWITCHES and self.two_states:
            state.thumb = UNSURE
        if flags & Flag.UNKNOWN:
            if not state.unknown:
                state.unknown_at = state.pc
            state.unknown += 1

    def skip(self, address: int) -> None:
        """An IT block passes over an instruction."""
        page, record = self.costs[True].ensure(address)
        flags, straight = page[record + FLAGS], address == self.state.next
        wait = self._fetch(address, flags, page[record + WAITS], straight=straight)
        self.spend(self.table.skipped_cycles + wait, address + (4 if flags & Flag.WIDE else 2))

    # -- what is no instruction --------------------------------------------------------------------------------------

    def exception(self, how: ExceptionEvent, *, floating_point: bool = False) -> None:
        """A handler is entered or left; `floating_point` when the frame holds FP state that is moved at once."""
        cycles = self.table.event_cycles(how.value)
        if floating_point and how in (ExceptionEvent.ENTRY, ExceptionEvent.RETURN):
            cycles += self.table.event_cycles(f"{how.value}-fp")
        self.spend(cycles)

    def spend(self, cycles: int, following: int = NOWHERE) -> None:
        """Let cycles pass; nothing pairs with what comes next, at `following`, and no refill is open."""
        state = self.state
        state.cycles += cycles
        state.before, state.next, state.refill = NOWHERE, following, 0

    def _fetch(self, address: int, flags: int, waits: int, *, straight: bool) -> int:
        """Wait states of the words that this instruction is the first to need."""
        if not waits:
            return 0
        upper = address >> 1 & 1
        words = 1 + (upper if flags & Flag.WIDE else 0)
        return waits * (words - (upper if straight else 0))  # the first word of one in the upper half has come
