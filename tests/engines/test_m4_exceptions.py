"""The M4 takes its exceptions as the ARMv7-M architecture says; what each handler saw, read back from probe_faults.elf.

Expected values and the sections named here are those of the ARMv7-M manual (DDI 0403), not of the engine: fault status
B3.2.15 to B3.2.18, priorities and escalation B1.5.4 and B1.5.12, frames B1.5.6 and B1.5.7, return B1.5.8, derived
exceptions B1.5.11, the default memory map B3.1. In the probes the configurable faults have priority 0x40 and SVCall has
0x80, unless said otherwise. SYSRAM is denied to the M4, and denials abort.
"""

from __future__ import annotations

import pytest
from m4_probes import Run, run_probes

from cosim.engine import CoreState
from cosim.engine.unicorn.native import library_path
from cosim.events import CoreStopped, ExceptionTaken

HARD_FAULT, MEM_MANAGE, BUS_FAULT, USAGE_FAULT, SVCALL = 3, 4, 5, 6, 11
IACCVIOL, IBUSERR, PRECISERR, UNSTKERR, STKERR, BFARVALID = 1 << 0, 1 << 8, 1 << 9, 1 << 11, 1 << 12, 1 << 15
UNDEFINSTR, INVSTATE, INVPC = 1 << 16, 1 << 17, 1 << 18
FORCED, DEBUGEVT = 1 << 30, 1 << 31
BUSFAULTACT, USGFAULTACT, SVCALLACT, BUSFAULTPENDED, SVCALLPENDED = 1 << 1, 1 << 3, 1 << 7, 1 << 14, 1 << 15
TO_HANDLER, TO_THREAD, TO_PROCESS, TO_THREAD_FP = 0xFFFFFFF1, 0xFFFFFFF9, 0xFFFFFFFD, 0xFFFFFFE9
T, STACK_ALIGNED = 1 << 24, 1 << 9

DENIED, NOTHING = 0x2FFC0000, 0x70000000
GOOD, UNTOUCHED = 0x900D900D, 0x5A5A5A5A
FPSCR_PATTERN = 0xB7C0009F


@pytest.fixture(
    scope="module",
    params=[
        ("python", 1),
        pytest.param(("native", 1000), marks=pytest.mark.skipif(library_path() is None, reason="not built")),
    ],
    ids=["python-1", "native-1000"],
)
def run(request: pytest.FixtureRequest) -> Run:
    return run_probes(*request.param)


def test_every_probe_comes_to_its_end(run: Run) -> None:
    assert [r.name for r in run.results.values() if not r.finished] == []
    assert run.soc.m4.state is CoreState.SLEEPING
    assert [e.reason for e in run.soc.log.of(CoreStopped) if e.core == "m4"] == ["wfi"]


def test_every_exception_of_the_m4_is_in_the_log_with_what_its_handler_saw(run: Run) -> None:
    names = {3: "HardFault", 4: "MemManage", 5: "BusFault", 6: "UsageFault", 11: "SVCall"}
    seen = []
    for result in run.results.values():
        seen += [("SVCall", 0)] if result.name == "vector_even" else []  # its handler could not begin
        seen += [(names[r.number], r.cfsr) for r in result.records]
    assert [(e.exception, e.status) for e in run.soc.log.of(ExceptionTaken) if e.core == "m4"] == seen


# -- data accesses (B3.2.15, BFSR) --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("read", DENIED),
        ("read_byte", DENIED + 3),
        ("write", DENIED),
        ("write_double", DENIED + 8),
        ("read_nothing", NOTHING),
        ("write_nothing", NOTHING + 2),
        ("read_private", 0xE0050000),
    ],
)
def test_failed_access_is_a_precise_bus_fault_with_its_address(run: Run, name: str, address: int) -> None:
    record, result = run.one(name), run.results[name]

    assert (record.number, record.cfsr, record.hfsr) == (BUS_FAULT, PRECISERR | BFARVALID, 0)
    assert record.bfar == address
    assert record.pc == result.at
    assert (record.exc_return, record.interrupted, record.frame) == (TO_THREAD, 0, record.msp)
    assert result.values[:2] == (UNTOUCHED, address)  # neither the target nor the base register changed


@pytest.mark.parametrize("name", ["read_wide", "write_wide"])
def test_multiple_access_that_fails_in_the_middle_keeps_its_base_register(run: Run, name: str) -> None:
    record, result = run.one(name), run.results[name]

    assert (record.number, record.cfsr, record.bfar) == (BUS_FAULT, PRECISERR | BFARVALID, 0x10060000)
    assert record.pc == result.at
    assert result.values[1] == 0x1005FFF8


