"""`cosim sign` as a user runs it: every option, every key, and everything that can be wrong with what is given."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from cosim.cli import run
from cosim.resources import firmware_file, key_file
from ta.image import SignedImage, parse_image
from ta.keys import load_public_key
from ta.signing import SignatureCheck, check_signature

ROOT = Path(__file__).resolve().parents[2]
VECTORS = ROOT / "tests" / "vectors"
VECTOR_KEYS = VECTORS / "keys"
UPSTREAM = [json.loads(line) for line in (VECTORS / "sign.jsonl").read_text(encoding="utf-8").splitlines()]
DEMO = firmware_file("demo_m4.elf")
KEY = key_file("test-rsa4096.pem")

Refused = Callable[..., str]


def sign(out: Path, *options: str, key: Path = KEY, elves: tuple[Path, ...] = (DEMO,)) -> int:
    return run(["sign", *map(str, elves), "--key", str(key), "--out", str(out), *options])


def tlvs(image: Path) -> dict[int, bytes]:
    return {tlv.type: tlv.value for tlv in parsed(image).tlvs}


def parsed(image: Path) -> SignedImage:
    return parse_image(image.read_bytes())


@pytest.fixture
def refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Refused:
    """Run `cosim sign`, which must end with 2, one line on stderr, and no file; returns the line."""
    folder = tmp_path / "out"
    folder.mkdir()

    def go(*options: str, key: Path = KEY, elves: tuple[Path, ...] = (DEMO,)) -> str:
        assert sign(folder / "FW.sign", *options, key=key, elves=elves) == 2
        out, err = capsys.readouterr()
        assert (out, list(folder.iterdir())) == ("", [])
        assert "Traceback" not in err
        return err

    return go


# -- what is signed ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["trusted2048", "trusted3072", "trusted4096", "ecc256"])
def test_each_kind_of_key_makes_an_image_that_its_own_public_key_verifies_and_no_other(
    name: str, tmp_path: Path
) -> None:
    out = tmp_path / "FW.sign"
    assert sign(out, key=VECTOR_KEYS / f"{name}.pem") == 0

    checks = {
        other.name: check_signature(parsed(out), load_public_key(other)) for other in VECTOR_KEYS.glob("*.pub.pem")
    }
    assert [key for key, check in checks.items() if check is SignatureCheck.VALID] == [f"{name}.pub.pem"]


def test_an_image_with_a_key_of_the_wrong_owner_is_refused_by_the_device(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "FW.sign"
    other = VECTOR_KEYS / "other4096.pem"
    assert sign(out, key=other) == 0

    assert run(["boot", str(out)]) == 1
    assert "TEE_ERROR_SIGNATURE_INVALID" in capsys.readouterr().out
    assert run(["boot", str(out), "--pubkey", str(other)]) == 0


def test_neither_processor_nor_version_is_signed_unless_it_is_asked_for(tmp_path: Path) -> None:
    assert sign(tmp_path / "FW.sign") == 0
    assert {0x1C000, 0x1C001} & set(tlvs(tmp_path / "FW.sign")) == set()


@pytest.mark.parametrize(
    ("options", "processor", "version"),
    [
        (("--version", "7"), 0, 7),
        (("--processor", "3"), 3, 0),
        (("--version", "4294967295", "--processor", "4294967295"), 0xFFFFFFFF, 0xFFFFFFFF),
        (("--version", "0"), 0, 0),
    ],
)
def test_version_and_processor_bind_the_image_and_its_resource_table(
    options: tuple[str, ...], processor: int, version: int, tmp_path: Path
) -> None:
    assert sign(tmp_path / "FW.sign", *options) == 0

    found = tlvs(tmp_path / "FW.sign")
    assert found[0x1C000] == processor.to_bytes(4, "little")
    assert found[0x1C001] == version.to_bytes(4, "little")
    assert found[0x1C002] == (0x10048000).to_bytes(4, "little") + (140).to_bytes(4, "little")


def test_an_image_for_another_processor_does_not_boot_here(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sign(tmp_path / "FW.sign", "--processor", "1") == 0
    assert run(["boot", str(tmp_path / "FW.sign")]) == 1
    assert "the image is for remote processor 1, not 0" in capsys.readouterr().out


def test_key_info_and_platform_tlvs_are_signed_as_given(tmp_path: Path) -> None:
    info = tmp_path / "info"
    info.write_bytes(b"who signed this")
    options = ["--key-info", str(info), "--plat-tlv", "0x10001", "0x1234", "--plat-tlv", "65538", "text"]
    assert sign(tmp_path / "FW.sign", *options) == 0

    found = tlvs(tmp_path / "FW.sign")
    assert found[0x11] == b"who signed this"
    assert found[0x10001] == (0x1234).to_bytes(4, "little")
    assert found[0x10002] == b"text"


def test_rsa_signs_the_same_file_the_same_way(tmp_path: Path) -> None:
    assert sign(tmp_path / "a", "--version", "1") == sign(tmp_path / "b", "--version", "1") == 0
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_the_place_of_a_resource_table_is_signed_without_being_asked_for(tmp_path: Path) -> None:
    assert sign(tmp_path / "FW.sign") == 0
    assert tlvs(tmp_path / "FW.sign")[0x1C002] == (0x10048000).to_bytes(4, "little") + (140).to_bytes(4, "little")


@pytest.mark.parametrize("vector", [v for v in UPSTREAM if v["byte_exact"]], ids=lambda v: Path(v["output"]).stem)
def test_the_upstream_format_is_the_upstream_tools_image_byte_for_byte(vector: dict[str, Any], tmp_path: Path) -> None:
    options = [o.replace("--key_info", "--key-info") for o in vector["options"]]
    options = [str(VECTORS / o) if (VECTORS / o).is_file() else o for o in options]
    elves = tuple(VECTORS / elf for elf in vector["inputs"])

    assert sign(tmp_path / "FW", "--upstream-format", *options, key=VECTORS / vector["key"], elves=elves) == 0

    assert (tmp_path / "FW").read_bytes() == (VECTORS / vector["output"]).read_bytes()


def test_an_image_in_the_upstream_format_boots_in_upstream_and_hardened_says_why_it_refuses(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "FW.sign"
    assert sign(out, "--upstream-format") == 0
    assert "nobody signed where its resource table is, so the hardened profile refuses it" in capsys.readouterr().err

    assert run(["boot", str(out), "--profile", "upstream"]) == 0
    capsys.readouterr()
    assert run(["boot", str(out)]) == 1
    said = capsys.readouterr().out
    assert "TEE_ERROR_SECURITY" in said
    assert "the image has a resource table, nobody signed where it is" in said
    assert "`cosim sign` does, unless --upstream-format" in said


def test_an_image_without_a_table_is_the_same_in_both_formats_and_boots_in_hardened(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    no_table = (VECTORS / "elf" / "c.elf",)
    assert sign(tmp_path / "a", "--upstream-format", elves=no_table) == 0
    assert "resource table" not in capsys.readouterr().err
    assert sign(tmp_path / "b", elves=no_table) == 0
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


# -- what cannot be signed -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["--version", "--processor"])
@pytest.mark.parametrize("value", ["-1", "4294967296", "one", "0x1", ""])
def test_a_number_that_does_not_fit_is_bad_usage(option: str, value: str, refused: Refused) -> None:
    assert option in refused(option, value)


@pytest.mark.parametrize(
    "tlv",
    [("0xffff", "x"), ("0x20000", "x"), ("name", "x"), ("0x10001", "0x100000000"), ("0x10001", "0xzz"), ("", "")],
)
def test_a_platform_tlv_that_cannot_be_is_refused(tlv: tuple[str, str], refused: Refused) -> None:
    assert refused("--plat-tlv", *tlv).startswith(f"error: {DEMO}: ")


@pytest.mark.parametrize("option", ["--version", "--processor"])
def test_the_upstream_format_has_no_place_for_what_only_hardened_heeds(option: str, refused: Refused) -> None:
    assert "the upstream tool knows neither" in refused("--upstream-format", option, "1")


def test_too_many_platform_tlvs_are_refused(refused: Refused) -> None:
    many = [word for number in range(600) for word in ("--plat-tlv", str(0x10000 + number), "x")]
    assert "too many" in refused(*many)


def _missing(path: Path) -> None:
    """Leave it away."""


def _folder(path: Path) -> None:
    path.mkdir()


def _empty(path: Path) -> None:
    path.touch()


def _garbage(path: Path) -> None:
    path.write_bytes(bytes(range(256)) * 20)


def _endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _signed(path: Path) -> None:
    assert sign(path) == 0


UNUSABLE = [_missing, _folder, _empty, _garbage, _endless]


@pytest.mark.parametrize("make", [*UNUSABLE, _signed])
def test_an_elf_file_that_is_none_is_named(
    make: Callable[[Path], None], tmp_path: Path, refused: Refused, capsys: pytest.CaptureFixture[str]
) -> None:
    elf = tmp_path / "fw.elf"
    make(elf)
    capsys.readouterr()

    line = refused(elves=(DEMO, elf))
    assert line.startswith(f"error: {elf}: ")
    assert line.count("\n") == 1


@pytest.mark.parametrize("make", UNUSABLE)
def test_a_key_file_that_is_none_is_named(make: Callable[[Path], None], tmp_path: Path, refused: Refused) -> None:
    key = tmp_path / "key.pem"
    make(key)

    line = refused(key=key)
    assert line.startswith(f"error: {key}: ")
    assert line.count("\n") == 1


@pytest.mark.parametrize("make", [_missing, _folder, _empty, _endless])
def test_key_info_that_cannot_be_read_is_named(make: Callable[[Path], None], tmp_path: Path, refused: Refused) -> None:
    info = tmp_path / "info"
    make(info)

    assert refused("--key-info", str(info)).startswith(f"error: {info}: ")


def _pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | dsa.DSAPrivateKey) -> bytes:
    return _written(key, NoEncryption())


def _written(
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | dsa.DSAPrivateKey,
    protection: KeySerializationEncryption,
) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, protection)


def _p256() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


WRONG_KEYS: dict[str, Callable[[], bytes]] = {
    "RSA of 1024 bits": lambda: _pem(rsa.generate_private_key(65537, 1024)),
    "P-384": lambda: _pem(ec.generate_private_key(ec.SECP384R1())),
    "Ed25519": lambda: _pem(ed25519.Ed25519PrivateKey.generate()),
    "public": (VECTOR_KEYS / "trusted2048.pub.pem").read_bytes,
    "encrypted": lambda: _written(_p256(), BestAvailableEncryption(b"secret")),
    "cut": lambda: (VECTOR_KEYS / "trusted2048.pem").read_bytes()[:900],
    "DER": lambda: _p256().private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
    "public of P-256 in DER": lambda: (
        _p256().public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    ),
}


@pytest.mark.parametrize("kind", WRONG_KEYS)
def test_a_key_that_cannot_sign_firmware_is_refused_with_a_way_out(kind: str, tmp_path: Path, refused: Refused) -> None:
    key = tmp_path / "key.pem"
    key.write_bytes(WRONG_KEYS[kind]())

    line = refused(key=key)
    assert line.startswith(f"error: {key}: ")
    assert line.rstrip().endswith(".)")


@pytest.mark.parametrize("missing", ["--key", "--out", "elf"])
def test_what_is_needed_is_asked_for(missing: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = {"elf": [str(DEMO)], "--key": ["--key", str(KEY)], "--out": ["--out", str(tmp_path / "FW.sign")]}
    del arguments[missing]

    assert run(["sign", *(word for words in arguments.values() for word in words)]) == 2
    assert "Missing" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


# -- where it is written -------------------------------------------------------------------------------------------


def test_an_output_in_a_folder_that_does_not_exist_is_refused_before_anything_is_done(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sign(tmp_path / "no" / "FW.sign") == 2
    assert "no such directory" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("which", ["--key", "--key-info"])
def test_an_output_never_replaces_an_input(which: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    precious = tmp_path / "precious"
    precious.write_bytes(KEY.read_bytes())
    options = ["--key-info", str(precious)] if which == "--key-info" else []

    assert sign(precious, *options, key=precious if which == "--key" else KEY) == 2
    assert "would replace an input" in capsys.readouterr().err
    assert precious.read_bytes() == KEY.read_bytes()


def test_a_full_disk_leaves_the_old_image_and_no_other_file(tmp_path: Path) -> None:
    out = tmp_path / "FW.sign"
    out.write_bytes(b"old")
    limited = "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
    limited += "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)); "
    limited += "from cosim.cli import run; sys.exit(run(sys.argv[1:]))"
    command = [sys.executable, "-c", limited, "sign", str(DEMO), "--key", str(KEY), "--out", str(out)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}

    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith(f"error: {out}: cannot write it: ")
    assert [path.name for path in tmp_path.iterdir()] == ["FW.sign"]
    assert out.read_bytes() == b"old"
