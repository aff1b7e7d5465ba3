"""The security invariants of an authenticated boot, watched while it happens.

Each monitor is fed the records of the event log and may look at memory as the debugger sees it. A broken invariant is
put into the log at once (`MonitorBroken`), stays broken for the rest of the run, and names the record that proves it.

Attach listeners that print records (a timeline) before the monitors: a monitor reports while the log still hands out
the record that made it report.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from cosim.events import (
    AccessDenied,
    CoreHeld,
    CoreReleased,
    EventLog,
    FirewallChanged,
    FirstInstruction,
    ForeignWrite,
    MonitorBroken,
    Payload,
    Record,
    RegisterWritten,
)
from cosim.image_history import TELLING, Command, ImageHistory, LoadedRange, bank_of, command_of
from ta.errors import BusFault
from ta.events import (
    CommandInvoked,
    CommandReturned,
    ImageAuthenticated,
    ProcessorStarted,
    ResourceTableLocated,
    TaDied,
)

#: Reads `size` bytes at an A7 physical address without side effects and without the firewall.
DebugRead = Callable[[int, int], bytes]

#: Banks that ST's vendor tree isolates; SRAM3 and SRAM4 stay shared with the normal world (remoteproc_pta.c).
ISOLATED_BANKS = ("retram", "sram1", "sram2")
CLOSED_ATTRIBUTES = ("S_RW", "MCU_ISOLATION")
BOOT_MCU = 1
M4 = "m4"
_MOST_REPORTS = 16


@dataclass(frozen=True)
class MonitorResult:
    """What became of one invariant: `held` is None when nothing happened that could have broken it.

    `evidence` is the sequence number of the record that broke it, or of the last one that was checked.
    """

    name: str
    description: str
    held: bool | None
    detail: str
    evidence: int | None

    def as_dict(self) -> dict[str, object]:
        """The result as a JSON-ready object."""
        return {
            "name": self.name,
            "description": self.description,
            "held": self.held,
            "detail": self.detail,
            "evidence": self.evidence,
        }


Report = Callable[[str, str], None]


class Monitor(ABC):
    """One invariant: let it `observe` the records that concern it in order, ask for its `result` at any time.

    `image` is what the log says so far, kept up to date by the caller. `report` is called with the detail each time the
    invariant breaks; at most 16 times.
    """

    name: str
    description: str
    #: The payloads of the records that it has to see.
    concerns: ClassVar[tuple[type[Payload], ...]]
    #: What `result` says while nothing was checked.
    idle = "nothing happened that this could be checked on"

    def __init__(self, image: ImageHistory, report: Report) -> None:
        self.image = image
        self._report = report
        self._breaks: list[tuple[int, str]] = []
        self._checked: tuple[int, str] | None = None

    @abstractmethod
    def observe(self, record: Record) -> None:
        """Check the invariant on one record; `self.image` already knows it."""

    def result(self) -> MonitorResult:
        """The state of the invariant so far."""
        if self._breaks:
            sequence, detail = self._breaks[0]
            more = f" (and {len(self._breaks) - 1} more)" if len(self._breaks) > 1 else ""
            return MonitorResult(self.name, self.description, False, detail + more, sequence)
        if self._checked is None:
            return MonitorResult(self.name, self.description, None, self.idle, None)
        return MonitorResult(self.name, self.description, True, self._checked[1], self._checked[0])

    def _hold(self, record: Record, detail: str) -> None:
        self._checked = (record.sequence, detail)

    def _break(self, record: Record, detail: str) -> None:
        self._breaks.append((record.sequence, detail))
        if len(self._breaks) <= _MOST_REPORTS:
            self._report(self.name, detail)


class NothingRunsUnauthenticated(Monitor):
    """The M4 retires no instruction before its image was authenticated and START came from the TA."""

    name = "no-run-before-authentication"
    description = "The M4 runs nothing before its image was authenticated and the TA started it."
    idle = "no image was offered and the M4 was not released"
    # Besides, any event of the M4 tells how many instructions it retired.
    concerns = (CoreReleased, CoreHeld, FirstInstruction, CommandInvoked, CommandReturned)

    def __init__(self, image: ImageHistory, report: Report) -> None:
        super().__init__(image, report)
        self._retired = 0

    def observe(self, record: Record) -> None:
        """Check releases and every sign of retired instructions."""
        image = self.image
        # The record of the hold itself tells of instructions that retired while the core was allowed to run.
        allowed = image.started_before or image.started
        if isinstance(record.payload, CoreReleased) and record.payload.core == "m4" and not image.authenticated:
            self._break(record, "the M4 was released from hold boot while no authenticated image was in memory")
        if image.first_instruction:
            if not image.authenticated:
                self._break(record, "the M4 executes although no authenticated image is in memory")
            elif not image.started:
                self._break(record, "the M4 executes although the TA did not start it")
            else:
                self._hold(record, "the M4's first instruction came after authentication and START")
        if record.stamp.core == M4 or image.m4_retired is not None:
            retired = record.stamp.instructions if image.m4_retired is None else image.m4_retired
            if retired > self._retired and not allowed:
                self._break(record, f"the M4 retired {retired - self._retired} instructions before START")
            self._retired = max(self._retired, retired)
        if not (image.was_started or self._retired) and command_of(record.payload) is Command.LOAD:
            self._hold(record, "the M4 retired no instruction")


class LoadedImageUntouched(Monitor):
    """No non-secure write reaches M4 memory between authentication and RELEASE.

    Three kinds of evidence: under `isolated` the attribute of every bank that holds a part of the image must stay
    closed to the normal world; writes that the engine reports; and the bytes themselves, compared with the
    authenticated ones at START, and those of segments that are not writable again at STOP. Data may change after
    START: the M4 owns it then. The resource table is left to its own monitor: the kernel fills it in.
    """

    name = "image-untouched"
    description = "The normal world changes nothing of the loaded image between authentication and RELEASE."
    idle = "no authenticated image was started"
    concerns = (FirewallChanged, ImageAuthenticated, ProcessorStarted, CommandInvoked, ForeignWrite, AccessDenied)

    def __init__(self, image: ImageHistory, report: Report, read: DebugRead, *, isolated: bool) -> None:
        super().__init__(image, report)
        self._read = read
        self._isolated = isolated
        self._attributes: dict[str, str] = {}
        self._refused_writes = 0
        self._compared: dict[str, int] = {}

    def observe(self, record: Record) -> None:
        """Check firewall attributes and writes as they happen, and memory at START and at STOP."""
        payload = record.payload
        if isinstance(payload, FirewallChanged) and payload.target in ISOLATED_BANKS:
            self._attributes[payload.target] = payload.after
            if self._isolated and self.image.authenticated:
                self._check_attributes(record, (payload.target,))
        elif isinstance(payload, ImageAuthenticated):
            self._compared = {}
            if self._isolated:
                self._check_attributes(record, tuple(sorted({bank_of(r.pa) for r in self.image.segments})))
        elif isinstance(payload, ProcessorStarted) and self.image.authenticated:
            self._compare(record, "at START", self.image.segments)
        elif self.image.stopping and self.image.authenticated:
            self._compare(record, "at STOP", tuple(r for r in self.image.segments if r.constant))
        elif isinstance(payload, (ForeignWrite, AccessDenied)) and self.image.authenticated:
            self._check_write(record, payload)

    def result(self) -> MonitorResult:
        """The state so far, with the number of writes that the firewall refused."""
        result = super().result()
        if not result.held or not self._refused_writes:
            return result
        detail = f"{result.detail}; {self._refused_writes} non-secure write(s) refused"
        return MonitorResult(result.name, result.description, True, detail, result.evidence)

    def _check_attributes(self, record: Record, banks: tuple[str, ...]) -> None:
        for bank in banks:
            attribute = self._attributes.get(bank, "NS_RW")
            if bank in ISOLATED_BANKS and attribute not in CLOSED_ATTRIBUTES:
                self._break(record, f"{bank} holds the image but is {attribute}: the normal world can write it")

    def _check_write(self, record: Record, write: ForeignWrite | AccessDenied) -> None:
        if write.initiator != "a7-ns" or bank_of(write.address) not in ISOLATED_BANKS:
            return
        if isinstance(write, AccessDenied):
            self._refused_writes += write.access == "write"
        elif not self.image.in_table(write.address, write.size):
            self._break(record, f"the normal world wrote 0x{write.value:x} to 0x{write.address:08x} ({write.target})")

    def _compare(self, record: Record, when: str, ranges: tuple[LoadedRange, ...]) -> None:
        watched = tuple(r for r in ranges if bank_of(r.pa) in ISOLATED_BANKS and not self.image.in_table(r.pa, r.size))
        for part in watched:
            data = self._read(part.pa, part.size)
            if hashlib.sha256(data[: part.filesz]).hexdigest() != part.sha256 or any(data[part.filesz :]):
                self._break(record, f"{part} differs {when} from what was authenticated: someone wrote to it since")
        if watched:
            self._compared[when] = len(watched)
            counts = ", ".join(f"{count} segment(s) {moment}" for moment, count in self._compared.items())
            self._hold(record, f"as authenticated: {counts}")


class TableAsAuthenticated(Monitor):
    """The bytes at the reported resource-table address equal the table of the authenticated image."""

    name = "resource-table"
    description = "The resource table lies at the reported address and equals the authenticated one."
    idle = "no image with a resource table was loaded"
    concerns = (ImageAuthenticated, CommandReturned, ProcessorStarted)

    def __init__(self, image: ImageHistory, report: Report, read: DebugRead) -> None:
        super().__init__(image, report)
        self._read = read
        self._compared: dict[str, None] = {}

    def observe(self, record: Record) -> None:
        """Compare when LOAD_FW succeeded and when the processor is started."""
        payload = record.payload
        if isinstance(payload, ImageAuthenticated):
            self._compared = {}
        elif isinstance(payload, CommandReturned) and command_of(payload) is Command.LOAD and payload.result == 0:
            self._compare(record, "after LOAD_FW", self.image.table)
        elif isinstance(payload, ProcessorStarted):
            self._compare(record, "at START", self.image.table)

    def _compare(self, record: Record, when: str, table: ResourceTableLocated | None) -> None:
        if table is None or not table.size:
            return
        place = f"{table.size} bytes at 0x{table.pa:08x}"
        try:
            found = self._read(table.pa, table.size)
        except BusFault:
            self._break(record, f"the reported {place} are not in memory")
            return
        if hashlib.sha256(found).hexdigest() == table.sha256:
            self._compared[when] = None
            self._hold(record, f"{place} as authenticated {' and '.join(self._compared)}")
        else:
            self._break(record, f"{place} are not the authenticated table {when}")


class NothingLeftBehind(Monitor):
    """After RELEASE or a failed LOAD nothing of the image is left in the M4's memories."""

    name = "nothing-left"
    description = "After RELEASE or a refused LOAD nothing of the image is left in the M4's memories."
    idle = "no RELEASE and no refused LOAD"
    concerns = (CommandReturned, TaDied)

    def __init__(self, image: ImageHistory, report: Report, read: DebugRead) -> None:
        super().__init__(image, report)
        self._read = read

    def observe(self, record: Record) -> None:
        """Look at every range that was copied, once the secure world says it is done with it."""
        after = self.image.given_up
        if after is None:
            return
        left = [part for part in self.image.given_up_ranges if any(self._read(part.pa, part.size))]
        if left:
            self._break(record, f"{after} left {left[0]} in memory" + (f" and {len(left) - 1} more" * (len(left) > 1)))
        elif self.image.given_up_ranges:
            self._hold(record, f"{after} left nothing of {len(self.image.given_up_ranges)} segment(s)")
        else:
            self._hold(record, f"nothing had been copied before {after}")


