"""The System Control Space of the Cortex-M4, and which exception is taken when (ARMv7-M manual, B1.5 and B3.2).

Modelled: the registers of the system control block that concern faults. SysTick, NVIC and MPU registers are not
modelled yet: they read as zero and are reported once each.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, NamedTuple

from cosim.access import Initiator
from cosim.events import EventLog
from cosim.registers import Access, Field, Register, RegisterBlock, bits

HARD_FAULT, MEM_MANAGE, BUS_FAULT, USAGE_FAULT, SVCALL = 3, 4, 5, 6, 11

# CFSR: MMFSR [7:0], BFSR [15:8], UFSR [31:16]
IACCVIOL = 1 << 0
IBUSERR, PRECISERR, UNSTKERR, STKERR, BFARVALID = 1 << 8, 1 << 9, 1 << 11, 1 << 12, 1 << 15
UNDEFINSTR, INVSTATE, INVPC = 1 << 16, 1 << 17, 1 << 18
CFSR_BITS = 0x030FBFBB  # every bit that the manual defines

HFSR_VECTTBL, HFSR_FORCED, HFSR_DEBUGEVT = 1 << 1, 1 << 30, 1 << 31

#: SHCSR bits by exception number: (enable, active, pended)
_SHCSR = {
    MEM_MANAGE: (1 << 16, 1 << 0, 1 << 13),
    BUS_FAULT: (1 << 17, 1 << 1, 1 << 14),
    USAGE_FAULT: (1 << 18, 1 << 3, 1 << 12),
    SVCALL: (0, 1 << 7, 1 << 15),
}
_AIRCR_KEY = 0x05FA
_CCR_NONBASETHRDENA, _CCR_STKALIGN = 1 << 0, 1 << 9
LOCKUP_PRIORITY = -1
LOWEST_PRIORITY = 256
PRIORITY_BITS = 0xF0  # four bits are implemented on the STM32MP15

SCS_REGISTERS = (
    Register("CPUID", 0xD00, 0x410FC241, access=Access.RO),
    Register("ICSR", 0xD04, fields=(Field("VECTACTIVE", 0, 9), Field("RETTOBASE", 11)), access=Access.RO),
    Register("VTOR", 0xD08, fields=(Field("TBLOFF", 7, 25),)),
    Register(
        "AIRCR", 0xD0C, 0xFA050000,
        (Field("SYSRESETREQ", 2, access=Access.PULSE), Field("PRIGROUP", 8, 3), Field("VECTKEY", 16, 16, Access.PULSE)),
    ),
    Register("SCR", 0xD10, fields=bits({1: "SLEEPONEXIT", 2: "SLEEPDEEP", 4: "SEVONPEND"})),
    Register(
        "CCR", 0xD14, _CCR_STKALIGN,
        bits({0: "NONBASETHRDENA", 1: "USERSETMPEND", 3: "UNALIGN_TRP", 4: "DIV_0_TRP", 8: "BFHFNMIGN", 9: "STKALIGN"}),
    ),
    Register("SHPR1", 0xD18, fields=(Field("PRI_4", 4, 4), Field("PRI_5", 12, 4), Field("PRI_6", 20, 4))),
    Register("SHPR2", 0xD1C, fields=(Field("PRI_11", 28, 4),)),
    Register("SHPR3", 0xD20, fields=(Field("PRI_14", 20, 4), Field("PRI_15", 28, 4))),
    Register(
        "SHCSR", 0xD24,
        fields=bits({
            0: "MEMFAULTACT", 1: "BUSFAULTACT", 3: "USGFAULTACT", 7: "SVCALLACT",
            16: "MEMFAULTENA", 17: "BUSFAULTENA", 18: "USGFAULTENA",
        }),
    ),
    Register("CFSR", 0xD28, fields=bits({n: f"bit{n}" for n in range(32) if CFSR_BITS >> n & 1}), access=Access.W1C),
    Register("HFSR", 0xD2C, fields=bits({1: "VECTTBL", 30: "FORCED", 31: "DEBUGEVT"}), access=Access.W1C),
    Register("MMFAR", 0xD34),
    Register("BFAR", 0xD38),
    Register("CPACR", 0xD88, fields=(Field("CP10", 20, 2), Field("CP11", 22, 2))),
)  # fmt: skip


class Masks(NamedTuple):
    """The core's own mask registers."""

    primask: bool
    faultmask: bool
    basepri: int


