"""Fixtures for the tests that need a Renode; without one they are skipped by name, or fail when it was asked for."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cosim.access import Deny, Initiator
from cosim.engine.renode import find_renode
from cosim.errors import EngineError
from cosim.options import ENGINE
from cosim.soc import Soc, SocConfig

#: The scenario table is shared with the tests of the other engines.
sys.path += [str(Path(__file__).parent), str(Path(__file__).parent.parent / "engines")]

RCC_MP_GCR, BOOT_MCU = 0x5000010C, 1
RETRAM, CODE = 0x38000000, 0x10000000


@pytest.fixture(scope="session")
def renode(pytestconfig: pytest.Config) -> None:
    """A Renode that can be loaded."""
    try:
        find_renode()
    except EngineError as error:
        reason = f"{error.message}; {error.hint}"
        if pytestconfig.getoption(ENGINE.ini, None) == "renode":
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)


@pytest.fixture
def soc(renode: None) -> Soc:  # noqa: ARG001
    """A SoC on Renode that answers denied accesses with an error."""
    return Soc(SocConfig(engine="renode", deny=Deny.ABORT))


@pytest.fixture
def start_m4(soc: Soc) -> Callable[..., None]:
    """Start a bare M4 program: `code` lies at 0x10000000, `vectors` fills the table from its second word on."""

    def start(code: bytes, vectors: dict[int, int]) -> None:
        table = {0: 0x10010000, **vectors}
        for number, value in table.items():
            soc.bus.write(Initiator.DEBUG, RETRAM + 4 * number, value.to_bytes(4, "little"))
        soc.bus.write(Initiator.DEBUG, CODE, code)
        soc.bus.write(Initiator.A7_S, RCC_MP_GCR, BOOT_MCU.to_bytes(4, "little"))

    return start
