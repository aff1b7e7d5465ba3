"""The server: one GDB at a core of the embedded engine, all-stop, over TCP on this machine."""

from __future__ import annotations

import contextlib
import re
import select
import socket
from collections.abc import Callable, Mapping
from types import TracebackType

from cosim.engine import CoreState, DebugCore, Debuggable, Watch
from cosim.errors import BusFault, CosimError, UsageError
from cosim.gdb.packets import INTERRUPT, LOOK_EVERY_S, MOST_PACKET, Connection, DisconnectedError
from cosim.gdb.target import Target

HOST = "127.0.0.1"
_OK, _UNSUPPORTED, _BAD_REQUEST, _BAD_ADDRESS = b"OK", b"", b"E01", b"E0e"
#: Signals of the stop reply.
_SIGINT, _SIGTRAP, _SIGSEGV = 2, 5, 11
_MOST_BREAKPOINTS = 256
#: Z and z: whether reads and writes count, by the type of a watchpoint.
_WATCHES = {"2": (False, True), "3": (True, False), "4": (True, True)}
_WATCH_NAMES = {(False, True): b"watch", (True, False): b"rwatch", (True, True): b"awatch"}
_SUPPORTED = b"PacketSize=%x;QStartNoAckMode+;qXfer:features:read+;hwbreak+;swbreak+;vContSupported+" % MOST_PACKET
_FIXED = {
    "vCont?": b"vCont;c;C;s;S",
    "qC": b"QC1",
    "qfThreadInfo": b"m1",
    "qsThreadInfo": b"l",
    "qAttached": b"1",
    "!": _UNSUPPORTED,
}

#: Text behind `monitor NAME` in GDB: takes the rest of the line, returns what GDB prints.
Command = Callable[[str], str]


