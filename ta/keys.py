"""Key files: make, read and write the RSA and ECDSA P-256 keys that sign firmware, always as PEM."""

from __future__ import annotations

import contextlib
import enum
import os
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from ta.errors import KeyFileError

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey

#: A PEM file of the largest supported key has 3.3 kB. More is not read: checking a giant modulus takes minutes.
MAX_KEY_FILE_SIZE = 8192

_MAKE_ONE = "Make one with `cosim keygen rsa4096 --out KEY.pem`."


class KeyType(enum.Enum):
    """The kinds of key that can sign firmware, by their names on the command line."""

    RSA2048 = "rsa2048"
    RSA3072 = "rsa3072"
    RSA4096 = "rsa4096"
    ECDSA_P256 = "ecdsa-p256"


_RSA_BITS = {KeyType.RSA2048: 2048, KeyType.RSA3072: 3072, KeyType.RSA4096: 4096}


def generate(kind: str) -> PrivateKey:
    """A fresh private key of the kind named as in `KeyType`. Raises KeyFileError for any other name."""
    try:
        key_type = KeyType(kind)
    except ValueError:
        known = ", ".join(k.value for k in KeyType)
        raise KeyFileError(f"no such kind of key: {kind}", hint=f"Use one of {known}.") from None
    if key_type is KeyType.ECDSA_P256:
        return ec.generate_private_key(ec.SECP256R1())
    return rsa.generate_private_key(public_exponent=65537, key_size=_RSA_BITS[key_type])


def key_type_of(key: PrivateKey | PublicKey, *, file: str = "") -> KeyType:
    """Which kind of key this is. Raises KeyFileError for a size or curve that cannot sign firmware."""
    if isinstance(key, (rsa.RSAPrivateKey, rsa.RSAPublicKey)):
        for key_type, bits in _RSA_BITS.items():
            if key.key_size == bits:
                return key_type
        found = f"RSA with {key.key_size} bits"
    else:
        if isinstance(key.curve, ec.SECP256R1):
            return KeyType.ECDSA_P256
        found = f"ECDSA on {key.curve.name}"
    raise KeyFileError(f"{_at(file)}{found} is not supported", hint="Use RSA 2048, 3072, 4096 or P-256.", file=file)


def load_private_key(path: str | os.PathLike[str]) -> PrivateKey:
    """Read an unencrypted private key. Raises KeyFileError (`file`)."""
    file = os.fspath(path)
    pem = _read_pem(file)
    if b"PRIVATE KEY" not in pem:
        hint = "Signing needs the private key." if b"PUBLIC KEY" in pem else _MAKE_ONE
        raise KeyFileError(f"{file}: holds no private key in PEM form", hint=hint, file=file)
    return _parse_private(pem, file)


def load_public_key(path: str | os.PathLike[str]) -> PublicKey:
    """Read a public key, or take the public half of a private one. Raises KeyFileError (`file`)."""
    file = os.fspath(path)
    pem = _read_pem(file)
    if b"PRIVATE KEY" in pem:
        return _parse_private(pem, file).public_key()
    if b"PUBLIC KEY" not in pem:
        raise KeyFileError(f"{file}: holds no key in PEM form", hint=_MAKE_ONE, file=file)
    try:
        key = load_pem_public_key(pem)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise KeyFileError(f"{file}: the public key cannot be read", hint=_MAKE_ONE, file=file) from None
    if not isinstance(key, (rsa.RSAPublicKey, ec.EllipticCurvePublicKey)):
        raise KeyFileError(f"{file}: neither an RSA nor an ECDSA key", hint=_MAKE_ONE, file=file)
    key_type_of(key, file=file)
    return key


def write_key(path: str | os.PathLike[str], key: PrivateKey | PublicKey) -> None:
    """Write a key as PEM: PKCS #8 readable by its owner only, or SubjectPublicKeyInfo.

    Never overwrites: a file that exists, or cannot be written completely, raises KeyFileError (`file`) and nothing is
    left behind.
    """
    file = os.fspath(path)
    if isinstance(key, (rsa.RSAPrivateKey, ec.EllipticCurvePrivateKey)):
        pem, mode = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), 0o600
    else:
        pem, mode = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), 0o644
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError:
        hint = "Keys are never overwritten; choose another name or remove the file yourself."
        raise KeyFileError(f"{file}: exists already", hint=hint, file=file) from None
    except (OSError, ValueError) as error:
        raise _file_error(file, "written", error) from None
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(pem)
    except BaseException as error:
        with contextlib.suppress(OSError):
            Path(file).unlink()
        if isinstance(error, OSError):
            raise _file_error(file, "written", error) from None
        raise


def _at(file: str) -> str:
    return f"{file}: " if file else ""


def _file_error(file: str, done: str, error: Exception) -> KeyFileError:
    reason = getattr(error, "strerror", None) or str(error)
    return KeyFileError(f"{file}: cannot be {done}: {reason}", hint="Check the path and its permissions.", file=file)


def _read_pem(file: str) -> bytes:
    try:
        with Path(file).open("rb") as stream:
            pem = stream.read(MAX_KEY_FILE_SIZE + 1)
    except (OSError, ValueError) as error:
        raise _file_error(file, "read", error) from None
    if len(pem) > MAX_KEY_FILE_SIZE:
        raise KeyFileError(f"{file}: too large for a key (over {MAX_KEY_FILE_SIZE} bytes)", hint=_MAKE_ONE, file=file)
    return pem


def _parse_private(pem: bytes, file: str) -> PrivateKey:
    try:
        # Checking that the primes are prime takes most of a second; a damaged key is noticed when it signs.
        key = load_pem_private_key(pem, password=None, unsafe_skip_rsa_key_validation=True)
    except TypeError:
        hint = "Decrypt it first: `openssl pkey -in KEY.pem -out PLAIN.pem`."
        raise KeyFileError(f"{file}: the private key is encrypted", hint=hint, file=file) from None
    except (ValueError, UnsupportedAlgorithm):
        raise KeyFileError(f"{file}: the private key cannot be read", hint=_MAKE_ONE, file=file) from None
    if not isinstance(key, (rsa.RSAPrivateKey, ec.EllipticCurvePrivateKey)):
        raise KeyFileError(f"{file}: neither an RSA nor an ECDSA key", hint=_MAKE_ONE, file=file)
    key_type_of(key, file=file)
    return key
