"""The mailbox: who sets and clears which flag, and the four interrupts."""

from __future__ import annotations

import pytest
from rig import Rig

from cosim.access import Initiator
from cosim.peripherals.ipcc import Ipcc

NS, M4, DEBUG = Initiator.A7_NS, Initiator.M4, Initiator.DEBUG
C1CR, C1MR, C1SCR, C1TOC2SR, C2CR, C2MR, C2SCR, C2TOC1SR = range(0, 0x20, 4)
RXOIE, TXFIE = 1 << 0, 1 << 16
#: Per processor: initiator, own registers, the flags it sends and gets, its two interrupts.
SIDES = [
    (NS, (C1CR, C1MR, C1SCR), C1TOC2SR, C2TOC1SR, "Rx0", "Tx0"),
    (M4, (C2CR, C2MR, C2SCR), C2TOC1SR, C1TOC2SR, "Rx1", "Tx1"),
]
Side = tuple[Initiator, tuple[int, int, int], int, int, str, str]


@pytest.fixture
def rig() -> Rig:
    return Rig()


@pytest.fixture
def ipcc(rig: Rig) -> Ipcc:
    return Ipcc(0x4C001000, rig.log, rig.outputs(Ipcc.output_names))


def send(channel: int) -> int:
    return 1 << 16 + channel


def test_registers_have_their_reset_values(ipcc: Ipcc) -> None:
    values = {0x00: 0, 0x04: 0xFFFFFFFF, 0x08: 0, 0x0C: 0, 0x14: 0xFFFFFFFF, 0x1C: 0, 0x3F0: 6, 0x3F8: 0x00100071}
    assert {offset: ipcc.read(offset, 4, NS) for offset in values} == values


@pytest.mark.parametrize("channel", range(6))
@pytest.mark.parametrize("side", SIDES, ids=["a7", "m4"])
def test_the_sender_sets_a_flag_that_only_the_receiver_clears(ipcc: Ipcc, side: Side, channel: int) -> None:
    who, (_, _, scr), sent, got, *_ = side
    other, (_, _, their_scr), *_ = SIDES[side is SIDES[0]]
    ipcc.write(scr, 4, send(channel), who)
    assert (ipcc.read(sent, 4, other), ipcc.read(got, 4, other)) == (1 << channel, 0)
    ipcc.write(scr, 4, 1 << channel, who)
    assert ipcc.read(sent, 4, who) == 1 << channel
    ipcc.write(their_scr, 4, 1 << channel, other)
    assert ipcc.read(sent, 4, who) == 0


@pytest.mark.parametrize("side", SIDES, ids=["a7", "m4"])
def test_the_receive_interrupt_is_high_while_an_unmasked_channel_is_occupied(rig: Rig, ipcc: Ipcc, side: Side) -> None:
    who, (cr, mr, scr), _, _, rx, _ = side
    other, (_, _, their_scr), *_ = SIDES[side is SIDES[0]]
    ipcc.write(cr, 4, RXOIE, who)
    ipcc.write(their_scr, 4, send(1) | send(2), other)
    assert rig.high() == set()
    ipcc.write(mr, 4, 0xFFFFFFFF & ~(1 << 1), who)
    assert rig.high() == {rx}
    ipcc.write(scr, 4, 1 << 1, who)
    assert rig.high() == set()
    ipcc.write(mr, 4, 0xFFFFFFFF & ~(1 << 2), who)
    assert rig.high() == {rx}
    ipcc.write(cr, 4, 0, who)
    assert rig.high() == set()


@pytest.mark.parametrize("side", SIDES, ids=["a7", "m4"])
def test_the_transmit_interrupt_is_high_while_an_unmasked_channel_is_free(rig: Rig, ipcc: Ipcc, side: Side) -> None:
    who, (cr, mr, scr), _, _, _, tx = side
    other, (_, _, their_scr), *_ = SIDES[side is SIDES[0]]
    ipcc.write(mr, 4, 0xFFFFFFFF & ~(1 << 16 + 3), who)
    assert rig.high() == set()
    ipcc.write(cr, 4, TXFIE, who)
    assert rig.high() == {tx}
    ipcc.write(scr, 4, send(3), who)
    assert rig.high() == set()
    ipcc.write(their_scr, 4, 1 << 3, other)
    assert rig.high() == {tx}


def test_status_cannot_be_written_and_channels_beyond_the_sixth_do_not_exist(ipcc: Ipcc) -> None:
    ipcc.write(C1TOC2SR, 4, 0x3F, NS)
    ipcc.write(C1SCR, 4, 0xFFC00000, NS)
    assert ipcc.read(C1TOC2SR, 4, NS) == 0
    assert ipcc.read(C1SCR, 4, NS) == 0


def test_a_snapshot_keeps_flags_and_interrupts(rig: Rig, ipcc: Ipcc) -> None:
    ipcc.write(C2CR, 4, RXOIE, M4)
    ipcc.write(C2MR, 4, 0, M4)
    ipcc.write(C1SCR, 4, send(0), NS)
    saved = ipcc.save()
    ipcc.reset()
    assert rig.high() == set()
    ipcc.load(saved)
    assert (rig.high(), ipcc.read(C1TOC2SR, 4, M4)) == ({"Rx1"}, 1)


def test_a_flood_of_messages_leaves_nothing_in_the_log(rig: Rig, ipcc: Ipcc) -> None:
    for _ in range(1000):
        ipcc.write(C1SCR, 4, send(1), NS)
    assert len(rig.log) == 0
