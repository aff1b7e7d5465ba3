"""The engine seam: what a SoC needs from whatever executes its cores, and what it gives in return.

An engine supplies cores, time, and the delivery of accesses, faults and interrupts. Everything else (memories, blocks,
firewall, secure world, event log) belongs to the `Machine` that it is given.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeVar, runtime_checkable

from cosim.bus import Bus
from cosim.errors import EngineError
from cosim.events import EventLog
from cosim.firewall import Firewall
from cosim.interrupts import Interrupts
from cosim.platform.model import Platform
from cosim.timers import Timers

#: Serves one SMC: r0..r7 in, r0..r3 out.
SmcHandler = Callable[[tuple[int, ...]], tuple[int, int, int, int]]
#: A core asks the reset controller to be reset (SYSRESETREQ).
ResetRequest = Callable[[str], None]


class CoreState(enum.Enum):
    """What a core is doing."""

    HELD = "held"  # in reset with hold boot active, or never started
    RUNNING = "running"
    SLEEPING = "sleeping"  # in WFI
    LOCKED_UP = "locked-up"  # a fault at the priority of HardFault or above
    OFF = "off"


class StopReason(enum.Enum):
    """Why a run ended."""

    CONDITION = "condition"  # the caller's condition became true
    POWER_OFF = "power-off"  # the normal world asked for SYSTEM_OFF
    IDLE = "idle"  # no core can go on by itself
    TIME = "time"  # the budget of virtual time is used up


#: Far more than any boot makes, and about 100 MB of log.
MOST_EVENTS = 200_000


@dataclass(frozen=True)
class Machine:
    """All that an engine executes on.

    `homes` names the core that owns each memory bank's code and data. A run that makes more than `most_events` ends
    with `RunTimeout`, so that firmware which repeats a denied access for ever cannot use up the host's memory. With
    `alignment` every access of the M4 that the architecture does not define faults, which costs speed.
    """

    platform: Platform
    bus: Bus
    firewall: Firewall
    log: EventLog
    smc: SmcHandler
    reset_request: ResetRequest
    homes: Mapping[str, str]
    quantum: int  # of the M4's clock: instructions or cycles
    interrupts: Interrupts
    timers: Timers
    most_events: int = MOST_EVENTS
    alignment: bool = False
    timing: str = "instructions"  # what virtual time follows, one of `TIMINGS`


class CoreView(Protocol):
    """One core, seen from outside."""

    @property
    def name(self) -> str:
        """The entry's name in the platform file."""
        ...

    @property
    def state(self) -> CoreState:
        """What the core is doing."""
        ...

    @property
    def retired(self) -> int:
        """Instructions retired since the machine was built, exact."""
        ...

    @property
    def time_ps(self) -> int:
        """The core's virtual time in picoseconds."""
        ...

    @property
    def pc(self) -> int:
        """Address of the next instruction."""
        ...

    def read_register(self, name: str) -> int:
        """A register by its Arm name in lower case (`r0`, `sp`, `lr`, `pc`, `cpsr`, …). Raises `EngineError`."""
        ...


class Watch(NamedTuple):
    """Bytes of plain memory, at a core's own address, whose accesses by instructions of that core a debugger sees."""

    address: int
    size: int
    reads: bool
    writes: bool


class ExecutedInstruction(NamedTuple):
    """An instruction as it began: time and count of those before it, address, state, and its bytes then."""

    time_ps: int
    retired: int
    address: int
    thumb: bool
    code: bytes


class ExecutedRun(NamedTuple):
    """`instructions` at consecutive addresses, none left out, executed `times` times with nothing else between.

    Time and count of the instructions before are those of the first time; `last` is the address of the last one.
    """

    time_ps: int
    retired: int
    address: int
    last: int
    instructions: int
    times: int


Line_co = TypeVar("Line_co", covariant=True)


class ExecutionTrace(Protocol[Line_co]):
    """What a core executed since the trace began."""

    @property
    def left_out(self) -> int:
        """Lines that were noted and are not kept any more."""
        ...

    def lines(self) -> Iterator[Line_co]:
        """The lines that are kept, the oldest first."""
        ...

    def close(self) -> None:
        """End it; the lines stay."""
        ...


