"""What an exception of the M4 preserves and puts back, and what happens when it cannot: frames, IT state, returns.

The probes are those of test_m4_exceptions.py, and so are the sources of the expected values.
"""

from __future__ import annotations

import pytest
from m4_probes import (
    BFARVALID,
    BUS_FAULT,
    BUSFAULTACT,
    BUSFAULTPENDED,
    DENIED,
    FORCED,
    FPSCR_PATTERN,
    GOOD,
    HARD_FAULT,
    INVPC,
    NOTHING,
    PRECISERR,
    RUNS,
    STACK_ALIGNED,
    STKERR,
    SVCALL,
    SVCALLACT,
    SVCALLPENDED,
    TO_HANDLER,
    TO_PROCESS,
    TO_THREAD,
    TO_THREAD_FP,
    UNDEFINSTR,
    UNSTKERR,
    UNTOUCHED,
    USAGE_FAULT,
    USGFAULTACT,
    Run,
    run_probes,
)


@pytest.fixture(scope="module", params=RUNS, ids=str)
def run(request: pytest.FixtureRequest) -> Run:
    return run_probes(*request.param)


# -- frames (B1.5.6, B1.5.7) -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "distance", "flag"),
    [("stack_aligned", 0x20, 0), ("stack_misaligned", 0x24, STACK_ALIGNED), ("stack_misaligned_allowed", 0x20, 0)],
)
def test_frame_is_aligned_to_eight_bytes_unless_ccr_says_otherwise(
    run: Run, name: str, distance: int, flag: int
) -> None:
    record, result = run.one(name), run.results[name]
    before, after = result.values[:2]

    assert before - record.frame == distance
    assert record.xpsr & STACK_ALIGNED == flag
    assert after == before


@pytest.mark.parametrize(("name", "number"), [("process_svc", SVCALL), ("process_fault", BUS_FAULT)])
def test_thread_on_the_process_stack_has_its_frame_there_and_comes_back_to_it(run: Run, name: str, number: int) -> None:
    record, result = run.one(name), run.results[name]
    before, after, control, untouched = result.values[:4]

    assert (record.number, record.exc_return) == (number, TO_PROCESS)
    assert record.frame == before - 0x20 != record.msp
    assert (after, control, untouched) == (before, 2, UNTOUCHED)


@pytest.mark.parametrize(("name", "number"), [("fp_svc", SVCALL), ("fp_fault", BUS_FAULT)])
def test_fp_registers_and_fpscr_survive_a_handler_that_uses_the_fpu(run: Run, name: str, number: int) -> None:
    record, result = run.one(name), run.results[name]
    different, fpscr, control, _, entered, fresh, used, _ = result.values

    assert (record.number, record.exc_return) == (number, TO_THREAD_FP)
    assert (different, fpscr, control) == (0, FPSCR_PATTERN, 4)
    assert (entered, fresh, used) == (0, 0, 4)  # CONTROL.FPCA is clear on entry, FPSCR new with its first use (B1.5.7)


def test_handler_that_is_first_to_use_the_fpu_leaves_no_fp_context_behind(run: Run) -> None:
    record, result = run.one("fp_unused"), run.results["fp_unused"]

    assert record.exc_return == TO_THREAD
    assert (result.values[2], result.values[6]) == (0, 4)


# -- IT blocks (A7.3.2, B1.4.2) ----------------------------------------------------------------------------------------


def it_state(first_condition: int, mask: int, advanced: int) -> int:
    """ITSTATE after `advanced` members of the block that IT opens with this condition and mask."""
    state = first_condition << 4 | mask
    for _ in range(advanced):
        state = 0 if state & 7 == 0 else state & 0xE0 | state << 1 & 0x1F
    return state


EQ, NE = 0, 1


@pytest.mark.parametrize(
    ("name", "state", "values"),
    [
        ("it_ittt", it_state(EQ, 0b0010, 1), (1, GOOD, 3, 0)),
        ("it_itete", it_state(NE, 0b0101, 1), (0, GOOD, 0, 4)),
        ("it_first", it_state(EQ, 0b1100, 0), (0, GOOD, 3, 0)),
        ("it_last", it_state(EQ, 0b0100, 1), (1, GOOD, 3, 0)),
    ],
)
def test_fault_inside_an_it_block_stacks_its_state_and_the_rest_executes_rightly_after_return(
    run: Run, name: str, state: int, values: tuple[int, ...]
) -> None:
    record, result = run.one(name), run.results[name]

    assert (record.number, record.cfsr, record.bfar) == (BUS_FAULT, PRECISERR | BFARVALID, DENIED)
    assert (record.pc, record.it_state) == (result.at, state)
    assert result.values[:4] == values


@pytest.mark.parametrize(
    ("name", "address", "state", "stored"),
    [
        ("it_store", DENIED, it_state(EQ, 0b0001, 1), 1),
        ("it_store_wide", DENIED, it_state(EQ, 0b0010, 1), 1),
        ("it_store_nothing", NOTHING, it_state(EQ, 0b0010, 1), None),
    ],
)
def test_nothing_behind_a_faulting_store_in_an_it_block_has_happened_when_its_handler_runs(
    run: Run, name: str, address: int, state: int, stored: int | None
) -> None:
    record, result = run.one(name), run.results[name]

    assert (record.number, record.cfsr, record.bfar) == (BUS_FAULT, PRECISERR | BFARVALID, address)
    assert (record.pc, record.it_state) == (result.at, state)
    assert result.values[5:7] == (0, 0)
    assert result.values[4] == (stored or run.symbols["probe_good_words"])  # after the return it has