def test_disabled_bus_fault_escalates_to_hard_fault_and_keeps_its_status(run: Run) -> None:
    record = run.one("read_disabled")

    assert (record.number, record.hfsr, record.cfsr) == (HARD_FAULT, FORCED, PRECISERR | BFARVALID)
    assert (record.bfar, record.pc) == (DENIED, run.results["read_disabled"].at)
    assert record.shcsr & BUSFAULTACT == 0


# -- fetches and states (B3.1.1 for execute-never, B3.2.15) -------------------------------------------------------------


@pytest.mark.parametrize(("name", "address"), [("fetch_denied", DENIED), ("fetch_nothing", NOTHING)])
def test_failed_fetch_is_a_bus_fault_at_the_target_without_an_address(run: Run, name: str, address: int) -> None:
    record = run.one(name)

    assert (record.number, record.cfsr, record.hfsr) == (BUS_FAULT, IBUSERR, 0)
    assert (record.pc, record.exc_return) == (address, TO_THREAD)


@pytest.mark.parametrize(
    ("name", "address"),
    [("fetch_never_execute", 0x50000000), ("fetch_private", 0xE000E000), ("exc_return_in_thread", 0xFFFFFFF8)],
)
def test_fetch_where_nothing_may_be_executed_is_a_mem_manage_fault(run: Run, name: str, address: int) -> None:
    record = run.one(name)

    assert (record.number, record.cfsr, record.hfsr) == (MEM_MANAGE, IACCVIOL, 0)
    assert (record.pc, record.exc_return) == (address, TO_THREAD)


@pytest.mark.parametrize("name", ["undefined_16", "undefined_32"])
def test_undefined_instruction_is_a_usage_fault_at_itself(run: Run, name: str) -> None:
    record = run.one(name)

    assert (record.number, record.cfsr, record.hfsr) == (USAGE_FAULT, UNDEFINSTR, 0)
    assert record.pc == run.results[name].at


def test_branch_to_an_even_address_is_an_invalid_state_at_the_target(run: Run) -> None:
    record = run.one("even_address")

    assert (record.number, record.cfsr) == (USAGE_FAULT, INVSTATE)
    assert (record.pc, record.xpsr & T) == (run.symbols["probe_even_target"], 0)


def test_even_vector_is_an_invalid_state_inside_its_exception(run: Run) -> None:
    record = run.one("vector_even")

    assert (record.number, record.cfsr) == (USAGE_FAULT, INVSTATE)
    assert (record.interrupted, record.xpsr & T, record.exc_return) == (SVCALL, 0, TO_HANDLER)
    assert record.pc == run.symbols["fault_entry"]
    assert record.shcsr & (SVCALLACT | USGFAULTACT) == SVCALLACT | USGFAULTACT


def test_breakpoint_without_a_debugger_is_a_hard_fault_of_a_debug_event(run: Run) -> None:
    record = run.one("breakpoint")

    assert (record.number, record.hfsr, record.cfsr) == (HARD_FAULT, DEBUGEVT, 0)
    assert record.pc == run.results["breakpoint"].at


# -- SVC and the masks (B1.5.4, B1.5.12) --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "number", "hfsr", "masks"),
    [
        ("svc", SVCALL, 0, (0, 0)),
        ("svc_primask", HARD_FAULT, FORCED, (1, 0)),
        ("svc_basepri_same", HARD_FAULT, FORCED, (0, 0x80)),
        ("svc_basepri_below", SVCALL, 0, (0, 0xA0)),
    ],
)
def test_svc_is_taken_or_escalates_by_priority_and_returns_behind_itself(
    run: Run, name: str, number: int, hfsr: int, masks: tuple[int, int]
) -> None:
    record, result = run.one(name), run.results[name]

    assert (record.number, record.hfsr, record.cfsr) == (number, hfsr, 0)
    assert record.pc == result.at
    assert result.values[:3] == (1, *masks)  # the next instruction ran once, and the masks are as they were


