"""The hook of one watchpoint, whose exact test is in C (`watch.h`) where the native loop is, else in Python."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

from unicorn import UC_HOOK_MEM_READ, UC_HOOK_MEM_WRITE
from unicorn.unicorn_py3.unicorn import uclib

from cosim.engine import Watch
from cosim.engine.unicorn.batch import add_hook

_WIDEST = 8  # bytes of an access
_TOUCHED = ctypes.CFUNCTYPE(None)
_ON_ACCESS = ctypes.CFUNCTYPE(
    None, ctypes.c_void_p, ctypes.c_int, ctypes.c_uint64, ctypes.c_int, ctypes.c_int64, ctypes.c_void_p
)


class _Cells(ctypes.Structure):
    """`struct watch` of watch.h."""

    _fields_ = (("begin", ctypes.c_uint64), ("end", ctypes.c_uint64), ("touched", _TOUCHED))


class WatchHook:
    """Calls `touched` before each access to `watch` by the Unicorn instance at address `handle`.

    `in_c` is cosim_watch_access, or None. `touched` must not raise. Raises `EngineError`.
    """

    def __init__(self, handle: int, watch: Watch, touched: Callable[[], None], in_c: Any) -> None:
        begin, end = watch.address, watch.address + watch.size

        def on_access(_uc: int, _access: int, address: int, size: int, _value: int, _user: int) -> None:
            if address < end and begin < address + size:
                touched()

        self._handle = ctypes.c_void_p(handle)
        self._cells = _Cells(begin, end, _TOUCHED(touched))
        self._callback = _ON_ACCESS(on_access) if in_c is None else in_c
        kinds = (UC_HOOK_MEM_READ if watch.reads else 0) | (UC_HOOK_MEM_WRITE if watch.writes else 0)
        span = max(0, begin - _WIDEST + 1), end - 1
        cells = ctypes.byref(self._cells)
        self._hook = add_hook(self._handle, kinds, self._callback, cells, "a watchpoint", span=span)

    def remove(self) -> None:
        """Take the hook away; keep this object until translated code was dropped."""
        uclib.uc_hook_del(self._handle, self._hook)
