"""Virtual time in cycles on the embedded engine, by firmware that measures its own code with DWT_CYCCNT."""

from __future__ import annotations

import io
import itertools
import struct
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from m4_probes import boot_probe

from cosim.access import Initiator
from cosim.boot import BootReport, attempt
from cosim.client import Op, Step
from cosim.engine.unicorn.native import library_path
from cosim.errors import EngineError
from cosim.events import CoreHeld, CyclesUnknown, InterruptTaken
from cosim.resources import firmware_file
from cosim.scripts import loading, start, until_ready
from cosim.soc import Soc, SocConfig
from cosim.testing import default_signer

CYCLES = SocConfig(timing="cycles")
NATIVE = pytest.param("native", marks=pytest.mark.skipif(library_path() is None, reason="the native loop is not built"))
LOOPS = [NATIVE, "python"]
#: What the pieces of dwt_probe.S take by the rules of docs/timing.md.
FIGURES = {
    "add": 1,
    "multiply_long": 1,
    "load": 2,
    "two_loads": 2 + 1,
    "load_from_loaded": 2 + 2,
    "store": 1,
    "store_register_offset": 2,
    "store_then_load": 1 + 3,
    "load_unaligned_even": 2 + 1,
    "load_unaligned_odd": 2 + 2,
    "store_halfword_unaligned": 1 + 1,
    "load_sysram": 2 + 20,
    "load_ddr": 2 + 40,
    "load_two_ddr": 3 + 2 * 40,
    "load_ddr_unaligned": 2 + 2 + 3 * 40,
    "address_just_computed": 1 + 3,
    "push_pop_four": 5 + 5,
    "divide_100_by_10": 4,
    "divide_most": 12,
    "divide_least": 2,
    "divide_signed": 3,
    "branch_taken": 2,
    "branch_not_taken": 1 + 1,
    "branch_to_wide_across_words": 2 + 1 + 1,
    "loop_of_ten": 10 * 3 - 1,
    "call": 2 + 3,
    "it_taken": 1 + 0 + 1,
    "it_skipped": 1 + 0 + 1,
    "float_add": 1,
    "float_use_of_result": 1 + 2,
    "float_divide": 1,
    "float_behind_divide": 14 + 1,
    "supervisor_call": 1 + 12 + 1 + 10,
}


def boot(name: str, config: SocConfig) -> tuple[Soc, BootReport]:
    soc = Soc(config)
    return soc, attempt(soc, default_signer().sign(firmware_file(f"{name}.elf").read_bytes()))


@cache
def log_of(name: str, loop: str, quantum: int) -> str:
    soc, _ = boot(name, replace(CYCLES, loop=loop, quantum=quantum))
    text = io.StringIO()
    soc.log.write_jsonl(text)
    return text.getvalue()


def figures(soc: Soc) -> dict[str, int]:
    """The lines of the trace buffer of dwt_probe.elf."""
    text = soc.bus.debug_read("m4", 0x10048090, 2048).split(b"\0")[0].decode()
    return {name: int(value) for name, value in (line.split() for line in text.splitlines())}


@pytest.mark.parametrize("loop", LOOPS)
def test_firmware_measures_the_cycles_that_the_rules_give(loop: str) -> None:
    soc = boot_probe(firmware_file("dwt_probe.elf").read_bytes(), replace(CYCLES, loop=loop))

    assert figures(soc) == FIGURES


def test_the_document_tells_these_figures() -> None:
    document = (Path(__file__).parents[2] / "docs" / "timing.md").read_text(encoding="utf-8")
    table = document.partition("| piece |")[2].partition("\n\n")[0]
    told: dict[str, int] = {}
    for row in table.splitlines()[2:]:
        names, cycles = (cell.strip() for cell in row.split("|")[1:3])
        values = [int(value) for value in cycles.split(",")]
        pieces = [name.strip(" `") for name in names.split(",")]
        told |= dict(zip(pieces, values if len(values) > 1 else values * len(pieces), strict=True))

    assert told == FIGURES


def test_in_instruction_time_it_measures_instructions() -> None:
    measured = figures(boot_probe(firmware_file("dwt_probe.elf").read_bytes(), SocConfig()))

    assert (measured["loop_of_ten"], measured["divide_most"], measured["supervisor_call"]) == (20, 1, 2)


