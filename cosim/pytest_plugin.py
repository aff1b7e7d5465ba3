"""The pytest plugin: fixtures that boot firmware on a simulated SoC, and what a failed test leaves behind.

Loaded in every pytest run of a project that has this package installed, so it imports nothing of the simulator until a
fixture asks for it. Options: `--cosim-engine`, `--cosim-seed`, `--cosim-artifacts`, or the ini keys `cosim_engine`,
`cosim_seed`, `cosim_artifacts`. Markers: `@pytest.mark.cosim(profile=..., firewall=..., deny=...)` and, for the fixture
of the same name, `@pytest.mark.cosim_campaign(kinds=..., cases=..., seed=...)`.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Callable, Generator
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cosim.options import ARTIFACTS, BOOT_OPTIONS, ENGINE, PYTEST_OPTIONS, SEED, Option, soc_config
from cosim.pytest_rpmsg import cosim_rpmsg

if TYPE_CHECKING:
    from cosim.boot import BootReport
    from cosim.campaign.report import Tally
    from cosim.events import EventLog
    from cosim.soc import Soc, SocConfig
    from cosim.testing import Signer

__all__ = ["cosim_rpmsg"]  # pytest finds the fixture here

MakeSoc = Callable[..., "Soc"]
Boot = Callable[..., "BootReport"]
Attack = Callable[..., "Tally"]

#: Lines of the event log that a report shows; the artifacts hold all of it.
_TAIL = 200
_SOCS = pytest.StashKey["list[Soc]"]()
_SEEDS = 2**64
#: The normal-world client's console; every other one is the M4's.
_A7_CONSOLE = "uart4"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare flags and ini keys from the table of options."""
    group = parser.getgroup("cosim", "co-simulation of authenticated remote-processor boot")
    for option in PYTEST_OPTIONS:
        choices = {"choices": option.choices} if option.choices else {"metavar": option.metavar}
        group.addoption(option.pytest_flag, dest=option.ini, default=None, help=option.help, **choices)
        parser.addini(option.ini, option.help, default=option.default)


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker, and settle the seed once, so that parallel workers get the same."""
    names = ", ".join(f"{option.key}={option.takes}" for option in BOOT_OPTIONS)
    config.addinivalue_line("markers", f"cosim({names}): what kind of SoC the cosim fixtures build.")
    config.addinivalue_line(
        "markers",
        "cosim_campaign(kinds=[mutation, double-fetch, interruption, sequence, fault], cases=N, seed=N): which attacks "
        "the fixture cosim_campaign makes, how many of each kind (default: all), and the seed of random ones.",
    )
    for option in (ENGINE, SEED):
        setattr(config.option, option.ini, _setting(config, option))
    if config.getoption(ENGINE.ini) not in ENGINE.choices:
        raise pytest.UsageError(f"{ENGINE.ini}: choose one of {', '.join(ENGINE.choices)}")
    config.option.cosim_seed = _seed(str(config.getoption(SEED.ini)))


def _setting(config: pytest.Config, option: Option) -> str | None:
    """The flag, else the ini key (which knows the default)."""
    given = config.getoption(option.ini)
    value = config.getini(option.ini) if given is None else given
    return str(value) if value not in (None, "") else None


def _seed(text: str) -> int:
    if text == "random":
        return secrets.randbelow(2**32)
    try:
        seed = int(text, 0)
    except ValueError:
        seed = -1
    if not 0 <= seed < _SEEDS:
        raise pytest.UsageError(f"{SEED.pytest_flag}: {text!r} is neither a number from 0 to 2**64-1 nor 'random'")
    return seed


def pytest_report_header(config: pytest.Config) -> str:
    """Engine, versions and seed: what is needed to repeat the run."""
    engine = config.getoption(ENGINE.ini)
    versions = f"{_versioned(engine)}, {_versioned('cryptography')}, {_versioned('remoteproc-cosim')}"
    return f"cosim: engine {versions}, {SEED.pytest_flag}={config.getoption(SEED.ini)}"


def _versioned(name: str) -> str:
    """A name with the version of its Python package, where it is one and is installed."""
    try:
        return f"{name} {metadata.version(name)}"
    except metadata.PackageNotFoundError:
        return name


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Attach the event log and the M4's console of every SoC to the report of a failed test."""
    report = yield
    if report.failed:
        for number, soc in enumerate(_socs(item)):
            _attach(report, soc, f"cosim SoC {number}" if number else "cosim SoC")
            _save(item, soc, number)
    return report


def _socs(item: pytest.Item) -> list[Soc]:
    """The SoCs that a test has built so far."""
    return item.stash.setdefault(_SOCS, [])


def _attach(report: pytest.TestReport, soc: Soc, title: str) -> None:
    from cosim.events import ConsoleLine
    from cosim.timeline import describe, printable

    lines = [str(describe(record)) for record in soc.log.records[-_TAIL:]]
    report.sections.append((f"{title}: last {len(lines)} of {len(soc.log)} events", "\n".join(lines)))
    console = [line for line in soc.log.of(ConsoleLine) if line.source != _A7_CONSOLE]
    text = "\n".join(f"{line.source}| {printable(line.text)}" for line in console[-_TAIL:])
    report.sections.append((f"{title}: M4 console and traces", text or "(nothing)"))


