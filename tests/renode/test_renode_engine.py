"""The engine on Renode: cores, faults, resets, SMC and the end of runs."""

from __future__ import annotations

import struct
from collections.abc import Callable

import programs
import pytest

from cosim import client
from cosim.access import Deny, Initiator
from cosim.client import FaultKind, StepStatus
from cosim.engine import CoreState, StopReason
from cosim.errors import EngineError
from cosim.events import (
    AccessDenied,
    CoreHeld,
    CoreReleased,
    CoreStopped,
    ExceptionTaken,
    FirstInstruction,
    ForeignWrite,
)
from cosim.soc import Soc, SocConfig
from ta.events import SmcEntered

MS = 10**9
A7_CODE = 0xC0080000
RESET, HARD_FAULT = 1, 3
StartM4 = Callable[..., None]


def word(soc: Soc, address: int) -> int:
    """A word of memory."""
    return int(struct.unpack("<I", soc.debug_read(address, 4))[0])


def call(soc: Soc, code: bytes, thumb: int = 1) -> int:
    """Run A7 code from the client, and return its r0."""
    soc.bus.write(Initiator.DEBUG, A7_CODE, code)
    result = soc.run_step(client.call(A7_CODE | thumb))
    assert result.status is StepStatus.DONE
    return result.result[0]


# -- the M4 ------------------------------------------------------------------------------------------------------


def test_m4_starts_at_its_vectors_and_says_so_once(soc: Soc, start_m4: StartM4) -> None:
    start_m4(programs.LOOP_1, {RESET: 0x10000001})
    assert soc.run(budget_ps=MS) is StopReason.TIME

    assert soc.log.of(CoreReleased) == [CoreReleased("m4", 0x10010000, 0x10000001)]
    assert soc.log.of(FirstInstruction) == [FirstInstruction("m4", 0x10000000)]
    assert soc.m4.state is CoreState.RUNNING
    assert 208_000 <= soc.m4.retired <= 209_000
    assert soc.m4.read_register("r1") == 1


def test_m4_held_executes_nothing(soc: Soc) -> None:
    assert soc.run(budget_ps=MS) is StopReason.IDLE
    assert soc.m4.state is CoreState.HELD
    assert soc.m4.retired == 0


def test_denied_read_becomes_a_forced_hard_fault_while_bus_faults_are_disabled(soc: Soc, start_m4: StartM4) -> None:
    code = programs.READ_SECURE_DDR.ljust(0x100, b"\0") + programs.READ_FAULT_STATUS
    start_m4(code, {RESET: 0x10000001, HARD_FAULT: 0x10000101})
    soc.run(budget_ps=MS)

    assert [soc.m4.read_register(name) for name in ("r3", "r4", "r5")] == [0x8200, 1 << 30, programs.SECURE_DDR]
    assert soc.m4.read_register("r6") == HARD_FAULT
    assert soc.log.of(ExceptionTaken) == [ExceptionTaken("m4", "HardFault", 0x8200, programs.SECURE_DDR)]
    (denial,) = soc.log.of(AccessDenied)
    assert (denial.initiator, denial.access, denial.address, denial.size) == ("m4", "read", programs.SECURE_DDR, 4)
    stamp = next(r.stamp for r in soc.log if r.payload is denial)
    assert (stamp.core, stamp.pc) == ("m4", 0x10000004)


def test_fault_in_the_hard_fault_handler_locks_the_m4_up(soc: Soc, start_m4: StartM4) -> None:
    start_m4(programs.READ_SECURE_DDR, {RESET: 0x10000001, HARD_FAULT: 0x10000001})
    assert soc.run(budget_ps=MS) is StopReason.IDLE

    assert soc.m4.state is CoreState.LOCKED_UP
    assert [event.reason[:6] for event in soc.log.of(CoreStopped) if event.core == "m4"] == ["lockup"]


