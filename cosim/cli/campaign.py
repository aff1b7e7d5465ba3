"""`cosim campaign`: attack the secure world in thousands of cases, and show which ones get through."""

from __future__ import annotations

import contextlib
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import click

from cosim.cli._output import (
    INTERRUPTED,
    about,
    check_writable,
    log,
    note_python_loop,
    out,
    out_json,
    read_input,
    write_atomically,
)
from cosim.errors import UsageError
from cosim.options import FIREWALL, PROFILE
from cosim.timeline import Style

if TYPE_CHECKING:
    from cosim.campaign.model import CaseId
    from cosim.campaign.report import Tally
    from cosim.campaign.run import Campaign, Crew

_KINDS = ("mutation", "double-fetch", "interruption", "fault", "sequence", "fault-pair")
_MOST_JOBS = 256
_LOCAL = "local"


@click.command()
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path))
@click.option(
    "--kind",
    "kinds",
    multiple=True,
    type=click.Choice(_KINDS),
    help="Only this kind; may be repeated. Default: all but fault-pair.",
)
@click.option(PROFILE.flag, type=click.Choice(PROFILE.choices), default=PROFILE.default, show_default=True)
@click.option(FIREWALL.flag, type=click.Choice(FIREWALL.choices), default=FIREWALL.default, show_default=True)
@click.option("--jobs", type=click.IntRange(1, _MOST_JOBS), default=1, show_default=True, help="Processes.")
@click.option(
    "--dask", metavar="ADDRESS", help="Play on the workers of this Dask scheduler; local: on --jobs of them here."
)
@click.option("--limit", type=click.IntRange(1, 1 << 31), metavar="CASES", help="Cases of each kind.")
@click.option("--seed", type=click.IntRange(0, (1 << 64) - 1), default=0, show_default=True, help="Of random cases.")
@click.option("--replay", metavar="LINE", help="Play this one case (kind:index:seed) and tell what happened.")
@click.option("--resume", type=click.Path(path_type=Path), help="Journal: go on from it, and keep it up to date.")
@click.option("--results", type=click.Path(path_type=Path), help="Write every case as JSON Lines.")
@click.option("--junit", "junit_path", type=click.Path(path_type=Path), help="Write JUnit XML.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def campaign(
    *,
    path: Path,
    kinds: tuple[str, ...],
    profile: str,
    firewall: str,
    jobs: int,
    dask: str | None,
    limit: int | None,
    seed: int,
    replay: str | None,
    resume: Path | None,
    results: Path | None,
    junit_path: Path | None,
    as_json: bool,
) -> int:
    """Attack the secure world with changed images, races, interruptions, calls out of order, and faults.

    FILE is an ELF file, which is signed with the project's test key, or an image signed with that key. Exit code 0: no
    bypass; 1: a bypass; 2: FILE or an option cannot be used. docs/campaign.md says what counts as a bypass.
    """
    from cosim.campaign.model import DEFAULT_KINDS, CampaignSpec, CaseId, Kind
    from cosim.campaign.run import Campaign
    from cosim.testing import bound_image
    from ta.profile import FirewallProfile, Profile

    crew = None if dask is None else _crew(dask, jobs)
    for target in filter(None, (resume, results, junit_path)):
        check_writable(target)
    if replay is not None and (kinds or limit is not None or resume or results or junit_path or dask):
        raise UsageError(
            "--replay plays one case", hint="give it alone, with --profile and --firewall", option="replay"
        )
    case = None if replay is None else CaseId.parse(replay)
    chosen = (case.kind,) if case is not None else tuple(Kind(k) for k in dict.fromkeys(kinds)) or DEFAULT_KINDS
    with about(path):
        image = bound_image(read_input(path))
        spec = CampaignSpec(image, Profile(profile), FirewallProfile(firewall), chosen, limit, seed)
        if not as_json:
            note_python_loop("unicorn")
        ready = Campaign(spec)
        if case is not None:
            return _replay(ready, case, as_json=as_json)
    command = f"cosim campaign {shlex.quote(str(path))} --profile {profile} --firewall {firewall} --replay"
    files = {"journal": resume, "results": results, "junit_path": junit_path}
    return _run(ready, command, jobs=jobs, crew=crew, **files, as_json=as_json)


