"""The state of the Cortex-M4's exceptions as memory that Python (`nvic.py`) and C (`exceptions.h`) share."""

from __future__ import annotations

import ctypes
from enum import IntEnum

#: External interrupts of the STM32MP15 (RM0436, NVIC table), behind the 16 numbers of the system's own exceptions.
FIRST_INTERRUPT, INTERRUPTS = 16, 150
EXCEPTIONS = FIRST_INTERRUPT + INTERRUPTS
_SET = ctypes.c_uint64 * ((EXCEPTIONS + 63) // 64)


class Steady(IntEnum):
    """Between which modes the core may change without the MPU having a say (`STEADY_…` of exceptions.h)."""

    NEVER = 0
    PRIVILEGED = 1  # between privileged ones, at no negative priority
    ALWAYS = 2  # it is not used


class NvicState(ctypes.Structure):
    """`struct nvic` of exceptions.h. Sets of exceptions have one bit per number."""

    vtor: int
    ccr: int
    scr: int
    prigroup: int
    event: int
    steady: int
    depth: int

    _fields_ = (
        *((name, _SET) for name in ("enabled", "pending", "levels", "late")),
        ("taken", ctypes.c_uint64 * EXCEPTIONS),  # how often each was entered since reset
        *((name, ctypes.c_uint32) for name in ("vtor", "ccr", "scr")),  # of the System Control Space, as C needs them
        ("prigroup", ctypes.c_uint32),
        ("event", ctypes.c_uint32),  # the event register of WFE
        ("steady", ctypes.c_uint32),  # a `Steady`
        ("depth", ctypes.c_uint32),  # how many are active:
        ("active", ctypes.c_uint16 * EXCEPTIONS),  # these, in the order of entry
        ("priorities", ctypes.c_uint8 * EXCEPTIONS),
    )


class NumberSet:
    """A field of `NvicState` that is a set of exceptions, as a Python integer."""

    def __init__(self, state: NvicState, name: str) -> None:
        self._cells = memoryview(getattr(state, name)).cast("B")

    def get(self) -> int:
        """The set."""
        return int.from_bytes(self._cells, "little")

    def set(self, numbers: int) -> None:
        """Replace it."""
        self._cells[:] = numbers.to_bytes(len(self._cells), "little")
