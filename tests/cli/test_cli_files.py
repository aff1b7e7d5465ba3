"""keygen, sign, inspect and doctor: good runs, and every way a file can be unusable."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from cosim.cli import run
from cosim.cli._output import write_atomically
from cosim.errors import UsageError
from cosim.resources import firmware_file, key_file

DEMO = firmware_file("demo_m4.elf")
SECOND = firmware_file("demo_m4_notable.elf")
KEY = key_file("test-rsa4096.pem")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def one_error_line(capsys: pytest.CaptureFixture[str]) -> str:
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    return err


@pytest.mark.parametrize("kind", ["rsa2048", "ecdsa-p256"])
def test_a_fresh_key_signs_an_image_that_inspect_finds_clean(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key, image = tmp_path / "key.pem", tmp_path / "FW.sign"
    assert run(["keygen", kind, "--out", str(key)]) == 0
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert run(["sign", str(DEMO), "--key", str(key), "--out", str(image)]) == 0
    assert capsys.readouterr().out == ""
    assert run(["inspect", str(image), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["kind"] == "signed-image"


def test_keygen_never_overwrites(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = tmp_path / "key.pem"
    key.write_text("precious")
    assert run(["keygen", "ecdsa-p256", "--out", str(key)]) == 2
    assert "exists already" in one_error_line(capsys)
    assert key.read_text() == "precious"


def test_several_elf_files_make_one_image(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = tmp_path / "FW.sign"
    assert run(["sign", str(DEMO), str(SECOND), "--key", str(KEY), "--out", str(image)]) == 0
    run(["inspect", str(image), "--json"])
    assert len(json.loads(capsys.readouterr().out)["images"]) == 2


def test_a_file_that_cannot_be_signed_is_named_and_leaves_the_old_output_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad, image = tmp_path / "bad.elf", tmp_path / "FW.sign"
    bad.write_bytes(DEMO.read_bytes()[:100])
    image.write_bytes(b"old")
    assert run(["sign", str(DEMO), str(bad), "--key", str(KEY), "--out", str(image)]) == 2
    assert str(bad) in one_error_line(capsys)
    assert image.read_bytes() == b"old"
    assert names(tmp_path) == ["FW.sign", "bad.elf"]


def test_sign_does_not_replace_its_own_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    elf = tmp_path / "fw.elf"
    elf.write_bytes(DEMO.read_bytes())
    assert run(["sign", str(elf), "--key", str(KEY), "--out", str(elf)]) == 2
    assert "would replace an input" in one_error_line(capsys)
    assert elf.read_bytes() == DEMO.read_bytes()


def test_a_key_that_is_no_key_is_one_clear_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = tmp_path / "key.pem"
    key.write_text("-----BEGIN PRIVATE KEY-----\nnonsense\n-----END PRIVATE KEY-----\n")
    assert run(["sign", str(DEMO), "--key", str(key), "--out", str(tmp_path / "o")]) == 2
    assert one_error_line(capsys).startswith(f"error: {key}: ")
    assert names(tmp_path) == ["key.pem"]


@pytest.mark.parametrize("command", ["inspect", "boot"])
@pytest.mark.parametrize("what", ["missing", "folder", "empty", "endless"])
def test_what_cannot_be_read_is_one_clear_line_with_the_file(
    command: str, what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty").touch()
    (tmp_path / "endless").symlink_to("/dev/zero")
    path = tmp_path / what
    assert run([command, str(path)]) == 2
    line = one_error_line(capsys)
    assert line.startswith(f"error: {path}: ")
    assert line.endswith(".)\n")


@pytest.mark.parametrize("name", ["new\nline", "esc\x1b[2J"])
def test_a_hostile_file_name_cannot_drive_the_terminal(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["inspect", str(tmp_path / name)]) == 2
    assert "\x1b" not in one_error_line(capsys)


def test_inspect_tells_elf_signed_image_and_garbage_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    garbage = tmp_path / "garbage"
    garbage.write_bytes(b"\x00garbage" * 9)
    assert run(["inspect", str(DEMO)]) == 0
    out = capsys.readouterr().out
    assert "ELF file, not signed" in out
    assert "resource table: 140 bytes, reported at 0x10048000" in out
    assert run(["inspect", str(garbage)]) == 2
    assert "neither an ELF file nor a signed image" in capsys.readouterr().out


def test_inspect_returns_1_when_it_finds_errors(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["inspect", str(firmware_file("demo_m4_lma.elf"))]) == 1
    assert "[table-run-address]" in capsys.readouterr().out


def test_every_truncation_of_a_signed_image_can_be_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = tmp_path / "FW.sign"
    assert run(["sign", str(DEMO), "--key", str(KEY), "--out", str(image)]) == 0
    data = image.read_bytes()
    for size in (*range(1, 24), *range(24, len(data), 97)):
        image.write_bytes(data[:size])
        assert run(["inspect", str(image)]) in (1, 2)
    capsys.readouterr()


def test_doctor_says_that_a_boot_is_possible_here(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor", "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    checks = {check["name"]: check for check in value["checks"]}
    assert value["healthy"]
    assert checks["unicorn"]["present"]
    assert not checks["renode"]["required"]
    assert checks["renode"]["detail"].startswith(
        ("build", "installed", "package", "portable", "the engine renode is not")
    )
    assert run(["doctor"]) == 0
    assert checks["renode"]["detail"] in capsys.readouterr().out


def test_doctor_returns_1_when_a_required_part_is_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("cosim.resources._PACKAGE", tmp_path / "cosim")
    assert run(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "MISSING" in out
    assert "not ready" in out


@pytest.mark.parametrize("failure", [KeyboardInterrupt, RuntimeError, OSError])
def test_an_output_that_fails_halfway_leaves_the_old_file_and_nothing_else(
    failure: type[BaseException], tmp_path: Path
) -> None:
    def chunks() -> Iterator[bytes]:
        yield b"half"
        raise failure

    (tmp_path / "out").write_bytes(b"old")
    with pytest.raises(UsageError if failure is OSError else failure):
        write_atomically(tmp_path / "out", chunks())
    assert names(tmp_path) == ["out"]
    assert (tmp_path / "out").read_bytes() == b"old"


def test_a_folder_cannot_be_an_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["sign", str(DEMO), "--key", str(KEY), "--out", str(tmp_path)]) == 2
    assert "is a directory" in one_error_line(capsys)
    with pytest.raises(UsageError, match="irectory"):
        write_atomically(tmp_path, [b"data"])


def test_outputs_get_the_usual_rights_of_a_new_file(tmp_path: Path) -> None:
    mask = os.umask(0o027)
    try:
        run(["sign", str(DEMO), "--key", str(KEY), "--out", str(tmp_path / "FW.sign")])
    finally:
        os.umask(mask)
    assert stat.S_IMODE((tmp_path / "FW.sign").stat().st_mode) == 0o640


def test_an_output_that_is_a_link_changes_the_file_behind_it(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to("real")
    assert run(["sign", str(DEMO), "--key", str(KEY), "--out", str(tmp_path / "link")]) == 0
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes()[:4] == b"\x68\xa4\x43\x35"
