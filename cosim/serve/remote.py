"""A Renode in another process, seen as the memories and the engine of a SoC.

Renode executes; whenever a core needs a model (a register access, an SMC) its request comes in here, and while it waits
for the answer its memories can be read and written and its cores controlled.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from cosim.access import AccessKind, Initiator, Rights
from cosim.bus import View, Window
from cosim.engine import CoreState, Engine, Machine, StopReason
from cosim.errors import BusFault, EngineError
from cosim.events import ConsoleLine, CoreHeld, CoreReleased, CoreStopped, FirstInstruction, Stamp
from cosim.memory import CHUNK, MemoryBank
from cosim.serve import protocol
from cosim.serve.listener import Connection
from cosim.serve.protocol import MOST_DATA, Kind, Request

A7: View = "a7"
M4: View = "m4"
_INITIATORS: dict[str, Initiator] = {A7: Initiator.A7_NS, M4: Initiator.M4}
_NOWHERE = Stamp(0, "host", 0, 0)


class RemoteBank(MemoryBank):
    """A memory whose bytes are in Renode. Reads and writes raise `ProtocolError` when the client is lost."""

    def __init__(self, name: str, size: int, connection: Connection) -> None:
        # The base class would make a buffer in this process.
        self.name = name
        self.size = size
        self._connection = connection

    @property
    def host_address(self) -> int:
        """Raises `EngineError`: the buffer belongs to another process."""
        raise EngineError(f"memory {self.name} is in another process", hint="read it through the bus", target=self.name)

    def read(self, offset: int, size: int) -> bytes:
        """The `size` bytes at `offset`. Raises `BusFault` outside the bank."""
        self._check(offset, size)
        return b"".join(self._read_part(at, min(MOST_DATA, offset + size - at)) for at in _parts(offset, size))

    def write(self, offset: int, data: bytes) -> None:
        """Store `data` at `offset`. Raises `BusFault` outside the bank."""
        self._check(offset, len(data))
        for at in _parts(offset, len(data)):
            part = data[at - offset : at - offset + MOST_DATA]
            self._connection.ask(Kind.WRITE_MEM, protocol.write_mem(self.name, at, part))

    def holds(self, offset: int, data: bytes, start: int = 0, size: int | None = None) -> bool:
        """Whether the bytes at `offset` are `data`, or `size` bytes of it from `start`. Raises `BusFault` outside."""
        wanted = data[start:] if size is None else data[start : start + size]
        return self.read(offset, len(wanted)) == wanted

    def fill(self, offset: int, size: int, value: int = 0) -> None:
        """Set `size` bytes at `offset` to the byte `value`. Raises `BusFault` outside the bank."""
        self._check(offset, size)
        for at in _parts(offset, size):
            self.write(at, bytes((value & 0xFF,)) * min(CHUNK, offset + size - at))

    def reset(self) -> None:
        """Raises `EngineError`: Renode resets its memories itself."""
        raise self._not_here("reset")

    def save(self) -> object:  # type: ignore[override]
        """Raises `EngineError`: Renode saves its own state."""
        raise self._not_here("saved")

    def load(self, state: object) -> None:  # noqa: ARG002 - the interface of a memory
        """Raises `EngineError`: Renode restores its own state."""
        raise self._not_here("restored")

    def _read_part(self, offset: int, size: int) -> bytes:
        data = self._connection.ask(Kind.READ_MEM, protocol.read_mem(self.name, offset, size))
        if len(data) != size:
            raise protocol.malformed(f"{len(data)} bytes of {self.name} where {size} were asked for")
        return data

    def _not_here(self, what: str) -> EngineError:
        return EngineError(f"memory {self.name} cannot be {what} from here", hint="use Renode's own commands")


def _parts(offset: int, size: int) -> range:
    return range(offset, offset + size, MOST_DATA)


class RemoteCore:
    """What is known of a core in Renode: as of its last request."""

    def __init__(self, name: str, state: CoreState) -> None:
        self.name = name
        self.state = state
        self.stamp = Stamp(0, name, 0, 0)

    @property
    def retired(self) -> int:
        """Instructions that Renode counted."""
        return self.stamp.instructions

    @property
    def time_ps(self) -> int:
        """Renode's virtual time in picoseconds."""
        return self.stamp.time_ps

    @property
    def pc(self) -> int:
        """The PC that came with the last request."""
        return self.stamp.pc

    def read_register(self, name: str) -> int:
        """Raises `EngineError`: registers are Renode's."""
        raise EngineError(f"{self.name}: {name} is not known here", hint="ask Renode's monitor or GDB", core=self.name)


