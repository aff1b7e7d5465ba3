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
from cosim.errors import EngineError, UsageError
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
    limit=2 * CHUNK + 3,
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
        before = set(client.run(os.getpid).values())
        chunks = run_campaign(campaign, crew=crew_of(started), journal=tmp_path / "spread")
        found = next(chunks)
        assert client.processing(), "somebody is at work"
        os.kill(min(before), signal.SIGKILL)
        found += flat(chunks)
        lost = [event for _, event in client.get_events("all") if event["action"] == "remove-worker"]

    assert len(lost) == 1
    assert lost[0]["processing-tasks"], "the worker was killed while it had chunks"
    assert found == alone
    assert (tmp_path / "spread").read_bytes() == (tmp_path / "alone").read_bytes()
