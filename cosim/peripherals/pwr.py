"""PWR of the STM32MP15, as far as booting needs it: backup-domain write enable and the low-power requests of the cores.

Sources: RM0436 (PWR) as quoted by ST's SVD, Linux drivers/remoteproc/stm32_rproc.c (st,syscfg-pdds).
CR1 and MPUCR ignore non-secure writes while RCC_TZCR.TZEN is set; MCUCR is always non-secure. The status flags never
rise here: no low-power mode is modelled.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from cosim.access import Initiator
from cosim.events import EventLog
from cosim.registers import WORD, Access, Field, Register, RegisterBlock

DBP = 1 << 8

_PDDS = Field("PDDS", 0)
_FLAGS = (Field("STOPF", 5, access=Access.RO), Field("SBF", 6, access=Access.RO), Field("CSSF", 9, access=Access.PULSE))

REGISTERS: tuple[Register, ...] = (
    Register(
        "CR1",
        0x00,
        0,
        (
            Field("LPDS", 0),
            Field("LPCFG", 1),
            Field("LVDS", 2),
            Field("PVDEN", 4),
            Field("PLS", 5, 3),
            Field("DBP", 8),
            Field("AVDEN", 16),
            Field("ALS", 17, 2),
        ),
    ),
    Register(
        "MPUCR",
        0x10,
        0,
        (
            _PDDS,
            Field("CSTBYDIS", 3),
            *_FLAGS,
            Field("SBFMPU", 7, access=Access.RO),
            Field("STANDBYWFIL2", 15, access=Access.RO),
        ),
    ),
    Register("MCUCR", 0x14, 0, (_PDDS, *_FLAGS, Field("DEEPSLEEP", 15, access=Access.RO))),
    Register("VER", 0x3F4, 0x11, access=Access.RO),
    Register("ID", 0x3F8, 0x00010001, access=Access.RO),
    Register("SID", 0x3FC, 0xA3C5DD01, access=Access.RO),
)


class Pwr(RegisterBlock):
    """The power controller; `tzen` answers whether RCC_TZCR.TZEN is set."""

    registers: ClassVar[tuple[Register, ...]] = REGISTERS

    def __init__(self, base: int, log: EventLog, tzen: Callable[[], bool], name: str = "pwr") -> None:
        super().__init__(name, base, log)
        self._tzen = tzen

    @property
    def backup_writable(self) -> bool:
        """PWR_CR1.DBP: the backup domain (TAMP, RTC) accepts writes."""
        return bool(self.value("CR1") & DBP)

    def refuses_write(self, register: Register, written: int, initiator: Initiator) -> tuple[str | None, int]:  # noqa: ARG002
        """CR1 and MPUCR belong to the secure world while TZEN is set."""
        if register.name in ("CR1", "MPUCR") and not initiator.secure and self._tzen():
            return "RCC_TZCR.TZEN", 0
        return None, WORD
