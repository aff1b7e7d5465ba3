"""Registers of a Unicorn instance in batches, read and written without Unicorn's Python bindings.

The bindings look up each register's class and wrap each value, which takes several times as long as the access itself.
The function pointers are called with plain integers for the same reason.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable, Sequence
from typing import Any

from unicorn import UC_CTL_IO_WRITE, UC_CTL_TB_REMOVE_CACHE, Uc
from unicorn.arm_const import UC_ARM_REG_CP_REG
from unicorn.unicorn_py3.unicorn import uclib

from cosim.errors import EngineError

_BATCH = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int)
_SINGLE = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)
#: UC_CTL_WRITE with two arguments, as the macros of unicorn.h encode it.
REMOVE_CACHE = UC_CTL_IO_WRITE << 30 | 2 << 26 | UC_CTL_TB_REMOVE_CACHE


def _single(name: str) -> Callable[[int, int, int], int]:
    return _SINGLE(ctypes.cast(getattr(uclib, name), ctypes.c_void_p).value or 0)


def _function(name: str) -> Callable[[int, int, int, int], int]:
    return _BATCH(ctypes.cast(getattr(uclib, name), ctypes.c_void_p).value or 0)


class Batch:
    """A fixed list of 32-bit registers; one that is named twice is written twice, in order."""

    def __init__(self, uc: Uc, registers: Sequence[int]) -> None:
        count = len(registers)
        values = struct.Struct(f"<{count}Q")
        cells = (ctypes.c_char * values.size)()
        base = ctypes.addressof(cells)
        ids = (ctypes.c_int * count)(*registers)
        places = (ctypes.c_void_p * count)(*(base + 8 * i for i in range(count)))
        self._alive = ids, places
        self._cells, self._pack, self._unpack = cells, values.pack_into, values.unpack_from
        self._arguments = uc._uch.value, ctypes.addressof(ids), ctypes.addressof(places), count
        self._read, self._write = _function("uc_reg_read_batch"), _function("uc_reg_write_batch")

    def read(self) -> tuple[int, ...]:
        """The registers' values."""
        self._read(*self._arguments)
        return self._unpack(self._cells)

    def write(self, *values: int) -> None:
        """Write the registers, the first one first."""
        self._pack(self._cells, 0, *values)
        self._write(*self._arguments)


class _Coprocessor(ctypes.Structure):
    """`uc_arm_cp_reg` of unicorn.h."""

    value: int

    _fields_ = (
        *((name, ctypes.c_uint32) for name in ("cp", "is64", "sec", "crn", "crm", "opc1", "opc2")),
        ("value", ctypes.c_uint64),
    )


class CoprocessorRegister:
    """A 32-bit register that MRC and MCR reach. `place`: coprocessor, 64 bits, secure bank, CRn, CRm, opc1, opc2."""

    def __init__(self, uc: Uc, place: tuple[int, int, int, int, int, int, int]) -> None:
        self._cell = _Coprocessor(*place)
        self._arguments = uc._uch.value, UC_ARM_REG_CP_REG, ctypes.addressof(self._cell)
        self._read, self._write = _single("uc_reg_read"), _single("uc_reg_write")

    def read(self) -> int:
        """The register's value."""
        self._read(*self._arguments)
        return self._cell.value & 0xFFFFFFFF

    def write(self, value: int) -> None:
        """Write the register."""
        self._cell.value = value
        self._write(*self._arguments)


def add_hook(
    handle: ctypes.c_void_p, kind: int, callback: Any, user: Any, what: str, *, span: tuple[int, int] = (1, 0)
) -> ctypes.c_size_t:
    """Set a hook without the bindings' wrappers, on all addresses or on the `span` from first to last.

    Who sets it keeps `callback` and `user` alive. Raises `EngineError`, which says `what` it is for.
    """
    hook = ctypes.c_size_t()
    error = uclib.uc_hook_add(
        handle, ctypes.byref(hook), kind, ctypes.cast(callback, ctypes.c_void_p), user, *map(ctypes.c_uint64, span)
    )
    if error:
        raise EngineError(f"the hook of {what} cannot be set (Unicorn error {error})", engine="unicorn")
    return hook


def stop(uc: Uc) -> None:
    """`Uc.emu_stop` from within a hook."""
    uclib.uc_emu_stop(uc._uch)


def remove_cache(uc: Uc, first: int, last: int) -> None:
    """`Uc.ctl_remove_cache`: drop the translations of the guest addresses from `first` to before `last`."""
    error = uclib.uc_ctl(uc._uch, REMOVE_CACHE, ctypes.c_uint64(first), ctypes.c_uint64(last))
    if error:
        raise EngineError(f"translations cannot be dropped (Unicorn error {error})", engine="unicorn", address=first)
