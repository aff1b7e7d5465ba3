"""`cosim boot` as a user runs it: verdicts, exit codes, streams, event files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cosim.cli import run
from cosim.resources import firmware_file, key_file
from cosim.testing import default_signer, flip
from ta.keys import generate, write_key

DEMO = firmware_file("demo_m4.elf")


@pytest.fixture(scope="module")
def image() -> bytes:
    return default_signer().sign(DEMO)


@pytest.fixture
def image_file(tmp_path: Path, image: bytes) -> Path:
    path = tmp_path / "FW.sign"
    path.write_bytes(image)
    return path


def test_a_signed_image_boots_with_exit_code_0(image_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["boot", str(image_file)]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("verdict: booted")
    assert out.count("held  ") == 5
    for part in (
        "smc #0",
        "check signature: ok",
        "segment 1 at 0x10000000",
        "m4 executes its first",
        "usart3| m4: ready",
    ):
        assert part in err
    assert "TRACE 'm4_trace'" in out
    assert "\x1b" not in out + err


def test_a_plain_elf_file_is_signed_with_the_test_key_and_the_user_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["boot", str(DEMO), "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["outcome"] == "booted"
    assert err.strip() == f"{DEMO} is not signed: signing it with the project's test key (for tests only)"


def test_one_flipped_byte_is_refused_with_result_reason_segment_and_no_instruction(
    tmp_path: Path, image: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.sign"
    path.write_bytes(flip(image, 0x500))
    assert run(["boot", str(path)]) == 1
    out, err = capsys.readouterr()
    assert "refused: LOAD_FW -> TEE_ERROR_SECURITY (0xffff000f): segment" in out
    assert "M4 instructions: 0" in out
    assert "loaded sha256" in out
    assert "cosim inspect" in err


@pytest.mark.parametrize("cut", [1, 19, 20, 300, 870, 3000])
def test_a_truncated_image_is_refused(tmp_path: Path, image: bytes, cut: int) -> None:
    path = tmp_path / "cut.sign"
    path.write_bytes(image[:cut])
    assert run(["boot", str(path), "--json"]) == 1


def test_json_holds_settings_monitors_and_the_decoded_table(
    image_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["boot", str(image_file), "--json", "--firewall", "open", "--profile", "upstream"]) == 0
    out, err = capsys.readouterr()
    value = json.loads(out)
    assert (value["firewall"], value["profile"], value["deny"]) == ("open", "upstream", "razwi")
    assert [m["held"] for m in value["monitors"]] == [True] * 5
    assert [e["type_name"] for e in value["resource_table_entries"]] == ["VDEV", "TRACE"]
    assert value["m4_instructions"] > 1000
    assert err == ""


def test_pubkey_decides_whose_signature_counts(tmp_path: Path, image_file: Path) -> None:
    own = tmp_path / "own.pem"
    write_key(own, generate("rsa2048"))
    assert run(["boot", str(image_file), "--pubkey", str(own), "--json"]) == 1
    assert run(["boot", str(image_file), "--pubkey", str(key_file("test-rsa4096.pem")), "--json"]) == 0


def test_a_broken_monitor_makes_exit_code_1_although_the_image_booted(capsys: pytest.CaptureFixture[str]) -> None:
    code = run(["boot", str(firmware_file("demo_m4_lma.elf")), "--json", "--profile", "upstream"])
    value = json.loads(capsys.readouterr().out)
    assert (code, value["outcome"], value["monitors_held"]) == (1, "booted", False)


def test_events_are_json_lines_and_the_same_in_every_run(tmp_path: Path, image_file: Path) -> None:
    files = [tmp_path / "one.jsonl", tmp_path / "two.jsonl"]
    for file in files:
        assert run(["boot", str(image_file), "--json", "--events", str(file)]) == 0
    records = [json.loads(line) for line in files[0].read_text().splitlines()]
    assert [record["sequence"] for record in records] == list(range(len(records)))
    assert {"smc_entered", "first_instruction", "firewall_changed"} <= {record["event"] for record in records}
    assert files[0].read_bytes() == files[1].read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["FW.sign", "one.jsonl", "two.jsonl"]


def test_events_that_cannot_be_written_are_refused_before_anything_runs(
    tmp_path: Path, image_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = tmp_path / "no" / "e.jsonl"
    assert run(["boot", str(image_file), "--events", str(missing)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err == f"error: {missing}: cannot write it: no such directory (Check the path and its permissions.)\n"


def test_an_interrupted_boot_ends_with_130_and_keeps_its_events(
    tmp_path: Path, image_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_arguments: object, **_options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("cosim.boot.attempt", interrupted)
    events = tmp_path / "e.jsonl"
    assert run(["boot", str(image_file), "--events", str(events)]) == 130
    assert capsys.readouterr().err.splitlines()[-1] == "interrupted"
    assert events.exists()


def test_pubkey_with_a_plain_elf_file_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["boot", str(DEMO), "--pubkey", str(key_file("test-rsa4096.pem"))]) == 2
    assert "--pubkey needs a signed image" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--engine", "--profile", "--firewall", "--deny"])
def test_an_unknown_choice_is_a_usage_error_that_names_the_known_ones(
    option: str, image_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["boot", str(image_file), option, "nonsense"]) == 2
    assert "is not" in capsys.readouterr().err
