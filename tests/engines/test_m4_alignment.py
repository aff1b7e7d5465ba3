"""Accesses of the M4 that are not aligned (ARMv7-M manual, A3.2.1): which fault, and what the fault leaves behind."""

from __future__ import annotations

import pytest
from m4_probes import RUNS

from cosim.access import Initiator
from cosim.events import ExceptionTaken
from cosim.soc import Soc, SocConfig
from ta.profile import FirewallProfile

RETRAM, CODE, DATA, BOOT_MCU = 0x38000000, 0x10000000, 0x10000100, 0x5000010C
HANDLER = CODE + 0x80
USAGE_FAULT, UNALIGNED = "UsageFault", 1 << 24
#: r0 = DATA + 2, r1 = DATA + 1, r2 = USART3 + 0x1e, r3 = CCR; SHCSR.USGFAULTENA; CPACR: the FPU for all.
SET_UP = (
    "40f20210 c1f20000 40f20111 c1f20001 4ff21e02 c4f20002 4ef61453 cef20003"
    "4ff48024 1c61 4ef68855 cef20005 4ff47006 2e60"
)
TRAP_ON = "1c68 44f00804 1c60"  # CCR.UNALIGN_TRP
#: Addresses are r0 or r0 + 4 * n; those of LDREXH and of the halfword loads are made from r1.
MULTIPLE = {
    "LDM": "90e83000",
    "STM": "80e83000",
    "LDMDB": "10e93000",
    "LDM-16-bit": "06c8",
    "STM-16-bit": "06c0",
    "LDRD": "d0e90045",
    "STRD": "c0e90245",
    "LDRD-post-indexed": "f0e80245",
    "STRD-pre-indexed": "60e90245",
    "VLDR": "90ed000a",
    "VSTR": "80ed010a",
    "VLDM": "90ec020a",
    "VSTMDB": "20ed020a",
}
EXCLUSIVE = {"LDREX": "50e8004f", "STREX": "40e80054", "LDREXH": "d1e85f4f", "STREXH": "c1e8545f"}
SINGLE = {"LDR": "0468", "STR": "0460", "LDRH": "b0f80140", "LDREXB": "d0e84f4f"}
#: r6 = 1, r8 = DATA.
INDEX = "0126 40f20018 c1f20008"
#: Single accesses in every form of address, at addresses that are no multiple of their size, and at others.
MISPLACED = {
    "LDR": "0468",
    "STR-16-bit-immediate": "4460",
    "LDR-16-bit-register": "8459",
    "STR-16-bit-register": "8451",
    "LDRH-16-bit-register": "845b",
    "LDRSH-16-bit-register": "845f",
    "STRH-16-bit": "8c80",
    "LDRH-16-bit": "8c88",
    "LDR-12-bit-offset": "d8f80140",
    "STR-12-bit-offset": "c8f80240",
    "LDR-shifted-register": "58f81640",
    "LDRH-12-bit-offset": "b8f80340",
    "LDRSH-12-bit-offset": "b8f90340",
    "LDR-pre-indexed-down": "58f8034d",
    "LDR-post-indexed": "50f8024b",
    "STR-negative-offset": "48f8014c",
    "LDRT": "58f8014e",
    "LDR-literal": "5ff80640",
}
WELL_PLACED = {
    "LDRB": "91f80040",
    "LDR-post-indexed-by-3": "58f8034b",
    "LDR-from-2-plus-2": "d0f80240",
    "LDR-shifted-register": "58f82640",
    "LDR-from-1-minus-1": "51f8014c",
    "LDRH-at-2": "0488",
    "STRH-from-1-plus-1": "a1f80140",
    "LDR-from-SP": "019c",
    "LDR-literal": "5ff80440",
    "PLD": "98f801f0",
    "LDRSB": "98f90140",
    "STRB-register": "8455",
    "STREXH": "c0e8545f",
}
#: Through SP and PC, which are always aligned.
ALIGNED = {
    "PUSH.W": "2de93000",
    "POP.W": "bde83000",
    "LDRD-literal": "dfe90145",
    "LDRD-literal-behind-NOP": "00bfdfe90145",
}
LOOP = "fee7"


def run(code: str, loop: str, quantum: int, *, alignment: bool = False) -> Soc:
    """Execute `code` with r0 two bytes off a word, then an endless loop; every handler is one too."""
    config = SocConfig(firewall=FirewallProfile.OPEN, loop=loop, quantum=quantum, alignment=alignment)
    soc = Soc(config)
    vectors = [0x10020000, CODE | 1, *[HANDLER | 1] * 14]
    soc.bus.write(Initiator.DEBUG, RETRAM, b"".join(word.to_bytes(4, "little") for word in vectors))
    soc.bus.write(Initiator.DEBUG, CODE, bytes.fromhex(SET_UP + code + LOOP))
    soc.bus.write(Initiator.DEBUG, HANDLER, bytes.fromhex(LOOP))
    soc.bus.write(Initiator.DEBUG, DATA, bytes(range(1, 33)))
    soc.bus.write(Initiator.A7_S, BOOT_MCU, bytes([1, 0, 0, 0]))
    soc.run(budget_ps=2 * 10**6)
    return soc


