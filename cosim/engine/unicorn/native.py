"""The inner loop in C (`loop.c`), loaded with ctypes when the optional extension was built."""

from __future__ import annotations

import ctypes
import functools
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from unicorn.arm_const import UC_ARM_REG_CPSR, UC_ARM_REG_PC
from unicorn.unicorn_py3.unicorn import uclib

from cosim.engine import Watch
from cosim.engine.unicorn.access_port import AccessPort
from cosim.engine.unicorn.loop import CORE_REGISTERS, CodeRange, Deliver, EventCycles, Lane
from cosim.engine.unicorn.native_exceptions import make_exceptions
from cosim.engine.unicorn.native_port import NativePort
from cosim.engine.unicorn.nvic_state import NvicState
from cosim.engine.unicorn.trace import RUN, Recorder
from cosim.engine.unicorn.traps import MAX_TRAPS, THUMB, Trap, filters
from cosim.engine.unicorn.watch import WatchHook
from cosim.errors import EngineError
from cosim.timing.state import NOWHERE

if TYPE_CHECKING:
    from cosim.timing import CycleCounter

ABI = 11
MAX_RANGES = 32
MAX_LANES = 8
MAX_WAITS = 16
_NO_REGISTER = 0xFF
_IT, _OPENS_IT = 0xBF00, 1 << 31
_IN_BLOCK = ctypes.CFUNCTYPE(None)
_INTERRUPTED = ctypes.CFUNCTYPE(None, ctypes.c_uint32)
_LEARN = ctypes.CFUNCTYPE(None, ctypes.c_uint32, ctypes.c_uint32)
_TABLE = ctypes.c_void_p * 1024
_PAGE_BITS, _TABLE_BITS = 12, 22


class _Range(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_uint64) for name in ("base", "size", "host", "rights"))


class _Trap(ctypes.Structure):
    _fields_ = (
        ("mask", ctypes.c_uint32),
        ("value", ctypes.c_uint32),
        *((name, ctypes.c_uint8) for name in ("size", "after", "arm", "zero", "unaligned", "misplaced")),
    )


class _Waits(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_uint32) for name in ("base", "size", "read", "write"))


class NativeLane(ctypes.Structure):
    """`struct lane` of loop.c; its fields make it a `loop.Lane`."""

    retired: int
    limit: int
    busy: int
    pc: int
    it_left: int
    it_pc: int
    it_state: int
    attention: int
    traps_on: int
    trap: int
    pass_at: int
    runnable: int
    fresh: int
    mips: int
    origin_ps: int
    origin: int
    handle: int
    timed: int
    cycles: int
    thumb: int
    next: int
    before: int
    refill: int
    fpu_free: int
    unknown: int
    unknown_at: int
    cost: int
    then_flags: int
    then_refill: int
    then_fpu_free: int

    _fields_ = (
        *((name, ctypes.c_uint64) for name in ("retired", "limit")),
        ("window", ctypes.c_void_p),
        *((name, ctypes.c_uint32) for name in ("window_base", "window_size", "busy", "pc", "it_left", "traps_on")),
        ("loop", ctypes.c_void_p),
        *((name, ctypes.c_uint64) for name in ("origin_ps", "origin", "handle")),
        *((name, ctypes.c_uint64) for name in ("cycles", "fpu_free", "then_fpu_free", "unknown")),
        *((name, ctypes.c_uint32) for name in ("it_pc", "it_state", "attention", "runnable", "fresh", "mips", "trap")),
        *((name, ctypes.c_uint32) for name in ("pass_at", "timed", "thumb", "next", "before", "refill", "unknown_at")),
        *((name, ctypes.c_uint32) for name in ("cost", "then_flags", "then_refill", "two_states", "skipped")),
        *((name, ctypes.c_uint32) for name in ("refill_limit", "divide_least", "divide_most", "arm_traps")),
        *((name, ctypes.c_uint32) for name in ("unaligned_halfword", "unaligned_odd", "unaligned_even", "waits")),
        *((name, ctypes.c_uint32) for name in ("page_tag", "ranges")),
        ("page", ctypes.c_void_p),
        ("host", ctypes.c_void_p),
        ("range", _Range * MAX_RANGES),
        ("directory", _TABLE * 2),
        ("learn", _LEARN),
        ("filter", ctypes.c_uint32 * 256 * 2),
        ("traps", _Trap * MAX_TRAPS),
        ("wait", _Waits * MAX_WAITS),
        ("in_block", _IN_BLOCK),
        ("interrupted", _INTERRUPTED),
        ("exceptions", ctypes.c_void_p),
        ("leaving", ctypes.c_uint32),
    )

    def settle(self, pc: int) -> None:
        """See `Lane.settle`."""
        _library().cosim_lane_settle(ctypes.byref(self), pc)