@pytest.mark.parametrize(("loop", "quantum"), [("native", 1), ("native", 7), ("native", 10_000), ("python", 1000)])
def test_both_loops_and_every_quantum_give_the_same_log(loop: str, quantum: int) -> None:
    if loop == "native" and library_path() is None:
        pytest.skip("the native loop is not built")

    assert log_of("probe_it", loop, quantum) == log_of("probe_it", "auto", 1000)


@pytest.mark.parametrize("quantum", [7, 10_000])
@pytest.mark.parametrize("name", ["nvic_cases", "demo_m4_ddr"])
def test_interrupts_and_denials_give_the_same_log_at_every_quantum(name: str, quantum: int) -> None:
    assert log_of(name, "auto", quantum) == log_of(name, "auto", 1000)


def test_the_log_tells_cycles_in_cycle_time_only() -> None:
    assert '"cycles":' in log_of("probe_it", "auto", 1000)

    soc, report = boot("probe_it", SocConfig())

    assert not any("cycles" in record.as_json() for record in soc.log)
    assert report.verdict.m4_cycles is None


def test_time_follows_cycles_at_the_rate_of_the_platform_file() -> None:
    soc, report = boot("demo_m4", CYCLES)
    (held,) = [payload for payload in soc.log.of(CoreHeld) if payload.retired]
    running = [r.stamp for r in soc.log if r.stamp.core == "m4"]
    first, last = running[0], running[-1]

    assert report.verdict.m4_cycles == held.spent
    assert held.spent is not None
    assert held.spent > held.retired
    assert last.cycles is not None
    assert first.cycles is not None
    assert abs(last.time_ps - first.time_ps - (last.cycles - first.cycles) * 10**6 // 209) <= 1


def test_systick_ticks_in_cycles() -> None:
    soc = boot_probe(firmware_file("kernel_m4.elf").read_bytes(), CYCLES)
    ticks = [r.stamp.cycles for r in soc.log if r.stamp.core == "m4" and _is_tick(r.payload)]

    periods = [later - earlier for earlier, later in itertools.pairwise(ticks) if earlier and later]
    assert len(periods) > 5
    # 1 kHz at 209 MHz; an interrupt waits for the instruction at work, and for handlers of higher priority.
    assert all(abs(period - 209_000) < 200 for period in periods)


def _is_tick(payload: object) -> bool:
    return isinstance(payload, InterruptTaken) and payload.exception == "SysTick"


def test_a_snapshot_restores_the_count() -> None:
    soc = Soc(CYCLES)
    image = default_signer().sign(firmware_file("probe_it.elf").read_bytes())
    steps = [*loading(soc.stage(image), len(image)), start(), until_ready()]
    soc.run_script([])
    snapshot = soc.snapshot()
    ends = []
    for _ in range(2):
        soc.run_script(steps)
        ends.append([(r.stamp.time_ps, r.stamp.cycles) for r in soc.log])
        soc.restore(snapshot)

    assert ends[0] == ends[1]


def test_the_bound_of_instructions_is_exact_to_a_turn_in_cycle_time_too() -> None:
    _, report = boot("demo_m4", replace(CYCLES, most_instructions=5000, quantum=100))

    assert report.ended is not None
    assert 5000 <= report.ended.fields["instructions"] < 5000 + 200


def test_code_without_a_known_cost_is_told_once_and_takes_a_cycle() -> None:
    soc = Soc(CYCLES)
    dbg, bx_lr = 0xE320F0F0, 0xE12FFF1E  # a hint that no table lists
    code = struct.pack("<9I", *[dbg] * 8, bx_lr)
    soc.bus.write(Initiator.DEBUG, 0xC1000000, code)

    for _ in range(2):
        soc.run_step(Step(Op.CALL, (0xC1000000,)))

    assert soc.log.of(CyclesUnknown) == [CyclesUnknown("a7", 0xC1000000, dbg)]


def test_another_timing_is_refused_with_a_hint() -> None:
    with pytest.raises(EngineError) as caught:
        Soc(SocConfig(timing="fast"))

    assert "cycle" in caught.value.hint
