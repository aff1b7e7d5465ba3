"""WWDG1 of the STM32MP15: the Cortex-M4's window watchdog, counting down in virtual time.

Source: RM0436 (WWDG) as quoted by ST's CMSIS header and SVD.
The counter goes down once every 4096 * 2^WDGTB cycles of the APB1 clock, beginning with the write that set it (the
hardware's prescaler runs freely). At 0x40 comes the early interrupt, at 0x3F the reset; a write to an enabled watchdog
with T6 clear, or while the counter is still above the window, resets at once. A reset of the M4 stops the watchdog.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar

from cosim.access import Initiator
from cosim.errors import EngineError
from cosim.events import EventLog, WatchdogExpired
from cosim.interrupts import Output
from cosim.registers import Access, Field, Register, RegisterBlock
from cosim.timers import SECOND_PS, Timers

_WDGA, _EWI, _T6 = 1 << 7, 1 << 9, 1 << 6
_EARLY = 0x40
_CLOCKS = 4096

REGISTERS: tuple[Register, ...] = (
    Register("CR", 0x00, 0x7F, (Field("T", 0, 7), Field("WDGA", 7, access=Access.W1S)), logged=False),
    Register(
        "CFR", 0x04, 0x7F, (Field("W", 0, 7), Field("EWI", 9, access=Access.W1S), Field("WDGTB", 11, 3)), logged=False
    ),
    Register("SR", 0x08, 0, (Field("EWIF", 0),), logged=False),
    Register("HWCFGR", 0x3F0, 0xFFF, access=Access.RO),
    Register("VERR", 0x3F4, 0x21, access=Access.RO),
    Register("IPIDR", 0x3F8, 0x00120051, access=Access.RO),
    Register("SIDR", 0x3FC, 0xA3C5DD01, access=Access.RO),
)


class Wwdg(RegisterBlock):
    """The watchdog; `expired` resets the core, `outputs` has the early interrupt by name: Irq."""

    registers: ClassVar[tuple[Register, ...]] = REGISTERS
    computed: ClassVar[frozenset[str] | None] = frozenset({"CR"})
    output_names: ClassVar[tuple[str, ...]] = ("Irq",)

    def __init__(
        self,
        base: int,
        log: EventLog,
        outputs: Mapping[str, Output],
        name: str,
        *,
        now_ps: Callable[[], int],
        timers: Timers,
        clock_hz: int,
        expired: Callable[[], None],
    ) -> None:
        super().__init__(name, base, log)
        self._outputs = outputs
        self._now_ps = now_ps
        self._clock_hz = clock_hz
        self._expired = expired
        self._set_ps = 0  # when the stored T was true
        self._warned = False  # whether the counter was at 0x40 since then
        self._alarm = timers.alarm(self._due)

    def read_register(self, register: Register, initiator: Initiator) -> int:
        """T is what it has come down to."""
        value = super().read_register(register, initiator)
        return value & ~0x7F | self._counter(self._now_ps()) if register.name == "CR" else value

    def combine(self, register: Register, before: int, written: int, lanes: int) -> int:
        """As the table says; EWIF is cleared by writing 0 (rc_w0)."""
        if register.name == "SR":
            return before & (written | ~lanes)
        return super().combine(register, before, written, lanes)

    def written(self, register: Register, before: int, after: int, written: int, initiator: Initiator) -> None:  # noqa: ARG002
        """CR refreshes, or resets when that is too early or asks for it; the rest moves interrupt and alarm."""
        now_ps = self._now_ps()
        if register.name == "CR":
            too_early = bool(before & _WDGA) and self._counter(now_ps, before) > self.value("CFR") & 0x7F
            self._set_ps, self._warned = now_ps, False
            if after & _WDGA and (too_early or not after & _T6):
                self._expire()
                return
        elif register.name == "CFR":
            # What was counted so far was counted with the old prescaler.
            self.poke("CR", self.value("CR") & ~0x7F | self._counter(now_ps, prescaler=before >> 11 & 7))
            self._set_ps = now_ps
        self._update()

    def reset(self) -> None:
        """Back to the reset values: stopped."""
        super().reset()
        self._warned = False
        self._update()

    def save_extra(self) -> tuple[int, bool]:
        """When the counter was set, and whether it has warned."""
        return self._set_ps, self._warned

    def load_extra(self, extra: object) -> None:
        """Restore it; the alarm is restored with all others."""
        match extra:
            case (int(set_ps), bool(warned)):
                self._set_ps, self._warned = set_ps, warned
            case _:
                raise EngineError(f"not a snapshot of block {self.name}", hint="restore into the SoC that was saved")
        self._outputs["Irq"](self._interrupt())

    def _step_ps(self, steps: int, prescaler: int | None = None) -> int:
        """How long `steps` steps of the counter take, rounded up."""
        scale = self.value("CFR") >> 11 & 7 if prescaler is None else prescaler
        return -(-steps * (_CLOCKS << scale) * SECOND_PS // self._clock_hz)

    def _counter(self, at_ps: int, control: int | None = None, prescaler: int | None = None) -> int:
        """T at a virtual time; while the watchdog is off, it stays as written."""
        control = self.value("CR") if control is None else control
        start = control & 0x7F
        if not control & _WDGA:
            return start
        scale = self.value("CFR") >> 11 & 7 if prescaler is None else prescaler
        steps = max(0, at_ps - self._set_ps) * self._clock_hz // ((_CLOCKS << scale) * SECOND_PS)
        return max(_EARLY - 1, start - steps)

    def _due(self, at_ps: int) -> None:  # noqa: ARG002
        if self._warned:
            self._expire()
            return
        self._warned = True
        self.poke("SR", self.value("SR") | 1)
        self._update()

    def _expire(self) -> None:
        self._log.emit(WatchdogExpired(self.name))
        self.reset()
        self._expired()

    def _interrupt(self) -> bool:
        return bool(self.value("SR") & 1 and self.value("CFR") & _EWI)

    def _update(self) -> None:
        """Interrupt and alarm: the next of the two moments that is still to come."""
        self._outputs["Irq"](self._interrupt())
        control = self.value("CR")
        steps = (control & 0x7F) - _EARLY + self._warned
        self._alarm.set(self._set_ps + self._step_ps(steps) if control & _WDGA else None)
