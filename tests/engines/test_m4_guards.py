"""Pages of memory that an MPU region smaller than a page cuts, such as stacks with a guard (ARMv7-M manual, B3.5)."""

from __future__ import annotations

import pytest
from m4_probes import RUNS

from cosim.access import Initiator
from cosim.events import ExceptionTaken
from cosim.soc import Soc, SocConfig
from ta.profile import FirewallProfile

RETRAM, CODE, PAGE, BOOT_MCU = 0x38000000, 0x10000000, 0x10002000, 0x5000010C
HANDLER, GUARD = CODE + 0x300, PAGE + 0x400
MEM_MANAGE, DACCVIOL = "MemManage", 0x82  # with MMARVALID
LOOP = "fee7"
#: r0 = PAGE, r3 = code at PAGE + 0x100.
SET_UP = "42f20000 c1f20000 00f20113"
#: r1 = MPU_CTRL; 32 bytes without access at PAGE + 0x400; SHCSR.MEMFAULTENA; r2 = MPU_CTRL's value, then barriers.
REGION = "4ef69451 cef20001 00f20042 42f01002 8a60 40f20902 c1f20002 ca60 4ff48032 41f8702c"
MPU_ON, MPU_OFF = (f"{REGION} {value:02x}22 0a60 bff34f8f bff36f8f" for value in (5, 0))
#: Loads and stores of all widths around the guard, unaligned ones, LDRD, STRD, STM, LDMDB, and three in an IT block.
AROUND = (
    "c478 c588 8668 d0e90489 d0f815a0 b0f821b0 80f84060 a0f84260 4664 c0e91289 c0f85160 a0f85960 00f16007 70c7"
    "47f8048b 37e93000 8042 06bf 0667 d0f80cc0 4667 c0f8fc63 c0f82064 d0f82054 40f8026c c0f8fe9f d0f8fe6f"
)
#: Access: (code before it, its own, MMFAR as an offset in the page).
INTO_THE_GUARD = {
    "STRB at its first byte": ("", "80f80004", 0x400),
    "STR at its last word": ("", "c0f81c04", 0x41C),
    "LDR": ("", "d0f81044", 0x410),
    "STR that ends in it": ("", "c0f8fe03", 0x3FE),
    "STR that begins in it": ("", "c0f81d04", 0x41D),
    "LDRH that ends in it": ("", "b0f8ff43", 0x3FF),
    "second word of LDRD": ("", "d0e9ff45", 0x400),
    "STREQ, MOVEQ r7, #1": ("8042 04bf", "c0f80004 0127", 0x400),
}
REGISTERS = [f"r{n}" for n in range(4, 13)]


def run(code: str, loop: str, quantum: int, patch: bytes = b"") -> Soc:
    """Execute `code`, then an endless loop; every handler is one too. `patch` lies at PAGE + 0x100."""
    soc = Soc(SocConfig(firewall=FirewallProfile.OPEN, loop=loop, quantum=quantum))
    vectors = [0x10020000, CODE | 1, *[HANDLER | 1] * 14]
    soc.bus.write(Initiator.DEBUG, RETRAM, b"".join(word.to_bytes(4, "little") for word in vectors))
    soc.bus.write(Initiator.DEBUG, CODE, bytes.fromhex(SET_UP + code + LOOP))
    soc.bus.write(Initiator.DEBUG, HANDLER, bytes.fromhex(LOOP))
    soc.bus.write(Initiator.DEBUG, PAGE, bytes(range(256)) * 16)
    soc.bus.write(Initiator.DEBUG, PAGE + 0x100, patch)
    soc.bus.write(Initiator.A7_S, BOOT_MCU, bytes([1, 0, 0, 0]))
    soc.run(budget_ps=2 * 10**6)
    return soc


def faults(soc: Soc) -> list[tuple[str, int]]:
    """Name and CFSR of each exception."""
    return [(event.exception, event.status) for event in soc.log.of(ExceptionTaken)]


def state(soc: Soc) -> tuple[list[int], bytes]:
    """Registers, and the page with what lies around it."""
    return [soc.m4.read_register(name) for name in REGISTERS], soc.debug_read(PAGE - 16, 0x1020)


