"""The engine on Renode: the cores of a machine run by Renode's scheduler, everything else by the SoC's own models.

Cores take turns of one quantum, the A7 first (Renode's serial execution), so models and firewall windows are only ever
touched while no other core runs. The secure world's own work takes no virtual time. Alarms go off between two turns,
which end where the next alarm is due; one that is set for a time within the turn goes off at the end of that turn.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from cosim.access import Initiator
from cosim.engine import CoreState, CoreView, Machine, StopReason
from cosim.engine.renode.core import Core
from cosim.engine.renode.cortex_a7 import CortexA7
from cosim.engine.renode.cortex_m4 import CortexM4
from cosim.engine.renode.host import open_host
from cosim.engine.renode.ports import place_shadows, place_targets
from cosim.engine.renode.routes import Viewer
from cosim.engine.renode.snapshot import RenodeSnapshots, RenodeState
from cosim.engine.renode.turns import Turns
from cosim.engine.renode.windows import CoreWindows, Made
from cosim.errors import EngineError, RunTimeout
from cosim.events import CoreHeld, CoreReleased, CoreStopped, Stamp
from cosim.interrupts import GIC_TYPE
from cosim.memory import MemoryBank
from cosim.platform.model import Entry

MICROSECOND = 10**6  # in picoseconds
MOST_MICROSECONDS = 10**10  # ten thousand seconds
#: Quanta between two looks at the condition.
CHUNK = 100


@dataclass(frozen=True)
class EngineState:
    """What `RenodeEngine.save` returns: Renode's part, and what the objects of this package know beyond it."""

    renode: RenodeState
    cores: tuple[Mapping[str, object], ...]
    windows: tuple[Made, ...]
    turn_us: int
    deferred: tuple[Callable[[], None], ...]


