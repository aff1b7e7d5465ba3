"""The secret that server and client share: a token file that only its owner can read, and proofs of knowing it.

Neither side sends the token: each proves with HMAC-SHA256 over both nonces that it has read the file.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import stat
from pathlib import Path

from cosim.errors import UsageError

TOKEN_BYTES = 32
_NAME = "cosim.token"


def default_token_file() -> Path:
    """The token file in the user's runtime directory, or in the home directory where there is none."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    return Path(runtime) / _NAME if runtime else Path.home() / f".{_NAME}"


def obtain_token(path: Path) -> bytes:
    """The token in `path`; a missing file is made, with a fresh token and mode 0600.

    Raises `UsageError` when it cannot be read or made, when others can read it, or when it holds no token.
    """
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except FileExistsError:
        return _read(path)
    except OSError as error:
        raise _unusable(path, f"cannot be made: {error.strerror}") from None
    token = secrets.token_hex(TOKEN_BYTES)
    with os.fdopen(handle, "w", encoding="ascii") as stream:
        stream.write(token + "\n")
    return token.encode()


def client_proof(token: bytes, server_nonce: bytes, client_nonce: bytes) -> bytes:
    """What a client that knows the token answers to the server's nonce."""
    return hmac.new(token, b"client" + server_nonce + client_nonce, hashlib.sha256).digest()


def server_proof(token: bytes, server_nonce: bytes, client_nonce: bytes) -> bytes:
    """What a server that knows the token answers to the client's nonce."""
    return hmac.new(token, b"server" + server_nonce + client_nonce, hashlib.sha256).digest()


def _read(path: Path) -> bytes:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise _unusable(path, f"cannot be read: {error.strerror}") from None
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode) or status.st_mode & 0o077 or status.st_uid != os.getuid():
            raise _unusable(path, "is not a regular file that only you can read")
        token = os.read(handle, 2 * TOKEN_BYTES + 2).strip()
    finally:
        os.close(handle)
    if len(token) != 2 * TOKEN_BYTES or not all(digit in b"0123456789abcdef" for digit in token):
        raise _unusable(path, f"does not hold a token of {2 * TOKEN_BYTES} hexadecimal digits")
    return token


def _unusable(path: Path, what: str) -> UsageError:
    return UsageError(f"the token file {what}", hint="remove it and a new one is made", file=str(path))
