"""Verification of the signature over the header and TLVs: as LibTomCrypt in OP-TEE judges it, and by the book.

`verify_upstream` recovers the padded block with the public operation and applies LibTomCrypt's leniencies (see
`rsa_verify_hash_ex`); `verify_strict` leaves the judgement to the cryptography library.
"""

from __future__ import annotations

import functools
import hmac

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils
from cryptography.hazmat.primitives.hashes import SHA256

from ta.image_format import SignType
from ta.results import RefusedError, TeeResult

PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey

_OID_SHA256 = bytes.fromhex("0609608648016503040201")
_NULL = bytes.fromhex("0500")
_P256_FIELD = 32
_SHA256_DIGEST = utils.Prehashed(SHA256())


def describe_key(key: PublicKey) -> str:
    """The kind and size of a key, for people."""
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA-{key.key_size}"
    return f"ECDSA {key.curve.name}"


def verify_upstream(key: rsa.RSAPublicKey, digest: bytes, signature: bytes) -> None:
    """RSASSA-PKCS1-v1_5 with SHA-256 as the reference build accepts it.

    Raises `RefusedError` with SIGNATURE_INVALID, or GENERIC where the DER reader of the library gives up early.
    """
    _check_length(key, signature)
    numbers = key.public_numbers()
    representative = int.from_bytes(signature, "big")
    if representative >= numbers.n:
        raise _invalid("the signature is not smaller than the modulus")
    block = _public_operation(representative, numbers.e, numbers.n).to_bytes(len(signature), "big")
    _check_digest_info(_remove_padding(block), digest)


def verify_strict(key: PublicKey, digest: bytes, signature: bytes, sign_type: SignType) -> None:
    """Verify exactly what the standard allows, for RSA (PKCS#1 v1.5) and ECDSA P-256 (64 bytes r||s).

    Raises `RefusedError` with SIGNATURE_INVALID, or NOT_SUPPORTED when the key is of another kind.
    """
    try:
        if isinstance(key, rsa.RSAPublicKey) and sign_type is SignType.RSASSA_PKCS1_V1_5_SHA256:
            _check_length(key, signature)
            numbers = key.public_numbers()
            _verify_rsa(numbers.e, numbers.n, signature, digest)
        elif isinstance(key, ec.EllipticCurvePublicKey) and sign_type is SignType.ECDSA_P256_SHA256:
            key.verify(_der_signature(signature), digest, ec.ECDSA(_SHA256_DIGEST))
        else:
            raise RefusedError(
                TeeResult.NOT_SUPPORTED,
                f"the image is signed with {sign_type.name}, the key of this device is {describe_key(key)}",
                hint="sign with the private key that belongs to this device",
            )
    except InvalidSignature:
        raise _wrong_key() from None


def confirm(key: PublicKey, digest: bytes, signature: bytes, sign_type: SignType) -> bool:
    """Whether a signature is right, decided by other code than `verify_strict`.

    For RSA the whole padded block is built and compared; for ECDSA the library is asked a second time.
    """
    if isinstance(key, rsa.RSAPublicKey):
        numbers, size = key.public_numbers(), (key.key_size + 7) // 8
        info = _sequence(_sequence(_OID_SHA256 + _NULL) + b"\x04" + bytes([len(digest)]) + digest)
        expected = b"\x00\x01" + b"\xff" * (size - len(info) - 3) + b"\x00" + info
        representative = int.from_bytes(signature, "big")
        if len(signature) != size or representative >= numbers.n:
            return False
        block = _public_operation(representative, numbers.e, numbers.n).to_bytes(size, "big")
        return sign_type is SignType.RSASSA_PKCS1_V1_5_SHA256 and hmac.compare_digest(block, expected)
    try:
        verify_strict(key, digest, signature, sign_type)
    except RefusedError:
        return False
    return True


