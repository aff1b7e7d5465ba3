"""One core on Unicorn: its state, its clock, and the raw reasons why it stopped.

What is not plain memory to a core gets to the hook of invalid accesses (`accesses.py`). In that hook an instruction can
be given up wherever it stands. Unicorn executes an IT block in one go, though, and does not leave it at a store or
before a trapped instruction: then the core is *frozen*, which is to say that nothing the rest of the block does has an
effect.
"""

from __future__ import annotations

import struct
from abc import abstractmethod
from collections.abc import Callable, Collection
from typing import Any, ClassVar

from unicorn import UC_HOOK_INSN_INVALID, Uc
from unicorn.arm_const import UC_ARM_REG_CPSR, UC_ARM_REG_PC

from cosim.engine import CoreState, Machine, Watch
from cosim.engine.charging import make_counter
from cosim.engine.unicorn.accesses import Accesses, Fault
from cosim.engine.unicorn.batch import Batch, stop
from cosim.engine.unicorn.breakpoints import Breakpoints
from cosim.engine.unicorn.loop import Loop, clock_of, time_of
from cosim.engine.unicorn.trace import INSTRUCTION, RUN, InstructionRecord, Recorder, RunRecord
from cosim.engine.unicorn.traps import Trap, next_it_state
from cosim.engine.unicorn.watch import WatchHook
from cosim.errors import EngineError
from cosim.events import CoreStopped, CyclesUnknown
from cosim.timing.state import AT_WORK, LASTING, ExceptionEvent


