"""The instructions of the Cortex-M4 that the engine has to know of (encodings: ARMv7-M manual, A7.7 and B5.2)."""

from __future__ import annotations

from enum import IntEnum

from cosim.engine.unicorn.traps import Trap


class M4Trap(IntEnum):
    """Their numbers in `M4_TRAPS`."""

    WFE = 0
    WFE_WIDE = 1
    SEV = 2
    SEV_WIDE = 3
    CPS_ENABLE = 4
    MSR_MASK = 5
    MSR_CONTROL = 6
    SDIV_BY_ZERO = 7
    UDIV_BY_ZERO = 8
    FLOATING = 9
    LDM_16 = 10
    STM_16 = 11
    LDM_STM_IA = 12
    LDM_STM_DB = 13
    LDRD_STRD = 14
    LDRD_STRD_POST = 15
    LDREX = 16
    STREX = 17
    VLDR_VSTR = 18
    VLDM_VSTM_IA = 19
    VLDM_VSTM_DB = 20
    CPS_FAULTMASK = 21
    MSR_FAULTMASK = 22
    LDREXH_STREXH = 23
    SINGLE_REGISTER = 24
    SINGLE_WORD = 25
    SINGLE_HALFWORD = 26
    SINGLE_WIDE = 27


M4_TRAPS = (
    Trap(2, 0xFFFF, 0xBF20),
    Trap(4, 0xFFFFFFFF, 0xF3AF8002),
    Trap(2, 0xFFFF, 0xBF40, after=True),
    Trap(4, 0xFFFFFFFF, 0xF3AF8004, after=True),
    Trap(2, 0xFFF8, 0xB660, after=True),
    Trap(4, 0xFFE0D0FC, 0xF3808010, after=True),  # PRIMASK, BASEPRI, BASEPRI_MAX, FAULTMASK
    Trap(4, 0xFFE0D0FF, 0xF3808014, after=True),
    Trap(4, 0xFFF0F0F0, 0xFB90F0F0, when_zero=0),
    Trap(4, 0xFFF0F0F0, 0xFBB0F0F0, when_zero=0),
    Trap(4, 0xEC000E00, 0xEC000A00),  # every instruction of coprocessors 10 and 11
    Trap(2, 0xF800, 0xC800, when_unaligned=8),
    Trap(2, 0xF800, 0xC000, when_unaligned=8),
    Trap(4, 0xFFC00000, 0xE8800000, when_unaligned=16),
    Trap(4, 0xFFC00000, 0xE9000000, when_unaligned=16),
    Trap(4, 0xFF400000, 0xE9400000, when_unaligned=16),
    Trap(4, 0xFF600000, 0xE8600000, when_unaligned=16),
    Trap(4, 0xFFF00000, 0xE8500000, when_unaligned=16),
    Trap(4, 0xFFF00000, 0xE8400000, when_unaligned=16),
    Trap(4, 0xFF200E00, 0xED000A00, when_unaligned=16),
    Trap(4, 0xFF800E00, 0xEC800A00, when_unaligned=16),
    Trap(4, 0xFFA00E00, 0xED200A00, when_unaligned=16),
    Trap(2, 0xFFE9, 0xB661, after=True),
    Trap(4, 0xFFE0D0FF, 0xF3808013, after=True),
    Trap(4, 0xFFE00FF0, 0xE8C00F50, when_misplaced=True),
    Trap(2, 0xF000, 0x5000, when_misplaced=True),
    Trap(2, 0xF000, 0x6000, when_misplaced=True),
    Trap(2, 0xF000, 0x8000, when_misplaced=True),
    Trap(4, 0xFE000000, 0xF8000000, when_misplaced=True),
)


def bits(*traps: M4Trap) -> int:
    """The bits of `Lane.traps_on` for these traps."""
    return sum(1 << trap for trap in traps)


EVENT_BITS = bits(M4Trap.WFE, M4Trap.WFE_WIDE, M4Trap.SEV, M4Trap.SEV_WIDE)
UNMASKING_BITS = bits(M4Trap.CPS_ENABLE, M4Trap.MSR_MASK)
#: What the MPU decides by: privilege, and whether the priority is negative, which no other mask can make it.
MPU_BITS = bits(M4Trap.CPS_FAULTMASK, M4Trap.MSR_FAULTMASK, M4Trap.MSR_CONTROL)
DIVISION_BITS = bits(M4Trap.SDIV_BY_ZERO, M4Trap.UDIV_BY_ZERO)
FLOATING_BITS = bits(M4Trap.FLOATING)
#: What demands an aligned address whatever CCR says (A3.2.1); exclusive accesses are rare, so they cost nothing.
EXCLUSIVE_BITS = bits(M4Trap.LDREX, M4Trap.STREX, M4Trap.LDREXH_STREXH)
MULTIPLE_BITS = bits(*(trap for trap in M4Trap if M4Trap.LDM_16 <= trap <= M4Trap.VLDM_VSTM_DB)) & ~EXCLUSIVE_BITS
#: What demands it with CCR.UNALIGN_TRP only.
SINGLE_BITS = bits(M4Trap.SINGLE_REGISTER, M4Trap.SINGLE_WORD, M4Trap.SINGLE_HALFWORD, M4Trap.SINGLE_WIDE)
ALIGNMENT_BITS = EXCLUSIVE_BITS | MULTIPLE_BITS | SINGLE_BITS
