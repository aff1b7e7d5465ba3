"""The trace of instructions tells all that the M4 executed, in order, and changes nothing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from test_breakpoints import LOOPS, stops, untouched

from cosim import instruction_trace
from cosim.boot import attempt
from cosim.cli import run
from cosim.engine import debuggable
from cosim.engine.unicorn.native import library_path
from cosim.errors import EngineError
from cosim.instruction_trace import BlockTrace, InstructionTrace
from cosim.resources import firmware_file
from cosim.soc import Soc, SocConfig
from cosim.symbols import Symbols
from cosim.testing import default_signer
from ta.image_elf import read_elf

LINE = re.compile(r" *(\d+\.\d{3}) +(\d+)  ([0-9a-f]{8})  ([0-9a-f]{4}(?: [0-9a-f]{4})?) +(\S.*)\n")
Executed = list[tuple[int, int]]


def traced(name: str, config: SocConfig) -> tuple[list[str], list[str]]:
    """The lines of the trace, and the event log."""
    soc, elf = Soc(config), firmware_file(name).read_bytes()
    trace = InstructionTrace(debuggable(soc.engine).debug_core("m4"), Symbols([read_elf(elf)]))
    attempt(soc, default_signer().sign(elf))
    trace.close()
    return list(trace.lines()), [record.as_json() for record in soc.log]


@pytest.mark.parametrize(("quantum", "timing"), [(1, "instructions"), (1000, "cycles"), (1000, "instructions")])
@pytest.mark.parametrize("loop", LOOPS)
def test_the_trace_is_what_a_debugger_that_stops_everywhere_sees(loop: str, quantum: int, timing: str) -> None:
    if loop == "python" and (quantum, timing) != (1000, "instructions"):
        pytest.skip("takes minutes on the Python loop")
    config = SocConfig(loop=loop, quantum=quantum, timing=timing)
    lines, log = traced("probe_it.elf", config)
    assert log == untouched("probe_it.elf", config)
    found = [LINE.fullmatch(line) for line in lines[1:]]
    assert None not in found
    seen, _ = stops("probe_it.elf", SocConfig(loop=loop), every=True)
    assert [(int(m[3], 16), int(m[2])) for m in found if m] == list(dict.fromkeys(seen))
    times = [float(m[1]) for m in found if m]
    assert times == sorted(times)


def test_faults_and_interrupts_are_in_the_trace_as_they_happened() -> None:
    lines, log = traced("probe_faults.elf", SocConfig())
    assert log == untouched("probe_faults.elf", SocConfig())
    assert [line for line in lines if "fault_entry" in line]
    assert [line for line in lines if " udf " in line or "?" in line]


def test_functions_code_and_instructions_are_named() -> None:
    lines, _ = traced("demo_m4.elf", SocConfig())
    assert re.fullmatch(r" +13\.518 +0  10000000  4810       ldr r0, \[pc, #0x40\] +Reset_Handler\n", lines[1])
    assert any(re.search(r"  f3bf 8f4f  dsb sy +Reset_Handler\+0x", line) for line in lines)


def test_only_the_last_instructions_are_kept_and_the_trace_says_how_many_are_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole, _ = traced("probe_it.elf", SocConfig())
    monkeypatch.setattr(instruction_trace, "MOST_LINES", 100)
    lines, _ = traced("probe_it.elf", SocConfig())
    assert lines[1] == f"({len(whole) - 101} instructions before these were left out)\n"
    assert lines[2:] == whole[-100:]


@pytest.mark.parametrize(("name", "command"), [("demo_m4.elf", ["boot"]), ("rpmsg_echo.elf", ["rpmsg", "--echo", "1"])])
def test_the_commands_write_it(
    name: str, command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    firmware, place = tmp_path / "fw.elf", tmp_path / "trace.txt"
    firmware.write_bytes(firmware_file(name).read_bytes())
    run([command[0], str(firmware), *command[1:], "--trace", str(place)])
    assert f"wrote {place}" in capsys.readouterr().err
    assert "Reset_Handler" in place.read_text().splitlines()[1]


def test_a_place_that_cannot_be_written_is_refused_before_the_core_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    firmware = tmp_path / "fw.elf"
    firmware.write_bytes(firmware_file("demo_m4.elf").read_bytes())
    assert run(["boot", str(firmware), "--trace", str(tmp_path / "none" / "t.txt")]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "leaves hold boot" not in err


BLOCK = re.compile(r" *(\d+\.\d{3}) +(\d+)  ([0-9a-f]{8})  ([0-9a-f]{8}) +(\d+) +(\d+)(?:  (\S+))?\n")


def blocks(name: str, config: SocConfig) -> tuple[list[str], list[str]]:
    soc, elf = Soc(config), firmware_file(name).read_bytes()
    trace = BlockTrace(debuggable(soc.engine).debug_core("m4"), Symbols([read_elf(elf)]))
    attempt(soc, default_signer().sign(elf))
    trace.close()
    return list(trace.lines()), [record.as_json() for record in soc.log]


def runs_of(instructions: list[str]) -> list[tuple[str, int, int, int, int, int]]:
    """The runs that these lines are, from scratch: time, retired, first and last address, instructions, times."""
    runs: list[tuple[str, int, int, int, int, int]] = []
    follows = -1
    for found in (LINE.fullmatch(line) for line in instructions[1:]):
        assert found
        address = int(found[3], 16)
        if address == follows:
            runs[-1] = (*runs[-1][:3], address, runs[-1][4] + 1, 1)
        else:
            if len(runs) > 1 and runs[-1][2:4] == runs[-2][2:4]:
                runs[-2] = (*runs[-2][:5], runs[-2][5] + 1)
                runs.pop()
            runs.append((found[1], int(found[2]), address, address, 1, 1))
        follows = address + len(found[4].replace(" ", "")) // 2
    return runs


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize(
    ("name", "timing"), [("probe_it.elf", "instructions"), ("mpu_m4.elf", "instructions"), ("mpu_m4.elf", "cycles")]
)
def test_blocks_are_the_instructions_between_two_changes_of_flow(loop: str, name: str, timing: str) -> None:
    if loop == "python" and timing == "cycles":
        pytest.skip("takes long on the Python loop")
    config = SocConfig(loop=loop, timing=timing)
    instructions, _ = traced(name, config)
    lines, log = blocks(name, config)
    found = [BLOCK.fullmatch(line) for line in lines[1:]]
    assert None not in found
    told = [(m[1], int(m[2]), int(m[3], 16), int(m[4], 16), int(m[5]), int(m[6])) for m in found if m]
    assert told == runs_of(instructions)
    assert (max(times for *_, times in told) > 1) == (name == "mpu_m4.elf")
    assert log == untouched(name, config)


def test_only_the_last_blocks_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, _ = blocks("probe_it.elf", SocConfig())
    for most in (1, 2, 30):
        monkeypatch.setattr(instruction_trace, "MOST_LINES", most)
        lines, _ = blocks("probe_it.elf", SocConfig())
        assert lines[-1] == whole[-1]
        assert len(lines) == most + 2
    assert lines[2:] == whole[-30:]


def test_the_loops_trace_the_same() -> None:
    if library_path() is None:
        pytest.skip("the native loop is not built")
    for timing in ("instructions", "cycles"):
        native = traced("probe_it.elf", SocConfig(loop="native", timing=timing))
        assert native == traced("probe_it.elf", SocConfig(loop="python", timing=timing))


@pytest.mark.parametrize("kind", ["instructions", "blocks"])
def test_the_application_core_is_traced_too(kind: str, tmp_path: Path) -> None:
    firmware, place = tmp_path / "fw.elf", tmp_path / "trace.txt"
    firmware.write_bytes(firmware_file("demo_m4.elf").read_bytes())
    assert run(["boot", str(firmware), "--trace", str(place), "--trace-kind", kind, "--trace-core", "a7"]) == 0
    text = place.read_text()
    assert " message_call" in text
    assert ("smc #0" in text) == (kind == "instructions")
    assert not re.search(r"  \?  ", text)


def test_a_trace_keeps_at_least_one_line() -> None:
    with pytest.raises(EngineError, match="at least one line"):
        debuggable(Soc().engine).debug_core("m4").trace_instructions(0)