class GdbServer:
    """A `Debugger` of the core named `core`; use it as a context, and call `finish` when the run has ended.

    The core stops before its first instruction, and waits there for GDB. `port` 0 takes a free one; `tell` is given a
    line for the user; `ended` says whether somebody else ended the run, `kill` ends it. Raises `UsageError` when the
    port cannot be had.
    """

    def __init__(
        self,
        engine: Debuggable,
        core: str,
        *,
        port: int,
        tell: Callable[[str], None],
        ended: Callable[[], bool],
        kill: Callable[[], None],
        commands: Mapping[str, Command],
    ) -> None:
        self._listener = _listen(port)
        self.port: int = self._listener.getsockname()[1]
        self._tell, self._ended, self._kill, self._commands = tell, ended, kill, commands
        self._connection: Connection | None = None
        self._engine = engine
        self._core: DebugCore = engine.debug_core(core)
        self._target = Target(self._core, m_profile=core != "a7")
        self._breakpoints: set[int] = set()
        self._watches: set[Watch] = set()
        self._stop_reply = b""
        self._locked_up = self._left = False
        self._core.stop_at((), every=True)
        engine.attach(self)

    def __enter__(self) -> GdbServer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._leave()

    def finish(self, exit_code: int) -> None:
        """Tell GDB that the run is over, as a process that exits would."""
        if self._connection is not None:
            with contextlib.suppress(DisconnectedError):
                self._connection.send(b"W%02x" % exit_code)
        self._leave()

    # -- what the engine tells ---------------------------------------------------------------------------------

    def stopped(self, core: DebugCore) -> None:
        """See `Debugger.stopped`."""
        watch = core.watched
        if watch is None:
            self._talk(b"T%02xhwbreak:;thread:1;" % _SIGTRAP)
        else:
            name = _WATCH_NAMES[watch.reads, watch.writes]
            self._talk(b"T%02x%s:%x;thread:1;" % (_SIGTRAP, name, watch.address))

    def look(self) -> None:
        """See `Debugger.look`: an interrupt from GDB, or a lockup."""
        if self._connection is None:
            return
        locked_up, before = self._core.state is CoreState.LOCKED_UP, self._locked_up
        self._locked_up = locked_up
        try:
            if self._connection.interrupted():
                self._talk(b"T%02xthread:1;" % _SIGINT)
            elif locked_up and not before:
                self._talk(b"T%02xthread:1;" % _SIGSEGV)
        except DisconnectedError:
            self._lost()

    # -- the conversation --------------------------------------------------------------------------------------

    def _talk(self, why: bytes) -> None:
        """The machine stands still: do what GDB wants until it lets it go on."""
        if self._left:
            return
        self._stop_reply = why
        try:
            if self._connection is None:
                self._accept()
            else:
                self._connection.send(why)
            while self._answer():
                pass
        except DisconnectedError:
            self._lost()

    def _accept(self) -> None:
        self._tell(
            f"{self._core.name} stands before its first instruction, at 0x{self._core.pc:08x}, and waits for GDB:"
        )
        self._tell(f"    gdb-multiarch FIRMWARE.elf -ex 'target remote {HOST}:{self.port}'")
        while not select.select([self._listener], [], [], LOOK_EVERY_S)[0]:
            if self._ended():
                raise DisconnectedError
        sock, _ = self._listener.accept()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connection = Connection(sock, self._ended)

    def _lost(self) -> None:
        if not self._ended():
            self._tell("GDB is gone; the run goes on without it")
        self._leave()

    def _leave(self) -> None:
        self._left = True
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self._listener.close()
        self._core.stop_at(())
        self._engine.attach(None)

    def _answer(self) -> bool:
        """Serve one packet; False when the machine goes on."""
        assert self._connection is not None
        packet = self._connection.receive()
        if packet == INTERRUPT:
            return True  # it stands already
        text = packet.decode("latin-1")
        resume = re.fullmatch(r"(?:vCont;)?([cCsS]).*", text)
        if resume is not None:
            self._go_on(step=resume[1] in "sS")
            return False
        if text[:1] == "D" or text == "k" or text.startswith("vKill"):
            if text[:1] != "k":
                self._connection.send(_OK)
            if text[:1] != "D":
                self._kill()
            self._leave()
            return False
        self._connection.send(self._reply(text, packet))
        if text == "QStartNoAckMode":
            self._connection.acknowledges = False
        return True

    def _go_on(self, *, step: bool) -> None:
        self._core.stop_at(self._breakpoints, self._watches, every=step)

    def _reply(self, text: str, packet: bytes) -> bytes:
        if text in _FIXED:
            return _FIXED[text]
        serve = _SERVERS.get(text[:1])
        try:
            return _UNSUPPORTED if serve is None else serve(self, text, packet)
        except BusFault:
            return _BAD_ADDRESS
        except (ValueError, IndexError, OverflowError, CosimError):
            return _BAD_REQUEST

    def _query(self, text: str, _packet: bytes) -> bytes:
        if text.startswith("qSupported"):
            return _SUPPORTED
        if text.startswith("qXfer:features:read:target.xml:"):
            offset, size = _numbers(text.rpartition(":")[2])
            part = self._target.description()[offset : offset + min(size, MOST_PACKET - 16)]
            return (b"m" if offset + len(part) < len(self._target.description()) else b"l") + part
        if text.startswith("qRcmd,"):
            return self._monitor(bytes.fromhex(text.removeprefix("qRcmd,")).decode("latin-1")).encode().hex().encode()
        return _OK if text.startswith("qSymbol:") else _UNSUPPORTED

    def _monitor(self, line: str) -> str:
        name, _, rest = line.strip().partition(" ")
        command = self._commands.get(name)
        if command is None:
            return f"there is no {name!r}; there are: {', '.join(sorted(self._commands))}\n"
        return command(rest.strip())

    def _set(self, text: str, _packet: bytes) -> bytes:
        return _OK if text == "QStartNoAckMode" else _UNSUPPORTED

    def _why(self, _text: str, _packet: bytes) -> bytes:
        return self._stop_reply

    def _thread(self, _text: str, _packet: bytes) -> bytes:
        return _OK

    def _registers(self, text: str, _packet: bytes) -> bytes:
        if text[0] == "g":
            return self._target.read_all().hex().encode()
        if text[0] == "G":
            self._target.write_all(bytes.fromhex(text[1:]))
        elif text[0] == "p":
            return self._target.read(int(text[1:], 16)).hex().encode()
        else:
            number, _, value = text[1:].partition("=")
            self._target.write(int(number, 16), bytes.fromhex(value))
        return _OK

    def _memory(self, text: str, packet: bytes) -> bytes:
        head, _, _ = text[1:].partition(":")
        address, size = _numbers(head)
        if address + size > 1 << 32 or size > MOST_PACKET // 2 - 8:
            return _BAD_ADDRESS
        if text[0] == "m":
            return self._core.debug_read(address, size).hex().encode()
        data = packet[len(head) + 2 :]
        data = bytes.fromhex(data.decode("ascii")) if text[0] == "M" else data
        if len(data) != size:
            return _BAD_REQUEST
        if data:
            self._core.debug_write(address, data)
        return _OK

    def _stops(self, text: str, _packet: bytes) -> bytes:
        kind, address, size = text[1:2], *_numbers(text[3:].partition(";")[0])
        if kind not in {"0", "1", *_WATCHES}:
            return _UNSUPPORTED
        if text[0] == "Z" and len(self._breakpoints) + len(self._watches) >= _MOST_BREAKPOINTS:
            return _BAD_REQUEST
        if kind in "01":
            (self._breakpoints.add if text[0] == "Z" else self._breakpoints.discard)(address & 0xFFFFFFFE)
            return _OK
        reads, writes = _WATCHES[kind]
        watch = Watch(address, size, reads=reads, writes=writes)
        if text[0] == "Z":
            self._core.stop_at(self._breakpoints, {*self._watches, watch}, every=True)  # refused for what is no memory
            self._watches.add(watch)
        else:
            self._watches.discard(watch)
        return _OK


def _numbers(text: str) -> tuple[int, int]:
    """Two hexadecimal numbers with a comma between. Raises `ValueError`."""
    first, _, second = text.partition(",")
    if not re.fullmatch(r"[0-9a-fA-F]{1,8},[0-9a-fA-F]{1,8}", text):
        raise ValueError(text)
    return int(first, 16), int(second, 16)


def _listen(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
        listener.listen(1)
    except OSError as error:
        listener.close()
        raise UsageError(f"port {port}: {error.strerror}", hint="choose another one, or 0 for any", port=port) from None
    return listener


_SERVERS: Mapping[str, Callable[[GdbServer, str, bytes], bytes]] = {
    "q": GdbServer._query,
    "Q": GdbServer._set,
    "?": GdbServer._why,
    "H": GdbServer._thread,
    "T": GdbServer._thread,
    **dict.fromkeys("gGpP", GdbServer._registers),
    **dict.fromkeys("mMX", GdbServer._memory),
    **dict.fromkeys("Zz", GdbServer._stops),
}
