"""ETZPC: reset values, attributes, sticky locks."""

from __future__ import annotations

import pytest

from cosim.access import Initiator
from cosim.events import EventLog, RegisterWritten
from cosim.peripherals.etzpc import DECPROT_IDS, Etzpc, Protection

S = Initiator.A7_S
TZMA1, DECPROT0, DECPROT5, LOCK0, LOCK2 = 0x004, 0x010, 0x024, 0x030, 0x038
SRAM1, RETRAM = 80, 84


@pytest.fixture
def etzpc() -> Etzpc:
    return Etzpc(0x5C007000, EventLog())


@pytest.mark.parametrize(
    ("offset", "value"),
    [
        (0x000, 0x3FF),
        (0x004, 0x3FF),
        (0x010, 0),
        *((offset, 0xFFFFFFFF) for offset in range(0x014, 0x028, 4)),
        *((offset, 0) for offset in (0x030, 0x034, 0x038)),
        (0x3F0, 0x00006002),
        (0x3F4, 0x20),
        (0x3F8, 0x00100061),
        (0x3FC, 0xA3C5DD01),
    ],
)
def test_registers_have_their_reset_values(etzpc: Etzpc, offset: int, value: int) -> None:
    assert etzpc.read(offset, 4, S) == value


@pytest.mark.parametrize("offset", [0x3F0, 0x3F4, 0x3F8, 0x3FC])
def test_identification_registers_are_read_only(etzpc: Etzpc, offset: int) -> None:
    before = etzpc.read(offset, 4, S)
    etzpc.write(offset, 4, ~before & 0xFFFFFFFF, S)
    assert etzpc.read(offset, 4, S) == before


def test_the_layouts_of_sts_loader_give_the_documented_attributes(etzpc: Etzpc) -> None:
    etzpc.write(DECPROT5, 4, 0x0F0, S)
    names = ("sram1", "sram2", "sram3", "sram4", "retram")
    loading = [etzpc.protection(DECPROT_IDS[name]).name for name in names]
    assert loading == ["S_RW", "S_RW", "NS_RW", "NS_RW", "S_RW"]
    etzpc.write(DECPROT5, 4, 0x2FA, S)
    running = [etzpc.protection(DECPROT_IDS[name]).name for name in names]
    assert running == ["MCU_ISOLATION", "MCU_ISOLATION", "NS_RW", "NS_RW", "MCU_ISOLATION"]


@pytest.mark.parametrize(
    ("name", "decprot_id"),
    [
        ("bkpsram", 1),
        ("usart1", 3),
        ("tim2", 16),
        ("tim14", 24),
        ("usart3", 31),
        ("uart4", 32),
        ("tim15", 54),
        ("tim17", 56),
        ("lptim2", 64),
        ("lptim5", 67),
        ("sram1", 80),
        ("sram4", 83),
        ("retram", 84),
        ("eth", 94),
    ],
)
def test_identifiers_are_those_of_the_manual(name: str, decprot_id: int) -> None:
    assert DECPROT_IDS[name] == decprot_id


def test_no_identifier_is_used_twice() -> None:
    assert len(set(DECPROT_IDS.values())) == len(DECPROT_IDS)


def test_a_locked_attribute_ignores_writes_and_its_neighbours_do_not(etzpc: Etzpc) -> None:
    etzpc.write(DECPROT5, 4, 0, S)
    etzpc.write(LOCK2, 4, 1 << (SRAM1 - 64), S)
    etzpc.write(DECPROT5, 4, 0xFFFFFFFF, S)
    assert etzpc.locked(SRAM1)
    assert etzpc.protection(SRAM1) is Protection.S_RW
    assert etzpc.protection(SRAM1 + 1) is Protection.NS_RW
    assert etzpc.read(DECPROT5, 4, S) == 0xFFFFFFFC


@pytest.mark.parametrize("decprot_id", range(96))
def test_each_lock_bit_freezes_exactly_its_identifier(etzpc: Etzpc, decprot_id: int) -> None:
    etzpc.write(LOCK0 + 4 * (decprot_id // 32), 4, 1 << (decprot_id % 32), S)
    before = [etzpc.protection(n) for n in range(96)]
    for offset in range(DECPROT0, DECPROT5 + 4, 4):
        etzpc.write(offset, 4, etzpc.read(offset, 4, S) ^ 0xFFFFFFFF, S)
    changed = [n for n in range(96) if etzpc.protection(n) is not before[n]]
    assert changed == [n for n in range(96) if n != decprot_id]


def test_locks_are_sticky_until_reset(etzpc: Etzpc) -> None:
    etzpc.write(LOCK2, 4, 1 << 20, S)
    etzpc.write(LOCK2, 4, 0, S)
    assert etzpc.locked(RETRAM)
    etzpc.reset()
    assert not etzpc.locked(RETRAM)


def test_a_locked_secure_size_stays(etzpc: Etzpc) -> None:
    etzpc.write(TZMA1, 4, 0x8000003F, S)
    etzpc.write(TZMA1, 4, 0x0, S)
    assert etzpc.read(TZMA1, 4, S) == 0x8000003F
    assert etzpc.secure_size(1) == 0x3F000
    etzpc.reset()
    assert etzpc.read(TZMA1, 4, S) == 0x3FF


def test_byte_writes_respect_locks_too(etzpc: Etzpc) -> None:
    etzpc.write(LOCK2, 4, 1 << 16, S)
    etzpc.write(DECPROT5, 1, 0, S)
    assert etzpc.protection(SRAM1) is Protection.NS_RW
    assert etzpc.protection(SRAM1 + 1) is Protection.S_RW


def test_writes_are_logged_and_listeners_hear_only_of_changes() -> None:
    log, calls = EventLog(), list[str]()
    etzpc = Etzpc(0x5C007000, log)
    etzpc.listen(lambda: calls.append("changed"))
    etzpc.write(DECPROT5, 4, 0x2FA, S)
    etzpc.write(DECPROT5, 4, 0x2FA, S)
    assert calls == ["changed"]
    assert [(event.register, event.after) for event in log.of(RegisterWritten)] == [("DECPROT5", 0x2FA)] * 2
