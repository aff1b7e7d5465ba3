"""Recorders of what a core executed: a hook that fills a ring, in C (`trace.h`) or in Python, and how that is read.

An instruction is noted when it begins: once, also where the engine has to act before it goes on, and not in the rest of
an IT block that was given up. A run is instructions at consecutive addresses; one that repeats the run before it is
counted there.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from unicorn import UC_HOOK_CODE
from unicorn.unicorn_py3.unicorn import uclib

from cosim.engine import ExecutedInstruction, ExecutedRun
from cosim.engine.unicorn.batch import add_hook
from cosim.errors import EngineError
from cosim.timing.state import NOWHERE

#: `struct instruction` and `struct run`.
INSTRUCTION, RUN = struct.Struct("<QQII"), struct.Struct("<QQIIII")
_MOST_TIMES = (1 << 32) - 1
#: From this value of bits 15:11 on a Thumb instruction has 32 bits (ARMv7-M manual, A5.1).
_FIRST_WIDE = 0b11101


class Ring(ctypes.Structure):
    """`struct trace` of trace.h."""

    lane: int | None
    ring: int | None
    count: int
    retired: int
    most: int
    next: int
    address: int
    follows: int
    paused: int

    _fields_ = (
        ("lane", ctypes.c_void_p),
        ("ring", ctypes.c_void_p),
        *((name, ctypes.c_uint64) for name in ("count", "retired")),
        *((name, ctypes.c_uint32) for name in ("most", "next", "address", "follows", "paused", "unused")),
    )


class Steps(Protocol):
    """Where a loop in Python says what begins."""

    def __call__(self, address: int, size: int) -> tuple[int, int, int, int] | None:
        """Virtual time, retired instructions, address with the state in bit 0, and code; None if nothing begins."""
        ...


class Recorder:
    """A trace of the Unicorn instance at address `handle`, into a ring of `most` lines of the size of `line`."""

    def __init__(self, handle: int, most: int, line: struct.Struct) -> None:
        if most < 1:
            raise EngineError("a trace keeps at least one line", engine="unicorn")
        self._handle, self._line = ctypes.c_void_p(handle), line
        self._cells = (ctypes.c_char * (most * line.size))()
        self._ring = Ring(ring=ctypes.addressof(self._cells), most=most, address=NOWHERE, follows=NOWHERE)
        self._hook = ctypes.c_size_t()

    def open(self, callback: Any, lane: int | None = None) -> None:
        """Let Unicorn call `callback` before each instruction from now on. Raises `EngineError`."""
        self._ring.lane, self._callback = lane, callback  # kept alive as long as the hook
        self._hook = add_hook(self._handle, UC_HOOK_CODE, callback, ctypes.byref(self._ring), "the trace")

    def close(self) -> None:
        """Take the hook away; the lines stay."""
        uclib.uc_hook_del(self._handle, self._hook)

    def pause(self, *, paused: bool) -> None:
        """Whether what is announced has no effect."""
        self._ring.paused = paused

    @property
    def _is_open(self) -> bool:
        """Whether the line behind those that are counted has begun."""
        return self._line is RUN and self._ring.address != NOWHERE

    @property
    def left_out(self) -> int:
        """Lines that were noted and are not kept any more."""
        return max(0, self._ring.count + self._is_open - self._ring.most)

    def lines(self) -> Iterator[tuple[int, ...]]:
        """The lines that are kept, the oldest first."""
        ring, line = self._ring, self._line
        kept = min(ring.count + self._is_open, ring.most)
        first = ring.next + self._is_open - kept
        for place in range(first, first + kept):
            yield line.unpack_from(self._cells, place % ring.most * line.size)

    # -- the hooks in Python, as trace.h has them ---------------------------------------------------------------------

    def note_instruction(self, steps: Steps) -> Callable[[int, int, int, int], None]:
        """The hook of a trace of instructions."""
        ring, cells = self._ring, self._cells

        def on_code(_uc: int, address: int, size: int, _user: int) -> None:
            begun = self._begins(steps, address, size)
            if begun is not None:
                INSTRUCTION.pack_into(cells, ring.next * INSTRUCTION.size, *begun)
                self._advance()

        return on_code

    def note_run(self, steps: Steps) -> Callable[[int, int, int, int], None]:
        """The hook of a trace of runs."""
        ring, cells, size_of = self._ring, self._cells, RUN.size

        def on_code(_uc: int, address: int, size: int, _user: int) -> None:
            begun, follows = self._begins(steps, address, size), ring.follows
            if begun is None:
                return
            time_ps, retired, at, _ = begun
            ring.follows = at + size & NOWHERE
            if at == follows:
                run = RUN.unpack_from(cells, ring.next * size_of)
                RUN.pack_into(cells, ring.next * size_of, *run[:3], at, run[4] + 1, 1)
                return
            self._end_run()
            RUN.pack_into(cells, ring.next * size_of, time_ps, retired, at, at, 1, 1)

        return on_code

    def _begins(self, steps: Steps, address: int, size: int) -> tuple[int, int, int, int] | None:
        ring, begun = self._ring, steps(address, size)
        if begun is None or ring.paused or (begun[2], begun[1]) == (ring.address, ring.retired):
            return None
        _, ring.retired, ring.address, _ = begun
        return begun

    def _advance(self) -> None:
        ring = self._ring
        ring.count, ring.next = ring.count + 1, (ring.next + 1) % ring.most

    def _end_run(self) -> None:
        ring = self._ring
        run = RUN.unpack_from(self._cells, ring.next * RUN.size)
        if not run[5]:
            return
        place = (ring.next or ring.most) - 1
        before = RUN.unpack_from(self._cells, place * RUN.size)
        if ring.count and place != ring.next and before[2:4] == run[2:4] and before[5] != _MOST_TIMES:
            RUN.pack_into(self._cells, place * RUN.size, *before[:5], before[5] + 1)
        else:
            self._advance()


class _Trace:
    """What both kinds have in common: a recorder, and the core that gives it up."""

    def __init__(self, recorder: Recorder, release: Callable[[Recorder], None]) -> None:
        self._recorder, self._release = recorder, release

    @property
    def left_out(self) -> int:
        """See `ExecutionTrace.left_out`."""
        return self._recorder.left_out

    def close(self) -> None:
        """See `ExecutionTrace.close`."""
        self._release(self._recorder)


class InstructionRecord(_Trace):
    """An `ExecutionTrace` of instructions."""

    def lines(self) -> Iterator[ExecutedInstruction]:
        """See `ExecutionTrace.lines`."""
        for time_ps, retired, address, code in self._recorder.lines():
            thumb = bool(address & 1)
            size = 2 if thumb and code >> 11 & 31 < _FIRST_WIDE else 4
            yield ExecutedInstruction(time_ps, retired, address & ~1, thumb, code.to_bytes(size, "little"))


class RunRecord(_Trace):
    """An `ExecutionTrace` of runs."""

    def lines(self) -> Iterator[ExecutedRun]:
        """See `ExecutionTrace.lines`."""
        for time_ps, retired, address, last, instructions, times in self._recorder.lines():
            yield ExecutedRun(time_ps, retired, address & ~1, last & ~1, instructions, times)
