"""Charges the instructions of the M4 in Renode by the tables of `cosim.timing`, and holds Renode's time to the count.

Renode counts one cycle for an instruction. A hook before each one tells the reference counter what executes, and what
it counts beyond that is skipped: time passes for the core as if it had executed so many instructions more. Each skip
passes through Renode's scheduler, so cycles are saved up to a few (`SLACK`); whoever reads the count sees all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from cosim.engine.charging import make_counter
from cosim.engine.renode.host import Net, private_field, private_method
from cosim.engine.renode.smc_sites import condition_holds
from cosim.engine.unicorn.python_loop import it_length
from cosim.timing import Flag
from cosim.timing.code import CODE, FLAGS
from cosim.timing.state import AT_WORK, LASTING, CountState, ExceptionEvent

#: Cycles that Renode's time may lag behind the count.
SLACK = 16
_PC, _LR = 15, 14
_IT = 0xBF  # the upper byte of IT, and of hints
_BASIC_FRAME = 1 << 4  # in EXC_RETURN: without FP state
#: FPCCR: FP state is still to be stacked; it is stacked when it is needed.
LSPACT, LSPEN = 1 << 0, 1 << 30
_COUNT = ("pc", *LASTING, *AT_WORK)
_SAVED = (
    "completed", "given", "at_work", "skipping", "opens", "it_left", "it_unsure", "uneven",
    "entered", "returning", "unstacks", "lazy",
)  # fmt: skip

#: What `M4Charger.save` returns: the fields `_SAVED` of the charger, and `_COUNT` of its counter.
ChargerState = tuple[tuple[int, ...], tuple[int, ...]]


class Charged(Protocol):
    """What the charger asks of its core."""

    cpu: Net

    @property
    def retired(self) -> int:
        """Instructions retired."""
        ...


class M4Charger:
    """Counts the cycles of one M4, whose code `read(address, size)` gives.

    `failed` is told what goes wrong in a hook, `unknown` the address of the first instruction without a row.
    """

    def __init__(
        self,
        core: Charged,
        read: Callable[[int, int], bytes],
        failed: Callable[[BaseException], None],
        unknown: Callable[[int], None],
    ) -> None:
        from System import Action, Delegate, UInt32, UInt64

        self._core, self._cpu = core, core.cpu
        self._failed, self._unknown = failed, unknown
        self._state = CountState()
        self._counter = make_counter("cortex-m4", self._state, read, "stm32mp15-m4")
        self._costs = self._counter.costs[True]
        self.completed = 0  # instructions that retired
        self.given = 0  # cycles that Renode has let pass, or was told to
        self.at_work = False  # an instruction is about to execute or executes,
        self.skipping = False  # as one that its IT block passes over
        self.opens = 0  # members of the IT block that it begins
        self.it_left = 0  # members of the IT block at work still to come
        self.it_unsure = False  # an exception return may have led into a block
        self.uneven = False  # Renode may have counted an instruction that faulted
        self.entered = False  # no instruction of the handler has executed yet
        self.returning = False  # the frame is popped unless another handler begins on it,
        self.unstacks = False  # and with it FP state
        self.lazy = False  # FP state may have to be stacked
        self._skip = Delegate.CreateDelegate(
            Action[UInt64], self._cpu, private_method(self._cpu, "set_SkipInstructions")
        )
        self._read_register = private_field(self._cpu, "GetRegisterValue32")
        self._hooks = Action[UInt64, UInt32](self._on_instruction), Action[UInt64](self._on_return)
        self._cpu.SetHookAtBlockBegin(self._hooks[0])
        self._cpu.AddHookAtInterruptEnd(self._hooks[1])

    @property
    def cycles(self) -> int:
        """The cycles so far; in the midst of an instruction those before it and of the refill that led to it."""
        self._settle()
        return self._state.cycles

    @property
    def debt(self) -> int:
        """Cycles that Renode has let pass beyond the count: no instruction takes less than one there."""
        return max(0, self.given - self._state.cycles)

    def save(self) -> ChargerState:
        """The count, for `load`."""
        self._settle()
        own = tuple(getattr(self, name) for name in _SAVED)
        return own, tuple(getattr(self._state, name) for name in _COUNT)

    def load(self, saved: ChargerState) -> None:
        """Restore what `save` returned."""
        for target, names, values in ((self, _SAVED, saved[0]), (self._state, _COUNT, saved[1])):
            for name, value in zip(names, values, strict=True):
                setattr(target, name, value)

    def reset(self) -> None:
        """The core is about to be reset: what was under way ends, and what comes next does not follow it."""
        self._settle()
        self.at_work = self.it_unsure = self.entered = self.returning = self.unstacks = self.lazy = False
        self.it_left, self.uneven = 0, True
        self._counter.spend(0)

    # -- exceptions, on the thread of the core ---------------------------------------------------------------------

    def abandon(self) -> None:
        """The instruction at work faulted: it does not retire."""
        self.given += self.at_work
        self.at_work, self.uneven = False, True

    def retire(self) -> None:
        """The instruction at work raises an exception, and retires all the same."""
        if self.at_work:
            self._complete()

    def enter(self) -> None:
        """A handler begins."""
        self._settle()
        self._counter.exception(ExceptionEvent.TAIL_CHAIN if self.returning else ExceptionEvent.ENTRY)
        self.returning, self.entered = False, True
        self.it_left, self.it_unsure = 0, False

    def sleep(self) -> None:
        """The core begins to sleep: Renode's time comes up with the count."""
        self._settle()
        self._keep_pace(1)

    def _on_return(self, _number: int) -> None:
        try:
            self._settle()
            exc_return = int(self._cpu.PC.RawValue)
            self.returning, self.entered = True, False
            self.unstacks = not exc_return & _BASIC_FRAME and not int(self._cpu.FPCCR.RawValue) & LSPACT
        except BaseException as error:  # must not cross Renode's frames
            self._failed(error)

    def _after_exception(self) -> None:
        """The first instruction behind an entry or a return is about to execute."""
        if self.returning:
            self._counter.exception(ExceptionEvent.RETURN, floating_point=self.unstacks)
            self.returning, self.it_unsure = False, True
        else:
            self.entered = False
            if not self._register(_LR) & _BASIC_FRAME:
                self.lazy = bool(int(self._cpu.FPCCR.RawValue) & LSPEN)
                if not self.lazy:
                    self._counter.exception(ExceptionEvent.LAZY_STACKING)

    # -- instructions, on the thread of the core -------------------------------------------------------------------

    def _on_instruction(self, address: int, _size: int) -> None:
        try:
            self._begin(int(address))
            self._keep_pace(SLACK)
        except BaseException as error:  # must not cross Renode's frames
            self._failed(error)

    def _begin(self, address: int) -> None:
        # Renode may give up what it was about to execute, and comes back to it.
        if self.at_work and (address != self._state.pc or self._core.retired > self.completed):
            self._complete()
        if self.uneven:
            self.completed, self.uneven = self._core.retired, False
        if self.returning or self.entered:
            self._after_exception()
        self.at_work, self.opens = True, 0
        self.skipping = bool(self.it_left or self.it_unsure) and self._is_skipped()
        if self.skipping:
            self._state.pc = address
            return
        counter, costs = self._counter, self._costs
        counter.arrive(address)
        page, record = costs.page(address), costs.offset(address)
        if page[record + CODE + 1] == _IT and not page[record + FLAGS] & Flag.WIDE:
            self.opens = it_length(_IT << 8 | page[record + CODE])
        if self.lazy and page[record + FLAGS] & Flag.FPU:
            self.lazy = False
            if int(self._cpu.FPCCR.RawValue) & LSPACT:
                counter.exception(ExceptionEvent.LAZY_STACKING)
        if counter.begin(address):
            counter.divide(*map(self._register, counter.operands))
        registers = counter.reach
        if registers is not None:
            counter.reached(*(self._register(number) if number < _PC else 0 for number in registers))

    def _is_skipped(self) -> bool:
        """Whether the IT block at work passes over what comes now; ITSTATE and flags are those of the core."""
        xpsr = int(self._cpu.XProgramStatusRegister)
        state = (xpsr >> 8 & 0xFC) | (xpsr >> 25 & 3)
        if self.it_unsure:
            self.it_left, self.it_unsure = it_length(_IT << 8 | state), False
        return bool(self.it_left) and not condition_holds(state >> 4, xpsr)

    def _complete(self) -> None:
        self.completed += 1
        self.given += 1
        self.at_work = False
        self.it_left = self.opens or max(0, self.it_left - 1)
        if self.skipping:
            self._counter.skip(self._state.pc)
            return
        known = not self._state.unknown
        self._counter.complete()
        if known and self._state.unknown:
            self._unknown(self._state.unknown_at)

    def _settle(self) -> None:
        if self.at_work and self._core.retired > self.completed:
            self._complete()

    def _keep_pace(self, least: int) -> None:
        """Let Renode skip what the count is ahead, behind the instruction at work, if it is at least so many cycles."""
        ahead = self._state.cycles - self.given
        if ahead >= least:
            self.given += ahead
            self._skip(ahead)

    def _register(self, number: int) -> int:
        return int(self._read_register(number))
