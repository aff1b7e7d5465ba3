"""The M4 takes interrupts as the ARMv7-M architecture says: a table of cases, each naming its section of DDI 0403.

The cases are firmware (firmware/m4/nvic_*.c); every value is what the M4 wrote about itself. Expected values are the
manual's, not the engine's. In the cases the interrupts A to D are 20 to 23.
"""

from __future__ import annotations

import itertools

import pytest
from m4_nvic import RETURN, Cases, run_cases
from m4_probes import RUNS

from cosim.engine import CoreState

NMI, MEM_MANAGE, BUS_FAULT, USAGE_FAULT, SVCALL, PENDSV, SYSTICK = 2, 4, 5, 6, 11, 14, 15
A, B, C, D, EXTI0 = 36, 37, 38, 39, 22
TO_HANDLER, TO_THREAD, TO_PROCESS, TO_THREAD_FP = 0xFFFFFFF1, 0xFFFFFFF9, 0xFFFFFFFD, 0xFFFFFFE9
BIT_A, BIT_B, BIT_EXTI0 = 1 << 20, 1 << 21, 1 << 6
MUNSTKERR, MSTKERR, PRECISERR, BFARVALID, NOCP, DIVBYZERO = 1 << 3, 1 << 4, 1 << 9, 1 << 15, 1 << 19, 1 << 25
INVPC, SVCALLACT = 1 << 18, 1 << 7
RETTOBASE, ISRPENDING, PENDSTSET, PENDSVSET = 1 << 11, 1 << 22, 1 << 26, 1 << 28
FPCCR_DEFAULT, LSPACT, THREAD, READY = 0xC0000000, 1 << 0, 1 << 3, 0x70
S0, S15, S16, S31, FPSCR, SENTINEL = 0x3F800000, 0x3F80000F, 0x3F800010, 0x3F80001F, 0x03000000, 0x5E5E5E5E


def after(*numbers: int) -> tuple[int, ...]:
    """A trace of handlers, each of which ends before the next begins."""
    return tuple(entry for number in numbers for entry in (number, number | RETURN))


def inside(outer: int, *inner: int) -> tuple[int, ...]:
    """A trace of handlers that preempt `outer`."""
    return (outer, *after(*inner), outer | RETURN)


