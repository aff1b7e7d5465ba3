"""`cosim serve` as a user runs it: what it announces, prints, writes and ends with."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from doubles import M4, MachineDouble, load_shim

from cosim.cli import run
from cosim.resources import firmware_file

ROOT = Path(__file__).resolve().parents[2]
DEMO = str(firmware_file("demo_m4.elf"))


class Process:
    """A running `cosim serve`, whose announcement was read."""

    def __init__(self, process: subprocess.Popen[str], token_file: Path) -> None:
        self.process = process
        self.announced = ""
        assert process.stderr is not None
        while "    start\n" not in self.announced:
            line = process.stderr.readline()
            assert line, self.announced
            self.announced += line
        found = re.search(r'\$cosim="(.+)"', self.announced)
        assert found is not None
        self.endpoint = found[1]
        self._token_file = token_file

    def connect_and_hang_up(self) -> None:
        module = load_shim()
        module.connect(self.endpoint, module.read_token(str(self._token_file)), "a quitter").close()

    def play_a_boot_that_only_switches_off(self) -> MachineDouble:
        shim, machine = self._begin()
        shim.smc([0x84000008, *[0] * 7])
        assert machine.errors == []
        return machine

    def play_a_boot_of(self, *, nanoseconds: int) -> MachineDouble:
        shim, machine = self._begin()
        machine.nanoseconds = nanoseconds
        shim.tick()
        return machine

    def play_a_boot_with_an_access_of_the_m4(self, address: int) -> None:
        shim, machine = self._begin()
        machine.core = M4
        shim.access(address, 4, None)

    def _begin(self) -> tuple[Any, MachineDouble]:
        module, machine = load_shim(), MachineDouble()
        stream = module.connect(self.endpoint, module.read_token(str(self._token_file)), "a double")
        shim = module.Shim(stream, machine)
        shim.begin()
        return shim, machine


@contextmanager
def serving(folder: Path, *options: str) -> Iterator[Process]:
    token_file = folder / "token"
    command = [sys.executable, "-m", "cosim.cli", "serve", DEMO, "--port", "0", "--token-file", str(token_file)]
    with subprocess.Popen(
        [*command, *options],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as process:  # fmt: skip
        try:
            yield Process(process, token_file)
        finally:
            process.kill()


def test_one_boot_is_served_and_judged_and_gives_the_exit_code(tmp_path: Path) -> None:
    events = tmp_path / "log.jsonl"
    with serving(tmp_path, "--events", str(events)) as served:
        machine = served.play_a_boot_that_only_switches_off()
        out, err = served.process.communicate(timeout=60)
        assert served.process.returncode == 1
    assert out.startswith("verdict: not started")
    assert "serving a double" in err
    assert "smc #0 PSCI_SYSTEM_OFF" in err
    assert machine.farewell is not None
    assert machine.farewell[0] == 1
    records = [json.loads(line) for line in events.read_text().splitlines()]
    assert records[-1]["event"] == "smc_returned"


def test_a_bound_ends_a_served_boot_with_code_1_and_tells_the_client(tmp_path: Path) -> None:
    with serving(tmp_path, "--timeout", "1") as served:
        machine = served.play_a_boot_of(nanoseconds=1_000_000)
        _, err = served.process.communicate(timeout=60)
        assert served.process.returncode == 1
    assert "--timeout" in err.splitlines()[-1]
    assert any("1000 were allowed" in line for line in machine.errors)


def test_it_says_what_to_type_into_renode(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        assert f'$token="{tmp_path / "token"}"' in served.announced
        script = re.search(r"include @(.+)", served.announced)
        assert script is not None
        assert Path(script[1]).is_file()


def test_a_client_that_is_lost_ends_it_with_code_2(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        served.connect_and_hang_up()
        out, err = served.process.communicate(timeout=60)
        assert served.process.returncode == 2
    assert out == ""
    assert err.splitlines()[-1].startswith("error: ")
    assert "lost a quitter" in err


def test_kept_it_serves_one_client_after_the_other_until_it_is_interrupted(tmp_path: Path) -> None:
    with serving(tmp_path, "--keep") as served:
        served.connect_and_hang_up()
        for _ in range(2):
            assert served.play_a_boot_that_only_switches_off().farewell is not None
        assert served.process.stdout is not None
        printed = ""
        while printed.count("verdict: not started") < 2:
            line = served.process.stdout.readline()
            assert line, printed
            printed += line
        served.process.send_signal(signal.SIGINT)
        _, err = served.process.communicate(timeout=60)
        assert served.process.returncode == 130
    assert "Traceback" not in err
    assert "lost a quitter" in err


@pytest.mark.parametrize(("options", "why"), [
    (["--address", "0.0.0.0"], "can be reached from other machines"),
    (["--address", "nonsense"], "no IP address"),
    (["--socket", "{folder}/there/is/none"], "cannot listen there"),
    (["--socket", "{folder}/" + "x" * 200], "cannot listen there"),
    (["--token-file", "{folder}"], "the token file"),
    (["--events", "{folder}/no/log"], "cannot write it"),
    (["--pubkey", "{folder}/no.pem"], "no.pem"),
])  # fmt: skip
def test_what_cannot_be_used_ends_in_one_line_and_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], why: str
) -> None:
    filled = [option.format(folder=tmp_path) for option in options]
    token = ["--token-file", str(tmp_path / "token")] if "--token-file" not in filled else []

    assert run(["serve", DEMO, "--port", "0", *token, *filled]) == 2
    err = capsys.readouterr().err.splitlines()
    assert err[-1].startswith("error: ")
    assert why in err[-1]


def test_a_strict_served_boot_ends_with_code_1_at_a_register_without_a_model(tmp_path: Path) -> None:
    with serving(tmp_path, "--strict") as served:
        served.play_a_boot_with_an_access_of_the_m4(0x40013000)  # I2C2 has no model
        _, err = served.process.communicate(timeout=60)
        assert served.process.returncode == 1
    assert "i2c2" in err.splitlines()[-1]
