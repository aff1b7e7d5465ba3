"""The Cortex-M4: its private peripherals, reset, sleep, and what raises its exceptions.

How exceptions are entered and left is `m4_exceptions.py`, which of them `nvic.py`, what memory it may use
`m4_protection.py`.
"""

from __future__ import annotations

from typing import Any

from unicorn import UC_MODE_THUMB
from unicorn.arm_const import UC_ARM_REG_EPSR, UC_ARM_REG_XPSR, UC_CPU_ARM_CORTEX_M4

from cosim.access import AccessKind, Initiator
from cosim.bus import Outcome
from cosim.engine import CoreState, Machine
from cosim.engine.debug_blocks import DebugBlocks
from cosim.engine.unicorn.accesses import Fault
from cosim.engine.unicorn.instance import make_unicorn
from cosim.engine.unicorn.loop import Loop, clock_of
from cosim.engine.unicorn.m4_exceptions import EXC_RETURN, in_log
from cosim.engine.unicorn.m4_lines import LateLines
from cosim.engine.unicorn.m4_protection import PPB_BASE, PPB_SIZE, M4Protection
from cosim.engine.unicorn.m4_registers import FPCA, XPSR_IPSR, XPSR_T
from cosim.engine.unicorn.m4_traps import (
    ALIGNMENT_BITS,
    DIVISION_BITS,
    EVENT_BITS,
    EXCLUSIVE_BITS,
    FLOATING_BITS,
    M4_TRAPS,
    MPU_BITS,
    MULTIPLE_BITS,
    SINGLE_BITS,
    UNMASKING_BITS,
    M4Trap,
)
from cosim.engine.unicorn.mpu import Mpu
from cosim.engine.unicorn.nvic import (
    BUS_FAULT,
    DEBUG_MONITOR,
    HARD_FAULT,
    MEM_MANAGE,
    SVCALL,
    SYSTICK,
    USAGE_FAULT,
    Masks,
)
from cosim.engine.unicorn.nvic_state import FIRST_INTERRUPT
from cosim.engine.unicorn.scs import (
    BFARVALID,
    DACCVIOL,
    DIVBYZERO,
    FPCCR_LSPACT,
    HFSR_DEBUGEVT,
    IACCVIOL,
    IBUSERR,
    INVSTATE,
    MMARVALID,
    NOCP,
    PRECISERR,
    UNALIGNED,
    UNDEFINSTR,
    SystemControl,
)
from cosim.engine.unicorn.sev import M4_SENDS, event_line
from cosim.engine.unicorn.systick import SysTick
from cosim.events import CoreStopped

# Unicorn's numbers of exceptions (QEMU's EXCP_*)
EXCP_SWI = 2
EXCP_PREFETCH_ABORT = 3
EXCP_DATA_ABORT = 4  # only of exclusive accesses that are not aligned
EXCP_BKPT = 7
EXCP_EXCEPTION_EXIT = 8
EXCP_NOCP = 17

SCS_BASE, SCS_SIZE = 0xE000E000, 0x1000
_BKPT, _TRCENA, _MON_EN, _MON_PEND = 1 << 1, 1 << 24, 1 << 16, 1 << 17


