"""Target `gdb`: what comes from the socket at the GDB server while a core stands still, and while it runs.

An input is the bytes of one connection. The server must serve or refuse each of them, end when they end, and hold no
more breakpoints than its bound; what it changes is what the packets say, at the core's own addresses.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Collection, Sequence

from fuzz_target import FuzzTarget, Play, require

from cosim.engine import CoreState, ExecutedInstruction, ExecutedRun, ExecutionTrace, Watch
from cosim.errors import BusFault
from cosim.gdb import GdbServer

_MOST_STOPS = 256
_RAM = range(0x10000000, 0x10060000)


class FuzzCore:
    """A core without a machine behind it: registers, 384 KiB of memory that forgets, and its breakpoints."""

    name, state, retired, time_ps, pc, watched = "m4", CoreState.RUNNING, 0, 0, 0x10000000, None

    def read_register(self, _name: str) -> int:
        return 0

    def write_register(self, name: str, value: int) -> None:
        require(0 <= value < 1 << (64 if name[0] == "d" else 32), f"{name} cannot hold 0x{value:x}")

    def debug_read(self, address: int, size: int) -> bytes:
        self._check(address, size)
        return bytes(size)

    def debug_write(self, address: int, data: bytes) -> None:
        self._check(address, len(data))

    def read_code(self, _address: int, size: int) -> bytes:
        return bytes(size)

    # No packet asks for a trace: one that gets here is a finding.

    def trace_instructions(self, most: int) -> ExecutionTrace[ExecutedInstruction]:
        raise NotImplementedError

    def trace_runs(self, most: int) -> ExecutionTrace[ExecutedRun]:
        raise NotImplementedError

    def stop_at(self, addresses: Collection[int], watches: Collection[Watch] = (), *, every: bool = False) -> None:  # noqa: ARG002
        require(len(addresses) + len(watches) <= _MOST_STOPS, "more breakpoints than the bound")

    @staticmethod
    def _check(address: int, size: int) -> None:
        require(
            0 <= address <= 1 << 32 and address + size <= 1 << 32, f"{size} bytes at 0x{address:x} are no addresses"
        )
        if size and not (address in _RAM and address + size - 1 in _RAM):
            raise BusFault(f"0x{address:08x}", address=address)


class FuzzEngine:
    """Has that core."""

    def debug_core(self, _name: str) -> FuzzCore:
        return FuzzCore()

    def attach(self, debugger: object) -> None: ...


def packet(content: bytes) -> bytes:
    """`content` as GDB sends it."""
    return b"$%s#%02x" % (content, sum(content) & 0xFF)


def conversation(data: bytes) -> None:
    """Let GDB send `data` and hang up, while the core stops again and again."""
    server = GdbServer(
        FuzzEngine(),
        "m4",
        port=0,
        tell=lambda _line: None,
        ended=lambda: False,
        kill=lambda: None,
        commands={"time": str.upper},
    )
    with socket.create_connection(("127.0.0.1", server.port)) as gdb:
        gdb.sendall(data)
        gdb.shutdown(socket.SHUT_WR)
        reader = threading.Thread(target=_read_all, args=(gdb,))
        reader.start()
        with server:
            for _ in range(data.count(b"$") + 2):
                server.stopped(FuzzCore())
                server.look()
            server.finish(0)
        reader.join()


def _read_all(gdb: socket.socket) -> None:
    with contextlib.suppress(ConnectionError):  # the server hung up before it had read everything
        while gdb.recv(1 << 16):
            pass


def _seeds() -> Sequence[bytes]:
    asked = (b"qSupported:multiprocess+", b"QStartNoAckMode", b"?", b"g", b"qXfer:features:read:target.xml:0,fff")
    memory = (b"m10000000,40", b"M10000000,2:0a0b", b"X10000000,2:ab", b"P5=00000000", b"p0f")
    stops = (b"Z0,10000000,2", b"Z2,10020000,4", b"vCont;c", b"z0,10000000,2", b"s", b"qRcmd,74696d65")
    return [
        b"+".join(map(packet, (*asked, *memory))),
        b"+".join(map(packet, (*asked[2:4], *stops, b"D"))),
        packet(b"c") + b"\x03" + packet(b"k"),
        b"noise$?#00$#00" + packet(b"G" + b"00" * 220) + packet(b"vKill;1"),
    ]


def _make() -> Play:
    return conversation


GDB = FuzzTarget("gdb", _seeds, _make, most=8192)
