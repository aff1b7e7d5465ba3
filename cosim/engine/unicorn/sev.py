"""SEV across the cores: an instruction of one is an edge on an EXTI line, and from there an interrupt of the other.

Source: RM0436, EXTI event table: line 65 is the M4's SEV (GIC SPI 144), line 66 the A7's (NVIC 144). The event inputs
of the cores are not wired to each other, so WFE of one core does not see SEV of the other.
"""

from __future__ import annotations

from collections.abc import Callable

from cosim.engine import Machine
from cosim.peripherals.exti import Exti

M4_SENDS, A7_SENDS = 65, 66


def event_line(machine: Machine, line: int) -> Callable[[], None]:
    """What a core does to EXTI line `line` when it executes SEV; nothing if the machine has no EXTI."""
    exti = next((window.target for window in machine.bus.windows if isinstance(window.target, Exti)), None)

    def pulse() -> None:
        if exti is not None:
            exti.set_line(line, True)
            exti.set_line(line, False)

    return pulse
