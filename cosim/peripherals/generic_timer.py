"""The generic timer of a Cortex-A7: counters, the EL1 physical and virtual timers, all in virtual time.

Source: ARMv7-A manual (DDI 0406C), chapter B8 and the CNT* registers of B4.1. The view is that of the non-secure PL1:
no Hyp mode, so the virtual offset is 0, CNTVCT equals CNTPCT, and the registers of Hyp mode do not exist. The boot
chain has let PL1 have the physical timer (CNTHCTL.PL1PCEN). Each timer has its interrupt as a private one of the GIC.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cosim.errors import EngineError
from cosim.timers import SECOND_PS, Alarm, Timers

_DOUBLE = (1 << 64) - 1
_ENABLE, _IMASK, _ISTATUS = 1 << 0, 1 << 1, 1 << 2
_PL0PCTEN, _PL0VCTEN, _EVNTEN, _EVNTDIR, _PL0VTEN, _PL0PTEN = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 8, 1 << 9
_CNTKCTL_MASK = 0x3FF


class TimerRegister(enum.Enum):
    """The registers that PL1 has, by their names."""

    CNTFRQ = "CNTFRQ"
    CNTKCTL = "CNTKCTL"
    CNTPCT = "CNTPCT"
    CNTVCT = "CNTVCT"
    CNTP_CTL = "CNTP_CTL"
    CNTP_CVAL = "CNTP_CVAL"
    CNTP_TVAL = "CNTP_TVAL"
    CNTV_CTL = "CNTV_CTL"
    CNTV_CVAL = "CNTV_CVAL"
    CNTV_TVAL = "CNTV_TVAL"


_R = TimerRegister
#: Registers that only a secure or no write at all can change.
_READ_ONLY = frozenset({_R.CNTFRQ, _R.CNTPCT, _R.CNTVCT})
#: The bits of CNTKCTL any of which lets PL0 have a register; PL0 never has CNTKCTL (B8.1.3).
_PL0_NEEDS: Mapping[TimerRegister, int] = {
    _R.CNTFRQ: _PL0PCTEN | _PL0VCTEN,
    _R.CNTPCT: _PL0PCTEN,
    _R.CNTVCT: _PL0VCTEN,
    **dict.fromkeys((_R.CNTP_CTL, _R.CNTP_CVAL, _R.CNTP_TVAL), _PL0PTEN),
    **dict.fromkeys((_R.CNTV_CTL, _R.CNTV_CVAL, _R.CNTV_TVAL), _PL0VTEN),
}


@dataclass
class _Comparator:
    """One timer: control, compare value, and what happens when the counter reaches it."""

    output: Callable[[bool], None]
    alarm: Alarm
    control: int = 0
    compare: int = 0

    def met(self, count: int) -> bool:
        """Whether the timer condition holds."""
        return bool(self.control & _ENABLE) and count >= self.compare


class GenericTimer:
    """The timer of one core at `frequency_hz`; `physical` and `virtual` are told the levels of its interrupts."""

    def __init__(
        self, frequency_hz: int, timers: Timers, physical: Callable[[bool], None], virtual: Callable[[bool], None]
    ) -> None:
        if not 1 <= frequency_hz <= SECOND_PS:
            raise EngineError(
                f"a generic timer cannot count at {frequency_hz} Hz", hint="use 1 Hz to 1 THz", frequency=frequency_hz
            )
        self.frequency_hz = frequency_hz
        self._cntkctl = 0
        self._physical = _Comparator(physical, timers.alarm(lambda at_ps: self._update(self._physical, at_ps)))
        self._virtual = _Comparator(virtual, timers.alarm(lambda at_ps: self._update(self._virtual, at_ps)))

    def count(self, now_ps: int) -> int:
        """The counter at virtual time `now_ps`."""
        return now_ps * self.frequency_hz // SECOND_PS

    def permits(self, register: TimerRegister, *, write: bool, privileged: bool) -> bool:
        """Whether the access exists for software at PL1 (`privileged`) or PL0; if not, it is undefined."""
        if write and register in _READ_ONLY:
            return False
        return privileged or bool(self._cntkctl & _PL0_NEEDS.get(register, 0))

    def read(self, register: TimerRegister, now_ps: int) -> int:
        """The value of a register at virtual time `now_ps`: 64 bits for counters and compare values, else 32."""
        count = self.count(now_ps)
        if register is _R.CNTFRQ:
            return self.frequency_hz & 0xFFFFFFFF
        if register is _R.CNTKCTL:
            return self._cntkctl
        if register in (_R.CNTPCT, _R.CNTVCT):
            return count & _DOUBLE
        timer = self._timer(register)
        if register in (_R.CNTP_CVAL, _R.CNTV_CVAL):
            return timer.compare
        if register in (_R.CNTP_TVAL, _R.CNTV_TVAL):
            return (timer.compare - count) & 0xFFFFFFFF
        return timer.control | (_ISTATUS if timer.met(count) else 0)

    def write(self, register: TimerRegister, value: int, now_ps: int) -> None:
        """Write a register that `permits` a write; the interrupt and the alarm follow at once."""
        if register is _R.CNTKCTL:
            self._cntkctl = value & _CNTKCTL_MASK
            return
        timer = self._timer(register)
        if register in (_R.CNTP_CVAL, _R.CNTV_CVAL):
            timer.compare = value & _DOUBLE
        elif register in (_R.CNTP_TVAL, _R.CNTV_TVAL):
            signed = (value & 0x7FFFFFFF) - (value & 0x80000000)
            timer.compare = (self.count(now_ps) + signed) & _DOUBLE
        else:
            timer.control = value & (_ENABLE | _IMASK)
        self._update(timer, now_ps)

    def next_event(self, now_ps: int) -> int | None:
        """When the event stream wakes a core in WFE next, in picoseconds after `now_ps`; None while it is off (B8.1.4).

        CNTKCTL.EVNTI selects a bit of the virtual counter, EVNTDIR its falling instead of its rising edge.
        """
        if not self._cntkctl & _EVNTEN:
            return None
        period = 2 << (self._cntkctl >> 4 & 0xF)
        edge = 0 if self._cntkctl & _EVNTDIR else period // 2
        ticks = self.count(now_ps)
        return self._time_of(ticks + (edge - ticks - 1) % period + 1)

    def reset(self) -> None:
        """Both timers off, PL0 shut out."""
        self._cntkctl = 0
        for timer in (self._physical, self._virtual):
            timer.control = timer.compare = 0
            self._update(timer, 0)

    def save(self) -> tuple[int, ...]:
        """The registers; the alarms are saved with all others, the interrupt levels by the GIC."""
        timers = (self._physical, self._virtual)
        return (self._cntkctl, *(value for timer in timers for value in (timer.control, timer.compare)))

    def load(self, state: tuple[int, ...]) -> None:
        """Restore what `save` returned."""
        self._cntkctl, *values = state
        self._physical.control, self._physical.compare, self._virtual.control, self._virtual.compare = values

    def _timer(self, register: TimerRegister) -> _Comparator:
        return self._virtual if register.value.startswith("CNTV_") else self._physical

    def _time_of(self, count: int) -> int:
        """The first picosecond at which the counter is `count`."""
        return -(-count * SECOND_PS // self.frequency_hz)

    def _update(self, timer: _Comparator, now_ps: int) -> None:
        met = timer.met(self.count(now_ps))
        waits = timer.control == _ENABLE and not met
        timer.alarm.set(self._time_of(timer.compare) if waits else None)
        timer.output(met and not timer.control & _IMASK)
