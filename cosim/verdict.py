"""What became of a boot: booted, refused, crashed or not started, with the reason in words.

Decided from typed events only; console text plays no part.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass

from cosim.events import CoreHeld, CoreReleased, CoreStopped, FirstInstruction, Record
from cosim.image_history import Command, command_of
from cosim.monitors import MonitorResult
from ta.events import (
    CommandReturned,
    ImageAuthenticated,
    ResourceTableLocated,
    SegmentLoaded,
    SegmentRefused,
    SessionOpened,
    SmcReturned,
)

_FLOW = (Command.LOAD, Command.START, Command.GET_RSC_TABLE)


class Outcome(enum.Enum):
    """How a boot ended."""

    BOOTED = "booted"
    REFUSED = "refused"
    CRASHED = "crashed"
    NOT_STARTED = "not started"


@dataclass(frozen=True)
class Refusal:
    """The request that was turned down: the TEE result by name and value, and why."""

    request: str
    result: int
    result_name: str
    origin: int
    reason: str

    def __str__(self) -> str:
        return f"{self.request} -> {self.result_name} (0x{self.result:08x})"


@dataclass(frozen=True)
class Verdict:
    """The verdict on one boot.

    `m4_cycles` is None where virtual time follows instructions.
    `segment` is the segment that LOAD_FW refused, `table` the reported resource table (None when the image has none).
    """

    outcome: Outcome
    refusal: Refusal | None
    segment: SegmentRefused | None
    reason: str
    m4_instructions: int
    m4_cycles: int | None
    initial_sp: int | None
    entry: int | None
    segments: tuple[SegmentLoaded, ...]
    table: ResourceTableLocated | None
    monitors: tuple[MonitorResult, ...]

    @property
    def monitors_held(self) -> bool:
        """Whether no monitor broke; one that was not exercised does not count against it."""
        return all(monitor.held is not False for monitor in self.monitors)

    @property
    def exit_code(self) -> int:
        """0 when the image booted and every monitor held, else 1."""
        return 0 if self.outcome is Outcome.BOOTED and self.monitors_held else 1

    def summary(self) -> str:
        """The verdict in one sentence."""
        if self.refusal is not None:
            return f"{self.outcome.value}: {self.refusal}: {self.reason}"
        return f"{self.outcome.value}: {self.reason}"

    def as_dict(self) -> dict[str, object]:
        """The verdict as a JSON-ready object."""
        refusal = self.refusal
        return {
            "outcome": self.outcome.value,
            "exit_code": self.exit_code,
            "reason": self.reason,
            "refused": refusal
            and {
                "request": refusal.request,
                "result": refusal.result,
                "result_name": refusal.result_name,
                "origin": refusal.origin,
            },
            "segment": self.segment and vars(self.segment).copy(),
            "m4_instructions": self.m4_instructions,
            "m4_cycles": self.m4_cycles,
            "initial_sp": self.initial_sp,
            "entry": self.entry,
            "segments": [vars(segment).copy() for segment in self.segments],
            "resource_table": self.table and vars(self.table).copy(),
            "monitors_held": self.monitors_held,
            "monitors": [monitor.as_dict() for monitor in self.monitors],
        }


def judge(log: Iterable[Record], monitors: Iterable[MonitorResult]) -> Verdict:
    """The verdict on the boot that `log` records.

    `log` is an `EventLog` or any iterable of its records.
    """
    case = _Case()
    for record in log:
        case.feed(record)
    return case.close(tuple(monitors))


class _Case:
    """Collects the evidence of one log."""

    def __init__(self) -> None:
        self.refusal: Refusal | None = None
        self.segment: SegmentRefused | None = None
        self.ran = False
        self.crash = ""
        self.transport = ""
        self.authenticated = False
        self.instructions = 0
        self.cycles: int | None = None
        self.release: CoreReleased | None = None
        self.segments: list[SegmentLoaded] = []
        self.loaded: tuple[SegmentLoaded, ...] = ()
        self.table: ResourceTableLocated | None = None

    def feed(self, record: Record) -> None:
        payload = record.payload
        if record.stamp.core == "m4":
            self._reached(record.stamp.instructions, record.stamp.cycles)
        if isinstance(payload, SegmentLoaded):
            self.segments.append(payload)
        elif isinstance(payload, SegmentRefused):
            self.segment = payload
        elif isinstance(payload, ResourceTableLocated):
            self.table = payload if payload.size else None
        elif isinstance(payload, ImageAuthenticated):
            self.authenticated = True
            self.loaded = tuple(self.segments)
            self.refusal = self.segment = None
        elif isinstance(payload, CommandReturned):
            self._answered(payload)
        elif isinstance(payload, SessionOpened) and payload.result:
            self._refuse("OPEN_SESSION", payload.result, payload.result_name, payload.origin, "the session was refused")
        elif isinstance(payload, SmcReturned) and payload.results and payload.results[0] and not self.ran:
            self.transport = f"the secure monitor answered {payload.name} with 0x{payload.results[0]:08x}"
        else:
            self._core(payload)

    def _core(self, payload: object) -> None:
        if isinstance(payload, CoreReleased) and payload.core == "m4":
            self.release = payload
        elif isinstance(payload, FirstInstruction) and payload.core == "m4":
            self.ran = True
        elif isinstance(payload, CoreHeld) and payload.core == "m4":
            self._reached(payload.retired, payload.spent)
        elif isinstance(payload, CoreStopped) and payload.core == "m4" and payload.reason.startswith("lockup"):
            self.crash = "the M4 locked up: a fault occurred while it handled a fault"

    def _reached(self, instructions: int, cycles: int | None) -> None:
        self.instructions = max(self.instructions, instructions)
        if cycles is not None:
            self.cycles = max(self.cycles or 0, cycles)

    def _answered(self, payload: CommandReturned) -> None:
        command = command_of(payload)
        if command is Command.LOAD:
            self.segments.clear()
        if payload.result and command in _FLOW:
            why = payload.reason or "no reason was given"
            self._refuse(payload.command_name, payload.result, payload.result_name, payload.origin, why)

    def _refuse(self, request: str, result: int, name: str, origin: int, reason: str) -> None:
        # The first refusal is the cause; what the client tries afterwards fails because of it.
        if self.refusal is None and not self.ran:
            self.refusal = Refusal(request, result, name, origin, reason)

    def close(self, monitors: tuple[MonitorResult, ...]) -> Verdict:
        outcome, reason = self._decide()
        refused = outcome is Outcome.REFUSED
        return Verdict(
            outcome=outcome,
            refusal=self.refusal if refused else None,
            segment=self.segment if refused else None,
            reason=reason,
            m4_instructions=self.instructions,
            m4_cycles=self.cycles,
            initial_sp=self.release.initial_sp if self.release else None,
            entry=self.release.entry if self.release else None,
            segments=self.loaded,
            table=self.table if self.authenticated and not refused else None,
            monitors=monitors,
        )

    def _decide(self) -> tuple[Outcome, str]:
        if self.crash:
            return Outcome.CRASHED, self.crash
        if self.ran and self.authenticated:
            return Outcome.BOOTED, "authenticated, loaded and started"
        if self.ran:
            return Outcome.CRASHED, "the M4 ran although no image was authenticated"
        if self.refusal is not None:
            return Outcome.REFUSED, self.refusal.reason
        if self.authenticated:
            return Outcome.NOT_STARTED, "the image was authenticated but the M4 executed nothing"
        return Outcome.NOT_STARTED, self.transport or "no image was offered to the TA"
