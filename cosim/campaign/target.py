"""The machine under attack, and the oracle: what one case did to the invariants and to the signed image.

The secure world of a whole SoC is called without running the A7; the M4 runs only in cases that start it. Nothing is
read from consoles: a verdict comes from events, from memory at START, and from the monitors.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cosim.boot import boot
from cosim.campaign.caller import IMAGE, IMAGE_ROOM, Caller
from cosim.campaign.model import CampaignSpec, Verdict
from cosim.client import Command
from cosim.errors import ImageError
from cosim.events import (
    CoreReleased,
    EventLog,
    FirewallChanged,
    ForeignWrite,
    Record,
    RegisterWritten,
)
from cosim.image_history import bank_of
from cosim.monitors import ISOLATED_BANKS, LoadedImageUntouched, Monitors
from cosim.soc import Snapshot, Soc, SocConfig
from ta.events import (
    CommandInvoked,
    CommandReturned,
    ImageAuthenticated,
    MemoryWiped,
    ProcessorStarted,
    ResourceTableLocated,
    SegmentLoaded,
    SegmentRefused,
    SessionOpened,
    TaDied,
)
from ta.profile import FirewallProfile
from ta.results import TeeResult

#: How long the M4 runs in a case that starts it: 10 us of virtual time, about 2,000 instructions.
M4_BUDGET_PS = 10**7
#: In how many parts it does so when someone wants to act in between.
_SLICES = 5
#: Anything of these means that more than the secure world's own state has changed.
_TRACES = frozenset({
    MemoryWiped, SegmentLoaded, SegmentRefused, RegisterWritten, FirewallChanged, ForeignWrite, CoreReleased,
})  # fmt: skip
_BY_CRYPTOGRAPHY = (TeeResult.SECURITY, TeeResult.SIGNATURE_INVALID)


@dataclass(frozen=True)
class Reference:
    """What the signed image is, learnt from the untouched one: segments as (A7 address, bytes), table, digest."""

    segments: tuple[tuple[int, bytes], ...]
    table: tuple[int, int]
    digest: str


@dataclass(frozen=True)
class Checkpoint:
    """A moment of a case: the state of the SoC, and what the log had of the case by then."""

    snapshot: Snapshot
    records: tuple[Record, ...]


@dataclass(frozen=True)
class Judgement:
    """A verdict and its evidence in words."""

    verdict: Verdict
    evidence: str


class Target:
    """One SoC that is put back after every case. Raises `ImageError` when the untouched image does not boot."""

    session = 1

    def __init__(self, spec: CampaignSpec) -> None:
        self.image = spec.image
        self._config = SocConfig(profile=spec.profile, firewall=spec.firewall)
        self._isolated = spec.firewall is FirewallProfile.ISOLATED
        if len(spec.image) > IMAGE_ROOM:
            raise ImageError(
                f"{len(spec.image)} bytes do not fit the shared memory of the TEE",
                hint=f"a campaign takes images of up to {IMAGE_ROOM} bytes",
                size=len(spec.image),
            )
        self.soc = Soc(self._config)
        self.caller = Caller(self.soc)
        self._dirty = False
        self._violations: list[str] = []
        self._reference: Reference | None = None
        self._vendor = self._firmware_stores = False
        self._watch: Callable[[Record], None] | None = None
        #: Called while the M4 runs in a `flow`, with the number of the slice that ended and the session.
        self.while_running: Callable[[int, int], None] = _nothing
        self._monitors = self._new_monitors()
        self.soc.log.listen(self._listen)
        self.caller.open()
        self._base = self.soc.snapshot()
        self._learn()

    # -- playing -----------------------------------------------------------------------------------------------

    def reset(
        self,
        *,
        vendor: bool = False,
        watch: Callable[[Record], None] | None = None,
        start: Checkpoint | None = None,
        firmware_stores: bool = False,
    ) -> None:
        """Back to the open session before the first LOAD_FW, or to `start`; `watch` sees every event of the next case.

        With `firmware_stores` the M4 itself may write to its code and constants, as damaged firmware does.
        With `vendor` the case's image was signed with the right key on purpose: the reference does not apply to it.
        """
        self._watch = None
        if start is not None:
            self.soc.restore(start.snapshot)
            self.soc.log.records[self._base.records :] = start.records
        elif self._dirty:
            self.soc.restore(self._base)
        else:
            self.soc.secure_world.load(self._base.secure_world)
            self.soc.log.truncate(self._base.records)
        self.soc.secure_world.shared_memory.observer = None
        self.while_running = _nothing
        self._dirty = start is not None
        self._violations = []
        self._vendor = vendor
        self._firmware_stores = firmware_stores
        self._monitors = self._new_monitors()
        for record in start.records if start is not None else ():
            self._feed(record)
        self._watch = watch

    def checkpoint(self) -> Checkpoint:
        """The present moment of a case, to start others from."""
        return Checkpoint(self.soc.snapshot(), tuple(self.soc.log.records[self._base.records :]))

    def restart(self) -> None:
        """Power comes back after a cut: boot from reset with what the M4's memories still hold, and a new session."""
        self._violations += [f"{r.name}: {r.detail}" for r in self._monitors.results() if r.held is False]
        kept = {name: self.soc.banks[name].save() for name in self.soc.banks if name in _M4_BANKS}
        self.soc.restore(self._base)
        for name, state in kept.items():
            self.soc.banks[name].load(state)
        self._monitors = self._new_monitors()
        self._dirty = True

    def flow(self, image: bytes, session: int = session, *, start: bool = True) -> None:
        """LOAD_FW, and if that succeeds START_FW (with `start`), some M4 instructions, STOP_FW and RELEASE_FW."""
        call = self.caller
        call.write(IMAGE, image)
        if not call.load(session, len(image)).ok:
            return
        call.table(session)
        if start and call.command(session, Command.START_FW).ok:
            for number in range(_SLICES):
                self.soc.run(budget_ps=M4_BUDGET_PS // _SLICES)
                self.while_running(number, session)
            call.command(session, Command.STOP_FW)
        call.command(session, Command.RELEASE_FW)

    def start_alone(self, session: int = session) -> None:
        """START_FW of what an attack may have left, then whatever leads back to a stopped M4."""
        call = self.caller
        if call.command(session, Command.START_FW).ok:
            self.soc.run(budget_ps=M4_BUDGET_PS)
        call.command(session, Command.STOP_FW)
        call.command(session, Command.RELEASE_FW)

    def boot_again(self) -> Judgement:
        """Boot the untouched image after an attack: what came of both, `HANG` when it does not start any more."""
        log = self.soc.log
        before = len(log.of(ProcessorStarted))
        self.flow(self.image, self.session_now())
        judgement = self.judge(deaths=False)
        if judgement.verdict is not Verdict.BYPASS and len(log.of(ProcessorStarted)) == before:
            return Judgement(Verdict.HANG, "the untouched image does not boot any more: the secure world is stuck")
        return judgement

    def session_now(self) -> int:
        """A new session where the old one was closed or died, else the one that is open."""
        opened = self.caller.open()
        return opened.session if opened.ok else self._last_session()

    def _last_session(self) -> int:
        sessions = [p.session for p in self.soc.log.of(SessionOpened) if p.session]
        return sessions[-1] if sessions else self.session

    # -- judging -----------------------------------------------------------------------------------------------

    def judge(self, *, deaths: bool = True) -> Judgement:
        """The verdict on everything since `reset`; a bypass outweighs all else.

        `deaths` says whether the TA's death counts, which the case itself may have caused.
        """
        if self._violations:
            return Judgement(Verdict.BYPASS, self._violations[0])
        for result in self._monitors.results():
            if result.held is False:
                return Judgement(Verdict.BYPASS, f"{result.name}: {result.detail}")
        records = self.soc.log.records[self._base.records :]
        payloads = [record.payload for record in records]
        kinds = set(map(type, payloads))
        if deaths and TaDied in kinds:
            died = next(p for p in payloads if isinstance(p, TaDied))
            return Judgement(Verdict.HANG, f"the TA died ({died.cause}, {died.weakness}): {died.detail}")
        if ProcessorStarted in kinds:
            return Judgement(Verdict.BENIGN, "started, and what ran and what was reported is the signed image")
        answers = [p for p in payloads if isinstance(p, CommandReturned) and p.result]
        if not answers:
            return Judgement(Verdict.REFUSED, "no request was served that could start the M4")
        first = answers[0]
        verdict = Verdict.DETECTED if first.result in _BY_CRYPTOGRAPHY else Verdict.REFUSED
        return Judgement(verdict, f"{first.command_name} -> {first.result_name}: {first.reason}")

    def _new_monitors(self) -> Monitors:
        # A log of their own: what they report must not reach the log that they are fed from.
        return Monitors(EventLog(), self.soc.debug_read, isolated=self._isolated)

    def _listen(self, record: Record) -> None:
        payload = record.payload
        if type(payload) in _TRACES:
            self._dirty = True
        self._feed(record)
        if isinstance(payload, ProcessorStarted) and self._reference is not None and not self._vendor:
            self._violations += self._compare(self._reference)
        if self._watch is not None:
            self._watch(record)

    def _feed(self, record: Record) -> None:
        payload = record.payload
        stops = isinstance(payload, CommandInvoked) and payload.command == Command.STOP_FW
        # At STOP this monitor takes every change of constants for the normal world's.
        self._monitors.feed(record, LoadedImageUntouched if self._firmware_stores and stops else None)

    def _compare(self, reference: Reference) -> list[str]:
        """What differs from the signed image at the moment of START."""
        found = []
        log = self.soc.log
        authenticated = log.of(ImageAuthenticated)
        if not authenticated or authenticated[-1].sha256 != reference.digest:
            digest = authenticated[-1].sha256 if authenticated else "nothing"
            found.append(f"START_FW after the TA accepted header and TLVs of another image (sha256 {digest})")
        for pa, signed in reference.segments:
            if self._isolated and bank_of(pa) not in ISOLATED_BANKS:
                continue  # shared with the normal world by design; the table in it has a monitor
            found += _difference(pa, signed, self.soc.debug_read(pa, len(signed)))
        tables = log.of(ResourceTableLocated)
        reported = (tables[-1].pa, tables[-1].size) if tables else (0, 0)
        if reported != reference.table:
            place = f"{reported[1]} bytes at 0x{reported[0]:08x}"
            wanted = f"{reference.table[1]} bytes at 0x{reference.table[0]:08x}"
            found.append(f"the TA reports a resource table of {place}, the signed image has it as {wanted}")
        return found

    # -- positive control --------------------------------------------------------------------------------------

    def _learn(self) -> None:
        """Boot the untouched image, on the whole SoC and on this target, and keep what it is."""
        verdict = boot(self.image, self._config).verdict
        if verdict.exit_code:
            raise ImageError(
                f"positive control failed, the untouched image does not boot cleanly: {verdict.summary()}",
                hint="a campaign attacks an image that boots; see `cosim boot FILE`",
            )
        self.reset()
        self.caller.write(IMAGE, self.image)
        self.caller.load(self.session, len(self.image))
        log = self.soc.log
        loaded = tuple((s.pa, max(s.filesz, s.memsz)) for s in log.of(SegmentLoaded) if s.filesz or s.memsz)
        tables, digests = log.of(ResourceTableLocated), log.of(ImageAuthenticated)
        self._reference = Reference(
            tuple((pa, self.soc.debug_read(pa, size)) for pa, size in loaded),
            (tables[-1].pa, tables[-1].size) if tables else (0, 0),
            digests[-1].sha256 if digests else "",
        )
        self.reset()
        self.flow(self.image)
        control = self.judge()
        if control.verdict is not Verdict.BENIGN:
            raise ImageError(
                f"positive control failed on the target: {control.verdict.value}: {control.evidence}",
                hint="the image boots alone but not as a case; report this",
            )


def _nothing(_slice: int, _session: int) -> None:
    """Nobody acts while the M4 runs."""


_M4_BANKS = ("retram", "sram1", "sram2", "sram3", "sram4")


def _difference(pa: int, signed: bytes, found: bytes) -> list[str]:
    if signed == found:
        return []
    at = next(offset for offset, (a, b) in enumerate(zip(signed, found, strict=True)) if a != b)
    return [f"START_FW with 0x{found[at]:02x} at 0x{pa + at:08x}, the signed image has 0x{signed[at]:02x} there"]
