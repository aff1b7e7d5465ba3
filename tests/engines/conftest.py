"""Makes what the tests of the engines share importable, and lets them honour `--cosim-engine`."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cosim.options import ENGINE
from cosim.soc import SocConfig

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

#: Renode's turns are whole microseconds of 209 M4 instructions: shorter ones are this one again.
SHORTEST_TURN = 209


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """On Renode leave out what would be the same run again: loops are the embedded engine's, turns are coarse."""
    if config.getoption(ENGINE.ini) != "renode":
        return
    for item in items:
        parameters = getattr(getattr(item, "callspec", None), "params", {})
        if HERE in item.path.parents and _repeats(parameters.get("loop"), parameters.get("quantum")):
            item.add_marker(pytest.mark.skip(reason="the same run again on the engine renode"))


def _repeats(loop: object, quantum: object) -> bool:
    return loop == "native" or (isinstance(quantum, int) and 1 < quantum < SHORTEST_TURN)


@pytest.fixture
def configured(cosim_config: SocConfig) -> Callable[..., SocConfig]:
    """Makes a `SocConfig` for the engine that the run asks for: `configured(deny=Deny.ABORT)`."""
    return lambda **changes: dataclasses.replace(cosim_config, **changes)


@pytest.fixture
def exact_interleaving(cosim_config: SocConfig) -> None:
    """The cores exchange at the same instruction at any quantum, which the engine renode does not promise."""
    if cosim_config.engine == "renode":
        pytest.skip("the engine renode lets the cores exchange at the ends of turns, see docs/engines.md")


@pytest.fixture
def unaligned_whole(cosim_config: SocConfig) -> None:
    """An unaligned access is one access."""
    if cosim_config.engine == "renode":
        pytest.skip("the engine renode takes unaligned accesses to pieces, see docs/engines.md")


@pytest.fixture
def events_of_wfe(cosim_config: SocConfig) -> None:
    """WFE sleeps until an event."""
    if cosim_config.engine == "renode":
        pytest.skip("on the engine renode WFE goes on at once, see docs/engines.md")


@pytest.fixture
def mpu_at_once(cosim_config: SocConfig) -> None:
    """The MPU decides about a page also when the core accessed it before."""
    if cosim_config.engine == "renode":
        pytest.skip("on the engine renode a page that was once translated keeps its rights, see docs/engines.md")


@pytest.fixture
def several_socs(cosim_config: SocConfig) -> None:
    """Several SoCs can run in one process at a time."""
    if cosim_config.engine == "renode":
        pytest.skip("the engine renode has one SoC per process, see docs/renode.md")