def _crew(dask: str, jobs: int) -> Crew:
    """The workers that `--dask` asks for."""
    try:
        from cosim.campaign.dask_workers import dask_workers
    except ImportError as error:
        raise UsageError(
            f"--dask needs Dask: {error}", hint="pip install 'remoteproc-cosim[dask]'", option="dask"
        ) from None
    if dask == _LOCAL:
        return partial(dask_workers, address=None, processes=jobs)
    if jobs != 1:
        raise UsageError(
            "--jobs counts processes here, a Dask cluster has its own",
            hint=f"leave out --jobs, or say --dask {_LOCAL}",
            option="jobs",
        )
    return partial(dask_workers, address=dask)


def _replay(ready: Campaign, case: CaseId, *, as_json: bool) -> int:
    result = ready.case(case)
    if as_json:
        out_json(result.as_dict())
    else:
        out(f"case:     {result.case}")
        out(f"attack:   {result.what}")
        out(f"verdict:  {result.verdict.value}", Style.BAD if result.bypass else Style.GOOD)
        out(f"evidence: {result.evidence}")
    return 1 if result.bypass else 0


def _run(
    ready: Campaign,
    command: str,
    *,
    jobs: int,
    crew: Crew | None,
    journal: Path | None,
    results: Path | None,
    junit_path: Path | None,
    as_json: bool,
) -> int:
    from cosim.campaign.report import Tally, json_line, junit
    from cosim.campaign.run import run_campaign

    tally = Tally()
    total = sum(ready.sizes().values())
    with _stop_flag() as stopped:
        progress = _Progress(total)

        def lines() -> Iterator[bytes]:
            for chunk in run_campaign(ready, jobs=jobs, crew=crew, journal=journal, stopped=stopped):
                tally.add(chunk)
                for result in chunk:
                    if result.bypass and not as_json:
                        out(f"bypass {result.case}: {result.what}: {result.evidence}; replay: {command} {result.case}")
                    yield json_line(result)
                progress.show(tally.total)

        if results is not None:
            write_atomically(results, lines())
        else:
            for _ in lines():
                pass
        progress.clear()
    if junit_path is not None:
        write_atomically(junit_path, [junit(tally)])
    _show(tally, total, as_json=as_json)
    if tally.total < total:
        log(
            f"interrupted after {tally.total} of {total} cases"
            + (f"; go on with --resume {journal}" if journal else "")
        )
        return INTERRUPTED
    return 1 if tally.bypassed else 0


def _show(tally: Tally, total: int, *, as_json: bool) -> None:
    if as_json:
        out_json({"complete": tally.total == total, **tally.as_dict()})
        return
    out("positive control: the untouched image boots and every monitor holds")
    for row in tally.rows():
        out(row)
    out(f"{tally.bypassed} bypasses in {tally.total} cases", Style.BAD if tally.bypassed else Style.GOOD)


@contextlib.contextmanager
def _stop_flag() -> Iterator[Callable[[], bool]]:
    """Let Ctrl-C end the campaign at the next border of a chunk; whether it was pressed."""
    pressed = False

    def press(_number: int, _frame: FrameType | None) -> None:
        nonlocal pressed
        pressed = True

    previous = signal.signal(signal.SIGINT, press)
    try:
        yield lambda: pressed
    finally:
        signal.signal(signal.SIGINT, previous)


class _Progress:
    """One line on a terminal that is overwritten: cases done, rate, and time left."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._terminal = sys.stderr.isatty()
        self._start = time.monotonic()

    def show(self, done: int) -> None:
        """Say where the campaign is."""
        if self._terminal:
            rate = done / max(time.monotonic() - self._start, 0.001)
            left = int((self._total - done) / max(rate, 0.001))
            text = f"{done}/{self._total} cases, {rate:.0f}/s, {left // 60}:{left % 60:02d} left"
            click.echo(f"\r\x1b[K{text}", err=True, nl=False)

    def clear(self) -> None:
        """Remove the line."""
        if self._terminal:
            click.echo("\r\x1b[K", err=True, nl=False)
