"""WFE and SEV; a run uses its budget to the instruction, and ends even where guest code makes no progress."""

from __future__ import annotations

import dataclasses

import pytest

from cosim import client
from cosim.access import Initiator
from cosim.client import StepStatus
from cosim.engine import CoreState, StopReason
from cosim.errors import RunTimeout
from cosim.events import CoreStopped, ExceptionTaken
from cosim.pytest_plugin import MakeSoc
from cosim.resources import firmware_file
from cosim.scripts import kernel_flow
from cosim.soc import Soc, SocConfig
from cosim.testing import Signer
from ta.profile import FirewallProfile

MIPS = 209
FREE = 0xC1000000
#: sev; wfe; sev; wfe.w; b back
M4_LOOP = bytes.fromhex("40bf 20bf 40bf aff30280 f9e7")
#: sev; wfe; wfe
M4_TWICE = bytes.fromhex("40bf 20bf 20bf")
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


def test_wfe_behind_sev_counts_like_any_instruction_of_the_m4(running: Soc) -> None:
    running.bus.write(Initiator.DEBUG, running.m4.pc, M4_LOOP)
    loop, before = running.m4.pc, running.m4.retired

    assert running.run(budget_ps=10**7) is StopReason.TIME
    assert running.m4.retired - before == pytest.approx(10 * MIPS, abs=1)
    assert loop <= running.m4.pc < loop + len(M4_LOOP)
    assert not running.log.of(ExceptionTaken)


@pytest.mark.usefixtures("events_of_wfe")
def test_m4_sleeps_in_wfe_once_the_event_is_used_up(running: Soc) -> None:
    running.bus.write(Initiator.DEBUG, running.m4.pc, M4_TWICE)
    code, before = running.m4.pc, running.m4.retired

    assert running.run(budget_ps=10**9) is StopReason.IDLE
    assert (running.m4.state, running.m4.pc) == (CoreState.SLEEPING, code + len(M4_TWICE))
    assert running.m4.retired == before + 3
    assert running.log.of(CoreStopped)[-1] == CoreStopped("m4", "wfe")


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


@pytest.mark.parametrize(
    ("vbar", "exception"),
    [(0x00000000, "prefetch-abort"), (0xC1000100, "undefined-instruction")],
    ids=["vectors that are not there", "vectors that are undefined instructions"],
)
def test_endless_exceptions_of_the_a7_stop_the_core_and_not_the_host(vbar: int, exception: str, soc: Soc) -> None:
    # mcr p15, 0, r1, c12, c0, 0 (VBAR from the literal behind); udf #0
    code = "08109fe5" + "101f0cee" + "f000f0e7" + "feffffea" + vbar.to_bytes(4, "little").hex()
    soc.bus.write(Initiator.DEBUG, FREE, bytes.fromhex(code))
    soc.bus.write(Initiator.DEBUG, FREE + 0x100, bytes.fromhex("f000f0e7") * 8)
    step = soc.run_step(client.call(FREE))

    assert step.status is StepStatus.NOT_REACHED
    assert soc.a7.state is CoreState.LOCKED_UP
    assert [e.reason for e in soc.log.of(CoreStopped)][-1].startswith(f"endless {exception}")
    assert len(soc.log.of(ExceptionTaken)) < 20


def test_core_goes_on_after_many_exceptions_with_instructions_between_them(soc: Soc) -> None:
    results = soc.run_script([client.read32(0x70000000)] * 30)

    assert [r.status for r in results] == [StepStatus.FAULTED] * 30


def test_flood_of_events_ends_the_run_with_a_typed_error(make_soc: MakeSoc, cosim_config: SocConfig) -> None:
    soc = make_soc(dataclasses.replace(cosim_config, most_events=1000))
    with pytest.raises(RunTimeout, match="1000 events") as caught:
        soc.run_script([client.copy(FREE, 0x2FFC0000, 0x40000)])

    assert "repeated" in caught.value.hint
    assert len(soc.log) < 100_000
