"""How fast campaigns are: cases that the TA refuses and cases of the whole SoC, by one, two, or ever fresh processes.

Rates are of wall time, because of the processes; they count from the first finished chunk on, so that starting up and
the positive control are not in them but in the number for a fresh process.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator

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


def measure_campaigns(sizes: Sizes) -> Iterator[Finding]:
    """Cases per second of wall time, and how many times that is of a fresh process per case."""
    path = firmware_file(DEMO)
    image = bound_image(path.read_bytes())
    with tempfile.TemporaryDirectory(prefix="cosim-bench-") as cache:
        environment = environment_with(cache)
        for kind, name in KINDS.items():
            command = ["-m", "cosim.cli", "campaign", str(path), "--replay", f"{kind.value}:0:0"]
            run_process(command, environment)  # fills the byte code
            wall = statistics.median(run_process(command, environment)[0].wall for _ in range(sizes.repeats))
            fresh = Measurement(
                _SECTION, f"{name}: a fresh process each", 1 / wall, "1/s", f"median of {sizes.repeats}"
            )
            yield fresh
            yield from _by_jobs(image, kind, name, sizes, fresh)


def _by_jobs(image: bytes, kind: Kind, name: str, sizes: Sizes, fresh: Measurement) -> Iterator[Finding]:
    cases = sizes.mutations if kind is Kind.MUTATION else sizes.races
    how = f"once, {cases:,} cases"
    one = 0.0
    for jobs in JOBS:
        rate = case_rate(CampaignSpec(image, kinds=(kind,), limit=cases), jobs)
        ratios = [Ratio(rate / fresh.value, "a fresh process each")]
        if one:
            ratios.append(Ratio(rate / one, "one process"))
        one = one or rate
        yield Measurement(_SECTION, f"{name}: --jobs {jobs}", rate, "1/s", how, tuple(ratios))


def case_rate(spec: CampaignSpec, jobs: int) -> float:
    """Cases per second behind the first chunk. Raises `EngineError` for a campaign too short to have a rate."""
    done, begin = 0, 0.0
    for chunk in run_campaign(Campaign(spec), jobs=jobs):
        if begin:
            done += len(chunk)
        begin = begin or time.perf_counter()
    if not done:
        raise EngineError("the campaign is too short to be timed", hint=f"give it more than {CHUNK} cases")
    return done / (time.perf_counter() - begin)
