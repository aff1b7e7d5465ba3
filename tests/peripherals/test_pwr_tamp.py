"""PWR and TAMP: the backup domain's write enable, the zones of the backup registers, the monotonic counter."""

from __future__ import annotations

import pytest

from cosim.access import Initiator
from cosim.events import AccessDenied, EventLog
from cosim.peripherals.pwr import Pwr
from cosim.peripherals.tamp import Tamp

NS, S, M4, DEBUG = Initiator.A7_NS, Initiator.A7_S, Initiator.M4, Initiator.DEBUG
PWR_BASE, TAMP_BASE = 0x50001000, 0x5C00A000
CR1, MPUCR, MCUCR = 0x00, 0x10, 0x14
SMCR, COUNTR = 0x20, 0x40
#: Zones as OP-TEE sets them on the DK2 board: 0..9 secure, 10..14 read-only, 15..31 open.
ZONES = 0x000F000A


class Board:
    def __init__(self) -> None:
        self.log = EventLog()
        self.tzen = True
        self.pwr = Pwr(PWR_BASE, self.log, lambda: self.tzen)
        self.tamp = Tamp(TAMP_BASE, self.log, lambda: self.pwr.backup_writable)

    def rules(self) -> list[str]:
        return [event.rule for event in self.log.of(AccessDenied)]


@pytest.fixture
def board() -> Board:
    return Board()


@pytest.fixture
def zoned(board: Board) -> Board:
    board.pwr.write(CR1, 4, 1 << 8, S)
    board.tamp.write(SMCR, 4, ZONES, S)
    return board


def bkp(index: int) -> int:
    return 0x100 + 4 * index


@pytest.mark.parametrize(
    ("offset", "value"),
    [(CR1, 0), (MPUCR, 0), (MCUCR, 0), (0x3F4, 0x11), (0x3F8, 0x00010001), (0x3FC, 0xA3C5DD01)],
)
def test_pwr_registers_have_their_reset_values(board: Board, offset: int, value: int) -> None:
    assert board.pwr.read(offset, 4, NS) == value


@pytest.mark.parametrize("offset", [CR1, MPUCR])
@pytest.mark.parametrize("who", [NS, M4])
def test_tzen_keeps_the_normal_world_off_cr1_and_mpucr(board: Board, offset: int, who: Initiator) -> None:
    board.pwr.write(offset, 4, 0x101, who)
    assert board.pwr.read(offset, 4, who) == 0
    assert board.rules() == ["RCC_TZCR.TZEN"]
    board.tzen = False
    board.pwr.write(offset, 4, 0x1, who)
    assert board.pwr.read(offset, 4, who) == 1


def test_mcucr_is_open_and_its_flags_cannot_be_written(board: Board) -> None:
    board.pwr.write(MCUCR, 4, 0xFFFFFFFF, M4)
    assert board.pwr.read(MCUCR, 4, NS) == 1
    assert board.rules() == []


@pytest.mark.parametrize(
    ("offset", "value"),
    [(SMCR, 0x80000000), (COUNTR, 0), (0x50, 0), (bkp(0), 0), (bkp(31), 0), (0x3F0, 0x009D1320), (0x3FC, 0xA3C5DD01)],
)
def test_tamp_registers_have_their_reset_values(board: Board, offset: int, value: int) -> None:
    assert board.tamp.read(offset, 4, NS) == value


@pytest.mark.parametrize("who", [NS, S, M4])
def test_without_dbp_nobody_writes_the_backup_domain(board: Board, who: Initiator) -> None:
    board.tamp.write(bkp(20), 4, 0x1234, who)
    assert board.tamp.read(bkp(20), 4, who) == 0
    assert board.log.of(AccessDenied) == [
        AccessDenied(who.value, "write", TAMP_BASE + bkp(20), 4, 0x1234, "tamp", "PWR_CR1.DBP", "razwi")
    ]


@pytest.mark.parametrize("who", [NS, M4])
def test_only_the_secure_world_sets_the_zones(zoned: Board, who: Initiator) -> None:
    zoned.tamp.write(SMCR, 4, 0, who)
    assert zoned.tamp.read(SMCR, 4, who) == ZONES
    assert zoned.rules() == ["TAMP_SMCR=SECURE_ONLY"]


@pytest.mark.parametrize(("index", "zone"), [(0, 1), (9, 1), (10, 2), (14, 2), (15, 3), (17, 3), (31, 3)])
@pytest.mark.parametrize("who", [NS, M4])
def test_backup_registers_follow_their_zone(zoned: Board, index: int, zone: int, who: Initiator) -> None:
    assert zoned.tamp.zone(index) == zone
    zoned.tamp.write(bkp(index), 4, 0xCAFE, S)
    assert zoned.tamp.read(bkp(index), 4, S) == 0xCAFE
    assert zoned.tamp.read(bkp(index), 4, who) == (0 if zone == 1 else 0xCAFE)
    zoned.tamp.write(bkp(index), 4, 0xBEEF, who)
    assert zoned.tamp.read(bkp(index), 4, S) == (0xBEEF if zone == 3 else 0xCAFE)
    expected = {
        1: ["TAMP_SMCR.BKPRWDPROT", "TAMP_SMCR.BKPRWDPROT"],
        2: ["TAMP_SMCR.BKPWDPROT"],
        3: [],
    }[zone]
    assert zoned.rules() == expected


def test_the_debugger_reads_secure_backup_registers(zoned: Board) -> None:
    zoned.tamp.write(bkp(3), 4, 7, S)
    assert zoned.tamp.read(bkp(3), 4, DEBUG) == 7
    assert zoned.rules() == []


def test_the_monotonic_counter_only_counts_up(zoned: Board) -> None:
    for value in (0, 0xFFFFFFFF, 5):
        zoned.tamp.write(COUNTR, 4, value, NS)
    assert zoned.tamp.read(COUNTR, 4, NS) == 3


def test_the_monotonic_counter_stops_at_its_end(zoned: Board) -> None:
    zoned.tamp.poke("COUNTR", 0xFFFFFFFF)
    zoned.tamp.write(COUNTR, 4, 0, NS)
    assert zoned.tamp.read(COUNTR, 4, NS) == 0xFFFFFFFF
