"""The client's side of GDB's remote serial protocol, as much as the tests say."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from cosim.boot import BootReport, attempt
from cosim.engine import debuggable
from cosim.errors import RunInterrupted
from cosim.gdb import GdbServer
from cosim.soc import Soc, SocConfig
from cosim.testing import default_signer

TIMEOUT_S = 60


class GdbClient:
    """A connection to a server at `port`."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._data = b""

    def __enter__(self) -> GdbClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, content: bytes) -> None:
        self.socket.sendall(b"$%s#%02x" % (content, sum(content) & 0xFF))

    def receive(self) -> bytes:
        """The next packet's content; b"" with nothing in it, or at the end of the connection."""
        while b"#" not in self._data or len(self._data) < self._data.index(b"#") + 3:
            more = self.socket.recv(4096)
            if not more:
                return b""
            self._data += more
        start, end = self._data.index(b"$"), self._data.index(b"#")
        content, self._data = self._data[start + 1 : end], self._data[end + 3 :]
        self.socket.sendall(b"+")
        return content

    def ask(self, content: bytes) -> bytes:
        self.send(content)
        return self.receive()

    def register(self, number: int) -> int:
        return int.from_bytes(bytes.fromhex(self.ask(b"p%x" % number).decode()), "little")


@dataclass
class Session:
    """A boot with GDB: its report, what the client returned, and what was said to the user."""

    soc: Soc
    report: BootReport
    answers: object = None
    told: list[str] = field(default_factory=list)


def boot_with_gdb(
    firmware: Path, client: Callable[[GdbClient], object], config: SocConfig | None = None, core: str = "m4"
) -> Session:
    """Boot an ELF file while `client` talks to the server from a thread of its own; its exceptions are raised here."""
    soc, told, found, failed = Soc(config), [], [], []

    def play(port: int) -> None:
        gdb = GdbClient(port)
        try:
            found.append(client(gdb))
        except BaseException as error:
            failed.append(error)
        finally:
            gdb.socket.close()

    server = GdbServer(
        debuggable(soc.engine),
        core,
        port=0,
        tell=told.append,
        ended=lambda: soc.ending is not None,
        kill=lambda: soc.end_run(RunInterrupted("killed")),
        commands={"echo": lambda text: f"<{text}>\n"},
    )
    thread = threading.Thread(target=play, args=(server.port,))
    thread.start()
    with server:
        report = attempt(soc, default_signer().sign(firmware.read_bytes()))
        server.finish(report.exit_code)
    thread.join(TIMEOUT_S)
    if failed:
        raise failed[0]
    return Session(soc, report, found[0], told)
