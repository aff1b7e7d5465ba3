"""SysTick (ARMv7-M manual, B3.3): a down counter whose value follows from virtual time and is never counted.

One cycle of the processor clock is one of the rate that the platform file gives the core, also while the core sleeps;
in instruction-count time an instruction takes one. The reference clock (CLKSOURCE 0) is that clock divided by 8, as on
every STM32.
"""

from __future__ import annotations

from collections.abc import Callable

from cosim.timers import Timers

ENABLE, TICKINT, CLKSOURCE, COUNTFLAG = 1 << 0, 1 << 1, 1 << 2, 1 << 16
CSR, RVR, CVR, CALIB = 0x010, 0x014, 0x018, 0x01C
_COUNTER = 0xFFFFFF
_REFERENCE_DIVIDER = 8
_MICROSECOND_PS = 1_000_000
#: SKEW: the value for 10 ms (TENMS, 0) is not known exactly; there is a reference clock (NOREF clear).
CALIBRATION = 1 << 30


class SysTick:
    """The timer; `expired` is called when it counts to zero with TICKINT set. `mips` is the core's clock in MHz."""

    def __init__(self, timers: Timers, mips: int, expired: Callable[[], None]) -> None:
        self._alarm = timers.alarm(self._on_alarm)
        self._mips = mips
        self._expired = expired
        self.reset()

    def reset(self) -> None:
        """Disabled; counter and reload value, which the architecture leaves unknown, are zero."""
        self._control = self._reload = 0
        self._from = self._start = 0  # at cycle `_from` the counter was `_start`
        self._flag, self._seen = False, 0  # COUNTFLAG, and the ticks since `_from` that it accounts for
        self._alarm.set(None)

    def read(self, offset: int, now_ps: int) -> int:
        """A register; reading CSR clears COUNTFLAG."""
        if offset == CSR:
            value = self._control | (COUNTFLAG if self._counted(now_ps) else 0)
            self._flag, self._seen = False, self._ticks(now_ps)
            return value
        return {RVR: self._reload, CVR: self._value(self._ticks(now_ps)), CALIB: CALIBRATION}[offset]

    def write(self, offset: int, value: int, now_ps: int) -> None:
        """Write a register; any write to CVR clears it and COUNTFLAG."""
        self._rebase(now_ps)
        if offset == CSR:
            self._control = value & (ENABLE | TICKINT | CLKSOURCE)
        elif offset == RVR:
            self._reload = value & _COUNTER
        elif offset == CVR:
            self._start, self._flag = 0, False
        self._arm()

    # -- the counter -------------------------------------------------------------------------------------------

    def _cycles(self, at_ps: int) -> int:
        return -(-at_ps * self._mips // _MICROSECOND_PS)

    @property
    def _divider(self) -> int:
        return 1 if self._control & CLKSOURCE else _REFERENCE_DIVIDER

    def _ticks(self, now_ps: int) -> int:
        """How often it was clocked since `_from`."""
        return max(0, self._cycles(now_ps) - self._from) // self._divider if self._control & ENABLE else 0

    def _value(self, ticks: int) -> int:
        if ticks <= self._start:
            return self._start - ticks
        return self._reload - (ticks - self._start - 1) % (self._reload + 1) if self._reload else 0

    def _zeros(self, ticks: int) -> int:
        """How often it had counted from 1 to 0 after `ticks`."""
        if ticks < self._start:
            return 0
        reloads = (ticks - self._start) // (self._reload + 1) if self._reload else 0
        return reloads + (1 if self._start else 0)

    def _counted(self, now_ps: int) -> bool:
        return self._flag or self._zeros(self._ticks(now_ps)) > self._zeros(self._seen)

    def _rebase(self, now_ps: int) -> None:
        """Let `_from` be now, so that a register can change."""
        self._flag = self._counted(now_ps)
        ticks = self._ticks(now_ps)
        passed = ticks * self._divider
        self._start = self._value(ticks)
        self._from = self._from + passed if self._control & ENABLE else self._cycles(now_ps)
        self._seen = 0

    # -- its interrupt -----------------------------------------------------------------------------------------

    def _arm(self, after: int = 0) -> None:
        """Set the alarm for the first time that the counter gets to zero more than `after` ticks from `_from`."""
        if self._control & (ENABLE | TICKINT) != ENABLE | TICKINT or not (self._start or self._reload):
            self._alarm.set(None)
            return
        period = self._reload + 1
        zero = self._start if after < self._start else self._start + ((after - self._start) // period + 1) * period
        if zero != self._start and not self._reload:
            self._alarm.set(None)
            return
        self._alarm.set((self._from + zero * self._divider) * _MICROSECOND_PS // self._mips)

    def _on_alarm(self, at_ps: int) -> None:
        self._arm(self._ticks(at_ps))
        self._expired()

    # -- snapshots ---------------------------------------------------------------------------------------------

    def save(self) -> tuple[int, int, int, int, bool, int]:
        """All but the alarm, which the machine's timers keep."""
        return self._control, self._reload, self._from, self._start, self._flag, self._seen

    def load(self, state: tuple[int, int, int, int, bool, int]) -> None:
        """Restore what `save` returned."""
        self._control, self._reload, self._from, self._start, self._flag, self._seen = state
