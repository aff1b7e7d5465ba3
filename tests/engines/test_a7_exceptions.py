"""The A7 takes its aborts as the ARMv7-A architecture says, seen through the steps of the real normal-world client.

Expected values are those of the ARMv7-A manual (DDI 0406): fault status in the short-descriptor format B3.13.3 (0x008
is a synchronous external abort, bit 12 ExT, bit 11 WnR), link registers and vectors B1.8. SYSRAM belongs to the secure
world. The client goes on behind a faulting access, and at the caller after a faulting fetch.
"""

from __future__ import annotations

import io
import struct

import pytest

from cosim import client
from cosim.access import Deny
from cosim.client import FaultKind, Step, StepResult, StepStatus
from cosim.engine import CoreState
from cosim.engine.unicorn.native import library_path
from cosim.events import AccessDenied, BusErrorRaised, ExceptionTaken
from cosim.soc import Soc, SocConfig

SECURE, NOTHING = 0x2FFC0000, 0x70000000
RULE = "ETZPC_TZMA1_SIZE.R0SIZE"
READ_ABORT, WRITE_ABORT, FETCH_ABORT = 0x1008, 0x1808, 0x1008
LOOPS = ["python", pytest.param("native", marks=pytest.mark.skipif(library_path() is None, reason="not built"))]

UDF_A32, BX_LR_A32 = 0xE7F000F0, 0xE12FFF1E
UDF_T16, UDF_T32, BX_LR_T16, NOP_T16 = 0xDE00, 0xF7F0A000, 0x4770, 0xBF00


def code(*parts: tuple[int, int]) -> bytes:
    """Instructions as (value, bytes); a T32 instruction is two halfwords, the first one in the upper half."""
    out = b""
    for value, size in parts:
        out += struct.pack("<HH", value >> 16, value & 0xFFFF) if size == -4 else value.to_bytes(size, "little")
    return out


def outcome(step: StepResult) -> tuple[StepStatus, FaultKind, int, int]:
    """What a step says of its fault."""
    return step.status, step.fault, step.fault_status, step.fault_address


def jsonl(soc: Soc) -> str:
    """The whole event log."""
    stream = io.StringIO()
    soc.log.write_jsonl(stream)
    return stream.getvalue()


@pytest.fixture(params=LOOPS)
def soc(request: pytest.FixtureRequest) -> Soc:
    """A SoC on which denials abort."""
    return Soc(SocConfig(deny=Deny.ABORT, loop=request.param))


FAULTS = {
    "denied-read": (client.read32(SECURE + 4), FaultKind.DATA_ABORT, READ_ABORT, SECURE + 4),
    "denied-write": (client.write32(SECURE + 8, 1), FaultKind.DATA_ABORT, WRITE_ABORT, SECURE + 8),
    "denied-fetch": (client.call(SECURE + 0x100), FaultKind.PREFETCH_ABORT, FETCH_ABORT, SECURE + 0x100),
    "read-of-nothing": (client.read32(NOTHING), FaultKind.DATA_ABORT, READ_ABORT, NOTHING),
    "write-to-nothing": (client.write32(NOTHING, 1), FaultKind.DATA_ABORT, WRITE_ABORT, NOTHING),
    "fetch-from-nothing": (client.call(NOTHING), FaultKind.PREFETCH_ABORT, FETCH_ABORT, NOTHING),
    "fetch-from-a-block": (client.call(0x50000000), FaultKind.PREFETCH_ABORT, FETCH_ABORT, 0x50000000),
    "denied-block": (client.read32(0x5C006000), FaultKind.DATA_ABORT, READ_ABORT, 0x5C006000),
    "thumb-fetch": (client.call(SECURE + 1), FaultKind.PREFETCH_ABORT, FETCH_ABORT, SECURE),
}


@pytest.mark.parametrize(("step", "kind", "status", "address"), FAULTS.values(), ids=FAULTS)
def test_fault_has_its_status_and_address_and_execution_goes_on(
    soc: Soc, step: Step, kind: FaultKind, status: int, address: int
) -> None:
    place = soc.stage(struct.pack("<I", 0x12345678))
    faulted, after = soc.run_script([step, client.read32(place)])

    assert outcome(faulted) == (StepStatus.FAULTED, kind, status, address)
    assert (after.status, after.result[0]) == (StepStatus.DONE, 0x12345678)
    names = {FaultKind.DATA_ABORT: "data-abort", FaultKind.PREFETCH_ABORT: "prefetch-abort"}
    assert soc.log.of(ExceptionTaken) == [ExceptionTaken("a7", names[kind], status, address)]
    reports = soc.log.of(AccessDenied) + soc.log.of(BusErrorRaised)
    assert [(e.initiator, e.address) for e in reports] == [("a7-ns", address)]


@pytest.mark.parametrize(
    ("body", "thumb", "offset"),
    [
        (code((UDF_A32, 4), (BX_LR_A32, 4)), 0, 0),
        (code((UDF_T16, 2), (BX_LR_T16, 2)), 1, 0),
        (code((UDF_T32, -4), (BX_LR_T16, 2)), 1, 0),
        (code((NOP_T16, 2), (UDF_T16, 2), (BX_LR_T16, 2)), 1, 2),
    ],
    ids=["a32", "t16", "t32", "t16-not-word-aligned"],
)
def test_undefined_instruction_is_taken_at_itself_and_stepped_over(
    soc: Soc, body: bytes, thumb: int, offset: int
) -> None:
    place = soc.stage(body)
    faulted, after = soc.run_script([client.call(place | thumb), client.spin(10)])

    assert (faulted.status, faulted.fault, faulted.fault_pc) == (
        StepStatus.FAULTED,
        FaultKind.UNDEFINED,
        place + offset,
    )
    assert after.status is StepStatus.DONE
    assert [e.exception for e in soc.log.of(ExceptionTaken)] == ["undefined-instruction"]


