"""Runs a campaign: chunks of cases, here or by several workers, with a journal to go on from after an interrupt."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from io import RawIOBase
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Protocol

from cosim.campaign.double_fetch import DoubleFetch
from cosim.campaign.fault import Fault, FaultPairs
from cosim.campaign.interruption import Interruption
from cosim.campaign.model import Attack, CampaignSpec, CaseId, CaseResult, Kind
from cosim.campaign.mutation import Mutation
from cosim.campaign.sequence import Sequences
from cosim.campaign.target import Target
from cosim.errors import CosimError, EngineError, UsageError

#: Cases of one chunk: the unit that a worker gets and that the journal keeps whole.
CHUNK = 64
_MOST_JOURNAL_LINE = 1 << 22

_ATTACKS: dict[Kind, Callable[[Target], Attack]] = {
    Kind.MUTATION: Mutation,
    Kind.DOUBLE_FETCH: DoubleFetch,
    Kind.INTERRUPTION: Interruption,
    Kind.FAULT: Fault,
    Kind.SEQUENCE: Sequences,
    Kind.FAULT_PAIR: FaultPairs,
}


@dataclass(frozen=True)
class Chunk:
    """The cases `start` to `stop` (exclusive) of one kind."""

    kind: Kind
    start: int
    stop: int


class Campaign:
    """A target and its attacks. Raises `ImageError` when the positive control fails."""

    def __init__(self, spec: CampaignSpec) -> None:
        self.spec = spec
        self._target = Target(spec)
        self._attacks = {kind: _ATTACKS[kind](self._target) for kind in spec.kinds}

    def sizes(self) -> dict[Kind, int]:
        """How many cases of each kind the campaign has."""
        limit = self.spec.limit
        return {kind: attack.usual if limit is None else limit for kind, attack in self._attacks.items()}

    def exhaustive(self) -> dict[Kind, int]:
        """How many cases of each kind are enumerated; what a campaign runs beyond that is random."""
        return {kind: attack.exhaustive for kind, attack in self._attacks.items()}

    def case(self, case: CaseId) -> CaseResult:
        """Play one case. Raises `UsageError` for a kind that the campaign does not have."""
        if case.kind not in self._attacks:
            raise UsageError(f"the campaign has no {case.kind.value} cases", hint="name the kind with --kind")
        return self._attacks[case.kind].run(case)

    def chunk(self, chunk: Chunk) -> list[CaseResult]:
        """Play the cases of a chunk."""
        exhaustive = self._attacks[chunk.kind].exhaustive
        # Enumerated cases carry seed 0: they are the same whatever the seed.
        seeds = ((index, 0 if index < exhaustive else self.spec.seed) for index in range(chunk.start, chunk.stop))
        return [self.case(CaseId(chunk.kind, index, seed)) for index, seed in seeds]


class Workers(Protocol):
    """Who plays chunks elsewhere; each worker has a target of its own."""

    @property
    def width(self) -> int:
        """How many chunks they play at once, now."""
        ...

    @property
    def idle(self) -> bool:
        """Whether they take another chunk."""
        ...

    def give(self, number: int, chunk: Chunk) -> None:
        """Let them play a chunk."""
        ...

    def answers(self) -> Iterator[tuple[int, list[CaseResult]]]:
        """Wait for finished chunks, by number; none after some time is an answer too. Raises `EngineError`."""
        ...


#: Makes workers for a campaign and ends them.
Crew = Callable[[CampaignSpec], AbstractContextManager[Workers]]


def run_campaign(
    campaign: Campaign,
    *,
    jobs: int = 1,
    crew: Crew | None = None,
    journal: Path | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> Iterator[list[CaseResult]]:
    """Yield the results of all chunks in order; those in the `journal` are not played again.

    They are played by `jobs` processes, by this one alone if it is 1, or by the workers of a `crew` instead.
    Ends early, at a chunk's border, once `stopped` says so. Raises `UsageError` for a journal of another campaign.
    """
    chunks = [
        Chunk(kind, start, min(start + CHUNK, size))
        for kind, size in campaign.sizes().items()
        for start in range(0, size, CHUNK)
    ]
    if journal is None:
        yield from _play(campaign, chunks, jobs, crew, stopped)
        return
    count = 0
    for done in _read_journal(journal, campaign.spec, chunks):
        count += 1
        yield done
    with _opened(journal) as stream:
        if stream.tell() == 0:
            _append(stream, journal, {"campaign": identity(campaign.spec)})
        for results in _play(campaign, chunks[count:], jobs, crew, stopped):
            _append(stream, journal, {"chunk": count, "results": [result.as_dict() for result in results]})
            count += 1
            yield results


def identity(spec: CampaignSpec) -> str:
    """What two runs of one campaign have in common, as a digest."""
    kinds = ",".join(kind.value for kind in spec.kinds)
    image = hashlib.sha256(spec.image).hexdigest()
    text = f"{image} {spec.profile.value} {spec.firewall.value} {kinds} {spec.limit} {spec.seed}"
    return hashlib.sha256(text.encode()).hexdigest()


def _opened(path: Path) -> RawIOBase:
    try:
        # Without a buffer: what a full disk did not take must not come up again when the file is closed.
        return path.open("ab", buffering=0)
    except OSError as error:
        raise _unwritable(path, error) from None


def _append(stream: RawIOBase, path: Path, value: object) -> None:
    left = _line(value).encode()
    try:
        while left:
            left = left[stream.write(left) or 0 :]
    except OSError as error:
        raise _unwritable(path, error) from None


def _line(value: object) -> str:
    return json.dumps(value, separators=(",", ":")) + "\n"


def _read_journal(path: Path, spec: CampaignSpec, chunks: Sequence[Chunk]) -> Iterator[list[CaseResult]]:
    """The finished chunks, in order; a line that an interrupt cut short is removed from the file."""
    if not path.exists():
        return
    whole = 0
    try:
        with path.open("rb") as stream:
            for number, line in enumerate(iter(lambda: stream.readline(_MOST_JOURNAL_LINE), b"")):
                if not line.endswith(b"\n"):
                    # Only what an interrupt can have left of our own first line may be dropped, nobody else's file.
                    if number == 0 and not _line({"campaign": identity(spec)}).startswith(line.decode()):
                        raise _not_ours(path, "it is no journal of a campaign")
                    break
                entry = json.loads(line)
                if number == 0:
                    if entry["campaign"] != identity(spec):
                        raise _not_ours(path, "it is of another image, profile, limit or seed")
                else:
                    yield _journalled(entry, number - 1, chunks)
                whole = stream.tell()
        with path.open("r+b") as stream:
            stream.truncate(whole)
    except OSError as error:
        raise _not_ours(path, error.strerror or str(error)) from None
    except (ValueError, KeyError, TypeError, RecursionError):
        raise _not_ours(path, "it is no journal of a campaign") from None


def _journalled(entry: dict[str, object], number: int, chunks: Sequence[Chunk]) -> list[CaseResult]:
    found = entry["results"]
    if entry["chunk"] != number or number >= len(chunks) or not isinstance(found, list):
        raise ValueError(number)
    results = [CaseResult.from_dict(value) for value in found]
    chunk = chunks[number]
    if [(r.case.kind, r.case.index) for r in results] != [(chunk.kind, i) for i in range(chunk.start, chunk.stop)]:
        raise ValueError(number)
    return results


def _unwritable(path: Path, error: OSError) -> UsageError:
    reason = error.strerror or str(error)
    return UsageError(
        f"cannot write the journal {path}: {reason}", hint="check path and free space; what it holds stays good"
    )


def _not_ours(path: Path, reason: str) -> UsageError:
    return UsageError(
        f"cannot go on from {path}: {reason}", hint="name a new file, or repeat the options of the first run"
    )


# -- in one process or several -------------------------------------------------------------------------------------


def _play(
    campaign: Campaign, chunks: Sequence[Chunk], jobs: int, crew: Crew | None, stopped: Callable[[], bool]
) -> Iterator[list[CaseResult]]:
    if crew is None and jobs > 1 and len(chunks) > 1:
        crew = functools.partial(_processes, jobs=min(jobs, len(chunks)))
    if crew is not None and chunks:
        with crew(campaign.spec) as workers:
            yield from _hand_out(workers, chunks, stopped)
        return
    for chunk in chunks:
        if stopped():
            return
        yield campaign.chunk(chunk)


def _hand_out(workers: Workers, chunks: Sequence[Chunk], stopped: Callable[[], bool]) -> Iterator[list[CaseResult]]:
    """Hand out chunk by chunk; results are yielded in the order of the chunks, whoever is faster."""
    waiting: dict[int, list[CaseResult]] = {}
    handed = done = 0
    while done < len(chunks):
        # Nobody gets far ahead of the slowest, so that what waits for its turn stays small.
        while not stopped() and handed < min(len(chunks), done + 4 * workers.width) and workers.idle:
            workers.give(handed, chunks[handed])
            handed += 1
        if handed == done:
            return
        for number, results in workers.answers():
            waiting[number] = results
        while done in waiting:
            yield waiting.pop(done)
            done += 1


@contextlib.contextmanager
def _processes(spec: CampaignSpec, *, jobs: int) -> Iterator[Workers]:
    workers = _Processes(spec, jobs)
    try:
        yield workers
    finally:
        workers.end()


class _Processes:
    """Processes that play chunks."""

    def __init__(self, spec: CampaignSpec, jobs: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.width = jobs
        self._idle: list[Connection] = []
        self._busy: dict[Connection, int] = {}
        self._processes: list[BaseProcess] = []
        with _without_ctrl_c():
            for _ in range(jobs):
                ours, theirs = context.Pipe()
                process = context.Process(target=_work, args=(spec, theirs), daemon=True)
                process.start()
                theirs.close()
                self._processes.append(process)
                self._idle.append(ours)

    @property
    def idle(self) -> bool:
        """Whether a process has nothing to do."""
        return bool(self._idle)

    def give(self, number: int, chunk: Chunk) -> None:
        """Let an idle process play a chunk."""
        worker = self._idle.pop()
        self._busy[worker] = number
        worker.send(chunk)

    def answers(self) -> Iterator[tuple[int, list[CaseResult]]]:
        """Wait for at least one finished chunk. Raises what the worker raised, `EngineError` when it died."""
        for ready in wait(list(self._busy)):
            if not isinstance(ready, Connection):
                continue
            try:
                answer = ready.recv()
            except EOFError:
                raise EngineError("a worker process died", hint="run with --jobs 1 to see why") from None
            if isinstance(answer, str):
                raise EngineError(f"a worker failed: {answer}", hint="run with --jobs 1 to see why")
            yield self._busy.pop(ready), answer
            self._idle.append(ready)

    def end(self) -> None:
        """Stop all of them."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.join()


@contextlib.contextmanager
def _without_ctrl_c() -> Iterator[None]:
    """What is started inside never gets a Ctrl-C, not even while it starts; this process gets it behind.

    Ctrl-C reaches the whole process group; only the parent decides what it means.
    """
    resource_tracker.ensure_running()  # when it starts, it lets signals through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(spec: CampaignSpec, pipe: Connection) -> None:
    """A worker: one target for its whole life."""
    try:
        campaign = Campaign(spec)
        while True:
            pipe.send(campaign.chunk(pipe.recv()))
    except EOFError:
        return
    except CosimError as error:
        pipe.send(error.message)
