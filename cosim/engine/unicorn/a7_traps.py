"""Which instructions of the A7 the engine serves itself, and what they mean: timer, counters, WFE, SEV, unmasking.

Encodings are those of the ARMv7-A manual (DDI 0406C): A8.8 for MRC, MCR, MRRC, MCRR, WFE and SEV, B9.3 for what changes
CPSR. Generic timer and performance monitors are trapped because Unicorn's own follow the host's clock. What may clear
CPSR.I or CPSR.F is trapped behind it, and only while an interrupt waits for that.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate

from cosim.engine.unicorn.traps import Trap
from cosim.peripherals.generic_timer import TimerRegister

CPSR_N, CPSR_Z, CPSR_C, CPSR_V = 1 << 31, 1 << 30, 1 << 29, 1 << 28

_TIMER = (
    Trap(4, 0x0F0F0F10, 0x0E0E0F10, arm=True),  # MRC, MCR p15, …, c14
    Trap(4, 0xFF0F0F10, 0xEE0E0F10),
    Trap(4, 0x0FE00F0F, 0x0C400F0E, arm=True),  # MRRC, MCRR p15, …, c14
    Trap(4, 0xFFE00F0F, 0xEC400F0E),
)
_MONITORS = (
    Trap(4, 0x0FEF0F10, 0x0E090F10, arm=True),  # MRC, MCR p15, 0, …, c9
    Trap(4, 0xFFEF0F10, 0xEE090F10),
)
_WFE = (
    Trap(4, 0x0FFFFFFF, 0x0320F002, arm=True),
    Trap(2, 0xFFFF, 0xBF20),
    Trap(4, 0xFFFFFFFF, 0xF3AF8002),
)
_SEV = (
    Trap(4, 0x0FFFFFFF, 0x0320F004, arm=True),
    Trap(2, 0xFFFF, 0xBF40),
    Trap(4, 0xFFFFFFFF, 0xF3AF8004),
)
_UNMASKING = (
    Trap(4, 0xFFF10020, 0xF1000000, after=True, arm=True),  # CPS
    Trap(2, 0xFFE8, 0xB660, after=True),
    Trap(4, 0xFFFFF800, 0xF3AF8000, after=True),
    Trap(4, 0x0FF100F0, 0x01210000, after=True, arm=True),  # MSR CPSR_c, register
    Trap(4, 0x0FF10000, 0x03210000, after=True, arm=True),  # MSR CPSR_c, immediate
    Trap(4, 0xFFF0D120, 0xF3808100, after=True),
    Trap(4, 0xFE500000, 0xF8100000, after=True, arm=True),  # RFE
    Trap(4, 0xFFD0FFFF, 0xE810C000, after=True),
    Trap(4, 0xFFD0FFFF, 0xE990C000, after=True),
    Trap(4, 0x0C10F000, 0x0010F000, after=True, arm=True),  # SUBS PC, LR and its kin
    Trap(4, 0xFFFFFF00, 0xF3DE8F00, after=True),
    Trap(4, 0x0E508000, 0x08508000, after=True, arm=True),  # LDM with PC and ^
    Trap(4, 0x0FFFFFFF, 0x0160006E, after=True, arm=True),  # ERET
)

#: The table of a lane, and the bits of `Lane.traps_on` for each kind.
_KINDS = (_TIMER, _MONITORS, _WFE, _SEV, _UNMASKING)
A7_TRAPS: tuple[Trap, ...] = tuple(trap for kind in _KINDS for trap in kind)
_ENDS = tuple(accumulate(len(kind) for kind in _KINDS))
TIMER_BITS, MONITOR_BITS, WFE_BITS, SEV_BITS, UNMASKING_BITS = (
    (1 << end) - (1 << end - len(kind)) for kind, end in zip(_KINDS, _ENDS, strict=True)
)
ALWAYS_BITS = TIMER_BITS | MONITOR_BITS | WFE_BITS | SEV_BITS

_SINGLE = {
    (0, 0, 0): TimerRegister.CNTFRQ,
    (0, 1, 0): TimerRegister.CNTKCTL,
    (0, 2, 0): TimerRegister.CNTP_TVAL,
    (0, 2, 1): TimerRegister.CNTP_CTL,
    (0, 3, 0): TimerRegister.CNTV_TVAL,
    (0, 3, 1): TimerRegister.CNTV_CTL,
}
_DOUBLE = {
    0: TimerRegister.CNTPCT,
    1: TimerRegister.CNTVCT,
    2: TimerRegister.CNTP_CVAL,
    3: TimerRegister.CNTV_CVAL,
}


@dataclass(frozen=True)
class TimerAccess:
    """One MRC, MCR, MRRC or MCRR of the timer; `registers` are the numbers of Rt and, for 64 bits, Rt2."""

    register: TimerRegister
    write: bool
    registers: tuple[int, ...]


def opcode_of(code: bytes, *, thumb: bool) -> int:
    """The encoding as the manual prints it, from the four bytes at the instruction."""
    word = int.from_bytes(code, "little")
    return (word & 0xFFFF) << 16 | word >> 16 if thumb else word


def decode_timer(opcode: int, *, thumb: bool) -> TimerAccess | None:
    """What a trapped timer instruction does; None when it is undefined, as is what the manual calls unpredictable."""
    write = not opcode >> 20 & 1
    rt = opcode >> 12 & 15
    forbidden = (13, 15) if thumb else (15,)
    if opcode >> 28 == 0xF or rt in forbidden:
        return None
    if opcode >> 24 & 0xF == 0xE:
        register = _SINGLE.get((opcode >> 21 & 7, opcode & 15, opcode >> 5 & 7))
        return register and TimerAccess(register, write, (rt,))
    rt2, register = opcode >> 16 & 15, _DOUBLE.get(opcode >> 4 & 15)
    if register is None or rt2 in forbidden or (rt2 == rt and not write):
        return None
    return TimerAccess(register, write, (rt, rt2))


@dataclass(frozen=True)
class MonitorAccess:
    """One MRC or MCR of a register with c9: its CRm and opc2, and the number of Rt."""

    register: tuple[int, int]
    write: bool
    rt: int


def decode_monitor(opcode: int, *, thumb: bool) -> MonitorAccess | None:
    """What a trapped access to c9 does; None when it is undefined."""
    rt = opcode >> 12 & 15
    if opcode >> 28 == 0xF or rt in ((13, 15) if thumb else (15,)):
        return None
    return MonitorAccess((opcode & 15, opcode >> 5 & 7), not opcode >> 20 & 1, rt)


def condition_passed(condition: int, cpsr: int) -> bool:
    """Whether an ARM instruction with that condition field executes (A8.3)."""
    n, z, c, v = (bool(cpsr & flag) for flag in (CPSR_N, CPSR_Z, CPSR_C, CPSR_V))
    holds = (z, c, n, v, c and not z, n == v, n == v and not z, True)[condition >> 1 & 7]
    return holds is not bool(condition & 1) or condition >> 1 == 7
