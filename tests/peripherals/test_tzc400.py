"""TZC-400: reset values, gate keeper, regions, fail registers, interrupt."""

from __future__ import annotations

import pytest

from cosim.access import Initiator, Rights
from cosim.events import EventLog
from cosim.peripherals.tzc400 import REGIONS, Tzc400

NS, S, M4 = Initiator.A7_NS, Initiator.A7_S, Initiator.M4
ACTION, GATE_KEEPER, INT_STATUS, INT_CLEAR = 0x004, 0x008, 0x010, 0x014
READ = Rights.READ | Rights.FETCH
S_RW = 0xC0000000
DDR, SECURE, END = 0xC0000000, 0xDE000000, 0xE0000000


class Wire:
    def __init__(self) -> None:
        self.levels: list[bool] = []


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
def tzc(wire: Wire) -> Tzc400:
    return Tzc400(0x5C006000, EventLog(), wire.levels.append)


def write(tzc: Tzc400, offset: int, value: int) -> None:
    tzc.write(offset, 4, value, S)


def read(tzc: Tzc400, offset: int) -> int:
    return tzc.read(offset, 4, S)


def region(tzc: Tzc400, n: int, base: int, top: int, *, attributes: int, id_access: int) -> None:
    at = 0x100 + 0x20 * n
    write(tzc, at, base)
    write(tzc, at + 0x8, top)
    write(tzc, at + 0x10, attributes)
    write(tzc, at + 0x14, id_access)


def dk2(tzc: Tzc400) -> None:
    """The regions of a 512 MiB board, gates open."""
    region(tzc, 1, DDR, SECURE - 1, attributes=0x3, id_access=0x87FB87FB)
    region(tzc, 2, SECURE, END - 1, attributes=S_RW | 0x3, id_access=0)
    write(tzc, GATE_KEEPER, 3)


def rights(tzc: Tzc400, initiator: Initiator, address: int) -> Rights:
    (span,) = tzc.spans(initiator, address, address + 4)
    return span.rights


@pytest.mark.parametrize(
    ("offset", "value"),
    [
        (0x000, 0x01001F08),
        (ACTION, 0),
        (GATE_KEEPER, 0),
        (0x00C, 0),
        (INT_STATUS, 0),
        (0x100, 0),
        (0x108, 0xFFFFFFFF),
        (0x110, 0x3),
        (0x114, 0),
        *((0x108 + 0x20 * n, 0xFFF) for n in range(1, REGIONS)),
        *((0x110 + 0x20 * n, 0) for n in range(1, REGIONS)),
        (0xFE0, 0x60),
        (0xFE4, 0xB4),
        (0xFF0, 0x0D),
        (0xFF4, 0xF0),
        (0xFF8, 0x05),
        (0xFFC, 0xB1),
    ],
)
def test_registers_have_their_reset_values(tzc: Tzc400, offset: int, value: int) -> None:
    assert read(tzc, offset) == value


def test_region_addresses_have_a_granule_of_4_kib(tzc: Tzc400) -> None:
    region(tzc, 3, 0xC0001234, 0xC0005678, attributes=0, id_access=0)
    assert (read(tzc, 0x160), read(tzc, 0x168)) == (0xC0001000, 0xC0005FFF)


def test_the_background_region_cannot_be_moved_or_disabled(tzc: Tzc400) -> None:
    region(tzc, 0, DDR, END, attributes=S_RW, id_access=0)
    assert (read(tzc, 0x100), read(tzc, 0x108), read(tzc, 0x110)) == (0, 0xFFFFFFFF, S_RW | 3)


def test_gate_keeper_status_follows_the_request(tzc: Tzc400) -> None:
    for request in (1, 2, 3, 0):
        write(tzc, GATE_KEEPER, request)
        assert read(tzc, GATE_KEEPER) == request | request << 16


@pytest.mark.parametrize("gates", [0, 1, 2])
@pytest.mark.parametrize("who", [NS, S, M4])
def test_nothing_passes_unless_both_gates_are_open(tzc: Tzc400, gates: int, who: Initiator) -> None:
    dk2(tzc)
    write(tzc, GATE_KEEPER, gates)
    (span,) = tzc.spans(who, DDR, END)
    assert (span.rights, span.rule) == (Rights.NONE, "TZC_GATE_KEEPER.OPENSTAT")


def test_after_reset_an_open_gate_shows_the_background_region_without_access(tzc: Tzc400) -> None:
    write(tzc, GATE_KEEPER, 3)
    assert [rights(tzc, who, DDR) for who in (NS, S, M4)] == [Rights.NONE] * 3


def test_the_board_layout_splits_the_ddr(tzc: Tzc400) -> None:
    dk2(tzc)
    for who in (NS, M4):
        spans = tzc.spans(who, DDR, END)
        assert [(s.start, s.end, s.rights) for s in spans] == [
            (DDR, SECURE, Rights.ALL),
            (SECURE, END, Rights.NONE),
        ]
    assert rights(tzc, S, DDR) is Rights.NONE  # a secure access needs the region's secure bits
    assert rights(tzc, S, SECURE) == Rights.ALL
    assert tzc.spans(M4, SECURE, SECURE + 4)[0].rule == "TZC_REGION_ID_ACCESS_2.NSAID1"
    assert tzc.spans(S, DDR, DDR + 4)[0].rule == "TZC_REGION_ATTRIBUTES_1.S"