#: Case: (section, trace, first values).
TABLE: dict[str, tuple[str, tuple[int, ...], tuple[int, ...]]] = {
    "higher_preempts": ("B1.5.4", inside(A, B), ()),
    "same_does_not_preempt": ("B1.5.4", after(A, B), ()),
    "lower_bits_are_not_there": ("B3.4.9", after(A, B), (0x80, 0x8080)),
    "subpriority_does_not_preempt": ("B1.5.4", after(A, C, B), ()),
    "number_decides_among_equals": ("B1.5.4", after(B, A, C, D), ()),
    "priority_raised_while_active": ("B1.5.4", inside(A, B), ()),
    "cps_unmasks_at_once": ("B5.2.1", after(A), (1,)),
    "msr_unmasks_at_once": ("B5.2.3", after(A), (1,)),
    "basepri_unmasks_at_once": ("B5.2.3", after(A), (0x60,)),
    "faultmask_unmasks_at_once": ("B5.2.1", after(A), (1,)),
    "unmasking_in_an_it_block": ("B5.2.3", after(A), (2,)),
    "pended_by_store": ("B3.4.5", after(A), (1,)),
    "basepri_lets_more_urgent_ones_through": ("B1.4.3", after(A, B), (1, BIT_B, 2)),
    "nmi_goes_before_faultmask": ("B1.5.8", after(NMI, A), (1, 1, 2, 0, 1, 1)),
    "return_clears_faultmask": ("B1.5.8", after(A), (0,)),
    "registers_in_a_handler": (
        "B3.4",
        after(A),
        (BIT_A | BIT_B, BIT_B, BIT_A, A | RETTOBASE | ISRPENDING | B << 12, 0, BIT_A, 0, BIT_B, RETTOBASE, 4, 0x3FFFFF),
    ),
    "rettobase": ("B3.2.4", inside(A, B), (A | RETTOBASE, B, RETTOBASE)),
    "software_trigger": ("B3.2.26", after(A), (1,)),
    "trigger_by_unprivileged": ("B3.2.8", after(A, SVCALL), (3,)),
    "unprivileged_is_kept_out": ("B3.1.1", after(BUS_FAULT, SVCALL), (3, PRECISERR | BFARVALID, 0xE000EF00)),
    "pendsv_and_systick_by_icsr": (
        "B3.2.4",
        after(PENDSV, SYSTICK),
        (PENDSVSET | PENDSTSET | PENDSV << 12 | RETTOBASE, PENDSVSET | PENDSV << 12 | RETTOBASE, RETTOBASE),
    ),
    "identity": ("B4.1", (), (0x410FC241, 0x00100030, 0x02112000, 0x10110021, 8 << 8, 1 << 30, 0x500)),
    "debug_blocks_do_not_hang": ("C1.7", (), (1, 0, 0, 4)),
    "level_stays_high": ("B3.4.1", after(EXTI0, EXTI0, EXTI0), (3, 0, BIT_EXTI0, BIT_EXTI0, 0)),
    "own_store_is_late": ("B1.5.14", after(EXTI0), (1,)),
    "own_store_in_an_it_block_is_late": ("B1.5.14", after(EXTI0), (1,)),
    "store_behind_it_is_made": ("B1.5.14", after(EXTI0), (1, 0)),
    "late_one_ends_a_wfi": ("B1.5.19", after(EXTI0), (1,)),
    "late_one_pended_by_software": ("B3.4.5", after(EXTI0), (1,)),
    "active_bits_are_written": ("B3.2.13", after(A, B), (SVCALLACT, 0, 1, 2, 0)),
    "handler_that_is_not_active_returns": ("B1.5.8", after(SVCALL, USAGE_FAULT), (SVCALLACT, 0, SVCALL, INVPC)),
    "tail_chaining": ("B1.5.12", after(A, B), ()),
    "interrupt_of_a_process": ("B1.5.6", after(A, SVCALL), (2,)),
    "interrupt_of_an_unprivileged_process": ("B1.5.6", after(A, SVCALL), (3,)),
    "systick_period": ("B3.3.1", after(*[SYSTICK] * 4), (4,)),
    "reference_clock_period": ("B3.3.3", after(*[SYSTICK] * 4), (4,)),
    "one_shot": ("B3.3.1", after(SYSTICK), (0, 1)),
    "wfi_wakes_under_primask": ("B1.5.19", after(SYSTICK), (1, 0, 1, 1, 1)),
    "wfi_takes_the_interrupt": ("B1.5.19", after(SYSTICK), (1,)),
    "wfi_goes_on_when_something_pends": ("B1.5.19", after(A), (0, 1)),
    "wfi_disregards_what_basepri_holds_back": ("B1.5.19", after(SYSTICK, A), (1, SYSTICK)),
    "wfe_uses_the_event_up": ("B1.5.18", after(SYSTICK), (0, 1, 1)),
    "sevonpend_wakes_from_wfe": ("B1.5.18", (), (0, 1)),
    "sleep_on_exit": ("B1.5.20", after(*[SYSTICK] * 3), (3, 3)),
    "lazy_frame_is_written_at_first_use": (
        "B1.5.7",
        after(A),
        (FPCCR_DEFAULT | LSPACT | THREAD | READY, 0x20, SENTINEL, 0, S0, S15, FPSCR, 0),
    ),
    "lazy_frame_is_never_written_without_use": (
        "B1.5.7",
        after(A),
        (FPCCR_DEFAULT | LSPACT | THREAD | READY, 0x20, SENTINEL, 0, 0, 0, 0, 0),
    ),
    "first_use_in_an_it_block": ("B1.5.7", after(A), (1, 0, S0, S16, S31, 0, 0, 0)),
    "inner_handler_writes_the_outer_frame": ("B1.5.7", inside(A, B), (0, S0, 0, 0, 0, 0, 0, 0)),
    "new_context_has_fpdscr": ("B3.2.24", after(A), (0x02400000, 0, 0, 0, 0, 0, 0, 0)),
    "division_by_zero_without_trap": ("B3.2.8", (), (0, 1)),
}

