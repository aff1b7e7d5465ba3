"""The one event log: typed payloads, stamped with time, core, retired instructions and PC, in the order they happened.

Everything that reports (verdict, timeline, JSON Lines, monitors) reads this log. Secure-world payloads are defined in
`ta.events`; the ones of the machine are here. Same inputs give the same log, byte for byte.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from typing import NamedTuple, TextIO, TypeVar

from ta.events import TaEvent

#: Of a field that machine output leaves out when it is None.
_OPTIONAL = {"optional": True}


@dataclass(frozen=True)
class MachineEvent:
    """Base of the events of the simulated machine."""


@dataclass(frozen=True)
class CoreReleased(MachineEvent):
    """A core left reset with hold boot inactive: it will fetch MSP and PC from its vectors."""

    core: str
    initial_sp: int
    entry: int


@dataclass(frozen=True)
class CoreHeld(MachineEvent):
    """A core was put into reset and is held there; `retired` is its instruction count so far, `spent` its cycles."""

    core: str
    retired: int
    spent: int | None = field(default=None, metadata=_OPTIONAL)


@dataclass(frozen=True)
class FirstInstruction(MachineEvent):
    """A core executed its first instruction after a release."""

    core: str
    address: int


@dataclass(frozen=True)
class CoreStopped(MachineEvent):
    """A core cannot go on by itself: `reason` is "lockup: why", "wfi", "power-off", …"""

    core: str
    reason: str


@dataclass(frozen=True)
class CyclesUnknown(MachineEvent):
    """A core executed an instruction that its cycle table does not list: one cycle is charged. Told once per core."""

    core: str
    address: int
    code: int  # up to four bytes, little-endian


@dataclass(frozen=True)
class WatchdogExpired(MachineEvent):
    """A watchdog was not refreshed in time, or refreshed outside its window."""

    block: str


@dataclass(frozen=True)
class ExceptionTaken(MachineEvent):
    """A guest core took a synchronous exception. `status`/`fault_address` are CFSR/BFAR or DFSR/DFAR."""

    core: str
    exception: str
    status: int
    fault_address: int


@dataclass(frozen=True)
class InterruptPended(MachineEvent):
    """A line into the interrupt controller of a core rose; `count` is how often it has."""

    core: str
    exception: str
    count: int


@dataclass(frozen=True)
class InterruptTaken(MachineEvent):
    """A core began to handle an interrupt for the `count`-th time; `interrupted` is what it preempted or followed."""

    core: str
    exception: str
    priority: int
    interrupted: str
    count: int


@dataclass(frozen=True)
class InterruptReturned(MachineEvent):
    """The handler of an interrupt ended, for the `count`-th time."""

    core: str
    exception: str
    count: int


@dataclass(frozen=True)
class AccessDenied(MachineEvent):
    """The firewall denied an access; `rule` names the register field that decided."""

    initiator: str
    access: str  # read, write, fetch
    address: int
    size: int
    value: int  # written value; 0 for reads and fetches
    target: str
    rule: str
    response: str  # razwi or abort


@dataclass(frozen=True)
class BusErrorRaised(MachineEvent):
    """An access reached no memory and no block."""

    initiator: str
    access: str
    address: int
    size: int


@dataclass(frozen=True)
class ForeignWrite(MachineEvent):
    """A core wrote, with the firewall's consent, to a bank that holds the code and data of another core."""

    initiator: str
    address: int
    size: int
    value: int
    target: str


@dataclass(frozen=True)
class FirewallChanged(MachineEvent):
    """The rights on a target changed; `before`/`after` name the attribute (S_RW, MCU_ISOLATION, …)."""

    target: str
    before: str
    after: str


@dataclass(frozen=True)
class RegisterWritten(MachineEvent):
    """A control register of a modelled block was written and took the value `after`."""

    block: str
    register: str
    initiator: str
    value: int
    before: int
    after: int


@dataclass(frozen=True)
class UnmodelledRegister(MachineEvent):
    """A register that the block's model does not have was touched (logged once per register and direction)."""

    block: str
    offset: int
    access: str
    initiator: str


