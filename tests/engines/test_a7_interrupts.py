"""The A7 takes the GIC's interrupts as the ARMv7-A manual (DDI 0406C) and the GICv2 architecture (IHI 0048B) say.

Each probe of firmware/a7/probe_irq.S is one case; the expected values are the manuals': entry B1.8.3 and Table B1-7
(link register), B1.9.10 (IRQ), B1.9.12 (FIQ), masking B1.8.6, WFI B1.8.14, WFE B1.8.13, priorities and preemption 3.3
of IHI 0048B.
"""

from __future__ import annotations

import itertools

import pytest
from a7_probes import AS_FIQ, NESTING_OVER, entry, irqs, jsonl, load_probes, read_probe, run_beside_sender, run_probe

from cosim import client
from cosim.engine import CoreState, StopReason
from cosim.engine.unicorn.native import library_path
from cosim.events import BusErrorRaised, CoreStopped, InterruptTaken
from cosim.soc import Soc, SocConfig

NATIVE = pytest.mark.skipif(library_path() is None, reason="not built")
LOOPS = ["python", pytest.param("native", marks=NATIVE)]
QUANTA = [1, 7, 100, 1000, 10_000]
RUNS = [("python", 7), pytest.param("native", 1000, marks=NATIVE)]

T, FIQS, IRQS, ABORTS = 1 << 5, 1 << 6, 1 << 7, 1 << 8  # CPSR.T, and the masks F, I, A
MODE, SVC, IRQ, FIQ = 0x1F, 0x13, 0x12, 0x11
SPURIOUS, TIMER, IPCC_RX = 1023, 30, 132

UNMASKING = [
    "cps", "msr_register", "msr_immediate", "rfe", "subs_pc_lr", "movs_pc_lr", "ldm_user",
    "thumb_cps", "thumb_cps_wide", "thumb_msr", "thumb_subs_pc_lr", "thumb_rfe",
]  # fmt: skip
THUMB = {"thumb_cps", "thumb_cps_wide", "thumb_msr"}


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("name", UNMASKING)
def test_pending_interrupt_is_taken_behind_the_instruction_that_unmasks_it(name: str, loop: str) -> None:
    probe = run_probe(name, loop)

    assert probe.finished
    [record] = probe.records
    assert (record.identifier, record.returns_to) == (1, probe.at(name))
    assert record.spsr & (MODE | IRQS | T) == SVC | (T if name in THUMB else 0)
    assert record.cpsr & (MODE | IRQS | FIQS | ABORTS | T) == IRQ | IRQS | FIQS | ABORTS


@pytest.mark.parametrize(("loop", "quantum"), RUNS)
def test_interrupt_that_an_instruction_raises_is_taken_behind_it(loop: str, quantum: int) -> None:
    probe = run_probe("open", loop, quantum)

    assert [(r.identifier, r.returns_to) for r in probe.records] == [(1, probe.at("open"))]
    [taken] = [r.stamp for r in probe.soc.log if isinstance(r.payload, InterruptTaken)]
    assert taken.pc == probe.at("open")


@pytest.mark.parametrize(("loop", "quantum"), RUNS)
def test_masked_interrupt_ends_wfi_and_is_taken_in_a_window_of_one_instruction(loop: str, quantum: int) -> None:
    probe = run_probe("masked", loop, quantum)

    assert probe.value == 1
    assert [(r.identifier, r.returns_to) for r in probe.records] == [(1, probe.at("masked"))]
    # The only sleep is the one at the probe's end.
    assert [e.reason for e in probe.soc.log.of(CoreStopped)] == ["wfi"]


@pytest.mark.parametrize(("loop", "quantum"), RUNS)
def test_failed_condition_flags_and_the_other_mask_unmask_nothing(loop: str, quantum: int) -> None:
    probe = run_probe("idle", loop, quantum)

    assert [(r.identifier, r.returns_to) for r in probe.records] == [(1, probe.at("idle"))]


def test_pending_interrupts_are_taken_by_priority() -> None:
    assert run_probe("priorities").identifiers == [2, 3, 1]


