"""The mailbox of the Linux side: one ring at a time per channel, and a queue for what has to wait."""

from __future__ import annotations

import pytest

from cosim.access import Initiator
from cosim.linux.mailbox import IPCC_BASE, QUEUE_LENGTH, Channel, Mailbox
from cosim.linux.memory import KernelMemory
from cosim.soc import Soc

C2SCR, C1TOC2SR, C2TOC1SR = IPCC_BASE + 0x18, IPCC_BASE + 0x0C, IPCC_BASE + 0x1C


@pytest.fixture
def soc() -> Soc:
    soc = Soc()
    if "ipcc" not in soc.blocks:
        pytest.skip("this platform has no IPCC")
    return soc


@pytest.fixture
def mailbox(soc: Soc) -> Mailbox:
    return Mailbox(KernelMemory(soc.bus))


def flags(soc: Soc, register: int) -> int:
    return int.from_bytes(soc.debug_read(register, 4), "little")


def m4_writes(soc: Soc, value: int) -> None:
    soc.bus.write(Initiator.M4, C2SCR, value.to_bytes(4, "little"))


def test_a_second_ring_waits_until_the_m4_has_taken_the_first(soc: Soc, mailbox: Mailbox) -> None:
    assert mailbox.send(Channel.VQ1)
    assert mailbox.send(Channel.VQ1)
    m4_writes(soc, 1 << Channel.VQ1)
    assert flags(soc, C1TOC2SR) == 0
    assert not mailbox.acknowledged(Channel.VQ1)
    assert mailbox.pump()
    assert flags(soc, C1TOC2SR) == 1 << Channel.VQ1
    m4_writes(soc, 1 << Channel.VQ1)
    assert mailbox.acknowledged(Channel.VQ1)
    assert not mailbox.pump()


def test_a_full_queue_takes_no_more_and_the_other_channels_are_not_held_up(soc: Soc, mailbox: Mailbox) -> None:
    # One is on the wire, the others wait.
    assert [mailbox.send(Channel.VQ0) for _ in range(QUEUE_LENGTH + 2)] == [True] * (QUEUE_LENGTH + 1) + [False]
    assert mailbox.send(Channel.SHUTDOWN)
    assert flags(soc, C1TOC2SR) == 1 << Channel.VQ0 | 1 << Channel.SHUTDOWN


def test_what_the_m4_rang_is_taken_once(soc: Soc, mailbox: Mailbox) -> None:
    m4_writes(soc, 1 << 16 + Channel.VQ0 | 1 << 16 + Channel.DETACH)
    assert mailbox.take() == {Channel.VQ0, Channel.DETACH}
    assert flags(soc, C2TOC1SR) == 0
    assert mailbox.take() == set()


def test_a_reset_forgets_what_waits(soc: Soc, mailbox: Mailbox) -> None:
    for _ in range(3):
        mailbox.send(Channel.VQ0)
    m4_writes(soc, 1 << 16 + Channel.VQ1)
    mailbox.reset()
    assert flags(soc, C2TOC1SR) == 0
    m4_writes(soc, 1 << Channel.VQ0)
    assert not mailbox.pump()
