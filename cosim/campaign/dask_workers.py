"""Plays the chunks of a campaign on a Dask cluster; needs the extra `dask`, and this project on every worker.

Dask hands a chunk to another worker when the one that had it dies. A chunk's results do not depend on who plays it, and
they are taken once, by the chunk's number, so that nothing is lost or counted twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import signal
import sys
import threading
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import distributed
from distributed.diagnostics.plugin import WorkerPlugin

from cosim.campaign.model import CampaignSpec, CaseResult
from cosim.campaign.run import Campaign, Chunk, identity
from cosim.errors import CosimError, EngineError, UsageError
from cosim.resources import TEST_KEY, firmware_file, key_file, platform_file
from cosim.soc import DEFAULT_PLATFORM

#: So long a cluster may have no worker at all, in seconds of wall time: one that died may be on its way back.
PATIENCE = 60.0
_CONNECT_WITHIN = 10.0
_LOOK_EVERY = 1.0
_SEE_WHY = "run with --jobs 1 to see why"
_PACKAGE = Path(__file__).resolve().parents[1]


@contextlib.contextmanager
def dask_workers(
    spec: CampaignSpec, *, address: str | None, processes: int = 1, patience: float = PATIENCE
) -> Iterator[DaskWorkers]:
    """The workers of the scheduler at `address`, or so many processes of a cluster started here (None).

    Raises `UsageError` when there is no scheduler, `EngineError` when the workers cannot take the campaign.
    """
    with contextlib.ExitStack() as stack:
        cluster = address if address is not None else stack.enter_context(_local_cluster(processes))
        try:
            client = stack.enter_context(distributed.Client(cluster, timeout=_CONNECT_WITHIN, set_as_default=False))
        except (OSError, TimeoutError, distributed.TimeoutError, ValueError) as error:
            raise UsageError(
                f"no Dask scheduler at {address}: {error}",
                hint="give the address that `dask scheduler` printed, as in tcp://host:8786",
                option="dask",
            ) from None
        workers = DaskWorkers(client, spec, patience)
        stack.callback(workers.end)
        yield workers


class DaskWorkers:
    """The workers of one cluster, for one campaign."""

    def __init__(self, client: distributed.Client, spec: CampaignSpec, patience: float) -> None:
        self._client = client
        self._patience = patience
        self._name = f"cosim-{identity(spec)[:16]}-{client.id}"
        self._playing: dict[distributed.Future, int] = {}
        self._seen = time.monotonic()
        self.width = 1
        with _told():
            # Workers that come later get it too.
            client.register_plugin(Player(spec, fingerprint()), name=self._name)
        self._look()

    @property
    def idle(self) -> bool:
        """Always: what the workers cannot play yet waits at the scheduler."""
        return True

    def give(self, number: int, chunk: Chunk) -> None:
        """Let some worker play a chunk."""
        with _told():
            self._playing[self._client.submit(_play, self._name, chunk, pure=False)] = number

    def answers(self) -> Iterator[tuple[int, list[CaseResult]]]:
        """Wait for finished chunks, a second at most.

        Raises `EngineError` for a chunk that cannot be played and for a cluster without scheduler or workers.
        """
        self._look()
        with _told(), self._client.as_current():
            try:
                found = distributed.wait(list(self._playing), timeout=_LOOK_EVERY, return_when="FIRST_COMPLETED").done
            except (TimeoutError, distributed.TimeoutError):
                return
        for future in found:
            with _told():
                answer = future.result()
            if isinstance(answer, str):
                raise EngineError(f"a worker failed: {answer}", hint=_SEE_WHY)
            yield self._playing.pop(future), answer

    def end(self) -> None:
        """Take back what is not finished, and the campaign's memory on the workers."""
        # A cluster that is gone has neither; what went wrong with it was raised before.
        with contextlib.suppress(EngineError), _told():
            self._client.cancel(list(self._playing))
            self._client.unregister_worker_plugin(self._name)

    def _look(self) -> None:
        with _told():
            present = len(self._client.nthreads())
        now = time.monotonic()
        if present:
            self.width, self._seen = present, now
        elif now - self._seen > self._patience:
            raise EngineError(
                f"the Dask cluster has had no worker for {self._patience:.0f} s",
                hint="start workers, and go on with --resume if the campaign keeps a journal",
            )


class Player(WorkerPlugin):  # type: ignore[misc]  # mypy does not follow distributed, so that it need not be there
    """A campaign on a worker: one target for the worker's life, made when its first chunk comes."""

    def __init__(self, spec: CampaignSpec, version: str) -> None:
        self._spec, self._version = spec, version

    def setup(self, worker: distributed.Worker) -> None:  # noqa: ARG002
        """Called on the worker, where the lock must be made: it does not travel."""
        self._lock = threading.Lock()
        self._campaign: Campaign | None = None

    def teardown(self, worker: distributed.Worker) -> None:  # noqa: ARG002
        """Give the memory back."""
        self._campaign = None

    def play(self, chunk: Chunk) -> list[CaseResult] | str:
        """The chunk's results, or in words why this worker has none."""
        # A worker may have several threads, a target cannot be shared.
        with self._lock:
            try:
                if self._campaign is None:
                    if fingerprint() != self._version:
                        return "it has another version of the project, of Python or of Unicorn, and so other cases"
                    self._campaign = Campaign(self._spec)
                return self._campaign.chunk(chunk)
            except CosimError as error:
                return error.message


def fingerprint() -> str:
    """What the cases and their results depend on, as a digest: sources, platform, programs, key, Python, Unicorn."""
    platforms = platform_file(DEFAULT_PLATFORM).parent
    files = [
        *(path for top in ("cosim", "ta") for path in (_PACKAGE.parent / top).rglob("*.py")),
        *(_PACKAGE / "timing").glob("*.json"),
        *platforms.glob("*.repl"),
        firmware_file("a7_client.elf"),
        key_file(TEST_KEY),
    ]
    parts = sorted(f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}" for path in files)
    python = f"{sys.implementation.name} {sys.version_info[:2]}"
    return hashlib.sha256("\n".join([python, metadata.version("unicorn"), *parts]).encode()).hexdigest()


def _play(name: str, chunk: Chunk) -> list[CaseResult] | str:
    """Runs on a worker."""
    player: Player = distributed.get_worker().plugins[name]
    return player.play(chunk)


@contextlib.contextmanager
def _local_cluster(processes: int) -> Iterator[distributed.LocalCluster]:
    # Ctrl-C reaches the whole process group, but only this process decides what it means.
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        cluster = distributed.LocalCluster(
            n_workers=processes,
            threads_per_worker=1,
            processes=True,
            dashboard_address=None,
            silence_logs=logging.ERROR,  # a worker that is ended while it plays is a warning for Dask
        )
    finally:
        signal.signal(signal.SIGINT, previous)
    with cluster:
        yield cluster


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """Let whatever happens in Dask or on a worker be an `EngineError`."""
    try:
        yield
    except ImportError as error:
        raise EngineError(
            f"a Dask worker cannot import the project: {error}", hint="install this version on every worker"
        ) from None
    except distributed.KilledWorker as error:
        raise EngineError(f"a chunk ends every worker that plays it: {error}", hint=_SEE_WHY) from None
    except (Exception, asyncio.CancelledError) as error:
        raise EngineError(f"the Dask cluster failed: {type(error).__name__}: {error}", hint=_SEE_WHY) from None