def _save(item: pytest.Item, soc: Soc, number: int) -> None:
    from cosim.waveform import to_vcd

    folder = _setting(item.config, ARTIFACTS)
    if folder is None:
        return
    # Node ids hold characters that file names cannot, and may be longer than a file system allows.
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", item.nodeid)[-80:].strip("-")
    digest = hashlib.sha256(item.nodeid.encode()).hexdigest()[:8]
    place = Path(item.config.rootpath, folder, f"{name}-{digest}")
    place.mkdir(parents=True, exist_ok=True)
    with (place / f"events-{number}.jsonl").open("w", encoding="utf-8") as stream:
        soc.log.write_jsonl(stream)
    (place / f"events-{number}.vcd").write_text(to_vcd(soc.log), encoding="utf-8")


@pytest.fixture
def cosim_seed(request: pytest.FixtureRequest) -> int:
    """A seed for this test, derived from --cosim-seed and the test's name; the same in every run and order."""
    text = f"{request.config.getoption(SEED.ini)}:{request.node.nodeid}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


@pytest.fixture
def cosim_config(request: pytest.FixtureRequest) -> SocConfig:
    """The `SocConfig` that the options and the test's `cosim` markers ask for."""
    return soc_config({ENGINE.name: request.config.getoption(ENGINE.ini), **_settings_of(request.node, "cosim")})


def _settings_of(node: pytest.Item, name: str) -> dict[str, object]:
    """The keyword arguments of a test's markers of that name; the nearest marker wins."""
    settings: dict[str, object] = {}
    for marker in reversed(list(node.iter_markers(name))):
        if marker.args:
            raise pytest.UsageError(f"pytest.mark.{name} takes keyword arguments only")
        settings.update(marker.kwargs)
    return settings


@pytest.fixture
def make_soc(request: pytest.FixtureRequest, cosim_config: SocConfig) -> MakeSoc:
    """Builds fresh SoCs: `make_soc()`, or `make_soc(config)` for one of another kind. Failed tests show their logs."""
    from cosim.soc import Soc

    socs = _socs(request.node)

    def make(config: SocConfig | None = None) -> Soc:
        soc = Soc(config or cosim_config)
        socs.append(soc)
        return soc

    return make


@pytest.fixture
def soc(make_soc: MakeSoc) -> Soc:
    """A fresh SoC through its secure boot, the normal world not yet started."""
    return make_soc()


@pytest.fixture
def event_log(soc: Soc) -> EventLog:
    """The event log of the `soc` fixture."""
    return soc.log


@pytest.fixture
def cosim_boot(request: pytest.FixtureRequest, cosim_config: SocConfig) -> Boot:
    """Boots an image as the kernel does, on a fresh SoC: `cosim_boot(image).verdict`."""
    from cosim.boot import boot

    socs = _socs(request.node)

    def run(image: bytes, config: SocConfig | None = None) -> BootReport:
        report = boot(image, config or cosim_config)
        socs.append(report.soc)
        return report

    return run


@pytest.fixture
def cosim_campaign(request: pytest.FixtureRequest, cosim_config: SocConfig, cosim_seed: int, tmp_path: Path) -> Attack:
    """Attacks the secure world with an ELF file or image: `cosim_campaign(image)` fails the test for each bypass.

    Takes bytes or a path, as `cosim campaign` does, and returns the counts. The attacks are those of the test's
    `cosim_campaign` marker, profile and firewall those of its `cosim` marker; the embedded engine runs them.
    """
    from cosim.campaign.model import CampaignSpec
    from cosim.campaign.report import Tally
    from cosim.campaign.run import Campaign
    from cosim.campaign.sample import failure, sampling, spread
    from cosim.testing import bound_image

    wanted = sampling(_settings_of(request.node, "cosim_campaign"), cosim_seed)

    def run(image: bytes | str | Path) -> Tally:
        data = bound_image(image if isinstance(image, bytes) else Path(image).read_bytes())
        spec = CampaignSpec(data, cosim_config.profile, cosim_config.firewall, wanted.kinds, seed=wanted.seed)
        campaign, tally = Campaign(spec), Tally()
        tally.add(campaign.case(case) for case in spread(campaign, wanted.cases))
        if tally.bypassed:
            file = tmp_path / "campaign.sign"
            file.write_bytes(data)
            pytest.fail(failure(spec, str(file), tally), pytrace=False)
        return tally

    return run


@pytest.fixture(scope="session")
def signer() -> Signer:
    """Signs ELF files with the project's test key: `signer.sign(elf, ...)` takes bytes or paths."""
    from cosim.testing import default_signer

    return default_signer()


@pytest.fixture(scope="session")
def signed_firmware(signer: Signer) -> bytes:
    """The project's demo firmware, signed with the test key."""
    from cosim.resources import firmware_file

    return signer.sign(firmware_file("demo_m4.elf"))
