"""One core in Renode, as the SoC sees it: counters over all resets, registers, state, and its raw callbacks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from cosim.access import AccessKind
from cosim.engine import CoreState, Machine
from cosim.engine.renode.host import Net
from cosim.engine.renode.routes import Viewer
from cosim.engine.renode.transfers import decode
from cosim.errors import BusFault, EngineError
from cosim.events import CoreStopped

PICOSECONDS = 1_000_000  # per instruction and MIPS
PICOSECONDS_PER_TICK = 1000  # Renode counts nanoseconds
FETCH_SIZE = 4
UNDEFINED = 1  # Renode's number of the exception, of either architecture (tlib's EXCP_UDEF)
#: Renode's AccessType.
_KINDS = {0: AccessKind.READ, 1: AccessKind.WRITE, 2: AccessKind.FETCH}


@dataclass(frozen=True)
class Fault:
    """An access that takes the route into the fault handler; its exception is about to be entered."""

    kind: AccessKind
    address: int


@dataclass(frozen=True)
class Seen:
    """What a core was at the end of a run."""

    retired: int
    registers: Mapping[str, int]


class Guard(Protocol):
    """Runs what a callback of a CPU thread does; nothing may escape there."""

    def __call__(self, core: Core, work: Callable[[], None]) -> None:
        """Do `work` with `core` as the core at work; keep what it raises and end the run."""
        ...


class Core(ABC):
    """State shared by both architectures; subclasses deliver faults."""

    def __init__(self, machine: Machine, cpu: Net, viewer: Viewer, guard: Guard) -> None:
        self.machine = machine
        self.cpu = cpu
        self.viewer = viewer
        self.name = viewer.core
        self.initiator = viewer.initiator
        self.mips = int(cpu.PerformanceInMips)
        self.state = CoreState.HELD
        self.origin_ps = 0
        self.origin_clock = 0
        self._guard = guard
        self._earlier = 0  # instructions before the last reset, which zeroes Renode's counter
        self._seen = Seen(0, {})
        self._ended = False
        self._fault: Fault | None = None
        self._handlers = self._callbacks()  # the CLR's delegates do not keep them alive
        cpu.IsHalted = True
        # Exact PC and count in every access: Renode counts by translation blocks, so a block is one instruction.
        cpu.UpdateContextOnLoadAndStore = True
        cpu.MaximumBlockSize = 1
        cpu.WfeAndSevAsNop = True  # the architecture allows WFE to go on; waiting would be told like WFI

    # -- what the outside sees ---------------------------------------------------------------------------------

    @property
    def retired(self) -> int:
        """See `CoreView.retired`."""
        return self._seen.retired if self._ended else self._earlier + int(self.cpu.ExecutedInstructions)

    @property
    def cycles(self) -> int | None:
        """Modelled cycles since the machine was built, without sleep; None where its time follows instructions."""
        return None

    @property
    def clock(self) -> int:
        """What the core's virtual time follows: instructions or cycles."""
        cycles = self.cycles
        return self.retired if cycles is None else cycles

    @property
    def time_ps(self) -> int:
        """See `CoreView.time_ps`."""
        return self.origin_ps + (self.clock - self.origin_clock) * PICOSECONDS // self.mips

    @property
    def pc(self) -> int:
        """See `CoreView.pc`."""
        return self._seen.registers.get("pc", 0) if self._ended else int(self.cpu.PC.RawValue)

    def read_register(self, name: str) -> int:
        """See `CoreView.read_register`."""
        number = REGISTERS.get(name)
        if number is None:
            raise EngineError(f"core {self.name} has no register {name!r}", core=self.name)
        if self._ended:
            return self._seen.registers.get(name, 0)
        return int(self.cpu.GetRegister(number).RawValue)

    def write_register(self, name: str, value: int) -> None:
        """Set one of `REGISTERS`; bit 0 of the PC selects T32."""
        from Antmicro.Renode.Peripherals.CPU import RegisterValue

        number = RegisterValue.Create(value & 0xFFFFFFFF, 32)
        if name == "pc":
            self.cpu.PC = number  # only this way Renode looks at bit 0
        else:
            self.cpu.SetRegister(REGISTERS[name], number)

    def count(self, instructions: int) -> None:
        """Correct Renode's count of retired instructions."""
        self._earlier += instructions

    def remember(self) -> None:
        """Keep what the outside may still ask for after Renode ended this machine."""
        self._seen = Seen(self.retired, {name: self.read_register(name) for name in REGISTERS})

    #: What belongs into a snapshot besides what Renode has.
    kept: tuple[str, ...] = ("state", "origin_ps", "origin_clock", "_earlier", "_fault")

    def save(self) -> Mapping[str, object]:
        """What this object knows beyond Renode, for `load`."""
        return {name: getattr(self, name) for name in self.kept}

    def load(self, saved: Mapping[str, object]) -> None:
        """Restore what `save` returned."""
        for name, value in saved.items():
            setattr(self, name, value)

    def end(self) -> None:
        """Renode ended this machine: from now on the core is what was remembered."""
        self._ended = True

    # -- control -----------------------------------------------------------------------------------------------

    def set_origin(self, time_ps: int) -> None:
        """The core's clock goes on from `time_ps`."""
        self.origin_ps, self.origin_clock = time_ps, self.clock

    def catch_up(self, time_ps: int) -> None:
        """The core stood still until `time_ps`, if its clock is behind that."""
        if self.time_ps + self.lag_ps < time_ps:
            self.set_origin(time_ps)

    @property
    def lag_ps(self) -> int:
        """How far the core's clock is behind Renode's although it did not stand still."""
        return 0

    @property
    def wakes_itself(self) -> bool:
        """Whether a timer of its own may wake it up."""
        return False

    def pause(self) -> None:
        """Let the core not run, without touching what it is doing."""
        self.cpu.IsHalted = True

    def resume(self) -> None:
        """Let the core run if it is one that does."""
        if self.state in (CoreState.RUNNING, CoreState.SLEEPING):
            self.cpu.IsHalted = False

    def reset(self) -> None:
        """Registers to their reset values; the core stays halted and its counts are kept."""
        self.cpu.IsHalted = True
        self._earlier = self.retired
        self.cpu.Reset()
        self.cpu.IsHalted = True

    def lock_up(self, why: str) -> None:
        """The core stands still until it is reset; `why` is the event's reason."""
        self.state = CoreState.LOCKED_UP
        self.pause()
        self.machine.log.emit(CoreStopped(self.name, why))

    # -- callbacks of Renode, all on the thread of this core -------------------------------------------------------

    def _callbacks(self) -> tuple[Net, ...]:
        from Antmicro.Renode.Peripherals.CPU import ExternalMmuFaultHook
        from System import Action, Boolean, UInt64

        fault = ExternalMmuFaultHook(self._on_fault)
        begin = Action[UInt64](self._on_exception)
        sleep = Action[Boolean](self._on_sleep)
        self.cpu.AddHookOnMmuFault(fault)
        self.cpu.AddHookAtInterruptBegin(begin)
        self.cpu.AddHookAtWfiStateChange(sleep)
        return fault, begin, sleep

    def _on_fault(self, address: int, access: Net, _window: Net, first_try: bool) -> Net:
        """Renode asks twice; only the second question is about an access that is really made."""
        from Antmicro.Renode.Peripherals.CPU import ExternalMmuResult

        if first_try:
            return ExternalMmuResult.Fault
        fault = Fault(_KINDS[int(access)], int(address))
        self._guard(self, lambda: self._begin_fault(fault))
        return ExternalMmuResult.NoFault

    def _begin_fault(self, fault: Fault) -> None:
        self._fault = fault
        self.raise_fault(fault)

    def _on_exception(self, number: int) -> None:
        fault, self._fault = self._fault, None
        if (fault.kind is not AccessKind.FETCH) if fault else (int(number) == UNDEFINED):
            self.count(-1)  # Renode counts the instruction that faulted
        self._guard(self, lambda: self.enter(int(number), fault))
        self.charge(int(number), fault)

    def _on_sleep(self, asleep: bool) -> None:
        self._guard(self, lambda: self._sleep(bool(asleep)))

    def _sleep(self, asleep: bool) -> None:
        if asleep and self.state is CoreState.RUNNING:
            self.state = CoreState.SLEEPING
            self.machine.log.emit(CoreStopped(self.name, "wfi"))
        elif not asleep and self.state is CoreState.SLEEPING:
            self.state = CoreState.RUNNING
            self.catch_up(int(self.cpu.TimeHandle.TotalElapsedTime.Ticks) * PICOSECONDS_PER_TICK)

    def report(self, fault: Fault, *, thumb: bool) -> None:
        """Let the bus answer the access that faulted, which reports it, with the PC at its instruction."""
        size, value = FETCH_SIZE, 0
        if fault.kind is not AccessKind.FETCH:
            try:
                code = self.machine.bus.debug_read(self.viewer.view, self.pc & ~1, 4)
            except BusFault:
                code = bytes(4)
            transfer = decode(code, thumb=thumb)
            size = transfer.size
            value = transfer.value(lambda n: self.read_register(f"r{n}")) if fault.kind is AccessKind.WRITE else 0
        self.machine.bus.transact(self.initiator, fault.kind, fault.address, size, value)

    # -- exceptions, which differ by architecture -------------------------------------------------------------------

    @abstractmethod
    def raise_fault(self, fault: Fault) -> None:
        """Record the fault in the core's registers and make Renode take the exception for it."""

    @abstractmethod
    def charge(self, number: int, fault: Fault | None) -> None:
        """Let the cycles of an exception that is being entered pass, where the core's time is in cycles."""

    @abstractmethod
    def enter(self, number: int, fault: Fault | None) -> None:
        """Report an exception that is being entered, with the PC still at the instruction; `fault` is its cause."""


REGISTERS = {**{f"r{n}": n for n in range(16)}, "sp": 13, "lr": 14, "pc": 15, "cpsr": 25}
