"""Runs the NVIC cases of the firmware, and reads back what they and their handlers saw."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from m4_probes import boot_probe, symbols_of

from cosim.access import Deny
from cosim.resources import firmware_file
from cosim.soc import Soc, SocConfig

RETURN = 0x8000  # in a trace: the handler ends
_VALUES, _SEEN, _TRACE = 12, 8, 32
_RESULT = struct.Struct(f"<3I{_TRACE}H{_VALUES}I{8 * _SEEN}I")


@dataclass(frozen=True)
class Seen:
    """`struct nvic_seen` of firmware/m4/nvic_cases.h."""

    number: int
    exc_return: int
    frame: int
    msp: int
    pc: int
    xpsr: int
    icsr: int
    control: int


@dataclass(frozen=True)
class Case:
    """One case: the order of its handlers, what it says itself, what its handlers saw."""

    finished: int
    trace: tuple[int, ...]
    values: tuple[int, ...]
    seen: tuple[Seen, ...]


@dataclass(frozen=True)
class Cases:
    """A finished run of all cases."""

    soc: Soc
    results: dict[str, Case]
    symbols: dict[str, int]


def run_cases(loop: str = "auto", quantum: int = 1000) -> Cases:
    """Run nvic_cases.elf to its end."""
    elf = firmware_file("nvic_cases.elf").read_bytes()
    symbols = symbols_of(elf)
    soc = boot_probe(elf, SocConfig(deny=Deny.ABORT, loop=loop, quantum=quantum))

    def memory(address: int, size: int) -> bytes:
        return soc.bus.debug_read("m4", address, size)

    (count,) = struct.unpack("<I", memory(symbols["nvic_count"], 4))
    results = {}
    for index in range(count):
        (pointer,) = struct.unpack("<I", memory(symbols["cases"] + 8 * index, 4))
        name = memory(pointer, 64).split(b"\0")[0].decode()
        words = _RESULT.unpack(memory(symbols["nvic_results"] + _RESULT.size * index, _RESULT.size))
        (finished, traced, taken), rest = words[:3], words[3:]
        values, seen = rest[_TRACE : _TRACE + _VALUES], rest[_TRACE + _VALUES :]
        records = tuple(Seen(*seen[8 * n : 8 * n + 8]) for n in range(min(taken, _SEEN)))
        results[name] = Case(finished, rest[:traced], values, records)
    return Cases(soc, results, symbols)