# A campaign asks about the same signature thousands of times, and each of these is a third of a decision. What is asked
# about are all the bytes that the answer depends on. One statement each, and what is raised is not kept: so nothing
# that a fault makes of a decision can stay behind.


@functools.lru_cache(maxsize=16)
def _verify_rsa(exponent: int, modulus: int, signature: bytes, digest: bytes) -> None:
    _rsa_key(exponent, modulus).verify(signature, digest, padding.PKCS1v15(), _SHA256_DIGEST)


@functools.lru_cache(maxsize=16)
def _rsa_key(exponent: int, modulus: int) -> rsa.RSAPublicKey:
    return rsa.RSAPublicNumbers(exponent, modulus).public_key()


@functools.lru_cache(maxsize=16)
def _public_operation(representative: int, exponent: int, modulus: int) -> int:
    return pow(representative, exponent, modulus)


def _der_signature(signature: bytes) -> bytes:
    if len(signature) != 2 * _P256_FIELD:
        raise _invalid(f"an ECDSA P-256 signature has {2 * _P256_FIELD} bytes, this one has {len(signature)}")
    r, s = (int.from_bytes(part, "big") for part in (signature[:_P256_FIELD], signature[_P256_FIELD:]))
    return utils.encode_dss_signature(r, s)


def _check_length(key: rsa.RSAPublicKey, signature: bytes) -> None:
    wanted = (key.key_size + 7) // 8
    if len(signature) != wanted:
        raise RefusedError(
            TeeResult.SIGNATURE_INVALID,
            f"the signature has {len(signature)} bytes, the key of this device ({describe_key(key)}) makes {wanted}",
            hint="the image was signed with a key of another size",
        )


def _remove_padding(block: bytes) -> bytes:
    """The DigestInfo of an EMSA-PKCS1-v1_5 block: 00 01, at least eight FF, 00, DigestInfo."""
    separator = block.find(b"\x00", 2)
    if block[:2] != b"\x00\x01" or separator < 10 or block[2:separator].strip(b"\xff"):
        raise _wrong_key()
    return block[separator + 1 :]


def _check_digest_info(info: bytes, digest: bytes) -> None:
    """Compare a DigestInfo; a missing NULL parameter and an outer SET tag pass, as in LibTomCrypt."""
    if info[:1] in (b"\x30", b"\x31"):
        _check_claim(info)
        if info[2:3] == b"\x30":
            _check_claim(info[2:])
    for parameters in (_NULL, b""):
        algorithm = _sequence(_OID_SHA256 + parameters)
        expected = _sequence(algorithm + b"\x04" + bytes([len(digest)]) + digest)
        if hmac.compare_digest(info[1:], expected[1:]) and info[0] in (0x30, 0x31):
            return
    raise _invalid("the signature does not hold the SHA-256 of the header and TLVs in a DigestInfo")


def _sequence(content: bytes) -> bytes:
    return b"\x30" + bytes([len(content)]) + content


def _check_claim(element: bytes) -> None:
    """Refuse with GENERIC an element that claims more bytes than follow it."""
    if len(element) < 2:
        return
    length, header = _der_length(element)
    if length > len(element) - header:
        raise RefusedError(
            TeeResult.GENERIC,
            "the DigestInfo in the signature claims more bytes than there are",
            hint="the signature was made by a tool that writes broken DER",
        )


def _der_length(element: bytes) -> tuple[int, int]:
    """The length that a DER element states, and the size of its tag and length bytes."""
    first = element[1]
    if first < 0x80:
        return first, 2
    count = first & 0x7F
    return int.from_bytes(element[2 : 2 + count], "big"), 2 + count


def _wrong_key() -> RefusedError:
    return _invalid("the signature does not match the header and TLVs under the key of this device")


def _invalid(reason: str) -> RefusedError:
    return RefusedError(
        TeeResult.SIGNATURE_INVALID,
        reason,
        hint="the image was signed with another key, or its header or TLVs were changed after signing",
    )
