"""Exception entry and return of the Cortex-M4 (ARMv7-M manual, B1.5.6 to B1.5.8), on a Unicorn that never vectors.

This does all of them; of the ordinary ones the C helper relieves it, with the same result (`exceptions.h`).

Interrupts are taken between two instructions. What is pending when a frame has been pushed decides which handler begins
on it (late arrival, derived faults); what is pending when a handler returns begins on the same frame (tail-chaining).
"""

from __future__ import annotations

import ctypes
import struct
from abc import abstractmethod

from unicorn import Uc

from cosim.access import AccessKind, Rights
from cosim.engine import CoreState, Machine
from cosim.engine.unicorn.batch import remove_cache
from cosim.engine.unicorn.core import Core
from cosim.engine.unicorn.loop import Deliver, Loop
from cosim.engine.unicorn.m4_registers import FPCA, NPRIV, SPSEL, XPSR_IPSR, XPSR_STACK_ALIGNED, M4Registers, Mode
from cosim.engine.unicorn.mpu import Mpu
from cosim.engine.unicorn.nvic import (
    BUS_FAULT,
    DEBUG_MONITOR,
    HARD_FAULT,
    LOCKUP_PRIORITY,
    MEM_MANAGE,
    NMI,
    PENDSV,
    SVCALL,
    SYSTICK,
    USAGE_FAULT,
    Masks,
    exception_name,
)
from cosim.engine.unicorn.nvic_state import FIRST_INTERRUPT
from cosim.engine.unicorn.scs import (
    FPCCR_ASPEN,
    FPCCR_LSPACT,
    FPCCR_LSPEN,
    FPCCR_THREAD,
    FPCCR_USER,
    HFSR_VECTTBL,
    INVPC,
    LSPERR,
    MLSPERR,
    MSTKERR,
    MUNSTKERR,
    NOCP,
    STKERR,
    UNSTKERR,
    SystemControl,
)
from cosim.events import CoreStopped, ExceptionTaken, InterruptPended, InterruptReturned, InterruptTaken
from cosim.timing.state import ExceptionEvent

BASIC_FRAME, EXTENDED_FRAME = 0x20, 0x68
EXC_RETURN = 0xFFFFFFE0  # bit 4: basic frame, bit 3: to Thread mode, bit 2: on the process stack, bit 0: one
TO_HANDLER, TO_THREAD, TO_PROCESS = 0x1, 0x9, 0xD
#: Of each interrupt the log has the first ones, and then every so many-th.
FIRST_IN_LOG, THEN_EVERY = 32, 1024
_REPEATED = frozenset({NMI, SVCALL, PENDSV, SYSTICK})


def in_log(count: int) -> bool:
    """Whether the log tells of the `count`-th time (from 1) that something happens again and again."""
    return count <= FIRST_IN_LOG or count % THEN_EVERY == 0


class _FrameError(Exception):
    """A word of a frame cannot be written or read: the bus answered with an error, or the MPU forbids it."""

    def __init__(self, *, protected: bool) -> None:
        super().__init__()
        self.protected = protected


