"""The bus: routing by core view, aliases, denials in both modes, bulk accesses of the secure world."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from cosim.access import AccessKind, Deny, Initiator
from cosim.bus import Bus, Outcome, View, Window
from cosim.errors import BusFault, PlatformError
from cosim.events import AccessDenied, BusErrorRaised, EventLog
from cosim.firewall import Firewall
from cosim.memory import MemoryBank
from cosim.peripherals.etzpc import Etzpc
from cosim.peripherals.pwr import Pwr
from cosim.peripherals.tzc400 import Tzc400
from ta.ports import SecureBus, read32, write32

NS, S, M4, DEBUG = Initiator.A7_NS, Initiator.A7_S, Initiator.M4, Initiator.DEBUG
READ, WRITE, FETCH = AccessKind.READ, AccessKind.WRITE, AccessKind.FETCH
ETZPC, PWR, DDR = 0x5C007000, 0x50001000, 0xC0000000
SRAM1, SRAM2, SRAM1_ALIAS, SRAM2_ALIAS, RETRAM = 0x10000000, 0x10020000, 0x30000000, 0x30020000, 0x38000000
SYSRAM = 0x2FFC0000
ISOLATED = 0xFFFFFEFA  # SRAM1, SRAM2 and RETRAM isolated for the M4
LOADING = 0xFFFFFCF0  # the same banks secure


@dataclass
class Board:
    deny: Deny = Deny.RAZWI
    log: EventLog = field(default_factory=EventLog)
    writes: list[tuple[str, int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.etzpc, self.tzc = Etzpc(ETZPC, self.log), Tzc400(0x5C006000, self.log)
        self.pwr = Pwr(PWR, self.log, lambda: True)
        self.sram1, self.sram2 = MemoryBank("sram1", 0x20000), MemoryBank("sram2", 0x20000)
        self.retram, self.ddr = MemoryBank("retram", 0x10000), MemoryBank("ddr", 0x100000)
        self.sysram = MemoryBank("sysram", 0x40000)
        windows = [
            *(Window(base, 0x20000, self.sram1, 0, None) for base in (SRAM1, SRAM1_ALIAS)),
            *(Window(base, 0x20000, self.sram2, 0, None) for base in (SRAM2, SRAM2_ALIAS)),
            Window(RETRAM, 0x10000, self.retram, 0, None),
            Window(0x0, 0x10000, self.retram, 0, "m4"),
            Window(SYSRAM, 0x40000, self.sysram, 0, None),
            Window(DDR, 0x100000, self.ddr, 0, None),
            Window(ETZPC, 0x400, self.etzpc, 0, None),
            Window(PWR, 0x400, self.pwr, 0, None),
        ]
        self.bus = Bus(windows, Firewall(self.etzpc, self.tzc, self.log), self.log, self.deny)
        self.bus.listen_writes(lambda bank, offset, size: self.writes.append((bank.name, offset, size)))

    def protect(self, decprot5: int) -> None:
        self.etzpc.write(0x024, 4, decprot5, DEBUG)

    def denied(self) -> list[AccessDenied]:
        return self.log.of(AccessDenied)


@pytest.fixture
def board() -> Board:
    return Board()


@pytest.fixture(params=Deny, ids=lambda deny: deny.value)
def either(request: pytest.FixtureRequest) -> Board:
    return Board(request.param)


@pytest.fixture
def aborting() -> Board:
    return Board(Deny.ABORT)


def test_both_aliases_of_a_bank_show_the_same_cells_to_both_cores(board: Board) -> None:
    board.bus.transact(NS, WRITE, SRAM1 + 0x10, 4, 0xCAFEF00D)
    for who in (NS, S, M4):
        for base in (SRAM1, SRAM1_ALIAS):
            assert board.bus.transact(who, READ, base + 0x10, 4) == Outcome(0xCAFEF00D, False)


def test_retram_is_at_zero_for_the_m4_only(board: Board) -> None:
    board.bus.write(S, RETRAM, b"\x01\x02\x03\x04")
    assert board.bus.transact(M4, READ, 0x0, 4) == Outcome(0x04030201, False)
    assert board.bus.transact(NS, READ, 0x0, 4) == Outcome(0, True)
    assert board.log.of(BusErrorRaised) == [BusErrorRaised("a7-ns", "read", 0, 4)]
    assert board.bus.debug_read("m4", 0x0, 4) == b"\x01\x02\x03\x04"
    with pytest.raises(BusFault):
        board.bus.debug_read("a7", 0x0, 4)


@pytest.mark.parametrize("size", [1, 2, 4])
def test_accesses_of_each_size_reach_memory(board: Board, size: int) -> None:
    value = 0x44332211 & ((1 << 8 * size) - 1)
    assert board.bus.transact(M4, WRITE, SRAM1 + 4, size, 0x44332211) == Outcome(0, False)
    assert board.bus.transact(M4, READ, SRAM1 + 4, 4) == Outcome(value, False)
    assert board.bus.transact(M4, FETCH, SRAM1 + 4, size) == Outcome(value, False)


def test_an_access_across_two_banks_is_one_access(board: Board) -> None:
    board.bus.transact(M4, WRITE, SRAM2 - 2, 4, 0xAABBCCDD)
    assert board.sram1.read(0x1FFFE, 2) == b"\xdd\xcc"
    assert board.sram2.read(0, 2) == b"\xbb\xaa"
    assert board.bus.transact(M4, READ, SRAM2_ALIAS - 2, 4).value == 0xAABBCCDD


@pytest.mark.parametrize("alias", [SRAM1, SRAM1_ALIAS])
@pytest.mark.parametrize("kind", AccessKind)
@pytest.mark.parametrize("who", [NS, S])
def test_a_denied_access_reads_zero_changes_nothing_and_is_an_event(
    either: Board, alias: int, kind: AccessKind, who: Initiator
) -> None:
    either.sram1.write(0x20, b"\xff\xff\xff\xff")
    either.protect(ISOLATED)
    outcome = either.bus.transact(who, kind, alias + 0x20, 4, 0x12345678)
    assert outcome == Outcome(0, either.deny is Deny.ABORT)
    assert either.sram1.read(0x20, 4) == b"\xff\xff\xff\xff"
    value = 0x12345678 if kind is WRITE else 0
    assert either.denied() == [
        AccessDenied(
            who.value,
            kind.value,
            alias + 0x20,
            4,
            value,
            "sram1",
            "ETZPC_DECPROT5.SRAM1=MCU_ISOLATION",
            either.deny.value,
        )
    ]
    assert either.writes == []


def test_the_m4_is_denied_secure_memory_at_address_zero_too(board: Board) -> None:
    board.retram.write(0, b"\x55\x55\x55\x55")
    board.protect(LOADING)
    assert board.bus.transact(M4, FETCH, 0x0, 4).value == 0
    assert board.bus.transact(M4, READ, RETRAM, 4).value == 0
    assert [event.address for event in board.denied()] == [0x0, RETRAM]


def test_an_access_that_is_half_denied_does_nothing_at_all(board: Board) -> None:
    board.protect(0xFFFFFFF3)  # SRAM2 secure, SRAM1 open
    assert board.bus.transact(NS, WRITE, SRAM2 - 2, 4, 0xFFFFFFFF).value == 0
    assert board.sram1.read(0x1FFFE, 2) == bytes(2)
    assert [event.target for event in board.denied()] == ["sram2"]


def test_the_debugger_passes_the_firewall_and_leaves_no_event(either: Board) -> None:
    either.protect(ISOLATED)
    either.bus.write(DEBUG, SRAM1, b"seen")
    events = len(either.log)
    assert either.bus.read(DEBUG, SRAM1, 4) == b"seen"
    assert either.bus.debug_read("m4", SRAM1_ALIAS, 4) == b"seen"
    with pytest.raises(BusFault):
        either.bus.read(DEBUG, 0x90000000, 4)
    assert len(either.log) == events


def test_nothing_there_is_an_error_in_either_mode(either: Board) -> None:
    for kind in AccessKind:
        assert either.bus.transact(M4, kind, 0x90000000, 4).error
    assert [event.access for event in either.log.of(BusErrorRaised)] == ["read", "write", "fetch"]


@pytest.mark.parametrize("address", [0x1003FFFF, 0xFFFFFFFF])
def test_an_access_that_runs_into_nothing_is_an_error(board: Board, address: int) -> None:
    assert board.bus.transact(M4, READ, address, 4).error


def test_code_cannot_be_fetched_from_registers(board: Board) -> None:
    assert board.bus.transact(NS, FETCH, PWR, 4) == Outcome(0, True)


def test_registers_are_reached_by_word_halfword_and_byte(board: Board) -> None:
    board.bus.transact(S, WRITE, PWR, 4, 0x100)
    assert board.bus.transact(NS, READ, PWR + 1, 1).value == 1
    assert board.bus.transact(NS, READ, PWR, 2).value == 0x100


def test_an_unaligned_register_access_is_made_in_aligned_parts(board: Board) -> None:
    board.bus.transact(S, WRITE, PWR, 4, 0x100)
    assert board.bus.transact(NS, READ, PWR + 1, 4).value == 0x01


@pytest.mark.parametrize("who", [NS, M4])
def test_the_normal_world_cannot_write_the_firewall_registers(either: Board, who: Initiator) -> None:
    outcome = either.bus.transact(who, WRITE, ETZPC + 0x24, 4, 0)
    assert outcome.error is (either.deny is Deny.ABORT)
    assert either.etzpc.value("DECPROT5") == 0xFFFFFFFF
    assert either.denied()[0].rule == "ETZPC=SECURE_WRITE"


def test_a_ddr_denial_reaches_the_fail_registers(board: Board) -> None:
    board.bus.transact(M4, WRITE, DDR + 0x40, 4, 1)
    assert board.tzc.value("FAIL_ADDRESS_LOW_0") == DDR + 0x40
    assert board.denied()[0].rule == "TZC_GATE_KEEPER.OPENSTAT"


def test_the_secure_view_is_the_port_that_the_secure_world_wants(board: Board) -> None:
    port: SecureBus = board.bus.secure_view()
    write32(port, ETZPC + 0x24, LOADING)
    assert read32(port, ETZPC + 0x24) == LOADING
    port.write(SRAM1, b"image")
    assert port.read(SRAM1_ALIAS, 5) == b"image"
    assert board.denied() == []


def test_bulk_accesses_cross_windows(board: Board) -> None:
    data = bytes(range(256)) * 2
    board.bus.write(S, SRAM2 - 256, data)
    assert board.bus.read(S, SRAM2_ALIAS - 256, 512) == data
    assert board.writes == [("sram1", 0x1FF00, 256), ("sram2", 0, 256)]


def test_memory_is_compared_across_windows_and_as_a_read_would_see_it(board: Board) -> None:
    data = bytes(range(256)) * 2
    for _ in range(2):  # the second time it goes the way of the first
        board.bus.write(S, SRAM2 - 256, data)
        assert board.bus.holds(S, SRAM2_ALIAS - 256, data)
        for at in (0, 255, 256, 511):
            board.bus.write(S, SRAM2 - 256 + at, bytes([data[at] ^ 1]))
            assert not board.bus.holds(S, SRAM2 - 256, data)
            board.bus.write(S, SRAM2 - 256 + at, data[at : at + 1])
    board.protect(0xFFFFFFFB)  # SRAM2 isolated
    assert not board.bus.holds(S, SRAM2 - 256, data)
    assert board.bus.holds(S, SRAM2 - 256, data[:256] + bytes(256))
    assert board.bus.holds(S, ETZPC + 0x024, (0xFFFFFFFB).to_bytes(4, "little"))


def test_large_writes_across_windows_tell_of_what_they_change_alone(board: Board) -> None:
    data = bytes(0x1000) + b"\1" + bytes(0xFFF)
    for _ in range(2):
        board.bus.write(S, SRAM2 - 0x1000, data)
        assert board.writes == [("sram2", 0, 0x1000)]
        assert board.bus.read(S, SRAM2 - 0x1000, 0x2000) == data


def test_a_bulk_access_of_no_bytes_is_nothing(board: Board) -> None:
    board.bus.write(S, 0x90000000, b"")
    assert board.bus.read(S, 0x90000000, 0) == b""
    assert len(board.log) == 0


def test_bulk_reads_see_zeros_where_they_are_denied(board: Board) -> None:
    board.bus.write(DEBUG, SRAM2 - 4, b"ABCDEFGH")
    board.protect(0xFFFFFFFB)  # SRAM2 isolated
    assert board.bus.read(S, SRAM2 - 4, 8) == b"ABCD\0\0\0\0"
    assert [(event.address, event.size, event.target) for event in board.denied()] == [(SRAM2, 4, "sram2")]


def test_bulk_writes_skip_what_is_denied(board: Board) -> None:
    board.protect(0xFFFFFFFB)
    board.bus.write(S, SRAM2 - 4, b"ABCDEFGH")
    assert board.bus.read(DEBUG, SRAM2 - 4, 8) == b"ABCD\0\0\0\0"
    (event,) = board.denied()
    assert (event.address, event.size, event.value) == (SRAM2, 4, int.from_bytes(b"EFGH", "little"))


def test_an_aborted_bulk_write_writes_nothing_at_all(aborting: Board) -> None:
    aborting.protect(0xFFFFFFFB)
    with pytest.raises(BusFault) as caught:
        aborting.bus.write(S, SRAM2 - 4, b"ABCDEFGH")
    assert caught.value.fields["address"] == SRAM2
    assert aborting.bus.read(DEBUG, SRAM2 - 4, 8) == bytes(8)
    assert aborting.writes == []
    with pytest.raises(BusFault):
        aborting.bus.read(S, SRAM2 - 4, 8)


def test_a_bulk_write_that_runs_into_nothing_writes_nothing(either: Board) -> None:
    with pytest.raises(BusFault) as caught:
        either.bus.write(S, SRAM2 + 0x1FFFC, b"ABCDEFGH")
    assert caught.value.fields["size"] == 8
    assert either.sram2.read(0x1FFFC, 4) == bytes(4)
    assert either.log.of(BusErrorRaised) == [BusErrorRaised("a7-s", "write", SRAM2 + 0x1FFFC, 8)]


def test_a_bulk_access_is_cut_where_the_rights_change_inside_a_bank(board: Board) -> None:
    board.bus.write(DEBUG, SYSRAM + 0xFFC, b"ABCDEFGH")
    board.etzpc.write(0x004, 4, 1, S)  # the first page is secure
    assert board.bus.read(NS, SYSRAM + 0xFFC, 8) == b"\0\0\0\0EFGH"


def test_host_side_writes_to_memory_are_told_and_register_writes_are_not(board: Board) -> None:
    board.bus.transact(NS, WRITE, SRAM1_ALIAS + 8, 2, 1)
    board.bus.write(S, RETRAM, b"abc")
    board.bus.transact(S, WRITE, PWR, 4, 0x100)
    assert board.writes == [("sram1", 8, 2), ("retram", 0, 3)]


def window_at(address: int, size: int, cpu: View | None = None, offset: int = 0) -> Window:
    return Window(address, size, MemoryBank("bank", 0x1000), offset, cpu)


def build(*windows: Window) -> Bus:
    log = EventLog()
    return Bus(windows, Firewall(Etzpc(ETZPC, log), Tzc400(0, log), log), log)


def test_overlapping_windows_of_one_view_are_refused() -> None:
    with pytest.raises(PlatformError, match="overlap at 0x00000800"):
        build(window_at(0, 0x1000), window_at(0x800, 0x1000, "m4"))


def test_windows_may_share_an_address_in_different_views() -> None:
    assert len(build(window_at(0, 0x1000, "a7"), window_at(0, 0x1000, "m4")).windows) == 2


@pytest.mark.parametrize(
    ("address", "size", "offset"), [(0, 0, 0), (-4, 8, 0), (0xFFFFF000, 0x1001, 0), (0, 0x1001, 0), (0, 0x1000, 4)]
)
def test_windows_that_do_not_fit_are_refused(address: int, size: int, offset: int) -> None:
    with pytest.raises(PlatformError, match="does not fit"):
        build(window_at(address, size, None, offset))
