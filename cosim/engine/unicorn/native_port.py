"""The door between Unicorn and a core's accesses, in C (`port.h`): what is remembered is called without ctypes.

The functions of Python that this needs arrive as pointers, like those of Unicorn. What the C side does not find goes to
the port in Python, which remembers more.
"""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Callable
from typing import Any

from unicorn import UC_MEM_READ_PROT, UC_MEM_WRITE_PROT, Uc

from cosim.engine.unicorn.access_port import ACCESS_HOOK, AccessPort, KnownRead, KnownWrite, LongWay
from cosim.registers import Cell

_KNOWN = 256  # places for each direction
_PYTHON = (
    "PyGILState_Ensure", "PyGILState_Release", "PyObject_CallNoArgs", "PyObject_CallFunctionObjArgs",
    "PyLong_AsLongLong", "PyLong_FromLongLong", "Py_IncRef", "Py_DecRef", "PyErr_Clear", "PyErr_SetInterrupt",
)  # fmt: skip


class _Known(ctypes.Structure):
    _fields_ = (
        ("key", ctypes.c_uint64),
        ("call", ctypes.c_void_p),
        ("word", ctypes.c_void_p),
        ("mask", ctypes.c_uint32),
        ("shift", ctypes.c_uint32),
    )


class _NativeCells(ctypes.Structure):
    """`struct port` of port.h."""

    value: int
    read_at: int
    serves: int
    next_ps: int | None
    known: Any

    _fields_ = (
        ("value", ctypes.c_uint64),
        ("read_at", ctypes.c_uint32),
        ("serves", ctypes.c_uint32),
        ("reading", ctypes.c_int32),
        ("writing", ctypes.c_int32),
        ("lane", ctypes.c_void_p),
        ("next_ps", ctypes.c_void_p),
        ("other", ACCESS_HOOK),
        ("python", ctypes.c_void_p * len(_PYTHON)),
        ("known", _Known * _KNOWN * 2),
    )


class NativePort(AccessPort):
    """The port of the core whose `struct lane` is at address `lane`."""

    def __init__(self, library: ctypes.CDLL, lane: int) -> None:
        super().__init__()
        self._library = library
        python = (ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p) for name in _PYTHON)
        self._cells = _NativeCells(
            serves=1, reading=UC_MEM_READ_PROT, writing=UC_MEM_WRITE_PROT, lane=lane,
            python=(ctypes.c_void_p * len(_PYTHON))(*python),
        )  # fmt: skip
        self.cells = self._cells

    @property
    def serves_at(self) -> int:
        """The address of `Cells.serves`."""
        return ctypes.addressof(self._cells) + int(vars(_NativeCells)["serves"].offset)

    def serve(self, uc: Uc, must_wait: Callable[[], bool], long_way: LongWay, next_ps: array[int]) -> None:
        """See `AccessPort.serve`."""
        self._next_ps = next_ps  # is kept alive as long as the core
        self._cells.next_ps, _ = next_ps.buffer_info()
        self._cells.other = self._on_access = ACCESS_HOOK(self._make_hook(must_wait, long_way))
        self.hook(uc, self._library.cosim_port_access, ctypes.byref(self._cells))

    def mmio(self, base: int) -> tuple[Any, Any]:  # noqa: ARG002 - the C side needs the offset within a page only
        """See `AccessPort.mmio`."""
        return ctypes.cast(self._library.cosim_port_read, ctypes.c_void_p), ctypes.byref(self._cells)

    def remember_read(self, address: int, size: int, read: KnownRead, cell: Cell | None = None) -> None:
        """See `AccessPort.remember_read`."""
        super().remember_read(address, size, read)
        self._know(0, address, size, read, cell)

    def remember_write(self, address: int, size: int, write: KnownWrite, cell: Cell | None = None) -> None:
        """See `AccessPort.remember_write`."""
        super().remember_write(address, size, write)
        self._know(1, address, size, write, cell)

    def _know(self, direction: int, address: int, size: int, call: object, cell: Cell | None) -> None:
        # Borrowed: the port in Python holds the function, and so the block with the cell, as long as it is in this
        # table.
        place = self._library.cosim_port_place(address)
        self._cells.known[direction][place] = _Known(address << 4 | size, id(call), *(cell or ()))

    def forget(self) -> None:
        """See `AccessPort.forget`."""
        ctypes.memset(self._cells.known, 0, ctypes.sizeof(self._cells.known))
        super().forget()
