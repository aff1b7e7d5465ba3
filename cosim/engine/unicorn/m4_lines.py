"""Interrupt lines that an instruction of the core itself raises: pending at once, taken some instructions later.

On silicon a store to a block passes a bridge and the block's output a synchroniser, while the core goes on; ARMv7-M
names no instruction at which such an interrupt is taken (B1.5.6, B1.5.14). Firmware that stores twice in a row, such as
"unmask, then start", relies on getting both stores done.
"""

from __future__ import annotations

from collections.abc import Callable

from cosim.engine.unicorn.loop import PICOSECONDS, Lane, clock_of
from cosim.engine.unicorn.nvic import Nvic
from cosim.timers import Timers

#: Instructions that still retire behind the one that raised a line: for two clocks of the bus and two of a
#: synchroniser, which no block gets below; an instruction takes at least one.
LATENCY = 4


class LateLines:
    """Keeps `Nvic.late` for the lines of one core; `pended` of the core is called when one can be taken."""

    def __init__(self, timers: Timers, lane: Lane, nvic: Nvic, pended: Callable[[], None]) -> None:
        self._lane, self._nvic, self._pended = lane, nvic, pended
        self._alarm = timers.alarm(self._on_alarm)
        #: By exception number: how many instructions have retired when it can be taken.
        self._due: dict[int, int] = {}

    def delay(self, number: int) -> None:
        """The instruction at work has made `number` pending."""
        self._nvic.late |= 1 << number
        self._due[number] = self._lane.retired + 1 + LATENCY
        self._arm()

    def forget(self) -> None:
        """The core is reset."""
        self._due.clear()
        self._alarm.set(None)

    def _arm(self) -> None:
        """For the first of them; in cycles, which say nothing of instructions, for the earliest that it can be."""
        lane = self._lane
        left = max(1, min(self._due.values()) - lane.retired)
        self._alarm.set(lane.origin_ps + (clock_of(lane) + left - lane.origin) * PICOSECONDS // lane.mips)

    def _on_alarm(self, _at_ps: int) -> None:
        lane = self._lane  # a core that sleeps, or that is in reset, retires nothing more
        for number in [n for n, due in self._due.items() if due <= lane.retired or not lane.runnable]:
            del self._due[number]
            self._nvic.late &= ~(1 << number)
            self._pended()
        if self._due:
            self._arm()

    # -- snapshots ---------------------------------------------------------------------------------------------

    def save(self) -> object:
        """All but the alarm, which the machine's timers keep."""
        return tuple(self._due.items())

    def load(self, state: tuple[tuple[int, int], ...]) -> None:
        """Restore what `save` returned."""
        self._due = dict(state)
        self._nvic.late = sum(1 << number for number in self._due)