def test_faulting_pc_of_a_load_in_thumb_state_is_the_load(soc: Soc) -> None:
    # ldr r0, [pc, #4]; ldr r0, [r0]; bx lr; nop; .word
    place = soc.stage(code((0x4801, 2), (0x6800, 2), (BX_LR_T16, 2), (NOP_T16, 2), (SECURE, 4)))
    [faulted] = soc.run_script([client.call(place | 1)])

    assert outcome(faulted) == (StepStatus.FAULTED, FaultKind.DATA_ABORT, READ_ABORT, SECURE)
    assert faulted.fault_pc == place + 2


@pytest.mark.parametrize("store", [False, True], ids=["load", "store"])
def test_fault_inside_an_it_block_of_the_a7_leaves_the_rest_of_it_undone_until_the_return(
    soc: Soc, store: bool
) -> None:
    """The client returns behind the access with the IT state as it was, so the next member runs under the first mask.

    ldr r3, =SECURE; ldr r2, =cell; movs r0, #0; movs r1, #7; cmp r0, r0; itt eq; ldreq or streq r3, [r3];
    streq r1, [r2]; bx lr.
    """
    cell = soc.stage(struct.pack("<I", 0x5A5A5A5A), 0x100)
    access = 0x601B if store else 0x681B  # STR/LDR r3, [r3]
    body = code(
        (0x4B04, 2), (0x4A05, 2), (0x2000, 2), (0x2107, 2), (0x4280, 2),
        (0xBF04, 2), (access, 2), (0x6011, 2), (BX_LR_T16, 2), (NOP_T16, 2), (SECURE, 4), (cell, 4),
    )  # fmt: skip
    place = soc.stage(body)
    [faulted] = soc.run_script([client.call(place | 1)])

    assert outcome(faulted)[1:] == (FaultKind.DATA_ABORT, WRITE_ABORT if store else READ_ABORT, SECURE)
    assert faulted.fault_pc == place + 12
    assert soc.debug_read(cell, 4) == struct.pack("<I", 7)  # once, after the handler


def test_copy_of_many_words_into_denied_memory_ends_at_its_first_access(soc: Soc) -> None:
    secure = soc.bus.secure_view()
    secure.write(SECURE, b"\xa5" * 64)
    [copied] = soc.run_script([client.copy(SECURE, soc.stage(bytes(range(64))), 64)])

    assert outcome(copied) == (StepStatus.FAULTED, FaultKind.DATA_ABORT, WRITE_ABORT, SECURE)
    assert secure.read(SECURE, 64) == b"\xa5" * 64
    assert len(soc.log.of(AccessDenied)) == 1


@pytest.mark.parametrize("loop", LOOPS)
def test_silent_denial_reads_zero_drops_writes_and_reports_each_access(loop: str) -> None:
    soc = Soc(SocConfig(deny=Deny.RAZWI, loop=loop))
    secure = soc.bus.secure_view()
    secure.write(SECURE, b"\xa5" * 64)
    place = soc.stage(b"\x5a" * 64)
    steps = soc.run_script(
        [
            client.read32(SECURE),
            client.write32(SECURE, 1),
            client.copy(SECURE, place, 64),
            client.copy(place, SECURE, 64),
        ]
    )

    assert [s.status for s in steps] == [StepStatus.DONE] * 4
    assert steps[0].result[0] == 0
    assert secure.read(SECURE, 64) == b"\xa5" * 64
    assert soc.debug_read(place, 64) == bytes(64)
    words = [SECURE + 4 * n for n in range(16)]
    assert [(e.access, e.address, e.size) for e in soc.log.of(AccessDenied)] == [
        ("read", SECURE, 4),
        ("write", SECURE, 4),
        *[("write", address, 4) for address in words],
        *[("read", address, 4) for address in words],
    ]
    assert [e.value for e in soc.log.of(AccessDenied) if e.access == "write"] == [1] + [0x5A5A5A5A] * 16
    assert {(e.target, e.rule) for e in soc.log.of(AccessDenied)} == {("sysram", RULE)}
    assert soc.log.of(ExceptionTaken) == []


@pytest.mark.skipif(library_path() is None, reason="the native loop is not built: there is only one loop to run")
@pytest.mark.parametrize("quantum", [1, 1000])
def test_faults_have_the_same_numbers_in_both_loops(quantum: int) -> None:
    def play(loop: str) -> tuple[str, int, int]:
        soc = Soc(SocConfig(deny=Deny.ABORT, loop=loop, quantum=quantum))
        undefined = soc.stage(code((UDF_A32, 4), (BX_LR_A32, 4)))
        soc.run_script([*(step for step, *_ in FAULTS.values()), client.call(undefined), client.spin(100)])
        assert soc.a7.state is CoreState.SLEEPING
        assert len(soc.log.of(ExceptionTaken)) == len(FAULTS) + 1
        return jsonl(soc), soc.a7.retired, soc.a7.time_ps

    assert play("python") == play("native")