class M4Exceptions(Core):
    """A core with the exceptions of the M profile; `CortexM4` says what raises them."""

    scs: SystemControl
    mpu: Mpu

    def __init__(self, machine: Machine, uc: Uc, loop: Loop, mips: int) -> None:
        super().__init__(machine, uc, loop, mips)
        self.registers = M4Registers(uc)
        self._pended: dict[int, int] = {}
        #: Takes what preempts where nothing is out of the ordinary.
        self._deliver_ordinary: Deliver = lambda: False

    def leave_ordinary_to_loop(self) -> None:
        """Let the loop enter and leave handlers where it can; `scs` is there now."""
        events = (ExceptionEvent.ENTRY, ExceptionEvent.RETURN, ExceptionEvent.TAIL_CHAIN)
        table = None if self.counter is None else self.counter.table
        entry, leaving, chain = (0 if table is None else table.event_cycles(event.value) for event in events)
        nvic = self.scs.nvic.state
        self._deliver_ordinary = self._loop.ordinary_exceptions(self.lane, nvic, self.port, (entry, leaving, chain))

    @property
    def event(self) -> bool:
        """The event register of WFE."""
        return bool(self.scs.nvic.state.event)

    @event.setter
    def event(self, value: bool) -> None:
        self.scs.nvic.state.event = value

    @abstractmethod
    def update_traps(self, masks: Masks) -> None:
        """Switch on the traps that the state asks for."""

    @abstractmethod
    def mpu_follows(self) -> None:
        """The mode or priority changed: bring the view of memory in line with what the MPU allows now."""

    @abstractmethod
    def sleep(self) -> None:
        """See `Core.sleep`."""

    # -- what is taken -----------------------------------------------------------------------------------------

    def take(self, number: int, status: int = 0, address: int | None = None) -> None:
        """Take a synchronous exception, or what it becomes; `status` are CFSR bits, `address` goes to MMFAR or BFAR."""
        self.record(number, status, address)
        masks = self.registers.masks()
        chosen = self.scs.escalate(number, masks)
        if chosen is None:
            self.lock_up(f"{exception_name(number)} at priority {LOCKUP_PRIORITY} or above")
            return
        self._enter(chosen, masks, address or 0)

    def record(self, number: int, status: int, address: int | None) -> None:
        """Set fault status bits, and the address register of the fault."""
        self.scs.set_bits("CFSR", status)
        if address is not None:
            self.scs.poke("MMFAR" if number == MEM_MANAGE else "BFAR", address)

    def deliver(self) -> None:
        """See `Core.deliver`: take the most urgent pending exception if it preempts what runs."""
        if self._deliver_ordinary():
            return
        self.mpu_follows()
        masks = self.registers.masks()
        number = self.scs.nvic.takeable(masks)
        if number is not None:
            self._enter(number, masks, 0)
        else:
            self.update_traps(masks)

    def line_changed(self, interrupt: int, level: bool) -> None:
        """The line of an external interrupt changed."""
        number = FIRST_INTERRUPT + interrupt
        self.scs.nvic.set_line(number, level)
        if level:
            self._pended[number] = self._pended.get(number, 0) + 1
            if self.state in (CoreState.RUNNING, CoreState.SLEEPING) and in_log(self._pended[number]):
                self.machine.log.emit(InterruptPended(self.name, exception_name(number), self._pended[number]))
            self.pended()

    def pended(self) -> None:
        """Something became pending."""
        if self.scs.event_on_pend:
            self.event = True
        self.alert()

    # -- entry -------------------------------------------------------------------------------------------------

    def _enter(self, number: int, masks: Masks, address: int) -> None:
        """Push a frame and begin to handle `number`, or what is more urgent by then (B1.5.6, B1.5.11)."""
        scs, nvic = self.scs, self.scs.nvic
        words, mode = self.registers.frame()
        floating = bool(mode.control & FPCA) and bool(scs.value("FPCCR") & FPCCR_ASPEN)
        frame = mode.sp - (EXTENDED_FRAME if floating else BASIC_FRAME)
        aligned = scs.stack_aligned and bool(frame & 4)
        frame = (frame & ~4 if aligned else frame) & 0xFFFFFFFF
        words[7] = words[7] & ~XPSR_STACK_ALIGNED | (XPSR_STACK_ALIGNED if aligned else 0)
        exc_return = EXC_RETURN | (0 if floating else 0x10)
        exc_return |= (TO_PROCESS if mode.process else TO_THREAD) if mode.thread else TO_HANDLER
        self.registers.set_sp(frame)
        nvic.pend(number)
        try:
            self._push(frame, words, privileged=mode.privileged)
            if floating:
                self._push_floating(frame + BASIC_FRAME, mode, masks)
        except _FrameError as error:
            derived, status = (MEM_MANAGE, MSTKERR) if error.protected else (BUS_FAULT, STKERR)
            self.record(derived, status, None)
            nvic.pend(scs.escalate(derived, masks) or HARD_FAULT)
        chosen = nvic.takeable(masks)
        self._handle(number if chosen is None else chosen, exc_return, mode, masks, address)
        at_once = floating and not scs.value("FPCCR") & FPCCR_LSPEN
        self.charge(ExceptionEvent.ENTRY, floating_point=at_once)

    def _push_floating(self, address: int, mode: Mode, masks: Masks) -> None:
        """S0 to S15 and FPSCR, at once or when the handler first uses the FPU (B1.5.7)."""
        if not self.scs.fpu_allowed(privileged=mode.privileged):
            self.record(USAGE_FAULT, NOCP, None)
            self.scs.nvic.pend(self.scs.escalate(USAGE_FAULT, masks) or HARD_FAULT)
            return
        fpccr = self.scs.value("FPCCR")
        if not fpccr & FPCCR_LSPEN:
            self._push(address, [*self.registers.floating(), 0], privileged=mode.privileged)
            return
        nvic, priority = self.scs.nvic, self.scs.nvic.execution_priority(masks)
        ready = 1 << 4 if priority > LOCKUP_PRIORITY else 0
        for exception, bit in ((MEM_MANAGE, 1 << 5), (BUS_FAULT, 1 << 6), (DEBUG_MONITOR, 1 << 8)):
            if nvic.enabled >> exception & 1 and nvic.group_priority(exception) < priority:
                ready |= bit
        where = (FPCCR_THREAD if mode.thread else 0) | (0 if mode.privileged else FPCCR_USER)
        self.scs.poke("FPCCR", fpccr & (FPCCR_ASPEN | FPCCR_LSPEN) | FPCCR_LSPACT | ready | where)
        self.scs.poke("FPCAR", address)

    def preserve_floating(self) -> bool:
        """Write the FP context that an entry left for later; False when that raised an exception."""
        fpccr = self.scs.value("FPCCR")
        try:
            address = self.scs.value("FPCAR")
            self._push(address, [*self.registers.floating(), 0], privileged=not fpccr & FPCCR_USER)
        except _FrameError as error:
            self.take(*((MEM_MANAGE, MLSPERR) if error.protected else (BUS_FAULT, LSPERR)))
            return False
        self.scs.poke("FPCCR", fpccr & ~FPCCR_LSPACT)
        self.charge(ExceptionEvent.LAZY_STACKING)
        return True

    def _handle(self, number: int, exc_return: int, mode: Mode, masks: Masks, address: int = 0) -> None:
        """Begin to handle `number` on the frame that is there (ExceptionTaken of the manual)."""
        interrupted = self.scs.nvic.active[-1] if self.scs.nvic.active else 0
        self.scs.nvic.activate(number)
        self.event = True
        self.lane.it_left = self.lane.pass_at = 0
        self._report(number, interrupted, address)
        vector = self.vector(number)
        if vector is None:
            self.registers.to_handler(number, exc_return, 0, mode)
            self.scs.set_bits("HFSR", HFSR_VECTTBL)
            self.lock_up("the vector table cannot be read")
            return
        self.registers.to_handler(number, exc_return, vector, mode)
        self.mpu_follows()
        self.update_traps(masks)

    def _report(self, number: int, interrupted: int, address: int) -> None:
        self.scs.nvic.taken[number] += 1
        count = self.scs.nvic.taken[number]
        if number in _REPEATED or number >= FIRST_INTERRUPT:
            if not in_log(count):
                return
            if number != SVCALL:
                before = exception_name(interrupted) if interrupted else "thread"
                priority = self.scs.nvic.priority(number)
                self.machine.log.emit(InterruptTaken(self.name, exception_name(number), priority, before, count))
                return
        self.machine.log.emit(ExceptionTaken(self.name, exception_name(number), self.scs.value("CFSR"), address))

    # -- return ------------------------------------------------------------------------------------------------

    def leave_handler(self, value: int) -> None:
        """Exception return by the EXC_RETURN `value`, with the integrity checks of B1.5.8."""
        scs, nvic = self.scs, self.scs.nvic
        mode, masks = self.registers.mode_and_masks()
        number, active, kind = mode.xpsr & XPSR_IPSR, nvic.active, value & 0xF
        legal = kind == TO_HANDLER or (kind in (TO_THREAD, TO_PROCESS) and (len(active) == 1 or scs.nonbasethreadena))
        nvic.deactivate(number)
        self.event = True
        if number != NMI and masks.faultmask:
            self.registers.clear_faultmask()
            masks = self.registers.masks()
        if number not in active or not legal:
            self._chain(USAGE_FAULT, INVPC, value, mode)
            return
        self._report_return(number)
        if (pending := nvic.takeable(masks)) is not None:
            self._handle(pending, value, mode, masks)
            self.charge(ExceptionEvent.TAIL_CHAIN)
            return
        process, thread = kind == TO_PROCESS, kind != TO_HANDLER
        frame = self.registers.to_thread(mode.control, process=process)
        privileged = not (thread and mode.control & NPRIV)
        unstacks = not value & 0x10 and not scs.value("FPCCR") & FPCCR_LSPACT
        try:
            words = self._pop(frame, BASIC_FRAME // 4, privileged=privileged)
            if thread == bool(words[7] & XPSR_IPSR):
                self._chain(USAGE_FAULT, INVPC, value, mode)
                return
            if not value & 0x10 and not self._pop_floating(frame + BASIC_FRAME, value, mode, privileged=privileged):
                return
        except _FrameError as error:
            self._chain(*((MEM_MANAGE, MUNSTKERR) if error.protected else (BUS_FAULT, UNSTKERR)), value, mode)
            return
        size = BASIC_FRAME if value & 0x10 else EXTENDED_FRAME
        size += 4 if words[7] & XPSR_STACK_ALIGNED and scs.stack_aligned else 0
        control = mode.control & NPRIV | (SPSEL if process else 0) | (0 if value & 0x10 else FPCA)
        self.registers.restore(words, frame + size & 0xFFFFFFFF, control)
        self._resume_it(words[6], words[7])
        self.charge(ExceptionEvent.RETURN, floating_point=unstacks)
        self.mpu_follows()
        self.update_traps(masks)
        if thread and not nvic.active and scs.sleep_on_exit:
            self.sleep()

    def _pop_floating(self, address: int, value: int, mode: Mode, *, privileged: bool) -> bool:
        """The FP context of an extended frame; False when that raised an exception."""
        fpccr = self.scs.value("FPCCR")
        if fpccr & FPCCR_LSPACT:  # never written: the registers still hold it
            self.scs.poke("FPCCR", fpccr & ~FPCCR_LSPACT)
        elif not self.scs.fpu_allowed(privileged=privileged):
            self._chain(USAGE_FAULT, NOCP, value, mode)
            return False
        else:
            self.registers.set_floating(self._pop(address, 17, privileged=privileged))
        return True

    def _report_return(self, number: int) -> None:
        count = self.scs.nvic.taken[number]
        if (number >= FIRST_INTERRUPT or number in _REPEATED - {SVCALL}) and in_log(count):
            self.machine.log.emit(InterruptReturned(self.name, exception_name(number), count))

    def _chain(self, number: int, status: int, exc_return: int, mode: Mode) -> None:
        """A return failed: take the fault on the frame that was not used up, LR telling how the return was meant."""
        self.record(number, status, None)
        masks = self.registers.masks()
        chosen = self.scs.escalate(number, masks)
        if chosen is None:
            self.lock_up(f"{exception_name(number)} at priority {LOCKUP_PRIORITY} or above")
            return
        self._handle(chosen, exc_return, mode, masks)
        self.charge(ExceptionEvent.TAIL_CHAIN)

    def _resume_it(self, pc: int, xpsr: int) -> None:
        """Tell the loop how much of an interrupted IT block is left (ITSTATE[3:0]: ones end the block)."""
        state = (xpsr >> 10 & 0x3F) << 2 | xpsr >> 25 & 3
        mask = state & 0xF
        self.lane.it_left = 4 - ((mask & -mask).bit_length() - 1) if mask else 0
        self.lane.it_pc, self.lane.it_state, self.lane.pass_at = pc, state, 0

    # -- memory ------------------------------------------------------------------------------------------------

    def vector(self, number: int) -> int | None:
        """An entry of the vector table, which the MPU does not guard; None when it cannot be read."""
        address = self.scs.value("VTOR") + 4 * number & 0xFFFFFFFF
        try:
            return self._load(address, 1)[0]
        except _FrameError:
            return None

    def guarded(self, address: int, size: int, right: Rights, *, privileged: bool) -> bool:
        """Whether the MPU forbids an access now."""
        if not self.mpu.enabled:
            return False
        priority = self.scs.nvic.execution_priority(self.registers.masks())
        return self.mpu.applies(priority) and not self.mpu.allows(address, size, right, privileged=privileged)

    def _push(self, frame: int, words: list[int], *, privileged: bool) -> None:
        if self.guarded(frame, 4 * len(words), Rights.WRITE, privileged=privileged):
            raise _FrameError(protected=True)
        size = 4 * len(words)
        host = self.host_address(frame, size, write=True)
        if host is not None:
            ctypes.memmove(host, struct.pack(f"<{len(words)}I", *words), size)
            remove_cache(self.uc, frame, frame + size)
            return
        for index, word in enumerate(words):
            address = frame + 4 * index & 0xFFFFFFFF
            if self.transact(AccessKind.WRITE, address, 4, word).error:
                raise _FrameError(protected=False)

    def _pop(self, frame: int, count: int, *, privileged: bool) -> list[int]:
        if self.guarded(frame, 4 * count, Rights.READ, privileged=privileged):
            raise _FrameError(protected=True)
        return self._load(frame, count)

    def _load(self, address: int, count: int) -> list[int]:
        host = self.host_address(address, 4 * count, write=False)
        if host is not None:
            return list(struct.unpack(f"<{count}I", ctypes.string_at(host, 4 * count)))
        words = []
        for index in range(count):
            outcome = self.transact(AccessKind.READ, address + 4 * index & 0xFFFFFFFF, 4, 0)
            if outcome.error:
                raise _FrameError(protected=False)
            words.append(outcome.value)
        return words

    def lock_up(self, why: str) -> None:
        """Stop for good: there is no handler for what happened."""
        self.set_state(CoreState.LOCKED_UP)
        self.machine.log.emit(CoreStopped(self.name, f"lockup: {why}"))