class DebugCore(CoreView, Protocol):
    """One core as a debugger has it in its hands, while it stands before an instruction or does not run."""

    def write_register(self, name: str, value: int) -> None:
        """Change a register that `read_register` reads. Raises `EngineError`."""
        ...

    def debug_read(self, address: int, size: int) -> bytes:
        """Bytes at the core's own address, past the firewall and without side effects. Raises `BusFault`."""
        ...

    def debug_write(self, address: int, data: bytes) -> None:
        """The same for a store; a block's register takes it as from `debug`. Raises `BusFault`."""
        ...

    def read_code(self, address: int, size: int) -> bytes:
        """Up to `size` bytes of what the core may execute, fewer where the memory that holds them ends."""
        ...

    def stop_at(self, addresses: Collection[int], watches: Collection[Watch] = (), *, every: bool = False) -> None:
        """Before which instructions, and behind which accesses, the debugger wants the core to stop."""
        ...

    def trace_instructions(self, most: int) -> ExecutionTrace[ExecutedInstruction]:
        """Note each instruction from now on, the last `most`: 24 bytes each.

        Not what an IT block skips; once an instruction that faults.
        """
        ...

    def trace_runs(self, most: int) -> ExecutionTrace[ExecutedRun]:
        """Note each run of instructions from now on, the last `most`: 32 bytes each."""
        ...

    @property
    def watched(self) -> Watch | None:
        """The access because of which the core stopped, if one of `watches` is the reason."""
        ...


class Debugger(Protocol):
    """What an engine tells a debugger. Both return when the machine may go on; neither takes virtual time."""

    def stopped(self, core: DebugCore) -> None:
        """The core stands where `stop_at` said; the others stand wherever they are."""
        ...

    def look(self) -> None:
        """Asked now and then between two turns: is there anything that the user wants?"""
        ...


class Engine(Protocol):
    """Executes the cores of one machine."""

    name: str

    @property
    def cores(self) -> Mapping[str, CoreView]:
        """The cores by entry name."""
        ...

    @property
    def version(self) -> str:
        """Engine and library version, for reports."""
        ...

    def run(self, until: Callable[[], bool] | None, budget_ps: int) -> StopReason:
        """Run until `until` is true, power-off, idleness or the end of the budget (virtual time in picoseconds).

        `until` is asked whenever a core needed the engine, and at least every hundred quanta.
        """
        ...

    def start(self, core: str, entry: int) -> None:
        """Let the application core begin at `entry`, as the boot chain hands over to the normal world."""
        ...

    def stop(self, reason: StopReason) -> None:
        """Ask a run in progress to end at the next instruction boundary."""
        ...

    def release(self, core: str) -> None:
        """The core leaves reset now: it fetches its vectors."""
        ...

    def hold(self, core: str) -> None:
        """The core enters reset now and stays there."""
        ...

    def save(self) -> object:
        """Cores and time, for `load` of the same engine instance."""
        ...

    def load(self, state: object) -> None:
        """Restore what `save` returned."""
        ...


@runtime_checkable
class Debuggable(Protocol):
    """An engine that lets a debugger in."""

    def debug_core(self, name: str) -> DebugCore:
        """The core of that name."""
        ...

    def attach(self, debugger: Debugger | None) -> None:
        """Tell `debugger` of stops from now on; None ends that."""
        ...


def debuggable(engine: Engine) -> Debuggable:
    """`engine`, if it lets a debugger in. Raises `EngineError`."""
    if isinstance(engine, Debuggable):
        return engine
    hint = "use the engine unicorn; Renode has a GDB server of its own, see docs/plain-renode.md"
    raise EngineError(f"the engine {engine.name} lets no debugger in", hint=hint, engine=engine.name)


_ENGINES = ("unicorn", "renode")
#: What virtual time follows.
TIMINGS = ("instructions", "cycles")


def create_engine(name: str, machine: Machine, loop: str = "auto") -> Engine:
    """The engine `name` on `machine`. Raises `EngineError` when there is no such engine, or it is not installed."""
    if name not in _ENGINES:
        raise EngineError(f"there is no engine {name!r}", hint=f"this version has {', '.join(_ENGINES)}", engine=name)
    if machine.timing not in TIMINGS:
        raise EngineError(f"there is no timing {machine.timing!r}", hint=f"choose {' or '.join(TIMINGS)}", engine=name)
    if name == "renode":
        from cosim.engine.renode import RenodeEngine  # noqa: PLC0415 - likewise

        return RenodeEngine(machine)
    from cosim.engine.unicorn import UnicornEngine  # noqa: PLC0415 - loaded when asked for, not when named

    return UnicornEngine(machine, loop)
