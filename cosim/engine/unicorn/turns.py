"""The embedded engine: the cores of a machine in deterministic turns.

The A7 leads and the M4 follows: in each turn the A7 runs to the horizon first. Before an access of the A7 to a modelled
block, to memory that is home to the M4, or an SMC takes effect, the M4 catches up to the A7's time. So everything that
the two exchange through blocks happens in the order of virtual time, whatever the quantum; only plain shared memory
that one core polls is as coarse as the quantum. The secure world's own work takes no virtual time.

So the A7 has run ahead when the M4 raises an interrupt for it. Awake, it sees that at the next multiple of `GRID_PS` of
virtual time, which no turn passes while the GIC is armed; asleep, it wakes at the very time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from cosim.engine import CoreState, Debugger, Machine, StopReason
from cosim.engine.unicorn.core import Core
from cosim.engine.unicorn.cortex_a7 import EXCP_SMC, GRID_PS, CortexA7, next_on_grid
from cosim.engine.unicorn.cortex_m4 import CortexM4
from cosim.engine.unicorn.loop import PICOSECONDS, Loop, clock_of, limit_at
from cosim.errors import EngineError
from cosim.events import CoreReleased, CoreStopped, FirstInstruction, Stamp
from cosim.memory import MemoryBank
from cosim.platform.model import Entry

CHUNK = 100  # quanta between two looks at Ctrl-C and at the condition


class Turns:
    """The cores of a machine, and where each of them is in virtual time."""

    def __init__(self, machine: Machine, loop: Loop) -> None:
        self._machine = machine
        self._loop = loop
        self._a7 = CortexA7(machine, *self._core_entry("CPU.ARMv7A"))
        self._m4 = CortexM4(machine, *self._core_entry("CPU.CortexM"))
        self._order: tuple[Core, ...] = (self._a7, self._m4)
        self._quantum_ps = max(1, machine.quantum * PICOSECONDS // self._m4.lane.mips)
        self._horizon_ps = 0
        self._current: Core | None = None
        self._leader: Core | None = None  # the core that others catch up with
        self._fresh: set[str] = set()
        self._dirty: set[str] = set()
        self._stale: list[tuple[Core, MemoryBank, int, int]] = []
        self._reason: StopReason | None = None
        self._at_horizon = True
        self._rest: Stamp | None = None  # what `stamp` gives while nothing runs
        self._idle_ps = 0  # how far virtual time went while every core slept
        self._alarm_ps: int | None = None
        self._mapped = self._restart = False
        self._debugger: Debugger | None = None
        for index, core in enumerate(self._order):
            core.must_wait = self._waiter(core, self._order[index + 1 :])
            core.at_work = self._worker(core)
            core.alert = self._alerter(core)
        self._a7.catch_up = lambda: self._catch_up(self._a7)
        machine.firewall.listen(self._on_firewall_change)
        machine.bus.listen_writes(self._on_host_write)
        machine.log.clock = self.stamp

    def _core_entry(self, type_name: str) -> tuple[str, Loop, int]:
        entries: tuple[Entry, ...] = self._machine.platform.of_type(type_name)
        if len(entries) != 1:
            raise EngineError(
                f"the embedded engine needs exactly one {type_name}, found {len(entries)}",
                hint="start from stm32mp157.repl",
            )
        mips = entries[0].properties.get("PerformanceInMips", 100)
        if not isinstance(mips, int) or not 1 <= mips <= 10_000:
            raise EngineError(
                f"{entries[0].name}: PerformanceInMips must be 1 to 10000",
                hint="correct the platform file; it is the clock of the core in MHz",
                core=entries[0].name,
            )
        return entries[0].name, self._loop, mips

    @property
    def cores(self) -> Mapping[str, Core]:
        """See `Engine.cores`."""
        return {core.name: core for core in self._order}

    def stamp(self) -> Stamp:
        """Now: the core at work, or the latest time any core has reached when none is."""
        core = self._current
        if core is None:
            return self._rest or Stamp(self._now_ps(), "host", 0, 0)
        return Stamp(core.time_ps, core.name, core.lane.retired, core.lane.pc, core.cycles)

    def _now_ps(self) -> int:
        if self._current is not None:
            return self._current.time_ps
        return max(self._idle_ps, self._a7.time_ps, self._m4.time_ps)

    def _turn(self, end: int) -> None:
        """Go on to the next alarm or the next look at the condition, at most to `end`; less when a core wants us."""
        self._prepare()
        due = self._machine.timers.next_at()
        if due is not None:
            end = min(end, due)
        if not self._any_runs():
            if due is not None:
                self._horizon_ps = self._idle_ps = max(self._horizon_ps, end)
                self._at_horizon = True
                self._run_alarms(self._horizon_ps)
            return
        horizon_ps, quantum_ps, goal = self._plan(min(self._horizon_ps, end), end)
        self._horizon_ps, lane, error = self._loop.turns(horizon_ps, quantum_ps, goal)
        # With a lane at work the turn to the horizon is not over yet, even if it is the last one.
        self._at_horizon = lane is None
        if lane is not None:
            self._serve(next(core for core in self._order if core.lane is lane), error)
        else:
            self._current = None
            self._run_alarms(self._horizon_ps)

    def _plan(self, horizon_ps: int, end: int) -> tuple[int, int, int]:
        """Horizon, quantum and goal of the next turns.

        No turn of an A7 that is awake and attentive passes a multiple of `GRID_PS`.
        """
        quantum_ps, a7 = self._quantum_ps, self._a7
        if a7.state is CoreState.RUNNING and a7.attentive:
            horizon_ps = min(horizon_ps, next_on_grid(a7.time_ps))
            if horizon_ps % GRID_PS or quantum_ps < GRID_PS:
                end = min(end, next_on_grid(horizon_ps))
            else:
                quantum_ps = GRID_PS
        return horizon_ps, quantum_ps, max(horizon_ps, min(end, horizon_ps + quantum_ps * CHUNK))

    def _run_alarms(self, now_ps: int) -> None:
        """Let the alarms go off that are due, each at its own time."""
        timers = self._machine.timers
        while (due := timers.next_at()) is not None and due <= now_ps:
            self._alarm_ps = due
            try:
                timers.run_due(due)
            finally:
                self._alarm_ps = None

    def _any_runs(self) -> bool:
        return self._a7.state is CoreState.RUNNING or self._m4.state is CoreState.RUNNING

    def _leave_reset(self) -> None:
        now = self.stamp().time_ps
        m4 = self._m4
        m4.lane.origin_ps, m4.lane.origin = now, clock_of(m4.lane)
        vectors = m4.reset()
        if vectors is None:
            m4.set_state(CoreState.LOCKED_UP)
            self._machine.log.emit(CoreStopped(m4.name, "lockup: the vector table cannot be read"))
            return
        self._machine.log.emit(CoreReleased(m4.name, *vectors))
        m4.state = CoreState.RUNNING  # gets turns once its first instruction was seen, see _prepare
        self._fresh.add(m4.name)
        m4.lane.fresh = 1

    # -- turns -------------------------------------------------------------------------------------------------

    def _waiter(self, core: Core, followers: tuple[Core, ...]) -> Callable[[], bool]:
        def must_wait() -> bool:
            self._current = core
            for f in followers:  # asked at each access to a block: the time is worked out only if somebody runs
                if f.state is CoreState.RUNNING and (
                    f.name in self._fresh or clock_of(f.lane) < limit_at(f.lane, core.time_ps)
                ):
                    return True
            return False

        return must_wait

    def _worker(self, core: Core) -> Callable[[], None]:
        def at_work() -> None:
            self._current = core

        return at_work

    def _alerter(self, core: Core) -> Callable[[], None]:
        def alert() -> None:
            if core.alerted_at is None:
                core.alerted_at = self._now_ps() if self._alarm_ps is None else self._alarm_ps
            self._interrupt_current()

        return alert

    def _alerted(self) -> bool:
        return self._a7.alerted_at is not None or self._m4.alerted_at is not None

    def _deliver(self, core: Core) -> None:
        """Let a core that stands between two instructions take what it was alerted for, and wake up for it."""
        if core.alerted_at is None or core.name in self._fresh:
            return
        at_ps, core.alerted_at = core.alerted_at, None
        if core.state is CoreState.SLEEPING and core.wakes():
            core.wake(at_ps)
        if core.state is CoreState.RUNNING:
            before, self._current = self._current, core
            core.deliver()
            self._current = before

    def _prepare(self) -> None:
        """Bring the cores' views up to date, and see fresh cores through their first instruction."""
        if not self._mapped:
            # Not before the secure boot has programmed the firewall: mapping 512 MiB of DDR anew takes 0.2 s.
            self._mapped = True
            self._dirty.clear()
            for core in self._order:
                core.map_all()
        if self._dirty or self._stale:
            self._renew_views()
        for name in sorted(self._fresh):
            self._fresh.discard(name)
            core = self.cores[name]
            core.set_state(CoreState.RUNNING)
            entry, before = core.pc, core.lane.retired
            self._run(core, clock_of(core.lane) + 1)
            if core.lane.retired > before:
                self._current = core
                self._machine.log.emit(FirstInstruction(name, entry))
        for core in self._order:
            if core is not self._leader:
                self._deliver(core)

    def _renew_views(self) -> None:
        for target in sorted(self._dirty):
            for core in self._order:
                core.remap(target)
        self._dirty.clear()
        for writer, bank, offset, size in self._stale:
            writer.forget_code(bank, offset, size)
        self._stale.clear()

    def _run(self, core: Core, limit: int) -> None:
        """Run one core until its clock is at `limit`, whatever it needs on the way."""
        while core.lane.runnable and clock_of(core.lane) < limit:
            if self._dirty or self._stale or self._alerted():
                self._prepare()
            bound = self._bound(core, limit)
            if clock_of(core.lane) >= bound:
                self._catch_up(core)
                self._run_alarms(core.time_ps)
                continue
            core.lane.limit = bound
            error = self._loop.run(core.lane)
            if error or core.lane.attention or core.lane.busy:
                self._serve(core, error)

    def _bound(self, core: Core, limit: int) -> int:
        """`limit`, or where the next alarm is due if that is before."""
        due = self._machine.timers.next_at()
        return limit if due is None else min(limit, max(clock_of(core.lane), limit_at(core.lane, due)))

    def _catch_up(self, leader: Core) -> None:
        """Bring the cores that follow `leader`, which stands inside an instruction, to its time."""
        now, before = leader.time_ps, self._leader
        self._leader = leader
        self._prepare()
        for follower in self._order[self._order.index(leader) + 1 :]:
            self._run(follower, limit_at(follower.lane, now))
        self._current, self._leader = leader, before

    def _interrupt_current(self) -> None:
        """Make the core at work stop at its next instruction, so that the engine can act."""
        if self._current is not None:
            self._current.lane.limit = 0
            self._current.lane.attention = 1

    def _on_firewall_change(self, target: str) -> None:
        self._dirty.add(target)
        self._interrupt_current()

    def _on_host_write(self, bank: MemoryBank, offset: int, size: int) -> None:
        for core in self._order:
            if core is self._current:
                self._stale.append((core, bank, offset, size))  # not under the feet of the code that is running
            else:
                core.forget_code(bank, offset, size)
        self._interrupt_current()

    # -- why a core stopped --------------------------------------------------------------------------------------

    def _serve(self, core: Core, error: int) -> None:
        self._current = core
        core.thaw()
        if self._debugger is not None and core.breakpoints.stops():
            self._show(core, self._debugger)
            return
        fault, interrupt, invalid = core.fault, core.interrupt, core.invalid
        waiting, failure = core.waiting, core.failure
        core.fault = core.interrupt = core.failure = None
        core.waiting = core.invalid = False
        if failure is not None:
            raise failure
        if waiting:
            self._catch_up(core)
        elif interrupt is not None:
            self._serve_interrupt(core, interrupt)
        elif fault is not None:
            core.drop_unfinished()
            if not fault.reported:
                core.transact(fault.kind, fault.address, fault.size, fault.value)
            core.take_fault(fault)
        elif invalid:
            core.drop_unfinished()
            core.take_undefined()
        elif core.lane.trap:
            core.take_trap(core.lane.trap - 1)
        elif error and core.state is CoreState.RUNNING:
            raise EngineError(
                f"{core.name}: Unicorn stopped with error {error} at 0x{core.pc:08x}", core=core.name, pc=core.pc
            )
        elif core.lane.busy:
            core.complete()
            core.sleep()
        if core.knows_no_cycles:
            self._catch_up(core)
            core.tell_unknown()
        if self._restart:
            self._restart = False
            self._leave_reset()

    def _show(self, core: Core, debugger: Debugger) -> None:
        """Let the debugger have a core that stopped for it. Inside an IT block nothing else happens: it ends first."""
        debugger.stopped(core)
        if core.lane.it_left:
            core.lane.limit = clock_of(core.lane) + 1
            error = self._loop.run(core.lane)
            if error or core.lane.attention or core.lane.busy:
                self._serve(core, error)

    def _serve_interrupt(self, core: Core, number: int) -> None:
        if number == EXCP_SMC and isinstance(core, CortexA7):
            core.complete()
            self._catch_up(core)
            core.smc_results(self._machine.smc(core.smc_arguments()))
            if self._reason is StopReason.POWER_OFF:
                core.set_state(CoreState.OFF)
        else:
            core.take_interrupt(number)
