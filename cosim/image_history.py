"""What the event log says about the image in the M4's memories: copied, authenticated, started, given up.

The monitors share this reading of the log. It follows processor 0 (the M4) only; a command for another processor id
changes nothing.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from cosim.events import CoreHeld, FirstInstruction, Payload
from cosim.memory_map import WINDOWS, Window, cell, da_to_pa
from ta.events import (
    CommandInvoked,
    CommandReturned,
    ImageAuthenticated,
    MemoryWiped,
    ProcessorStarted,
    ProcessorStopped,
    ResourceTableLocated,
    SegmentLoaded,
    SegmentRefused,
    TaDied,
)

_PF_W = 2
_IMAGE_IN_PLACE = ("LOADED", "STARTED")
M4_PROCESSOR_ID = 0


class Command(enum.Enum):
    """Commands of the remoteproc TA (ta_remoteproc.h)."""

    LOAD = 1
    START = 2
    STOP = 3
    GET_RSC_TABLE = 4
    GET_COREDUMP = 5
    RELEASE = 6


def command_of(payload: Payload) -> Command | None:
    """The command that a CommandInvoked or CommandReturned is about; None for unknown ids and other events."""
    if isinstance(payload, (CommandInvoked, CommandReturned)) and 1 <= payload.command <= len(Command):
        return Command(payload.command)
    return None


def bank_of(pa: int) -> str:
    """The entry name of the M4 memory bank at an A7 physical address; "" when there is none."""
    window = _window(pa)
    return window.bank.name.lower() if window else ""


def _window(pa: int) -> Window | None:
    return next((w for w in WINDOWS if w.pa <= pa < w.pa + w.bank.size), None)


def _cell(pa: int) -> int:
    """Equal for all A7 addresses of one memory cell."""
    window = _window(pa)
    return -1 if window is None else cell(window.da + pa - window.pa) or 0


@dataclass(frozen=True)
class LoadedRange:
    """Memory that a segment was copied to; `sha256` is over its first `filesz` bytes, the rest was zeroed.

    `constant` when its signed flags do not let the program write it: code, vectors, constants.
    """

    image: int
    segment: int
    da: int
    pa: int
    filesz: int
    memsz: int
    sha256: str
    constant: bool = False

    @property
    def size(self) -> int:
        """Bytes that the loader touched."""
        return max(self.filesz, self.memsz)

    def __str__(self) -> str:
        return f"segment {self.segment} of image {self.image} at 0x{self.da:08x} ({self.size} bytes)"


#: The events that are part of the story.
TELLING = frozenset({
    CommandInvoked, CommandReturned, CoreHeld, ImageAuthenticated, MemoryWiped, ProcessorStarted, ProcessorStopped,
    ResourceTableLocated, SegmentLoaded, SegmentRefused, TaDied,
})  # fmt: skip


class ImageHistory:
    """The image's story, updated by `feed`.

    `first_instruction`, `m4_retired`, `stopping` and `given_up` describe the last payload only: they are reset by the
    next one.
    """

    def __init__(self) -> None:
        self.authenticated = False
        self.started = False
        self.was_started = False
        #: `started` as it was before the last payload.
        self.started_before = False
        self.segments: tuple[LoadedRange, ...] = ()
        self.table: ResourceTableLocated | None = None
        self.first_instruction = False
        self.stopping = False
        self.m4_retired: int | None = None
        self.given_up: str | None = None
        self.given_up_ranges: tuple[LoadedRange, ...] = ()
        self._attempt: list[LoadedRange] | None = None
        self._copied: list[LoadedRange] = []

    def in_table(self, pa: int, size: int) -> bool:
        """Whether a range lies in the reported resource table, which the normal world fills in before START."""
        if self.table is None or not self.table.size:
            return False
        first = _cell(pa) - _cell(self.table.pa)
        return first >= 0 and first + size <= self.table.size

    def feed(self, payload: Payload) -> None:
        """Take notice of one event."""
        self.first_instruction = isinstance(payload, FirstInstruction) and payload.core == "m4"
        self.stopping = False
        self.m4_retired = None
        self.given_up = None
        self.started_before = self.started
        if type(payload) not in TELLING:  # nearly all of them, and every monitor of a campaign asks about each
            return
        if isinstance(payload, CommandInvoked):
            self._invoked(payload)
        elif isinstance(payload, CommandReturned):
            self._returned(payload)
        elif isinstance(payload, SegmentLoaded):
            constant = payload.flags != 0 and not payload.flags & _PF_W
            at = (payload.image, payload.segment, payload.da, payload.pa)
            self._copy(LoadedRange(*at, payload.filesz, payload.memsz, payload.sha256, constant))
        elif isinstance(payload, SegmentRefused):
            # A computed hash proves that the bytes were in place before they were refused.
            pa = da_to_pa(payload.da)
            if payload.actual and pa is not None:
                at = (payload.image, payload.segment, payload.da, pa)
                self._copy(LoadedRange(*at, payload.filesz, payload.filesz, payload.actual))
        elif isinstance(payload, ResourceTableLocated):
            self.table = payload
        elif isinstance(payload, ImageAuthenticated):
            self.authenticated = True
            self.segments = tuple(part for part in self._attempt or () if part.size)
        elif isinstance(payload, MemoryWiped):
            self._gone()
        elif isinstance(payload, TaDied):
            self._give_up("the LOAD_FW that killed the TA")
        else:
            self._core(payload)

    def _core(self, payload: Payload) -> None:
        if isinstance(payload, ProcessorStarted):
            self.started = self.was_started = True
        elif isinstance(payload, ProcessorStopped):
            self.started = False
            self._gone()
        elif isinstance(payload, CoreHeld) and payload.core == "m4":
            self.started = False
            self.m4_retired = payload.retired

    def _copy(self, part: LoadedRange) -> None:
        if self._attempt is not None:
            self._attempt.append(part)
        self._copied.append(part)

    def _invoked(self, payload: CommandInvoked) -> None:
        if payload.processor_id != M4_PROCESSOR_ID:
            return
        command = command_of(payload)
        self.stopping = command is Command.STOP
        if command is Command.LOAD:
            self._attempt = []

    def _returned(self, payload: CommandReturned) -> None:
        command = command_of(payload)
        if command is Command.LOAD and payload.result != 0 and payload.state not in _IMAGE_IN_PLACE:
            self._give_up("the refused LOAD_FW")
        elif command is Command.RELEASE and payload.result == 0:
            self.given_up = "RELEASE_FW"
            self._forget(self._copied)
            self._copied = []
        self._attempt = None

    def _give_up(self, what: str) -> None:
        if self._attempt is not None:
            self.given_up = what
            self._forget(self._attempt)
            self._attempt = None

    def _forget(self, parts: list[LoadedRange]) -> None:
        self.given_up_ranges = tuple(part for part in parts if part.size)
        self._gone()

    def _gone(self) -> None:
        """No image is in place any more; what the next one does not report must not be taken from this one."""
        self.authenticated = False
        self.segments = ()
        self.table = None
