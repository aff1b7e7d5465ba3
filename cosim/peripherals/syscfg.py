"""SYSCFG of the STM32MP15: boot pins, pin and interconnect settings, the I/O compensation cell.

Sources: RM0436 (SYSCFG) as quoted by ST's SVD and CMSIS header, Linux stm32mp151.dtsi.
BOOTR shows the boot pins of a board that boots from its SD card (BOOT2..0 = 101), so that firmware does not take the
machine for one in engineering boot mode (100). The settings are stored without effect; the compensation cell is ready
as soon as it is enabled.
"""

from __future__ import annotations

from typing import ClassVar

from cosim.access import Initiator
from cosim.events import EventLog
from cosim.registers import Access, Field, Register, RegisterBlock, bits

_SD_CARD = 0b101
_READY = 1 << 8
_ENABLES = bits({0: "MPU_EN", 1: "MCU_EN"})

REGISTERS: tuple[Register, ...] = (
    Register("BOOTR", 0x00, _SD_CARD, (Field("BOOT", 0, 3, Access.RO), Field("BOOT_PD", 4, 3)), logged=False),
    Register("PMCSETR", 0x04, access=Access.W1S, logged=False),
    Register("IOCTRLSETR", 0x18, 0, (Field("HSLVEN", 0, 5),), Access.W1S, logged=False),
    Register("ICNR", 0x1C, 0, (Field("AXI_M", 0, 11),), logged=False),
    Register(
        "CMPCR",
        0x20,
        0x00870000,
        (
            Field("SW_CTRL", 1),
            Field("READY", 8, access=Access.RO),
            Field("RANSRC", 16, 4),
            Field("RAPSRC", 20, 4),
            Field("ANSRC", 24, 4, Access.RO),
            Field("APSRC", 28, 4, Access.RO),
        ),
        logged=False,
    ),
    Register("CMPENSETR", 0x24, 0, _ENABLES, Access.W1S, logged=False),
    Register("CMPENCLRR", 0x28, 0, _ENABLES, Access.W1C, "CMPENSETR", logged=False),
    Register("CBR", 0x2C, 0, bits({0: "CLL", 2: "PVDL"}), Access.W1S, logged=False),
    Register("PMCCLRR", 0x44, access=Access.W1C, stored_in="PMCSETR", logged=False),
    Register("IOCTRLCLRR", 0x58, 0, (Field("HSLVEN", 0, 5),), Access.W1C, "IOCTRLSETR", logged=False),
    Register("VERR", 0x3F4, 0x20, access=Access.RO),
    Register("IPIDR", 0x3F8, 0x00030001, access=Access.RO),
    Register("SIDR", 0x3FC, 0xA3C5DD01, access=Access.RO),
)


class Syscfg(RegisterBlock):
    """The system configuration controller."""

    registers: ClassVar[tuple[Register, ...]] = REGISTERS
    computed: ClassVar[frozenset[str] | None] = frozenset({"CMPCR"})

    def __init__(self, base: int, log: EventLog, name: str = "syscfg") -> None:
        super().__init__(name, base, log)

    def read_register(self, register: Register, initiator: Initiator) -> int:
        """CMPCR says that the compensation cell is ready while it is enabled."""
        value = super().read_register(register, initiator)
        return value | _READY if register.name == "CMPCR" and self.value("CMPENSETR") else value
