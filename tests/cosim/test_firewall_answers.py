"""The firewall's answers are those of its registers, also where it has answered before and nobody wrote to it since."""

from __future__ import annotations

import pytest

from cosim.access import AccessKind, Initiator
from cosim.firewall import Firewall
from cosim.peripherals.etzpc import Etzpc
from cosim.soc import Soc

CLOSED, GATES, DECPROT0 = "TZC_GATE_KEEPER.OPENSTAT", 0x008, 0x010


@pytest.fixture
def soc() -> Soc:
    return Soc()


def denies(firewall: Firewall, target: str) -> str | None:
    return firewall.decide(Initiator.A7_NS, target, 0, 4, AccessKind.READ)


def test_reset_of_the_etzpc_counts_at_once(soc: Soc) -> None:
    etzpc = soc.blocks["etzpc"]
    assert isinstance(etzpc, Etzpc)
    etzpc.write(DECPROT0, 4, 0xFFFFFFFF, Initiator.A7_S)
    assert denies(soc.firewall, "usart1") is None
    etzpc.reset()

    assert denies(soc.firewall, "usart1") == "ETZPC_DECPROT0.USART1=S_RW"


def test_state_that_was_loaded_counts_after_resync_although_no_description_differs(soc: Soc) -> None:
    etzpc = soc.blocks["etzpc"]
    assert isinstance(etzpc, Etzpc)
    etzpc.poke("DECPROT0", 0)
    soc.firewall.resync()
    saved = etzpc.save()
    etzpc.poke("DECPROT0", 0xFFFFFFFF)  # as when a listener gave up between the register and the firewall
    assert denies(soc.firewall, "usart1") is None
    etzpc.load(saved)
    soc.firewall.resync()

    assert denies(soc.firewall, "usart1") == "ETZPC_DECPROT0.USART1=S_RW"


def test_ddr_is_closed_as_soon_as_the_gates_are(soc: Soc) -> None:
    assert denies(soc.firewall, "ddr") is None
    soc.blocks["tzc"].write(GATES, 4, 0, Initiator.A7_S)

    assert denies(soc.firewall, "ddr") == CLOSED


def test_reset_of_the_tzc_counts_at_once(soc: Soc) -> None:
    assert denies(soc.firewall, "ddr") is None
    soc.blocks["tzc"].reset()

    assert denies(soc.firewall, "ddr") == CLOSED


def test_who_hears_of_a_write_to_the_etzpc_already_meets_the_new_rights(soc: Soc) -> None:
    seen: list[str | None] = []
    assert denies(soc.firewall, "usart1") is None
    soc.log.listen(lambda _record: seen.append(denies(soc.firewall, "usart1")))
    soc.blocks["etzpc"].write(DECPROT0, 4, 0, Initiator.A7_S)

    assert seen
    assert set(seen) == {"ETZPC_DECPROT0.USART1=S_RW"}
