"""The state of the Cortex-M4's exceptions as memory that Python (`nvic.py`) and C (`exceptions.h`) share."""

from __future__ import annotations

import ctypes
from enum import IntEnum
from typing import Protocol

#: External interrupts of the STM32MP15 (RM0436, NVIC table), behind the 16 numbers of the system's own exceptions.
FIRST_INTERRUPT, INTERRUPTS = 16, 150
EXCEPTIONS = FIRST_INTERRUPT + INTERRUPTS
#: The fields of `NvicState` that are sets of exceptions.
SETS = ("enabled", "pending", "levels", "late")
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
        *((name, _SET) for name in SETS),
        ("taken", ctypes.c_uint64 * EXCEPTIONS),  # how often each was entered since reset
        *((name, ctypes.c_uint32) for name in ("vtor", "ccr", "scr")),  # of the System Control Space, as C needs them
        ("prigroup", ctypes.c_uint32),
        ("event", ctypes.c_uint32),  # the event register of WFE
        ("steady", ctypes.c_uint32),  # a `Steady`
        ("depth", ctypes.c_uint32),  # how many are active:
        ("active", ctypes.c_uint16 * EXCEPTIONS),  # these, in the order of entry
        ("priorities", ctypes.c_uint8 * EXCEPTIONS),
    )


class _HasSets(Protocol):
    sets: dict[str, memoryview]  # by field: its bytes


class NumberSet:
    """An attribute that is one of the owner's `sets`, as a Python integer."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, owner: _HasSets, _kind: type) -> int:
        return int.from_bytes(owner.sets[self._name], "little")

    def __set__(self, owner: _HasSets, numbers: int) -> None:
        cells = owner.sets[self._name]
        cells[:] = numbers.to_bytes(len(cells), "little")