@pytest.mark.parametrize("how", RUNS, ids=str)
def test_accesses_around_a_guard_do_what_they_do_without_one(how: tuple[str, int]) -> None:
    guarded, free = run(MPU_ON + AROUND, *how), run(MPU_OFF + AROUND, *how)

    assert faults(guarded) == []
    assert state(guarded) == state(free)
    assert guarded.m4.retired == free.m4.retired


@pytest.mark.parametrize("how", RUNS, ids=str)
@pytest.mark.parametrize(("before", "code", "offset"), INTO_THE_GUARD.values(), ids=INTO_THE_GUARD)
def test_an_access_that_touches_the_guard_faults_and_has_no_effect(
    before: str, code: str, offset: int, how: tuple[str, int]
) -> None:
    soc = run(MPU_ON + before + code, *how)

    (fault,) = soc.log.of(ExceptionTaken)
    assert (fault.exception, fault.status, fault.fault_address) == (MEM_MANAGE, DACCVIOL, PAGE + offset)
    assert soc.debug_read(PAGE, 0x1000) == bytes(range(256)) * 16
    assert soc.m4.read_register("r7") == 0
    pc = int.from_bytes(soc.debug_read(soc.m4.read_register("sp") + 24, 4), "little")
    assert pc == CODE + len(bytes.fromhex(SET_UP + MPU_ON + before))


@pytest.mark.parametrize("how", RUNS, ids=str)
def test_a_byte_that_is_stored_behind_an_unaligned_load_is_stored(how: tuple[str, int]) -> None:
    """LDR r4, [r0, #0x15]; STRB r3, [r0, #0x40]."""
    soc = run(f"{MPU_ON} d0f81540 80f84030", *how)

    assert soc.debug_read(PAGE + 0x40, 1) == bytes([0x01])


@pytest.mark.parametrize("how", RUNS, ids=str)
def test_a_guard_that_moves_leaves_nothing_behind(how: tuple[str, int]) -> None:
    """The region is moved to PAGE + 0x800; STR to where it was, then to where it is."""
    soc = run(f"{MPU_ON} d0f82044 00f60002 42f01002 8a60 bff34f8f bff36f8f c0f80004 c0f80008", *how)

    assert faults(soc) == [(MEM_MANAGE, DACCVIOL)]
    assert soc.debug_read(GUARD, 4) == PAGE.to_bytes(4, "little")
    assert soc.debug_read(PAGE + 0x800, 4) == bytes(range(4))


@pytest.mark.parametrize("how", RUNS, ids=str)
def test_code_that_is_changed_beside_a_guard_executes_as_changed(how: tuple[str, int]) -> None:
    """MOVS r4, #1; BX lr is called, becomes MOVS r4, #2 while a guard cuts its page, and is called again."""
    patch = bytes.fromhex("0124 7047")
    before, after = "9847", "42f20242 a0f80021 bff34f8f bff36f8f 9847"

    assert run(before, *how, patch).m4.read_register("r4") == 1
    soc = run(before + MPU_ON + after, *how, patch)
    assert soc.m4.read_register("r4") == 2
    assert faults(soc) == []


@pytest.mark.parametrize("how", RUNS, ids=str)
@pytest.mark.parametrize(
    ("mask", "unmask"),
    [("71b6", "61b6"), ("0126 86f31388", "0026 86f31388"), ("73b6", "63b6")],
    ids=["CPS f", "MSR FAULTMASK", "CPS if"],
)
def test_the_mpu_is_off_between_two_instructions_that_move_faultmask(
    mask: str, unmask: str, how: tuple[str, int]
) -> None:
    """MPU_CTRL.HFNMIENA is clear (B3.5.1): LDR from the guard faults behind it only."""
    code = f"{mask} d0f81044 {unmask}"
    soc = run(f"{MPU_ON} {code} d0f81054", *how)

    assert soc.m4.read_register("r4") == 0x13121110
    assert faults(soc) == [(MEM_MANAGE, DACCVIOL)]
    pc = int.from_bytes(soc.debug_read(soc.m4.read_register("sp") + 24, 4), "little")
    assert pc == CODE + len(bytes.fromhex(SET_UP + MPU_ON + code))
