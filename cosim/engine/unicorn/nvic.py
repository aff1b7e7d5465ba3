"""Which exception of the Cortex-M4 is taken when: priorities, pending and active state (ARMv7-M manual, B1.5 and B3.4).

Exceptions are known by their number: 1 to 15 are the system's, interrupt n of the NVIC is 16 + n. Sets of exceptions
are integers with one bit per number.
"""

from __future__ import annotations

from array import array
from typing import NamedTuple

from cosim.engine.unicorn.nvic_state import EXCEPTIONS, FIRST_INTERRUPT, SETS, NumberSet, NvicState

NMI, HARD_FAULT, MEM_MANAGE, BUS_FAULT, USAGE_FAULT = 2, 3, 4, 5, 6
SVCALL, DEBUG_MONITOR, PENDSV, SYSTICK = 11, 12, 14, 15
#: The priority bits that the STM32MP15 implements.
PRIORITY_BITS = 0xF0

#: Bit positions in SHCSR by exception number: (enable, active, pended).
SHCSR_BITS = {
    MEM_MANAGE: (1 << 16, 1 << 0, 1 << 13),
    BUS_FAULT: (1 << 17, 1 << 1, 1 << 14),
    USAGE_FAULT: (1 << 18, 1 << 3, 1 << 12),
    SVCALL: (0, 1 << 7, 1 << 15),
    DEBUG_MONITOR: (0, 1 << 8, 0),
    PENDSV: (0, 1 << 10, 0),
    SYSTICK: (0, 1 << 11, 0),
}
_ALWAYS_ENABLED = sum(1 << n for n in (NMI, HARD_FAULT, SVCALL, PENDSV, SYSTICK))
LOCKUP_PRIORITY, NMI_PRIORITY, LOWEST_PRIORITY = -1, -2, 256
_NAMES = {
    NMI: "NMI",
    HARD_FAULT: "HardFault",
    MEM_MANAGE: "MemManage",
    BUS_FAULT: "BusFault",
    USAGE_FAULT: "UsageFault",
    SVCALL: "SVCall",
    DEBUG_MONITOR: "DebugMonitor",
    PENDSV: "PendSV",
    SYSTICK: "SysTick",
}


def exception_name(number: int) -> str:
    """The name of an exception: that of the manual, or `IRQ n`."""
    return _NAMES.get(number) or f"IRQ {number - FIRST_INTERRUPT}"


class Masks(NamedTuple):
    """The core's own mask registers."""

    primask: bool
    faultmask: bool
    basepri: int

    @property
    def any(self) -> bool:
        """Whether one of them holds something back."""
        return self.primask or self.faultmask or bool(self.basepri)


