"""What the C helper needs to enter and leave handlers of the Cortex-M4 by itself (`exceptions.h`)."""

from __future__ import annotations

import ctypes

from unicorn.unicorn_py3.unicorn import uclib

from cosim.engine.unicorn.batch import REMOVE_CACHE
from cosim.engine.unicorn.loop import EventCycles
from cosim.engine.unicorn.m4_registers import ENTRY, EXCEPTION_STATE, RETURN
from cosim.engine.unicorn.m4_traps import UNMASKING_BITS
from cosim.engine.unicorn.nvic_state import NvicState


class Exceptions(ctypes.Structure):
    """`struct exceptions` of exceptions.h."""

    _fields_ = (
        ("nvic", ctypes.c_void_p),
        ("serves", ctypes.c_void_p),
        *((name, ctypes.c_void_p) for name in ("read", "write", "ctl")),
        ("remove_cache", ctypes.c_int32),
        *((name, ctypes.c_uint32) for name in ("unmasking", "entry_cycles", "return_cycles", "tail_chain_cycles")),
        ("state", ctypes.c_int32 * len(EXCEPTION_STATE)),
        ("entry", ctypes.c_int32 * len(ENTRY)),
        ("to_return", ctypes.c_int32 * len(RETURN)),
    )


def make_exceptions(nvic: NvicState, serves: int, cycles: EventCycles) -> Exceptions:
    """The structure for the core whose exceptions `nvic` holds; at the address `serves` its port says that it serves.

    Who takes it keeps `nvic` and the port alive.
    """
    read, write, ctl = (
        ctypes.cast(getattr(uclib, name), ctypes.c_void_p)
        for name in ("uc_reg_read_batch", "uc_reg_write_batch", "uc_ctl")
    )
    return Exceptions(
        ctypes.addressof(nvic), serves, read, write, ctl, REMOVE_CACHE, UNMASKING_BITS, *cycles,
        (ctypes.c_int32 * len(EXCEPTION_STATE))(*EXCEPTION_STATE), (ctypes.c_int32 * len(ENTRY))(*ENTRY),
        (ctypes.c_int32 * len(RETURN))(*RETURN),
    )  # fmt: skip
