"""The firewall as one policy: who may do what with each memory and block, and who hears when that changes."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from cosim.access import AccessKind, Initiator, Rights
from cosim.events import EventLog, FirewallChanged
from cosim.firewall import Firewall
from cosim.peripherals.etzpc import DECPROT_IDS, Etzpc, Protection
from cosim.peripherals.tzc400 import Tzc400

NS, S, M4, DEBUG = Initiator.A7_NS, Initiator.A7_S, Initiator.M4, Initiator.DEBUG
READ, WRITE, FETCH = AccessKind.READ, AccessKind.WRITE, AccessKind.FETCH
DECPROT5, LOCK2, TZMA1 = 0x024, 0x038, 0x004
#: Initiators that may read and those that may write, by attribute (RM0436, ETZPC).
MATRIX = {
    Protection.S_RW: ({S}, {S}),
    Protection.NS_R_S_W: ({S, NS, M4}, {S}),
    Protection.MCU_ISOLATION: ({M4}, {M4}),
    Protection.NS_RW: ({S, NS, M4}, {S, NS, M4}),
}


@dataclass
class Board:
    log: EventLog = field(default_factory=EventLog)
    heard: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.etzpc = Etzpc(0x5C007000, self.log)
        self.tzc = Tzc400(0x5C006000, self.log)
        self.firewall = Firewall(self.etzpc, self.tzc, self.log)
        self.firewall.listen(self.heard.append)

    def protect(self, target: str, protection: Protection) -> None:
        decprot_id = DECPROT_IDS[target]
        offset, shift = 0x010 + 4 * (decprot_id // 16), 2 * (decprot_id % 16)
        word = self.etzpc.read(offset, 4, S) & ~(3 << shift)
        self.etzpc.write(offset, 4, word | protection << shift, S)

    def region(self, n: int, base: int, top: int, *, attributes: int, id_access: int) -> None:
        for offset, value in ((0, base), (8, top), (0x14, id_access), (0x10, attributes)):
            self.tzc.write(0x100 + 0x20 * n + offset, 4, value, S)

    def allowed(self, initiator: Initiator, target: str, kind: AccessKind, offset: int = 0, size: int = 4) -> bool:
        return self.firewall.decide(initiator, target, offset, size, kind) is None


@pytest.fixture
def board() -> Board:
    return Board()


@pytest.mark.parametrize("target", ["retram", "sram1", "sram2", "sram3", "sram4", "bkpsram", "usart3", "uart4"])
@pytest.mark.parametrize("protection", Protection)
def test_the_access_matrix_of_decprot_holds_for_every_target(board: Board, target: str, protection: Protection) -> None:
    board.protect(target, protection)
    readers, writers = MATRIX[protection]
    for initiator in (NS, S, M4):
        assert board.allowed(initiator, target, READ) is (initiator in readers)
        assert board.allowed(initiator, target, FETCH) is (initiator in readers)
        assert board.allowed(initiator, target, WRITE) is (initiator in writers)
    for kind in AccessKind:
        assert board.allowed(DEBUG, target, kind)


@pytest.mark.parametrize("protection", Protection)
@pytest.mark.parametrize("initiator", [NS, S, M4, DEBUG])
def test_grants_say_the_same_as_decisions(board: Board, protection: Protection, initiator: Initiator) -> None:
    board.protect("sram1", protection)
    (grant,) = board.firewall.grants(initiator, "sram1", 0x20000)
    assert (grant.offset, grant.size) == (0, 0x20000)
    rights = {READ: Rights.READ, WRITE: Rights.WRITE, FETCH: Rights.FETCH}
    for kind, right in rights.items():
        assert (right in grant.rights) is board.allowed(initiator, "sram1", kind)


def test_one_banks_attribute_says_nothing_about_its_neighbours(board: Board) -> None:
    board.protect("sram1", Protection.MCU_ISOLATION)
    assert not board.allowed(NS, "sram1", READ)
    assert board.allowed(NS, "sram2", READ)
    assert board.allowed(NS, "retram", READ)


def test_a_denial_names_register_field_and_attribute(board: Board) -> None:
    board.protect("sram1", Protection.MCU_ISOLATION)
    board.protect("uart4", Protection.S_RW)
    assert board.firewall.decide(NS, "sram1", 0, 4, WRITE) == "ETZPC_DECPROT5.SRAM1=MCU_ISOLATION"
    assert board.firewall.decide(S, "sram1", 0, 4, READ) == "ETZPC_DECPROT5.SRAM1=MCU_ISOLATION"
    assert board.firewall.decide(M4, "uart4", 0, 4, READ) == "ETZPC_DECPROT2.UART4=S_RW"


def test_after_reset_the_m4s_memories_are_open_and_backup_sram_is_secure(board: Board) -> None:
    for target in ("retram", "sram1", "sram4", "usart3"):
        assert board.allowed(NS, target, WRITE)
    assert not board.allowed(NS, "bkpsram", READ)
    assert not board.allowed(M4, "bkpsram", READ)
    assert board.allowed(S, "bkpsram", WRITE)


def test_the_etzpc_is_read_by_all_and_written_by_the_secure_world(board: Board) -> None:
    assert [board.allowed(who, "etzpc", READ) for who in (NS, S, M4)] == [True, True, True]
    assert [board.allowed(who, "etzpc", WRITE) for who in (NS, S, M4, DEBUG)] == [False, True, False, True]


@pytest.mark.parametrize("target", ["tzc", "secureMonitor"])
@pytest.mark.parametrize("kind", [READ, WRITE])
def test_secure_only_blocks_answer_the_secure_world_and_the_debugger(
    board: Board, target: str, kind: AccessKind
) -> None:
    assert [board.allowed(who, target, kind) for who in (NS, S, M4, DEBUG)] == [False, True, False, True]


@pytest.mark.parametrize("target", ["rcc", "pwr", "tamp", "gic", "nvic"])
def test_blocks_that_protect_themselves_are_reached_by_all(board: Board, target: str) -> None:
    assert all(board.allowed(who, target, WRITE) for who in Initiator)
    assert board.firewall.attribute(target) == ""


@pytest.mark.parametrize(
    ("pages", "secure_size"), [(0x000, 0), (0x001, 0x1000), (0x03F, 0x3F000), (0x040, 0x40000), (0x3FF, 0x40000)]
)
def test_sysram_is_split_by_page_with_the_secure_part_first(board: Board, pages: int, secure_size: int) -> None:
    board.etzpc.write(TZMA1, 4, pages, S)
    for who in (NS, M4):
        grants = board.firewall.grants(who, "sysram", 0x40000)
        assert sum(grant.size for grant in grants if not grant.rights) == secure_size
        assert sum(grant.size for grant in grants) == 0x40000
        if 0 < secure_size < 0x40000:
            assert not board.allowed(who, "sysram", READ, secure_size - 4)
            assert not board.allowed(who, "sysram", READ, secure_size - 2)  # half in the secure part
            assert board.allowed(who, "sysram", WRITE, secure_size)
    assert board.allowed(S, "sysram", WRITE, 0, 0x40000)


def test_pages_beyond_the_end_of_sysram_are_no_change(board: Board) -> None:
    board.etzpc.write(TZMA1, 4, 0x040, S)
    assert board.heard == []
    board.etzpc.write(TZMA1, 4, 0x03F, S)
    assert board.heard == ["sysram"]


def test_ddr_is_closed_after_reset_to_all_but_the_debugger(board: Board) -> None:
    assert board.firewall.decide(NS, "ddr", 0, 4, READ) == "TZC_GATE_KEEPER.OPENSTAT"
    assert [board.allowed(who, "ddr", READ) for who in (NS, S, M4, DEBUG)] == [False, False, False, True]


def test_ddr_follows_regions_and_nsaids(board: Board) -> None:
    board.region(1, 0xC0000000, 0xDDFFFFFF, attributes=0xC0000003, id_access=0x00010001)
    board.region(2, 0xDE000000, 0xDFFFFFFF, attributes=0xC0000003, id_access=0)
    board.tzc.write(0x008, 4, 3, S)
    secure = 0x1E000000
    assert board.allowed(NS, "ddr", WRITE)
    assert board.firewall.decide(M4, "ddr", 0, 4, READ) == "TZC_REGION_ID_ACCESS_1.NSAID1"
    assert board.firewall.decide(NS, "ddr", secure, 4, FETCH) == "TZC_REGION_ID_ACCESS_2.NSAID0"
    assert board.firewall.decide(NS, "ddr", secure - 2, 4, READ) is not None
    assert board.allowed(S, "ddr", WRITE, secure - 2)
    grants = board.firewall.grants(NS, "ddr", 0x20000000)
    assert [(g.offset, g.size, bool(g.rights)) for g in grants] == [(0, secure, True), (secure, 0x2000000, False)]


def test_a_ddr_denial_fills_the_fail_registers_and_others_do_not(board: Board) -> None:
    board.firewall.record_denial(M4, "sram1", 0x10, WRITE)
    assert board.tzc.read(0x010, 4, S) == 0
    board.firewall.record_denial(M4, "ddr", 0x10, WRITE)
    assert board.tzc.read(0x020, 4, S) == 0xC0000010
    assert board.tzc.read(0x028, 4, S) == 0x01300000


def test_changes_are_events_with_attribute_names_and_listeners_hear_the_target(board: Board) -> None:
    board.etzpc.write(DECPROT5, 4, 0xFFFFFCF0, S)
    assert board.log.of(FirewallChanged) == [
        FirewallChanged("sram1", "NS_RW", "S_RW"),
        FirewallChanged("sram2", "NS_RW", "S_RW"),
        FirewallChanged("retram", "NS_RW", "S_RW"),
    ]
    assert board.heard == ["sram1", "sram2", "retram"]
    assert board.firewall.attribute("retram") == "S_RW"


def test_rewriting_the_same_attributes_is_no_change(board: Board) -> None:
    board.etzpc.write(DECPROT5, 4, 0xFFFFFFFF, S)
    assert board.heard == []


def test_a_locked_attribute_keeps_protecting(board: Board) -> None:
    board.protect("sram1", Protection.MCU_ISOLATION)
    board.etzpc.write(LOCK2, 4, 1 << 16, S)
    board.protect("sram1", Protection.NS_RW)
    assert not board.allowed(NS, "sram1", WRITE)


def test_programming_regions_behind_closed_gates_changes_no_answer(board: Board) -> None:
    board.region(1, 0xC0000000, 0xDFFFFFFF, attributes=0xC0000003, id_access=0xFFFFFFFF)
    assert board.heard == []
    board.tzc.write(0x008, 4, 3, S)
    assert board.heard == ["ddr"]
    (change,) = board.log.of(FirewallChanged)
    assert change.before == "CLOSED"
    assert "m4:0xc0000000-0xdfffffff:rw" in change.after


def test_after_a_restored_snapshot_listeners_hear_what_differs_and_nothing_is_logged(board: Board) -> None:
    saved = board.etzpc.save()
    board.protect("sram1", Protection.S_RW)
    board.heard.clear()
    events = len(board.log)
    board.etzpc.load(saved)
    board.firewall.resync()
    assert board.heard == ["sram1"]
    assert len(board.log) == events
    assert board.allowed(NS, "sram1", WRITE)


def test_a_reset_of_the_etzpc_opens_what_was_isolated_and_says_so(board: Board) -> None:
    board.protect("retram", Protection.MCU_ISOLATION)
    board.etzpc.reset()
    assert board.log.of(FirewallChanged)[-1] == FirewallChanged("retram", "MCU_ISOLATION", "NS_RW")
