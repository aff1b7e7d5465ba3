"""How fast campaigns are: cases that the TA refuses, and cases of the whole SoC, beside a fresh process for each case.

Rates of one process are of its processor time; rates by `--jobs` are of wall time and want an idle machine. They count
from the first finished chunk on, so that starting up and the positive control are only in the rate of fresh processes.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass

from cosim.bench.cold import DEMO, environment_with, run_process
from cosim.bench.measurement import Finding, Measurement, Ratio, Sizes
from cosim.campaign.model import CampaignSpec, Kind
from cosim.campaign.run import CHUNK, Campaign, run_campaign
from cosim.errors import EngineError
from cosim.resources import firmware_file
from cosim.testing import bound_image

_SECTION = "campaigns"
#: The kinds to time, and what nearly all of the cases of each do.
KINDS = {
    Kind.MUTATION: "mutation, decided by the TA alone",
    Kind.DOUBLE_FETCH: "double fetch, the whole SoC put back after each",
}
JOBS = (1, 2)


@dataclass(frozen=True)
class Rates:
    """Cases per second of wall time, and of this process's own processor time (its children's does not count)."""

    wall: float
    processor: float


def measure_campaigns(sizes: Sizes) -> Iterator[Finding]:
    """Cases per second by kind, and how many times that is of a fresh process per case."""
    path = firmware_file(DEMO)
    image = bound_image(path.read_bytes())
    with tempfile.TemporaryDirectory(prefix="cosim-bench-") as cache:
        environment = environment_with(cache)
        for kind, name in KINDS.items():
            command = ["-m", "cosim.cli", "campaign", str(path), "--replay", f"{kind.value}:0:0"]
            run_process(command, environment)  # fills the byte code
            runs = [run_process(command, environment)[0] for _ in range(sizes.repeats)]
            busy = statistics.median(run.user + run.system for run in runs)
            fresh = Measurement(
                _SECTION, f"{name}: a fresh process each", 1 / busy, "1/s processor", f"median of {sizes.repeats}"
            )
            yield fresh
            yield from _by_jobs(image, kind, name, sizes, fresh)


def _by_jobs(image: bytes, kind: Kind, name: str, sizes: Sizes, fresh: Measurement) -> Iterator[Finding]:
    cases = sizes.mutations if kind is Kind.MUTATION else sizes.races
    how = f"once, {cases:,} cases"
    rates = {jobs: case_rates(CampaignSpec(image, kinds=(kind,), limit=cases), jobs) for jobs in JOBS}
    one = rates[1]
    beside = (Ratio(one.processor / fresh.value, "a fresh process each"),)
    yield Measurement(_SECTION, f"{name}: one process", one.processor, "1/s processor", how, beside)
    for jobs, rate in rates.items():
        ratios = (Ratio(rate.wall / one.wall, "--jobs 1"),) if jobs > 1 else ()
        yield Measurement(_SECTION, f"{name}: --jobs {jobs}", rate.wall, "1/s wall", how, ratios)


def case_rates(spec: CampaignSpec, jobs: int) -> Rates:
    """Cases per second behind the first chunk. Raises `EngineError` for a campaign too short to have a rate."""
    done, begin = 0, (0.0, 0.0)
    for number, chunk in enumerate(run_campaign(Campaign(spec), jobs=jobs)):
        if number:
            done += len(chunk)
        else:
            begin = time.perf_counter(), time.process_time()
    if not done:
        raise EngineError("the campaign is too short to be timed", hint=f"give it more than {CHUNK} cases")
    return Rates(done / (time.perf_counter() - begin[0]), done / (time.process_time() - begin[1]))
