"""WFE ends at once on both cores, and a run uses its budget to the instruction whatever happens at its end."""

from __future__ import annotations

import pytest

from cosim import client
from cosim.access import Initiator
from cosim.client import StepStatus
from cosim.engine import CoreState, StopReason
from cosim.events import ExceptionTaken
from cosim.resources import firmware_file
from cosim.scripts import kernel_flow
from cosim.soc import Soc, SocConfig
from cosim.testing import Signer
from ta.profile import FirewallProfile

MIPS = 209
FREE = 0xC1000000
#: wfe; wfe.w; b back
M4_LOOP = bytes.fromhex("20bf aff30280 fbe7")
M4_FREE = 0x10010000
#: ldr.w pc, [pc, #0] at an aligned address; the target follows
LDR_PC_LITERAL = bytes.fromhex("dff800f0")
#: udf #0
M4_FAULT = bytes.fromhex("00de")


@pytest.fixture
def running(cosim_config: SocConfig, signer: Signer) -> Soc:
    """A SoC whose M4 is in the demo's main loop while the A7 sleeps."""
    soc = Soc(SocConfig(engine=cosim_config.engine, firewall=FirewallProfile.OPEN))
    image = signer.sign(firmware_file("demo_m4.elf"))
    soc.run_script(kernel_flow(soc.stage(image), len(image)).steps[:7])
    soc.run(budget_ps=10**7)
    return soc


def test_wfe_on_the_m4_is_no_exception_and_counts_like_any_instruction(running: Soc) -> None:
    running.bus.write(Initiator.DEBUG, running.m4.pc, M4_LOOP)
    loop, before = running.m4.pc, running.m4.retired

    assert running.run(budget_ps=10**9) is StopReason.TIME
    assert running.m4.retired - before == pytest.approx(1000 * MIPS, abs=1)
    assert loop <= running.m4.pc < loop + len(M4_LOOP)
    assert not running.log.of(ExceptionTaken)


@pytest.mark.parametrize("wfe", ["02f020e3", "02f02003"], ids=["always", "on equal, which is not so"])
def test_wfe_on_the_a7_goes_on_with_the_next_instruction(wfe: str, soc: Soc) -> None:
    # mov r0, #1; wfe; add r0, r0, #6; bx lr
    soc.bus.write(Initiator.DEBUG, FREE, bytes.fromhex("0100a0e3" + wfe + "060080e2" + "1eff2fe1"))
    step = soc.run_step(client.call(FREE))

    assert step.status is StepStatus.DONE
    assert step.result[0] == 7


@pytest.mark.parametrize("before_end", [0, 1, 2, 6])
def test_budget_is_used_up_although_a_core_faults_in_the_last_turn(before_end: int, running: Soc) -> None:
    sled = b"\x00\xbf" * (MIPS - before_end - 2) + M4_FAULT
    running.bus.write(Initiator.DEBUG, M4_FREE, sled)
    aligned = b"\x00\xbf" * (running.m4.pc >> 1 & 1)
    running.bus.write(Initiator.DEBUG, running.m4.pc, aligned + LDR_PC_LITERAL + (M4_FREE | 1).to_bytes(4, "little"))
    before = running.m4.retired

    assert running.run(budget_ps=10**6) is StopReason.TIME
    assert running.m4.state is CoreState.RUNNING
    # A turn may end up to an IT block later, never earlier.
    assert MIPS - 1 <= running.m4.retired - before <= MIPS + 5