class Core(Accesses):
    """State shared by both architectures; subclasses deliver exceptions."""

    #: What `take_trap` serves; the subclass switches them on in `lane.traps_on`.
    traps: ClassVar[tuple[Trap, ...]] = ()
    #: The register that holds ITSTATE and the T bit, and where the latter is.
    status_register, thumb_bit = UC_ARM_REG_CPSR, 5
    #: The table of its cycles, and that of its wait states if there is one (`cosim.timing`).
    cost_table: ClassVar[str]
    wait_states: ClassVar[str | None] = None

    def __init__(self, machine: Machine, uc: Uc, loop: Loop, mips: int) -> None:
        super().__init__(machine, uc, loop)
        self.lane.mips = mips
        self._pc = Batch(uc, (UC_ARM_REG_PC,))
        self.state = CoreState.HELD
        self.interrupt: int | None = None
        self.invalid = False
        #: Set by the engine: call it when something happened that the core may have to take or to wake up for.
        self.alert: Callable[[], None] = lambda: None
        #: The virtual time at which it was called first since the last look.
        self.alerted_at: int | None = None
        self._frozen: tuple[Any, tuple[int, ...]] | None = None
        #: Charges cycles, where virtual time is in cycles.
        self.counter = (
            make_counter(self.cost_table, self.lane, self.read_code, self.wait_states) if self.lane.timed else None
        )
        self._unknown_told = False
        self.breakpoints = Breakpoints(self)
        self._recorders: list[Recorder] = []
        if self.counter is not None:
            loop.set_counter(self.lane, self.counter, self._on_cost_failure)
        loop.set_traps(self.lane, self.traps, self._on_trap_in_block)
        loop.hook_interrupts(self.lane, self._on_interrupt)
        uc.hook_add(UC_HOOK_INSN_INVALID, self._on_invalid_instruction)

    # -- what the outside sees ---------------------------------------------------------------------------------

    @property
    def retired(self) -> int:
        """See `CoreView.retired`."""
        return self.lane.retired

    @property
    def cycles(self) -> int | None:
        """Modelled cycles since the machine was built, without sleep; None where virtual time follows instructions."""
        return self.lane.cycles if self.lane.timed else None

    @property
    def time_ps(self) -> int:
        """See `CoreView.time_ps`."""
        return time_of(self.lane)

    @property
    def pc(self) -> int:
        """See `CoreView.pc`."""
        return self._pc.read()[0]

    def read_register(self, name: str) -> int:
        """See `CoreView.read_register`."""
        value: int = self.uc.reg_read(self._register(name))
        return value

    def _register(self, name: str) -> int:
        number = _register_number(name)
        if number is None:
            raise EngineError(f"core {self.name} has no register {name!r}", core=self.name)
        return number

    # -- what a debugger does --------------------------------------------------------------------------------------

    def write_register(self, name: str, value: int) -> None:
        """See `DebugCore.write_register`. A new PC is in the state, ARM or Thumb, that the core is in."""
        number = self._register(name)
        if name != "pc":
            self.uc.reg_write(number, value)
            return
        self.forget_it_state()
        self.uc.reg_write(number, value & ~1 | self.uc.reg_read(self.status_register) >> self.thumb_bit & 1)
        self.lane.it_left = self.lane.busy = self.lane.pass_at = 0
        self.break_flow()
        self.breakpoints.forget()

    def debug_read(self, address: int, size: int) -> bytes:
        """See `DebugCore.debug_read`."""
        return self.machine.bus.debug_read(self.view, address, size)

    def debug_write(self, address: int, data: bytes) -> None:
        """See `DebugCore.debug_write`."""
        self.machine.bus.debug_write(self.view, address, data)

    def stop_at(self, addresses: Collection[int], watches: Collection[Watch] = (), *, every: bool = False) -> None:
        """See `DebugCore.stop_at`."""
        self.breakpoints.set(addresses, watches, every=every)

    def trace_instructions(self, most: int) -> InstructionRecord:
        """See `DebugCore.trace_instructions`."""
        return InstructionRecord(self._record(most, INSTRUCTION), self._release)

    def trace_runs(self, most: int) -> RunRecord:
        """See `DebugCore.trace_runs`."""
        return RunRecord(self._record(most, RUN), self._release)

    def _record(self, most: int, line: struct.Struct) -> Recorder:
        recorder = self._loop.record(self.lane, most, line)
        self._recorders.append(recorder)
        self.forget_all_code()  # what was translated before knows nothing of the hook
        return recorder

    def _release(self, recorder: Recorder) -> None:
        if recorder in self._recorders:
            self._recorders.remove(recorder)
            recorder.close()
            self.forget_all_code()

    def watch(self, watch: Watch, touched: Callable[[], None]) -> WatchHook:
        """Call `touched` before each access of plain memory to `watch`."""
        return self._loop.watch(self.lane, watch, touched)

    @property
    def watched(self) -> Watch | None:
        """See `DebugCore.watched`."""
        return self.breakpoints.seen

    # -- state -------------------------------------------------------------------------------------------------------

    def set_state(self, state: CoreState) -> None:
        """Change what the core is doing; only a RUNNING core gets turns."""
        self.state = state
        self.lane.runnable, self.lane.fresh = int(state is CoreState.RUNNING), 0

    def complete(self) -> None:
        """The instruction at work retired, although the loop saw no successor announced."""
        self.lane.settle(self.pc)

    def sleep(self) -> None:
        """The core executed WFI."""
        self.set_state(CoreState.SLEEPING)
        self.machine.log.emit(CoreStopped(self.name, "wfi"))

    def wakes(self) -> bool:
        """Whether there is a reason to end its sleep; asked after `alert`."""
        return False

    def wake(self, at_ps: int) -> None:
        """End its sleep at virtual time `at_ps`: its clock goes on from there."""
        self.lane.origin_ps, self.lane.origin = max(at_ps, self.time_ps), clock_of(self.lane)
        self.set_state(CoreState.RUNNING)

    def deliver(self) -> None:
        """Take what can be taken now; called after `alert`, while the core runs and stands between two instructions."""

    # -- cycles ----------------------------------------------------------------------------------------------------

    def break_flow(self) -> None:
        """What executes next does not follow what executed last."""
        if self.counter is not None:
            self.counter.spend(0)

    def charge(self, how: ExceptionEvent, *, floating_point: bool = False) -> None:
        """Let the cycles of an exception pass, where virtual time is in cycles."""
        if self.counter is not None:
            self.counter.exception(how, floating_point=floating_point)

    @property
    def knows_no_cycles(self) -> bool:
        """Whether it executed an instruction whose cycles are not known, and `tell_unknown` was not called yet."""
        return bool(self.lane.unknown) and not self._unknown_told

    def tell_unknown(self) -> None:
        """Put that into the log, once."""
        self._unknown_told = True
        code = int.from_bytes(self.read_code(self.lane.unknown_at, 4), "little")
        self.machine.log.emit(CyclesUnknown(self.name, self.lane.unknown_at, code))

    # -- trapped instructions --------------------------------------------------------------------------------------

    def take_trap(self, number: int) -> None:
        """Serve trap `number` of `traps`. The PC stands before the instruction, or behind it for an `after` trap.

        Before it: `skip_trapped` when its work is done, `pass_trapped` to have it executed, or raise an exception.
        """
        raise EngineError(f"core {self.name} has no trap {number}", core=self.name)

    def skip_trapped(self, size: int) -> None:
        """The instruction of `size` bytes that trapped was done for the core: it retired."""
        lane = self.lane
        if lane.it_left:
            lane.it_left, lane.it_pc, lane.it_state = lane.it_left - 1, lane.it_pc + size, next_it_state(lane.it_state)
            self._write_it_state()
        thumb = self.uc.reg_read(self.status_register) >> self.thumb_bit & 1
        self.uc.reg_write(UC_ARM_REG_PC, self.pc + size | thumb)
        lane.retired += 1
        if self.counter is not None:
            self.counter.complete()

    def pass_trapped(self) -> None:
        """Execute the instruction that trapped, the next time that the core runs."""
        self.lane.pass_at = self.pc | 1

    # -- exceptions, which differ by architecture -------------------------------------------------------------------

    @abstractmethod
    def take_fault(self, fault: Fault) -> None:
        """Deliver an access that the bus answered with an error."""

    @abstractmethod
    def take_interrupt(self, number: int) -> None:
        """Deliver an exception that Unicorn reported by number."""

    @abstractmethod
    def take_undefined(self) -> None:
        """Deliver an undefined instruction."""

    # -- Unicorn's callbacks: nothing may escape them, and nothing heavy happens in them -----------------------------

    def _on_cost_failure(self, error: BaseException) -> None:
        self.failure = error
        self.lane.attention = 1
        self.uc.emu_stop()

    def _on_trap_in_block(self) -> None:
        self.freeze()

    def drop_unfinished(self) -> None:
        """Forget the instruction at work, which faulted; when the PC already left it, it had retired."""
        if self.lane.busy and self.pc != self.lane.pc:
            self.complete()
        self.lane.busy = 0

    def given_up(self) -> bool:
        """See `Accesses.given_up`."""
        return self.fault is not None or self.waiting or self.failure is not None or self._frozen is not None

    def freeze(self) -> None:
        """Keep the state before the instruction at work, and let nothing more be stored."""
        self.suspend_accesses()
        self._frozen = self.uc.context_save(), tuple(getattr(self.lane, f) for f in _COUNTED)
        self.protect_all(frozen=True)
        for recorder in self._recorders:
            recorder.pause(paused=True)

    def thaw(self) -> None:
        """Back to the state before the instruction that was given up, if the rest of an IT block ran on after it."""
        self.resume_accesses()
        self._has_run = True
        if self._frozen is None:
            return
        (context, counted), self._frozen = self._frozen, None
        self.protect_all(frozen=False)
        for recorder in self._recorders:
            recorder.pause(paused=False)
        self.uc.context_restore(context)
        for field, value in zip(_COUNTED, counted, strict=True):
            setattr(self.lane, field, value)
        if self.lane.trap:  # Unicorn has not stored how far the block got
            self._write_it_state()

    def forget_it_state(self) -> None:
        """See `Accesses.forget_it_state`."""
        self.uc.reg_write(self.status_register, self.uc.reg_read(self.status_register) & ~_IT_BITS)

    def _write_it_state(self) -> None:
        """ITSTATE as the loop has followed it, into the core's status register."""
        state = self.lane.it_state if self.lane.it_left else 0
        status = self.uc.reg_read(self.status_register) & ~_IT_BITS
        self.uc.reg_write(self.status_register, status | (state & 3) << 25 | (state >> 2) << 10)

    def _on_interrupt(self, number: int) -> None:
        try:
            if not self.given_up():
                self.interrupt = number
        except BaseException as error:  # must not cross Unicorn's C frames; the engine raises it again
            self.failure = error
        self.lane.attention = 1
        stop(self.uc)

    def _on_invalid_instruction(self, _uc: Uc, _data: Any) -> bool:
        if not self.given_up():
            self.invalid = True
            self.lane.attention = 1
        return False

    # -- snapshots ---------------------------------------------------------------------------------------------

    def save(self) -> object:
        """Registers, counters and state; valid for this instance only (a Unicorn context fits no other)."""
        counters = tuple(getattr(self.lane, f) for f in _SAVED)
        return self.uc.context_save(), self.state, self.alerted_at, self._unknown_told, counters

    def load(self, state: Any) -> None:
        """Restore what `save` returned and drop all translations; the view follows the firewall as always."""
        context, core_state, self.alerted_at, self._unknown_told, counters = state
        self.uc.context_restore(context)
        for field, value in zip(_SAVED, counters, strict=True):
            setattr(self.lane, field, value)
        self.set_state(core_state)
        self.breakpoints.forget()
        self.forget_all_code()


_IT_BITS = 0x0600FC00
_COUNTED = ("retired", "busy", "pc", "it_left", "it_pc", "it_state", *LASTING, *AT_WORK)
_SAVED = (*_COUNTED, "pass_at", "origin_ps", "origin")


def _register_number(name: str) -> int | None:
    from unicorn import arm_const  # noqa: PLC0415 - one name table, needed only by debuggers and reports

    return getattr(arm_const, f"UC_ARM_REG_{name.upper()}", None)
