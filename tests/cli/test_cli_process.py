"""The command as a process: entry point, closed pipes, colours, light start."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cosim.cli import run
from cosim.resources import firmware_file

ROOT = Path(__file__).resolve().parents[2]
COSIM = [sys.executable, "-m", "cosim.cli"]


def environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
    return {**kept, "PYTHONPATH": str(ROOT), "TERM": "xterm", **more}


def on_terminal(*arguments: str, **more: str) -> str:
    """What the command writes when stdout and stderr are a terminal."""
    master, slave = pty.openpty()
    with subprocess.Popen([*COSIM, *arguments], stdout=slave, stderr=slave, env=environment(**more)) as process:
        os.close(slave)
        shown = bytearray()
        while True:
            try:
                piece = os.read(master, 65536)
            except OSError:  # Linux reports the end of a terminal as an I/O error
                break
            if not piece:
                break
            shown += piece
        process.wait()
    os.close(master)
    return shown.decode()


def test_help_loads_neither_the_simulator_nor_cryptography() -> None:
    code = (
        "import sys\nfrom cosim.cli import run\nrun(['--help'])\n"
        "heavy = {'unicorn', 'cryptography', 'lark', 'construct', 'elftools', 'cosim.soc'} & set(sys.modules)\n"
        "sys.exit(repr(heavy) if heavy else 0)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stderr) == (0, "")
    for command in ("keygen", "sign", "inspect", "boot", "doctor"):
        assert f"\n  {command} " in result.stdout


def test_a_reader_that_goes_away_ends_the_command_quietly() -> None:
    command = [*COSIM, "inspect", str(firmware_file("demo_m4.elf"))]
    read_end, write_end = os.pipe()
    os.close(read_end)
    with os.fdopen(write_end, "wb") as stdout:
        result = subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, env=environment(), check=False)
    assert (result.returncode, result.stderr) == (141, b"")


def test_a_terminal_gets_colours_unless_no_color_is_set() -> None:
    assert "\x1b[" in on_terminal("doctor")
    assert "\x1b[" not in on_terminal("doctor", NO_COLOR="1")
    assert "\x1b[" not in on_terminal("doctor", TERM="dumb")


def test_an_interrupt_while_the_cores_run_ends_with_130_what_was_reached_and_whole_lines_of_events(
    tmp_path: Path,
) -> None:
    events = tmp_path / "events.jsonl"
    command = [*COSIM, "boot", str(firmware_file("spin_m4.elf")), "--events", str(events)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(), text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        next(line for line in process.stderr if "m4 executes its first instruction" in line)
        process.send_signal(signal.SIGINT)
        rest, out = process.stderr.read(), process.stdout.read()
    assert process.returncode == 130
    assert "the run was ended: the run was interrupted" in out
    assert "why: the M4 runs, and did not report" in out
    assert rest.splitlines()[-1] == "interrupted"
    assert "Traceback" not in rest
    assert json.loads(events.read_text().splitlines()[-1])["sequence"] > 0
    assert [path.name for path in tmp_path.iterdir()] == ["events.jsonl"]


def test_a_closed_log_does_not_stop_a_boot() -> None:
    command = [*COSIM, "boot", str(firmware_file("demo_m4.elf")), "--json"]
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment(), check=False)
    assert result.returncode == 0


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["boot"], ["sign"], ["keygen", "rsa1024", "--out", "x"], ["--bad"]]
)
def test_bad_usage_is_exit_code_2_with_a_usage_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("Usage: cosim")
