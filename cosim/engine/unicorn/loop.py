"""The inner loop: run one core to an exact instruction count, and the cores in turns, in plain Python.

A *lane* is what the loop knows of one core. Unicorn tells of every instruction that it is about to execute, except
those that an IT block skips; the loop counts both kinds, because a skipped instruction retires too (ARMv7-M manual,
A7.3.3).
`native.py` is the same loop in C; this one is the oracle and needs no compiler. The algorithm:

- `retired` counts completed instructions. An instruction is `busy` between its announcement and its completion.
- A lane stops before the first instruction, outside an IT block, with `retired >= limit`.
- Inside an IT block nothing stops, because Unicorn executes such a block in one go.
- An instruction that a trap matches (`traps.py`) stops the lane before or behind it. Inside an IT block, where that is
  impossible, the owner of the lane is told, who keeps the state as it is there and puts it back after the block.
- Turns: every core runs to the same horizon in virtual time, the first core first; then the horizon moves by a quantum.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from unicorn import UC_ERR_OK, UC_HOOK_CODE
from unicorn.arm_const import UC_ARM_REG_CPSR, UC_ARM_REG_LR, UC_ARM_REG_PC, UC_ARM_REG_R0, UC_ARM_REG_SP
from unicorn.unicorn_py3.unicorn import uclib

from cosim.engine.unicorn.traps import ARM, THUMB, Trap, filters, next_it_state

PICOSECONDS = 1_000_000  # per instruction and MIPS
NEVER = (1 << 64) - 1
#: Unicorn's numbers of r0 to r15.
CORE_REGISTERS = (*range(UC_ARM_REG_R0, UC_ARM_REG_R0 + 13), UC_ARM_REG_SP, UC_ARM_REG_LR, UC_ARM_REG_PC)
CODE_HOOK = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint32, ctypes.c_void_p)


@dataclass(frozen=True)
class CodeRange:
    """Memory that a core may execute: guest address, size in bytes, host address of its first byte."""

    base: int
    size: int
    host: int


class Lane(Protocol):
    """What the loop shares with the engine about one core. All counts in instructions, times in picoseconds."""

    retired: int
    limit: int
    busy: int  # an instruction is at work: announced, not yet completed
    pc: int  # its address
    it_left: int  # instructions left in the IT block at work, before the one at work
    it_pc: int  # address of the first of them
    it_state: int  # ITSTATE there, valid while it_left
    attention: int  # a hook wants the engine; set by the engine's callbacks, cleared by the loop at each start
    traps_on: int  # bits of the traps that count now
    trap: int  # 1 + number of the trap that stopped the lane; cleared by the loop at each start
    pass_at: int  # address | 1 of a trapped instruction that is let through once
    runnable: int
    mips: int
    origin_ps: int  # time = origin_ps + (retired - origin_retired) * 1e6 / mips
    origin_retired: int

    def settle(self, pc: int) -> None:
        """Close the IT block when the core stands at `pc` without a further announcement (WFI, a fetch fault)."""
        ...


class Loop(Protocol):
    """The two things a loop does. Both return as soon as a lane wants the engine's attention."""

    name: str

    def add(self, handle: int) -> Lane:
        """Make the lane of the Unicorn instance at address `handle`; lanes run in the order of their making."""
        ...

    def set_code(self, lane: Lane, ranges: Sequence[CodeRange]) -> None:
        """Tell where the instructions of a lane can be read (needed to measure IT blocks)."""
        ...

    def set_traps(self, lane: Lane, traps: Sequence[Trap], in_block: Callable[[], None]) -> None:
        """Set the table of a lane's traps, none of them on; at most `MAX_TRAPS`.

        `in_block` is called when one matches before an instruction inside an IT block, and must not raise.
        """
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


