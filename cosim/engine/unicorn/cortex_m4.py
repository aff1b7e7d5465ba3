"""The Cortex-M4: reset, exception entry and return (ARMv7-M manual, B1.5), on a Unicorn that never vectors.

Delivered here: HardFault, MemManage, BusFault, UsageFault and SVCall, with priorities, escalation and lockup.
The FP context is stacked eagerly (26-word frame); FPCCR.LSPACT is therefore never seen set.
"""

from __future__ import annotations

from unicorn import UC_ARCH_ARM, UC_MODE_THUMB, Uc
from unicorn.arm_const import (
    UC_ARM_REG_APSR_NZCV,
    UC_ARM_REG_BASEPRI,
    UC_ARM_REG_CONTROL,
    UC_ARM_REG_EPSR,
    UC_ARM_REG_FAULTMASK,
    UC_ARM_REG_FPSCR,
    UC_ARM_REG_IPSR,
    UC_ARM_REG_LR,
    UC_ARM_REG_PC,
    UC_ARM_REG_PRIMASK,
    UC_ARM_REG_R0,
    UC_ARM_REG_R1,
    UC_ARM_REG_R2,
    UC_ARM_REG_R3,
    UC_ARM_REG_R12,
    UC_ARM_REG_S0,
    UC_ARM_REG_SP,
    UC_ARM_REG_XPSR,
    UC_CPU_ARM_CORTEX_M4,
)

from cosim.access import AccessKind, Initiator
from cosim.bus import Outcome
from cosim.engine import CoreState, Machine
from cosim.engine.unicorn.core import Core, Fault
from cosim.engine.unicorn.loop import Loop
from cosim.engine.unicorn.scs import (
    BFARVALID,
    BUS_FAULT,
    HARD_FAULT,
    IACCVIOL,
    IBUSERR,
    INVPC,
    INVSTATE,
    LOCKUP_PRIORITY,
    MEM_MANAGE,
    PRECISERR,
    STKERR,
    SVCALL,
    UNDEFINSTR,
    UNSTKERR,
    USAGE_FAULT,
    Masks,
    SystemControl,
)
from cosim.events import CoreStopped, ExceptionTaken

# Unicorn's numbers of exceptions (QEMU's EXCP_*)
EXCP_SWI = 2
EXCP_PREFETCH_ABORT = 3
EXCP_BKPT = 7
EXCP_EXCEPTION_EXIT = 8

PPB_BASE, PPB_SIZE = 0xE0000000, 0x100000
SCS_BASE, SCS_SIZE = 0xE000E000, 0x1000

XPSR_T, XPSR_STACK_ALIGNED, XPSR_IPSR = 1 << 24, 1 << 9, 0x1FF
CONTROL_SPSEL, CONTROL_FPCA = 1 << 1, 1 << 2
BASIC_FRAME, EXTENDED_FRAME = 0x20, 0x68
EXC_RETURN = 0xFFFFFFE0  # bit 4: basic frame, bit 3: to Thread mode, bit 2: on the process stack, bit 0: one

_FRAME = (UC_ARM_REG_R0, UC_ARM_REG_R1, UC_ARM_REG_R2, UC_ARM_REG_R3, UC_ARM_REG_R12, UC_ARM_REG_LR)
EXCEPTION_NAMES = {
    HARD_FAULT: "HardFault",
    MEM_MANAGE: "MemManage",
    BUS_FAULT: "BusFault",
    USAGE_FAULT: "UsageFault",
    SVCALL: "SVCall",
}


class _StackError(Exception):
    """A word of a frame cannot be written or read."""


