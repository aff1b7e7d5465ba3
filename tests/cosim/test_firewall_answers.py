"""The firewall's answers are those of its registers, also where it has answered before and nobody wrote to it since."""

from __future__ import annotations

import pytest

from cosim.access import AccessKind, Initiator
from cosim.events import MachineEvent, RegisterWritten, WatchdogExpired
from cosim.firewall import Firewall
from cosim.peripherals.etzpc import Etzpc
from cosim.soc import Soc

CLOSED, GATES, DECPROT0, DECPROT5 = "TZC_GATE_KEEPER.OPENSTAT", 0x008, 0x010, 0x024
SRAM4 = 2 * (83 % 16)


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


def test_an_access_that_was_made_before_is_denied_once_the_rights_are_gone_and_made_once_they_are_back(
    soc: Soc,
) -> None:
    """The bus keeps the ways of accesses; each holds for the registers under which it was found."""
    bus, etzpc, at = soc.bus, soc.blocks["etzpc"], 0x10050000  # sram4, in DECPROT5
    assert isinstance(etzpc, Etzpc)
    everything = etzpc.value("DECPROT5")
    bus.write(Initiator.A7_NS, at, b"\1\2\3\4")
    for _ in range(2):
        etzpc.write(DECPROT5, 4, everything, Initiator.A7_S)
        bus.write(Initiator.A7_NS, at, b"\5\6\7\x08")
        assert bus.read(Initiator.A7_NS, at, 4) == b"\5\6\7\x08"
        etzpc.write(DECPROT5, 4, everything & ~(3 << SRAM4), Initiator.A7_S)
        bus.write(Initiator.A7_NS, at, b"\0\0\0\0")
        assert bus.read(Initiator.A7_NS, at, 4) == b"\0\0\0\0"
        assert bus.read(Initiator.A7_S, at, 4) == b"\5\6\7\x08"


def test_who_asks_for_one_kind_of_event_hears_of_that_kind_alone_and_in_its_turn(soc: Soc) -> None:
    heard: list[str] = []
    soc.log.listen(lambda _record: heard.append("all"))
    soc.log.listen(lambda _record: heard.append("written"), RegisterWritten)
    soc.log.emit(WatchdogExpired("iwdg1"))
    soc.log.emit(RegisterWritten("rcc", "MP_GCR", "a7-s", 1, 0, 1))
    soc.log.listen(lambda _record: heard.append("any of the machine"), MachineEvent)
    soc.log.emit(WatchdogExpired("iwdg1"))

    assert heard == ["all", "all", "written", "all", "any of the machine"]