def test_interrupt_below_the_priority_mask_waits_for_the_mask_to_rise() -> None:
    probe = run_probe("pmr")

    assert [(r.identifier, r.returns_to) for r in probe.records] == [(1, probe.at("pmr"))]


def test_more_urgent_interrupt_preempts_a_handler_that_lets_it() -> None:
    probe = run_probe("nested")

    assert probe.identifiers == [1, 2, NESTING_OVER]
    outer, inner, _ = probe.records
    assert outer.returns_to == probe.at("nested")
    assert inner.spsr & MODE == SVC
    assert entry("end") > inner.returns_to  # inside the handler, which lies before the probes


def test_interrupt_of_the_same_priority_waits_for_the_end_of_the_handler() -> None:
    probe = run_probe("not_nested")

    assert probe.identifiers == [1, NESTING_OVER, 2]
    assert {r.returns_to for r in probe.records} == {probe.at("not_nested")}


def test_interrupt_that_vanishes_before_it_is_acknowledged_is_spurious() -> None:
    probe = run_probe("spurious")

    assert [(r.identifier, r.returns_to) for r in probe.records] == [(SPURIOUS, probe.at("spurious"))]


@pytest.mark.parametrize("loop", LOOPS)
def test_group_0_comes_as_fiq_with_its_own_registers_and_masks_both(loop: str) -> None:
    probe = run_probe("fiq", loop)

    fast, slow = probe.records
    assert (fast.identifier, fast.returns_to) == (AS_FIQ | 2, probe.at("fiq"))
    assert fast.cpsr & (MODE | IRQS | FIQS | ABORTS) == FIQ | IRQS | FIQS | ABORTS
    assert (slow.identifier, slow.returns_to) == (1, probe.at("fiq_irq"))
    assert slow.cpsr & (MODE | IRQS | FIQS | ABORTS) == IRQ | IRQS | ABORTS  # IRQ leaves FIQ open
    assert probe.value == 8  # r8 of the interrupted code
    assert probe.soc.log.of(InterruptTaken) == [
        InterruptTaken("a7", "FIQ (INTID 2)", 0x40, "supervisor", 1),
        InterruptTaken("a7", "IRQ (INTID 1)", 0xA0, "supervisor", 1),
    ]


def test_fiq_does_not_look_at_the_mask_of_irq() -> None:
    probe = run_probe("fiq_masked")

    assert [(r.identifier, r.returns_to) for r in probe.records] == [(AS_FIQ | 2, probe.at("fiq_masked"))]


def test_handler_runs_in_thumb_state_when_sctlr_says_so() -> None:
    [record] = run_probe("thumb_vectors").records

    assert record.identifier == 0x4000 | 1
    assert not record.spsr & T


def test_high_vectors_are_fetched_from_0xffff0000() -> None:
    soc = run_probe("high_vectors").soc

    assert soc.log.of(BusErrorRaised)[0].address == 0xFFFF0018
    assert soc.a7.state is CoreState.LOCKED_UP


def test_wfe_ends_with_an_event_the_event_stream_or_an_interrupt() -> None:
    probe = run_probe("wfe")

    assert (probe.finished, probe.value) == (True, 3)
    assert probe.ticks[0] % 16 == 8  # bit 3 of the counter has just risen
    assert [(r.identifier, r.returns_to) for r in probe.records] == [(TIMER, probe.at("wfe"))]
    assert [e.reason for e in probe.soc.log.of(CoreStopped)] == ["wfe", "wfe", "wfi"]


def test_wfe_sleeps_through_an_interrupt_that_is_masked() -> None:
    probe = run_probe("wfe_masked")

    assert probe.ticks[0] == 512  # the timer's interrupt came at about 30
    assert [e.reason for e in probe.soc.log.of(CoreStopped)] == ["wfe", "wfi"]
    assert [(r.identifier, r.returns_to) for r in probe.records] == [(TIMER, probe.at("wfe_masked"))]


