"""Judgement of signatures: by the book under hardened, with LibTomCrypt's leniencies under upstream."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from ta_bench import VECTORS, private_key, public_key

from ta.image_format import SignType
from ta.results import RefusedError, TeeResult
from ta.signature import verify_strict, verify_upstream

KEY = private_key("trusted2048")
PUBLIC = KEY.public_key()
SIZE = 256
DIGEST = hashlib.sha256(b"header and TLVs").digest()
OID = bytes.fromhex("0609608648016503040201")
GOOD = bytes.fromhex("3031300d") + OID + bytes.fromhex("05000420") + DIGEST
RSA, ECDSA = SignType.RSASSA_PKCS1_V1_5_SHA256, SignType.ECDSA_P256_SHA256


def sign(info: bytes, block: bytes | None = None) -> bytes:
    """The private operation on a padded block around `info`."""
    block = block or b"\x00\x01" + b"\xff" * (SIZE - 3 - len(info)) + b"\x00" + info
    numbers = KEY.private_numbers()
    return pow(int.from_bytes(block, "big"), numbers.d, PUBLIC.public_numbers().n).to_bytes(SIZE, "big")


def upstream(signature: bytes) -> TeeResult:
    try:
        verify_upstream(PUBLIC, DIGEST, signature)
    except RefusedError as error:
        return error.result
    return TeeResult.SUCCESS


def strict(
    signature: bytes, key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey = PUBLIC, kind: SignType = RSA
) -> TeeResult:
    try:
        verify_strict(key, DIGEST, signature, kind)
    except RefusedError as error:
        return error.result
    return TeeResult.SUCCESS


def changed(at: int, value: int) -> bytes:
    return GOOD[:at] + bytes([value]) + GOOD[at + 1 :]


def test_a_standard_signature_is_valid_for_both() -> None:
    signature = KEY.sign(DIGEST, padding.PKCS1v15(), utils.Prehashed(hashes.SHA256()))
    assert signature == sign(GOOD)
    assert upstream(signature) is strict(signature) is TeeResult.SUCCESS


def test_what_was_accepted_before_vouches_for_nothing_else() -> None:
    signature, other = sign(GOOD), private_key("trusted4096").public_key()
    assert strict(signature) is strict(signature) is TeeResult.SUCCESS
    for at in (0, SIZE - 1):
        damaged = signature[:at] + bytes([signature[at] ^ 1]) + signature[at + 1 :]
        assert strict(damaged) is strict(damaged) is TeeResult.SIGNATURE_INVALID
    with pytest.raises(RefusedError, match="does not match"):
        verify_strict(PUBLIC, hashlib.sha256(b"other header").digest(), signature, RSA)
    with pytest.raises(RefusedError, match="RSA-4096"):
        verify_strict(other, DIGEST, signature, RSA)
    another = rsa.generate_private_key(65537, 8 * SIZE).public_key()
    assert strict(signature, another) is TeeResult.SIGNATURE_INVALID
    assert strict(signature) is TeeResult.SUCCESS


@pytest.mark.parametrize(
    "info", [bytes.fromhex("302f300b") + OID + b"\x04\x20" + DIGEST, b"\x31" + GOOD[1:]], ids=["no NULL", "outer SET"]
)
def test_leniencies_of_the_library_pass_upstream_only(info: bytes) -> None:
    assert upstream(sign(info)) is TeeResult.SUCCESS
    assert strict(sign(info)) is TeeResult.SIGNATURE_INVALID


@pytest.mark.parametrize("info", [changed(1, 0x32), changed(1, 0x7F), changed(3, 0x7F), GOOD[:-1]])
def test_der_that_claims_more_than_there_is_is_a_generic_error_upstream(info: bytes) -> None:
    assert upstream(sign(info)) is TeeResult.GENERIC
    assert strict(sign(info)) is TeeResult.SIGNATURE_INVALID


@pytest.mark.parametrize(
    "info",
    [
        changed(0, 0x32),
        changed(4, 0x07),
        changed(14, 0x02),
        changed(16, 0x01),
        changed(50, GOOD[50] ^ 1),
        GOOD + b"\x00",
        DIGEST,
        b"",
        b"\x30",
        b"\x30\x81\x31" + GOOD[2:],
        b"\x30\x80",
    ],
)
def test_every_other_malformed_digest_info_is_an_invalid_signature(info: bytes) -> None:
    assert upstream(sign(info)) is TeeResult.SIGNATURE_INVALID
    assert strict(sign(info)) is TeeResult.SIGNATURE_INVALID


@pytest.mark.parametrize(
    "block",
    [
        b"\x00\x02" + b"\xff" * (SIZE - 3 - len(GOOD)) + b"\x00" + GOOD,
        b"\x00\x01" + b"\xff" * 7 + b"\x00" + GOOD + bytes(SIZE - 10 - len(GOOD)),
        b"\x00\x01" + b"\xff" * 7 + b"\x00\x30\x82\xff\xff" + bytes(SIZE - 14),
        b"\x00\x01" + b"\xff" * (SIZE - 4 - len(GOOD)) + b"\xfe\x00" + GOOD,
        b"\x00\x01" + b"\xff" * (SIZE - 2),
    ],
)
def test_wrong_padding_is_an_invalid_signature(block: bytes) -> None:
    assert upstream(sign(b"", block)) is strict(sign(b"", block)) is TeeResult.SIGNATURE_INVALID


@pytest.mark.parametrize("length", [0, 1, SIZE - 1, SIZE + 1])
def test_a_signature_of_another_length_is_invalid(length: int) -> None:
    assert upstream(bytes(length)) is strict(bytes(length)) is TeeResult.SIGNATURE_INVALID


def test_representatives_at_and_above_the_modulus_are_invalid() -> None:
    n = PUBLIC.public_numbers().n
    for number in (0, 1, n - 1, n, n + 1, (1 << 2048) - 1):
        signature = number.to_bytes(SIZE, "big")
        assert upstream(signature) is strict(signature) is TeeResult.SIGNATURE_INVALID


def test_a_valid_signature_plus_the_modulus_is_invalid() -> None:
    n = PUBLIC.public_numbers().n
    for counter in range(100):
        digest = hashlib.sha256(bytes([counter])).digest()
        number = int.from_bytes(sign(GOOD[:-32] + digest), "big")
        if number + n < 1 << 2048:
            break
    verify_upstream(PUBLIC, digest, number.to_bytes(SIZE, "big"))
    with pytest.raises(RefusedError):
        verify_upstream(PUBLIC, digest, (number + n).to_bytes(SIZE, "big"))


def test_ecdsa_is_verified_from_raw_r_and_s() -> None:
    key = load_pem_private_key((VECTORS / "keys" / "ecc256.pem").read_bytes(), password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    r, s = utils.decode_dss_signature(key.sign(DIGEST, ec.ECDSA(utils.Prehashed(hashes.SHA256()))))
    good = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    public = public_key("ecc256")
    assert strict(good, public, ECDSA) is TeeResult.SUCCESS
    for bad in (good[:-1], good + b"\0", bytes(64), b"\xff" * 64, good[32:] + good[:32]):
        assert strict(bad, public, ECDSA) is TeeResult.SIGNATURE_INVALID


def test_a_refused_signature_says_why_and_what_to_do() -> None:
    with pytest.raises(RefusedError, match="does not match") as caught:
        verify_upstream(PUBLIC, DIGEST, bytes(SIZE))
    assert "another key" in caught.value.hint


def test_a_key_of_the_other_kind_is_not_supported() -> None:
    assert strict(bytes(64), PUBLIC, ECDSA) is TeeResult.NOT_SUPPORTED
    assert strict(bytes(SIZE), public_key("ecc256"), RSA) is TeeResult.NOT_SUPPORTED


def test_the_digest_in_these_tests_is_the_one_in_the_good_block() -> None:
    assert hmac.compare_digest(GOOD[-32:], DIGEST)
