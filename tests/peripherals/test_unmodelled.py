"""What has no model: remembered, reported once per register and direction, listed; or a bus error when strict."""

from __future__ import annotations

import pytest

from cosim.access import AccessKind, Initiator
from cosim.errors import EngineError
from cosim.events import AccessDenied, BusErrorRaised, EventLog, UnmodelledRegister
from cosim.peripherals.unmodelled import MOST_REGISTERS, SEGMENTS, Unmodelled, UnmodelledUse, uncovered
from cosim.soc import Soc, SocConfig

NS, M4, DEBUG = Initiator.A7_NS, Initiator.M4, Initiator.DEBUG
SPI2 = 0x4000B000


@pytest.fixture
def block() -> Unmodelled:
    return Unmodelled("spi2", SPI2, EventLog())


@pytest.fixture
def soc() -> Soc:
    return Soc()


def test_it_remembers_what_was_written_byte_by_byte(block: Unmodelled) -> None:
    block.write(0x08, 4, 0x11223344, M4)
    block.write(0x09, 1, 0xAA, M4)
    block.write(0x0A, 2, 0xBBCC, M4)
    assert (block.read(0x08, 4, M4), block.read(0x0B, 1, M4), block.read(0x0C, 4, M4)) == (0xBBCCAA44, 0xBB, 0)


def test_each_register_is_reported_once_per_direction() -> None:
    log = EventLog()
    block = Unmodelled("spi2", SPI2, log)
    for _ in range(3):
        block.read(0x14, 1, M4)
        block.write(0x15, 1, 7, NS)
    assert log.of(UnmodelledRegister) == [
        UnmodelledRegister("spi2", 0x14, "read", "m4"),
        UnmodelledRegister("spi2", 0x14, "write", "a7-ns"),
    ]


def test_the_uses_are_listed_by_address(block: Unmodelled) -> None:
    block.write(0x20, 4, 5, M4)
    block.read(0x04, 4, M4)
    assert block.uses() == (
        UnmodelledUse("spi2", SPI2 + 0x04, True, False, 0, "m4"),
        UnmodelledUse("spi2", SPI2 + 0x20, False, True, 5, "m4"),
    )


def test_the_debugger_leaves_no_trace(block: Unmodelled) -> None:
    block.read(0x0, 4, DEBUG)
    assert block.uses() == ()


def test_what_is_remembered_is_bounded(block: Unmodelled) -> None:
    for n in range(MOST_REGISTERS + 10):
        block.write(4 * n, 4, n, M4)
        block.read(4 * n, 4, M4)
    assert len(block.uses()) <= 2 * MOST_REGISTERS
    assert block.read(4 * MOST_REGISTERS, 4, M4) == 0
    assert block.read(4 * (MOST_REGISTERS - 1), 4, M4) == MOST_REGISTERS - 1


def test_a_snapshot_keeps_values_and_what_was_reported(block: Unmodelled) -> None:
    block.write(0, 4, 9, M4)
    saved = block.save()
    block.write(0, 4, 1, M4)
    block.read(4, 4, M4)
    block.load(saved)
    assert (block.uses(), block.read(0, 4, DEBUG)) == ((UnmodelledUse("spi2", SPI2, False, True, 9, "m4"),), 9)
    with pytest.raises(EngineError, match="snapshot"):
        block.load(None)


def test_regions_and_what_is_covered_make_up_the_map_without_overlap() -> None:
    covered = ((0x4000A000, 0x4000A400), (0x50000000, 0x50001000))
    pages = [page for r in uncovered(covered) for page in range(r.address // 0x1000, (r.address + r.size) // 0x1000)]
    pages += [0x4000A, 0x50000]
    assert sorted(pages) == sorted(
        page for start, size in SEGMENTS for page in range(start >> 12, (start + size) >> 12)
    )


def test_every_block_of_the_map_answers_both_cores(soc: Soc) -> None:
    for who in (NS, M4):
        for address in (SPI2, 0x40009000, 0x44004000, 0x4C006000, 0x50029000, 0x57000000, 0x5A001000):
            assert not soc.bus.transact(who, AccessKind.WRITE, address, 4, 0x5A).error
            assert soc.bus.transact(who, AccessKind.READ, address, 4).value == 0x5A
    assert not soc.log.of(BusErrorRaised)
    assert {(use.block, use.address) for use in soc.unmodelled()} == {
        ("spi2", SPI2),
        ("lptim1", 0x40009000),
        ("spi1", 0x44004000),
        ("dcmi", 0x4C006000),
        ("pmb", 0x50029000),
        ("unmodelled", 0x57000000),
        ("ltdc", 0x5A001000),
    }


@pytest.mark.parametrize("address", [0x4000B000, 0x57000000])
def test_strict_makes_it_a_bus_error(address: int) -> None:
    soc = Soc(SocConfig(strict=True))
    assert soc.bus.transact(M4, AccessKind.READ, address, 4).error
    assert soc.log.of(BusErrorRaised)[-1].address == address
    assert soc.unmodelled() == ()


def test_between_the_buses_is_nothing(soc: Soc) -> None:
    assert soc.bus.transact(M4, AccessKind.READ, 0x46000000, 4).error


def test_the_firewall_holds_for_what_has_no_model(soc: Soc) -> None:
    soc.bus.write(Initiator.A7_S, 0x5C007010, (0).to_bytes(4, "little"))
    assert soc.bus.transact(M4, AccessKind.READ, 0x5C001000, 4).value == 0
    assert soc.log.of(AccessDenied)[-1].rule == "ETZPC_DECPROT0.SPI6=S_RW"


def test_a_soc_snapshot_keeps_what_was_touched(soc: Soc) -> None:
    saved = soc.snapshot()
    soc.bus.transact(M4, AccessKind.WRITE, SPI2, 4, 1)
    soc.restore(saved)
    assert soc.unmodelled() == ()
