"""The inner loop in plain Python: always there, and the oracle of the one in C. `loop.py` says what both do."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from unicorn import UC_ERR_OK, UC_HOOK_CODE, UC_HOOK_INTR
from unicorn.arm_const import UC_ARM_REG_CPSR, UC_ARM_REG_PC
from unicorn.unicorn_py3.unicorn import uclib

from cosim.engine import Watch
from cosim.engine.unicorn.access_port import AccessPort
from cosim.engine.unicorn.batch import add_hook
from cosim.engine.unicorn.loop import CORE_REGISTERS, CodeRange, Deliver, EventCycles, Lane, clock_of, limit_at, time_of
from cosim.engine.unicorn.nvic_state import NvicState
from cosim.engine.unicorn.trace import RUN, Recorder
from cosim.engine.unicorn.traps import ARM, THUMB, Trap, filters, next_it_state, reach
from cosim.engine.unicorn.watch import WatchHook
from cosim.timing.state import UNSURE, CountState

if TYPE_CHECKING:
    from cosim.timing import CycleCounter

PC = 15  # and above it, no register
_FOREVER = (1 << 64) - 1
CODE_HOOK = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint32, ctypes.c_void_p)
_INTERRUPT_HOOK = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_void_p)


def it_length(opcode: int) -> int:
    """How many instructions follow in the block that this 16-bit Thumb `opcode` opens; 0 if it is no IT."""
    if opcode & 0xFF00 != 0xBF00 or not opcode & 0xF:
        return 0
    return 4 - ((opcode & -opcode & 0xF).bit_length() - 1)


class PythonLane(CountState):
    """A `Lane` in plain Python, and its instruction hook."""

    __slots__ = (
        "_code",
        "_filters",
        "_hooks",
        "_host",
        "_in_block",
        "_traps",
        "_uc",
        "attention",
        "busy",
        "fresh",
        "it_left",
        "it_pc",
        "it_state",
        "limit",
        "mips",
        "origin",
        "origin_ps",
        "pass_at",
        "retired",
        "runnable",
        "trap",
        "traps_on",
    )
    timed = 0

    def __init__(self, handle: int) -> None:
        super().__init__()
        self._uc = ctypes.c_void_p(handle)
        self.retired = self.limit = self.busy = self.it_left = self.it_pc = self.attention = 0
        self.runnable = self.fresh = self.origin_ps = self.origin = self.it_state = 0
        self.traps_on = self.trap = self.pass_at = 0
        self.mips = 1
        self._traps: Sequence[Trap] = ()
        self._filters = [0] * 256, [0] * 256
        self._in_block: Callable[[], None] = lambda: None
        self._code: list[tuple[int, int, Any]] = []
        self._host: tuple[int, int, Any] = (0, 0, None)
        self._hooks: list[Any] = [CODE_HOOK(self._make_hook())]  # kept alive as long as the lane
        add_hook(self._uc, UC_HOOK_CODE, self._hooks[0], None, "instructions")

    def hook_interrupts(self, told: Callable[[int], None]) -> None:
        """See `Loop.hook_interrupts`."""
        self._hooks.append(_INTERRUPT_HOOK(lambda _uc, number, _user: told(number)))
        add_hook(self._uc, UC_HOOK_INTR, self._hooks[-1], None, "exceptions")

    def set_code(self, ranges: Sequence[CodeRange]) -> None:
        """Remember where instructions lie, as arrays of halfwords."""
        self._code = [(r.base, r.base + r.size, (ctypes.c_uint16 * (r.size // 2)).from_address(r.host)) for r in ranges]
        self._host = (0, 0, None)

    def set_traps(self, traps: Sequence[Trap], in_block: Callable[[], None]) -> None:
        """See `Loop.set_traps`."""
        self._traps, self._in_block, self.traps_on = traps, in_block, 0
        for table, filled in zip(self._filters, filters(tuple(traps)), strict=True):
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
        self._retire()
        while self.it_left and self.it_pc != address:
            self._skip(self.it_pc)
            self._next_member()

    def _retire(self) -> None:
        """The instruction at work, if there is one, is complete."""
        self.retired += self.busy
        self.busy = 0

    def _skip(self, _address: int) -> None:
        """An IT block passes over the instruction at this address."""
        self.retired += 1

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
        if trap.when_misplaced and not self._misplaced(opcode, size):
            return False
        if trap.when_unaligned is None:
            return True
        number = opcode >> trap.when_unaligned & (7 if size == 2 else 15)
        # SP and PC are always aligned (ARMv7-M manual, B1.4.1).
        return number not in (13, 15) and bool(self._register(CORE_REGISTERS[number]) & 3)

    def _misplaced(self, opcode: int, size: int) -> bool:
        access = reach(opcode, size)
        address = access.displacement  # PC, a multiple of four as a base, changes nothing
        for number, shift in ((access.base, 0), (access.offset, access.shift)):
            if number != PC:
                address += self._register(CORE_REGISTERS[number]) << shift
        return address % access.size != 0

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
        stop, handle, timed = uclib.uc_emu_stop, self._uc, self.timed
        thumb, arm = self._filters

        def about_to_execute(_uc: int, address: int, size: int, _user: int) -> None:
            if self.it_left:
                self._leave_it(address)
            if timed:
                if not self._begin(address, size):
                    return
            else:
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

    def _begin(self, address: int, size: int) -> bool:
        """Where the lane is timed: the instruction before retires, that at `address` begins unless the lane stops."""
        raise NotImplementedError

    def start(self) -> int:
        """Run from the core's PC until the limit, a hook or an error ends it; returns Unicorn's error code."""
        self.attention = self.trap = 0
        thumb = self._register(UC_ARM_REG_CPSR) >> 5 & 1
        self._begins(thumb)
        begin = self._register(UC_ARM_REG_PC) | thumb
        error: int = uclib.uc_emu_start(
            self._uc, ctypes.c_uint64(begin), ctypes.c_uint64(_FOREVER), ctypes.c_uint64(0), ctypes.c_size_t(0)
        )
        return error

    def _begins(self, thumb: int) -> None:
        """The core runs on, in Thumb state or not."""

    @property
    def handle(self) -> int:
        """The address of the Unicorn instance."""
        return self._uc.value or 0

    def record(self, most: int, line: struct.Struct) -> Recorder:
        """See `Loop.record`."""
        recorder = Recorder(self.handle, most, line)
        note = recorder.note_run if line is RUN else recorder.note_instruction
        recorder.open(CODE_HOOK(note(self._step)))
        return recorder

    def _step(self, address: int, size: int) -> tuple[int, int, int, int] | None:
        """What begins at `address`, see `trace.Steps`."""
        if not self.busy:
            return None
        thumb = size == 2 or self._register(UC_ARM_REG_CPSR) >> 5 & 1
        code = self._halfword(address) | (self._halfword(address + 2) << 16 if size == 4 else 0)
        return time_of(self), self.retired, address | thumb, code

    def settle(self, pc: int) -> None:
        """See `Lane.settle`."""
        if self.it_left:
            self._leave_it(pc)
        self._retire()


class TimedPythonLane(PythonLane):
    """The same with its clock in cycles, which its counter charges."""

    __slots__ = ("counter", "failed")
    timed = 1
    counter: CycleCounter
    failed: Callable[[BaseException], None]

    def _begin(self, address: int, size: int) -> bool:
        try:
            return self._arrive(address, size)
        except BaseException as error:  # must not cross Unicorn's C frames; the engine raises it again
            self.failed(error)
            return False

    def _arrive(self, address: int, size: int) -> bool:
        self._retire()
        if self.thumb == UNSURE:
            self.thumb = int(size == 2 or self._register(UC_ARM_REG_CPSR) >> 5 & 1)
        counter = self.counter
        counter.arrive(address)
        if self.cycles >= self.limit and not self.it_left:
            uclib.uc_emu_stop(self._uc)
            return False
        if counter.begin(address):
            counter.divide(*(self._register(CORE_REGISTERS[number]) for number in counter.operands))
        registers = counter.reach
        if registers is not None:
            counter.reached(*(self._register(CORE_REGISTERS[n]) if n < PC else 0 for n in registers))
        return True

    def _begins(self, thumb: int) -> None:
        if self.counter.two_states:
            self.thumb = thumb

    def _retire(self) -> None:
        if self.busy:
            super()._retire()
            first = not self.unknown
            self.counter.complete()
            if first and self.unknown:
                self.attention, self.limit = 1, 0

    def _skip(self, address: int) -> None:
        super()._skip(address)
        self.counter.skip(address)


class PythonLoop:
    """The loop in plain Python."""

    name = "python"

    def __init__(self) -> None:
        self._lanes: list[PythonLane] = []

    def add(self, handle: int, *, timed: bool) -> PythonLane:
        """See `Loop.add`."""
        lane = TimedPythonLane(handle) if timed else PythonLane(handle)
        self._lanes.append(lane)
        return lane

    def port(self, lane: Lane) -> AccessPort:  # noqa: ARG002
        """See `Loop.port`."""
        return AccessPort()

    def set_counter(self, lane: Lane, counter: CycleCounter, failed: Callable[[BaseException], None]) -> None:
        """See `Loop.set_counter`."""
        assert isinstance(lane, TimedPythonLane)
        lane.counter, lane.failed = counter, failed

    def set_code(self, lane: Lane, ranges: Sequence[CodeRange]) -> None:
        """See `Loop.set_code`."""
        assert isinstance(lane, PythonLane)
        lane.set_code(ranges)

    def set_traps(self, lane: Lane, traps: Sequence[Trap], in_block: Callable[[], None]) -> None:
        """See `Loop.set_traps`."""
        assert isinstance(lane, PythonLane)
        lane.set_traps(traps, in_block)

    def hook_interrupts(self, lane: Lane, told: Callable[[int], None]) -> None:
        """See `Loop.hook_interrupts`."""
        assert isinstance(lane, PythonLane)
        lane.hook_interrupts(told)

    def ordinary_exceptions(
        self,
        lane: Lane,  # noqa: ARG002
        nvic: NvicState,  # noqa: ARG002
        port: AccessPort,  # noqa: ARG002
        cycles: EventCycles,  # noqa: ARG002
    ) -> Deliver:
        """See `Loop.ordinary_exceptions`: none are left to this loop."""
        return lambda: False

    def record(self, lane: Lane, most: int, line: struct.Struct) -> Recorder:
        """See `Loop.record`."""
        assert isinstance(lane, PythonLane)
        return lane.record(most, line)

    def watch(self, lane: Lane, watch: Watch, touched: Callable[[], None]) -> WatchHook:
        """See `Loop.watch`."""
        assert isinstance(lane, PythonLane)
        return WatchHook(lane.handle, watch, touched, None)

    def run(self, lane: Lane) -> int:
        """See `Loop.run`."""
        assert isinstance(lane, PythonLane)
        return lane.start() if clock_of(lane) < lane.limit else UC_ERR_OK

    def turns(self, horizon_ps: int, quantum_ps: int, end_ps: int) -> tuple[int, Lane | None, int]:
        """See `Loop.turns`."""
        while True:
            for lane in self._lanes:
                if not lane.runnable:
                    continue
                lane.limit = limit_at(lane, horizon_ps)
                if clock_of(lane) < lane.limit:
                    error = lane.start()
                    if error or lane.attention or lane.busy:
                        return horizon_ps, lane, error
            if horizon_ps >= end_ps:
                return horizon_ps, None, UC_ERR_OK
            horizon_ps = min(horizon_ps + quantum_ps, end_ps)