#: Cases in which a store of the M4 to a block raises a line, and where it is taken: four instructions later.
LATE = (
    ("own_store_is_late", "nvic_late_at"),
    ("own_store_in_an_it_block_is_late", "nvic_late_in_block_at"),
    ("store_behind_it_is_made", "nvic_late_and_masked_at"),
)


@pytest.fixture(scope="module", params=RUNS, ids=str)
def cases(request: pytest.FixtureRequest) -> Cases:
    return run_cases(*request.param)


def test_every_case_comes_to_its_end(cases: Cases) -> None:
    assert [name for name, case in cases.results.items() if not case.finished] == []
    assert cases.soc.m4.state is CoreState.SLEEPING
    assert set(TABLE) < set(cases.results)


@pytest.mark.parametrize("name", TABLE)
def test_case_of_the_manual(cases: Cases, name: str) -> None:
    _, trace, values = TABLE[name]
    case = cases.results[name]

    assert case.trace == trace
    assert case.values[: len(values)] == values


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("cps_unmasks_at_once", "nvic_unmask_cps_at"),
        ("msr_unmasks_at_once", "nvic_unmask_msr_at"),
        ("basepri_unmasks_at_once", "nvic_unmask_basepri_at"),
        ("faultmask_unmasks_at_once", "nvic_unmask_faultmask_at"),
        ("unmasking_in_an_it_block", "nvic_unmask_in_block_at"),
        ("pended_by_store", "nvic_pend_now_at"),
        *LATE,
        ("late_one_ends_a_wfi", "nvic_late_asleep_at"),
        ("late_one_pended_by_software", "nvic_late_and_pended_at"),
        ("fpu_without_access", "nvic_use_fpu_at"),
        ("fpu_for_privileged_only", "nvic_use_fpu_at"),
        ("coprocessor_that_is_not_there", "nvic_other_coprocessor_at"),
        ("division_by_zero_traps", "nvic_divide_at"),
        ("division_by_zero_in_an_it_block", "nvic_divide_in_block_at"),
    ],
)
def test_exception_is_taken_at_the_exact_instruction(cases: Cases, name: str, label: str) -> None:
    assert cases.results[name].seen[0].pc == cases.symbols[label]


@pytest.mark.parametrize(
    ("name", "status", "trace"),
    [
        ("fpu_without_access", NOCP, after(USAGE_FAULT)),
        ("fpu_for_privileged_only", NOCP, after(USAGE_FAULT, SVCALL)),
        ("coprocessor_that_is_not_there", NOCP, after(USAGE_FAULT)),
        ("division_by_zero_traps", DIVBYZERO, after(USAGE_FAULT)),
        ("division_by_zero_in_an_it_block", DIVBYZERO, after(USAGE_FAULT)),
        ("stacking_into_a_guard", MSTKERR, after(MEM_MANAGE, SVCALL, SVCALL)),
        ("unstacking_from_a_guard", MUNSTKERR, after(SVCALL, MEM_MANAGE)),
    ],
)
def test_fault_has_its_status(cases: Cases, name: str, status: int, trace: tuple[int, ...]) -> None:
    case = cases.results[name]

    assert case.values[0] == status
    assert case.trace == trace


