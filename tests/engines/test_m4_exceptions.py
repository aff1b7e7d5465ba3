"""The M4 takes its exceptions as the ARMv7-M architecture says; what each handler saw, read back from probe_faults.elf.

Expected values and the sections named here are those of the ARMv7-M manual (DDI 0403), not of the engine: fault status
B3.2.15 to B3.2.18, priorities and escalation B1.5.4 and B1.5.12, frames B1.5.6 and B1.5.7, return B1.5.8, derived
exceptions B1.5.11, the default memory map B3.1. In the probes the configurable faults have priority 0x40 and SVCall has
0x80, unless said otherwise. SYSRAM is denied to the M4, and denials abort.
"""

from __future__ import annotations

import pytest
from m4_probes import (
    BFARVALID,
    BUS_FAULT,
    BUSFAULTACT,
    DEBUGEVT,
    DENIED,
    FORCED,
    HARD_FAULT,
    IACCVIOL,
    IBUSERR,
    INVSTATE,
    MEM_MANAGE,
    NOTHING,
    PRECISERR,
    RUNS,
    SVCALL,
    SVCALLACT,
    TO_HANDLER,
    TO_THREAD,
    UNDEFINSTR,
    UNTOUCHED,
    USAGE_FAULT,
    USGFAULTACT,
    Run,
    T,
    run_probes,
)

from cosim.engine import CoreState
from cosim.events import CoreStopped, ExceptionTaken


@pytest.fixture(scope="module", params=RUNS, ids=str)
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


# -- data accesses (B3.2.15, BFSR) -------------------------------------------------------------------------------------


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


# -- fetches and states (B3.1.1 for execute-never, B3.2.15) ------------------------------------------------------------


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


# -- SVC and the masks (B1.5.4, B1.5.12) -------------------------------------------------------------------------------


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


# -- nesting -----------------------------------------------------------------------------------------------------------


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
