"""How cost grows: with instructions, with cases, with `--jobs`, and with the size of an image.

Times are of the processor, so that a busy machine hardly counts, except where wall time is said.
`python -m cosim.bench.growth_plots FOLDER` draws the same series.
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from cosim.bench.computing import A7, M4, ComputingSoc
from cosim.bench.decisions import large_elf
from cosim.bench.measurement import Finding, Measurement, Ratio, Sizes, processor_seconds
from cosim.campaign.caller import IMAGE, Caller
from cosim.campaign.model import CampaignSpec, Kind
from cosim.campaign.run import CHUNK, Campaign, run_campaign
from cosim.client import Command
from cosim.errors import EngineError
from cosim.resources import firmware_file
from cosim.soc import Soc
from cosim.testing import bound_image

_SECTION = "growth"
_CORES = {"A7": (A7,), "M4": (M4,), "both in turns": (A7, M4)}
_KINDS = {"mutation": Kind.MUTATION, "double fetch": Kind.DOUBLE_FETCH}
#: SRAM1 and SRAM2 have 256 KiB; what the largest has more lies in RETRAM.
IMAGE_KIB = (1, 4, 16, 32, 64, 128, 200, 300)
JOBS = (1, 2)


@dataclass(frozen=True)
class Series:
    """One line of a plot: y in `unit` by x; `how` says what was taken of several runs."""

    name: str
    points: tuple[tuple[float, float], ...]
    unit: str
    how: str = "once"

    def ratio(self) -> Ratio:
        """By how much y grew per growth of x, from the first point to the last: 1.0 is proportional."""
        (x0, y0), (x1, y1) = self.points[0], self.points[-1]
        return Ratio((y1 / y0) / (x1 / x0), "proportional growth")


@dataclass(frozen=True)
class Figure:
    """The lines of one plot and what its axes are."""

    key: str
    title: str
    x: str
    y: str
    series: tuple[Series, ...]


def measure_growth(sizes: Sizes) -> Iterator[Finding]:
    """Every point of every figure."""
    for figure in figures(sizes):
        for line in figure.series:
            for x, y in line.points:
                last = x == line.points[-1][0] and len(line.points) > 1
                ratios = (line.ratio(),) if last else ()
                name = f"{figure.title}, {line.name}: {x:,.0f} {figure.x}"
                yield Measurement(_SECTION, name, y, line.unit, line.how, ratios)


def figures(sizes: Sizes) -> Iterator[Figure]:
    """The four figures, measured one after the other. Raises `EngineError` when something did not happen as timed."""
    yield Figure(
        "instructions",
        "Run by instructions",
        "million instructions",
        "seconds of processor time",
        tuple(by_instructions(name, cores, sizes) for name, cores in _CORES.items()),
    )
    yield Figure(
        "cases",
        "Campaign by cases",
        "cases",
        "seconds of processor time",
        tuple(by_cases(name, kind, sizes) for name, kind in _KINDS.items()),
    )
    yield Figure(
        "jobs",
        "Campaign by processes",
        "--jobs",
        "cases per second",
        tuple(line for name, kind in _KINDS.items() for line in by_jobs(name, kind, sizes)),
    )
    yield Figure("size", "Image by size", "KiB of code", "milliseconds of processor time", by_size(sizes))


def by_instructions(name: str, cores: tuple[str, ...], sizes: Sizes) -> Series:
    """Seconds that a run of a program takes, by the instructions that the cores retired in it, in millions."""
    soc = ComputingSoc(cores)
    most = 5 * sizes.native_instructions
    soc.run(most // 20)
    points = []
    for part in (20, 10, 5, 2, 1):
        before = sum(soc.retired(core) for core in cores)
        best = min(_seconds(functools.partial(soc.run, most // part)) for _ in range(sizes.repeats))
        retired = sum(soc.retired(core) for core in cores) - before
        points.append((retired / sizes.repeats / 1e6, best))
    return Series(name, tuple(points), "s processor", f"best of {sizes.repeats}")


def by_cases(name: str, kind: Kind, sizes: Sizes) -> Series:
    """Seconds since a campaign's start, positive control included, by the cases that are finished; once."""
    most = sizes.mutations if kind is Kind.MUTATION else sizes.races
    begin, done, points = time.process_time(), 0, []
    campaign = Campaign(CampaignSpec(_demo(), kinds=(kind,), limit=most))
    for chunk in run_campaign(campaign):
        done += len(chunk)
        points.append((float(done), time.process_time() - begin))
    return Series(name, tuple(_thinned(points)), "s processor")