class BootControlIsSecure(Monitor):
    """RCC_MP_GCR.BOOT_MCU changes only by the secure world."""

    name = "boot-control"
    description = "Only the secure world changes RCC_MP_GCR.BOOT_MCU."
    idle = "nobody wrote RCC_MP_GCR"
    concerns = (RegisterWritten, AccessDenied)

    def observe(self, record: Record) -> None:
        """Check who writes the register."""
        payload = record.payload
        if isinstance(payload, RegisterWritten) and payload.block == "rcc" and payload.register.endswith("MP_GCR"):
            if (payload.before ^ payload.after) & BOOT_MCU and payload.initiator != "a7-s":
                self._break(record, f"{payload.initiator} changed BOOT_MCU to {payload.after & BOOT_MCU}")
            else:
                self._hold(record, "only a7-s changed BOOT_MCU")
        elif isinstance(payload, AccessDenied) and payload.target == "rcc" and payload.access == "write":
            self._hold(record, f"a write of {payload.initiator} to the RCC was refused ({payload.rule})")


class Monitors:
    """All invariants of one run, attached to its log.

    `read` is the debug view of memory by A7 physical address; `isolated` says whether the `isolated` firewall profile
    is in force (under `open` the memories are not closed, only compared). Attach before the first LOAD_FW: records that
    are already in the log are read, but memory is looked at as it is now.
    """

    def __init__(self, log: EventLog, read: DebugRead, *, isolated: bool) -> None:
        def report(name: str, detail: str) -> None:
            log.emit(MonitorBroken(name, detail))

        self._image = image = ImageHistory()
        self._of_the_m4 = NothingRunsUnauthenticated(image, report)
        self.monitors: tuple[Monitor, ...] = (
            self._of_the_m4,
            LoadedImageUntouched(image, report, read, isolated=isolated),
            TableAsAuthenticated(image, report, read),
            NothingLeftBehind(image, report, read),
            BootControlIsSecure(image, report),
        )
        self._concerned: dict[type[Payload], tuple[Monitor, ...]] = {}  # by payload, as they come
        for record in tuple(log):
            self.feed(record)
        log.listen(self.feed)

    def feed(self, record: Record, without: type[Monitor] | None = None) -> None:
        """Hand one record to the monitors that it concerns, but for `without`; their own reports are not fed back."""
        kind = type(record.payload)
        if kind is MonitorBroken:
            return
        concerned = self._concerned.get(kind)
        if concerned is None:
            concerned = self._concerned[kind] = tuple(m for m in self.monitors if issubclass(kind, m.concerns))
        if record.stamp.core == M4 and self._of_the_m4 not in concerned:
            concerned = (self._of_the_m4, *concerned)
        if not concerned and kind not in TELLING:
            return
        self._image.feed(record.payload)
        for monitor in concerned:
            if type(monitor) is not without:
                monitor.observe(record)

    def results(self) -> tuple[MonitorResult, ...]:
        """The state of every invariant, in a fixed order."""
        return tuple(monitor.result() for monitor in self.monitors)
