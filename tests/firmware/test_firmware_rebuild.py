"""The prebuilt programs are what the sources give."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest
from firmware_files import FIRMWARE, PREBUILT, PROBES, PROGRAMS

COMPILER = "arm-none-eabi-gcc"


def compiler_version() -> str:
    if shutil.which(COMPILER) is None:
        pytest.skip(f"{COMPILER} is not installed")
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    result = subprocess.run([COMPILER, "-dumpfullversion"], capture_output=True, text=True, check=True)
    return result.stdout.strip()


def copy_sources(target: Path) -> Path:
    for name in ("Makefile", "a7", "m4", "include", "prebuilt"):
        source = FIRMWARE / name
        if source.is_dir():
            shutil.copytree(source, target / name)
        else:
            shutil.copy(source, target / name)
    return target


def make_check(place: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["make", "-s", "-C", str(place), "check"], capture_output=True, text=True, check=False)


def test_the_committed_checksums_are_those_of_the_committed_programs() -> None:
    lines = (PREBUILT / "SHA256SUMS").read_text().splitlines()
    listed = {name: digest for digest, name in (line.split() for line in lines)}
    assert listed == {
        f"{name}.elf": hashlib.sha256((PREBUILT / f"{name}.elf").read_bytes()).hexdigest() for name in PROGRAMS + PROBES
    }


def test_a_rebuild_in_another_directory_gives_the_prebuilt_programs_byte_for_byte(tmp_path: Path) -> None:
    version, expected = compiler_version(), (PREBUILT / "TOOLCHAIN").read_text().strip()
    if version != expected:
        pytest.skip(f"prebuilt/ was made by GCC {expected}, {COMPILER} here is {version}")
    result = make_check(copy_sources(tmp_path))
    assert result.returncode == 0, result.stdout + result.stderr


def test_check_refuses_a_prebuilt_program_that_differs_in_one_byte(tmp_path: Path) -> None:
    compiler_version()
    place = copy_sources(tmp_path)
    victim = place / "prebuilt" / "spin_m4.elf"
    data = bytearray(victim.read_bytes())
    data[-1] ^= 1
    victim.write_bytes(data)
    assert make_check(place).returncode != 0