class _Loop(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("start", "stop", "reg_read", "hook_add")),
        ("reg_pc", ctypes.c_int32),
        ("reg_cpsr", ctypes.c_int32),
        ("reg", ctypes.c_int32 * 16),
        ("lanes", ctypes.c_uint32),
        ("lane", ctypes.c_void_p * MAX_LANES),
    )


def library_path() -> Path | None:
    """The library that setup.py built beside this module, the same for every Python version, or None."""
    path = Path(__file__).with_name("_loop.so")
    return path if path.exists() else None


@functools.cache
def _library() -> ctypes.CDLL:
    """The C code, which is stateless: one mapping of it serves every SoC of the process."""
    path = library_path()
    if path is None:
        raise EngineError(
            "the native loop is not built",
            hint="install with a C compiler present, or use the python loop",
            engine="unicorn",
        )
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        raise EngineError(
            f"the native loop cannot be loaded: {error}",
            hint="reinstall the package so that it is built for this machine, or use the python loop",
            engine="unicorn",
        ) from None
    if library.cosim_loop_abi() != ABI:
        raise EngineError(
            f"the native loop in {path.name} has another version",
            hint="reinstall the package so that it is built anew",
            engine="unicorn",
        )
    library.cosim_lane_settle.argtypes = (ctypes.c_void_p, ctypes.c_uint32)
    library.cosim_lane_settle.restype = None
    library.cosim_deliver.argtypes, library.cosim_deliver.restype = (ctypes.c_void_p,), ctypes.c_bool
    library.cosim_port_place.argtypes, library.cosim_port_place.restype = (ctypes.c_uint32,), ctypes.c_uint32
    library.cosim_turns.argtypes = (
        ctypes.c_void_p,
        ctypes.c_void_p,
        ctypes.c_void_p,
        ctypes.c_uint64,
        ctypes.c_uint64,
    )
    return library


class _Directory:
    """Tells a lane where the costs of each page lie, and keeps what it points at alive."""

    def __init__(self, lane: NativeLane) -> None:
        self._lane = lane
        self._tables: dict[tuple[int, int], ctypes.Array[ctypes.c_void_p]] = {}
        self._pages: list[object] = []

    def publish(self, state: int, address: int, page: bytearray) -> None:
        """The costs of the page of `address` in ARM (0) or Thumb state (1) are `page`."""
        upper, lower = address >> _TABLE_BITS, address >> _PAGE_BITS & 1023
        table = self._tables.get((state, upper))
        if table is None:
            table = self._tables[state, upper] = _TABLE()
            self._lane.directory[state][upper] = ctypes.addressof(table)
        if table[lower] is None:
            pinned = (ctypes.c_uint8 * len(page)).from_buffer(page)
            self._pages.append(pinned)
            table[lower] = ctypes.addressof(pinned)