@pytest.mark.parametrize(
    ("id_access", "a7", "m4"),
    [
        (0x00000001, READ, Rights.NONE),
        (0x00010000, Rights.WRITE, Rights.NONE),
        (0x00010001, Rights.ALL, Rights.NONE),
        (0x00000002, Rights.NONE, READ),
        (0x00020000, Rights.NONE, Rights.WRITE),
        (0x87F987F9, Rights.ALL, Rights.NONE),
        (0xFFFCFFFC, Rights.NONE, Rights.NONE),
    ],
)
def test_non_secure_rights_follow_the_nsaid_bits(tzc: Tzc400, id_access: int, a7: Rights, m4: Rights) -> None:
    region(tzc, 1, DDR, END - 1, attributes=0x3, id_access=id_access)
    write(tzc, GATE_KEEPER, 3)
    assert (rights(tzc, NS, DDR), rights(tzc, M4, DDR), rights(tzc, S, DDR)) == (a7, m4, Rights.NONE)


@pytest.mark.parametrize(
    ("attributes", "expected"), [(0, Rights.NONE), (0x40000000, READ), (0x80000000, Rights.WRITE), (S_RW, Rights.ALL)]
)
def test_secure_rights_follow_the_region_attributes(tzc: Tzc400, attributes: int, expected: Rights) -> None:
    region(tzc, 1, DDR, END - 1, attributes=attributes | 3, id_access=0)
    write(tzc, GATE_KEEPER, 3)
    assert rights(tzc, S, DDR) == expected
    assert rights(tzc, NS, DDR) is Rights.NONE


@pytest.mark.parametrize("filters", [0x1, 0x2])
def test_a_region_enabled_in_one_filter_only_leaves_the_other_to_the_background(tzc: Tzc400, filters: int) -> None:
    region(tzc, 1, DDR, END - 1, attributes=S_RW | filters, id_access=0xFFFFFFFF)
    write(tzc, GATE_KEEPER, 3)
    assert rights(tzc, NS, DDR) is Rights.NONE


@pytest.mark.parametrize(("wide", "narrow"), [(1, 2), (2, 1)])
def test_where_regions_overlap_the_stricter_wins(tzc: Tzc400, wide: int, narrow: int) -> None:
    region(tzc, wide, DDR, END - 1, attributes=S_RW | 3, id_access=0xFFFFFFFF)
    region(tzc, narrow, DDR + 0x1000, DDR + 0x1FFF, attributes=S_RW | 3, id_access=0x0000FFFF)
    write(tzc, GATE_KEEPER, 3)
    spans = tzc.spans(NS, DDR, DDR + 0x3000)
    assert [(s.start - DDR, s.rights) for s in spans] == [(0, Rights.ALL), (0x1000, READ), (0x2000, Rights.ALL)]


def test_rights_follow_each_new_programming(tzc: Tzc400) -> None:
    dk2(tzc)
    assert rights(tzc, M4, DDR) == Rights.ALL
    write(tzc, 0x134, 0x87F987F9)
    assert rights(tzc, M4, DDR) is Rights.NONE
    assert rights(tzc, NS, DDR) == Rights.ALL


def test_an_upside_down_region_is_empty(tzc: Tzc400) -> None:
    region(tzc, 1, END, DDR, attributes=S_RW | 3, id_access=0xFFFFFFFF)
    write(tzc, GATE_KEEPER, 3)
    assert rights(tzc, NS, DDR) is Rights.NONE


def test_a_region_reaches_the_last_address(tzc: Tzc400) -> None:
    region(tzc, 1, 0xFE000000, 0xFFFFFFFF, attributes=S_RW | 3, id_access=0)
    write(tzc, GATE_KEEPER, 3)
    assert rights(tzc, S, 0xFFFFFFFC) == Rights.ALL


def test_the_first_failure_is_kept_and_later_ones_are_overruns(tzc: Tzc400) -> None:
    dk2(tzc)
    tzc.record_failure(M4, 0xDE000010, True)
    tzc.record_failure(NS, 0xDE000020, False)
    for fail in (0x20, 0x30):
        assert read(tzc, fail) == 0xDE000010
        assert read(tzc, fail + 8) == 1 << 24 | 1 << 21 | 1 << 20
        assert read(tzc, fail + 12) >> 24 == 1
    assert read(tzc, INT_STATUS) == 0x0303
    write(tzc, INT_CLEAR, 3)
    assert read(tzc, INT_STATUS) == 0
    tzc.record_failure(S, 0xC0000000, False)
    assert (read(tzc, 0x20), read(tzc, 0x28)) == (0xC0000000, 1 << 20)


@pytest.mark.parametrize(("action", "levels"), [(0, []), (1, []), (2, [True, False]), (3, [True, False])])
def test_the_interrupt_follows_action_and_status(tzc: Tzc400, wire: Wire, action: int, levels: list[bool]) -> None:
    write(tzc, ACTION, action)
    tzc.record_failure(NS, SECURE, False)
    write(tzc, INT_CLEAR, 3)
    assert wire.levels == levels


def test_fail_registers_and_status_are_read_only(tzc: Tzc400) -> None:
    for offset in (INT_STATUS, 0x20, 0x28, 0x2C):
        write(tzc, offset, 0xFFFFFFFF)
        assert read(tzc, offset) == 0


def test_a_snapshot_brings_back_regions_and_rights(tzc: Tzc400) -> None:
    dk2(tzc)
    saved = tzc.save()
    assert rights(tzc, NS, DDR) == Rights.ALL
    tzc.reset()
    assert rights(tzc, NS, DDR) is Rights.NONE
    tzc.load(saved)
    assert rights(tzc, NS, DDR) == Rights.ALL