@pytest.mark.parametrize("loop", LOOPS)
def test_endless_interrupt_lets_virtual_time_go_on_until_the_budget_ends(loop: str) -> None:
    probe = run_probe("storm", loop, budget_ps=10**7)

    assert not probe.finished
    assert len(irqs(probe.soc)) == 32  # the log does not grow with it
    assert probe.soc.a7.time_ps == pytest.approx(10**7, abs=2000)


@pytest.mark.parametrize(("loop", "quantum"), RUNS)
def test_generic_timer_is_read_and_written_in_both_states_under_conditions_and_in_it_blocks(
    loop: str, quantum: int
) -> None:
    probe = run_probe("timer", loop, quantum)
    frequency, first, second, untouched, compare = probe.ticks

    assert probe.finished
    assert frequency == 24_000_000
    assert 0 < first < second  # 400 instructions of 650 MHz between them
    assert second - first == pytest.approx(400 / 650 * 24, abs=2)
    assert untouched == 0
    assert compare == 0x55
    assert probe.value == 0x17  # ENABLE, IMASK, ISTATUS, and what the IT block added


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("quantum", QUANTA)
def test_timer_interrupts_a_core_at_work_at_the_first_boundary_at_which_its_counter_is_there(
    loop: str, quantum: int
) -> None:
    probe = run_probe("timer_at_work", loop, quantum)
    due_ps = probe.ticks[0] * 10**12 / 24_000_000

    assert probe.identifiers == [TIMER]
    [(taken_ps, _)] = irqs(probe.soc)
    assert 0 <= taken_ps - due_ps < 1539  # an instruction of 650 MHz


@pytest.mark.parametrize(("name", "undefined"), [("timer_user", 2), ("timer_user_allowed", 2), ("timer_undefined", 4)])
def test_timer_registers_that_software_does_not_have_are_undefined(name: str, undefined: int) -> None:
    probe = run_probe(name)

    assert (probe.finished, probe.undefined) == (True, undefined)


@pytest.mark.parametrize(("loop", "quantum"), RUNS)
def test_cycle_counter_counts_instructions_while_it_is_on(loop: str, quantum: int) -> None:
    probe = run_probe("cycles", loop, quantum)
    control, stopped, later = probe.ticks[:3]

    assert control == 0x41072000
    assert probe.value == 204
    assert stopped == later > 204
    assert probe.undefined == 1


def test_generic_timer_does_not_follow_the_clock_of_the_host() -> None:
    runs = [run_probe("timer") for _ in range(2)]

    assert runs[0].ticks == runs[1].ticks


@pytest.fixture(scope="module")
def beside_sender() -> dict[str, list[tuple[int, int]]]:
    """When the probes beside the sending M4 take its six messages at the usual quantum."""
    return {name: irqs(run_beside_sender(f"ipcc_{name}", "auto", 1000).soc) for name in ("at_work", "masked", "asleep")}


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("quantum", QUANTA)
@pytest.mark.parametrize("name", ["at_work", "masked", "asleep"])
def test_messages_of_the_m4_interrupt_the_a7_at_the_same_instruction_at_any_quantum(
    name: str, quantum: int, loop: str, beside_sender: dict[str, list[tuple[int, int]]]
) -> None:
    probe = run_beside_sender(f"ipcc_{name}", loop, quantum)

    assert probe.identifiers == [IPCC_RX] * 6
    assert irqs(probe.soc) == beside_sender[name]
    if name != "at_work":
        assert {r.returns_to for r in probe.records} == {probe.at(f"ipcc_{name}")}


@pytest.mark.parametrize("quantum", [1, 7, 10_000])
def test_message_that_comes_just_before_wfi_is_not_slept_through_at_any_quantum(quantum: int) -> None:
    usual, other = (run_beside_sender("ipcc_near", "auto", q).soc for q in (1000, quantum))
    sleeps = [r.stamp.time_ps for r in usual.log if isinstance(r.payload, CoreStopped) and r.payload.core == "a7"]

    assert 2 < len(sleeps) < 8 + 1  # some messages came before, some behind WFI; the last sleep is the probe's end
    assert jsonl(other) == jsonl(usual)


