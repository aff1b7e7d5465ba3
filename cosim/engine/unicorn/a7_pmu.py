"""The A7's performance monitors: a cycle counter that follows the core's clock, event counters that stand still.

Source: ARMv7-A manual (DDI 0406C), chapter C12 and the PM* registers of B6.1; Cortex-A7 TRM (DDI 0464), chapter 11.
Unicorn's own cycle counter follows the host's clock, so these registers are served here.
"""

from __future__ import annotations

from collections.abc import Callable

_E, _C, _D = 1 << 0, 1 << 2, 1 << 3
_PMCR_STORED = 0x39  # E, D, X, DP
_PMCR_FIXED = 0x41072000  # Arm, Cortex-A7, four event counters
_CYCLES = 1 << 31
_COUNTERS = _CYCLES | 0xF
_WORD = 0xFFFFFFFF

#: (CRm, opc2) of the registers with c9.
_PMCR, _CNTENSET, _CNTENCLR, _OVSR, _SWINC, _SELR, _CEID0, _CEID1 = ((12, n) for n in range(8))
_CCNTR, _XEVTYPER, _XEVCNTR = ((13, n) for n in range(3))
_USERENR, _INTENSET, _INTENCLR, _OVSSET = ((14, n) for n in range(4))
_SET, _CLEAR = {_CNTENSET: "enabled", _INTENSET: "interrupts"}, {_CNTENCLR: "enabled", _INTENCLR: "interrupts"}
_KNOWN = {
    _PMCR, _CNTENSET, _CNTENCLR, _OVSR, _SWINC, _SELR, _CEID0, _CEID1, _CCNTR, _XEVTYPER, _XEVCNTR, _USERENR,
    _INTENSET, _INTENCLR, _OVSSET,
}  # fmt: skip


class PerformanceMonitors:
    """The registers of one core; `clock` tells how many instructions, or cycles, of it have passed."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._fields = {"control": 0, "enabled": 0, "interrupts": 0, "select": 0, "user": 0}
        self._events: dict[str, int] = {}
        self._cycles = self._since = 0

    def permits(self, register: tuple[int, int], *, write: bool, privileged: bool) -> bool:
        """Whether the register (CRm, opc2) exists for software at PL1 (`privileged`) or PL0 (C12.8)."""
        if register not in _KNOWN:
            return False
        if privileged:
            return True
        if register == _USERENR:
            return not write
        return bool(self._fields["user"]) and register not in (_INTENSET, _INTENCLR, _OVSSET)

    def read(self, register: tuple[int, int]) -> int:
        """The value of a register."""
        fields = self._fields
        if register == _PMCR:
            return _PMCR_FIXED | fields["control"]
        if register == _CCNTR:
            return self._count()
        if register in (_XEVTYPER, _XEVCNTR):
            return self._events.get(f"{register[1]}.{fields['select']}", 0)
        names = {_SELR: "select", _USERENR: "user", **_SET, **_CLEAR}
        return fields[names[register]] if register in names else 0

    def write(self, register: tuple[int, int], value: int) -> None:
        """Write a register."""
        fields = self._fields
        self._cycles, self._since = self._count(), self._clock()
        if register == _PMCR:
            fields["control"] = value & _PMCR_STORED
            if value & _C:
                self._cycles = 0
        elif register == _CCNTR:
            self._cycles = value
        elif register in _SET:
            fields[_SET[register]] |= value & _COUNTERS
        elif register in _CLEAR:
            fields[_CLEAR[register]] &= ~value
        elif register == _SELR:
            fields["select"] = value & 0x1F
        elif register == _USERENR:
            fields["user"] = value & 1
        elif register in (_XEVTYPER, _XEVCNTR):
            self._events[f"{register[1]}.{fields['select']}"] = value

    def save(self) -> tuple[dict[str, int], dict[str, int], int, int]:
        """The state, for `load`."""
        return dict(self._fields), dict(self._events), self._cycles, self._since

    def load(self, state: tuple[dict[str, int], dict[str, int], int, int]) -> None:
        """Restore what `save` returned."""
        fields, events, self._cycles, self._since = state
        self._fields, self._events = dict(fields), dict(events)

    def _count(self) -> int:
        """The cycle counter now; a divided one counts every 64th of the clock since it was last written."""
        if not (self._fields["control"] & _E and self._fields["enabled"] & _CYCLES):
            return self._cycles
        passed = self._clock() - self._since
        return (self._cycles + (passed // 64 if self._fields["control"] & _D else passed)) & _WORD