def test_denied_store_is_reported_with_its_width_and_value(soc: Soc, start_m4: StartM4) -> None:
    start_m4(programs.STORE_HALFWORD, {RESET: 0x10000001, HARD_FAULT: 0x10000009})
    soc.run(budget_ps=MS)

    (denial,) = soc.log.of(AccessDenied)
    assert (denial.access, denial.address, denial.size, denial.value) == ("write", 0xDE000006, 2, 0x5678)


def test_m4_that_resets_itself_starts_again_while_boot_mcu_is_set(soc: Soc, start_m4: StartM4) -> None:
    start_m4(programs.RESET_ITSELF, {RESET: 0x10000001})
    (step,) = soc.run_script([client.spin(300_000)])

    assert step.status is StepStatus.DONE  # nothing but the M4 was reset
    assert word(soc, 0x10000400) == 3
    assert len(soc.log.of(CoreReleased)) == len(soc.log.of(FirstInstruction)) == 3
    assert len(soc.log.of(CoreHeld)) == 2
    assert soc.m4.state is CoreState.RUNNING
    assert soc.m4.retired > 1000


def test_counts_go_on_over_resets(soc: Soc, start_m4: StartM4) -> None:
    start_m4(programs.LOOP_1, {RESET: 0x10000001})
    soc.run(budget_ps=MS)
    before = soc.m4.retired
    soc.engine.hold("m4")
    assert soc.m4.retired == before
    soc.engine.release("m4")
    soc.run(budget_ps=MS)

    assert 2 * before - 2000 <= soc.m4.retired <= 2 * before + 2000


def test_m4_in_wfi_sleeps_and_the_run_is_idle(soc: Soc, start_m4: StartM4) -> None:
    start_m4(programs.SLEEP, {RESET: 0x10000001})
    assert soc.run(budget_ps=10 * MS) is StopReason.IDLE
    assert soc.m4.state is CoreState.SLEEPING
    assert soc.log.of(CoreStopped) == [CoreStopped("m4", "wfi")]


def test_code_that_the_host_writes_over_is_not_executed_any_more(soc: Soc, start_m4: StartM4) -> None:
    start_m4(programs.LOOP_1, {RESET: 0x10000001})
    soc.run(budget_ps=MS)
    soc.bus.write(Initiator.DEBUG, 0x10000000, programs.MOVS_R1_2.to_bytes(2, "little"))
    soc.run(budget_ps=MS)

    assert soc.m4.read_register("r1") == 2


def test_code_that_the_a7_writes_over_through_another_alias_is_not_executed_any_more(
    soc: Soc, start_m4: StartM4
) -> None:
    start_m4(programs.LOOP_1, {RESET: 0x00000101})
    soc.bus.write(Initiator.DEBUG, 0x38000100, programs.LOOP_1)
    soc.run(budget_ps=MS)
    changed = int.from_bytes(programs.MOVS_R1_2.to_bytes(2, "little") + programs.LOOP_1[2:], "little")
    soc.run_script([client.write32(0x38000100, changed), client.spin(10_000), client.power_off()])

    assert soc.m4.read_register("r1") == 2
    assert soc.log.of(ForeignWrite) == [ForeignWrite("a7-ns", 0x38000100, 4, changed, "retram")]


# -- the A7 ------------------------------------------------------------------------------------------------------


def test_denied_access_of_the_a7_is_a_precise_abort(soc: Soc) -> None:
    read, write, fetch = soc.run_script(
        [client.read32(0xDE000000), client.write32(0xDE000004, 5), client.call(0xDE000000)]
    )

    assert (read.fault, read.fault_status, read.fault_address) == (FaultKind.DATA_ABORT, 0x1008, 0xDE000000)
    assert (write.fault, write.fault_status, write.fault_address) == (FaultKind.DATA_ABORT, 0x1808, 0xDE000004)
    assert (fetch.fault, fetch.fault_status, fetch.fault_address) == (FaultKind.PREFETCH_ABORT, 0x1008, 0xDE000000)
    assert word(soc, 0xDE000004) == 0
    assert [(denial.access, denial.value) for denial in soc.log.of(AccessDenied)] == [
        ("read", 0),
        ("write", 5),
        ("fetch", 0),
    ]


