"""Parameters of TEE commands: the four-nibble types word, value pairs and memory references (GlobalPlatform)."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class ParamType(enum.IntEnum):
    """TEE_PARAM_TYPE_*, one nibble of the types word."""

    NONE = 0
    VALUE_INPUT = 1
    VALUE_OUTPUT = 2
    VALUE_INOUT = 3
    MEMREF_INPUT = 5
    MEMREF_OUTPUT = 6
    MEMREF_INOUT = 7


@dataclass(frozen=True)
class Value:
    """A value parameter: two unsigned 32-bit words."""

    a: int = 0
    b: int = 0


@dataclass(frozen=True)
class MemRef:
    """A memory reference of `size` bytes; address 0 is the NULL reference.

    Contiguous: `address` is its A7 physical address. With `pages` (A7 physical addresses of whole pages, in order) it
    starts `address % 4096` bytes into the first of them.
    """

    address: int
    size: int
    pages: tuple[int, ...] = ()


Param = Value | MemRef
Params = tuple[Param, Param, Param, Param]
NO_PARAMS: Params = (Value(), Value(), Value(), Value())


def param_types(*types: ParamType) -> int:
    """The types word of up to four parameters, parameter 0 in the low nibble (TEE_PARAM_TYPES)."""
    return sum(int(kind) << (4 * index) for index, kind in enumerate(types))


def value_of(params: Params, index: int) -> Value:
    """The value parameter `index`; a memory reference there reads as the zero value, as its words would not be one."""
    param = params[index]
    return param if isinstance(param, Value) else Value()
