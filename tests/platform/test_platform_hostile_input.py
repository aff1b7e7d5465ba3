"""Whatever bytes a description is made of, the answer is a machine or a typed refusal."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cosim.errors import PlatformError
from cosim.platform.model import Platform
from cosim.platform.reader import load_platform
from cosim.resources import platform_file

OWN_FILES = ["stm32mp157.repl", "stm32mp157-secure.repl", "stm32mp157c-dk2.repl"]

PIECES = [
    *("a", "b", "sysbus", "none", "empty", "new", "using", "init", "true", "CPU.CortexM", "Memory.MappedMemory"),
    *("Bus.BusPointRegistration", "address", "cpu", "size", '"./x.repl"', '"text"', "'''", '"', "0", "0x1000", "7"),
    *(":", ";", "@", "->", "-", "|", "#", "<", ">", "+", ",", "[", "]", "{", "}", "\n", "\n    ", "\n        "),
    *(" ", " // c", "/* c", "*/", "\t", "\\", "\x00", "é", "a: B\n", "b: C @ sysbus 0x1000\n    size: 0x1000\n"),
]

quick = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def read(path: Path, data: bytes) -> Platform | PlatformError:
    path.write_bytes(data)
    try:
        return load_platform(path)
    except PlatformError as refusal:
        error = refusal
    assert error.fields["file"]
    assert error.hint
    return error


@quick
@given(data=st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(tmp_path: Path, data: bytes) -> None:
    read(tmp_path / "x.repl", data)


@quick
@given(pieces=st.lists(st.sampled_from(PIECES), max_size=40))
def test_any_sequence_of_words_of_the_language_is_read_or_refused(tmp_path: Path, pieces: list[str]) -> None:
    read(tmp_path / "x.repl", "".join(pieces).encode())


@quick
@given(text=st.text(max_size=60), at=st.integers(0, 7000), drop=st.integers(0, 60))
def test_any_edit_of_our_own_file_is_read_or_refused(tmp_path: Path, text: str, at: int, drop: int) -> None:
    whole = platform_file("stm32mp157.repl").read_bytes()

    read(tmp_path / "x.repl", whole[:at] + text.encode("utf-8", "surrogatepass") + whole[at + drop :])


def code_of(name: str) -> bytes:
    """The file without the comment at its head, whose truncations all say nothing."""
    lines = platform_file(name).read_bytes().splitlines(keepends=True)
    first = next(number for number, line in enumerate(lines) if line.strip() and not line.startswith(b"//"))
    return b"".join(lines[first:])


@pytest.mark.parametrize("name", OWN_FILES)
def test_every_truncation_of_our_own_files_is_read_or_refused(tmp_path: Path, name: str) -> None:
    for other in OWN_FILES:
        shutil.copy(platform_file(other), tmp_path / other)
    code = code_of(name)

    outcomes = {type(read(tmp_path / name, code[:length])) for length in range(len(code))}

    assert outcomes == {Platform, PlatformError}
