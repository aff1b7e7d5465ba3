"""Fixtures for the tests that need a Renode; without one they are skipped by name, or fail when it was asked for."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cosim.access import Deny, Initiator
from cosim.soc import Soc, SocConfig

#: What is said about a missing engine is shared with the tests of all engines.
sys.path += [str(Path(__file__).parent), str(Path(__file__).parent.parent / "engines")]

RCC_MP_GCR, BOOT_MCU = 0x5000010C, 1
RETRAM, CODE = 0x38000000, 0x10000000


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Before any fixture, so that the reason for all skipped tests is said once."""
    from presence import need_engine  # noqa: PLC0415 - after its folder was made importable

    if "renode" in getattr(item, "fixturenames", ()):
        need_engine("renode", item.config)


@pytest.fixture(scope="session")
def renode() -> None:
    """Asks for a Renode that can be loaded."""


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
