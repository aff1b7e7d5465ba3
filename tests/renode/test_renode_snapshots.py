"""A snapshot on Renode goes on as the run did, each time: log, memories, registers, counts, and times.

What a snapshot undoes of memories, firewall and secure world is in tests/engines/test_snapshots.py.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import programs
import pytest
from a7_probes import sending_image

from cosim import client
from cosim.access import Deny, Initiator
from cosim.engine import CoreState, StopReason
from cosim.errors import EngineError
from cosim.events import CoreStopped, FirstInstruction
from cosim.resources import firmware_file
from cosim.scripts import kernel_flow, loading, start, until_ready
from cosim.soc import Soc, SocConfig
from cosim.testing import default_signer

pytestmark = pytest.mark.usefixtures("renode")
StartM4 = Callable[..., None]

MS, US = 10**9, 10**6
RESET, HARD_FAULT = 1, 3
IPSR = 0x1FF
IPCC_C1CR, IPCC_C1MR, IPCC_RX = 0x4C001000, 0x4C001004, 132
REGISTERS = [*(f"r{n}" for n in range(16)), "cpsr"]


def everything(soc: Soc) -> tuple[object, ...]:
    """All that can be seen of a SoC."""
    log = io.StringIO()
    soc.log.write_jsonl(log)
    cores = [
        (core.state, core.retired, core.time_ps, [core.read_register(name) for name in REGISTERS])
        for core in (soc.a7, soc.m4)
    ]
    return log.getvalue(), cores, [bank.save() for bank in soc.banks.values()], soc.log.clock()


def check_goes_on_alike(soc: Soc, go_on: Callable[[], object]) -> None:
    """Whatever `go_on` does from here, it does again after each restore."""
    snapshot, before = soc.snapshot(), everything(soc)
    first = go_on(), everything(soc)
    for _ in range(3):
        soc.restore(snapshot)
        assert everything(soc) == before
        assert (go_on(), everything(soc)) == first


def booting(firmware: str, quantum: int = 1000) -> tuple[Soc, list[client.Step]]:
    """A SoC, and the steps that make the M4 run a firmware."""
    soc = Soc(SocConfig(engine="renode", deny=Deny.ABORT, quantum=quantum))
    image = default_signer().sign(firmware_file(firmware).read_bytes())
    return soc, [*loading(soc.stage(image), len(image)), start(), until_ready()]


def test_soc_that_never_ran_boots_again_and_again(soc: Soc) -> None:
    image = default_signer().sign(firmware_file("demo_m4.elf").read_bytes())
    script = kernel_flow(soc.stage(image), len(image))

    check_goes_on_alike(soc, lambda: soc.run_script(script.steps, on_error=script.on_error))


def test_first_instruction_that_was_still_to_come_is_reported_again(soc: Soc, start_m4: StartM4) -> None:
    start_m4(programs.LOOP_1, {RESET: 0x10000001})
    assert not soc.log.of(FirstInstruction)

    def go_on() -> int:
        soc.run(budget_ps=MS)
        return len(soc.log.of(FirstInstruction))

    check_goes_on_alike(soc, go_on)
    assert go_on() == 1


def test_tasks_ticks_and_floating_point_go_on_from_within_a_handler() -> None:
    soc, steps = booting("kernel_m4.elf", quantum=209)
    soc.run_script(steps)
    while not soc.m4.read_register("cpsr") & IPSR:
        soc.run(budget_ps=US)

    check_goes_on_alike(soc, lambda: soc.run(budget_ps=1200 * US))


def test_interrupts_of_blocks_go_on_as_they_did() -> None:
    soc, steps = booting("irq_probe.elf")
    soc.run_script(steps)

    check_goes_on_alike(soc, lambda: soc.run(budget_ps=MS))


def test_interrupt_that_pends_at_the_nvic_pends_again_and_another_does_not(soc: Soc, start_m4: StartM4) -> None:
    start_m4(programs.WATCH_MASKED_IRQ_103, {RESET: 0x10000001})
    soc.run(budget_ps=MS // 10)
    quiet, line = soc.snapshot(), soc.interrupts.output("ipccRx1")
    line(True)
    soc.run(budget_ps=MS // 10)
    pending, seen = soc.snapshot(), soc.m4.read_register("r2")
    assert seen

    for snapshot, expected in ((quiet, 0), (pending, seen), (quiet, 0)):
        soc.restore(snapshot)
        soc.run(budget_ps=MS // 10)
        assert soc.m4.read_register("r2") == expected


def test_sleeping_a7_is_woken_again_by_the_gic() -> None:
    soc = Soc(SocConfig(engine="renode", deny=Deny.ABORT))
    image = sending_image()
    listen = [client.write32(IPCC_C1MR, 0xFFFFFFFE), client.write32(IPCC_C1CR, 1)]
    steps = [*loading(soc.stage(image), len(image)), start(), *listen, client.wait_interrupt(IPCC_RX)]
    soc.bus.write(Initiator.DEBUG, client.STEPS_BASE, client.encode_script(steps, 0))
    soc.engine.start(soc.a7.name, soc.load_elf(firmware_file("a7_client.elf").read_bytes()))
    soc.run(lambda: soc.a7.state is CoreState.SLEEPING)
    assert soc.a7.state is CoreState.SLEEPING

    def go_on() -> tuple[int, ...]:
        soc.run(budget_ps=MS)
        memory = soc.debug_read(client.STEPS_BASE, client.script_size(len(steps)))
        return client.decode_results(steps, memory)[-1].result

    check_goes_on_alike(soc, go_on)
    assert go_on()[0] == IPCC_RX


def test_exclusive_store_succeeds_again(soc: Soc, start_m4: StartM4) -> None:
    start_m4(programs.LONG_EXCLUSIVE, {RESET: 0x10000001})
    soc.run(budget_ps=50 * US)
    assert soc.m4.read_register("r4") == 7

    def go_on() -> int:
        soc.run(budget_ps=MS)
        return soc.m4.read_register("r4")

    check_goes_on_alike(soc, go_on)
    assert go_on() == 0


def test_turns_are_as_long_again_after_a_short_one(soc: Soc, start_m4: StartM4) -> None:
    start_m4(programs.LOOP_1, {RESET: 0x10000001})
    soc.run(budget_ps=53 * US)

    check_goes_on_alike(soc, lambda: soc.run(budget_ps=5 * US))


def test_core_that_locked_up_or_stopped_since_runs_again(soc: Soc, start_m4: StartM4) -> None:
    start_m4(programs.READ_SECURE_DDR, {RESET: 0x10000001, HARD_FAULT: 0x10000001})
    start_of_all = soc.snapshot()

    assert soc.run(budget_ps=MS) is StopReason.IDLE
    assert soc.m4.state is CoreState.LOCKED_UP
    soc.run_script([client.power_off()])
    assert soc.a7.state is CoreState.OFF
    for _ in range(3):
        soc.restore(start_of_all)
        assert not soc.log.of(CoreStopped)
        assert (soc.m4.state, soc.m4.retired) == (CoreState.RUNNING, 0)
        assert soc.run(budget_ps=MS) is StopReason.IDLE
        assert soc.m4.state is CoreState.LOCKED_UP


def test_run_that_ended_by_an_error_can_be_undone(soc: Soc, start_m4: StartM4) -> None:
    start_m4(programs.LOOP_1, {RESET: 0x10000001})
    soc.run(budget_ps=MS)
    snapshot, before = soc.snapshot(), soc.m4.retired

    def fail() -> bool:
        raise ValueError("on purpose")

    with pytest.raises(ValueError, match="on purpose"):
        soc.run(fail)
    soc.restore(snapshot)
    soc.run(budget_ps=MS)

    assert soc.m4.retired == before + 209_000


def test_snapshot_of_a_soc_that_a_later_one_ended_is_refused(soc: Soc) -> None:
    snapshot = soc.snapshot()
    Soc(SocConfig(engine="renode"))

    for work in (soc.snapshot, lambda: soc.restore(snapshot)):
        with pytest.raises(EngineError, match="ended by a later one"):
            work()
