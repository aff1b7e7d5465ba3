"""`cosim boot --uart-input`: text with escapes, files, what arrived, and what cannot be typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cosim.cli import run
from cosim.resources import firmware_file
from cosim.uart_input import MOST_UART_INPUT

ECHO, DEMO = firmware_file("uart_echo.elf"), firmware_file("demo_m4.elf")


def boot(given: str, *options: str) -> int:
    return run(["boot", str(ECHO), "--uart-input", given, "--run", "2", *options])


def test_typed_text_reaches_the_firmware_and_is_in_the_timeline(capsys: pytest.CaptureFixture[str]) -> None:
    assert boot(r"tab\tA\x42\x5c\\ü\n") == 0
    _, err = capsys.readouterr()
    assert r"usart3< tab\tAB\\\\\xc3\xbc\n" in err
    assert r"usart3| echo: tab\tAB\\\xc3\xbc" in err


def test_a_file_is_typed_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "keys.bin"
    file.write_bytes(b"a\\nb\n@\n")
    assert boot(f"@{file}", "--json") == 0
    out, _ = capsys.readouterr()
    assert json.loads(out)["uart_input"] == {"port": "usart3", "bytes": 7, "arrived": 7}


def test_what_did_not_arrive_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert boot("x" * 100) == 0
    assert "of 100 bytes of --uart-input arrived at usart3: let the firmware run longer" in capsys.readouterr().err
    assert run(["boot", str(DEMO), "--uart-input", "x"]) == 0
    assert "nothing of --uart-input arrived: the M4 switched no receiver on" in capsys.readouterr().err


@pytest.mark.parametrize("given", [r"a\q", r"\x4", r"\xg0", "end\\", "@/no/such/file", "@/", "@/dev/zero"])
def test_what_cannot_be_typed_is_one_error_line_and_exit_code_2(given: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert boot(given) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("error: ")


def test_a_file_of_a_mebibyte_is_the_most(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "large"
    file.write_bytes(bytes(MOST_UART_INPUT + 1))
    assert boot(f"@{file}") == 2
    assert f"more than {MOST_UART_INPUT} bytes" in capsys.readouterr().err
    file.write_bytes(bytes(MOST_UART_INPUT))
    assert boot(f"@{file}") == 0
