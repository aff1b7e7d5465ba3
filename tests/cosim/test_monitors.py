"""The security invariants, on synthetic logs: what breaks each one, and what must not."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest

from cosim.access import Initiator
from cosim.events import (
    AccessDenied,
    CoreHeld,
    CoreReleased,
    EventLog,
    FirewallChanged,
    FirstInstruction,
    ForeignWrite,
    MonitorBroken,
    Payload,
    RegisterWritten,
    Stamp,
)
from cosim.monitors import MonitorResult, Monitors
from ta.errors import BusFault
from ta.events import (
    CommandInvoked,
    CommandReturned,
    ImageAuthenticated,
    MemoryWiped,
    ProcessorStarted,
    ProcessorStopped,
    ResourceTableLocated,
    SegmentLoaded,
    SegmentRefused,
    TaDied,
)

CODE = b"\x00\x00\x04\x10\x01\x00\x00\x10" * 8
DATA = b"\x55" * 32
TABLE = b"\x01\x00\x00\x00\x00\x00\x00\x00" * 2
CODE_PA, DATA_PA, TABLE_PA = 0x38000000, 0x10020000, 0x10048000
NAMES = {1: "LOAD_FW", 2: "START_FW", 3: "STOP_FW", 4: "GET_RSC_TABLE", 6: "RELEASE_FW"}
BAD_PARAMETERS, SECURITY = 0xFFFF0006, 0xFFFF000F


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Bench:
    """A log, a memory and the monitors on them; methods play what the machine and the TA would report."""

    def __init__(self, *, isolated: bool = True) -> None:
        self.log = EventLog()
        self.memory = {0x38000000: bytearray(0x10000), 0x10000000: bytearray(0x60000)}
        self.monitors = Monitors(self.log, self.read, isolated=isolated)

    def read(self, address: int, size: int) -> bytes:
        for base, bank in self.memory.items():
            if base <= address and address + size <= base + len(bank):
                return bytes(bank[address - base : address - base + size])
        raise BusFault("nothing there", address=address, size=size)

    def write(self, address: int, data: bytes) -> None:
        base = address & 0xFFF00000
        self.memory[base][address - base : address - base + len(data)] = data

    def say(self, *payloads: Payload, core: str = "a7", instructions: int = 0) -> None:
        self.log.clock = lambda: Stamp(0, core, instructions, 0)
        for payload in payloads:
            self.log.emit(payload)

    def command(self, command: int, *during: Payload, result: int = 0, state: str = "OFF", processor: int = 0) -> None:
        self.say(CommandInvoked(1, command, NAMES[command], processor), *during)
        self.say(CommandReturned(1, command, NAMES[command], result, "", 4, "", state))

    def load(self, *, table: bytes = TABLE, at: int = TABLE_PA) -> None:
        self.banks("S_RW")
        self.write(CODE_PA, CODE)
        self.write(DATA_PA, DATA)
        self.write(at, table)
        self.command(
            1,
            SegmentLoaded(0, 0, 0, CODE_PA, len(CODE), len(CODE), sha(CODE), 5),
            SegmentLoaded(0, 1, DATA_PA, DATA_PA, len(DATA), 64, sha(DATA), 6),
            SegmentLoaded(0, 2, at, at, len(TABLE), len(TABLE), sha(table), 6),
            ResourceTableLocated(at, at, len(TABLE), sha(TABLE)),
            ImageAuthenticated(1, 3, sha(b"header")),
            state="LOADED",
        )

    def load_code_alone(self) -> None:
        """An image whose reporter says nothing of a resource table."""
        self.banks("S_RW")
        self.write(CODE_PA, CODE)
        code = SegmentLoaded(0, 0, 0, CODE_PA, len(CODE), len(CODE), sha(CODE), 5)
        self.command(1, code, ImageAuthenticated(1, 1, sha(b"other header")), state="LOADED")

    def banks(self, attribute: str) -> None:
        for bank in ("retram", "sram1", "sram2"):
            self.say(FirewallChanged(bank, "NS_RW", attribute))

    def boot_mcu(self, value: int, initiator: Initiator = Initiator.A7_S) -> None:
        self.say(RegisterWritten("rcc", "MP_GCR", initiator.value, value, 1 - value, value))

    def release_core(self) -> None:
        self.say(CoreReleased("m4", 0x10040000, 0x10000001))

    def first_instruction(self) -> None:
        self.say(FirstInstruction("m4", 0x10000000), core="m4")

    def start(self) -> None:
        self.banks("MCU_ISOLATION")
        self.boot_mcu(1)
        self.release_core()
        self.boot_mcu(0)
        self.command(2, ProcessorStarted(0), state="STARTED")
        self.first_instruction()

    def stop(self, retired: int = 1234) -> None:
        self.command(3, CoreHeld("m4", retired), ProcessorStopped(0))
        self.banks("S_RW")

    def wipe(self) -> None:
        for bank in self.memory.values():
            bank[:] = bytes(len(bank))
        self.command(6, MemoryWiped("retram", CODE_PA, 0x10000, "RELEASE_FW"))

    def result(self, name: str) -> MonitorResult:
        return next(r for r in self.monitors.results() if r.name == name)

    def reported(self) -> list[str]:
        return [broken.monitor for broken in self.log.of(MonitorBroken)]


def test_a_whole_life_of_an_image_breaks_nothing_and_exercises_every_monitor() -> None:
    bench = Bench()
    bench.load()
    bench.command(1, state="LOADED")
    bench.start()
    bench.stop()
    bench.wipe()
    assert [(r.name, r.held) for r in bench.monitors.results()] == [
        ("no-run-before-authentication", True),
        ("image-untouched", True),
        ("resource-table", True),
        ("nothing-left", True),
        ("boot-control", True),
    ]
    assert bench.reported() == []


def test_without_any_event_no_monitor_claims_to_have_held() -> None:
    assert {r.held for r in Bench().monitors.results()} == {None}


def test_a_release_from_hold_boot_without_a_load_breaks_at_once() -> None:
    bench = Bench()
    bench.release_core()
    result = bench.result("no-run-before-authentication")
    assert result.held is False
    assert result.evidence == 0
    assert isinstance(bench.log.records[1].payload, MonitorBroken)


def test_a_first_instruction_after_load_but_without_start_breaks() -> None:
    bench = Bench()
    bench.load()
    bench.release_core()
    assert bench.result("no-run-before-authentication").held is True
    bench.first_instruction()
    assert bench.result("no-run-before-authentication").detail.endswith("the TA did not start it")


def test_an_instruction_without_any_image_is_told_from_one_without_start() -> None:
    bench = Bench()
    bench.first_instruction()
    assert "no authenticated image" in bench.result("no-run-before-authentication").detail


def test_each_break_is_reported_once_although_the_report_is_itself_a_record_of_the_core() -> None:
    bench = Bench()
    bench.say(FirstInstruction("m4", 0), core="m4", instructions=5)
    assert bench.reported() == ["no-run-before-authentication"] * 2


def test_a_run_after_the_memories_were_wiped_breaks() -> None:
    bench = Bench()
    bench.load()
    bench.say(MemoryWiped("retram", CODE_PA, 0x10000, ""))
    bench.release_core()
    assert bench.result("no-run-before-authentication").held is False


def test_a_core_that_fell_back_into_hold_boot_needs_a_new_start() -> None:
    bench = Bench()
    bench.load()
    bench.start()
    bench.say(CoreHeld("m4", 100))
    bench.first_instruction()
    assert "the TA did not start it" in bench.result("no-run-before-authentication").detail


def test_a_second_run_after_stop_without_a_new_load_breaks() -> None:
    bench = Bench()
    bench.load()
    bench.start()
    bench.stop()
    bench.release_core()
    assert bench.result("no-run-before-authentication").held is False


def test_a_run_after_a_refused_load_breaks_but_the_refusal_itself_does_not() -> None:
    bench = Bench()
    bench.command(1, result=SECURITY)
    assert bench.result("no-run-before-authentication").held is True
    bench.release_core()
    assert bench.result("no-run-before-authentication").held is False


def test_a_refused_load_while_started_does_not_take_the_authentication_away() -> None:
    bench = Bench()
    bench.load()
    bench.start()
    bench.command(1, result=0xFFFF0007, state="STARTED")
    bench.first_instruction()
    assert bench.result("no-run-before-authentication").held is True


def test_a_refused_load_for_another_processor_changes_nothing_for_the_m4() -> None:
    bench = Bench()
    bench.load()
    bench.command(1, result=0xFFFF000A, processor=7)
    bench.start()
    assert bench.result("no-run-before-authentication").held is True
    assert bench.result("nothing-left").held is None


@pytest.mark.parametrize("by_stamp", [True, False])
def test_instructions_retired_before_start_are_seen_even_without_a_release_event(by_stamp: bool) -> None:
    bench = Bench()
    if by_stamp:
        bench.say(AccessDenied("m4", "read", 0, 4, 0, "ddr", "TZC", "razwi"), core="m4", instructions=5)
    else:
        bench.say(CoreHeld("m4", 5))
    assert "5 instructions before START" in bench.result("no-run-before-authentication").detail


@pytest.mark.parametrize("isolated", [True, False])
@pytest.mark.parametrize("address", [CODE_PA + 4, DATA_PA + 3, DATA_PA + 60])
def test_a_write_between_load_and_start_is_seen_in_code_data_and_zeroed_memory(isolated: bool, address: int) -> None:
    bench = Bench(isolated=isolated)
    bench.load()
    bench.write(address, b"\xee")
    bench.start()
    result = bench.result("image-untouched")
    assert result.held is False
    assert "differs at START" in result.detail
    assert bench.reported() == ["image-untouched"]


def test_code_changed_after_start_is_seen_at_stop() -> None:
    bench = Bench()
    bench.load()
    bench.start()
    bench.write(CODE_PA, b"\xee")
    bench.stop()
    assert "segment 0 of image 0 at 0x00000000" in bench.result("image-untouched").detail
    assert "at STOP" in bench.result("image-untouched").detail


def test_the_result_says_what_was_compared_and_when() -> None:
    bench = Bench()
    bench.load()
    bench.start()
    bench.stop()
    assert bench.result("image-untouched").detail == "as authenticated: 2 segment(s) at START, 1 segment(s) at STOP"
    assert bench.result("resource-table").detail == (
        "16 bytes at 0x10048000 as authenticated after LOAD_FW and at START"
    )


def test_data_changed_after_start_is_the_m4s_own_business() -> None:
    bench = Bench()
    bench.load()
    bench.start()
    bench.write(DATA_PA, b"\xee" * 64)
    bench.stop()
    assert bench.result("image-untouched").held is True


def test_shared_memory_may_change_before_start_as_the_kernel_fills_in_the_table() -> None:
    bench = Bench()
    bench.load()
    bench.write(TABLE_PA + 8, b"\x07")
    bench.start()
    assert bench.result("image-untouched").held is True
    assert bench.result("resource-table").held is False


@pytest.mark.parametrize("attribute", ["NS_RW", "NS_R_S_W"])
def test_a_bank_opened_while_it_holds_the_image_breaks_under_isolated_only(attribute: str) -> None:
    for isolated in (True, False):
        bench = Bench(isolated=isolated)
        bench.load()
        bench.say(FirewallChanged("sram2", "S_RW", attribute))
        assert bench.result("image-untouched").held is (False if isolated else None)


def test_a_bank_may_be_open_while_it_holds_no_image() -> None:
    bench = Bench()
    bench.say(FirewallChanged("sram2", "S_RW", "NS_RW"))
    assert bench.result("image-untouched").held is None


def test_an_image_authenticated_in_open_memory_breaks_under_isolated() -> None:
    bench = Bench()
    bench.command(
        1,
        SegmentLoaded(0, 0, 0, CODE_PA, len(CODE), len(CODE), sha(CODE), 5),
        ImageAuthenticated(1, 1, ""),
        state="LOADED",
    )
    assert "retram holds the image but is NS_RW" in bench.result("image-untouched").detail


@pytest.mark.parametrize("isolated", [True, False])
def test_a_normal_world_write_that_the_engine_reports_breaks_even_after_start(isolated: bool) -> None:
    bench = Bench(isolated=isolated)
    bench.load()
    bench.start()
    assert bench.result("image-untouched").held is True
    bench.say(ForeignWrite("a7-ns", 0x30020004, 4, 0xEE, "sram2"))
    assert bench.result("image-untouched").detail == "the normal world wrote 0xee to 0x30020004 (sram2)"


def test_writes_before_authentication_and_writes_of_the_secure_world_are_no_break() -> None:
    bench = Bench(isolated=False)
    bench.say(ForeignWrite("a7-ns", 0x38000000, 4, 1, "retram"))
    bench.load()
    bench.say(ForeignWrite("a7-s", 0x38000000, 4, 1, "retram"))
    assert bench.result("image-untouched").held is None


def test_the_kernel_may_fill_in_a_table_that_lies_in_closed_memory_under_open() -> None:
    bench = Bench(isolated=False)
    bench.write(DATA_PA, TABLE)
    bench.command(
        1,
        SegmentLoaded(0, 0, DATA_PA, DATA_PA, len(TABLE), len(TABLE), sha(TABLE), 6),
        ResourceTableLocated(DATA_PA, DATA_PA, len(TABLE), sha(TABLE)),
        ImageAuthenticated(1, 1, ""),
        state="LOADED",
    )
    bench.write(DATA_PA + 8, b"\x07")
    bench.say(ForeignWrite("a7-ns", DATA_PA + 0x20000008, 4, 7, "sram2"))
    bench.start()
    assert bench.result("image-untouched").held is None
    bench.say(ForeignWrite("a7-ns", DATA_PA + 14, 4, 7, "sram2"))
    assert bench.result("image-untouched").held is False


def test_refused_writes_are_counted_as_evidence_that_the_firewall_held() -> None:
    bench = Bench()
    bench.load()
    bench.say(AccessDenied("a7-ns", "write", 0x30020000, 4, 1, "sram2", "ETZPC_DECPROT5.SRAM2=S_RW", "razwi"))
    bench.start()
    assert bench.result("image-untouched").detail.endswith("1 non-secure write(s) refused")


def test_a_table_that_is_not_where_it_is_reported_breaks_after_load() -> None:
    bench = Bench()
    bench.load(table=bytes(len(TABLE)))
    assert (
        bench.result("resource-table").detail == "16 bytes at 0x10048000 are not the authenticated table after LOAD_FW"
    )


def test_a_table_reported_outside_memory_breaks_instead_of_crashing() -> None:
    bench = Bench()
    bench.command(1, ResourceTableLocated(0x20000000, 0x20000000, 16, sha(TABLE)), state="LOADED")
    assert "not in memory" in bench.result("resource-table").detail


def test_an_image_without_a_table_leaves_the_table_monitor_unexercised() -> None:
    bench = Bench()
    bench.command(1, ResourceTableLocated(0, 0, 0, ""), state="LOADED")
    assert bench.result("resource-table").held is None


def _released(bench: Bench) -> None:
    bench.wipe()


def _stopped(bench: Bench) -> None:
    bench.start()
    bench.stop()


def _refused(bench: Bench) -> None:
    bench.command(1, ResourceTableLocated(TABLE_PA, TABLE_PA, 16, sha(TABLE)), result=SECURITY)


def _wiped_by_the_load_itself(bench: Bench) -> None:
    bench.say(MemoryWiped("sram3", TABLE_PA, 0x10000, "before the load"))


@pytest.mark.parametrize("end", [_released, _stopped, _refused, _wiped_by_the_load_itself])
def test_a_later_image_is_not_held_against_the_table_of_one_that_is_gone(end: Callable[[Bench], None]) -> None:
    bench = Bench()
    bench.load()
    end(bench)
    bench.write(TABLE_PA, bytes(len(TABLE)))
    bench.load_code_alone()
    bench.start()
    assert bench.result("resource-table").held is True
    assert bench.reported().count("resource-table") == 0


def test_a_place_that_was_the_table_of_an_earlier_image_is_watched_like_the_rest_of_the_next_one() -> None:
    bench = Bench(isolated=False)
    bench.load(at=DATA_PA + 0x1000)
    bench.wipe()
    bench.load_code_alone()
    bench.say(ForeignWrite("a7-ns", DATA_PA + 0x1000, 4, 7, "sram2"))
    assert bench.result("image-untouched").held is False


def test_the_result_is_about_the_last_image_alone() -> None:
    bench = Bench()
    bench.load()
    bench.start()
    bench.stop()
    bench.load()
    assert bench.result("resource-table").detail == "16 bytes at 0x10048000 as authenticated after LOAD_FW"
    bench.start()
    assert bench.result("image-untouched").detail == "as authenticated: 2 segment(s) at START"


@pytest.mark.parametrize("by_stamp", [True, False])
def test_instructions_between_stop_and_the_next_start_are_seen(by_stamp: bool) -> None:
    bench = Bench()
    bench.load()
    bench.start()
    bench.stop(retired=1000)
    bench.load()
    assert bench.result("no-run-before-authentication").held is True
    if by_stamp:
        bench.say(AccessDenied("m4", "read", 0, 4, 0, "ddr", "TZC", "razwi"), core="m4", instructions=1005)
    else:
        bench.say(CoreHeld("m4", 1005))
    assert bench.result("no-run-before-authentication").detail == "the M4 retired 5 instructions before START"


def test_several_images_one_after_the_other_with_refusals_and_a_recovery_break_nothing() -> None:
    bench = Bench()
    bench.load()
    bench.wipe()
    bench.load(at=TABLE_PA + 0x100)
    bench.command(1, result=0xFFFF0007, state="LOADED")  # another image while this one is loaded
    bench.start()
    bench.say(CoreHeld("m4", 500))  # it crashes
    bench.stop(retired=500)
    bench.load()  # recovery: LOAD and START without RELEASE
    bench.start()
    bench.stop(retired=900)
    bench.command(1, result=SECURITY)
    bench.load()
    bench.wipe()
    assert {r.held for r in bench.monitors.results()} == {True}
    assert bench.reported() == []


def test_what_release_forgets_is_named() -> None:
    bench = Bench()
    bench.load()
    bench.command(6)
    assert bench.result("nothing-left").detail == (
        "RELEASE_FW left segment 0 of image 0 at 0x00000000 (64 bytes) in memory and 2 more"
    )


def test_segments_left_after_a_refused_load_break_and_wiped_ones_do_not() -> None:
    first = SegmentLoaded(0, 0, 0, CODE_PA, len(CODE), len(CODE), sha(CODE), 5)
    refused = SegmentRefused(0, 1, DATA_PA, 32, 32, "hash", sha(b"signed"), sha(DATA))
    dirty = Bench()
    dirty.write(CODE_PA, CODE)
    dirty.command(1, first, refused, result=SECURITY)
    assert "the refused LOAD_FW left segment 0" in dirty.result("nothing-left").detail
    clean = Bench()
    clean.command(1, first, refused, result=SECURITY)
    assert clean.result("nothing-left").held is True


def test_a_refused_segment_that_was_copied_to_retram_is_looked_for_at_its_a7_address() -> None:
    bench = Bench()
    bench.write(CODE_PA, CODE)
    bench.command(1, SegmentRefused(0, 0, 0, 64, 64, "hash", sha(b"signed"), sha(CODE)), result=SECURITY)
    assert bench.result("nothing-left").held is False


def test_a_segment_that_was_refused_before_it_was_copied_is_not_looked_for() -> None:
    bench = Bench()
    bench.write(DATA_PA, DATA)
    bench.command(1, SegmentRefused(0, 0, DATA_PA, 32, 32, "sizes differ", "", ""), result=BAD_PARAMETERS)
    assert bench.result("nothing-left").held is True


def test_what_others_write_after_a_release_is_not_the_image() -> None:
    bench = Bench(isolated=False)
    bench.load()
    bench.wipe()
    bench.write(CODE_PA, b"\xee")
    bench.command(6)
    assert bench.result("nothing-left").detail == "nothing had been copied before RELEASE_FW"


def test_a_ta_that_dies_while_loading_leaves_segments_that_are_seen() -> None:
    bench = Bench()
    bench.write(CODE_PA, CODE)
    bench.say(CommandInvoked(1, 1, "LOAD_FW", 0))
    bench.say(SegmentLoaded(0, 0, 0, CODE_PA, len(CODE), len(CODE), sha(CODE), 5), TaDied("SIGSEGV", "A3", ""))
    assert "killed the TA left segment 0" in bench.result("nothing-left").detail


def test_boot_mcu_set_by_the_normal_world_breaks_and_a_refused_attempt_does_not() -> None:
    bench = Bench()
    bench.say(AccessDenied("a7-ns", "write", 0x5000010C, 4, 1, "rcc", "RCC_TZCR.MCKPROT", "razwi"))
    assert bench.result("boot-control").held is True
    bench.boot_mcu(1, Initiator.A7_NS)
    assert bench.result("boot-control").detail == "a7-ns changed BOOT_MCU to 1"


def test_a_write_that_does_not_change_boot_mcu_is_harmless() -> None:
    bench = Bench()
    bench.say(RegisterWritten("rcc", "MP_GCR", "m4", 0, 0, 0))
    assert bench.result("boot-control").held is True


def test_a_monitor_that_breaks_endlessly_reports_a_bounded_number_of_times() -> None:
    bench = Bench()
    for _ in range(100):
        bench.boot_mcu(1, Initiator.M4)
    assert len(bench.reported()) == 16
    assert bench.result("boot-control").detail.endswith("(and 99 more)")


def test_results_are_json_ready_and_described_in_a_sentence() -> None:
    for result in Bench().monitors.results():
        assert result.as_dict()["held"] is None
        assert result.description.endswith(".")