def test_access_that_an_it_block_skips_does_not_fault(run: Run) -> None:
    result = run.results["it_skipped"]

    assert (result.finished, result.count) == (1, 0)
    assert result.values[:4] == (1, 0, 0, 4)


def test_svc_inside_an_it_block_returns_into_the_rest_of_it(run: Run) -> None:
    record, result = run.one("it_svc"), run.results["it_svc"]

    assert (record.number, record.pc, record.it_state) == (SVCALL, result.at, it_state(EQ, 0b0111, 1))
    assert result.values[:4] == (1, 0, 0, 0)


# -- returns that fail (B1.5.8) ----------------------------------------------------------------------------------------


def test_illegal_exc_return_is_a_usage_fault_on_the_frame_that_is_there(run: Run) -> None:
    svc, fault = run.two("return_illegal")

    assert (fault.number, fault.cfsr, fault.hfsr) == (USAGE_FAULT, INVPC, 0)
    assert fault.exc_return == 0xFFFFFFF5
    assert fault.msp == svc.msp  # no second frame was pushed
    assert fault.shcsr & (SVCALLACT | USGFAULTACT) == USGFAULTACT
    assert run.results["return_illegal"].values[0] == run.results["return_illegal"].values[1]


def test_illegal_exc_return_with_usage_fault_disabled_is_a_hard_fault(run: Run) -> None:
    svc, fault = run.two("return_illegal_disabled")

    assert (fault.number, fault.cfsr, fault.hfsr) == (HARD_FAULT, INVPC, FORCED)
    assert (fault.exc_return, fault.msp) == (0xFFFFFFF5, svc.msp)


def test_return_to_handler_mode_without_an_exception_to_return_to_is_refused(run: Run) -> None:
    svc, fault = run.two("return_to_handler_alone")

    assert (fault.number, fault.cfsr, fault.exc_return) == (USAGE_FAULT, INVPC, TO_HANDLER)
    assert (fault.msp, fault.pc) == (svc.msp, svc.pc)


@pytest.mark.parametrize("name", ["return_to_thread_nested", "return_to_thread_forged"])
def test_return_to_thread_mode_past_an_active_exception_is_refused(run: Run, name: str) -> None:
    result = run.results[name]
    _, bus, usage = result.records

    assert (result.finished, result.count) == (1, 3)
    assert (usage.number, usage.cfsr, usage.exc_return) == (USAGE_FAULT, INVPC, TO_THREAD)
    assert usage.msp == bus.msp
    assert usage.shcsr & (SVCALLACT | BUSFAULTACT | USGFAULTACT) == SVCALLACT | USGFAULTACT


# -- frames that cannot be stacked (B1.5.11) ---------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "stack"), [("stacking_error_svc", NOTHING), ("stacking_error_denied", DENIED)])
def test_stacking_error_is_taken_first_and_the_less_urgent_exception_afterwards(
    run: Run, name: str, stack: int
) -> None:
    fault, svc = run.two(name)

    assert (fault.number, fault.cfsr, fault.hfsr) == (BUS_FAULT, STKERR, 0)
    assert fault.exc_return == TO_PROCESS
    assert run.results[name].values[4] == fault.frame == stack + 0x100 - 0x20
    assert fault.shcsr & (SVCALLACT | SVCALLPENDED | BUSFAULTACT) == SVCALLPENDED | BUSFAULTACT
    assert (svc.number, svc.exc_return) == (SVCALL, TO_PROCESS)
    assert svc.shcsr & (SVCALLACT | SVCALLPENDED) == SVCALLACT


def test_stacking_error_of_a_bus_fault_is_the_same_bus_fault(run: Run) -> None:
    record = run.one("stacking_error_fault")

    assert (record.number, record.hfsr) == (BUS_FAULT, 0)
    assert (record.cfsr, record.bfar) == (STKERR | PRECISERR | BFARVALID, DENIED)


def test_stacking_error_waits_for_an_exception_that_is_more_urgent(run: Run) -> None:
    usage, bus = run.two("stacking_error_late")

    assert (usage.number, usage.cfsr) == (USAGE_FAULT, UNDEFINSTR | STKERR)
    assert usage.shcsr & BUSFAULTPENDED
    assert (bus.number, bus.exc_return, bus.shcsr & BUSFAULTPENDED) == (BUS_FAULT, TO_PROCESS, 0)


def test_unstacking_error_is_a_bus_fault_that_replaces_the_handler(run: Run) -> None:
    svc, fault = run.two("unstacking_error")

    assert (fault.number, fault.cfsr, fault.hfsr) == (BUS_FAULT, UNSTKERR, 0)
    assert (fault.exc_return, fault.frame, fault.msp) == (TO_PROCESS, NOTHING + 0x100, svc.msp)
    assert fault.shcsr & (SVCALLACT | BUSFAULTACT) == BUSFAULTACT