def by_jobs(name: str, kind: Kind, sizes: Sizes) -> tuple[Series, Series]:
    """Cases per second by the number of processes: of wall time, and of the time of all processes per process.

    The former starts behind every process's first chunk and wants an idle machine. The latter counts starting up and
    waits for nobody: what the machine would do if each process had a core of its own.
    """
    most = max(sizes.mutations if kind is Kind.MUTATION else sizes.races, 4 * CHUNK)
    campaign = Campaign(CampaignSpec(_demo(), kinds=(kind,), limit=most))
    wall, processor = [], []
    for jobs in JOBS:
        done, begin, before = 0, 0.0, _processor_of_all()
        for number, chunk in enumerate(run_campaign(campaign, jobs=jobs)):
            if number < jobs:
                begin = time.perf_counter()
            else:
                done += len(chunk)
        wall.append((float(jobs), done / (time.perf_counter() - begin)))
        processor.append((float(jobs), jobs * most / (_processor_of_all() - before)))
    return Series(name, tuple(wall), "1/s wall"), Series(f"{name}, a core each", tuple(processor), "1/s processor")


def _processor_of_all() -> float:
    """Processor seconds of this process and of those that it started and that have ended."""
    return sum(os.times()[:4])


def by_size(sizes: Sizes) -> tuple[Series, ...]:
    """Milliseconds of one LOAD_FW, one with RELEASE_FW, and of signing, by KiB of code in the image."""
    soc = Soc()
    caller = Caller(soc)
    session, start = caller.open().session, len(soc.log)
    sign, load, both = [], [], []
    for kib in IMAGE_KIB:
        elf = large_elf(kib * 1024)
        image = bound_image(elf)
        caller.write(IMAGE, image)
        taken = []
        for _ in range(max(sizes.decisions // 5, 2)):
            taken.append(_load_and_release(caller, session, len(image)))
            soc.log.truncate(start)
        sign.append(
            (float(kib), 1e3 * min(_seconds(functools.partial(bound_image, elf)) for _ in range(sizes.repeats)))
        )
        load.append((float(kib), 1e3 * min(t[0] for t in taken)))
        both.append((float(kib), 1e3 * min(sum(t) for t in taken)))
    lines = {"LOAD_FW": load, "LOAD_FW and RELEASE_FW": both, "signing": sign}
    return tuple(Series(name, tuple(points), "ms processor", "best of some") for name, points in lines.items())


def _load_and_release(caller: Caller, session: int, size: int) -> tuple[float, float]:
    """Seconds of both commands."""
    load, loaded = processor_seconds(lambda: caller.load(session, size).ok)
    release, released = processor_seconds(lambda: caller.command(session, Command.RELEASE_FW).ok)
    if not (loaded and released):
        raise EngineError("the benchmark's image was not accepted", size=size)
    return load, release


def _seconds(action: Callable[[], object]) -> float:
    return processor_seconds(action)[0]


def _demo() -> bytes:
    return bound_image(firmware_file("demo_m4.elf").read_bytes())


def _thinned(points: list[tuple[float, float]]) -> Iterator[tuple[float, float]]:
    """The first point, the last, and every so many between, at most about 20."""
    step = max(len(points) // 20, 1)
    yield from (point for number, point in enumerate(points) if number % step == 0 or number == len(points) - 1)
