"""Packets of GDB's remote serial protocol over a socket: framing, checksums, acknowledgements (GDB manual, E.1).

What comes from the socket is bounded: a packet longer than `MOST_PACKET` and anything between packets is thrown away.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Callable

#: Bytes of a packet's content, in both directions; what GDB is told in qSupported.
MOST_PACKET = 0x4000
#: What GDB sends to interrupt a running target: not a packet.
INTERRUPT = b"\x03"
#: Between two looks at whether the run was ended, while GDB is waited for.
LOOK_EVERY_S = 0.2
#: How long a GDB may take none of what it is sent, until it counts as gone.
_PATIENCE_S = 10.0


class DisconnectedError(Exception):
    """GDB is gone."""


class Connection:
    """One GDB. `ended` is asked while it waits, so that a run can be ended from elsewhere."""

    def __init__(self, sock: socket.socket, ended: Callable[[], bool]) -> None:
        sock.settimeout(_PATIENCE_S)
        self._socket = sock
        self._ended = ended
        self._buffer = bytearray()
        self.acknowledges = True

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def interrupted(self) -> bool:
        """Whether GDB asks a running target to stop; never waits. Raises `DisconnectedError`."""
        while self._readable(0):
            self._receive()
        found = INTERRUPT in self._buffer
        # A running target is asked nothing else, and acknowledgements need no answer.
        self._buffer.clear()
        return found

    def receive(self) -> bytes:
        """The next packet's content; `INTERRUPT` for a request to stop.

        Raises `DisconnectedError`, also when the run was ended.
        """
        while True:
            packet = self._take()
            if packet is not None:
                return packet
            while not self._readable(LOOK_EVERY_S):
                if self._ended():
                    raise DisconnectedError
            self._receive()

    def send(self, content: bytes) -> None:
        """Send a packet. Raises `DisconnectedError`."""
        escaped = b"".join(b"}" + bytes([c ^ 0x20]) if c in b"#$}*" else bytes([c]) for c in content)
        self._write(b"$%s#%02x" % (escaped, sum(escaped) & 0xFF))

    def _take(self) -> bytes | None:
        """One packet out of the buffer, acknowledged; None when there is no whole one."""
        while self._buffer:
            start = self._buffer[:1]
            if start == INTERRUPT:
                del self._buffer[0]
                return INTERRUPT
            end = self._buffer.find(b"#")
            if start != b"$":  # an acknowledgement, or noise
                del self._buffer[0]
            elif end < 0 or len(self._buffer) < end + 3:
                if len(self._buffer) > MOST_PACKET + 4:
                    self._buffer.clear()
                return None
            else:
                content, sent = bytes(self._buffer[1:end]), bytes(self._buffer[end + 1 : end + 3])
                del self._buffer[: end + 3]
                if not self.acknowledges:
                    return _unescaped(content)
                good = sent.lower() == b"%02x" % (sum(content) & 0xFF)
                self._write(b"+" if good else b"-")
                if good:
                    return _unescaped(content)
        return None

    def _readable(self, timeout_s: float) -> bool:
        return bool(select.select([self._socket], [], [], timeout_s)[0])

    def _receive(self) -> None:
        try:
            data = self._socket.recv(MOST_PACKET)
        except OSError:
            data = b""
        if not data:
            raise DisconnectedError
        self._buffer += data

    def _write(self, data: bytes) -> None:
        try:
            self._socket.sendall(data)
        except OSError:
            raise DisconnectedError from None


def _unescaped(content: bytes) -> bytes:
    """Without the escapes of binary data (`}` and the byte with bit 5 flipped)."""
    head, *rest = content.split(b"}")
    return head + b"".join(bytes([part[0] ^ 0x20]) + part[1:] for part in rest if part)
