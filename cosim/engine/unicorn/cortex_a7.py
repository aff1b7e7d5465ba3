"""The Cortex-A7, normal world: interrupts, sleep, the generic timer's registers, and SMC.

The core does not look at the GIC's output all the time: it *samples* it, and what it sampled last it takes at the first
instruction boundary at which CPSR allows (ARMv7-A manual, B1.9.10 and B1.9.12). The engine says when it samples.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from unicorn.arm_const import UC_ARM_REG_CPSR, UC_ARM_REG_PC

from cosim.engine import CoreState, Machine
from cosim.engine.unicorn.a7_exceptions import (
    CPSR_A,
    CPSR_F,
    CPSR_I,
    CPSR_T,
    FIQ,
    IRQ,
    MODE_MASK,
    MODE_NAMES,
    MODE_SVC,
    MODE_USER,
    A7Exception,
    A7Exceptions,
)
from cosim.engine.unicorn.a7_pmu import PerformanceMonitors
from cosim.engine.unicorn.a7_traps import (
    A7_TRAPS,
    ALWAYS_BITS,
    MONITOR_BITS,
    SEV_BITS,
    TIMER_BITS,
    UNMASKING_BITS,
    MonitorAccess,
    TimerAccess,
    condition_passed,
    decode_monitor,
    decode_timer,
    opcode_of,
)
from cosim.engine.unicorn.loop import CORE_REGISTERS, Loop, clock_of
from cosim.engine.unicorn.m4_exceptions import in_log
from cosim.engine.unicorn.sev import A7_SENDS, event_line
from cosim.errors import EngineError
from cosim.events import CoreStopped, InterruptTaken
from cosim.peripherals.generic_timer import GenericTimer
from cosim.peripherals.gic import SPURIOUS, Gic, Signal

#: Unicorn's number of the exception (QEMU's EXCP_SMC).
EXCP_SMC = 13
#: A core that is awake looks at what others do to the GIC at multiples of this much virtual time.
GRID_PS = 100_000
GENERIC_TIMER_TYPE = "Timers.ARM_GenericTimer"


def next_on_grid(time_ps: int) -> int:
    """The first multiple of `GRID_PS` after a virtual time."""
    return (time_ps // GRID_PS + 1) * GRID_PS


class CortexA7(A7Exceptions):
    """One Cortex-A7 core; starts in Supervisor mode, ARM state, MMU off."""

    traps = A7_TRAPS

    def __init__(self, machine: Machine, name: str, loop: Loop, mips: int) -> None:
        super().__init__(machine, name, loop, mips)
        #: Set by the engine: bring the other cores to this one's time.
        self.catch_up: Callable[[], None] = lambda: None
        self._signal = Signal.NONE  # the GIC's output as sampled, and for which interrupt of which priority
        self._asserted = (SPURIOUS, 0)
        self._taken: dict[int, int] = {}
        self._sleeps = 0
        self._samples_now = False  # at the next boundary
        self._look = machine.timers.alarm(lambda _at_ps: self._sample_soon())
        self._event = False  # the event register of WFE
        self._in_wfe = False
        self._send_event = event_line(machine, A7_SENDS)
        self._event_stream = machine.timers.alarm(self.wake)
        self._private = False
        self._gic = next((w.target for w in machine.bus.windows if isinstance(w.target, Gic)), None)
        if self._gic is not None:
            self._gic.connect(self._on_gic_change)
        self._timer = self._make_timer(machine)
        self._monitors = PerformanceMonitors(lambda: clock_of(self.lane))
        self._set_traps()

    def _make_timer(self, machine: Machine) -> GenericTimer | None:
        for entry in machine.platform.of_type(GENERIC_TIMER_TYPE):
            frequency = entry.properties.get("frequency")
            if not isinstance(frequency, int):
                raise EngineError(f"{entry.name} has no frequency", hint="add `frequency: 24000000`", entry=entry.name)
            lines = {interrupt.source: interrupt.line for interrupt in entry.interrupts}
            physical, virtual = (lines.get(f"EL1{kind}TimerIRQ") for kind in ("Physical", "Virtual"))
            return GenericTimer(frequency, machine.timers, self._private_line(physical), self._private_line(virtual))
        return None

    def _private_line(self, line: int | None) -> Callable[[bool], None]:
        def drive(level: bool) -> None:
            if self._gic is not None and line is not None:
                self._private = True
                self._gic.set_ppi(line, level)
                self._private = False

        return drive

    def start(self, entry: int) -> None:
        """Begin at `entry`, as the boot chain hands over to the normal world."""
        self.uc.reg_write(UC_ARM_REG_CPSR, MODE_SVC | CPSR_A | CPSR_I | CPSR_F)
        self.uc.reg_write(UC_ARM_REG_PC, entry)
        self._entries = ()
        self.break_flow()
        self._event = self._in_wfe = False
        self._event_stream.set(None)
        self.set_state(CoreState.RUNNING)
        self._sample_soon()

    def smc_arguments(self) -> tuple[int, ...]:
        """r0 to r7."""
        return tuple(self.uc.reg_read(r) for r in CORE_REGISTERS[:8])

    def smc_results(self, results: tuple[int, int, int, int]) -> None:
        """Put the secure monitor's answer into r0 to r3; r4 to r12 stay as they are (OP-TEE's ARMv7 monitor)."""
        for register, value in zip(CORE_REGISTERS[:4], results, strict=True):
            self.uc.reg_write(register, value)

    # -- interrupts ------------------------------------------------------------------------------------------------

    @property
    def attentive(self) -> bool:
        """Whether an interrupt could reach this core: the GIC is armed."""
        return self._gic is not None and self._gic.armed

    def _on_gic_change(self) -> None:
        """The GIC asserts another input, or was armed or disarmed.

        What this core or its timer did it sees at once. It has run ahead of the others: what they do it sees at the
        next time on the grid, which no turn of its own passes, unless it sleeps and that wakes it.
        """
        if self._private or self.machine.log.clock().core == self.name:
            self._sample_soon()
            return
        self.alert()
        if self.alerted_at is not None:
            at_ps = next_on_grid(self.alerted_at)
            self._look.set(at_ps if self._look.at_ps is None else min(at_ps, self._look.at_ps))

    def _sample_soon(self) -> None:
        self._samples_now = True
        self.alert()

    def deliver(self) -> None:
        """See `Core.deliver`: sample the GIC; if CPSR allows what it asserts, the vector's instruction is next."""
        if self._samples_now:
            self._samples_now = False
            if self._gic is not None:
                self._signal, self._asserted = self._gic.signal, self._gic.asserted()
            self._take_signal()

    @property
    def _output(self) -> Signal:
        return Signal.NONE if self._gic is None else self._gic.signal

    def _allows(self, signal: Signal) -> bool:
        mask = {Signal.NONE: 0, Signal.IRQ: CPSR_I, Signal.FIQ: CPSR_F}[signal]
        return bool(mask) and not self.uc.reg_read(UC_ARM_REG_CPSR) & mask

    def _take_signal(self) -> None:
        if self._allows(self._signal):
            self.lane.pc = self.pc
            self.enter(IRQ if self._signal is Signal.IRQ else FIQ)
        self._set_traps()

    def report(self, exception: A7Exception, status: int, address: int) -> None:
        """See `A7Exceptions.report`; of an interrupt that comes again and again it tells now and then."""
        if exception not in (IRQ, FIQ):
            super().report(exception, status, address)
            return
        identifier, priority = self._asserted
        count = self._taken[identifier] = self._taken.get(identifier, 0) + 1
        if in_log(count):
            mode = MODE_NAMES.get(self.uc.reg_read(UC_ARM_REG_CPSR) & MODE_MASK, "reserved")
            name = f"{exception.name.upper()} (INTID {identifier})"
            self.machine.log.emit(InterruptTaken(self.name, name, priority, mode, count))

    def _set_traps(self) -> None:
        """Stop behind what may unmask while something waits for that, which is rarely."""
        waits = self._signal is not Signal.NONE
        self.lane.traps_on = ALWAYS_BITS | (UNMASKING_BITS if waits else 0)

    # -- sleep -----------------------------------------------------------------------------------------------------

    def sleep(self) -> None:
        """WFI: sleep until the GIC asserts an input, whatever CPSR masks (B1.8.14)."""
        if not self._stays_awake(self._is_asserted):
            self._fall_asleep(in_wfe=False)

    def wakes(self) -> bool:
        """See `Core.wakes`."""
        return self._is_allowed() if self._in_wfe else self._is_asserted()

    def wake(self, at_ps: int) -> None:
        """See `Core.wake`."""
        self._event_stream.set(None)
        super().wake(at_ps)
        self._sample_soon()

    def _wait_for_event(self) -> None:
        """WFE: sleep until an event, or an interrupt that CPSR allows (B1.8.13); not when neither can ever come."""
        if self._stays_awake(self._is_allowed) or self._event:
            self._event = False
            return
        self._event_stream.set(self._timer.next_event(self.time_ps) if self._timer else None)
        if self.attentive or self._event_stream.at_ps is not None:
            self._fall_asleep(in_wfe=True)

    def _fall_asleep(self, *, in_wfe: bool) -> None:
        self._in_wfe = in_wfe
        self.set_state(CoreState.SLEEPING)
        self._sleeps += 1
        if in_log(self._sleeps):
            self.machine.log.emit(CoreStopped(self.name, "wfe" if in_wfe else "wfi"))

    def _stays_awake(self, condition: Callable[[], bool]) -> bool:
        """Whether what would end the sleep is there already; the other cores have come to this one's time first."""
        if not self.attentive:
            return False
        self.catch_up()
        if not condition():
            return False
        self._sample_soon()
        return True

    def _is_asserted(self) -> bool:
        return self._output is not Signal.NONE

    def _is_allowed(self) -> bool:
        return self._allows(self._output)

    # -- trapped instructions --------------------------------------------------------------------------------------

    def take_trap(self, number: int) -> None:
        """See `Core.take_trap`."""
        kind = 1 << number
        if kind & UNMASKING_BITS:
            self._take_signal()
            return
        cpsr = self.uc.reg_read(UC_ARM_REG_CPSR)
        thumb, privileged = bool(cpsr & CPSR_T), cpsr & MODE_MASK != MODE_USER
        opcode = opcode_of(bytes(self.uc.mem_read(self.pc, 4)), thumb=thumb)
        if not thumb and not condition_passed(opcode >> 28, cpsr):
            self.skip_trapped(4)
        elif kind & TIMER_BITS:
            self._serve_timer(decode_timer(opcode, thumb=thumb), privileged=privileged)
        elif kind & MONITOR_BITS:
            self._serve_monitors(decode_monitor(opcode, thumb=thumb), privileged=privileged)
        elif kind & SEV_BITS:
            self.catch_up()  # the M4 gets it at this time
            self._event = True
            self._send_event()
            self.skip_trapped(A7_TRAPS[number].size)
        else:
            self.skip_trapped(A7_TRAPS[number].size)
            self._wait_for_event()

    def _serve_timer(self, access: TimerAccess | None, *, privileged: bool) -> None:
        timer = self._timer
        if (
            access is None
            or timer is None
            or not timer.permits(access.register, write=access.write, privileged=privileged)
        ):
            self.take_undefined()
            return
        numbers = [CORE_REGISTERS[n] for n in access.registers]
        if access.write:
            if self.attentive:  # the interrupt may rise at once
                self.catch_up()
            value = sum(self.uc.reg_read(number) << 32 * n for n, number in enumerate(numbers))
            timer.write(access.register, value, self.time_ps)
        else:
            value = timer.read(access.register, self.time_ps)
            for n, number in enumerate(numbers):
                self.uc.reg_write(number, value >> 32 * n & 0xFFFFFFFF)
        self.skip_trapped(4)

    def _serve_monitors(self, access: MonitorAccess | None, *, privileged: bool) -> None:
        monitors = self._monitors
        if access is None or not monitors.permits(access.register, write=access.write, privileged=privileged):
            self.take_undefined()
            return
        if access.write:
            monitors.write(access.register, self.uc.reg_read(CORE_REGISTERS[access.rt]))
        else:
            self.uc.reg_write(CORE_REGISTERS[access.rt], monitors.read(access.register))
        self.skip_trapped(4)

    # -- snapshots -------------------------------------------------------------------------------------------------

    def save(self) -> object:
        """See `Core.save`."""
        timer = self._timer.save() if self._timer else ()
        own = (self._signal, self._asserted, self._samples_now, self._event, self._in_wfe)
        return super().save(), own, (self._sleeps, dict(self._taken)), timer, self._monitors.save()

    def load(self, state: Any) -> None:
        """See `Core.load`."""
        core, own, (self._sleeps, taken), timer, monitors = state
        self._signal, self._asserted, self._samples_now, self._event, self._in_wfe = own
        self._taken = dict(taken)
        super().load(core)
        if self._timer:
            self._timer.load(timer)
        self._monitors.load(monitors)
        self._set_traps()
