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
    CPS_DISABLE = 5
    MSR_MASK = 6
    MSR_CONTROL = 7
    SDIV_BY_ZERO = 8
    UDIV_BY_ZERO = 9
    FLOATING = 10


M4_TRAPS = (
    Trap(2, 0xFFFF, 0xBF20),
    Trap(4, 0xFFFFFFFF, 0xF3AF8002),
    Trap(2, 0xFFFF, 0xBF40, after=True),
    Trap(4, 0xFFFFFFFF, 0xF3AF8004, after=True),
    Trap(2, 0xFFF8, 0xB660, after=True),
    Trap(2, 0xFFF8, 0xB670, after=True),
    Trap(4, 0xFFE0D0FC, 0xF3808010, after=True),  # PRIMASK, BASEPRI, BASEPRI_MAX, FAULTMASK
    Trap(4, 0xFFE0D0FF, 0xF3808014, after=True),
    Trap(4, 0xFFF0F0F0, 0xFB90F0F0, when_zero=0),
    Trap(4, 0xFFF0F0F0, 0xFBB0F0F0, when_zero=0),
    Trap(4, 0xEC000E00, 0xEC000A00),  # every instruction of coprocessors 10 and 11
)


def bits(*traps: M4Trap) -> int:
    """The bits of `Lane.traps_on` for these traps."""
    return sum(1 << trap for trap in traps)


EVENT_BITS = bits(M4Trap.WFE, M4Trap.WFE_WIDE, M4Trap.SEV, M4Trap.SEV_WIDE)
UNMASKING_BITS = bits(M4Trap.CPS_ENABLE, M4Trap.MSR_MASK)
#: What changes the privilege or the priority that the MPU decides by.
MPU_BITS = bits(M4Trap.CPS_ENABLE, M4Trap.CPS_DISABLE, M4Trap.MSR_MASK, M4Trap.MSR_CONTROL)
DIVISION_BITS = bits(M4Trap.SDIV_BY_ZERO, M4Trap.UDIV_BY_ZERO)
FLOATING_BITS = bits(M4Trap.FLOATING)