def faults(soc: Soc) -> list[tuple[str, int]]:
    """Name and CFSR of each exception."""
    return [(event.exception, event.status) for event in soc.log.of(ExceptionTaken)]


@pytest.mark.parametrize("how", RUNS, ids=str)
@pytest.mark.parametrize("code", [pytest.param(code, id=name) for name, code in {**MULTIPLE, **EXCLUSIVE}.items()])
def test_what_needs_a_word_address_faults_elsewhere_and_has_no_effect(code: str, how: tuple[str, int]) -> None:
    soc = run(code, *how, alignment=True)

    assert faults(soc) == [(USAGE_FAULT, UNALIGNED)]
    assert soc.m4.read_register("r0") == DATA + 2
    assert soc.debug_read(DATA, 32) == bytes(range(1, 33))
    pc = int.from_bytes(soc.debug_read(soc.m4.read_register("sp") + 24, 4), "little")
    assert pc == CODE + len(bytes.fromhex(SET_UP))


@pytest.mark.parametrize("code", [pytest.param(code, id=name) for name, code in MULTIPLE.items()])
def test_the_same_faults_once_the_firmware_asks_for_traps(code: str) -> None:
    assert faults(run(TRAP_ON + code, "auto", 1000)) == [(USAGE_FAULT, UNALIGNED)]


@pytest.mark.parametrize("how", RUNS, ids=str)
@pytest.mark.parametrize("code", [pytest.param(code, id=name) for name, code in MISPLACED.items()])
def test_a_single_access_faults_where_the_firmware_asks_for_traps(code: str, how: tuple[str, int]) -> None:
    soc = run(TRAP_ON + INDEX + code, *how)

    assert faults(soc) == [(USAGE_FAULT, UNALIGNED)]
    assert soc.debug_read(DATA, 32) == bytes(range(1, 33))
    assert soc.m4.read_register("r8") == DATA
    pc = int.from_bytes(soc.debug_read(soc.m4.read_register("sp") + 24, 4), "little")
    assert pc == CODE + len(bytes.fromhex(SET_UP + TRAP_ON + INDEX))


@pytest.mark.parametrize("how", RUNS, ids=str)
@pytest.mark.parametrize("code", [pytest.param(code, id=name) for name, code in WELL_PLACED.items()])
def test_a_single_access_that_is_aligned_or_a_byte_is_never_trapped(code: str, how: tuple[str, int]) -> None:
    assert faults(run(TRAP_ON + INDEX + code, *how)) == []


@pytest.mark.parametrize("how", RUNS, ids=str)
@pytest.mark.parametrize("code", [pytest.param(code, id=name) for name, code in EXCLUSIVE.items()])
def test_exclusive_accesses_need_no_asking(code: str, how: tuple[str, int]) -> None:
    assert faults(run(code, *how)) == [(USAGE_FAULT, UNALIGNED)]


@pytest.mark.parametrize("code", [pytest.param(code, id=name) for name, code in {**SINGLE, **ALIGNED}.items()])
@pytest.mark.parametrize("how", RUNS, ids=str)
def test_what_may_be_anywhere_or_is_aligned_does_not_fault(code: str, how: tuple[str, int]) -> None:
    assert faults(run(code, *how, alignment=True)) == []


@pytest.mark.parametrize("code", [pytest.param(code, id=name) for name, code in MULTIPLE.items()])
def test_aligned_addresses_do_not_fault(code: str) -> None:
    assert faults(run("0230" + code, "auto", 1000, alignment=True)) == []  # ADDS r0, #2


def test_unaligned_ldm_is_made_when_nobody_asked() -> None:
    """It costs speed, so it is an option; docs/engines.md says so."""
    assert faults(run(MULTIPLE["LDM"], "auto", 1000)) == []


@pytest.mark.parametrize("how", RUNS, ids=str)
def test_a_fault_in_an_it_block_gives_up_what_follows_in_the_block(how: tuple[str, int]) -> None:
    """CMP r0,r0; ITTTT EQ; ADD r6,#1; LDRD r4,r5,[r0]; ADD r7,#1; STR r6,[r1,#3] (which is DATA + 4)."""
    soc = run("8042 01bf 0136 d0e90045 0137 c1f80360", *how, alignment=True)

    assert faults(soc) == [(USAGE_FAULT, UNALIGNED)]
    assert soc.m4.read_register("r7") == 0
    assert soc.debug_read(DATA, 32) == bytes(range(1, 33))


@pytest.mark.parametrize(("asked", "expected"), [(True, [(USAGE_FAULT, UNALIGNED)]), (False, [])])
def test_unaligned_access_to_a_peripheral_faults_only_where_that_was_asked_for(
    asked: bool, expected: list[tuple[str, int]]
) -> None:
    assert faults(run("1468", "auto", 1000, alignment=asked)) == expected  # LDR r4,[r2]