def test_denied_access_reads_as_zero_where_the_platform_says_so(renode: None) -> None:  # noqa: ARG001
    soc = Soc(SocConfig(engine="renode", deny=Deny.RAZWI))
    soc.bus.write(Initiator.DEBUG, 0xDE000000, b"secret!!")
    read, write = soc.run_script([client.read32(0xDE000000), client.write32(0xDE000004, 5)])

    assert (read.status, read.result[0], write.status) == (StepStatus.DONE, 0, StepStatus.DONE)
    assert soc.debug_read(0xDE000000, 8) == b"secret!!"
    assert [denial.access for denial in soc.log.of(AccessDenied)] == ["read", "write"]


def test_access_to_nothing_is_an_abort(soc: Soc) -> None:
    result = soc.run_step(client.read32(0x60000000))

    assert (result.fault, result.fault_status, result.fault_address) == (FaultKind.DATA_ABORT, 0x1008, 0x60000000)


def test_smc_in_thumb_code_reaches_the_secure_world(soc: Soc) -> None:
    assert call(soc, programs.T32_SMC) == 0x00010000
    assert call(soc, programs.T32_SMC_IN_IT_BLOCK) == 0x00010001


@pytest.mark.parametrize(
    ("code", "thumb"), [(programs.T32_SMC_NOT_TAKEN, 1), (programs.A32_SMC_NOT_TAKEN, 0)], ids=["t32", "a32"]
)
def test_smc_whose_condition_fails_calls_nobody(soc: Soc, code: bytes, thumb: int) -> None:
    assert call(soc, code, thumb) == 7
    assert not soc.log.of(SmcEntered)


def test_a7_can_be_started_again_after_it_slept_and_after_power_off(soc: Soc) -> None:
    for _ in range(2):
        assert soc.run_step(client.spin(10)).status is StepStatus.DONE
        assert soc.a7.state is CoreState.SLEEPING
    soc.run_script([client.power_off()])
    assert soc.a7.state is CoreState.OFF
    assert soc.run_step(client.spin(10)).status is StepStatus.DONE


# -- runs --------------------------------------------------------------------------------------------------------


def test_run_ends_when_its_condition_becomes_true_at_an_event(soc: Soc, start_m4: StartM4) -> None:
    start_m4(programs.LOOP_1, {RESET: 0x10000001})
    assert soc.run(lambda: bool(soc.log.of(FirstInstruction)), budget_ps=MS) is StopReason.CONDITION
    assert soc.m4.retired < 100


def test_error_in_a_model_ends_the_run_with_its_own_type(soc: Soc, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_args: object) -> int:
        raise ZeroDivisionError("the model is broken")

    monkeypatch.setattr(soc.blocks["usart3"], "read", broken)
    with pytest.raises(ZeroDivisionError, match="the model is broken"):
        soc.run_step(client.read32(0x4000F01C))
    monkeypatch.undo()

    assert soc.run_step(client.read32(0x4000F01C)).status is StepStatus.DONE


def test_later_soc_ends_the_one_before_which_can_still_be_looked_at(soc: Soc) -> None:
    soc.run_script([client.write32(0x30000000, 0x1234), client.power_off()])
    count, pc = soc.a7.retired, soc.a7.pc
    later = Soc(SocConfig(engine="renode"))

    with pytest.raises(EngineError, match="ended by a later one"):
        soc.run_step(client.spin(1))
    assert (soc.a7.retired, soc.a7.pc, word(soc, 0x10000000)) == (count, pc, 0x1234)
    assert later.run_step(client.spin(1)).status is StepStatus.DONE


def test_version_names_renode_runtime_and_binding(soc: Soc) -> None:
    assert soc.engine.version.startswith("renode ")
    assert "pyrenode3" in soc.engine.version
