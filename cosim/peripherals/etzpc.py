"""ETZPC: which world and which core may use each peripheral and on-chip memory.

Sources: RM0436 (ETZPC) as quoted by ST's SVD, OP-TEE core/drivers/stm32_etzpc.c, TF-A drivers/st/etzpc.
Reset values of DECPROT1..5: the SVD prints 0, but peripherals with an ID from 16 on come up non-secure on silicon (boot
chains that program only DECPROT0 leave them usable by Linux), so they are 0xFFFFFFFF here.
That non-secure writes never reach this block is the firewall's rule for it (`cosim.firewall`).
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import ClassVar

from cosim.access import Initiator
from cosim.events import EventLog
from cosim.registers import Access, Field, Register, RegisterBlock, bank

LOCK = 1 << 31
PAGE = 0x1000

_TZMA = (Field("R0SIZE", 0, 10), Field("LOCK", 31, access=Access.W1S))

REGISTERS: tuple[Register, ...] = (
    Register("TZMA0_SIZE", 0x000, 0x3FF, _TZMA),
    Register("TZMA1_SIZE", 0x004, 0x3FF, _TZMA),
    Register("DECPROT0", 0x010, 0),
    *(Register(f"DECPROT{n}", 0x010 + 4 * n, 0xFFFFFFFF) for n in range(1, 6)),
    *bank("DECPROT_LOCK", 0x030, 3, access=Access.W1S),
    Register("HWCFGR", 0x3F0, 0x00006002, access=Access.RO),
    Register("VERR", 0x3F4, 0x20, access=Access.RO),
    Register("IPIDR", 0x3F8, 0x00100061, access=Access.RO),
    Register("SIDR", 0x3FC, 0xA3C5DD01, access=Access.RO),
)

#: DECPROT identifier of each block and memory, by its name in the platform description.
DECPROT_IDS: dict[str, int] = {
    "stgenc": 0,
    "bkpsram": 1,
    "iwdg1": 2,
    "usart1": 3,
    "spi6": 4,
    "i2c4": 5,
    "rng1": 7,
    "hash1": 8,
    "cryp1": 9,
    "ddrctrl": 10,
    "ddrphyc": 11,
    "i2c6": 12,
    "lptim1": 25,
    "wwdg1": 26,
    "spi2": 27,
    "spi3": 28,
    "spdifrx": 29,
    "usart2": 30,
    "usart3": 31,
    "uart4": 32,
    "uart5": 33,
    "i2c1": 34,
    "i2c2": 35,
    "i2c3": 36,
    "i2c5": 37,
    "cec": 38,
    "dac": 39,
    "uart7": 40,
    "uart8": 41,
    "mdios": 44,
    "tim1": 48,
    "tim8": 49,
    "usart6": 51,
    "spi1": 52,
    "spi4": 53,
    "spi5": 57,
    "sai1": 58,
    "sai2": 59,
    "sai3": 60,
    "dfsdm": 61,
    "ttfdcan": 62,
    "sai4": 68,
    "vrefbuf": 69,
    "dcmi": 70,
    "crc2": 71,
    "adc": 72,
    "hash2": 73,
    "rng2": 74,
    "cryp2": 75,
    "sram1": 80,
    "sram2": 81,
    "sram3": 82,
    "sram4": 83,
    "retram": 84,
    "otg": 85,
    "sdmmc3": 86,
    "dlybsd3": 87,
    "dma1": 88,
    "dma2": 89,
    "dmamux": 90,
    "fmc": 91,
    "qspi": 92,
    "dlybq": 93,
    "eth": 94,
    **{f"tim{t}": 16 + n for n, t in enumerate((2, 3, 4, 5, 6, 7, 12, 13, 14))},
    **{f"tim{t}": 54 + n for n, t in enumerate((15, 16, 17))},
    **{f"lptim{t}": 62 + t for t in (2, 3, 4, 5)},
}


class Protection(enum.IntEnum):
    """The two-bit attribute of a DECPROT field."""

    S_RW = 0
    NS_R_S_W = 1
    MCU_ISOLATION = 2
    NS_RW = 3


# The firewall asks for all of them at each change.
_PROTECTIONS = tuple(Protection)


class Etzpc(RegisterBlock):
    """The protection controller; tells its listeners when an attribute or a secure size may have changed."""

    registers: ClassVar[tuple[Register, ...]] = REGISTERS

    def __init__(self, base: int, log: EventLog, name: str = "etzpc") -> None:
        super().__init__(name, base, log)
        self._listeners: list[Callable[[], None]] = []
        self._first = self._index_of["DECPROT0"]  # the others follow it

    def listen(self, listener: Callable[[], None]) -> None:
        """Call `listener` after each write that changed a register, and after a reset; not after `load`."""
        self._listeners.append(listener)

    def protection(self, decprot_id: int) -> Protection:
        """The attribute of the peripheral or memory `decprot_id` (0..95)."""
        return _PROTECTIONS[self._words[self._first + (decprot_id >> 4)] >> 2 * (decprot_id & 15) & 3]

    def secure_size(self, tzma: int) -> int:
        """Bytes from the base of the boot ROM (0) or SYSRAM (1) that are secure; the largest value means all."""
        return (self.value(f"TZMA{tzma}_SIZE") & 0x3FF) * PAGE

    def locked(self, decprot_id: int) -> bool:
        """Whether the attribute of `decprot_id` is frozen until the next reset."""
        return bool(self.value(f"DECPROT_LOCK{decprot_id // 32}") >> (decprot_id % 32) & 1)

    def reset(self) -> None:
        """Back to the reset values; locks open."""
        super().reset()
        self._tell()

    def combine(self, register: Register, before: int, written: int, lanes: int) -> int:
        """As the table says, except that locked fields ignore the write."""
        after = super().combine(register, before, written, lanes)
        if register.name.startswith("TZMA"):
            return before if before & LOCK else after
        if register.name.startswith("DECPROT") and "LOCK" not in register.name:
            first = 16 * ((register.offset - 0x010) // 4)
            frozen = sum(3 << (2 * n) for n in range(16) if self.locked(first + n))
            return (after & ~frozen) | (before & frozen)
        return after

    def written(self, register: Register, before: int, after: int, written: int, initiator: Initiator) -> None:  # noqa: ARG002
        """Tell the firewall."""
        if before != after:
            self._tell()

    def _tell(self) -> None:
        for listener in self._listeners:
            listener()
