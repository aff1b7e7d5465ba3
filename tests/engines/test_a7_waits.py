"""The real client sleeps in WFI until an interrupt or a timeout: IPCC, generic timer, the line of the M4's watchdog."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from a7_probes import SENDS_FOR_EVER, irqs, jsonl, sending_image

from cosim import client
from cosim.access import Initiator
from cosim.client import Step, StepResult, StepStatus
from cosim.engine import CoreState
from cosim.engine.unicorn.native import library_path
from cosim.errors import RunTimeout
from cosim.events import CoreStopped, InterruptTaken, Record, WatchdogExpired
from cosim.resources import firmware_file
from cosim.scripts import kernel_flow, loading, start
from cosim.soc import Soc, SocConfig
from cosim.testing import default_signer

NATIVE = pytest.mark.skipif(library_path() is None, reason="not built")
LOOPS = ["python", pytest.param("native", marks=NATIVE)]
QUANTA = [1, 7, 100, 1000, 10_000]

TIMER, IPCC_RX, M4_WATCHDOG, M4_SEV, NOTHING, SPURIOUS = 30, 32 + 100, 32 + 143, 32 + 144, 1023, 1023
TICKS_OF_A_MICROSECOND = 24
IPCC_C1CR, IPCC_C1MR, IPCC_C2SCR = 0x4C001000, 0x4C001004, 0x4C001018
EXTI_RTSR3, EXTI_RPR3, EXTI_C1IMR3 = 0x5000D040, 0x5000D04C, 0x5000D0A0
WWDG_CR = 0x4000A000
LINE_65, LINE_68 = 1 << 1, 1 << 4
#: str r2, [r0] of the sending program, and what takes its place
STR, SEV = bytes.fromhex("0260"), bytes.fromhex("40bf")


M4_INSTRUCTION_PS = 10**6 // 209


@dataclass(frozen=True)
class Case:
    """Steps that end in a wait, what it waits for, and how long at most."""

    prepare: Sequence[Step]
    identifier: int
    timeout_us: int
    result: int
    status: StepStatus = StepStatus.DONE
    firmware: bytes = SENDS_FOR_EVER


CASES = {
    "timer": Case((), NOTHING, 100, TIMER, StepStatus.TIMED_OUT),
    "ipcc": Case((client.write32(IPCC_C1CR, 1), client.write32(IPCC_C1MR, 0xFFFFFFFE)), IPCC_RX, 1000, IPCC_RX),
    # 39 us per count of the watchdog: it expires 234 us after it was started with 5 counts left.
    "watchdog": Case(
        (client.write32(EXTI_RTSR3, LINE_68), client.write32(EXTI_C1IMR3, LINE_68), client.write32(WWDG_CR, 0xC5)),
        M4_WATCHDOG,
        5000,
        M4_WATCHDOG,
    ),
    "watchdog comes too late": Case(
        (client.write32(EXTI_RTSR3, LINE_68), client.write32(EXTI_C1IMR3, LINE_68), client.write32(WWDG_CR, 0xC5)),
        M4_WATCHDOG,
        100,
        TIMER,
        StepStatus.TIMED_OUT,
    ),
    "sev": Case(
        (client.write32(EXTI_RTSR3, LINE_65), client.write32(EXTI_C1IMR3, LINE_65)),
        M4_SEV,
        1000,
        M4_SEV,
        firmware=SENDS_FOR_EVER.replace(STR, SEV),
    ),
}


def wait(case: Case, loop: str = "auto", quantum: int = 1000) -> tuple[Soc, StepResult]:
    """Start the M4, prepare, and wait."""
    soc = Soc(SocConfig(loop=loop, quantum=quantum))
    image = sending_image(case.firmware)
    begin = [*loading(soc.stage(image), len(image)), start()]
    steps = [*begin, *case.prepare, client.wait_interrupt(case.identifier, case.timeout_us), client.spin(10)]
    results = soc.run_script(steps)
    assert results[-1].status is StepStatus.DONE  # the client goes on behind the wait
    return soc, results[-2]


@pytest.fixture(scope="module")
def usual() -> dict[str, str]:
    """The logs of the cases at the usual quantum."""
    return {name: jsonl(wait(case)[0]) for name, case in CASES.items()}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("quantum", QUANTA)
def test_client_is_woken_at_the_same_time_at_any_quantum(
    name: str, loop: str, quantum: int, usual: dict[str, str]
) -> None:
    soc, waited = wait(CASES[name], loop, quantum)

    assert waited.status is CASES[name].status
    assert waited.result[:3] == (CASES[name].result, 1, 0)
    assert [e.reason for e in soc.log.of(CoreStopped) if e.core == "a7"] == ["wfi", "wfi"]
    assert len(irqs(soc)) == 1
    assert jsonl(soc) == usual[name]


def test_timeout_is_as_long_as_the_step_says() -> None:
    soc, waited = wait(CASES["timer"])

    assert waited.result[3] == pytest.approx(100 * TICKS_OF_A_MICROSECOND, abs=3)
    [(woken, _)] = irqs(soc)
    asleep = next(r.stamp.time_ps for r in soc.log if isinstance(r.payload, CoreStopped))
    assert woken - asleep == pytest.approx(100 * 10**6, rel=0.01)


def test_watchdog_wakes_the_client_at_the_time_at_which_it_expires() -> None:
    soc, _ = wait(CASES["watchdog"])

    [expired] = [r.stamp.time_ps for r in soc.log if isinstance(r.payload, WatchdogExpired)]
    [(woken, _)] = irqs(soc)
    # The event has the time of the M4, which is behind the instruction at which the watchdog expired.
    assert -M4_INSTRUCTION_PS <= woken - expired <= 2 * 1539  # at most two instructions of the A7
    assert soc.m4.state is CoreState.HELD


def test_wait_without_limit_goes_on_until_the_budget_of_the_run() -> None:
    soc = Soc()
    image = sending_image()
    begin = [*loading(soc.stage(image), len(image)), start()]
    with pytest.raises(RunTimeout) as caught:
        soc.run_script([*begin, client.wait_interrupt(IPCC_RX)], budget_ps=10**9)

    assert caught.value.fields["step"] == len(begin)


def test_wait_that_nothing_can_end_ends_the_run_at_once() -> None:
    soc = Soc()
    [waited] = soc.run_script([client.wait_interrupt(IPCC_RX)])

    assert waited.status is StepStatus.NOT_REACHED
    assert soc.a7.time_ps < 10**6


def test_wait_for_nothing_at_all_is_over_at_once() -> None:
    [waited] = Soc().run_script([client.wait_interrupt(NOTHING)])

    assert (waited.status, waited.result[:3]) == (StepStatus.TIMED_OUT, (SPURIOUS, 0, 0))


def test_message_that_is_there_already_is_not_slept_through() -> None:
    soc = Soc()
    soc.run_script([client.write32(IPCC_C1CR, 1), client.write32(IPCC_C1MR, 0xFFFFFFFE)])
    soc.bus.write(Initiator.M4, IPCC_C2SCR, (1 << 16).to_bytes(4, "little"))
    stopped = len(soc.log.of(CoreStopped))
    [waited] = soc.run_script([client.wait_interrupt(IPCC_RX, 1000)])

    assert (waited.status, waited.result[0]) == (StepStatus.DONE, IPCC_RX)
    assert len(soc.log.of(CoreStopped)) == stopped + 1  # only the one behind the last step


def test_each_wait_of_a_script_begins_anew() -> None:
    soc = Soc()
    waits = soc.run_script([client.wait_interrupt(NOTHING, n) for n in (10, 20, 5)])

    assert [w.result[:2] for w in waits] == [(TIMER, 1)] * 3
    ticks = [w.result[3] for w in waits]
    assert ticks == pytest.approx([10 * 24, 20 * 24, 5 * 24], abs=3)


@pytest.mark.parametrize(("edge", "status"), [(False, StepStatus.TIMED_OUT), (True, StepStatus.DONE)])
def test_pulse_of_a_line_wakes_only_when_the_interrupt_is_edge_triggered(edge: bool, status: StepStatus) -> None:
    soc = Soc()
    line = soc.interrupts.output("ipccRx0")

    def pulse(record: Record) -> None:
        if isinstance(record.payload, CoreStopped):
            line(True)
            line(False)

    soc.log.listen(pulse)
    [waited] = soc.run_script([client.wait_interrupt(IPCC_RX, 50, edge=edge)])

    assert waited.status is status


def test_snapshot_of_a_sleeping_client_goes_on_as_the_run_did() -> None:
    soc = Soc()
    image = default_signer().sign(firmware_file("demo_m4.elf").read_bytes())
    steps = [*kernel_flow(soc.stage(image), len(image)).steps[:7], *CASES["watchdog"].prepare]
    script = [*steps, client.wait_interrupt(M4_WATCHDOG, 5000)]
    with pytest.raises(RunTimeout):
        soc.run_script(script, budget_ps=250 * 10**6)
    assert soc.a7.state is CoreState.SLEEPING
    snapshot = soc.snapshot()

    def go_on() -> tuple[str, int]:
        soc.run(lambda: len(soc.log.of(CoreStopped)) == 2)
        return jsonl(soc), soc.a7.time_ps

    first = go_on()
    soc.restore(snapshot)
    assert soc.a7.state is CoreState.SLEEPING
    assert go_on() == first
    assert [e.exception for e in soc.log.of(InterruptTaken)] == [f"IRQ (INTID {M4_WATCHDOG})"]


#: sev; bx lr
SEV_A7 = bytes.fromhex("04f020e31eff2fe1")
#: ldr r0, =EXTI_RPR3; 1: ldr r1, [r0]; lsls r1, r1, #29; bpl 1b; then one message over channel 1 of the IPCC
ANSWERS_SEV = bytes.fromhex("044801684907fcd50348012212040260fee700004cd000501810004c")


@pytest.mark.parametrize(("edges", "pending"), [(0, 0), (1 << 2, 1 << 2)], ids=["not selected", "selected"])
def test_sev_of_the_a7_is_an_edge_on_exti_line_66(edges: int, pending: int) -> None:
    soc = Soc()
    place = soc.stage(SEV_A7)
    result = soc.run_script([client.write32(EXTI_RTSR3, edges), client.call(place), client.read32(EXTI_RPR3)])

    assert result[-1].result[0] == pending


@pytest.mark.parametrize("quantum", QUANTA)
def test_m4_sees_sev_of_the_a7_at_the_same_time_at_any_quantum(quantum: int) -> None:
    def play(quantum: int) -> Soc:
        soc = Soc(SocConfig(quantum=quantum))
        image = sending_image(ANSWERS_SEV)
        begin = [*loading(soc.stage(image), len(image)), start()]
        listen = [*CASES["ipcc"].prepare, client.write32(EXTI_RTSR3, 1 << 2), client.spin(5000)]
        sev = client.call(soc.stage(SEV_A7, 0x100000))
        results = soc.run_script([*begin, *listen, sev, client.wait_interrupt(IPCC_RX, 1000)])
        assert results[-1].status is StepStatus.DONE
        return soc

    assert jsonl(play(quantum)) == jsonl(play(333))