class CortexM4(M4Protection):
    """One Cortex-M4F core; held until released."""

    initiator = Initiator.M4
    view = "m4"
    private_range = (PPB_BASE, PPB_SIZE)
    status_register, thumb_bit = UC_ARM_REG_EPSR, 24
    cost_table, wait_states = "cortex-m4", "stm32mp15-m4"
    traps = M4_TRAPS

    def __init__(self, machine: Machine, name: str, loop: Loop, mips: int) -> None:
        uc = make_unicorn(UC_MODE_THUMB, UC_CPU_ARM_CORTEX_M4)
        super().__init__(machine, uc, loop, mips)
        self.name = name
        self.systick = SysTick(machine.timers, mips, self._on_tick)
        self.mpu = Mpu(self.on_mpu_change)
        self.scs = SystemControl(machine.log, self, lambda: self.time_ps, self.systick, self.mpu)
        self.debug = DebugBlocks(lambda: clock_of(self.lane), lambda: bool(self.scs.value("DEMCR") & _TRCENA))
        self._waits_for_event = False
        self._send_event = event_line(machine, M4_SENDS)
        self._sleeps = 0
        self._late = LateLines(machine.timers, self.lane, self.scs.nvic, self.pended)
        machine.interrupts.nvic.connect(self.line_changed)
        self.leave_ordinary_to_loop()

    # -- accesses ----------------------------------------------------------------------------------------------

    def transact(self, kind: AccessKind, address: int, size: int, value: int) -> Outcome:
        """See `Core.transact`; the private peripheral bus is this core's own."""
        private = PPB_BASE <= address < PPB_BASE + PPB_SIZE
        access = self._private_access if private else super().transact
        outcome = access(kind, address, size, value)
        if outcome.error and kind is not AccessKind.FETCH and self.ignores_bus_faults():
            self.scs.set_bits("CFSR", PRECISERR | BFARVALID)
            self.scs.poke("BFAR", address)
            return Outcome(0, error=False)
        return outcome

    def ignores_bus_faults(self) -> bool:
        """See `Accesses.ignores_bus_faults`: at the priority of HardFault and above, if CCR.BFHFNMIGN says so."""
        if not self.scs.ignores_bus_faults:
            return False
        # The masks of an unprivileged core cannot be read in a callback.
        return self.registers.mode().privileged and self.scs.nvic.execution_priority(self.masks()) < 0

    def _private_access(self, kind: AccessKind, address: int, size: int, value: int) -> Outcome:
        write, offset = kind is AccessKind.WRITE, address - SCS_BASE
        if not self.registers.mode().privileged and not (write and self.scs.unprivileged_may_write(offset)):
            return Outcome(0, error=True)
        if 0 <= offset < SCS_SIZE and write:
            resume = self.debug.hold()
            self.scs.write(offset, size, value, self.initiator)
            resume()
        elif 0 <= offset < SCS_SIZE:
            return Outcome(self.scs.read(offset, size, self.initiator), error=False)
        elif not self.debug.holds(address):
            return Outcome(0, error=True)
        elif write:
            self.debug.write(address, value)
        else:
            return Outcome(self.debug.read(address, size), error=False)
        return Outcome(0, error=False)

    # -- what a debugger does --------------------------------------------------------------------------------------

    def debug_read(self, address: int, size: int) -> bytes:
        """See `DebugCore.debug_read`; nothing of the private peripheral bus notices, COUNTFLAG included."""
        if not PPB_BASE <= address <= PPB_BASE + PPB_SIZE - size:
            return super().debug_read(address, size)
        tick = self.systick.save()
        words = b"".join(self._peek(word).to_bytes(4, "little") for word in range(address & ~3, address + size, 4))
        self.systick.load(tick)
        return words[address & 3 :][:size]

    def _peek(self, word: int) -> int:
        if SCS_BASE <= word < SCS_BASE + SCS_SIZE:
            return self.scs.read(word - SCS_BASE, 4, Initiator.DEBUG)
        return self.debug.read(word, 4) if self.debug.holds(word) else 0

    # -- ports of the system control space ---------------------------------------------------------------------

    def masks(self) -> Masks:
        """See `CorePorts.masks`."""
        return self.registers.masks()

    def handling(self) -> int:
        """See `CorePorts.handling`."""
        return self.registers.mode().xpsr & XPSR_IPSR

    def request_reset(self) -> None:
        """See `CorePorts.request_reset`."""
        self.machine.reset_request(self.name)

    def reconsider(self) -> None:
        """See `CorePorts.reconsider`."""
        nvic = self.scs.nvic
        monitor, demcr = 1 << DEBUG_MONITOR, self.scs.value("DEMCR")
        nvic.enabled = nvic.enabled | monitor if demcr & _MON_EN else nvic.enabled & ~monitor
        if demcr & _MON_PEND:
            self.scs.poke("DEMCR", demcr & ~_MON_PEND)
            nvic.pend(DEBUG_MONITOR)
        self.lane.traps_on = self._state_traps() | self.lane.traps_on & UNMASKING_BITS
        if nvic.pending:
            self.pended()

    # -- reset and state ---------------------------------------------------------------------------------------

    def reset(self) -> tuple[int, int] | None:
        """Registers to their reset values, MSP and PC from the vectors at 0; None when those cannot be read."""
        self._late.forget()
        self.scs.reset()
        self.mpu.reset()
        self.debug.reset()
        self._pended.clear()
        self._sleeps = 0
        self.event = self._waits_for_event = False
        self.lane.it_left = self.lane.busy = self.lane.pass_at = 0
        self.break_flow()
        self.registers.reset(0, 1)
        self.relax_view()
        self.update_traps(self.masks())
        vectors = self.vector(0), self.vector(1)
        if vectors[0] is None or vectors[1] is None:
            return None
        self.registers.reset(vectors[0], vectors[1])
        if self.scs.nvic.pending:
            self.alert()
        return vectors[0], vectors[1]

    def set_state(self, state: CoreState) -> None:
        """See `Core.set_state`; a core that is held or locked up has no ticks."""
        super().set_state(state)
        if state in (CoreState.HELD, CoreState.LOCKED_UP, CoreState.OFF):
            self.systick.reset()

    def line_changed(self, interrupt: int, level: bool) -> None:
        """See `M4Exceptions.line_changed`; what this core's own instruction raises is taken late."""
        number, nvic = FIRST_INTERRUPT + interrupt, self.scs.nvic
        own = level and self.lane.busy and self.state is CoreState.RUNNING
        if own and not nvic.pending >> number & 1:
            self._late.delay(number)
        super().line_changed(interrupt, level)

    def _on_tick(self) -> None:
        self.scs.nvic.pend(SYSTICK)
        self.pended()

    # -- sleep -------------------------------------------------------------------------------------------------

    def sleep(self) -> None:
        """WFI: sleep unless there is a reason to be awake already (B1.5.19)."""
        self._sleep(for_event=False)

    def _sleep(self, *, for_event: bool) -> None:
        self._waits_for_event = for_event
        if self.wakes():
            return
        self.set_state(CoreState.SLEEPING)
        self._sleeps += 1
        if in_log(self._sleeps):
            self.machine.log.emit(CoreStopped(self.name, "wfe" if for_event else "wfi"))

    def wakes(self) -> bool:
        """WFI: something preempts, PRIMASK disregarded. WFE: the event register, or something is taken."""
        masks = self.masks()
        if self._waits_for_event:
            event, self.event = self.event, False
            return event or self.scs.nvic.takeable(masks) is not None
        return self.scs.nvic.takeable(masks._replace(primask=False)) is not None

    # -- trapped instructions ----------------------------------------------------------------------------------

    def _state_traps(self) -> int:
        """The traps that registers of the system control space ask for."""
        scs = self.scs
        on = EVENT_BITS | EXCLUSIVE_BITS | (MULTIPLE_BITS if self.checks_alignment else 0)
        if scs.traps_unaligned:
            on |= SINGLE_BITS
        if scs.traps_zero_division:
            on |= DIVISION_BITS
        if not scs.fpu_allowed(privileged=False) or scs.value("FPCCR") & FPCCR_LSPACT or scs.value("FPDSCR"):
            on |= FLOATING_BITS
        return on | (MPU_BITS if self.mpu.enabled else 0)

    def update_traps(self, masks: Masks) -> None:
        """See `M4Exceptions.update_traps`."""
        held_back = masks.any and self.scs.nvic.pending & self.scs.nvic.enabled
        self.lane.traps_on = self._state_traps() | (UNMASKING_BITS if held_back else 0)

    def take_trap(self, number: int) -> None:
        """See `Core.take_trap`."""
        trap = M4Trap(number)
        if trap is M4Trap.FLOATING:
            self._take_floating()
        elif trap in (M4Trap.SDIV_BY_ZERO, M4Trap.UDIV_BY_ZERO):
            self.take(USAGE_FAULT, DIVBYZERO)
        elif ALIGNMENT_BITS >> trap & 1:
            self.take(USAGE_FAULT, UNALIGNED)
        elif trap in (M4Trap.SEV, M4Trap.SEV_WIDE):
            self.event = True
            self._send_event()
        elif trap in (M4Trap.WFE, M4Trap.WFE_WIDE):
            self.skip_trapped(2 if trap is M4Trap.WFE else 4)
            self._sleep(for_event=True)
        else:
            self.deliver()

    def _take_floating(self) -> None:
        """The first FP instruction after CPACR, a lazy frame or FPDSCR made a difference (B1.5.7)."""
        scs, mode = self.scs, self.registers.mode()
        if not scs.fpu_allowed(privileged=mode.privileged):
            self.take(USAGE_FAULT, NOCP)
            return
        if scs.value("FPCCR") & FPCCR_LSPACT and not self.preserve_floating():
            return
        if scs.value("FPDSCR") and not mode.control & FPCA:
            self.registers.begin_floating(scs.value("FPDSCR"), mode)
        self.update_traps(self.masks())
        self.pass_trapped()

    # -- exceptions --------------------------------------------------------------------------------------------

    def take_fault(self, fault: Fault) -> None:
        """Deliver an access that memory protection or the bus refused."""
        if fault.kind is AccessKind.FETCH:
            if fault.forbidden:
                self.take(MEM_MANAGE, IACCVIOL)
            elif not self.make_executable(fault.address):
                self.take(BUS_FAULT, IBUSERR)
        elif fault.forbidden and self.is_misplaced(fault.address, fault.size):
            self.take(USAGE_FAULT, UNALIGNED)
        elif fault.forbidden:
            self.take(MEM_MANAGE, DACCVIOL | MMARVALID, fault.address)
        else:
            self.take(BUS_FAULT, PRECISERR | BFARVALID, fault.address)

    def take_undefined(self) -> None:
        """Deliver UNDEFINSTR, or INVSTATE when the T bit is clear."""
        self.take(USAGE_FAULT, UNDEFINSTR if self.uc.reg_read(UC_ARM_REG_XPSR) & XPSR_T else INVSTATE)

    def take_interrupt(self, number: int) -> None:
        """Deliver an exception that Unicorn reported by number."""
        if number == EXCP_SWI:
            self.complete()
            self.machine.timers.run_due(self.time_ps)  # what expires at this very instruction may go first
            self.take(SVCALL)
        elif number in (EXCP_EXCEPTION_EXIT, EXCP_PREFETCH_ABORT):
            self.complete()  # the branch; the instruction at its target was never announced
            if self.pc >= EXC_RETURN and self.handling():
                self.leave_handler(self.pc | 1)
            else:
                self.take(MEM_MANAGE, IACCVIOL)
        elif number == EXCP_BKPT:
            self.lane.busy = 0
            self._take_breakpoint()
        elif number == EXCP_DATA_ABORT:
            self.lane.busy = 0
            self.take(USAGE_FAULT, UNALIGNED)
        elif number == EXCP_NOCP:
            self.lane.busy = 0
            self.take(USAGE_FAULT, NOCP)
        else:
            self.lane.busy = 0
            self.lock_up(f"unsupported exception {number}")

    def _take_breakpoint(self) -> None:
        """DebugMonitor where it is enabled and preempts, else a HardFault (C1.6.1)."""
        self.scs.set_bits("DFSR", _BKPT)
        if self.scs.nvic.escalate(DEBUG_MONITOR, self.masks()) == DEBUG_MONITOR:
            self.take(DEBUG_MONITOR)
            return
        self.scs.set_bits("HFSR", HFSR_DEBUGEVT)
        self.take(HARD_FAULT)

    # -- snapshots ---------------------------------------------------------------------------------------------

    def save(self) -> object:
        """See `Core.save`."""
        own = (self.event, self._waits_for_event, self._sleeps, dict(self._pended))
        parts = (self.scs.save(), self.systick.save(), self.mpu.save(), self.debug.save(), self._late.save())
        return super().save(), own, parts

    def load(self, state: Any) -> None:
        """See `Core.load`."""
        base, own, (scs, systick, mpu, debug, late) = state
        super().load(base)
        self.event, self._waits_for_event, self._sleeps, pended = own
        self._pended = dict(pended)
        self.scs.load(scs)
        self.systick.load(systick)
        self.mpu.load(mpu)
        self.debug.load(debug)
        self._late.load(late)
        self.renew_view()
        self.update_traps(self.masks())
