"""Campaigns on a Dask cluster give what one process gives, also when a worker is killed on the way."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cosim.campaign.model import CampaignSpec, CaseResult, Kind
from cosim.campaign.run import CHUNK, Campaign, Crew, run_campaign
from cosim.cli import run
from cosim.errors import EngineError
from cosim.resources import firmware_file
from cosim.testing import bound_image
from ta.profile import FirewallProfile, Profile

distributed = pytest.importorskip("distributed", reason="Dask is not installed: the extra `dask`")
dask_workers = pytest.importorskip("cosim.campaign.dask_workers")

DEMO = str(firmware_file("demo_m4.elf"))
#: Among the first interruptions are some that get through the upstream profile.
SPEC = CampaignSpec(
    bound_image(Path(DEMO).read_bytes()),
    Profile.UPSTREAM,
    FirewallProfile.OPEN,
    (Kind.MUTATION, Kind.INTERRUPTION),
    limit=CHUNK + 3,
)


@contextlib.contextmanager
def cluster(workers: int) -> Iterator[Any]:
    """A scheduler, and so many processes as workers."""
    with distributed.LocalCluster(
        n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=False
    ) as started:
        yield started


def crew_of(cluster: Any, patience: float = 60.0) -> Crew:
    return functools.partial(dask_workers.dask_workers, address=cluster.scheduler_address, patience=patience)


def flat(chunks: Iterator[list[CaseResult]]) -> list[CaseResult]:
    return [result for chunk in chunks for result in chunk]


def test_a_killed_worker_loses_nothing_and_has_nothing_counted_twice(tmp_path: Path) -> None:
    campaign = Campaign(SPEC)
    alone = flat(run_campaign(campaign, journal=tmp_path / "alone"))
    assert any(result.bypass for result in alone)

    with cluster(2) as started, distributed.Client(started, set_as_default=False) as client:
        processes = client.run(os.getpid)
        chunks = run_campaign(campaign, crew=crew_of(started), journal=tmp_path / "spread")
        found = next(chunks)
        victim = next(address for address, tasks in client.processing().items() if tasks)
        os.kill(processes[victim], signal.SIGKILL)
        found += flat(chunks)
        lost = [event for _, event in client.get_events("all") if event["action"] == "remove-worker"]

    assert len(lost) == 1
    assert lost[0]["processing-tasks"], "the worker was killed while it had chunks"
    assert found == alone
    assert (tmp_path / "spread").read_bytes() == (tmp_path / "alone").read_bytes()


@pytest.fixture
def threads() -> Iterator[Any]:
    """A scheduler with one worker in this process: starts at once."""
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=2, processes=False, protocol="tcp://", dashboard_address=None
    ) as started:
        yield started


def small(cases: int = CHUNK + 2) -> CampaignSpec:
    return dataclasses.replace(SPEC, kinds=(Kind.MUTATION,), limit=cases)


def test_a_chunk_that_ends_every_worker_is_an_error_and_not_a_hang() -> None:
    dask = pytest.importorskip("dask")
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        cluster(1) as started,
        distributed.Client(started, set_as_default=False) as client,
    ):
        (process,) = client.run(os.getpid).values()

        def stopped() -> bool:
            if any(client.processing().values()):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            return False

        with pytest.raises(EngineError, match="ends every worker"):
            flat(run_campaign(Campaign(SPEC), crew=crew_of(started), stopped=stopped))


def test_what_a_campaign_leaves_early_is_taken_back_from_the_cluster(threads: Any) -> None:
    chunks = run_campaign(Campaign(small(8 * CHUNK)), crew=crew_of(threads))
    next(chunks)
    during = set(threads.scheduler.worker_plugins)
    chunks.close()

    assert any(name.startswith("cosim-") for name in during)
    assert not any(name.startswith("cosim-") for name in threads.scheduler.worker_plugins)
    assert all(task.state != "waiting" for task in threads.scheduler.tasks.values())


def test_a_journal_goes_on_where_another_way_of_playing_left_it(threads: Any, tmp_path: Path) -> None:
    campaign = Campaign(small(3 * CHUNK))
    begun = next(run_campaign(campaign, journal=tmp_path / "journal"))

    found = flat(run_campaign(campaign, crew=crew_of(threads), journal=tmp_path / "journal"))

    assert found == flat(run_campaign(campaign))
    assert found[:CHUNK] == begun


def test_a_worker_with_other_sources_is_refused(threads: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    versions = iter(["ours"])
    monkeypatch.setattr(dask_workers, "fingerprint", lambda: next(versions, "theirs"))

    with pytest.raises(EngineError, match="another version"):
        flat(run_campaign(Campaign(small()), crew=crew_of(threads)))


def test_an_image_that_a_worker_cannot_attack_is_an_error_with_its_reason(threads: Any) -> None:
    class Elsewhere(Campaign):
        """A campaign whose workers get an image that does not boot."""

        def __init__(self, spec: CampaignSpec) -> None:
            super().__init__(spec)
            self.spec = dataclasses.replace(spec, image=spec.image[:-1])

    with pytest.raises(EngineError, match="a worker failed: positive control failed"):
        flat(run_campaign(Elsewhere(small()), crew=crew_of(threads)))


def test_a_cluster_without_workers_is_given_up() -> None:
    empty = distributed.LocalCluster(n_workers=0, processes=False, protocol="tcp://", dashboard_address=None)
    with empty as started, pytest.raises(EngineError, match="no worker"):
        flat(run_campaign(Campaign(small()), crew=crew_of(started, patience=0.1)))


def test_a_scheduler_that_goes_away_is_an_error(threads: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask_workers, "_CONNECT_WITHIN", 0.5)
    chunks = run_campaign(Campaign(small(20 * CHUNK)), crew=crew_of(threads))
    next(chunks)
    threads.close()

    with pytest.raises(EngineError):
        flat(chunks)


def test_the_digest_of_the_project_follows_its_sources(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = dask_workers.fingerprint()
    assert dask_workers.fingerprint() == before
    other = tmp_path / "a7_client.elf"
    other.write_bytes(b"another client")
    monkeypatch.setattr(dask_workers, "firmware_file", lambda _name: other)

    assert dask_workers.fingerprint() != before


def test_the_command_prints_on_a_cluster_what_it_prints_alone(threads: Any, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["campaign", DEMO, "--profile", "upstream", "--firewall", "open", "--kind", "interruption", "--limit", "45"]
    assert run(flags) == 1
    alone = capsys.readouterr().out
    assert run([*flags, "--dask", threads.scheduler_address]) == 1

    assert capsys.readouterr().out == alone
    assert "bypass interruption:" in alone


def test_the_command_starts_a_cluster_of_its_own_and_still_hears_ctrl_c(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[object] = []
    digest = dask_workers.fingerprint()

    def fingerprint() -> str:
        heard.append(signal.getsignal(signal.SIGINT))
        return str(digest)

    monkeypatch.setattr(dask_workers, "fingerprint", fingerprint)
    assert run(["campaign", DEMO, "--kind", "mutation", "--limit", "3", "--dask", "local", "--json"]) == 0

    assert '"cases": 3' in capsys.readouterr().out
    assert heard
    assert signal.SIG_IGN not in heard


@pytest.mark.parametrize("address", ["", "nonsense", "tcp://127.0.0.1", "tcp://127.0.0.1:1", "x://127.0.0.1:1"])
def test_an_address_without_a_scheduler_is_refused(
    address: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dask_workers, "_CONNECT_WITHIN", 0.2)

    assert run(["campaign", DEMO, "--kind", "mutation", "--limit", "3", "--dask", address]) == 2
    assert "no Dask scheduler" in capsys.readouterr().err


def test_processes_here_and_a_cluster_elsewhere_exclude_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["campaign", DEMO, "--dask", "tcp://127.0.0.1:1", "--jobs", "2"]) == 2
    assert "a Dask cluster has its own" in capsys.readouterr().err