@dataclass(frozen=True)
class ConsoleLine(MachineEvent):
    """A finished line (or the unfinished rest at the end of a run) of a UART or trace buffer."""

    source: str
    text: str


@dataclass(frozen=True)
class ConsoleInput(MachineEvent):
    r"""The guest read the end of a line that was typed into a UART; `text` has \n, \r and \xNN spelled out."""

    source: str
    text: str


@dataclass(frozen=True)
class ResourceTableRead(MachineEvent):
    """What lies in memory at the resource-table address that the TA reported, one text per entry."""

    pa: int
    size: int
    entries: tuple[str, ...]


@dataclass(frozen=True)
class MonitorBroken(MachineEvent):
    """A security invariant does not hold."""

    monitor: str
    detail: str


Payload = TaEvent | MachineEvent
P = TypeVar("P", bound=Payload)


# Made for every event, so these two are tuples: a frozen dataclass takes several times as long to make.


class Stamp(NamedTuple):
    """When and where: virtual time in picoseconds, core, its retired instructions, PC of the instruction at work.

    `cycles` are the core's modelled cycles so far, where virtual time follows them.
    """

    time_ps: int
    core: str
    instructions: int
    pc: int
    cycles: int | None = None


class Record(NamedTuple):
    """One entry of the log. `sequence` counts from 0."""

    sequence: int
    stamp: Stamp
    payload: Payload

    @property
    def event(self) -> str:
        """The payload's name in machine output: its class name in snake case."""
        return re.sub(r"(?<!^)(?=[A-Z])", "_", type(self.payload).__name__).lower()

    def as_dict(self) -> dict[str, object]:
        """One flat JSON-ready object; payload fields never collide with the stamp's names."""
        values = ((f, getattr(self.payload, f.name)) for f in fields(self.payload))
        body = {f.name: value for f, value in values if value is not None or "optional" not in f.metadata}
        cycles = self.stamp.cycles
        return {
            "sequence": self.sequence,
            "time_ps": self.stamp.time_ps,
            "on": self.stamp.core,
            "instructions": self.stamp.instructions,
            **({} if cycles is None else {"cycles": cycles}),
            "pc": self.stamp.pc,
            "event": self.event,
            **body,
        }

    def as_json(self) -> str:
        """The record as one line of JSON."""
        return json.dumps(self.as_dict(), separators=(",", ":"))


Listener = Callable[[Record], None]
_new_record = tuple.__new__  # what a NamedTuple's own constructor does, without a call into Python


class EventLog:
    """The ordered record of a run.

    `clock` supplies the stamp of "now"; the engine sets it. Listeners are called in the order of their registration,
    after the record was appended; they may emit further events.
    """

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.clock: Callable[[], Stamp] = lambda: Stamp(0, "reset", 0, 0)
        self._listeners: list[tuple[Listener, type[Payload] | None]] = []
        self._told: dict[type[Payload], tuple[Listener, ...]] = {}  # by payload, as they come

    def emit(self, payload: Payload) -> None:
        """Append `payload` with the current stamp and tell the listeners."""
        record = _new_record(Record, (len(self.records), self.clock(), payload))
        self.records.append(record)
        kind = type(payload)
        listeners = self._told.get(kind)
        if listeners is None:
            listeners = self._told[kind] = tuple(
                listener for listener, wanted in self._listeners if wanted is None or issubclass(kind, wanted)
            )
        for listener in listeners:
            listener(record)

    def truncate(self, length: int) -> None:
        """Forget the records from `length` on (a snapshot was restored)."""
        del self.records[length:]

    def listen(self, listener: Listener, kind: type[Payload] | None = None) -> None:
        """Call `listener` with every record from now on, or with those whose payload is a `kind`."""
        self._listeners.append((listener, kind))
        self._told.clear()

    def of(self, kind: type[P]) -> list[P]:
        """All payloads of one class, in order."""
        return [r.payload for r in self.records if isinstance(r.payload, kind)]

    def __iter__(self) -> Iterator[Record]:
        return iter(self.records)

    def __len__(self) -> int:
        return len(self.records)

    def write_jsonl(self, stream: TextIO) -> None:
        """Write the log as JSON Lines."""
        for record in self.records:
            stream.write(record.as_json() + "\n")
