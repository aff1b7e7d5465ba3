"""The inner loop: run one core to an exact value of its clock, and the cores in turns.

A *lane* is what the loop knows of one core. Unicorn tells of every instruction that it is about to execute, except
those that an IT block skips; the loop counts both kinds, because a skipped instruction retires too (ARMv7-M manual,
A7.3.3).
The loop exists in plain Python (`python_loop.py`), which is the oracle, and in C (`native.py`). The algorithm:

- `retired` counts completed instructions. An instruction is `busy` between its announcement and its completion.
- A lane's *clock* is `retired`, or `cycles` where it is `timed`: then `cosim.timing` says what each instruction costs.
- A lane stops before the first instruction, outside an IT block, with its clock at `limit` or behind.
- Inside an IT block nothing stops, because Unicorn executes such a block in one go.
- An instruction that a trap matches (`traps.py`) stops the lane before or behind it. Inside an IT block, where that is
  impossible, the owner of the lane is told, who keeps the state as it is there and puts it back after the block.
- Turns: every core runs to the same horizon in virtual time, the first core first; then the horizon moves by a quantum.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from unicorn.arm_const import UC_ARM_REG_LR, UC_ARM_REG_PC, UC_ARM_REG_R0, UC_ARM_REG_SP

from cosim.engine import Watch
from cosim.engine.unicorn.access_port import AccessPort
from cosim.engine.unicorn.nvic_state import NvicState
from cosim.engine.unicorn.trace import Recorder
from cosim.engine.unicorn.traps import Trap
from cosim.engine.unicorn.watch import WatchHook
from cosim.timing.state import CycleState

if TYPE_CHECKING:
    from cosim.timing import CycleCounter

PICOSECONDS = 1_000_000  # per instruction and MIPS, or per cycle and MHz
#: Cycles of an exception's entry, of a return, and of a tail-chain.
EventCycles = tuple[int, int, int]
#: Takes what preempts: see `Loop.ordinary_exceptions`.
Deliver = Callable[[], bool]
#: Unicorn's numbers of r0 to r15.
CORE_REGISTERS = (*range(UC_ARM_REG_R0, UC_ARM_REG_R0 + 13), UC_ARM_REG_SP, UC_ARM_REG_LR, UC_ARM_REG_PC)


@dataclass(frozen=True)
class CodeRange:
    """Memory that a core may execute: guest address, size in bytes, host address of its first byte.

    `permissions` are Unicorn's: what the core may do there without asking.
    """

    base: int
    size: int
    host: int
    permissions: int


class Lane(CycleState, Protocol):
    """What the loop shares with the engine about one core. Counts of its clock, times in picoseconds."""

    timed: int  # the clock is in cycles, not in instructions
    retired: int  # instructions
    limit: int
    busy: int  # an instruction is at work: announced, not yet completed
    it_left: int  # instructions left in the IT block at work, before the one at work
    it_pc: int  # address of the first of them
    it_state: int  # ITSTATE there, valid while it_left
    attention: int  # a hook wants the engine; set by the engine's callbacks, cleared by the loop at each start
    traps_on: int  # bits of the traps that count now
    trap: int  # 1 + number of the trap that stopped the lane; cleared by the loop at each start
    pass_at: int  # address | 1 of a trapped instruction that is let through once
    runnable: int
    fresh: int  # it left reset and did not execute its first instruction yet
    mips: int
    origin_ps: int  # time = origin_ps + (clock - origin) * 1e6 / mips
    origin: int

    def settle(self, pc: int) -> None:
        """The instruction at work, if any, retired; the core stands at `pc`, which was not announced (WFI, SMC, …)."""
        ...


class Loop(Protocol):
    """The two things a loop does. Both return as soon as a lane wants the engine's attention."""

    name: str

    def add(self, handle: int, *, timed: bool) -> Lane:
        """Make the lane of the Unicorn instance at address `handle`; lanes run in the order of their making.

        The clock of a `timed` one is in cycles; it needs `set_counter` before it runs.
        """
        ...

    def port(self, lane: Lane) -> AccessPort:
        """The way of a lane's accesses to the models."""
        ...

    def set_counter(self, lane: Lane, counter: CycleCounter, failed: Callable[[BaseException], None]) -> None:
        """Charge the instructions of a timed lane as `counter` does, whose state is that lane.

        `failed` is told what went wrong while a cost was made.
        """
        ...

    def set_code(self, lane: Lane, ranges: Sequence[CodeRange]) -> None:
        """Tell where the instructions of a lane can be read (needed to measure IT blocks)."""
        ...

    def set_traps(self, lane: Lane, traps: Sequence[Trap], in_block: Callable[[], None]) -> None:
        """Set the table of a lane's traps, none of them on; at most `MAX_TRAPS`.

        `in_block` is called when one matches before an instruction inside an IT block, and must not raise.
        """
        ...

    def hook_interrupts(self, lane: Lane, told: Callable[[int], None]) -> None:
        """`told` gets Unicorn's number of each exception that the core raises; it must not raise."""
        ...

    def ordinary_exceptions(self, lane: Lane, nvic: NvicState, port: AccessPort, cycles: EventCycles) -> Deliver:
        """Let the loop enter and leave handlers of the Cortex-M4 where it can, in the state `nvic`.

        It leaves them by itself while `port` says that no instruction is given up, and then tells nobody. To enter one,
        call what is returned, with the core between two instructions: true when what preempts was taken, or nothing
        does. `cycles` are those of an entry, a return and a tail-chain.
        """
        ...

    def record(self, lane: Lane, most: int, line: struct.Struct) -> Recorder:
        """Note what the lane executes from now on; `line`: `trace.INSTRUCTION` or `trace.RUN`. Raises `EngineError`."""
        ...

    def watch(self, lane: Lane, watch: Watch, touched: Callable[[], None]) -> WatchHook:
        """Call `touched`, which must not raise, before each access of the lane to `watch`. Raises `EngineError`."""
        ...

    def run(self, lane: Lane) -> int:
        """Run one lane to its limit; returns Unicorn's error code (0 is none)."""
        ...

    def turns(self, horizon_ps: int, quantum_ps: int, end_ps: int) -> tuple[int, Lane | None, int]:
        """Run all runnable lanes in turns until `end_ps`.

        Returns (horizon reached or at work, lane that wants attention or None at the end, Unicorn's error code). Called
        again with that horizon it goes on where it stopped.
        """
        ...


def clock_of(lane: Lane) -> int:
    """What a lane's limit and its virtual time are about: cycles where it is timed, else instructions."""
    return lane.cycles if lane.timed else lane.retired


def limit_at(lane: Lane, time_ps: int) -> int:
    """The smallest value of the lane's clock that is not before `time_ps`."""
    if time_ps <= lane.origin_ps:
        return lane.origin
    return lane.origin + -(-(time_ps - lane.origin_ps) * lane.mips // PICOSECONDS)


def time_of(lane: Lane) -> int:
    """The lane's virtual time in picoseconds: its clock over the rate the platform file gives."""
    return lane.origin_ps + (clock_of(lane) - lane.origin) * PICOSECONDS // lane.mips