class RenodeEngine:
    """See `cosim.engine.Engine`.

    Renode has one emulation per process, so a later engine ends this one: its memories, blocks, log and counters can
    still be looked at, everything that would run it raises `EngineError`.
    """

    name = "renode"

    def __init__(self, machine: Machine) -> None:
        a7, m4 = (_only(machine, kind) for kind in ("CPU.ARMv7A", "CPU.CortexM"))
        self._machine = machine
        # Renode counts whole microseconds: what a quantum has beyond them is lost to a core of 209 MIPS.
        self._quantum_us = -(-machine.quantum // _mips(m4))
        self._ended = False
        self._current: Core | None = None
        self._reason: StopReason | None = None
        self._until: Callable[[], bool] | None = None
        self._failure: BaseException | None = None
        self._stale: list[tuple[MemoryBank, int, int]] = []
        self._deferred: list[Callable[[], None]] = []
        self._paused = False
        self._order: tuple[Core, ...] = ()
        self._host = host = open_host(machine.platform, self._quantum_us, self._end)
        self._turns = Turns(host.emulation, host.machine, self._quantum_us)
        viewers = (
            Viewer(a7.name, Initiator.A7_NS, "a7", _homes(machine, a7)),
            Viewer(m4.name, Initiator.M4, "m4", _homes(machine, m4)),
        )
        objects = host.objects
        self._a7 = CortexA7(machine, objects[a7.name], viewers[0], self._guard, self._serve_smc)
        self._m4 = CortexM4(machine, objects[m4.name], viewers[1], self._guard, nvic=objects["nvic"], bus=host.bus)
        self._order = (self._a7, self._m4)
        place_targets(host, machine, self._order, self._guard)
        self._windows = tuple(self._make_windows(core) for core in self._order)
        self._update_windows(None)
        self._connect_interrupts()
        machine.firewall.listen(self._update_windows)
        machine.bus.listen_writes(self._on_host_write)
        machine.log.clock = self.stamp

    def _connect_interrupts(self) -> None:
        gic = self._host.objects[_only(self._machine, GIC_TYPE).name]

        def drive_gic(line: int, level: bool) -> None:
            if not self._ended:
                gic.OnGPIO(line, level)

        def drive_nvic(line: int, level: bool) -> None:
            if not self._ended:
                self._m4.drive_line(line, level)

        self._machine.interrupts.gic.connect(drive_gic)
        self._machine.interrupts.nvic.connect(drive_nvic)

    def _make_windows(self, core: Core) -> CoreWindows:
        machine = self._machine
        shadows = place_shadows(self._host, machine, core, self._guard)
        return CoreWindows(core.cpu, core.viewer, machine.bus.windows, shadows, machine.firewall)

    # -- what the SoC sees -------------------------------------------------------------------------------------

    @property
    def cores(self) -> Mapping[str, CoreView]:
        """See `Engine.cores`."""
        return {core.name: core for core in self._order}

    @property
    def version(self) -> str:
        """See `Engine.version`."""
        return self._host.version

    def stamp(self) -> Stamp:
        """Now: the core at work, or the latest time any core has reached when none is."""
        core = self._current
        if core is None:
            return Stamp(max(c.time_ps for c in self._order), "host", 0, 0)
        return Stamp(core.time_ps, core.name, core.retired, core.pc, core.cycles)

    def start(self, core: str, entry: int) -> None:
        """See `Engine.start`."""
        self._check_alive()
        if core != self._a7.name:
            raise EngineError(f"only the application core can be started at an address, not {core!r}", core=core)
        self._a7.start(entry)
        self._a7.catch_up(self._horizon_ps)

    def run(self, until: Callable[[], bool] | None, budget_ps: int) -> StopReason:
        """See `Engine.run`."""
        self._check_alive()
        end_us = -(-(self._horizon_ps + budget_ps) // MICROSECOND)
        self._reason, self._until = None, until
        try:
            while True:
                reason = self._why_stop(end_us)
                if reason is not None:
                    return reason
                self._ready()
                self._turns.run(lambda now_us: self._look(now_us, end_us))
                if self._failure is not None:
                    failure, self._failure = self._failure, None
                    raise failure
        finally:
            for core in self._order:
                core.remember()

    @property
    def _horizon_ps(self) -> int:
        """The virtual time that all turns have reached."""
        return self._turns.now_us * MICROSECOND

    def _ready(self) -> None:
        """Do what waited for Renode's threads to stand still, and let the cores run that do."""
        self._paused = False
        self._drop_stale_code()
        deferred, self._deferred = self._deferred, []
        for work in deferred:
            work()
        for core in self._order:
            core.resume()

    def _look(self, now_us: int, end_us: int) -> int | None:
        """Between two turns: see `Look`."""
        for core in self._order:
            if core.state is CoreState.RUNNING and not self._paused:
                core.catch_up(now_us * MICROSECOND)
        if self._failure is None:
            self._machine.timers.run_due(now_us * MICROSECOND)
            self._drop_stale_code()
        if self._failure is not None or self._deferred or self._paused or self._why_stop(end_us) is not None:
            return None
        return min(end_us, now_us + self._quantum_us * CHUNK, self._alarm_us(end_us))

    def _alarm_us(self, otherwise_us: int) -> int:
        """When the next alarm is due, rounded up."""
        due_ps = self._machine.timers.next_at()
        return otherwise_us if due_ps is None else -(-due_ps // MICROSECOND)

    def _why_stop(self, end_us: int) -> StopReason | None:
        if self._reason is not None:
            return self._reason
        if self._flooded():
            raise RunTimeout(
                f"the run made more than {self._machine.most_events} events",
                hint="the end of the log shows which access is repeated; raise most_events if that is meant",
                events=len(self._machine.log),
            )
        if self._until is not None and self._until():
            return StopReason.CONDITION
        if not self._deferred and not self._may_go_on():
            return StopReason.IDLE
        return StopReason.TIME if self._turns.now_us >= end_us else None

    def _may_go_on(self) -> bool:
        """Whether a core runs, or something is due that may wake one."""
        if any(core.state is CoreState.RUNNING or core.wakes_itself for core in self._order):
            return True
        return self._machine.timers.next_at() is not None

    def _flooded(self) -> bool:
        return len(self._machine.log) > self._machine.most_events

    def stop(self, reason: StopReason) -> None:
        """See `Engine.stop`."""
        self._check_alive()
        self._reason = reason
        self._pause()

    def release(self, core: str) -> None:
        """See `Engine.release`."""
        self._check_alive()
        m4 = self._m4
        if core != m4.name or m4.state is not CoreState.HELD:
            return
        m4.set_origin(self.stamp().time_ps)
        vectors = m4.vectors()
        if vectors is None:
            m4.state = CoreState.LOCKED_UP
            self._machine.log.emit(CoreStopped(m4.name, "lockup: the vector table cannot be read"))
            return
        self._machine.log.emit(CoreReleased(m4.name, *vectors))
        m4.state = CoreState.RUNNING
        if self._deferred or any(core.cpu.OnPossessedThread for core in self._order):
            # In the midst of a turn it would depend on Renode's threads whether the M4 still gets its share of it.
            self._deferred.append(lambda: self._let_go(vectors))
            self._turns.look_soon()
        else:
            self._let_go(vectors)

    def _let_go(self, vectors: tuple[int, int]) -> None:
        self._drop_stale_code()
        self._m4.release(vectors)
        self._m4.watch_entry(vectors[1] & ~1)
        self._m4.resume()

    def hold(self, core: str) -> None:
        """See `Engine.hold`."""
        self._check_alive()
        m4 = self._m4
        if core != m4.name or m4.state is CoreState.HELD:
            return
        m4.state = CoreState.HELD
        if m4.cpu.OnPossessedThread:
            # It holds itself, in the midst of an instruction: everybody stops, and `run` goes on from there.
            self._deferred.append(m4.reset)
            self._pause()
        else:
            self._deferred.clear()
            m4.reset()
        self._machine.log.emit(CoreHeld(core, m4.retired, m4.cycles))

    def save(self) -> EngineState:
        """See `Engine.save`. Raises `EngineError` when a later SoC ended this one."""
        self._check_alive()
        return EngineState(
            self._snapshots.save(),
            tuple(core.save() for core in self._order),
            tuple(windows.save() for windows in self._windows),
            self._turns.save(),
            tuple(self._deferred),
        )

    def load(self, state: object) -> None:
        """See `Engine.load`. Raises `EngineError` for a state of another engine, or when a later SoC ended this one."""
        self._check_alive()
        if not isinstance(state, EngineState):
            raise EngineError("not a snapshot of this engine", hint="restore into the SoC that was saved")
        self._snapshots.load(state.renode)
        self._turns.load(state.turn_us)
        for core, saved in zip(self._order, state.cores, strict=True):
            core.load(saved)
        for windows, made in zip(self._windows, state.windows, strict=True):
            windows.load(made)
        self._stale, self._deferred, self._failure = [], list(state.deferred), None
        for core in self._order:
            core.remember()

    @functools.cached_property
    def _snapshots(self) -> RenodeSnapshots:
        cpus = tuple(core.cpu for core in self._order)
        gic = self._host.objects[_only(self._machine, GIC_TYPE).name]
        return RenodeSnapshots(self._host, cpus, (self._host.objects["nvic"], gic))

    def _end(self) -> None:
        self._ended = True
        for core in self._order:
            core.end()

    def _check_alive(self) -> None:
        if self._ended:
            raise EngineError(
                "this SoC was ended by a later one on the engine renode",
                hint="Renode has one emulation per process: use one SoC after the other, or further processes",
                engine=self.name,
            )

    # -- on the CPU threads ------------------------------------------------------------------------------------

    @contextmanager
    def _at_work(self, core: Core) -> Iterator[None]:
        before, self._current = self._current, core
        try:
            yield
        finally:
            self._current = before

    def _guard(self, core: Core, work: Callable[[], None]) -> None:
        """See `Guard`."""
        if self._failure is not None:
            return
        try:
            with self._at_work(core):
                work()
            self._drop_stale_code()
            if self._flooded() or (self._until is not None and self._until()):
                self._pause()
            elif self._alarm_us(MOST_MICROSECONDS) < self._turns.goal_us:
                self._turns.look_soon()
        except BaseException as error:  # must not cross Renode's frames; `run` raises it again
            self._failure = error
            self._pause()

    def _pause(self) -> None:
        """Let no core go on in this turn, and end the slice with it."""
        self._paused = True
        for core in self._order:
            core.pause()
        self._turns.look_soon()

    def _serve_smc(self) -> None:
        a7 = self._a7
        a7.count(1)  # Renode steps over the instruction, but it retires
        a7.smc_results(self._machine.smc(a7.smc_arguments()))
        if self._reason is StopReason.POWER_OFF:
            a7.state = CoreState.OFF
            a7.pause()

    # -- firewall and code ---------------------------------------------------------------------------------------

    def _update_windows(self, target: str | None) -> None:
        for windows in () if self._ended else self._windows:
            windows.update(self._machine.bus.deny, target)

    def _on_host_write(self, bank: MemoryBank, offset: int, size: int) -> None:
        """The bus stored something: find the SMCs in it, and have its translations dropped."""
        if self._ended:
            return
        self._stale.append((bank, offset, size))
        if bank.name not in self._a7.viewer.homes:
            return
        for address, first, length in _seen(self._machine, self._a7, bank, offset, size):
            self._a7.watch_code(bank.read(first, length), address)

    def _drop_stale_code(self) -> None:
        """Renode would go on executing translations of what the host wrote over."""
        from System import IntPtr

        stale, self._stale = self._stale, []
        for bank, offset, size in stale:
            for core in self._order:
                for address, _, length in _seen(self._machine, core, bank, offset, size):
                    core.cpu.OrderTranslationBlocksInvalidation(IntPtr(address), IntPtr(address + length), False)


def _only(machine: Machine, kind: str) -> Entry:
    entries = machine.platform.of_type(kind)
    if len(entries) != 1:
        raise EngineError(f"the engine renode needs exactly one {kind}, found {len(entries)}", engine="renode")
    return entries[0]


def _mips(entry: Entry) -> int:
    mips = entry.properties.get("PerformanceInMips", 100)
    if not isinstance(mips, int) or not 1 <= mips <= 10_000:
        raise EngineError(f"{entry.name}: PerformanceInMips must be 1 to 10000", core=entry.name)
    return mips


def _homes(machine: Machine, core: Entry) -> frozenset[str]:
    return frozenset(bank for bank, home in machine.homes.items() if home == core.name)


def _seen(machine: Machine, core: Core, bank: MemoryBank, offset: int, size: int) -> Iterator[tuple[int, int, int]]:
    """Where a core sees a piece of a bank: address, offset in the bank, length, for each alias."""
    for window in machine.bus.windows:
        if window.target is not bank or not core.viewer.sees(window):
            continue
        first, last = max(offset, window.offset), min(offset + size, window.offset + window.size)
        if first < last:
            yield window.address + first - window.offset, first, last - first