@pytest.mark.parametrize("quantum", [1, 7, 10_000])
def test_timer_and_message_at_about_the_same_time_go_by_priority_at_any_quantum(quantum: int) -> None:
    usual, other = (run_beside_sender("ipcc_and_timer", "auto", q).soc for q in (1000, quantum))

    assert jsonl(other) == jsonl(usual)
    assert {e.exception for e in usual.log.of(InterruptTaken)} == {"IRQ (INTID 30)", "IRQ (INTID 132)"}


def test_event_log_is_the_same_at_any_quantum_while_the_m4_interrupts_a_working_a7() -> None:
    assert jsonl(run_beside_sender("ipcc_at_work", "auto", 7).soc) == jsonl(
        run_beside_sender("ipcc_at_work", "auto", 10_000).soc
    )


@pytest.mark.parametrize("quantum", [1, 7, 10_000])
def test_alarms_of_other_blocks_do_not_shift_when_the_a7_sees_the_m4(quantum: int) -> None:
    tim6 = [(0x2C, 777), (0x0C, 1), (0x00, 1)]  # ARR, DIER.UIE, CR1.CEN: an alarm every few microseconds
    start_timer = [client.write32(0x40004000 + offset, value) for offset, value in tim6]
    usual, other = (run_beside_sender("ipcc_at_work", "auto", q, start_timer).soc for q in (1000, quantum))

    # The first message was there before; the others are seen at the first boundary behind a multiple of 100 ns.
    assert [time % 100_000 < 1539 for time, _ in irqs(usual)[1:]] == [True] * 5
    assert jsonl(other) == jsonl(usual)


def test_sleeping_a7_is_woken_at_the_time_of_the_message_and_a_working_one_within_the_grid(
    beside_sender: dict[str, list[tuple[int, int]]],
) -> None:
    asleep = [time for time, _ in beside_sender["asleep"]][1:]  # the first message was there already
    at_work = [time for time, _ in beside_sender["at_work"]][1:]

    period = 3037 * 10**6 / 209  # instructions of the M4 from message to message
    assert [b - a for a, b in itertools.pairwise(asleep)] == pytest.approx([period] * 4, abs=1)
    # The M4 does not wait for anybody: both probes get the same messages.
    assert all(0 < late - exact <= 100_000 + 1539 for exact, late in zip(asleep, at_work, strict=True))


@pytest.mark.parametrize("loop", LOOPS)
def test_snapshot_of_a_sleeping_a7_goes_on_as_the_run_did(loop: str) -> None:
    soc = Soc(SocConfig(loop=loop))
    load_probes(soc)
    soc.engine.start(soc.a7.name, entry("wfe"))
    soc.run(lambda: soc.a7.state is CoreState.SLEEPING and len(soc.log.of(CoreStopped)) == 2)
    snapshot = soc.snapshot()
    assert soc.run() is StopReason.IDLE
    first, log = read_probe(soc).records, jsonl(soc)
    soc.restore(snapshot)
    assert soc.a7.state is CoreState.SLEEPING
    soc.run()

    assert read_probe(soc).records == first
    assert jsonl(soc) == log


@pytest.mark.parametrize(("name", "budget_ps"), [("idle", 150_000), ("idle", 255_000), ("cycles", 400_000)])
def test_snapshot_in_the_middle_of_a_probe_goes_on_as_the_run_did(name: str, budget_ps: int) -> None:
    def rest() -> tuple[object, ...]:
        soc.run()
        probe = read_probe(soc)
        return probe.records, probe.value, probe.ticks, jsonl(soc)

    soc = Soc(SocConfig(quantum=1))
    load_probes(soc)
    soc.engine.start(soc.a7.name, entry(name))
    soc.run(budget_ps=budget_ps)
    snapshot = soc.snapshot()
    first = rest()
    soc.restore(snapshot)

    assert rest() == first
