"""The benchmarks run, measure what they say, and refuse to time something that did not happen. No number is judged."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from typing import Any

import pytest

from cosim.bench import cold, computing, costs, rates, renode, rpmsg
from cosim.bench.__main__ import SECTIONS, run
from cosim.bench.aims import AIMS, Aim, judge
from cosim.bench.bare import BareCore
from cosim.bench.computing import A7, M4, ComputingSoc
from cosim.bench.measurement import QUICK, Measurement, Ratio, Skipped
from cosim.bench.programs import A7_SPIN, M4_SPIN, read_loop, read_program
from cosim.bench.ticks import TickingSoc
from cosim.bench.warm import boot_from, boot_whole, demo_image
from cosim.engine.unicorn.native import library_path
from cosim.errors import EngineError
from cosim.events import InterruptTaken
from cosim.soc import Soc
from cosim.testing import default_signer, flip

TINY = replace(QUICK, native_instructions=100_000, python_instructions=10_000, accesses=20, quanta=(1_000,))


def document(capsys: pytest.CaptureFixture[str], *sections: str) -> dict[str, Any]:
    assert run(["--quick", "--json", *sections]) == 0
    found = json.loads(capsys.readouterr().out)
    assert isinstance(found, dict)
    return found


def test_the_cold_boot_is_reported_with_its_phases_and_peak_memory(capsys: pytest.CaptureFixture[str]) -> None:
    measured = {m["name"]: m for m in document(capsys, "cold")["measurements"]}

    assert {m["unit"] for m in measured.values()} == {"s", "ms", "MiB"}
    assert all(m["value"] > 0 for m in measured.values())
    assert measured["peak memory"]["unit"] == "MiB"
    phases = [name.removeprefix("of it: ") for name in measured if name.startswith("of it: ")]
    assert phases == [
        "Python alone",
        "imports of the command line",
        "imports of the simulator",
        "signing",
        "platform description",
        "SoC built, secure world up",
        "the boot itself",
    ]


def test_import_times_are_summed_by_package_without_what_each_imports() -> None:
    listed = "\n".join(
        [
            "import time: self [us] | cumulative | imported package",
            "import time:       100 |        100 |   lark.tree",
            "import time:        30 |        130 | lark",
            "warning: | | lark",
            "import time:         7 |          7 |     cosim",
        ]
    )

    assert cold.import_costs(listed) == {"lark": 130, "cosim": 7}


def test_the_report_describes_the_machine_and_every_measurement(capsys: pytest.CaptureFixture[str]) -> None:
    report = document(capsys, "warm", "costs")

    assert {"cpu", "cpus", "memory_mib", "system", "python", "unicorn", "load"} == report["machine"].keys()
    assert report["machine"]["cpus"] == os.cpu_count()
    measured = [m for m in report["measurements"] if m["section"] != "aims"]
    assert {m["section"] for m in measured} == {"warm boots", "costs"}
    assert [m["unit"] for m in measured] == ["boots/s"] * 2 + ["us"] * 8 + ["ms"] * 2
    assert all(m["value"] > 0 for m in report["measurements"])
    assert report["skipped"] == []


def test_every_rate_of_the_engine_is_compared_with_bare_unicorn_in_turns_and_in_long_runs() -> None:
    found = {f.name: f for f in rates.measure_rates(TINY) if isinstance(f, Measurement)}

    loops = ("native", "python") if library_path() else ("python",)
    for who in ("A7 alone", "M4 alone", "both in turns"):
        in_turns = found[f"{who}, quantum 1,000: bare Unicorn, same quantum"]
        for loop in loops:
            rate = found[f"{who}, quantum 1,000: {loop} loop"]
            assert [ratio.yardstick for ratio in rate.ratios] == [
                "bare Unicorn, same quantum",
                "bare Unicorn, long runs",
            ]
            assert rate.ratios[0].value == pytest.approx(rate.value / in_turns.value)
    alone, long_run = found["M4 alone, quantum 1,000: python loop"], found["M4 alone: bare Unicorn, long runs"]
    assert alone.ratios[1].value == pytest.approx(alone.value / long_run.value)


def test_aims_are_judged_by_what_was_measured_in_the_same_run_and_only_by_that() -> None:
    aims = (
        Aim("rate", "a", "fast", 2.0, "1/s"),
        Aim("price", "a", "slow", 0.5, "s", most=True),
        Aim("ratio", "a", "fast", 0.9, "", ratio=True),
        Aim("per second", "a", "slow", 4.0, "1/s", converted=lambda value: 1 / value),
        Aim("absent", "a", "nothing of that name", 1.0, ""),
        Aim("not run", "b", "fast", 1.0, ""),
    )
    findings = [
        Measurement("a", "fast", 2.0, "1/s", "once", (Ratio(0.8, "something"),)),
        Measurement("a", "slow", 0.6, "s", "once"),
    ]

    rate, price, ratio, per_second, absent = judge(findings, aims)
    assert isinstance(rate, Measurement)
    assert isinstance(price, Measurement)
    assert isinstance(ratio, Measurement)
    assert isinstance(per_second, Measurement)
    assert (rate.value, rate.how) == (2.0, "at least 2: met")
    assert (price.value, price.how) == (0.6, "at most 0.5: missed")
    assert (ratio.value, ratio.how) == (0.8, "at least 0.9: missed")
    assert per_second.how == "at least 4: missed"
    assert isinstance(absent, Skipped)
    assert absent.name == "absent"


def test_every_aim_but_that_of_cycles_and_renode_names_a_measurement_that_exists(
    capsys: pytest.CaptureFixture[str],
) -> None:
    report = document(capsys, "cold", "warm", "ticks", "rpmsg", "costs")

    assert [m["name"] for m in report["skipped"] if m["section"] == "aims"] == []
    assert {m["name"] for m in report["measurements"] if m["section"] == "aims"} == {
        aim.what for aim in AIMS if aim.section in {"cold boot", "warm boots", "ticks", "RPMsg", "costs"}
    }


def test_ticks_interrupt_the_program_as_often_as_they_say_and_no_tick_does_not() -> None:
    soc, taken = TickingSoc(), {}
    for ticks in (0, 100_000, 0):
        soc.begin(ticks)
        assert soc.run(209_000) > 0
        taken[ticks] = max((r.count for r in soc.log.of(InterruptTaken) if r.exception == "SysTick"), default=0)
    assert taken[0] == 0
    assert 32 <= taken[100_000] <= 101


def test_firmware_that_answers_nothing_is_not_timed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(rpmsg, "ECHO", "demo_m4.elf")

    assert run(["--quick", "rpmsg"]) == 1
    assert capsys.readouterr().err.startswith("error: ")


def test_a_loop_that_is_not_built_is_named_as_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "library_path", lambda: None)

    found = list(rates.measure_rates(TINY))

    assert [f.name for f in found if isinstance(f, Skipped)] == ["native loop"]
    assert not any("native" in f.name for f in found if isinstance(f, Measurement))


def test_the_engine_and_bare_unicorn_do_the_same_work_for_the_same_number_of_instructions() -> None:
    program = read_program(A7_SPIN)
    soc, bare = ComputingSoc((A7,)), BareCore(program, thumb=False)

    soc.run(50_000)
    bare.run(soc.retired(A7))

    assert soc.retired(A7) >= 50_000
    assert bare.rounds == soc.read(A7, program.counter) > 10


def test_a_single_core_computes_alone_and_two_compute_together() -> None:
    for active in ((A7,), (M4,), (A7, M4)):
        soc = ComputingSoc(active)
        before = {core: soc.retired(core) for core in (A7, M4)}
        soc.run(20_000)
        assert {core for core in (A7, M4) if soc.retired(core) > before[core]} == set(active)


def test_cores_that_do_not_run_are_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Forger:
        def sign(self, elf: bytes) -> bytes:
            return flip(default_signer().sign(elf), 0x700)

    monkeypatch.setattr(computing, "default_signer", Forger)

    with pytest.raises(EngineError, match="M4 to run"):
        ComputingSoc((M4,))


def test_a_loop_that_does_not_end_is_an_error() -> None:
    endless = (0xEAFFFFFE).to_bytes(4, "little")  # b .

    with pytest.raises(EngineError, match="does not end"):
        costs.run_loop(Soc(), endless)


def test_bare_unicorn_runs_the_m4_program_too() -> None:
    bare = BareCore(read_program(M4_SPIN), thumb=True)

    bare.run(50_000)

    assert bare.rounds > 10


def test_a_boot_that_is_refused_is_not_timed() -> None:
    broken = flip(demo_image(), 0x700)
    soc = Soc()

    with pytest.raises(EngineError, match="not accepted"):
        boot_whole(broken)
    with pytest.raises(EngineError, match="not accepted"):
        boot_from(soc, soc.snapshot(), broken)


def test_boots_from_a_snapshot_can_be_repeated() -> None:
    soc, image = Soc(), demo_image()
    snapshot = soc.snapshot()

    boot_from(soc, snapshot, image)
    first = [record.as_json() for record in soc.log]
    boot_from(soc, snapshot, image)

    assert [record.as_json() for record in soc.log] == first


def test_accesses_that_are_not_answered_as_the_benchmark_says_are_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    # Reads of secure DDR are denied and reported; a benchmark that expects no event must notice.
    wrong = costs.Case("harmless read", lambda times: read_loop(costs.SECURE_RAM, times))
    monkeypatch.setattr(costs, "CASES", (wrong,))

    with pytest.raises(EngineError, match="harmless read"):
        list(costs.measure_costs(TINY))


def test_a_process_that_fails_is_an_error_and_not_a_fast_boot() -> None:
    with pytest.raises(EngineError, match="code 3"):
        cold.run_process(["-c", "raise SystemExit(3)"], os.environ)


def test_a_process_is_accounted_with_time_memory_and_output() -> None:
    taken, output = cold.run_process(["-c", "print('done')"], os.environ)

    assert output == "done\n"
    assert taken.wall > 0
    assert taken.peak > 1 << 20


def test_the_table_is_plain_text_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--quick", "costs"]) == 0
    text = capsys.readouterr().out

    assert "\x1b" not in text
    assert [line for line in text.splitlines() if line != line.rstrip()] == []
    assert any("A7 smc #0" in line and " us " in line for line in text.splitlines())


def test_an_unknown_section_is_refused_with_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        run(["warmth"])

    assert refused.value.code == 2
    assert ", ".join(SECTIONS) in capsys.readouterr().err


def test_an_error_of_the_project_is_one_line_and_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_sizes: object) -> None:
        raise EngineError("nothing runs here", hint="take another machine")

    monkeypatch.setattr(costs, "measure_costs", fail)

    assert run(["costs"]) == 1
    assert capsys.readouterr().err == "error: nothing runs here (take another machine)\n"


def test_a_missing_renode_is_skipped_by_name_and_reason(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing() -> None:
        raise EngineError("the engine renode is not available: it is not there", hint="install it")

    monkeypatch.setattr(renode, "find_renode", missing)

    (skipped,) = document(capsys, "renode")["skipped"]
    assert skipped["section"] == "embedded engine and Renode"
    assert skipped["reason"] == "the engine renode is not available: it is not there; install it"
