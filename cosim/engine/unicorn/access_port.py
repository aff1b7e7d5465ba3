"""The door between Unicorn and the accesses of one core that models make: the hook of invalid accesses, MMIO reads.

An access that got through once is remembered by its address as a function that makes it again. The port calls that
function; all else goes to the core, the long way. Here it is in plain Python, `native_port.py` has the same in C.
Both are set without Unicorn's Python bindings, whose wrappers cost as much as the model of a register does.
"""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Callable
from typing import Any, Protocol

from unicorn import UC_HOOK_MEM_INVALID, UC_MEM_READ_PROT, UC_MEM_WRITE_PROT, Uc

from cosim.engine.unicorn.batch import add_hook
from cosim.registers import Cell

#: Remembered accesses; guest code that touches more addresses than that starts over.
_MOST_REMEMBERED = 4096
_MASKS = tuple((1 << 8 * size) - 1 for size in range(9))
_READ = ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint32, ctypes.c_void_p)
ACCESS_HOOK = ctypes.CFUNCTYPE(
    ctypes.c_bool, ctypes.c_void_p, ctypes.c_int, ctypes.c_uint64, ctypes.c_int, ctypes.c_int64, ctypes.c_void_p
)
#: Makes a read again: the value, or `GIVEN_UP`. Makes a write again: 0, or `GIVEN_UP`. Neither raises.
KnownRead = Callable[[], int]
KnownWrite = Callable[[int], int]
GIVEN_UP = -1
#: Kind of access (UC_MEM_…), address, size, value: whether Unicorn may go on with it. Does not raise.
LongWay = Callable[[int, int, int, int], bool]


class Cells(Protocol):
    """What the core writes for the port."""

    value: int  # what the read at work got,
    read_at: int  # and from where
    serves: int  # whether what is remembered counts


class _PythonCells:
    __slots__ = ("read_at", "serves", "value")

    def __init__(self) -> None:
        self.value = self.read_at = 0
        self.serves = 1


class AccessPort:
    """The port of one core, in Python."""

    cells: Cells

    def __init__(self) -> None:
        self.cells = _PythonCells()
        self._reads: dict[int, KnownRead] = {}
        self._writes: dict[int, KnownWrite] = {}
        self._on_read = _READ(self._make_read())  # these two are kept alive as long as the core
        self._on_access = ACCESS_HOOK(lambda *_arguments: False)

    def serve(
        self,
        uc: Uc,
        must_wait: Callable[[], bool],
        long_way: LongWay,
        next_ps: array[int],  # noqa: ARG002
    ) -> None:
        """Hook the invalid accesses of `uc`; one that is remembered is made unless `must_wait` says no.

        `next_ps` is `Timers.next_ps`.
        """
        self._on_access = ACCESS_HOOK(self._make_hook(must_wait, long_way))
        self.hook(uc, self._on_access, None)

    def hook(self, uc: Uc, callback: Any, user: Any) -> None:
        """Set the hook. Raises `EngineError`."""
        add_hook(uc._uch, UC_HOOK_MEM_INVALID, callback, user, "accesses")

    def mmio(self, base: int) -> tuple[Any, Any]:
        """Unicorn's callback for reads of a mapping at `base`, and its user data."""
        return ctypes.cast(self._on_read, ctypes.c_void_p), base

    # -- what is remembered ----------------------------------------------------------------------------------------

    def remember_read(self, address: int, size: int, read: KnownRead, cell: Cell | None = None) -> None:  # noqa: ARG002
        """Reads of `size` bytes, at most 4, at `address` are made by `read` from now on.

        While no alarm is due and no IT block at work, `cell` is all that `read` is about.
        """
        self._make_room()
        self._reads[address << 4 | size] = read

    def remember_write(self, address: int, size: int, write: KnownWrite, cell: Cell | None = None) -> None:  # noqa: ARG002
        """The same for writes."""
        self._make_room()
        self._writes[address << 4 | size] = write

    def _make_room(self) -> None:
        if len(self._reads) + len(self._writes) >= _MOST_REMEMBERED:
            self.forget()

    def forget(self) -> None:
        """Nothing is remembered any more."""
        self._reads.clear()
        self._writes.clear()

    # -- callbacks: nothing may escape them ------------------------------------------------------------------------

    def _make_hook(self, must_wait: Callable[[], bool], long_way: LongWay) -> Callable[..., bool]:
        reading, writing, cells = UC_MEM_READ_PROT, UC_MEM_WRITE_PROT, self.cells
        reads, writes = self._reads, self._writes

        def on_access(_uc: int, access: int, address: int, size: int, value: int, _user: int) -> bool:
            """Whether Unicorn may go on with the access; if not, the instruction has no effect."""
            if cells.serves and access == reading:
                read = reads.get(address << 4 | size)
                if read is not None and not must_wait():
                    got = read()
                    cells.value, cells.read_at = max(got, 0), address
                    return got != GIVEN_UP
            elif cells.serves and access == writing:
                write = writes.get(address << 4 | size)
                if write is not None and not must_wait():
                    return write(value & _MASKS[size]) != GIVEN_UP
            return long_way(access, address, size, value)

        return on_access

    def _make_read(self) -> Callable[..., int]:
        cells = self.cells

        def read(_uc: int, offset: int, size: int, base: int | None) -> int:
            """The value that the model gave; Unicorn asks for an unaligned one in aligned parts."""
            shift = (base or 0) + offset - cells.read_at
            if not shift:
                return cells.value & _MASKS[size]
            return (cells.value >> 8 * shift if shift > 0 else cells.value << -8 * shift) & _MASKS[size]

        return read
