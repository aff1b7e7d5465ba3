"""Key files: made, kept, read back, never overwritten."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from ta import keys
from ta.errors import KeyFileError
from ta.keys import KeyType, generate, key_type_of, load_private_key, load_public_key, write_key

KEYS = Path(__file__).parent.parent / "vectors" / "keys"
TEST_KEY = Path(__file__).parent.parent.parent / "firmware" / "keys" / "test-rsa4096.pem"


@pytest.mark.parametrize("kind", [k.value for k in KeyType])
def test_generated_key_survives_its_file(kind: str, tmp_path: Path) -> None:
    key = generate(kind)
    write_key(tmp_path / "key.pem", key)
    write_key(tmp_path / "key.pub.pem", key.public_key())

    assert key_type_of(load_private_key(tmp_path / "key.pem")) is KeyType(kind)
    assert load_public_key(tmp_path / "key.pem") == key.public_key()
    assert load_public_key(tmp_path / "key.pub.pem") == key.public_key()


def test_private_key_file_is_for_its_owner_only(tmp_path: Path) -> None:
    write_key(tmp_path / "key.pem", generate("ecdsa-p256"))

    assert stat.S_IMODE((tmp_path / "key.pem").stat().st_mode) == 0o600


@pytest.mark.parametrize("there", ["file", "dangling link"])
def test_existing_file_is_never_overwritten(there: str, tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    if there == "file":
        path.write_text("precious")
    else:
        path.symlink_to(tmp_path / "target.pem")

    with pytest.raises(KeyFileError) as caught:
        write_key(path, generate("ecdsa-p256"))

    assert caught.value.fields["file"] == str(path)
    assert not (tmp_path / "target.pem").exists()
    assert there != "file" or path.read_text() == "precious"


@pytest.mark.parametrize(
    ("error", "raised"),
    [(OSError(28, "No space left on device"), KeyFileError), (KeyboardInterrupt(), KeyboardInterrupt)],
)
def test_failed_write_leaves_no_file(
    error: BaseException, raised: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class FullDisk:
        def __init__(self, descriptor: int, _mode: str) -> None:
            self.descriptor = descriptor

        def __enter__(self) -> FullDisk:
            return self

        def __exit__(self, *_: object) -> None:
            os.close(self.descriptor)

        def write(self, data: bytes) -> None:
            os.write(self.descriptor, data[:10])
            raise error

    monkeypatch.setattr(keys.os, "fdopen", FullDisk)
    with pytest.raises(raised):
        write_key(tmp_path / "key.pem", generate("ecdsa-p256"))

    assert list(tmp_path.iterdir()) == []


def test_unknown_kind_of_key_names_the_known_ones() -> None:
    with pytest.raises(KeyFileError) as caught:
        generate("rsa1024")

    assert "rsa4096" in caught.value.hint


def test_keys_of_the_vectors_are_recognised() -> None:
    kinds = {p.stem: key_type_of(load_private_key(p)).value for p in KEYS.glob("*.pem") if ".pub" not in p.name}

    assert kinds == {
        "ecc256": "ecdsa-p256",
        "other4096": "rsa4096",
        "trusted2048": "rsa2048",
        "trusted3072": "rsa3072",
        "trusted4096": "rsa4096",
    }


def test_shipped_test_key_is_an_rsa_4096_key() -> None:
    assert key_type_of(load_private_key(TEST_KEY)) is KeyType.RSA4096


def pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


P256 = ec.generate_private_key(ec.SECP256R1())
UNUSABLE = {
    "empty": b"",
    "text": b"hello",
    "public": P256.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
    "damaged": pem(P256)[:100] + b"!!!!" + pem(P256)[104:],
    "cut": pem(P256)[:120],
    "encrypted": P256.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")),
    "other curve": pem(ec.generate_private_key(ec.SECP384R1())),
    "small": pem(rsa.generate_private_key(public_exponent=65537, key_size=1024)),
    "ed25519": pem(ed25519.Ed25519PrivateKey.generate()),
    "huge": pem(P256) + b"#" * 10000,
}


@pytest.mark.parametrize("content", UNUSABLE.values(), ids=UNUSABLE)
def test_unusable_private_key_file_is_refused_with_a_hint(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_bytes(content)

    with pytest.raises(KeyFileError) as caught:
        load_private_key(tmp_path / "key.pem")

    assert caught.value.fields["file"] == str(tmp_path / "key.pem")
    assert caught.value.hint


@pytest.mark.parametrize("content", [c for n, c in UNUSABLE.items() if n != "public"])
def test_unusable_public_key_file_is_refused_with_a_hint(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_bytes(content)

    with pytest.raises(KeyFileError) as caught:
        load_public_key(tmp_path / "key.pem")

    assert caught.value.hint


def test_public_key_where_a_private_one_is_needed_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_bytes(UNUSABLE["public"])

    with pytest.raises(KeyFileError) as caught:
        load_private_key(tmp_path / "key.pem")

    assert "private" in caught.value.hint


def test_file_that_is_no_pem_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_bytes(b"hello")

    with pytest.raises(KeyFileError, match="no key in PEM form"):
        load_public_key(tmp_path / "key.pem")


def test_public_key_that_is_damaged_or_of_another_kind_is_refused(tmp_path: Path) -> None:
    good = UNUSABLE["public"]
    other = ed25519.Ed25519PrivateKey.generate().public_key()
    for content in (
        good[:60] + b"!!!!" + good[64:],
        other.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
    ):
        (tmp_path / "key.pem").write_bytes(content)
        with pytest.raises(KeyFileError):
            load_public_key(tmp_path / "key.pem")


@pytest.mark.parametrize("path", ["missing.pem", ".", "nul\0byte"])
def test_path_that_cannot_be_read_is_refused(path: str, tmp_path: Path) -> None:
    with pytest.raises(KeyFileError) as caught:
        load_private_key(f"{tmp_path}/{path}")

    assert "cannot be read" in caught.value.message


def test_path_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="cannot be written"):
        write_key(tmp_path / "nowhere" / "key.pem", P256)
