"""TAMP: the 32 backup registers, their three security zones, and the monotonic counter.

Sources: RM0436 (TAMP) as quoted by ST's SVD, OP-TEE core/drivers/stm32_tamp.c, U-Boot arch/arm/mach-stm32mp.
Zone 1 (below BKPRWDPROT) is secure only, zone 2 (below BKPWDPROT) is read-only for the normal world, zone 3 is open.
While PWR_CR1.DBP is 0 every write to the block is ignored, also the secure world's. Registers outside zones are read by
anyone; SMCR is written by the secure world only. Tamper detection is not modelled, SMCR.DPROT is stored without effect.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from cosim.access import Initiator
from cosim.events import EventLog
from cosim.registers import WORD, Access, Field, Register, RegisterBlock

BACKUP_REGISTERS = 32
_BKP0R = 0x100

REGISTERS: tuple[Register, ...] = (
    Register("SMCR", 0x20, 0x80000000, (Field("BKPRWDPROT", 0, 8), Field("BKPWDPROT", 16, 8), Field("DPROT", 31))),
    Register("COUNTR", 0x40, 0, access=Access.PULSE),
    Register("CFGR", 0x50, 0, (Field("OUT3_RMP", 0),)),
    *(Register(f"BKP{n}R", _BKP0R + 4 * n) for n in range(BACKUP_REGISTERS)),
    Register("HWCFGR2", 0x3EC, 0x00000101, access=Access.RO),
    Register("HWCFGR1", 0x3F0, 0x009D1320, access=Access.RO),
    Register("VERR", 0x3F4, 0x10, access=Access.RO),
    Register("IPIDR", 0x3F8, 0x00121033, access=Access.RO),
    Register("SIDR", 0x3FC, 0xA3C5DD01, access=Access.RO),
)


class Tamp(RegisterBlock):
    """The tamper and backup block; `backup_writable` answers whether PWR_CR1.DBP is set."""

    registers: ClassVar[tuple[Register, ...]] = REGISTERS
    computed: ClassVar[frozenset[str] | None] = frozenset({"COUNTR"})

    def __init__(self, base: int, log: EventLog, backup_writable: Callable[[], bool], name: str = "tamp") -> None:
        super().__init__(name, base, log)
        self._backup_writable = backup_writable

    def zone(self, index: int) -> int:
        """The zone (1, 2 or 3) of backup register `index`."""
        smcr = self.value("SMCR")
        if index < (smcr & 0xFF):
            return 1
        return 2 if index < ((smcr >> 16) & 0xFF) else 3

    def refuses_read(self, register: Register, initiator: Initiator) -> str | None:
        """Zone 1 reads as zero in the normal world."""
        if not initiator.secure and self._zone_of(register) == 1:
            return "TAMP_SMCR.BKPRWDPROT"
        return None

    def refuses_write(self, register: Register, written: int, initiator: Initiator) -> tuple[str | None, int]:  # noqa: ARG002
        """Zones and SMCR against the normal world, DBP against everybody."""
        if not initiator.secure:
            zone = self._zone_of(register)
            if register.name == "SMCR":
                return "TAMP_SMCR=SECURE_ONLY", 0
            if zone == 1:
                return "TAMP_SMCR.BKPRWDPROT", 0
            if zone == 2:
                return "TAMP_SMCR.BKPWDPROT", 0
        if not self._backup_writable():
            return "PWR_CR1.DBP", 0
        return None, WORD

    def read_register(self, register: Register, initiator: Initiator) -> int:
        """COUNTR reads as its count although it cannot be written with a value."""
        if register.name == "COUNTR":
            return self.value("COUNTR")
        return super().read_register(register, initiator)

    def combine(self, register: Register, before: int, written: int, lanes: int) -> int:
        """Any write to COUNTR adds one; the counter stops at its largest value."""
        if register.name == "COUNTR":
            return min(before + 1, WORD)
        return super().combine(register, before, written, lanes)

    def _zone_of(self, register: Register) -> int:
        index = (register.offset - _BKP0R) // 4
        return self.zone(index) if 0 <= index < BACKUP_REGISTERS else 3
