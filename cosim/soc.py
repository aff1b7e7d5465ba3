"""A whole SoC in one object: platform, memories, blocks, firewall, secure world, engine, and the normal-world client.

Several SoCs may live in one process.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from cosim import client
from cosim.access import Deny, Initiator
from cosim.assembly import A7_TYPE, M4_MEMORIES, M4_TYPE, build_parts, core_name, read_platform
from cosim.blocks import BlockOptions
from cosim.bus import Bus
from cosim.client import Step, StepResult
from cosim.engine import MOST_EVENTS, CoreState, CoreView, Engine, Machine, StopReason, create_engine
from cosim.errors import CosimError, EngineError, ImageError, RunTimeout, UnmodelledAccess
from cosim.events import BusErrorRaised, EventLog, Record, UnmodelledRegister
from cosim.firewall import Firewall
from cosim.memory import MemoryBank
from cosim.peripherals.gic import Gic
from cosim.peripherals.rcc import ResetCause
from cosim.peripherals.unmodelled import Unmodelled, UnmodelledUse, region_of
from cosim.peripherals.usart import Stm32Usart
from cosim.resources import TEST_KEY, firmware_file, key_file, platform_file
from cosim.run_limits import RunLimits
from ta.image_elf import read_elf
from ta.keys import PublicKey, load_public_key
from ta.profile import FirewallProfile, Profile, Settings
from ta.secure_world import SecureWorld, SecureWorldState

DEFAULT_PLATFORM = "stm32mp157c-dk2.repl"
CLIENT = "a7_client.elf"
#: Default budget of a run in virtual time: two seconds.
DEFAULT_BUDGET_PS = 2 * 10**12


class Host(Protocol):
    """A simulator in another process that has the cores and the memories; it serves one SoC."""

    def bank(self, name: str, size: int) -> MemoryBank:
        """The memory `name` of that simulator."""
        ...

    def engine(self, machine: Machine) -> Engine:
        """Its cores, executing on `machine`."""
        ...


@dataclass(frozen=True)
class SocConfig:
    """What kind of SoC to build. `public_key` None stands for the project's test key.

    `timing` is what virtual time follows: retired instructions, or modelled cycles (docs/timing.md). `quantum` is the
    length of a turn in M4 instructions or cycles; `loop` picks the embedded engine's inner loop (auto, native,
    python). With a `host` the cores and memories are its own, and `engine`, `quantum` and `loop` do not count. A run
    ends with `RunTimeout` when it made more than `most_events`. `seed`
    is the random number generators'; `strict` makes a peripheral that has no model a bus error, and ends the run with
    `UnmodelledAccess` when the M4 touches it or a register that a block's model does not have. `settings` says how
    OP-TEE was built and what the device demands of an image (processor binding, lowest version). `most_time_ps` and
    `most_instructions` bound all runs together: virtual time in picoseconds, instructions of the M4. `alignment` makes
    unaligned LDM, STM, LDRD, VLDR and their like fault on the M4 of the embedded engine, as on silicon.
    """

    platform: Path | None = None
    engine: str = "unicorn"
    timing: str = "instructions"
    profile: Profile = Profile.HARDENED
    firewall: FirewallProfile = FirewallProfile.ISOLATED
    deny: Deny = Deny.RAZWI
    public_key: PublicKey | None = None
    quantum: int = 1000
    loop: str = "auto"
    host: Host | None = None
    most_events: int = MOST_EVENTS
    seed: int = 0
    strict: bool = False
    most_time_ps: int | None = None
    most_instructions: int | None = None
    alignment: bool = False
    settings: Settings = field(default_factory=Settings)


@dataclass(frozen=True)
class Snapshot:
    """The complete state of one SoC; fits only the SoC that made it."""

    engine: object
    banks: tuple[object, ...]
    blocks: tuple[object, ...]
    interrupts: object
    timers: object
    secure_world: SecureWorldState
    records: int
    soc: object = field(repr=False)  # which SoC made it


class Soc:
    """One simulated SoC, powered on and through its secure boot, with the normal-world client in memory.

    Raises `PlatformError` for a description it cannot honour and `EngineError` for an engine that is not there.
    """

    def __init__(self, config: SocConfig | None = None) -> None:
        self.config = config = config or SocConfig()
        self._identity = object()
        self.log = EventLog()
        self.platform = read_platform(config.platform or platform_file(DEFAULT_PLATFORM))
        host = config.host
        parts = build_parts(
            self.platform,
            self.log,
            _M4Boot(self),
            self._smc,
            memory=_DmaPort(self),
            make_bank=host.bank if host else MemoryBank,
            options=BlockOptions(config.seed, config.strict),
        )
        self.banks, self.blocks, self.rcc = parts.banks, parts.blocks, parts.rcc
        self.interrupts, self.timers = parts.interrupts, parts.timers
        self.firewall = Firewall(parts.etzpc, parts.tzc, self.log)
        self.bus = Bus(parts.windows, self.firewall, self.log, config.deny)
        self.secure_world = SecureWorld(
            self.bus.secure_view(),
            config.public_key or load_public_key(key_file(TEST_KEY)),
            profile=config.profile,
            firewall=config.firewall,
            sink=self.log.emit,
            settings=config.settings,
            power_off=lambda: self.engine.stop(StopReason.POWER_OFF),
        )
        self._a7, self._m4 = core_name(self.platform, A7_TYPE), core_name(self.platform, M4_TYPE)
        machine = Machine(
            platform=self.platform,
            bus=self.bus,
            firewall=self.firewall,
            log=self.log,
            smc=self.secure_world.smc,
            reset_request=lambda _core: self.rcc.core_reset_request(ResetCause.SYSRESETREQ),
            homes={name: self._m4 if name in M4_MEMORIES else self._a7 for name in self.banks},
            quantum=config.quantum,
            interrupts=self.interrupts,
            timers=self.timers,
            most_events=config.most_events,
            alignment=config.alignment,
            timing=config.timing,
        )
        if host and config.timing != "instructions":
            hint = "boot with `cosim boot --timing cycles`, which has cores of its own"
            raise EngineError("cores in another simulator have no cycle timing", hint=hint, timing=config.timing)
        self.engine = host.engine(machine) if host else create_engine(config.engine, machine, config.loop)
        self._limits = self._run_limits()
        if config.strict:
            self.log.listen(self._end_at_unmodelled)
        self.secure_world.boot()
        self._client_entry = self.load_elf(firmware_file(CLIENT).read_bytes())

    def _end_at_unmodelled(self, record: Record) -> None:
        payload, pc = record.payload, record.stamp.pc
        if isinstance(payload, UnmodelledRegister) and payload.initiator == Initiator.M4.value:
            base = getattr(self.blocks.get(payload.block), "base", None)
            address = None if base is None else base + payload.offset
            self.end_run(UnmodelledAccess(payload.block, payload.offset, payload.access, address=address, pc=pc))
        elif isinstance(payload, BusErrorRaised) and payload.initiator == Initiator.M4.value:
            region = region_of(payload.address)
            if region is not None:
                offset = payload.address - region.base
                self.end_run(UnmodelledAccess(region.name, offset, payload.access, address=payload.address, pc=pc))

    def _run_limits(self) -> RunLimits:
        # Engines have refused other rates by now; 100 is theirs (and Renode's) where the entry names none.
        mips = self.platform.entries[self._m4].properties.get("PerformanceInMips", 100)
        rate = mips if isinstance(mips, int) else 100
        bounds = self.config
        return RunLimits(
            self.engine.run,
            self.m4,
            # No instruction takes less than half a cycle on average: those that take none stand behind others.
            rate if bounds.timing == "instructions" else 2 * rate,
            self.log,
            most_time_ps=bounds.most_time_ps,
            most_instructions=bounds.most_instructions,
        )

    def _smc(self, registers: tuple[int, ...]) -> tuple[int, int, int, int]:
        """The doorbell's way into the secure world, which is built after the blocks."""
        return self.secure_world.smc(registers)

    # -- running -----------------------------------------------------------------------------------------------

    @property
    def a7(self) -> CoreView:
        """The application core."""
        return self.engine.cores[self._a7]

    @property
    def m4(self) -> CoreView:
        """The remote processor."""
        return self.engine.cores[self._m4]

    def run(self, until: Callable[[], bool] | None = None, budget_ps: int = DEFAULT_BUDGET_PS) -> StopReason:
        """Run all cores; see `Engine.run`. The budget is virtual time in picoseconds.

        Raises `RunTimeout` when the SoC's own bounds are used up, and what `end_run` was told.
        """
        return self._limits.run(until, budget_ps)

    def end_run(self, error: CosimError) -> None:
        """Let the run at work, or the next one, end soon and raise `error`; signal handlers may call this."""
        self._limits.ending = error

    @property
    def ending(self) -> CosimError | None:
        """What `end_run` was told, until a run has raised it."""
        return self._limits.ending

    def run_script(
        self, steps: Sequence[Step], *, on_error: int = 0, budget_ps: int = DEFAULT_BUDGET_PS
    ) -> tuple[StepResult, ...]:
        """Let the normal-world client run `steps` from its start, and return what came of each.

        After an essential step that failed the client goes on at step `on_error`. Raises `RunTimeout` when the client
        does not finish within the budget.
        """
        self.bus.write(Initiator.DEBUG, client.STEPS_BASE, client.encode_script(steps, on_error))
        self.engine.start(self._a7, self._client_entry)
        reason = self.run(self._client_rests, budget_ps)
        if reason is StopReason.TIME:
            done = int.from_bytes(self.debug_read(client.STEPS_BASE + 12, 4), "little")
            raise RunTimeout(
                f"the normal world did not finish its {len(steps)} steps in {budget_ps // 10**6} us of virtual time",
                hint=f"step {done} was at work; give the run a larger budget or look for a loop",
                step=done,
                time_ps=budget_ps,
            )
        return client.decode_results(steps, self.debug_read(client.STEPS_BASE, client.script_size(len(steps))))

    def _client_rests(self) -> bool:
        """Whether the client stopped for good: asleep before its end, it may be waiting for an interrupt."""
        state = self.a7.state
        if state is not CoreState.SLEEPING or client.all_done(self.debug_read(client.STEPS_BASE, client.HEADER_SIZE)):
            return state is not CoreState.RUNNING
        return not any(isinstance(block, Gic) and block.armed for block in self.blocks.values())

    def run_step(self, step: Step, budget_ps: int = DEFAULT_BUDGET_PS) -> StepResult:
        """Run a single step; see `run_script`."""
        return self.run_script([step], budget_ps=budget_ps)[0]

    def stage(self, data: bytes, offset: int = 0) -> int:
        """Put a file into the normal world's staging area and return its physical address."""
        if offset < 0 or offset + len(data) > client.STAGING_SIZE:
            raise ImageError(
                f"{len(data)} bytes do not fit the staging area of {client.STAGING_SIZE} bytes",
                hint="strip debug information: `arm-none-eabi-strip -g`",
                size=len(data),
            )
        self.bus.write(Initiator.DEBUG, client.STAGING_BASE + offset, data)
        return client.STAGING_BASE + offset

    def debug_read(self, address: int, size: int) -> bytes:
        """Bytes at an A7 physical address, past the firewall and without side effects. Raises `BusFault`."""
        return self.bus.read(Initiator.DEBUG, address, size)

    def load_elf(self, data: bytes) -> int:
        """Put the segments of an A7 program into memory, past the firewall, and return its entry point."""
        try:
            elf = read_elf(data)
        except ImageError as error:
            raise ImageError(error.message, hint="build it for the Cortex-A7", **error.fields) from error
        for segment in elf.loads:
            self.bus.write(Initiator.DEBUG, segment.p_paddr, elf.segment_bytes(segment))
        return elf.e_entry

    def flush_consoles(self) -> None:
        """Emit what the UARTs hold of an unfinished line."""
        for block in self.blocks.values():
            if isinstance(block, Stm32Usart):
                block.flush()

    def unmodelled(self) -> tuple[UnmodelledUse, ...]:
        """The registers without a model that software touched so far, by address."""
        blocks = (block for block in self.blocks.values() if isinstance(block, Unmodelled))
        return tuple(sorted((use for block in blocks for use in block.uses()), key=lambda use: use.address))

    # -- snapshots ---------------------------------------------------------------------------------------------

    def snapshot(self) -> Snapshot:
        """The complete state: cores, memories, blocks, secure world, and how long the log is."""
        return Snapshot(
            self.engine.save(),
            tuple(bank.save() for bank in self.banks.values()),
            tuple(block.save() for block in self.blocks.values()),
            self.interrupts.save(),
            self.timers.save(),
            self.secure_world.save(),
            len(self.log),
            self._identity,
        )

    def restore(self, snapshot: Snapshot) -> None:
        """Back to `snapshot`; the log loses what came after it. Raises `EngineError` for that of another SoC."""
        if snapshot.soc is not self._identity:
            raise EngineError("not a snapshot of this SoC", hint="restore into the SoC that was saved")
        for bank, state in zip(self.banks.values(), snapshot.banks, strict=True):
            bank.load(state)
        # The wires first: what blocks then drive is what they already are, and no controller sees an edge.
        self.interrupts.load(snapshot.interrupts)
        for block, state in zip(self.blocks.values(), snapshot.blocks, strict=True):
            block.load(state)
        self.timers.load(snapshot.timers)
        self.secure_world.load(snapshot.secure_world)
        self.firewall.resync()
        self.engine.load(snapshot.engine)
        self.log.truncate(snapshot.records)


class _M4Boot:
    """The reset controller's hand on the M4."""

    def __init__(self, soc: Soc) -> None:
        self._soc = soc

    def release(self) -> None:
        self._soc.engine.release(self._soc.m4.name)

    def hold(self) -> None:
        self._soc.engine.hold(self._soc.m4.name)


class _DmaPort:
    """The bus as the DMA controllers use it, which is built after them."""

    def __init__(self, soc: Soc) -> None:
        self._soc = soc

    def read(self, initiator: Initiator, address: int, size: int) -> bytes:
        return self._soc.bus.read(initiator, address, size)

    def write(self, initiator: Initiator, address: int, data: bytes) -> None:
        self._soc.bus.write(initiator, address, data)
