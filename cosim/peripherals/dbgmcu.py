"""DBGMCU of the STM32MP15: which part this is, and what stands still while a debugger has halted a core.

Source: RM0436 (DBGMCU) as quoted by ST's CMSIS header, U-Boot arch/arm/mach-stm32mp (device 0x500, revision B 0x2000).
The freeze bits are stored without effect: a core that a debugger has halted stops virtual time as a whole.
"""

from __future__ import annotations

from typing import ClassVar

from cosim.events import EventLog
from cosim.registers import Access, Register, RegisterBlock

IDCODE = 0x20000500
_FREEZE = tuple(f"{bus}FZ{cpu}" for bus in ("APB4", "APB1", "APB2", "APB3", "APB5") for cpu in (1, 2))

REGISTERS: tuple[Register, ...] = (
    Register("IDCODE", 0x00, IDCODE, access=Access.RO),
    Register("CR", 0x04, logged=False),
    *(Register(name, 0x2C + 4 * n, logged=False) for n, name in enumerate(_FREEZE)),
)


class Dbgmcu(RegisterBlock):
    """The debug support of the device."""

    registers: ClassVar[tuple[Register, ...]] = REGISTERS

    def __init__(self, base: int, log: EventLog, name: str = "dbgmcu") -> None:
        super().__init__(name, base, log)
