"""`cosim rpmsg` with a user at its other end: lines from a pipe and from a terminal, endpoints, Ctrl-C."""

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
ECHO = str(firmware_file("rpmsg_echo.elf"))
COSIM = [sys.executable, "-m", "cosim.cli", "rpmsg", ECHO]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1"}


def piped(text: bytes, *options: str) -> subprocess.CompletedProcess[bytes]:
    command = [*COSIM, "--interactive", *options]
    return subprocess.run(command, input=text, capture_output=True, env=ENVIRONMENT, check=False)


def test_each_line_of_a_pipe_is_sent_and_its_answer_shown_until_the_pipe_ends() -> None:
    result = piped(b"hello\n\nworld")
    lines = result.stdout.decode().splitlines()
    assert lines[:2] == ["rpmsg-client-sample: hello", "rpmsg-client-sample: world"]
    assert result.returncode == 0


def test_lines_that_cannot_be_sent_and_control_characters_do_no_harm() -> None:
    result = piped(b"x" * 5000 + b"\n\x1b[31mred\xff\nstill here\n", "--channel", "rpmsg-tty")
    out = result.stdout.decode()
    assert "message is too big" in result.stderr.decode()
    assert "rpmsg-tty: \\x1b[31mred\\xff" in out
    assert "rpmsg-tty: still here" in out
    assert "\x1b" not in out


def test_a_crash_ends_the_conversation_and_the_run_fails() -> None:
    result = piped(b"!crash\nnever sent\n", "--wait", "1")
    assert result.returncode == 1
    assert b"the firmware crashed" in result.stderr
    assert b"never sent" not in result.stdout


def terminal(keys: bytes, *, interrupt: bool = False) -> tuple[str, int]:
    """What the command shows on a terminal whose user types `keys` at the prompt, and its exit code."""
    master, slave = pty.openpty()
    with subprocess.Popen(COSIM, stdin=slave, stdout=slave, stderr=slave, env=ENVIRONMENT) as process:
        os.close(slave)
        shown, typed = bytearray(), False
        while True:
            try:
                piece = os.read(master, 65536)
            except OSError:  # Linux reports the end of a terminal as an I/O error
                break
            shown += piece
            if not typed and b"> " in shown:
                typed = True
                os.write(master, keys)
                if interrupt:
                    process.send_signal(signal.SIGINT)
        code = process.wait()
    os.close(master)
    return shown.decode(), code


def test_on_a_terminal_it_is_interactive_by_itself_and_ctrl_d_ends_it() -> None:
    shown, code = terminal(b"ping\n\x04")
    assert "channel rpmsg-client-sample" in shown
    assert "rpmsg-client-sample: ping" in shown
    assert code == 0


def test_ctrl_c_at_the_prompt_ends_it_cleanly_with_its_report() -> None:
    shown, code = terminal(b"", interrupt=True)
    assert "channels: 2" in shown
    assert "Traceback" not in shown
    assert code == 0


def test_an_endpoint_picks_the_channel_and_a_missing_one_names_what_there_is(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["rpmsg", ECHO, "--endpoint", "0x401", "--send", "hi", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["used"] == "rpmsg-tty"
    assert run(["rpmsg", ECHO, "--channel", "nope"]) == 1
    assert "It announced rpmsg-client-sample at 0x400, rpmsg-tty at 0x401." in capsys.readouterr().err
    assert run(["rpmsg", ECHO, "--endpoint", "-1"]) == 2


def test_the_measurement_has_size_spread_and_rates(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["rpmsg", ECHO, "--echo", "5", "--size", "100", "--json"]) == 0
    echo = json.loads(capsys.readouterr().out)["echo"]
    assert (echo["echoed"], echo["wrong"], echo["message_bytes"]) == (5, 0, 100)
    assert echo["time_ps"]["least"] <= echo["time_ps"]["median"] <= echo["time_ps"]["most"]
    assert echo["bytes_per_second"] == pytest.approx(200 * echo["messages_per_second"], rel=0.01)