class RemoteEngine:
    """Serves the requests of one Renode; implements `cosim.engine.Engine`."""

    name = "plain-renode"

    def __init__(self, machine: Machine, connection: Connection) -> None:
        self._machine = machine
        self._connection = connection
        self._cores: dict[str, RemoteCore] = {A7: RemoteCore(A7, CoreState.HELD), M4: RemoteCore(M4, CoreState.HELD)}
        self._now = _NOWHERE
        self._reason: StopReason | None = None
        self._answer: bytes | None = protocol.done()
        self._locked: set[tuple[str, int]] = set()
        self._changed = {window.target.name for window in machine.bus.windows}
        machine.firewall.listen(self._changed.add)
        machine.log.clock = self.stamp

    @property
    def cores(self) -> Mapping[str, RemoteCore]:
        """See `Engine.cores`."""
        return self._cores

    @property
    def version(self) -> str:
        """See `Engine.version`."""
        return self._connection.peer

    def stamp(self) -> Stamp:
        """The stamp of the request at work."""
        return self._now

    def run(self, until: Callable[[], bool] | None, budget_ps: int) -> StopReason:
        """See `Engine.run`; the request that ended the run stays unanswered, so that memory can still be looked at."""
        end = self._now.time_ps + budget_ps
        self._reason = None
        while True:
            self._send_answer()
            self._answer = self._serve(*self._connection.receive(None))
            reason = self._why_stopped()
            if reason is not None:
                return reason
            if until is not None and until():
                return StopReason.CONDITION
            if self._now.time_ps >= end:
                return StopReason.TIME

    def _why_stopped(self) -> StopReason | None:
        return self._reason

    def start(self, core: str, entry: int) -> None:
        """See `Engine.start`."""
        self._cores[core].state = CoreState.RUNNING
        self._connection.ask(Kind.START, protocol.start(core, entry))

    def stop(self, reason: StopReason) -> None:
        """See `Engine.stop`."""
        self._reason = reason
        if reason is StopReason.POWER_OFF:
            self._cores[A7].state = CoreState.OFF

    def release(self, core: str) -> None:
        """See `Engine.release`."""
        vectors = self._machine.bus.debug_read(M4, 0, 8)
        initial_sp, entry = int.from_bytes(vectors[:4], "little"), int.from_bytes(vectors[4:], "little")
        self._apply_locks()
        self._cores[core].state = CoreState.RUNNING
        self._machine.log.emit(CoreReleased(core, initial_sp, entry))
        self._connection.ask(Kind.RELEASE, protocol.release(core, entry))

    def hold(self, core: str) -> None:
        """See `Engine.hold`."""
        answer = self._connection.ask(Kind.HOLD, protocol.hold(core))
        if len(answer) != 8:
            raise protocol.malformed(f"{len(answer)} bytes where HOLD answers with the instruction count")
        self._cores[core].state = CoreState.HELD
        self._machine.log.emit(CoreHeld(core, int.from_bytes(answer, "little")))

    def save(self) -> object:
        """Raises `EngineError`: the state is Renode's."""
        raise EngineError("this engine has no snapshots", hint="use Renode's Save and Load", engine=self.name)

    def load(self, state: object) -> None:  # noqa: ARG002 - the interface of an engine
        """Raises `EngineError`, as `save` does."""
        self.save()

    def finish(self, exit_code: int, text: str) -> None:
        """Tell the client what came of it and let its request end. Raises `ProtocolError` when it is gone."""
        self._connection.ask(Kind.END, protocol.end(exit_code, text))
        self._send_answer()

    # -- requests ----------------------------------------------------------------------------------------------

    def _send_answer(self) -> None:
        if self._answer is not None:
            self._apply_locks()
            answer, self._answer = self._answer, None
            self._connection.send(Kind.DONE, answer)

    def _serve(self, kind: Kind, payload: bytes) -> bytes:
        request = protocol.parse_request(kind, payload)
        if request.stamp.time_ps < self._now.time_ps:
            raise protocol.malformed(f"{kind.name} whose time lies before the one of the request before it")
        self._now = request.stamp
        core = self._cores.get(request.stamp.core)
        if core is not None:
            core.stamp = request.stamp
        self._machine.timers.run_due(request.stamp.time_ps)
        if kind is Kind.SMC:
            return protocol.done(*self._machine.smc(request.registers))
        if kind in (Kind.READ, Kind.WRITE):
            return protocol.done(self._access(request))
        self._note(request)
        return protocol.done()

    def _access(self, request: Request) -> int:
        """An access to a modelled block; one that is denied or reaches nothing reads as zero."""
        bus, write = self._machine.bus, request.kind is Kind.WRITE
        initiator = _INITIATORS.get(request.stamp.core)
        if initiator is not None:
            kind = AccessKind.WRITE if write else AccessKind.READ
            return bus.transact(initiator, kind, request.address, request.size, request.value).value
        try:
            if not write:
                return int.from_bytes(bus.read(Initiator.DEBUG, request.address, request.size), "little")
            value = request.value & ((1 << 8 * request.size) - 1)
            bus.write(Initiator.DEBUG, request.address, value.to_bytes(request.size, "little"))
        except BusFault:
            pass
        return 0

    def _note(self, request: Request) -> None:
        log, m4 = self._machine.log, self._cores[M4]
        if request.kind is Kind.CONSOLE:
            log.emit(ConsoleLine(request.source, request.text))
        elif request.kind is Kind.FIRST:
            log.emit(FirstInstruction(request.stamp.core, request.address))
        elif request.halted and m4.state is CoreState.RUNNING:
            m4.state = CoreState.LOCKED_UP
            log.emit(CoreStopped(M4, "lockup"))

    # -- firewall ----------------------------------------------------------------------------------------------

    def _apply_locks(self) -> None:
        """Let Renode close and open what it holds itself, as the firewall now has it."""
        for window in self._machine.bus.windows:
            name = window.target.name
            if name not in self._changed or not self._renode_has(name):
                continue
            for core in (A7, M4) if window.cpu is None else (window.cpu,):
                self._set_lock(core, window, self._closed(core, window))
        self._changed.clear()

    def _renode_has(self, name: str) -> bool:
        entry = self._machine.platform.entries.get(name)
        return entry is not None and entry.type != "Python.PythonPeripheral"

    def _closed(self, core: str, window: Window) -> bool:
        """Renode locks a whole window or nothing: it is closed unless the core may read and write some part of it."""
        grants = self._machine.firewall.pieces(_INITIATORS[core], window.target.name, window.offset, window.size)
        return not any(Rights.READ | Rights.WRITE in grant.rights for grant in grants)

    def _set_lock(self, core: str, window: Window, locked: bool) -> None:
        key = (core, window.address)
        if locked is (key in self._locked):
            return
        self._connection.ask(Kind.LOCK, protocol.lock(core, window.address, window.size, locked=locked))
        self._locked ^= {key}


class RemoteHost:
    """One admitted Renode as the host of a SoC; implements `cosim.soc.Host`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.served: RemoteEngine | None = None

    def bank(self, name: str, size: int) -> RemoteBank:
        """See `Host.bank`."""
        return RemoteBank(name, size, self._connection)

    def engine(self, machine: Machine) -> Engine:
        """See `Host.engine`."""
        self.served = RemoteEngine(machine, self._connection)
        return self.served
