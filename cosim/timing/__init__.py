"""Cycle cost models of the cores: tables as data, decoded code as packed costs, and a counter over an execution.

`CostTable` is what is known of a core, `Decoder` gives each instruction its cost, `CodeCosts` keeps them by address for
a loop, and `CycleCounter` adds up an execution. See docs/timing.md for the rules and what they rest on.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cosim.timing.code import CodeCosts, Flag
    from cosim.timing.counter import Access, CycleCounter, Step
    from cosim.timing.decode import Decoder, InstructionCost
    from cosim.timing.memory import MemoryTiming, Region
    from cosim.timing.state import CountState, CycleState, ExceptionEvent
    from cosim.timing.table import CORES, CostTable, Dynamic

__all__ = [
    "CORES",
    "Access",
    "CodeCosts",
    "CostTable",
    "CountState",
    "CycleCounter",
    "CycleState",
    "Decoder",
    "Dynamic",
    "ExceptionEvent",
    "Flag",
    "InstructionCost",
    "MemoryTiming",
    "Region",
    "Step",
]

_HOMES = {
    "code": ("CodeCosts", "Flag"),
    "counter": ("Access", "CycleCounter", "Step"),
    "decode": ("Decoder", "InstructionCost"),
    "memory": ("MemoryTiming", "Region"),
    "state": ("CountState", "CycleState", "ExceptionEvent"),
    "table": ("CORES", "CostTable", "Dynamic"),
}


def __getattr__(name: str) -> object:
    # A run in instruction time asks for none of these, and the disassembler takes a while to load.
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"cosim.timing.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