class Nvic:
    """Enabled, pending and active exceptions, their priorities, and the interrupt lines.

    All of its state is in `state`, which the C helper uses, too.
    """

    enabled, pending = NumberSet("enabled"), NumberSet("pending")
    #: The lines that are high, by exception number; no part of the reset state.
    levels = NumberSet("levels")
    #: Pending exceptions that are not taken yet: their lines rose a moment ago (`m4_lines.py`).
    late = NumberSet("late")

    def __init__(self) -> None:
        self.state = NvicState()
        self.sets = {name: memoryview(getattr(self.state, name)).cast("B") for name in SETS}
        #: By exception number: priority, and how often it was entered since reset.
        self.priorities = memoryview(self.state.priorities).cast("B")
        self.taken = memoryview(self.state.taken).cast("B").cast("Q")
        self.reset()

    def reset(self) -> None:
        """Nothing is enabled, pending or active; a line that is high pends its interrupt."""
        self.enabled = _ALWAYS_ENABLED
        self.pending = self.levels
        self.late = 0
        self.active = ()
        self.priorities[:] = bytes(EXCEPTIONS)
        self.taken[:] = array("Q", bytes(8 * EXCEPTIONS))
        self.prigroup = 0

    @property
    def active(self) -> tuple[int, ...]:
        """The active exceptions in the order of entry; before them those that software made active."""
        return tuple(self.state.active[: self.state.depth])

    @active.setter
    def active(self, numbers: tuple[int, ...]) -> None:
        self.state.active[: len(numbers)] = numbers
        self.state.depth = len(numbers)

    @property
    def prigroup(self) -> int:
        """AIRCR.PRIGROUP."""
        return self.state.prigroup

    @prigroup.setter
    def prigroup(self, value: int) -> None:
        self.state.prigroup = value

    # -- priorities (B1.5.4) -----------------------------------------------------------------------------------

    def priority(self, number: int) -> int:
        """The priority of an exception; smaller is more urgent."""
        if number == HARD_FAULT:
            return LOCKUP_PRIORITY
        return NMI_PRIORITY if number == NMI else self.priorities[number]

    def group_priority(self, number: int) -> int:
        """The part of its priority that decides about preemption."""
        return self._group(self.priority(number))

    def _group(self, priority: int) -> int:
        return priority if priority < 0 else priority & (0xFF << self.prigroup + 1 & 0xFF)

    def execution_priority(self, masks: Masks) -> int:
        """The priority of what runs now, boosted by the mask registers."""
        priority = min((self.group_priority(n) for n in self.active), default=LOWEST_PRIORITY)
        if masks.basepri:
            priority = min(priority, self._group(masks.basepri))
        if masks.primask:
            priority = min(priority, 0)
        return min(priority, LOCKUP_PRIORITY) if masks.faultmask else priority

    def most_urgent(self) -> int | None:
        """The pending and enabled exception that comes first: by priority, then by number."""
        return self._first(self.pending & self.enabled)

    def _first(self, waiting: int) -> int | None:
        best: tuple[int, int] | None = None
        while waiting:
            lowest = waiting & -waiting
            waiting ^= lowest
            number = lowest.bit_length() - 1
            candidate = self.priority(number), number
            best = candidate if best is None or candidate < best else best
        return None if best is None else best[1]

    def takeable(self, masks: Masks) -> int | None:
        """The pending exception that preempts what runs now."""
        number = self._first(self.pending & self.enabled & ~self.late)
        if number is None or self.group_priority(number) >= self.execution_priority(masks):
            return None
        return number

    def escalate(self, number: int, masks: Masks) -> int | None:
        """The exception that is taken for a synchronous `number`: itself, HardFault, or None for lockup (B1.5.12)."""
        current = self.execution_priority(masks)
        enabled = bool(self.enabled >> number & 1)
        if number != HARD_FAULT and enabled and self.group_priority(number) < current:
            return number
        return None if current <= LOCKUP_PRIORITY else HARD_FAULT

    # -- state -------------------------------------------------------------------------------------------------

    def set_shcsr(self, value: int) -> None:
        """Take over what software wrote to SHCSR (B3.2.13), active bits included: the handler at work stays the same.

        An exception that software makes active counts for the execution priority, below what was entered before.
        """
        for number, (enable, active, pended) in SHCSR_BITS.items():
            bit = 1 << number
            if enable:
                self.enabled = self.enabled | bit if value & enable else self.enabled & ~bit
            if pended:
                self.pending = self.pending | bit if value & pended else self.pending & ~bit
            if not value & active:
                self.active = tuple(n for n in self.active if n != number)
            elif number not in self.active:
                self.active = (number, *self.active)

    def shcsr(self) -> int:
        """SHCSR as the state gives it."""
        value = 0
        for number, (enable, active, pended) in SHCSR_BITS.items():
            value |= enable if enable and self.enabled >> number & 1 else 0
            value |= (active if number in self.active else 0) | (pended if self.pending >> number & 1 else 0)
        return value

    def set_line(self, number: int, level: bool) -> None:
        """The line of interrupt `number` (an exception number) changes; rising, it pends."""
        bit = 1 << number
        if level:
            self.levels |= bit
            self.pending |= bit
        else:
            self.levels &= ~bit

    def pend(self, number: int) -> None:
        """`number` waits until nothing more urgent is handled."""
        self.pend_all(1 << number)

    def pend_all(self, numbers: int) -> None:
        """The same for a set. What the core itself pends is not late."""
        self.pending |= numbers
        self.late &= ~numbers

    def unpend(self, numbers: int) -> None:
        """Clear the pending state of a set; an interrupt whose line is high, and that is not active, stays pending."""
        active = sum(1 << n for n in self.active)
        self.pending &= ~(numbers & ~(self.levels & ~active))

    def activate(self, number: int) -> None:
        """`number` is being handled from now on."""
        self.pending &= ~(1 << number)
        self.active = (*self.active, number)

    def deactivate(self, number: int) -> None:
        """`number` is no longer handled; if its line is still high, it is pending again."""
        self.active = tuple(n for n in self.active if n != number)
        self.pending |= self.levels & 1 << number

    def save(self) -> object:
        """The complete state as an immutable value, without what others hold: late lines, and the event register."""
        taken = tuple(self.taken)
        return self.levels, self.enabled, self.pending, self.active, bytes(self.priorities), self.prigroup, taken

    def load(self, state: tuple[int, int, int, tuple[int, ...], bytes, int, tuple[int, ...]]) -> None:
        """Restore what `save` returned."""
        self.levels, self.enabled, self.pending, self.active, self.priorities[:], self.prigroup, taken = state
        self.taken[:] = array("Q", taken)