class SystemControl(RegisterBlock):
    """Fault status, priorities and the stack of active exceptions; `request_reset` is called for SYSRESETREQ."""

    registers: ClassVar[tuple[Register, ...]] = SCS_REGISTERS

    def __init__(self, log: EventLog, request_reset: Callable[[], None]) -> None:
        super().__init__("nvic", 0xE000E000, log)
        self._request_reset = request_reset
        self.active: tuple[int, ...] = ()
        #: Exceptions that gave way to one that their own entry raised.
        self.pending: tuple[int, ...] = ()

    @property
    def vtor(self) -> int:
        """Address of the vector table."""
        return self.value("VTOR")

    @property
    def cfsr(self) -> int:
        """The configurable fault status register."""
        return self.value("CFSR")

    @property
    def stack_aligned(self) -> bool:
        """CCR.STKALIGN: exception frames are aligned to 8 bytes."""
        return bool(self.value("CCR") & _CCR_STKALIGN)

    @property
    def nonbasethreadena(self) -> bool:
        """CCR.NONBASETHRDENA: Thread mode may be entered with exceptions still active."""
        return bool(self.value("CCR") & _CCR_NONBASETHRDENA)

    def record(self, status: int, address: int | None) -> None:
        """Set fault status bits, and BFAR when the fault has an address."""
        self.poke("CFSR", self.cfsr | status)
        if address is not None:
            self.poke("BFAR", address)

    def hard_fault_status(self, *, vector_table: bool = False, debug_event: bool = False) -> None:
        """Set the HFSR bits of faults that have no status of their own."""
        extra = (HFSR_VECTTBL if vector_table else 0) | (HFSR_DEBUGEVT if debug_event else 0)
        self.poke("HFSR", self.value("HFSR") | extra)

    def escalate(self, number: int, masks: Masks) -> int | None:
        """The exception that is taken for a synchronous `number`: itself, HardFault, or None for lockup (B1.5.12)."""
        current = self.execution_priority(masks)
        enable = _SHCSR[number][0] if number in _SHCSR else 0
        enabled = not enable or bool(self.value("SHCSR") & enable)
        if number != HARD_FAULT and enabled and self.priority(number) < current:
            return number
        if current <= LOCKUP_PRIORITY:
            return None
        if number != HARD_FAULT:
            self.poke("HFSR", self.value("HFSR") | HFSR_FORCED)
        return HARD_FAULT

    def priority(self, number: int) -> int:
        """The priority of an exception; smaller is more urgent."""
        if number == HARD_FAULT:
            return LOCKUP_PRIORITY
        shpr = self.value(("SHPR1", "SHPR2", "SHPR3")[number // 4 - 1])
        return shpr >> 8 * (number % 4) & PRIORITY_BITS

    def execution_priority(self, masks: Masks) -> int:
        """The priority of what runs now, boosted by the mask registers (B1.5.4)."""
        group = self._group_mask()
        priority = min(
            (self.priority(n) if n == HARD_FAULT else self.priority(n) & group for n in self.active),
            default=LOWEST_PRIORITY,
        )
        if masks.basepri:
            priority = min(priority, masks.basepri & group)
        if masks.primask:
            priority = min(priority, 0)
        return min(priority, LOCKUP_PRIORITY) if masks.faultmask else priority

    def _group_mask(self) -> int:
        return 0xFF << (self.value("AIRCR") >> 8 & 7) + 1 & 0xFF

    def activate(self, number: int) -> None:
        """`number` is being handled from now on."""
        self.active = (*self.active, number)
        self._show_active()

    def deactivate(self, number: int) -> None:
        """`number` is no longer handled."""
        self.active = tuple(n for n in self.active if n != number)
        self._show_active()

    def pend(self, number: int) -> None:
        """`number` waits until nothing more urgent is handled."""
        self.pending = (*self.pending, number)
        self._show_active()

    def take_pending(self, masks: Masks) -> int | None:
        """The pending exception that is to be handled now, no longer pending; None if there is none."""
        number = min(self.pending, key=lambda n: (self.priority(n), n), default=None)
        if number is None or self.priority(number) >= self.execution_priority(masks):
            return None
        self.pending = tuple(n for n in self.pending if n != number)
        self._show_active()
        return number

    def _show_active(self) -> None:
        shcsr = self.value("SHCSR")
        for number, (_, active, pended) in _SHCSR.items():
            shcsr &= ~(active | pended)
            shcsr |= (active if number in self.active else 0) | (pended if number in self.pending else 0)
        self.poke("SHCSR", shcsr)
        self.poke("ICSR", (self.active[-1] if self.active else 0) | (1 << 11 if len(self.active) <= 1 else 0))

    def refuses_write(self, register: Register, written: int, initiator: Initiator) -> tuple[str | None, int]:
        """AIRCR takes a write only with its key in the upper half."""
        if register.name == "AIRCR" and written >> 16 != _AIRCR_KEY:
            return None, 0
        return super().refuses_write(register, written, initiator)

    def written(self, register: Register, before: int, after: int, written: int, initiator: Initiator) -> None:
        """SYSRESETREQ asks the reset controller."""
        super().written(register, before, after, written, initiator)
        if register.name == "AIRCR" and written & 1 << 2:
            self._request_reset()

    def reset(self) -> None:
        """Back to the reset state: nothing is active."""
        super().reset()
        self.active = self.pending = ()

    def save_extra(self) -> object:
        """The active exceptions in the order of entry, and the pending ones."""
        return self.active, self.pending

    def load_extra(self, extra: object) -> None:
        """Restore what `save_extra` returned."""
        assert isinstance(extra, tuple)
        self.active, self.pending = extra