@pytest.mark.parametrize(
    ("name", "number", "masks"),
    [
        ("read_primask", HARD_FAULT, (1, 0)),
        ("read_basepri_same", HARD_FAULT, (0, 0x40)),
        ("read_basepri_below", BUS_FAULT, (0, 0x60)),
    ],
)
def test_bus_fault_under_a_mask_of_its_priority_escalates(
    run: Run, name: str, number: int, masks: tuple[int, int]
) -> None:
    record, result = run.one(name), run.results[name]

    assert (record.number, record.hfsr) == (number, FORCED if number == HARD_FAULT else 0)
    assert (record.cfsr, record.bfar, record.pc) == (PRECISERR | BFARVALID, DENIED, result.at)
    assert result.values[:3] == (1, *masks)


@pytest.mark.parametrize(("name", "number"), [("faultmask_set", SVCALL), ("faultmask_in_hardfault", HARD_FAULT)])
def test_return_from_an_exception_clears_faultmask(run: Run, name: str, number: int) -> None:
    assert run.one(name).number == number
    assert run.results[name].values[2] == 0


# -- nesting ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["nested_read", "nested_read_nonbase"])
def test_bus_fault_preempts_the_svc_handler_and_returns_to_it(run: Run, name: str) -> None:
    outer, inner = run.two(name)

    assert (outer.number, outer.exc_return, outer.shcsr & SVCALLACT) == (SVCALL, TO_THREAD, SVCALLACT)
    assert (inner.number, inner.exc_return, inner.interrupted) == (BUS_FAULT, TO_HANDLER, SVCALL)
    assert inner.shcsr & (SVCALLACT | BUSFAULTACT) == SVCALLACT | BUSFAULTACT
    assert (outer.icsr & 0x9FF, inner.icsr & 0x9FF) == (0x800 | SVCALL, BUS_FAULT)  # RETTOBASE and VECTACTIVE
    assert inner.pc == run.symbols["probe_denied_read_at"]
    assert run.results[name].values[0] == run.results[name].values[1]  # the stack pointer came back


def test_svc_in_its_own_handler_is_a_hard_fault_behind_the_instruction(run: Run) -> None:
    _, inner = run.two("nested_svc")

    assert (inner.number, inner.hfsr, inner.cfsr) == (HARD_FAULT, FORCED, 0)
    assert (inner.exc_return, inner.interrupted) == (TO_HANDLER, SVCALL)
    assert inner.pc == run.symbols["probe_supervisor_call_resume"]


@pytest.mark.parametrize(
    ("name", "status", "label"),
    [
        ("read_in_read", PRECISERR | BFARVALID, "probe_denied_read_at"),
        ("undefined_in_read", UNDEFINSTR, "probe_undefined_at"),
        ("undefined_in_read_grouped", UNDEFINSTR, "probe_undefined_at"),  # 0x40 and 0x50 are one group for PRIGROUP 5
    ],
)
def test_fault_in_a_handler_of_the_same_priority_is_a_hard_fault(run: Run, name: str, status: int, label: str) -> None:
    outer, inner = run.two(name)

    assert outer.number == BUS_FAULT
    assert (inner.number, inner.hfsr, inner.cfsr) == (HARD_FAULT, FORCED, status)
    assert (inner.exc_return, inner.interrupted, inner.pc) == (TO_HANDLER, BUS_FAULT, run.symbols[label])


def test_usage_fault_of_higher_priority_preempts_the_bus_fault_handler(run: Run) -> None:
    _, inner = run.two("undefined_in_read_higher")

    assert (inner.number, inner.hfsr, inner.cfsr) == (USAGE_FAULT, 0, UNDEFINSTR)
    assert inner.shcsr & (BUSFAULTACT | USGFAULTACT) == BUSFAULTACT | USGFAULTACT


# -- frames (B1.5.6, B1.5.7) --------------------------------------------------------------------------------------------


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


# -- IT blocks (A7.3.2, B1.4.2) -----------------------------------------------------------------------------------------


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


# -- returns that fail (B1.5.8) -----------------------------------------------------------------------------------------


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


def test_return_to_thread_mode_past_an_active_exception_is_refused(run: Run) -> None:
    result = run.results["return_to_thread_nested"]
    _, bus, usage = result.records

    assert (result.finished, result.count) == (1, 3)
    assert (usage.number, usage.cfsr, usage.exc_return) == (USAGE_FAULT, INVPC, TO_THREAD)
    assert usage.msp == bus.msp
    assert usage.shcsr & (SVCALLACT | BUSFAULTACT | USGFAULTACT) == SVCALLACT | USGFAULTACT


# -- frames that cannot be stacked (B1.5.11) ----------------------------------------------------------------------------


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