class NativeLoop:
    """The loop in C. Raises `EngineError` when the extension is not there."""

    name = "native"

    def __init__(self) -> None:
        self._library = _library()
        self._lanes: list[NativeLane] = []
        self._alive: list[object] = []
        self._loop = _Loop(
            *(
                ctypes.cast(function, ctypes.c_void_p)
                for function in (uclib.uc_emu_start, uclib.uc_emu_stop, uclib.uc_reg_read, uclib.uc_hook_add)
            ),
            reg_pc=UC_ARM_REG_PC,
            reg_cpsr=UC_ARM_REG_CPSR,
            reg=(ctypes.c_int32 * 16)(*CORE_REGISTERS),
        )
        self._horizon, self._error = ctypes.c_uint64(), ctypes.c_int()
        turns, places = self._library.cosim_turns, [ctypes.byref(c) for c in (self._loop, self._horizon, self._error)]
        self._turns: Callable[[int, int], int] = lambda quantum_ps, end_ps: turns(*places, quantum_ps, end_ps)

    def add(self, handle: int, *, timed: bool) -> NativeLane:
        """See `Loop.add`."""
        lane = NativeLane(handle=handle, mips=1, timed=timed, thumb=1, next=NOWHERE, before=NOWHERE, page_tag=NOWHERE)
        if error := self._library.cosim_lane_init(ctypes.byref(self._loop), ctypes.byref(lane)):
            raise EngineError(f"the instruction hook cannot be set (Unicorn error {error})", engine="unicorn")
        self._lanes.append(lane)
        return lane

    def port(self, lane: Lane) -> AccessPort:
        """See `Loop.port`."""
        assert isinstance(lane, NativeLane)
        return NativePort(self._library, ctypes.addressof(lane))

    def set_counter(self, lane: Lane, counter: CycleCounter, failed: Callable[[BaseException], None]) -> None:
        """See `Loop.set_counter`."""
        assert isinstance(lane, NativeLane)
        table = counter.table
        lane.two_states, lane.skipped, lane.refill_limit = counter.two_states, table.skipped_cycles, table.refill_limit
        lane.divide_least, lane.divide_most = table.divide.minimum, table.divide.maximum
        unaligned = table.unaligned
        lane.unaligned_halfword, lane.unaligned_odd, lane.unaligned_even = (
            unaligned.halfword, unaligned.word_odd, unaligned.word_even,
        )  # fmt: skip
        regions = counter.memory.data if counter.memory is not None else ()
        if len(regions) > MAX_WAITS:
            raise EngineError(f"{len(regions)} regions with wait states, at most {MAX_WAITS}", engine="unicorn")
        for index, r in enumerate(regions):
            lane.wait[index] = _Waits(r.base, r.size, r.read, r.write)
        lane.waits = len(regions)
        directory = _Directory(lane)

        def learn(address: int, before: int) -> None:
            try:
                costs = counter.costs[lane.thumb & 1]
                if before == NOWHERE:
                    costs.prepare(address)
                else:
                    costs.pair(before, address)
                directory.publish(lane.thumb & 1, address, costs.page(address))
            except BaseException as error:  # must not cross the C frames; the engine raises it again
                failed(error)

        lane.learn = _LEARN(learn)

    def set_code(self, lane: Lane, ranges: Sequence[CodeRange]) -> None:
        """See `Loop.set_code`."""
        assert isinstance(lane, NativeLane)
        if len(ranges) > MAX_RANGES:
            raise EngineError(f"{len(ranges)} executable ranges, at most {MAX_RANGES}", engine="unicorn")
        for index, r in enumerate(ranges):
            lane.range[index] = _Range(r.base, r.size, r.host, r.permissions)
        lane.ranges, lane.window_size, lane.page_tag = len(ranges), 0, NOWHERE

    def set_traps(self, lane: Lane, traps: Sequence[Trap], in_block: Callable[[], None]) -> None:
        """See `Loop.set_traps`."""
        assert isinstance(lane, NativeLane)
        if len(traps) > MAX_TRAPS:
            raise EngineError(f"{len(traps)} traps, at most {MAX_TRAPS}", engine="unicorn")
        for table, values in zip(lane.filter, filters(tuple(traps)), strict=True):
            table[:] = values
        lane.filter[THUMB][_IT >> 8] |= _OPENS_IT
        lane.arm_traps = any(trap.arm for trap in traps)
        for index, trap in enumerate(traps):
            zero = _NO_REGISTER if trap.when_zero is None else trap.when_zero
            unaligned = _NO_REGISTER if trap.when_unaligned is None else trap.when_unaligned
            lane.traps[index] = _Trap(
                trap.mask, trap.value, trap.size, trap.after, trap.arm, zero, unaligned, trap.when_misplaced
            )
        lane.traps_on, lane.in_block = 0, _IN_BLOCK(in_block)

    def hook_interrupts(self, lane: Lane, told: Callable[[int], None]) -> None:
        """See `Loop.hook_interrupts`."""
        assert isinstance(lane, NativeLane)
        lane.interrupted = _INTERRUPTED(told)

    def ordinary_exceptions(self, lane: Lane, nvic: NvicState, port: AccessPort, cycles: EventCycles) -> Deliver:
        """See `Loop.ordinary_exceptions`."""
        assert isinstance(lane, NativeLane)
        assert isinstance(port, NativePort)
        exceptions = make_exceptions(nvic, port.serves_at, cycles)
        lane.exceptions = ctypes.addressof(exceptions)
        self._alive.append((exceptions, nvic, port))
        deliver, at = self._library.cosim_deliver, ctypes.byref(lane)
        return lambda: bool(deliver(at))

    def record(self, lane: Lane, most: int, line: struct.Struct) -> Recorder:
        """See `Loop.record`."""
        assert isinstance(lane, NativeLane)
        recorder = Recorder(lane.handle, most, line)
        hook = self._library.cosim_trace_run if line is RUN else self._library.cosim_trace_instruction
        recorder.open(hook, ctypes.addressof(lane))
        return recorder

    def watch(self, lane: Lane, watch: Watch, touched: Callable[[], None]) -> WatchHook:
        """See `Loop.watch`."""
        assert isinstance(lane, NativeLane)
        return WatchHook(lane.handle, watch, touched, self._library.cosim_watch_access)

    def run(self, lane: Lane) -> int:
        """See `Loop.run`."""
        assert isinstance(lane, NativeLane)
        return int(self._library.cosim_run(ctypes.byref(self._loop), ctypes.byref(lane)))

    def turns(self, horizon_ps: int, quantum_ps: int, end_ps: int) -> tuple[int, Lane | None, int]:
        """See `Loop.turns`."""
        horizon, error = self._horizon, self._error
        horizon.value = horizon_ps
        index = self._turns(quantum_ps, end_ps)
        return horizon.value, None if index < 0 else self._lanes[index], error.value