def test_division_goes_on_as_its_operands_say(cases: Cases) -> None:
    assert cases.results["division_by_zero_traps"].values[2:5] == (7, 0, 42)
    # ITSTATE came back: one was counted before the division, and is added behind it.
    assert cases.results["division_by_zero_in_an_it_block"].values[2:4] == (1, 42 // 7 + 1)
    assert cases.results["division_by_zero_in_an_it_block"].seen[0].xpsr & 0x0600FC00 == 1 << 10  # EQ, two to come


def test_tail_chained_handler_begins_on_the_frame_that_is_there(cases: Cases) -> None:
    first, second = cases.results["tail_chaining"].seen

    assert (second.msp, second.frame, second.pc, second.exc_return) == (
        first.msp, first.frame, first.pc, first.exc_return,
    )  # fmt: skip


def test_nested_handler_has_a_frame_of_its_own(cases: Cases) -> None:
    outer, inner = cases.results["higher_preempts"].seen

    assert (outer.exc_return, inner.exc_return) == (TO_THREAD, TO_HANDLER)
    assert inner.frame <= outer.frame - 0x20
    assert inner.xpsr & 0x1FF == A


@pytest.mark.parametrize(
    ("name", "control"), [("interrupt_of_a_process", 0), ("interrupt_of_an_unprivileged_process", 1)]
)
def test_interrupt_of_a_process_uses_both_stacks_and_leaves_its_privilege_alone(
    cases: Cases, name: str, control: int
) -> None:
    interrupt, _ = cases.results[name].seen

    assert interrupt.exc_return == TO_PROCESS
    assert interrupt.frame != interrupt.msp
    assert interrupt.control == control


def test_tick_at_the_same_instruction_as_an_svc_arrives_late_and_goes_first(cases: Cases) -> None:
    """B1.5.11: one frame, the more urgent handler on it, then the other; one instruction later it preempts."""
    tick, svc, preempting = cases.results["tick_meets_svc"].seen[:3]

    assert (tick.number, tick.exc_return, tick.icsr >> 12 & 0x1FF) == (SYSTICK, TO_THREAD, SVCALL)
    assert (svc.number, svc.exc_return, svc.frame, svc.pc) == (SVCALL, TO_THREAD, tick.frame, tick.pc)
    assert (preempting.number, preempting.exc_return) == (SYSTICK, TO_HANDLER)


@pytest.mark.parametrize(("name", "period"), [("systick_period", 1000), ("reference_clock_period", 8 * 100)])
def test_tick_has_the_period_of_its_reload_value(cases: Cases, name: str, period: int) -> None:
    """B3.3: RELOAD + 1 clocks; the reference clock of an STM32 is an eighth."""
    stamps = cases.results[name].values[1:5]

    assert [later - earlier for earlier, later in itertools.pairwise(stamps)] == [period] * 3


def test_systick_registers_behave_as_the_manual_says(cases: Cases) -> None:
    """B3.3.3 to B3.3.5: COUNTFLAG is cleared by a read of CSR and by a write to CVR, and disabling stops the count."""
    reset, first, less, csr, counted, cleared, written, stopped, still, reload = cases.results["systick_counts"].values[
        :10
    ]

    assert (reset, first, less, reload) == (0, 999, 1, 999)
    assert (csr, counted, cleared, written) == (5, 0x10005, 5, 5)
    assert 0 < stopped == still < 999


def test_cycle_counter_counts_instructions_while_it_is_enabled(cases: Cases) -> None:
    first, second, stopped, later, held, still_held, wrapped = cases.results["cycle_counter"].values[:7]

    assert 0 < second - first < 10
    assert stopped == later
    assert 0 <= held - later < 10
    assert held == still_held
    assert wrapped == 1


def test_frame_is_written_at_once_without_lspen(cases: Cases) -> None:
    case = cases.results["frame_is_written_at_once_without_lspen"]

    assert (case.values[0], case.values[2], case.seen[0].exc_return) == (1 << 31, S0, TO_THREAD_FP)


def test_cases_are_the_same_at_every_quantum_to_the_instruction(cases: Cases) -> None:
    def m4(soc: Cases) -> list[dict[str, object]]:
        return [{k: v for k, v in r.as_dict().items() if k != "sequence"} for r in soc.soc.log if r.stamp.core == "m4"]

    for quantum in (7, 100, 10_000):
        other = run_cases(quantum=quantum)
        assert other.results == cases.results
        assert m4(other) == m4(cases)
