"""The inner loop in C (`loop.c`), loaded with ctypes when the optional extension was built; the same as `loop.py`."""

from __future__ import annotations

import ctypes
import functools
import importlib.machinery
from collections.abc import Callable, Sequence
from pathlib import Path

from unicorn.arm_const import UC_ARM_REG_CPSR, UC_ARM_REG_PC
from unicorn.unicorn_py3.unicorn import uclib

from cosim.engine.unicorn.loop import CORE_REGISTERS, CodeRange, Lane
from cosim.engine.unicorn.traps import MAX_TRAPS, Trap, filters
from cosim.errors import EngineError

ABI = 4
MAX_RANGES = 32
MAX_LANES = 8
_NO_REGISTER = 0xFF
_IN_BLOCK = ctypes.CFUNCTYPE(None)


class _Range(ctypes.Structure):
    _fields_ = (("base", ctypes.c_uint64), ("size", ctypes.c_uint64), ("host", ctypes.c_uint64))


class _Trap(ctypes.Structure):
    _fields_ = (
        ("mask", ctypes.c_uint32),
        ("value", ctypes.c_uint32),
        *((name, ctypes.c_uint8) for name in ("size", "after", "arm", "zero", "unaligned")),
    )


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
    mips: int
    origin_ps: int
    origin_retired: int
    handle: int

    _fields_ = (
        *((name, ctypes.c_uint64) for name in ("retired", "limit", "origin_ps", "origin_retired", "handle")),
        *((name, ctypes.c_uint32) for name in ("busy", "pc", "it_left", "it_pc", "it_state", "attention", "runnable")),
        *((name, ctypes.c_uint32) for name in ("mips", "traps_on", "trap", "pass_at", "ranges", "last_range")),
        ("range", _Range * MAX_RANGES),
        ("filter", ctypes.c_uint32 * 256 * 2),
        ("traps", _Trap * MAX_TRAPS),
        ("in_block", _IN_BLOCK),
    )

    def settle(self, pc: int) -> None:
        """See `PythonLane.settle`."""
        _library().cosim_lane_settle(ctypes.byref(self), pc)


class _Context(ctypes.Structure):
    _fields_ = (("lane", ctypes.c_void_p), ("loop", ctypes.c_void_p))


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
    """The built extension beside this module, or None."""
    for suffix in importlib.machinery.EXTENSION_SUFFIXES:
        candidate = Path(__file__).with_name("_loop" + suffix)
        if candidate.exists():
            return candidate
    return None


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
    library = ctypes.CDLL(str(path))
    if library.cosim_loop_abi() != ABI:
        raise EngineError(
            f"the native loop in {path.name} has another version",
            hint="reinstall the package so that it is built anew",
            engine="unicorn",
        )
    library.cosim_lane_settle.argtypes = (ctypes.c_void_p, ctypes.c_uint32)
    library.cosim_lane_settle.restype = None
    library.cosim_turns.argtypes = (
        ctypes.c_void_p,
        ctypes.POINTER(ctypes.c_uint64),
        ctypes.c_uint64,
        ctypes.c_uint64,
        ctypes.POINTER(ctypes.c_int),
    )
    return library


class NativeLoop:
    """The loop in C. Raises `EngineError` when the extension is not there."""

    name = "native"

    def __init__(self) -> None:
        self._library = _library()
        self._lanes: list[NativeLane] = []
        self._contexts: list[_Context] = []
        self._loop = _Loop(
            *(
                ctypes.cast(function, ctypes.c_void_p)
                for function in (uclib.uc_emu_start, uclib.uc_emu_stop, uclib.uc_reg_read, uclib.uc_hook_add)
            ),
            reg_pc=UC_ARM_REG_PC,
            reg_cpsr=UC_ARM_REG_CPSR,
            reg=(ctypes.c_int32 * 16)(*CORE_REGISTERS),
        )

    def add(self, handle: int) -> NativeLane:
        """See `Loop.add`."""
        lane, context = NativeLane(handle=handle, mips=1), _Context()
        if error := self._library.cosim_lane_init(ctypes.byref(self._loop), ctypes.byref(lane), ctypes.byref(context)):
            raise EngineError(f"the instruction hook cannot be set (Unicorn error {error})", engine="unicorn")
        self._lanes.append(lane)
        self._contexts.append(context)
        return lane

    def set_code(self, lane: Lane, ranges: Sequence[CodeRange]) -> None:
        """See `Loop.set_code`."""
        assert isinstance(lane, NativeLane)
        if len(ranges) > MAX_RANGES:
            raise EngineError(f"{len(ranges)} executable ranges, at most {MAX_RANGES}", engine="unicorn")
        for index, r in enumerate(ranges):
            lane.range[index] = _Range(r.base, r.size, r.host)
        lane.ranges, lane.last_range = len(ranges), 0

    def set_traps(self, lane: Lane, traps: Sequence[Trap], in_block: Callable[[], None]) -> None:
        """See `Loop.set_traps`."""
        assert isinstance(lane, NativeLane)
        if len(traps) > MAX_TRAPS:
            raise EngineError(f"{len(traps)} traps, at most {MAX_TRAPS}", engine="unicorn")
        for table, values in zip(lane.filter, filters(traps), strict=True):
            table[:] = values
        for index, trap in enumerate(traps):
            zero = _NO_REGISTER if trap.when_zero is None else trap.when_zero
            unaligned = _NO_REGISTER if trap.when_unaligned is None else trap.when_unaligned
            lane.traps[index] = _Trap(trap.mask, trap.value, trap.size, trap.after, trap.arm, zero, unaligned)
        lane.traps_on, lane.in_block = 0, _IN_BLOCK(in_block)

    def run(self, lane: Lane) -> int:
        """See `Loop.run`."""
        assert isinstance(lane, NativeLane)
        return int(self._library.cosim_run(ctypes.byref(self._loop), ctypes.byref(lane)))

    def turns(self, horizon_ps: int, quantum_ps: int, end_ps: int) -> tuple[int, Lane | None, int]:
        """See `Loop.turns`."""
        horizon, error = ctypes.c_uint64(horizon_ps), ctypes.c_int()
        index = self._library.cosim_turns(
            ctypes.byref(self._loop), ctypes.byref(horizon), quantum_ps, end_ps, ctypes.byref(error)
        )
        return horizon.value, None if index < 0 else self._lanes[index], error.value
