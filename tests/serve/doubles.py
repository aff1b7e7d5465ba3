"""Doubles for both ends: a machine without cores behind the real shim, and a server that serves one client."""

from __future__ import annotations

import contextlib
import importlib.util
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from cosim.boot import BootReport
from cosim.errors import CosimError
from cosim.events import Record
from cosim.memory import MemoryBank
from cosim.resources import platform_file
from cosim.scripts import Script, flow
from cosim.serve.listener import admit, listen_on_port
from cosim.serve.server import serve_boot
from cosim.soc import SocConfig
from ta.profile import FirewallProfile

TOKEN = b"0123456789abcdef" * 4
HOST, A7, M4 = range(3)
SHIM_FILE = platform_file("stm32mp157c-dk2.resc").parent / "pydev" / "cosim_shim.py"
PSCI_SYSTEM_OFF = 0x84000008
SIZES = {
    "retram": 0x10000, "sram1": 0x20000, "sram2": 0x20000, "sram3": 0x10000, "sram4": 0x10000,
    "sysram": 0x40000, "bkpsram": 0x1000, "ddr": 0x20000000,
}  # fmt: skip


def load_shim(path: Path = SHIM_FILE) -> Any:
    """The shim as Renode's monitor has it, without a monitor."""
    spec = importlib.util.spec_from_file_location("cosim_shim_under_test", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class MachineDouble:
    """Memories that hold, cores that only note what is done to them."""

    def __init__(self) -> None:
        self.banks = {name: MemoryBank(name, size) for name, size in SIZES.items()}
        self.core, self.nanoseconds, self.instructions, self.pc = A7, 0, 0, 0
        self.locked: set[tuple[str, int]] = set()
        self.lock_calls: list[tuple[str, int, bool]] = []
        self.started: list[tuple[str, int]] = []
        self.released: list[tuple[str, int]] = []
        self.held: list[str] = []
        self.farewell: tuple[int, str] | None = None
        self.errors: list[str] = []
        self.halted = False

    def stamp(self) -> tuple[int, int, int, int]:
        return self.core, self.nanoseconds, self.instructions, self.pc

    def m4_halted(self) -> bool:
        return self.halted

    def error(self, text: str) -> None:
        self.errors.append(text)

    def read_mem(self, name: str, offset: int, size: int) -> bytearray:
        return bytearray(self.banks[name].read(offset, size))

    def write_mem(self, name: str, offset: int, data: bytes) -> None:
        self.banks[name].write(offset, bytes(data))

    def lock(self, core: str, address: int, _size: int, locked: bool) -> None:
        self.lock_calls.append((core, address, locked))
        (self.locked.add if locked else self.locked.discard)((core, address))

    def start(self, core: str, entry: int) -> None:
        self.started.append((core, entry))

    def release(self, core: str, entry: int) -> None:
        self.released.append((core, entry))

    def hold(self, core: str) -> int:
        self.held.append(core)
        return 77

    def end(self, exit_code: int, text: str) -> None:
        self.farewell = (exit_code, text)


def nothing(_address: int, _size: int) -> Script:
    """A script of the normal world that only switches off."""
    return flow()


class Server:
    """Admits one client on a free port and serves it in a thread; `outcome` joins it."""

    def __init__(self, image: bytes = b"no image", script: Callable[..., Script] = nothing, **options: Any) -> None:
        self.records: list[Record] = []
        self.sent_away: list[str] = []
        self.admitted = False
        self._image, self._script, self._options = image, script, options
        self._context = listen_on_port("127.0.0.1", 0)
        self._listener = self._context.__enter__()
        self.port: int = self._listener.getsockname()[1]
        self._result: BootReport | CosimError | None = None
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def endpoint(self) -> str:
        return f"127.0.0.1:{self.port}"

    def outcome(self) -> BootReport | CosimError:
        """What the served boot came to, or the error that ended it."""
        self._thread.join(30)
        self._context.__exit__(None, None, None)
        assert self._result is not None, "the server did not end"
        return self._result

    def report(self) -> BootReport:
        result = self.outcome()
        assert isinstance(result, BootReport), result
        return result

    def _serve(self) -> None:
        connection = admit(self._listener, TOKEN, self.sent_away.append)
        self.admitted = True
        try:
            config = SocConfig(firewall=FirewallProfile.ISOLATED)
            options = {"listen": self.records.append, "script": self._script, **self._options}
            self._result = serve_boot(connection, self._image, config, **options)
        except CosimError as error:
            self._result = error


class Renode:
    """A machine double behind the real shim, connected and prepared by a server."""

    def __init__(self, server: Server) -> None:
        self.module = load_shim()
        self.machine = MachineDouble()
        self.stream = self.module.connect(server.endpoint, bytearray(TOKEN), "a double")
        self.shim = self.module.Shim(self.stream, self.machine)
        assert self.shim.begin() is not None, self.machine.errors

    def switch_off(self) -> tuple[int, ...]:
        """The normal world asks for SYSTEM_OFF."""
        self.machine.core = A7
        return tuple(self.shim.smc([PSCI_SYSTEM_OFF, *[0] * 7]))

    def hang_up(self) -> None:
        self.stream.close()


@contextlib.contextmanager
def served(**options: Any) -> Iterator[tuple[Server, Renode]]:
    """A server and a double that it has prepared; the double is gone afterwards."""
    server = Server(**options)
    renode = Renode(server)
    try:
        yield server, renode
    finally:
        renode.hang_up()
        server.outcome()
