"""DebugMonitor, faults of lazy FP state, and the MPU inside IT blocks (ARMv7-M manual, C1.6, B1.5.7, B3.5)."""

from __future__ import annotations

import pytest
from m4_probes import RUNS

from cosim.access import Initiator
from cosim.events import ExceptionTaken
from cosim.soc import Soc, SocConfig
from ta.profile import FirewallProfile

RETRAM, CODE, STACK, BOOT_MCU = 0x38000000, 0x10000000, 0x10020000, 0x5000010C
HANDLER, SVC_HANDLER, SVCALL = CODE + 0x100, CODE + 0x140, 11
GUARDED, NOWHERE = 0x10030100, 0x70000000
DACCVIOL, MLSPERR, MMARVALID, LSPERR = 1 << 1, 1 << 5, 1 << 7, 1 << 13
#: SHCSR: all faults; CPACR: the FPU for all; SHPR2: SVCall below the faults.
ENABLE = "4ef62450cef20000 4ff4e021 0160 4ff47001 4166 4ff00041 40f8081c"
MON_EN = "4ef6fc50cef20000 4ff48031 0160"  # DEMCR
MON_EN_AND_PEND = "4ef6fc50cef20000 4ff44031 0160"
CFSR, BFAR, PRECISERR, BFARVALID = 0xE000ED28, 0xE000ED38, 1 << 9, 1 << 15
#: CCR.BFHFNMIGN; then LDR r4, STR r4 and LDRD r6, r7 at NOWHERE, and r5 = 7.
IGNORE_BUS_FAULTS = "4ef61451cef20001 0868 40f48070 0860"
PROBE = "4ff0e043 0924 1c68 1c60 d3e90067 0725"
CPSID_F = "71b6"
BKPT, CPSID_I, NOP, LOOP = "00be", "72b6", "00bf", "fee7"
#: Region 0: 4 KiB at 0x10030000 without access; PRIVDEFENA and ENABLE; DSB, ISB.
MPU = "4ef69450cef20000 40f21001c1f20301 8160 40f21701c1f20001 c160 0521 0160 bff34f8f bff36f8f"
FP_AND_SVC = "b7ee000a 00df"  # VMOV s0,#1.0; SVC
FPCAR_NOWHERE = "4ef63870cef20000 4ff0e041 0160 f0ee000a fee7"  # FPCAR = NOWHERE; VMOV s1,#2.0
FPCAR_GUARDED = "4ef63870cef20000 40f20011c1f20301 0160 f0ee000a fee7"  # FPCAR = GUARDED; VMOV s1,#2.0
#: r3 = GUARDED, r5 = 0, Z = 1.
POINT = "40f20013c1f20303 0025 8042"
IT_LOAD = "01bf 0135 1c68 0135 4df8085c"  # ITTTT EQ; ADD r5,#1; LDR r4,[r3]; ADD r5,#1; STR r5,[sp,#-8]
IT_STORE = "01bf 0135 1c60 0135 4df8085c"  # the same with STR r4,[r3]
IT_SKIPPED = "14bf 1c68 0135"  # ITE NE; LDR r4,[r3]; ADD r5,#1


def run(code: str, how: tuple[str, int], svc: str = LOOP, handler: str = LOOP) -> Soc:
    """Execute `code` on a core with all faults enabled; handlers are endless loops if nothing else is said."""
    loop, quantum = how
    soc = Soc(SocConfig(firewall=FirewallProfile.OPEN, loop=loop, quantum=quantum))
    vectors = [STACK, CODE | 1, *[HANDLER | 1] * 14]
    vectors[SVCALL] = SVC_HANDLER | 1
    soc.bus.write(Initiator.DEBUG, RETRAM, b"".join(word.to_bytes(4, "little") for word in vectors))
    for address, text in ((CODE, ENABLE + code + LOOP), (HANDLER, handler), (SVC_HANDLER, svc)):
        soc.bus.write(Initiator.DEBUG, address, bytes.fromhex(text))
    soc.bus.write(Initiator.A7_S, BOOT_MCU, bytes([1, 0, 0, 0]))
    soc.run(budget_ps=2 * 10**6)
    return soc


def taken(soc: Soc) -> list[tuple[str, int, int]]:
    """Name, CFSR and fault address of each exception but SVCall."""
    seen = soc.log.of(ExceptionTaken)
    return [(e.exception, e.status, e.fault_address) for e in seen if e.exception != "SVCall"]


def stacked_pc(soc: Soc) -> int:
    return int.from_bytes(soc.debug_read(soc.m4.read_register("sp") + 24, 4), "little")


@pytest.mark.parametrize("how", RUNS, ids=str)
def test_a_breakpoint_is_debug_monitors_where_that_is_enabled(how: tuple[str, int]) -> None:
    """C1.6.1; the return address is that of the BKPT (B1.5.6)."""
    soc = run(MON_EN + BKPT, how)
    assert taken(soc) == [("DebugMonitor", 0, 0)]
    assert stacked_pc(soc) == CODE + len(bytes.fromhex(ENABLE + MON_EN))


