"""Where `cosim serve` listens, whom it lets in, and the connection that a client then has.

It listens on a Unix socket that only its owner can reach, or on a loopback address. A client must speak the protocol's
version and prove that it knows the token; whoever cannot is sent away, and the next one is waited for.
"""

from __future__ import annotations

import contextlib
import hmac
import ipaddress
import os
import secrets
import socket
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from cosim.errors import UsageError
from cosim.serve import protocol
from cosim.serve.protocol import Kind, ProtocolError
from cosim.serve.token import client_proof, server_proof

HANDSHAKE_SECONDS = 10.0
#: A client inside a request answers at once; between two requests it may be paused for as long as it likes.
REPLY_SECONDS = 60.0


class Connection:
    """Frames to and from one client. Raises `ProtocolError` for anything but a message."""

    def __init__(self, stream: socket.socket, peer: str = "the client") -> None:
        self.peer = peer
        self._stream = stream
        if stream.family != socket.AF_UNIX:
            with contextlib.suppress(OSError):  # a client may be gone already: the first frame will tell
                stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, kind: Kind, payload: bytes = b"") -> None:
        """Send one frame."""
        try:
            self._stream.settimeout(REPLY_SECONDS)
            self._stream.sendall(protocol.frame(kind, payload))
        except OSError as error:
            raise self._gone(str(error)) from None

    def receive(
        self, patience: float | None, *, rest: float = REPLY_SECONDS, most: int = protocol.MOST_PAYLOAD
    ) -> tuple[Kind, bytes]:
        """The next frame: it begins within `patience` seconds (None: whenever) and is complete within `rest` seconds.

        A payload of more than `most` bytes is not read.
        """
        first = self._read(1, patience)
        length, kind = protocol.parse_header(first + self._read(protocol.HEADER.size - 1, rest))
        if length > most:
            raise protocol.malformed(f"{kind.name} with {length} bytes")
        return kind, self._read(length, rest)

    def ask(self, kind: Kind, payload: bytes) -> bytes:
        """Ask a client that waits for the answer to its request for something; the data of its RESULT."""
        self.send(kind, payload)
        answer, data = self.receive(REPLY_SECONDS)
        if answer is Kind.FAILED:
            raise ProtocolError(
                f"{self.peer} could not {kind.name}: {data.decode('ascii', 'replace')}",
                hint="the platform in Renode must be the one that the server was given",
                peer=self.peer,
            )
        if answer is not Kind.RESULT:
            raise protocol.malformed(f"{answer.name} where the RESULT of {kind.name} was expected")
        return data

    def refuse(self, reason: str) -> None:
        """Tell the client why it is sent away, if it still listens."""
        with contextlib.suppress(ProtocolError):
            self.send(Kind.REFUSED, reason.encode("ascii", "replace"))

    def close(self) -> None:
        """End the connection."""
        self._stream.close()

    def _read(self, size: int, patience: float | None) -> bytes:
        data = bytearray()
        end = None if patience is None else time.monotonic() + patience
        try:
            while len(data) < size:
                # A client that sends a byte now and then must not be waited for any longer than one that sends none.
                self._stream.settimeout(None if end is None else max(end - time.monotonic(), 0.001))
                chunk = self._stream.recv(size - len(data))
                if not chunk:
                    raise self._gone("it closed the connection")
                data += chunk
        except OSError as error:
            raise self._gone(str(error)) from None
        return bytes(data)

    def _gone(self, why: str) -> ProtocolError:
        return ProtocolError(f"lost {self.peer}: {why}", hint="see what Renode printed last", peer=self.peer)


@contextlib.contextmanager
def listen_on_socket(path: Path) -> Iterator[socket.socket]:
    """A listening Unix socket, reachable by its owner only, removed afterwards. Raises `UsageError`."""
    listener = socket.socket(socket.AF_UNIX)
    try:
        with contextlib.suppress(FileNotFoundError):
            if not stat.S_ISSOCK(path.lstat().st_mode):
                raise UsageError("there is something else than a socket", hint="name another path", file=str(path))
            path.unlink()
        mask = os.umask(0o177)
        try:
            listener.bind(str(path))
        finally:
            os.umask(mask)
        listener.listen(1)
    except OSError as error:
        listener.close()
        raise UsageError(
            f"cannot listen there: {error}", hint="name a path that you can write", file=str(path)
        ) from None
    except UsageError:
        listener.close()
        raise
    with listener:
        yield listener
    path.unlink(missing_ok=True)


@contextlib.contextmanager
def listen_on_port(address: str, port: int, *, anywhere: bool = False) -> Iterator[socket.socket]:
    """A listening TCP socket. Raises `UsageError` for an address that is not loopback, unless `anywhere`."""
    try:
        family = socket.AF_INET6 if ipaddress.ip_address(address).version == 6 else socket.AF_INET
        loopback = ipaddress.ip_address(address).is_loopback
    except ValueError:
        raise UsageError(f"{address!r} is no IP address", hint="127.0.0.1 is the usual one", option="address") from None
    if not loopback and not anywhere:
        raise UsageError(
            f"{address} can be reached from other machines",
            hint="use a loopback address, or say --allow-remote; the connection is authenticated but not encrypted",
            option="address",
        )
    listener = socket.socket(family)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen(1)
    except OSError as error:
        listener.close()
        raise UsageError(f"cannot listen on {address} port {port}: {error}", hint="name another --port") from None
    with listener:
        yield listener


def admit(listener: socket.socket, token: bytes, refused: Callable[[str], None]) -> Connection:
    """Wait for a client that proves itself; `refused` is told about each one that did not."""
    while True:
        stream, _ = listener.accept()
        connection = Connection(stream)
        try:
            _handshake(connection, token)
            return connection
        except ProtocolError as error:
            connection.refuse(error.message)
            connection.close()
            refused(error.message)


def _handshake(connection: Connection, token: bytes) -> None:
    nonce = secrets.token_bytes(protocol.NONCE)
    connection.send(Kind.CHALLENGE, protocol.challenge(nonce))
    kind, payload = connection.receive(HANDSHAKE_SECONDS, rest=HANDSHAKE_SECONDS, most=protocol.MOST_HELLO)
    if kind is not Kind.HELLO:
        raise protocol.malformed(f"{kind.name} where HELLO was expected")
    hello = protocol.parse_hello(payload)
    if hello.version != protocol.VERSION:
        raise ProtocolError(
            f"the client speaks protocol version {hello.version}, this server {protocol.VERSION}",
            hint="use the .resc and pydev files that come with this cosim",
        )
    if not hmac.compare_digest(hello.proof, client_proof(token, nonce, hello.nonce)):
        raise ProtocolError("the client does not know the token", hint="give both sides the same token file")
    connection.peer = hello.peer
    connection.send(Kind.WELCOME, server_proof(token, nonce, hello.nonce))
