"""The embedded engine and Renode with the same firmware at equal quanta, one after the other in one process."""

from __future__ import annotations

import dataclasses
import os
import statistics
from collections.abc import Iterator

from cosim.bench.cold import DEMO, run_process
from cosim.bench.computing import A7, M4, MIPS, engine_rate
from cosim.bench.costs import CASES, time_loop
from cosim.bench.measurement import Finding, Measurement, Ratio, Sizes, Skipped
from cosim.engine.renode import find_renode
from cosim.errors import EngineError
from cosim.resources import firmware_file

_SECTION = "embedded engine and Renode"
_ENGINES = ("unicorn", "renode")
#: Turns of 100 us and 10 us, in instructions of the M4.
_QUANTA = {"100 us": 100 * MIPS[M4], "10 us": 10 * MIPS[M4]}
#: Those of the cases of `costs` that say what a block, a denial and an exception cost.
_CASES = tuple(case for case in CASES if "read" in case.name)
#: Renode is slower, and its SoCs take long to build: shorter runs.
_FEWER = 4


def measure_renode(sizes: Sizes) -> Iterator[Finding]:
    """Instruction rates, costs of accesses and the cold boot on both engines, with the ratio to the embedded one."""
    try:
        find_renode()
    except EngineError as error:
        yield Skipped(_SECTION, "everything", f"{error.message}; {error.hint}")
        return
    yield from _rates(sizes)
    yield from _costs(sizes)
    yield from _cold(sizes)


def _rates(sizes: Sizes) -> Iterator[Finding]:
    for active in ((A7,), (M4,), (A7, M4)):
        who = f"{active[0]} alone" if len(active) == 1 else "both in turns"
        for name, quantum in _QUANTA.items():
            found = {}
            for engine in _ENGINES:
                run = engine_rate(active, quantum, "auto", sizes.native_instructions // _FEWER, engine)
                found[engine] = max(run() for _ in range(max(1, sizes.repeats // 2)))
            yield from _compared(f"{who}, quantum {name}", found, "MIPS", f"best of {max(1, sizes.repeats // 2)}")


def _costs(sizes: Sizes) -> Iterator[Finding]:
    times = sizes.accesses
    for case in _CASES:
        found = {}
        for engine in _ENGINES:
            config = dataclasses.replace(case.config, engine=engine, quantum=_QUANTA["100 us"])
            found[engine] = time_loop(dataclasses.replace(case, config=config), times) / times * 1e6
        yield from _compared(case.name, found, "us", f"{times} in a row")


def _cold(sizes: Sizes) -> Iterator[Finding]:
    boot = ["-m", "cosim.cli", "boot", str(firmware_file(DEMO)), "--engine"]
    times = max(1, sizes.repeats // 2)
    found = {
        engine: statistics.median(run_process([*boot, engine], os.environ)[0].wall for _ in range(times))
        for engine in _ENGINES
    }
    yield from _compared("`cosim boot` of the demo, wall", found, "s", f"median of {times}")


def _compared(name: str, found: dict[str, float], unit: str, how: str) -> Iterator[Finding]:
    yardstick = found[_ENGINES[0]]
    for engine, value in found.items():
        ratios = () if engine == _ENGINES[0] else (Ratio(value / yardstick, "the embedded engine"),)
        yield Measurement(_SECTION, f"{name}: {engine}", value, unit, how, ratios)