class CortexM4(Core):
    """One Cortex-M4F core; held until released."""

    initiator = Initiator.M4
    view = "m4"
    private_range = (PPB_BASE, PPB_SIZE)
    status_register, thumb_bit = UC_ARM_REG_EPSR, 24

    def __init__(self, machine: Machine, name: str, loop: Loop, mips: int) -> None:
        uc = Uc(UC_ARCH_ARM, UC_MODE_THUMB)
        uc.ctl_set_cpu_model(UC_CPU_ARM_CORTEX_M4)
        self.scs = SystemControl(machine.log, self._request_reset)
        super().__init__(machine, uc, loop, mips)
        self.name = name

    def transact(self, kind: AccessKind, address: int, size: int, value: int) -> Outcome:
        """See `Core.transact`; the private peripheral bus is this core's own."""
        if PPB_BASE <= address < PPB_BASE + PPB_SIZE:
            return self._private_access(kind, address - SCS_BASE, size, value)
        return super().transact(kind, address, size, value)

    def _private_access(self, kind: AccessKind, offset: int, size: int, value: int) -> Outcome:
        if not 0 <= offset < SCS_SIZE:
            return Outcome(0, error=True)
        if kind is AccessKind.WRITE:
            self.scs.write(offset, size, value, self.initiator)
            return Outcome(0, error=False)
        return Outcome(self.scs.read(offset, size, self.initiator), error=False)

    def reset(self) -> tuple[int, int] | None:
        """Registers to their reset values, MSP and PC from the vectors at 0; None when those cannot be read."""
        self.scs.reset()
        self.uc.reg_write(UC_ARM_REG_IPSR, 0)
        for register in (UC_ARM_REG_CONTROL, UC_ARM_REG_PRIMASK, UC_ARM_REG_FAULTMASK, UC_ARM_REG_BASEPRI):
            self.uc.reg_write(register, 0)
        for register in _FRAME[:-1]:
            self.uc.reg_write(register, 0)
        self.lane.it_left = self.lane.busy = 0
        vectors = self._vector(0), self._vector(1)
        if vectors[0] is None or vectors[1] is None:
            return None
        self.uc.reg_write(UC_ARM_REG_SP, vectors[0] & ~3)
        self.uc.reg_write(UC_ARM_REG_LR, 0xFFFFFFFF)
        self._jump(vectors[1])
        return vectors[0], vectors[1]

    def take_fault(self, fault: Fault) -> None:
        """Deliver an error response of the bus: IBUSERR for a fetch, else a precise BusFault with BFAR."""
        if fault.kind is AccessKind.FETCH:
            self._take(BUS_FAULT, IBUSERR, None)
        else:
            self._take(BUS_FAULT, PRECISERR | BFARVALID, fault.address)

    def take_undefined(self) -> None:
        """Deliver UNDEFINSTR, or INVSTATE when the T bit is clear."""
        thumb = self.uc.reg_read(UC_ARM_REG_XPSR) & XPSR_T
        self._take(USAGE_FAULT, UNDEFINSTR if thumb else INVSTATE, None)

    def take_interrupt(self, number: int) -> None:
        """Deliver an exception that Unicorn reported by number."""
        if number == EXCP_SWI:
            self.complete()
            self._take(SVCALL, 0, None)
        elif number in (EXCP_EXCEPTION_EXIT, EXCP_PREFETCH_ABORT):
            self.complete()  # the branch; the instruction at its target was never announced
            if self.pc >= EXC_RETURN and self.scs.active:
                self._return(self.pc | 1)
            else:
                self._take(MEM_MANAGE, IACCVIOL, None)
        elif number == EXCP_BKPT:
            self.lane.busy = 0
            self.scs.hard_fault_status(debug_event=True)
            self._take(HARD_FAULT, 0, None)
        else:
            self.lane.busy = 0
            self._lock_up(f"unsupported exception {number}")

    # -- entry and return --------------------------------------------------------------------------------------

    def _take(self, number: int, status: int, address: int | None) -> None:
        """Record the fault, choose the exception that is really taken, and enter it or lock up."""
        self.scs.record(status, address if number == BUS_FAULT else None)
        chosen = self.scs.escalate(number, self._masks())
        if chosen is None:
            self._lock_up(f"{EXCEPTION_NAMES[number]} at priority {LOCKUP_PRIORITY} or above")
            return
        self._enter(chosen, address)

    def _enter(self, number: int, address: int | None) -> None:
        """Push the frame and begin to handle `number` (B1.5.6)."""
        uc = self.uc
        control, xpsr = uc.reg_read(UC_ARM_REG_CONTROL), uc.reg_read(UC_ARM_REG_XPSR)
        floating, thread = bool(control & CONTROL_FPCA), not xpsr & XPSR_IPSR
        process = thread and bool(control & CONTROL_SPSEL)
        sp = uc.reg_read(UC_ARM_REG_SP)
        frame = sp - (EXTENDED_FRAME if floating else BASIC_FRAME)
        aligned = self.scs.stack_aligned and bool(frame & 4)
        frame = (frame & ~4 if aligned else frame) & 0xFFFFFFFF
        words = [uc.reg_read(register) for register in _FRAME]
        words += [self.pc, xpsr & ~XPSR_STACK_ALIGNED | (XPSR_STACK_ALIGNED if aligned else 0)]
        if floating:
            words += [uc.reg_read(UC_ARM_REG_S0 + i) for i in range(16)] + [uc.reg_read(UC_ARM_REG_FPSCR), 0]
        exc_return = EXC_RETURN | 1 | (0 if floating else 0x10) | (8 if thread else 0) | (4 if process else 0)
        uc.reg_write(UC_ARM_REG_SP, frame)
        try:
            self._push(frame, words)
        except _StackError:
            number = self._derive(number)
        self._handle(number, exc_return, address)

    def _derive(self, number: int) -> int:
        """The push for `number` failed: the more urgent of it and the derived BusFault; the other pends (B1.5.11)."""
        self.scs.record(STKERR, None)
        derived = self.scs.escalate(BUS_FAULT, self._masks())
        first, second = sorted((number, derived or HARD_FAULT), key=lambda n: (self.scs.priority(n), n))
        if second != first:
            self.scs.pend(second)
        return first

    def _handle(self, number: int, exc_return: int, address: int | None = None) -> None:
        """Begin to handle `number` on the frame that is there (ExceptionTaken of the manual)."""
        self.machine.log.emit(ExceptionTaken(self.name, EXCEPTION_NAMES[number], self.scs.cfsr, address or 0))
        self._to_handler(number)
        self.uc.reg_write(UC_ARM_REG_LR, exc_return)
        self._branch_to_handler(number)

    def _to_handler(self, number: int) -> None:
        """Handler mode for `number`: IPSR, main stack, no FP context."""
        uc = self.uc
        self.scs.activate(number)
        uc.reg_write(UC_ARM_REG_IPSR, number)  # Unicorn swaps MSP and PSP here
        uc.reg_write(UC_ARM_REG_CONTROL, uc.reg_read(UC_ARM_REG_CONTROL) & ~(CONTROL_SPSEL | CONTROL_FPCA))
        self.lane.it_left = 0

    def _branch_to_handler(self, number: int) -> None:
        vector = self._vector(number)
        if vector is None:
            self.scs.hard_fault_status(vector_table=True)
            self._lock_up("the vector table cannot be read")
            return
        self._jump(vector)

    def _jump(self, vector: int) -> None:
        """Branch to a vector, with no IT state.

        The flags are written last because that makes Unicorn recompute its cached mode.
        """
        uc = self.uc
        uc.reg_write(UC_ARM_REG_EPSR, XPSR_T if vector & 1 else 0)
        uc.reg_write(UC_ARM_REG_PC, vector)
        uc.reg_write(UC_ARM_REG_APSR_NZCV, uc.reg_read(UC_ARM_REG_APSR_NZCV))

    def _return(self, value: int) -> None:
        """Exception return by the EXC_RETURN `value`, with the integrity checks of B1.5.8."""
        uc = self.uc
        number, active = uc.reg_read(UC_ARM_REG_IPSR), self.scs.active
        kind = value & 0xF
        legal = kind == 0x1 or (kind in (0x9, 0xD) and (len(active) == 1 or self.scs.nonbasethreadena))
        self.scs.deactivate(number)
        uc.reg_write(UC_ARM_REG_FAULTMASK, 0)
        if number not in active or not legal:
            self._chain(USAGE_FAULT, INVPC, value)
            return
        pending = self.scs.take_pending(self._masks())
        if pending is not None:
            self._handle(pending, value)
            return
        basic, process = bool(value & 0x10), kind == 0xD
        # The banked pointer: in Handler mode SP is MSP; selecting SPSEL in Thread mode makes SP the PSP.
        uc.reg_write(UC_ARM_REG_IPSR, 0)
        control = uc.reg_read(UC_ARM_REG_CONTROL) & ~(CONTROL_SPSEL | CONTROL_FPCA)
        uc.reg_write(UC_ARM_REG_CONTROL, control | (CONTROL_SPSEL if process else 0))
        frame = uc.reg_read(UC_ARM_REG_SP)
        try:
            words = self._pop(frame, (BASIC_FRAME if basic else EXTENDED_FRAME) // 4)
        except _StackError:
            self._chain(BUS_FAULT, UNSTKERR, value)
            return
        if (kind == 0x1) != bool(words[7] & XPSR_IPSR):
            self._chain(USAGE_FAULT, INVPC, value)
            return
        self._unstack(words, frame)
        uc.reg_write(UC_ARM_REG_CONTROL, control | (CONTROL_SPSEL if process else 0) | (0 if basic else CONTROL_FPCA))
        pc, xpsr = words[6], words[7]
        uc.reg_write(UC_ARM_REG_XPSR, xpsr & ~XPSR_STACK_ALIGNED)
        uc.reg_write(UC_ARM_REG_PC, pc | (1 if xpsr & XPSR_T else 0))
        uc.reg_write(UC_ARM_REG_APSR_NZCV, xpsr & 0xF0000000)
        self._resume_it(pc, xpsr)

    def _chain(self, number: int, status: int, exc_return: int) -> None:
        """A return failed: take the fault on the frame that was not used up, LR telling how the return was meant."""
        self.scs.record(status, None)
        chosen = self.scs.escalate(number, self._masks())
        if chosen is None:
            self._lock_up(f"{EXCEPTION_NAMES[number]} at priority {LOCKUP_PRIORITY} or above")
            return
        self._handle(chosen, exc_return)

    def _unstack(self, words: list[int], frame: int) -> None:
        """Registers and stack pointer from the frame `words` at `frame`; PC and xPSR are the caller's."""
        uc = self.uc
        for register, word in zip(_FRAME, words[:6], strict=True):
            uc.reg_write(register, word)
        if len(words) > BASIC_FRAME // 4:
            for i in range(16):
                uc.reg_write(UC_ARM_REG_S0 + i, words[8 + i])
            uc.reg_write(UC_ARM_REG_FPSCR, words[24])
        frame += 4 * len(words) + (4 if words[7] & XPSR_STACK_ALIGNED and self.scs.stack_aligned else 0)
        uc.reg_write(UC_ARM_REG_SP, frame & 0xFFFFFFFF)

    def _resume_it(self, pc: int, xpsr: int) -> None:
        """Tell the loop how much of an interrupted IT block is left (ITSTATE[3:0]: ones end the block)."""
        mask = (xpsr >> 10 & 0x3) << 2 | (xpsr >> 25 & 0x3)
        self.lane.it_left = 4 - ((mask & -mask).bit_length() - 1) if mask else 0
        self.lane.it_pc = pc

    # -- helpers -----------------------------------------------------------------------------------------------

    def _masks(self) -> Masks:
        read = self.uc.reg_read
        return Masks(
            bool(read(UC_ARM_REG_PRIMASK) & 1), bool(read(UC_ARM_REG_FAULTMASK) & 1), read(UC_ARM_REG_BASEPRI) & 0xFF
        )

    def _vector(self, number: int) -> int | None:
        outcome = self.transact(AccessKind.READ, self.scs.vtor + 4 * number, 4, 0)
        return None if outcome.error else outcome.value

    def _push(self, frame: int, words: list[int]) -> None:
        for index, word in enumerate(words):
            address = frame + 4 * index & 0xFFFFFFFF
            if self.transact(AccessKind.WRITE, address, 4, word).error:
                raise _StackError

    def _pop(self, frame: int, count: int) -> list[int]:
        words = []
        for index in range(count):
            outcome = self.transact(AccessKind.READ, frame + 4 * index & 0xFFFFFFFF, 4, 0)
            if outcome.error:
                raise _StackError
            words.append(outcome.value)
        return words

    def _lock_up(self, why: str) -> None:
        self.set_state(CoreState.LOCKED_UP)
        self.machine.log.emit(CoreStopped(self.name, f"lockup: {why}"))

    def _request_reset(self) -> None:
        self.machine.reset_request(self.name)

    def save(self) -> object:
        """See `Core.save`."""
        return super().save(), self.scs.save()

    def load(self, state: tuple[object, object]) -> None:
        """See `Core.load`."""
        base, scs = state
        super().load(base)
        self.scs.load(scs)