@pytest.mark.parametrize("before", ["", MON_EN + CPSID_I], ids=["disabled", "masked"])
@pytest.mark.parametrize("how", RUNS, ids=str)
def test_a_breakpoint_that_debug_monitor_cannot_take_is_a_hard_fault(before: str, how: tuple[str, int]) -> None:
    """C1.6.1: HFSR.DEBUGEVT."""
    assert taken(run(before + BKPT, how)) == [("HardFault", 0, 0)]


@pytest.mark.parametrize("how", RUNS, ids=str)
def test_debug_monitor_can_be_pended_by_software(how: tuple[str, int]) -> None:
    """C1.6.5: DEMCR.MON_PEND; behind the store, once."""
    soc = run(MON_EN_AND_PEND + NOP, how)
    assert taken(soc) == [("DebugMonitor", 0, 0)]
    assert stacked_pc(soc) == CODE + len(bytes.fromhex(ENABLE + MON_EN_AND_PEND))


def test_debug_monitor_that_was_pended_once_is_taken_once() -> None:
    """The code writes SHCSR again behind its handler."""
    assert taken(run(MON_EN_AND_PEND + ENABLE, ("auto", 1000), handler="7047")) == [("DebugMonitor", 0, 0)]  # BX lr


@pytest.mark.parametrize(
    ("handler", "fault"),
    [(FPCAR_NOWHERE, ("BusFault", LSPERR, 0)), (FPCAR_GUARDED, ("MemManage", MLSPERR, 0))],
    ids=["bus", "mpu"],
)
@pytest.mark.parametrize("how", RUNS, ids=str)
def test_lazy_floating_point_state_that_cannot_be_written_is_a_fault_of_the_instruction_that_needs_it(
    handler: str, fault: tuple[str, int, int], how: tuple[str, int]
) -> None:
    """B1.5.7; without an address (B3.2.15)."""
    soc = run(MPU + FP_AND_SVC, how, handler)
    assert taken(soc) == [fault]
    assert stacked_pc(soc) == SVC_HANDLER + len(bytes.fromhex(handler)) - 6


@pytest.mark.parametrize("how", RUNS, ids=str)
@pytest.mark.parametrize(("mask", "ignored"), [(CPSID_F, True), (CPSID_I, False)], ids=["faultmask", "primask"])
def test_bus_faults_of_loads_and_stores_are_ignored_at_negative_priorities_where_software_probes(
    mask: str, ignored: bool, how: tuple[str, int]
) -> None:
    """B3.2.8, CCR.BFHFNMIGN: the status registers tell of them all the same."""
    soc = run(IGNORE_BUS_FAULTS + mask + PROBE, how)
    status = int.from_bytes(soc.engine.cores["m4"].debug_read(CFSR, 4), "little")  # type: ignore[attr-defined]
    address = int.from_bytes(soc.engine.cores["m4"].debug_read(BFAR, 4), "little")  # type: ignore[attr-defined]
    assert status == PRECISERR | BFARVALID
    if ignored:
        assert taken(soc) == []
        assert [soc.m4.read_register(name) for name in ("r4", "r5", "r6", "r7")] == [0, 7, 0, 0]
        assert address == NOWHERE + 4
    else:
        assert taken(soc) == [("HardFault", PRECISERR | BFARVALID, NOWHERE)]
        assert address == NOWHERE


@pytest.mark.parametrize("block", [IT_LOAD, IT_STORE], ids=["load", "store"])
@pytest.mark.parametrize("how", RUNS, ids=str)
def test_an_access_that_the_mpu_forbids_in_an_it_block_ends_the_block_there(block: str, how: tuple[str, int]) -> None:
    """B3.5.1, A7.3.3: what stands before it has happened, nothing behind it has; ITSTATE is in the frame."""
    soc = run(MPU + POINT + block, how)
    assert taken(soc) == [("MemManage", DACCVIOL | MMARVALID, GUARDED)]
    assert soc.m4.read_register("r5") == 1
    assert stacked_pc(soc) == CODE + len(bytes.fromhex(ENABLE + MPU + POINT)) + 4
    xpsr = int.from_bytes(soc.debug_read(soc.m4.read_register("sp") + 28, 4), "little")
    assert (xpsr >> 10 & 0x3F) << 2 | xpsr >> 25 & 3 == 0b00000010


@pytest.mark.parametrize("how", RUNS, ids=str)
def test_an_access_that_the_it_block_skips_is_not_the_mpus_business(how: tuple[str, int]) -> None:
    """A7.3.3."""
    soc = run(MPU + POINT + IT_SKIPPED, how)
    assert taken(soc) == []
    assert soc.m4.read_register("r5") == 1
