"""Cycle cost models of the cores: tables as data, decoded code as packed costs, and a counter over an execution.

`CostTable` is what is known of a core, `Decoder` gives each instruction its cost, `CodeCosts` keeps them by address for
a loop, and `CycleCounter` adds up an execution. See docs/timing.md for the rules and what they rest on.
"""

from __future__ import annotations

from cosim.timing.code import CodeCosts, Flag
from cosim.timing.counter import Access, CountState, CycleCounter, CycleState, ExceptionEvent, Step
from cosim.timing.decode import Decoder, InstructionCost
from cosim.timing.memory import MemoryTiming, Region
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
