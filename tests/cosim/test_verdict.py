"""Verdicts from synthetic logs."""

from __future__ import annotations

import json

from cosim.events import CoreHeld, CoreReleased, CoreStopped, EventLog, FirstInstruction, Payload, Stamp
from cosim.monitors import MonitorResult
from cosim.verdict import Outcome, judge
from ta.events import (
    CommandReturned,
    ImageAuthenticated,
    ResourceTableLocated,
    SegmentLoaded,
    SegmentRefused,
    SessionOpened,
    SmcReturned,
)

HELD = MonitorResult("boot-control", "Only the secure world.", True, "", 3)
BROKEN = MonitorResult("boot-control", "Only the secure world.", False, "a7-ns changed it", 4)
IDLE = MonitorResult("nothing-left", "Nothing.", None, "", None)

LOADED = (
    SegmentLoaded(0, 0, 0, 0x38000000, 16, 16, "aa"),
    ResourceTableLocated(0x10048000, 0x10048000, 32, "bb"),
    ImageAuthenticated(1, 1, "cc"),
    CommandReturned(1, 1, "LOAD_FW", 0, "TEE_SUCCESS", 4, "", "LOADED"),
)
STARTED = (
    CommandReturned(1, 2, "START_FW", 0, "TEE_SUCCESS", 4, "", "STARTED"),
    CoreReleased("m4", 0x10040000, 0x10000101),
    FirstInstruction("m4", 0x10000100),
)
REFUSED = (
    SegmentRefused(0, 1, 0x10000000, 64, 64, "SHA-256 differs", "aa", "bb"),
    CommandReturned(1, 1, "LOAD_FW", 0xFFFF000F, "TEE_ERROR_SECURITY", 4, "segment 1: SHA-256 differs", "OFF"),
)


def log_of(*payloads: Payload) -> EventLog:
    log = EventLog()
    for payload in payloads:
        log.emit(payload)
    return log


def test_an_image_that_was_loaded_started_and_ran_is_booted() -> None:
    verdict = judge(log_of(*LOADED, *STARTED, CoreHeld("m4", 4711)), [HELD, IDLE])
    assert verdict.outcome is Outcome.BOOTED
    assert (verdict.exit_code, verdict.m4_instructions) == (0, 4711)
    assert (verdict.initial_sp, verdict.entry) == (0x10040000, 0x10000101)
    assert verdict.table == LOADED[1]
    assert verdict.segments == (LOADED[0],)
    assert verdict.summary() == "booted: authenticated, loaded and started"


def test_a_broken_monitor_turns_a_boot_into_exit_code_1() -> None:
    verdict = judge(log_of(*LOADED, *STARTED), [HELD, BROKEN])
    assert verdict.outcome is Outcome.BOOTED
    assert verdict.exit_code == 1


def test_a_refusal_names_command_result_reason_and_segment() -> None:
    verdict = judge(log_of(*REFUSED), [HELD])
    assert verdict.outcome is Outcome.REFUSED
    assert verdict.exit_code == 1
    assert verdict.segment == REFUSED[0]
    assert verdict.m4_instructions == 0
    assert verdict.summary() == ("refused: LOAD_FW -> TEE_ERROR_SECURITY (0xffff000f): segment 1: SHA-256 differs")


def test_the_first_refusal_is_the_cause_and_not_what_failed_because_of_it() -> None:
    later = CommandReturned(1, 2, "START_FW", 0xFFFF0007, "TEE_ERROR_BAD_STATE", 4, "not loaded", "OFF")
    verdict = judge(log_of(*REFUSED, later), [])
    assert verdict.refusal is not None
    assert verdict.refusal.request == "LOAD_FW"


def test_a_good_image_after_a_refused_one_is_booted() -> None:
    verdict = judge(log_of(*REFUSED, *LOADED, *STARTED), [HELD])
    assert verdict.outcome is Outcome.BOOTED
    assert verdict.refusal is None
    assert verdict.segment is None


def test_a_refusal_after_a_good_load_is_the_cause_and_the_earlier_one_is_not() -> None:
    start = CommandReturned(1, 2, "START_FW", 0xFFFF0007, "TEE_ERROR_BAD_STATE", 4, "busy", "LOADED")
    verdict = judge(log_of(*REFUSED, *LOADED, start), [])
    assert verdict.refusal is not None
    assert verdict.refusal.request == "START_FW"
    assert verdict.segment is None


def test_segments_of_an_earlier_load_are_not_counted() -> None:
    other = SegmentLoaded(0, 0, 0, 0x38000000, 99, 99, "old")
    verdict = judge(log_of(other, *REFUSED, *LOADED, *STARTED), [])
    assert verdict.segments == (LOADED[0],)


def test_a_refused_stop_is_not_why_an_image_did_not_start() -> None:
    stop = CommandReturned(1, 3, "STOP_FW", 0xFFFF0007, "TEE_ERROR_BAD_STATE", 4, "not started", "LOADED")
    assert judge(log_of(*LOADED, stop), []).outcome is Outcome.NOT_STARTED


def test_a_refused_stop_after_the_boot_does_not_unmake_it() -> None:
    stop = CommandReturned(1, 6, "RELEASE_FW", 0xFFFF0007, "TEE_ERROR_BAD_STATE", 4, "started", "STARTED")
    assert judge(log_of(*LOADED, *STARTED, stop), []).outcome is Outcome.BOOTED


def test_a_refused_session_is_a_refusal() -> None:
    verdict = judge(log_of(SessionOpened("80a4", 0, 0xFFFF000D, "TEE_ERROR_BUSY", 3)), [])
    assert verdict.summary().startswith("refused: OPEN_SESSION -> TEE_ERROR_BUSY (0xffff000d)")


def test_a_core_that_runs_without_authentication_is_no_boot() -> None:
    verdict = judge(log_of(*STARTED), [])
    assert verdict.outcome is Outcome.CRASHED
    assert verdict.exit_code == 1


def test_a_lockup_is_a_crash() -> None:
    verdict = judge(log_of(*LOADED, *STARTED, CoreStopped("m4", "lockup")), [HELD])
    assert verdict.outcome is Outcome.CRASHED
    assert verdict.exit_code == 1


def test_an_authenticated_image_that_never_ran_is_not_started() -> None:
    verdict = judge(log_of(*LOADED), [HELD])
    assert (verdict.outcome, verdict.exit_code) == (Outcome.NOT_STARTED, 1)


def test_an_smc_that_fails_before_the_ta_is_reached_is_named() -> None:
    verdict = judge(log_of(SmcReturned(0x32000004, "CALL_WITH_ARG", (4, 0, 0, 0))), [])
    assert verdict.outcome is Outcome.NOT_STARTED
    assert "CALL_WITH_ARG with 0x00000004" in verdict.reason


def test_instructions_are_counted_from_the_stamps_of_a_core_that_was_never_held() -> None:
    log = log_of(*LOADED, *STARTED)
    log.clock = lambda: Stamp(5, "m4", 99, 0)
    log.emit(CoreStopped("m4", "idle"))
    assert judge(log, []).m4_instructions == 99


def test_the_verdict_is_json_ready_whatever_happened() -> None:
    for log in (log_of(*LOADED, *STARTED), log_of(*REFUSED), log_of()):
        value = json.loads(json.dumps(judge(log, [HELD, IDLE]).as_dict()))
        assert value["monitors"][0]["held"] is True
    assert value["outcome"] == "not started"
