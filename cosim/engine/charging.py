"""What charges the instructions of a core in cycles: its tables, decoded once for all SoCs of the process."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

from cosim.timing.state import CycleState

if TYPE_CHECKING:
    from cosim.timing import CycleCounter, Decoder


def make_counter(core: str, state: CycleState, read: Callable[[int, int], bytes], platform: str | None) -> CycleCounter:
    """The counter of a core by the table `core`, on `state`; `read` gives its code, `platform` names wait states."""
    from cosim.timing import CodeCosts, CycleCounter, MemoryTiming  # noqa: PLC0415 - a disassembler takes its time

    memory = None if platform is None else MemoryTiming.load(platform)
    thumb = _decoder(core, thumb=True)
    arm = None if core.startswith("cortex-m") else CodeCosts(_decoder(core, thumb=False), read, memory)
    return CycleCounter(thumb.table, CodeCosts(thumb, read, memory), memory, arm=arm, state=state)


@cache
def _decoder(core: str, *, thumb: bool) -> Decoder:
    from cosim.timing import CostTable, Decoder  # noqa: PLC0415 - likewise

    return Decoder(CostTable.load(core), thumb=thumb)
