"""What the commands do when firmware crashes: the kernel's coredump, and one recovery."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from cosim.cli import run
from cosim.resources import firmware_file

ECHO, LOCKUP = str(firmware_file("rpmsg_echo.elf")), str(firmware_file("probe_lockup.elf"))
CRASH = ["rpmsg", ECHO, "--send", "!crash", "--wait", "1", "--json"]


def segments(path: Path) -> dict[int, bytes]:
    with path.open("rb") as stream:
        core = ELFFile(stream)
        assert core["e_type"] == "ET_CORE"
        return {s["p_paddr"]: s.data() for s in core.iter_segments()}


def test_crashed_firmware_is_recovered_once_and_announces_its_channels_again(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(CRASH) == 1
    report = json.loads(capsys.readouterr().out)
    assert "TAMP BKP19R" in report["crash"]
    assert report["recovery"] == {"channels": 2, "crash": None}
    assert report["coredump_bytes"] is None
    assert report["causes"][0]["code"] == "fault"


def test_without_recovery_it_stays_crashed_and_is_not_dumped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dump = tmp_path / "core"
    assert run([*CRASH, "--no-recovery", "--coredump", str(dump)]) == 1
    out, err = capsys.readouterr()
    assert "recovery" not in json.loads(out)
    assert "no coredump" in err
    assert not dump.exists()


def test_rpmsg_writes_the_dump_that_the_kernel_takes_before_it_starts_the_firmware_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dump = tmp_path / "core"
    assert run([*CRASH, "--coredump", str(dump), "--profile", "upstream", "--firewall", "open"]) == 1
    assert json.loads(capsys.readouterr().out)["coredump_bytes"] == dump.stat().st_size
    assert b"rpmsg: crash asked for" in b"".join(segments(dump).values())


def test_boot_writes_the_dump_behind_stop_with_what_linux_may_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dump = tmp_path / "core"
    run(["boot", LOCKUP, "--coredump", str(dump), "--profile", "upstream", "--firewall", "open"])
    assert "coredump" in capsys.readouterr().err
    with Path(LOCKUP).open("rb") as stream:
        code = next(s.data() for s in ELFFile(stream).iter_segments() if s["p_paddr"] == 0x10000000)
    assert segments(dump)[0x10000000].startswith(code)
    run(["boot", LOCKUP, "--coredump", str(dump), "--profile", "upstream", "--firewall", "isolated"])
    assert not any(segments(dump)[0x10000000])


def test_boot_of_firmware_that_does_not_crash_writes_no_dump(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dump = tmp_path / "core"
    assert run(["boot", str(firmware_file("demo_m4.elf")), "--coredump", str(dump)]) == 0
    assert "no coredump: the M4 had not crashed" in capsys.readouterr().err
    assert not dump.exists()


def test_a_dump_that_cannot_be_written_is_said_before_anything_runs(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["boot", LOCKUP, "--coredump", "/nowhere/core"]) == 2
    assert "cannot write it" in capsys.readouterr().err.splitlines()[-1]


def test_no_channels_are_explained_by_the_table_that_linux_cannot_read(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["rpmsg", str(firmware_file("demo_m4_cube.elf")), "--wait", "1"]) == 1
    out = capsys.readouterr().out
    assert "channels: none, 1 ms after the start" in out
    assert "[table-run-address]" in out
