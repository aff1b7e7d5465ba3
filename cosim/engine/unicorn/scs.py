"""The System Control Space of the Cortex-M4 as registers (ARMv7-M manual, B3.2 to B3.4).

What they mean is elsewhere: exceptions in `nvic.py`, the timer in `systick.py`, regions in `mpu.py`. Feature registers
are those of a Cortex-M4 r0p1 (its manual, table 4-1).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Protocol

from cosim.access import Initiator
from cosim.engine.unicorn.nvic import HARD_FAULT, NMI, PENDSV, PRIORITY_BITS, SYSTICK, Masks, Nvic
from cosim.engine.unicorn.nvic_state import EXCEPTIONS, FIRST_INTERRUPT, INTERRUPTS
from cosim.events import EventLog
from cosim.registers import Access, Field, Register, RegisterBlock, bits

# CFSR: MMFSR [7:0], BFSR [15:8], UFSR [31:16]
IACCVIOL, DACCVIOL, MUNSTKERR, MSTKERR, MLSPERR, MMARVALID = 1 << 0, 1 << 1, 1 << 3, 1 << 4, 1 << 5, 1 << 7
IBUSERR, PRECISERR, UNSTKERR, STKERR, LSPERR, BFARVALID = 1 << 8, 1 << 9, 1 << 11, 1 << 12, 1 << 13, 1 << 15
UNDEFINSTR, INVSTATE, INVPC, NOCP, UNALIGNED, DIVBYZERO = 1 << 16, 1 << 17, 1 << 18, 1 << 19, 1 << 24, 1 << 25
CFSR_BITS = 0x030FBFBB  # every bit that the manual defines

HFSR_VECTTBL, HFSR_FORCED, HFSR_DEBUGEVT = 1 << 1, 1 << 30, 1 << 31
FPCCR_ASPEN, FPCCR_LSPEN, FPCCR_THREAD, FPCCR_USER, FPCCR_LSPACT = 1 << 31, 1 << 30, 1 << 3, 1 << 1, 1 << 0

_AIRCR_KEY = 0x05FA
_SLEEPONEXIT, _SEVONPEND = 1 << 1, 1 << 4
_NONBASETHRDENA, _USERSETMPEND, _UNALIGN_TRP, _DIV_0_TRP, _BFHFNMIGN, _STKALIGN = (
    1 << bit for bit in (0, 1, 3, 4, 8, 9)
)
_SHARED = ("VTOR", "CCR", "SCR")
_TIMER = range(0x010, 0x020)
_MPU = range(0xD90, 0xDBC)
STIR = 0xF00
#: First offsets of the arrays of one bit per interrupt.
_ISER, _ICER, _ISPR, _ICPR, _IABR = 0x100, 0x180, 0x200, 0x280, 0x300
_BIT_ARRAYS, _ARRAY_SIZE = range(_ISER, 0x380), 0x80
_IPR = range(0x400, 0x400 + 4 * ((INTERRUPTS + 3) // 4))
_ALL_INTERRUPTS = ((1 << INTERRUPTS) - 1) << FIRST_INTERRUPT


def _constant(name: str, offset: int, value: int) -> Register:
    return Register(name, offset, value, access=Access.RO)


SCS_REGISTERS = (
    _constant("ICTR", 0x004, (INTERRUPTS + 31) // 32 - 1),
    Register("ACTLR", 0x008, fields=bits({
        0: "DISMCYCINT", 1: "DISDEFWBUF", 2: "DISFOLD", 8: "DISFPCA", 9: "DISOOFP",
    })),
    _constant("CPUID", 0xD00, 0x410FC241),
    Register("ICSR", 0xD04, logged=False, access=Access.PULSE, fields=bits({
        25: "PENDSTCLR", 26: "PENDSTSET", 27: "PENDSVCLR", 28: "PENDSVSET", 31: "NMIPENDSET",
    })),
    Register("VTOR", 0xD08, fields=(Field("TBLOFF", 7, 25),)),
    Register(
        "AIRCR", 0xD0C, 0xFA050000,
        (Field("SYSRESETREQ", 2, access=Access.PULSE), Field("PRIGROUP", 8, 3), Field("VECTKEY", 16, 16, Access.PULSE)),
    ),
    Register("SCR", 0xD10, fields=bits({1: "SLEEPONEXIT", 2: "SLEEPDEEP", 4: "SEVONPEND"}), logged=False),
    Register(
        "CCR", 0xD14, _STKALIGN,
        bits({0: "NONBASETHRDENA", 1: "USERSETMPEND", 3: "UNALIGN_TRP", 4: "DIV_0_TRP", 8: "BFHFNMIGN", 9: "STKALIGN"}),
    ),
    Register("SHPR1", 0xD18, fields=(Field("PRI_4", 4, 4), Field("PRI_5", 12, 4), Field("PRI_6", 20, 4))),
    Register("SHPR2", 0xD1C, fields=(Field("PRI_11", 28, 4),)),
    Register("SHPR3", 0xD20, fields=(Field("PRI_12", 4, 4), Field("PRI_14", 20, 4), Field("PRI_15", 28, 4))),
    Register("SHCSR", 0xD24, fields=bits({
        0: "MEMFAULTACT", 1: "BUSFAULTACT", 3: "USGFAULTACT", 7: "SVCALLACT", 8: "MONITORACT", 10: "PENDSVACT",
        11: "SYSTICKACT",
        12: "USGFAULTPENDED", 13: "MEMFAULTPENDED", 14: "BUSFAULTPENDED", 15: "SVCALLPENDED",
        16: "MEMFAULTENA", 17: "BUSFAULTENA", 18: "USGFAULTENA",
    })),
    Register("CFSR", 0xD28, fields=bits({n: f"bit{n}" for n in range(32) if CFSR_BITS >> n & 1}), access=Access.W1C),
    Register("HFSR", 0xD2C, fields=bits({1: "VECTTBL", 30: "FORCED", 31: "DEBUGEVT"}), access=Access.W1C),
    Register("DFSR", 0xD30, access=Access.W1C, fields=bits({
        0: "HALTED", 1: "BKPT", 2: "DWTTRAP", 3: "VCATCH", 4: "EXTERNAL",
    })),
    Register("MMFAR", 0xD34),
    Register("BFAR", 0xD38),
    _constant("AFSR", 0xD3C, 0),
    _constant("ID_PFR0", 0xD40, 0x00000030),
    _constant("ID_PFR1", 0xD44, 0x00000200),
    _constant("ID_DFR0", 0xD48, 0x00100000),
    _constant("ID_AFR0", 0xD4C, 0),
    _constant("ID_MMFR0", 0xD50, 0x00100030),
    _constant("ID_MMFR1", 0xD54, 0),
    _constant("ID_MMFR2", 0xD58, 0x01000000),
    _constant("ID_MMFR3", 0xD5C, 0),
    _constant("ID_ISAR0", 0xD60, 0x01101110),
    _constant("ID_ISAR1", 0xD64, 0x02112000),
    _constant("ID_ISAR2", 0xD68, 0x21232231),
    _constant("ID_ISAR3", 0xD6C, 0x01111131),
    _constant("ID_ISAR4", 0xD70, 0x01310132),
    Register("CPACR", 0xD88, fields=(Field("CP10", 20, 2), Field("CP11", 22, 2))),
    _constant("DHCSR", 0xDF0, 0),  # no debugger is attached, and software cannot be one
    Register("DCRSR", 0xDF4, access=Access.PULSE, logged=False),
    Register("DCRDR", 0xDF8, logged=False),
    Register("DEMCR", 0xDFC, fields=bits({
        0: "VC_CORERESET", 4: "VC_MMERR", 5: "VC_NOCPERR", 6: "VC_CHKERR", 7: "VC_STATERR", 8: "VC_BUSERR",
        9: "VC_INTERR", 10: "VC_HARDERR", 16: "MON_EN", 17: "MON_PEND", 18: "MON_STEP", 19: "MON_REQ", 24: "TRCENA",
    })),
    Register("FPCCR", 0xF34, FPCCR_ASPEN | FPCCR_LSPEN, fields=bits({
        0: "LSPACT", 1: "USER", 3: "THREAD", 4: "HFRDY", 5: "MMRDY", 6: "BFRDY", 8: "MONRDY", 30: "LSPEN", 31: "ASPEN",
    })),
    Register("FPCAR", 0xF38, fields=(Field("ADDRESS", 3, 29),)),
    Register("FPDSCR", 0xF3C, fields=(Field("RMode", 22, 2), *bits({24: "FZ", 25: "DN", 26: "AHP"}))),
    _constant("MVFR0", 0xF40, 0x10110021),
    _constant("MVFR1", 0xF44, 0x11000011),
    _constant("MVFR2", 0xF48, 0),
)  # fmt: skip


class CorePorts(Protocol):
    """What the registers need of their core."""

    def masks(self) -> Masks:
        """PRIMASK, FAULTMASK and BASEPRI."""
        ...

    def handling(self) -> int:
        """IPSR: the number of the exception whose handler runs, 0 in Thread mode."""
        ...

    def request_reset(self) -> None:
        """AIRCR.SYSRESETREQ was written."""
        ...

    def reconsider(self) -> None:
        """Something changed that decides which exception is taken or which instructions trap."""
        ...


class SubBlock(Protocol):
    """Registers that another module holds."""

    def read(self, offset: int, now_ps: int) -> int:
        """The word at `offset` of the System Control Space."""
        ...

    def write(self, offset: int, value: int, now_ps: int) -> None:
        """Write the word at `offset`."""
        ...


class SystemControl(RegisterBlock):
    """The registers; `nvic` is what they control."""

    registers: ClassVar[tuple[Register, ...]] = SCS_REGISTERS

    def __init__(self, log: EventLog, core: CorePorts, now: Callable[[], int], timer: SubBlock, mpu: SubBlock) -> None:
        super().__init__("nvic", 0xE000E000, log)
        self.nvic = Nvic()
        self._share()
        self._core = core
        self._now = now
        self._parts = ((_TIMER, timer), (_MPU, mpu))

    # -- what the core asks ------------------------------------------------------------------------------------

    @property
    def stack_aligned(self) -> bool:
        """CCR.STKALIGN: exception frames are aligned to 8 bytes."""
        return bool(self.value("CCR") & _STKALIGN)

    @property
    def nonbasethreadena(self) -> bool:
        """CCR.NONBASETHRDENA: Thread mode may be entered with exceptions still active."""
        return bool(self.value("CCR") & _NONBASETHRDENA)

    @property
    def ignores_bus_faults(self) -> bool:
        """CCR.BFHFNMIGN: what runs at a negative priority does not take bus faults of its loads and stores."""
        return bool(self.value("CCR") & _BFHFNMIGN)

    @property
    def traps_unaligned(self) -> bool:
        """CCR.UNALIGN_TRP."""
        return bool(self.value("CCR") & _UNALIGN_TRP)

    @property
    def traps_zero_division(self) -> bool:
        """CCR.DIV_0_TRP."""
        return bool(self.value("CCR") & _DIV_0_TRP)

    @property
    def sleep_on_exit(self) -> bool:
        """SCR.SLEEPONEXIT."""
        return bool(self.value("SCR") & _SLEEPONEXIT)

    @property
    def event_on_pend(self) -> bool:
        """SCR.SEVONPEND."""
        return bool(self.value("SCR") & _SEVONPEND)

    def unprivileged_may_write(self, offset: int) -> bool:
        """STIR with CCR.USERSETMPEND; everything else is for privileged software (B3.1.1)."""
        return offset == STIR and bool(self.value("CCR") & _USERSETMPEND)

    def fpu_allowed(self, *, privileged: bool) -> bool:
        """Whether CPACR lets such software use the FPU."""
        rights = self.value("CPACR") >> 20 & 3
        return rights == 3 or (rights == 1 and privileged)

    def set_bits(self, name: str, value: int) -> None:
        """Set bits of a status register."""
        self.poke(name, self.value(name) | value)

    def escalate(self, number: int, masks: Masks) -> int | None:
        """See `Nvic.escalate`; sets HFSR.FORCED for a HardFault that something else became."""
        chosen = self.nvic.escalate(number, masks)
        if chosen == HARD_FAULT != number:
            self.set_bits("HFSR", HFSR_FORCED)
        return chosen

    # -- accesses ----------------------------------------------------------------------------------------------

    def read(self, offset: int, size: int, initiator: Initiator) -> int:
        """See `RegisterBlock.read`."""
        word = offset & ~3
        if word in _BIT_ARRAYS or word in _IPR or word == STIR:
            value = self._read_interrupts(word)
            return value >> 8 * (offset & 3) & (1 << 8 * size) - 1
        for offsets, part in self._parts:
            if word in offsets:
                return part.read(word, self._now()) >> 8 * (offset & 3) & (1 << 8 * size) - 1
        return super().read(offset, size, initiator)

    def write(self, offset: int, size: int, value: int, initiator: Initiator) -> None:
        """See `RegisterBlock.write`."""
        word, shift = offset & ~3, 8 * (offset & 3)
        if word in _BIT_ARRAYS:
            self._write_bits(word, value << shift)
        elif word in _IPR:
            for index, byte in enumerate(value.to_bytes(4, "little")[:size]):
                number = FIRST_INTERRUPT + offset - _IPR.start + index
                if number < EXCEPTIONS:
                    self.nvic.priorities[number] = byte & PRIORITY_BITS
        elif word == STIR:
            if value & 0x1FF < INTERRUPTS:
                self.nvic.pend(FIRST_INTERRUPT + (value & 0x1FF))
        else:
            for offsets, part in self._parts:
                if word in offsets:
                    part.write(word, value << shift, self._now())
                    break
            else:
                super().write(offset, size, value, initiator)
                return
        self._core.reconsider()

    def _read_interrupts(self, offset: int) -> int:
        nvic = self.nvic
        if offset in _IPR:
            first = FIRST_INTERRUPT + offset - _IPR.start
            return int.from_bytes(nvic.priorities[first : first + 4], "little")
        if offset == STIR:
            return 0
        array, shift = self._place(offset)
        active = sum(1 << n for n in nvic.active)
        sets = {_ISER: nvic.enabled, _ICER: nvic.enabled, _ISPR: nvic.pending, _ICPR: nvic.pending, _IABR: active}
        return (sets[array] & _ALL_INTERRUPTS) >> shift & 0xFFFFFFFF

    def _write_bits(self, offset: int, value: int) -> None:
        nvic = self.nvic
        array, shift = self._place(offset)
        interrupts = value << shift & _ALL_INTERRUPTS
        if array == _ISER:
            nvic.enabled |= interrupts
        elif array == _ICER:
            nvic.enabled &= ~interrupts
        elif array == _ISPR:
            nvic.pend_all(interrupts)
        elif array == _ICPR:
            nvic.unpend(interrupts)

    @staticmethod
    def _place(offset: int) -> tuple[int, int]:
        """The array that a word belongs to, and the exception number of its first bit."""
        within = (offset - _ISER) % _ARRAY_SIZE
        return offset - within, FIRST_INTERRUPT + 8 * within

    # -- hooks of the table ------------------------------------------------------------------------------------

    def read_register(self, register: Register, initiator: Initiator) -> int:
        """ICSR and SHCSR follow from the state."""
        if register.name == "ICSR":
            return self._icsr()
        if register.name == "SHCSR":
            return self.nvic.shcsr()
        return super().read_register(register, initiator)

    def _icsr(self) -> int:
        nvic, masks = self.nvic, self._core.masks()
        value = self._core.handling()
        value |= 1 << 11 if all(number == value for number in nvic.active) else 0
        number = nvic.most_urgent()
        held = Masks(False, masks.faultmask, masks.basepri)  # VECTPENDING disregards PRIMASK (B3.2.4)
        if number is not None and (not held.any or nvic.group_priority(number) < nvic.execution_priority(held)):
            value |= number << 12
        value |= 1 << 22 if nvic.pending & nvic.enabled & _ALL_INTERRUPTS else 0
        for exception, bit in ((SYSTICK, 26), (PENDSV, 28), (NMI, 31)):
            value |= (nvic.pending >> exception & 1) << bit
        return value

    def refuses_write(self, register: Register, written: int, initiator: Initiator) -> tuple[str | None, int]:
        """AIRCR takes a write only with its key in the upper half."""
        if register.name == "AIRCR" and written >> 16 != _AIRCR_KEY:
            return None, 0
        return super().refuses_write(register, written, initiator)

    def written(self, register: Register, before: int, after: int, written: int, initiator: Initiator) -> None:
        """Tell the parts that a register controls."""
        super().written(register, before, after, written, initiator)
        nvic, name = self.nvic, register.name
        if name == "AIRCR":
            nvic.prigroup = after >> 8 & 7
            if written & 1 << 2:
                self._core.request_reset()
        elif name == "ICSR":
            self._write_icsr(written)
        elif name.startswith("SHPR"):
            first = 4 * int(name[-1])
            nvic.priorities[first : first + 4] = after.to_bytes(4, "little")
        elif name == "SHCSR":
            nvic.set_shcsr(after)
        elif name in _SHARED:
            self._share()
        self._core.reconsider()

    def _share(self) -> None:
        """Let the C helper know what it needs of these registers."""
        state = self.nvic.state
        state.vtor, state.ccr, state.scr = (self.value(name) for name in _SHARED)

    def combine(self, register: Register, before: int, written: int, lanes: int) -> int:
        """SHCSR is combined with what it shows, not with what was written last."""
        if register.name == "SHCSR":
            before = self.nvic.shcsr()
        return super().combine(register, before, written, lanes)

    def _write_icsr(self, written: int) -> None:
        nvic = self.nvic
        for bit, number in ((25, SYSTICK), (27, PENDSV)):
            if written & 1 << bit:
                nvic.unpend(1 << number)
        for bit, number in ((26, SYSTICK), (28, PENDSV), (31, NMI)):
            if written & 1 << bit:
                nvic.pend(number)

    def reset(self) -> None:
        """Back to the reset state: nothing is active."""
        super().reset()
        self.nvic.reset()
        self._share()

    def save_extra(self) -> object:
        """See `Nvic.save`."""
        return self.nvic.save()

    def load_extra(self, extra: object) -> None:
        """Restore what `save_extra` returned."""
        assert isinstance(extra, tuple)
        self.nvic.load(extra)
        self._share()