def limit_at(lane: Lane, time_ps: int) -> int:
    """The smallest instruction count at which the lane's clock is not before `time_ps`."""
    if time_ps <= lane.origin_ps:
        return lane.origin_retired
    return lane.origin_retired + -(-(time_ps - lane.origin_ps) * lane.mips // PICOSECONDS)


def time_of(lane: Lane) -> int:
    """The lane's virtual time in picoseconds: instruction count over the rate the platform file gives."""
    return lane.origin_ps + (lane.retired - lane.origin_retired) * PICOSECONDS // lane.mips


def it_length(opcode: int) -> int:
    """How many instructions follow in the block that this 16-bit Thumb `opcode` opens; 0 if it is no IT."""
    if opcode & 0xFF00 != 0xBF00 or not opcode & 0xF:
        return 0
    return 4 - ((opcode & -opcode & 0xF).bit_length() - 1)


class PythonLane:
    """A `Lane` in plain Python, and its instruction hook."""

    __slots__ = (
        "_code",
        "_filters",
        "_hook",
        "_host",
        "_in_block",
        "_traps",
        "_uc",
        "attention",
        "busy",
        "it_left",
        "it_pc",
        "it_state",
        "limit",
        "mips",
        "origin_ps",
        "origin_retired",
        "pass_at",
        "pc",
        "retired",
        "runnable",
        "trap",
        "traps_on",
    )

    def __init__(self, handle: int) -> None:
        self._uc = ctypes.c_void_p(handle)
        self.retired = self.limit = self.busy = self.pc = self.it_left = self.it_pc = self.attention = 0
        self.runnable = self.origin_ps = self.origin_retired = self.it_state = 0
        self.traps_on = self.trap = self.pass_at = 0
        self.mips = 1
        self._traps: Sequence[Trap] = ()
        self._filters = filters(())
        self._in_block: Callable[[], None] = lambda: None
        self._code: list[tuple[int, int, Any]] = []
        self._host: tuple[int, int, Any] = (0, 0, None)
        self._hook = CODE_HOOK(self._make_hook())  # kept alive as long as the lane
        hook_id = ctypes.c_size_t()
        uclib.uc_hook_add(
            self._uc, ctypes.byref(hook_id), UC_HOOK_CODE, ctypes.cast(self._hook, ctypes.c_void_p), None,
            ctypes.c_uint64(1), ctypes.c_uint64(0),
        )  # fmt: skip

    def set_code(self, ranges: Sequence[CodeRange]) -> None:
        """Remember where instructions lie, as arrays of halfwords."""
        self._code = [(r.base, r.base + r.size, (ctypes.c_uint16 * (r.size // 2)).from_address(r.host)) for r in ranges]
        self._host = (0, 0, None)

    def set_traps(self, traps: Sequence[Trap], in_block: Callable[[], None]) -> None:
        """See `Loop.set_traps`."""
        self._traps, self._in_block, self.traps_on = traps, in_block, 0
        for table, filled in zip(self._filters, filters(traps), strict=True):
            table[:] = filled

    def _halfword(self, address: int) -> int:
        base, end, cells = self._host
        if not base <= address < end:
            for entry in self._code:
                if entry[0] <= address < entry[1]:
                    self._host = entry
                    base, _, cells = entry
                    break
            else:
                return 0
        return int(cells[(address - base) >> 1])

    def _length(self, address: int) -> int:
        """Bytes of the Thumb instruction at `address` (ARMv7-M manual, A5.1)."""
        return 4 if self._halfword(address) >> 11 in (0b11101, 0b11110, 0b11111) else 2

    def _next_member(self) -> None:
        self.it_pc += self._length(self.it_pc)
        self.it_left -= 1
        self.it_state = next_it_state(self.it_state)

    def _leave_it(self, address: int) -> None:
        """Account for the members of the IT block that lie before `address`; the skipped ones retire here."""
        if self.busy and self.pc == self.it_pc:
            self._next_member()
        while self.it_left and self.it_pc != address:
            self.retired += 1
            self._next_member()

    def _register(self, number: int) -> int:
        word = ctypes.c_uint32()
        uclib.uc_reg_read(self._uc, number, ctypes.byref(word))
        return word.value

    def _check_traps(self, address: int, size: int) -> None:
        """Stop before or behind the instruction at `address` if a trap that is on matches it."""
        first = self._halfword(address)
        second = self._halfword(address + 2) if size == 4 else 0
        candidates = self._filters[THUMB][first >> 8]
        if size == 4:
            candidates |= self._filters[ARM][second >> 4 & 0xFF]
        candidates &= self.traps_on
        if not candidates or self.trap:  # with a trap: the rest of an IT block that was given up
            return
        if self.pass_at == address | 1:
            self.pass_at = 0
            return
        arm = size == 4 and not self._register(UC_ARM_REG_CPSR) >> 5 & 1
        opcode = first if size == 2 else second << 16 | first if arm else first << 16 | second
        for number, trap in enumerate(self._traps):
            if candidates >> number & 1 and self._matches(trap, opcode, size, arm=arm):
                self._spring(number, trap)
                return

    def _matches(self, trap: Trap, opcode: int, size: int, *, arm: bool) -> bool:
        if trap.size != size or trap.arm != arm or opcode & trap.mask != trap.value:
            return False
        if trap.when_zero is not None and self._register(CORE_REGISTERS[opcode >> trap.when_zero & 15]):
            return False
        if trap.when_unaligned is None:
            return True
        number = opcode >> trap.when_unaligned & (7 if size == 2 else 15)
        # SP and PC are always aligned (ARMv7-M manual, B1.4.1).
        return number not in (13, 15) and bool(self._register(CORE_REGISTERS[number]) & 3)

    def _spring(self, number: int, trap: Trap) -> None:
        self.trap, self.attention = number + 1, 1
        if trap.after:
            self.limit = 0
            return
        self.busy = 0
        if self.it_left:
            self.limit = 0
            self._in_block()
        else:
            uclib.uc_emu_stop(self._uc)

    def _make_hook(self) -> Any:
        stop, handle = uclib.uc_emu_stop, self._uc
        thumb, arm = self._filters

        def about_to_execute(_uc: int, address: int, size: int, _user: int) -> None:
            if self.it_left:
                self._leave_it(address)
            self.retired += self.busy
            if self.retired >= self.limit and not self.it_left:
                self.busy = 0
                stop(handle)
                return
            self.busy = 1
            self.pc = address
            on = self.traps_on
            if size == 2 or on:
                base, end, cells = self._host
                if base <= address < end - 2:
                    index = (address - base) >> 1
                    first, second = cells[index], cells[index + 1]
                else:
                    first, second = self._halfword(address), self._halfword(address + 2)
                if size == 2 and first & 0xFF00 == 0xBF00 and first & 0xF:
                    self.it_left, self.it_pc, self.it_state = it_length(first), address + 2, first & 0xFF
                if on and (thumb[first >> 8] & on or (size == 4 and arm[second >> 4 & 0xFF] & on)):
                    self._check_traps(address, size)

        return about_to_execute

    def start(self) -> int:
        """Run from the core's PC until the limit, a hook or an error ends it; returns Unicorn's error code."""
        self.attention = self.trap = 0
        begin = self._register(UC_ARM_REG_PC) | self._register(UC_ARM_REG_CPSR) >> 5 & 1
        error: int = uclib.uc_emu_start(
            self._uc, ctypes.c_uint64(begin), ctypes.c_uint64(NEVER), ctypes.c_uint64(0), ctypes.c_size_t(0)
        )
        return error

    def settle(self, pc: int) -> None:
        """See `Lane.settle`."""
        if self.it_left:
            self._leave_it(pc)


class PythonLoop:
    """The loop in plain Python."""

    name = "python"

    def __init__(self) -> None:
        self._lanes: list[PythonLane] = []

    def add(self, handle: int) -> PythonLane:
        """See `Loop.add`."""
        lane = PythonLane(handle)
        self._lanes.append(lane)
        return lane

    def set_code(self, lane: Lane, ranges: Sequence[CodeRange]) -> None:
        """See `Loop.set_code`."""
        assert isinstance(lane, PythonLane)
        lane.set_code(ranges)

    def set_traps(self, lane: Lane, traps: Sequence[Trap], in_block: Callable[[], None]) -> None:
        """See `Loop.set_traps`."""
        assert isinstance(lane, PythonLane)
        lane.set_traps(traps, in_block)

    def run(self, lane: Lane) -> int:
        """See `Loop.run`."""
        assert isinstance(lane, PythonLane)
        return lane.start() if lane.retired < lane.limit else UC_ERR_OK

    def turns(self, horizon_ps: int, quantum_ps: int, end_ps: int) -> tuple[int, Lane | None, int]:
        """See `Loop.turns`."""
        while True:
            for lane in self._lanes:
                if not lane.runnable:
                    continue
                lane.limit = limit_at(lane, horizon_ps)
                if lane.retired < lane.limit:
                    error = lane.start()
                    if error or lane.attention or lane.busy:
                        return horizon_ps, lane, error
            if horizon_ps >= end_ps:
                return horizon_ps, None, UC_ERR_OK
            horizon_ps = min(horizon_ps + quantum_ps, end_ps)
