"""Where a core is in its cycle count: the fields that a loop and the reference counter have in common.

This module loads no disassembler, unlike the rest of the package.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Protocol

#: No address: control does not come straight on, or nothing can pair with what comes next.
NOWHERE = 0xFFFF_FFFF
#: Whoever tells of the next instruction first sets `CycleState.thumb`.
UNSURE = 2


class ExceptionEvent(Enum):
    """How an exception handler is reached or left."""

    ENTRY = "exception-entry"
    RETURN = "exception-return"
    TAIL_CHAIN = "tail-chain"
    LATE_ARRIVAL = "late-arrival"
    LAZY_STACKING = "exception-entry-fp"  # when the FPU is used the first time


class CycleState(Protocol):
    """Where a core is in its count. The lanes of an engine have these fields; `CountState` is nothing else."""

    cycles: int  # of all that completed, and of the refill that led to what comes next
    thumb: int  # 1 in Thumb state, 0 in ARM state; `UNSURE` behind what may have changed it
    next: int  # the address behind the last one; `NOWHERE` when it has left
    before: int  # its address; `NOWHERE` when nothing pairs with it
    refill: int  # its refill, still open
    fpu_free: int  # the cycle at which the FPU takes the next instruction
    unknown: int  # how many executed that the table does not list
    unknown_at: int  # the address of the first of them
    pc: int  # of the instruction at work: its address,
    cost: int  # its cycles so far,
    then_flags: int  # and what is due when it has completed
    then_refill: int
    then_fpu_free: int


#: The fields of `CycleState` that outlast an instruction, and those of the one at work.
LASTING = ("cycles", "thumb", "next", "before", "refill", "fpu_free", "unknown", "unknown_at")
AT_WORK = ("cost", "then_flags", "then_refill", "then_fpu_free")


@dataclass(slots=True)
class CountState:
    """A `CycleState` at its start."""

    cycles: int = 0
    thumb: int = 1
    next: int = NOWHERE
    before: int = NOWHERE
    refill: int = 0
    fpu_free: int = 0
    unknown: int = 0
    unknown_at: int = 0
    pc: int = 0
    cost: int = 0
    then_flags: int = 0
    then_refill: int = 0
    then_fpu_free: int = 0
