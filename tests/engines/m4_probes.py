"""Runs the probe firmware on a SoC, and reads back what its exception handlers recorded."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass

import pytest
from elftools.elf.elffile import ELFFile

from cosim.access import Deny
from cosim.client import StepStatus
from cosim.engine import CoreState
from cosim.engine.unicorn.native import library_path
from cosim.resources import firmware_file
from cosim.scripts import loading, start, until_ready
from cosim.soc import Soc, SocConfig
from cosim.testing import default_signer

HARD_FAULT, MEM_MANAGE, BUS_FAULT, USAGE_FAULT, SVCALL = 3, 4, 5, 6, 11
IACCVIOL, IBUSERR, PRECISERR, UNSTKERR, STKERR, BFARVALID = 1 << 0, 1 << 8, 1 << 9, 1 << 11, 1 << 12, 1 << 15
UNDEFINSTR, INVSTATE, INVPC = 1 << 16, 1 << 17, 1 << 18
FORCED, DEBUGEVT = 1 << 30, 1 << 31
BUSFAULTACT, USGFAULTACT, SVCALLACT, BUSFAULTPENDED, SVCALLPENDED = 1 << 1, 1 << 3, 1 << 7, 1 << 14, 1 << 15
TO_HANDLER, TO_THREAD, TO_PROCESS, TO_THREAD_FP = 0xFFFFFFF1, 0xFFFFFFF9, 0xFFFFFFFD, 0xFFFFFFE9
T, STACK_ALIGNED = 1 << 24, 1 << 9

DENIED, NOTHING = 0x2FFC0000, 0x70000000
GOOD, UNTOUCHED = 0x900D900D, 0x5A5A5A5A
FPSCR_PATTERN = 0xB7C0009F

#: Inner loop and quantum of the runs that the tests look at.
RUNS = [
    ("python", 1),
    pytest.param(("native", 1000), marks=pytest.mark.skipif(library_path() is None, reason="not built")),
]

_PROBE_SIZE = 28
_RESULT = struct.Struct("<10I")
_RECORD = struct.Struct("<12I")
_RECORDS = 4


@dataclass(frozen=True)
class Record:
    """`struct record` of firmware/m4/probe.h."""

    number: int
    cfsr: int
    hfsr: int
    mmfar: int
    bfar: int
    shcsr: int
    icsr: int
    exc_return: int
    msp: int
    frame: int
    pc: int
    xpsr: int

    @property
    def it_state(self) -> int:
        """ITSTATE as the frame holds it."""
        return (self.xpsr >> 10 & 0x3F) << 2 | self.xpsr >> 25 & 3

    @property
    def interrupted(self) -> int:
        """The exception number of what was interrupted, 0 for Thread mode."""
        return self.xpsr & 0x1FF


@dataclass(frozen=True)
class Result:
    """One probe: what it says itself, and what its handlers saw."""

    name: str
    count: int
    finished: int
    values: tuple[int, ...]
    records: tuple[Record, ...]
    at: int  # the address of the label probe_<name>_at


@dataclass(frozen=True)
class Run:
    """A finished run of the probes."""

    soc: Soc
    results: dict[str, Result]
    symbols: dict[str, int]

    def one(self, name: str) -> Record:
        """The only exception of a probe that came to its end."""
        result = self.results[name]
        assert (result.finished, result.count) == (1, 1), result
        return result.records[0]

    def two(self, name: str) -> tuple[Record, Record]:
        """The two exceptions of a probe that came to its end."""
        result = self.results[name]
        assert (result.finished, result.count) == (1, 2), result
        return result.records[0], result.records[1]


def symbols_of(elf: bytes) -> dict[str, int]:
    """The symbols of an ELF file, function addresses without the Thumb bit."""
    table = ELFFile(io.BytesIO(elf)).get_section_by_name(".symtab")
    thumb = {s.name: s["st_info"]["type"] == "STT_FUNC" for s in table.iter_symbols()}
    return {s.name: s["st_value"] & ~thumb[s.name] for s in table.iter_symbols()}


def boot_probe(elf: bytes, config: SocConfig) -> Soc:
    """Authenticate, load and start the probe, and wait until it is ready."""
    soc = Soc(config)
    image = default_signer().sign(elf)
    steps = soc.run_script([*loading(soc.stage(image), len(image)), start(), until_ready()])
    assert [s.status for s in steps] == [StepStatus.DONE] * len(steps)
    return soc


def read_results(soc: Soc, symbols: dict[str, int]) -> dict[str, Result]:
    """The table of results from the M4's memory."""

    def memory(address: int, size: int) -> bytes:
        return soc.bus.debug_read("m4", address, size)

    (count,) = struct.unpack("<I", memory(symbols["probe_count"], 4))
    results = {}
    for index in range(count):
        (pointer,) = struct.unpack("<I", memory(symbols["probes"] + index * _PROBE_SIZE, 4))
        name = memory(pointer, 64).split(b"\0")[0].decode()
        place = symbols["probe_results"] + index * (_RESULT.size + _RECORDS * _RECORD.size)
        taken, finished, *values = _RESULT.unpack(memory(place, _RESULT.size))
        raw = memory(place + _RESULT.size, _RECORDS * _RECORD.size)
        records = tuple(Record(*words) for words in _RECORD.iter_unpack(raw))[:taken]
        results[name] = Result(name, taken, finished, tuple(values), records, symbols.get(f"probe_{name}_at", 0))
    return results


def run_probes(loop: str, quantum: int) -> Run:
    """Run probe_faults.elf to its end."""
    elf = firmware_file("probe_faults.elf").read_bytes()
    soc = boot_probe(elf, SocConfig(deny=Deny.ABORT, loop=loop, quantum=quantum))
    soc.run(lambda: soc.m4.state is not CoreState.RUNNING, 10**9)
    return Run(soc, read_results(soc, symbols_of(elf)), symbols_of(elf))
