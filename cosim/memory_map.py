"""The Cortex-M4's view of its memories: device address to bank to A7 physical address, as data and lookups.

Source: STM32MP15 reference manual (RM0436), memory organization; the loadable regions are those of `ta.memory_map`
(the DK boards' device tree). The MCU SRAM banks are seen twice by both cores, at 0x10000000 and at 0x30000000.
"""

from __future__ import annotations

from dataclasses import dataclass

from ta.memory_map import find_region


@dataclass(frozen=True, slots=True)
class Bank:
    """A memory bank, its size in bytes and its DECPROT identifier in the ETZPC."""

    name: str
    size: int
    decprot_id: int


@dataclass(frozen=True, slots=True)
class Window:
    """Where a bank appears to the M4: device address `da`; `pa` is the A7 physical address of the same cells."""

    bank: Bank
    da: int
    pa: int

    @property
    def end(self) -> int:
        """The device address behind the last byte."""
        return self.da + self.bank.size


RETRAM = Bank("RETRAM", 0x10000, 84)
SRAM1 = Bank("SRAM1", 0x20000, 80)
SRAM2 = Bank("SRAM2", 0x20000, 81)
SRAM3 = Bank("SRAM3", 0x10000, 82)
SRAM4 = Bank("SRAM4", 0x10000, 83)
BANKS = (RETRAM, SRAM1, SRAM2, SRAM3, SRAM4)

#: The first view of each bank is the one that `cell` counts in.
WINDOWS = (
    Window(RETRAM, 0x00000000, 0x38000000),
    Window(SRAM1, 0x10000000, 0x10000000),
    Window(SRAM2, 0x10020000, 0x10020000),
    Window(SRAM3, 0x10040000, 0x10040000),
    Window(SRAM4, 0x10050000, 0x10050000),
    Window(SRAM1, 0x30000000, 0x30000000),
    Window(SRAM2, 0x30020000, 0x30020000),
    Window(SRAM3, 0x30040000, 0x30040000),
    Window(SRAM4, 0x30050000, 0x30050000),
)

_FIRST = {window.bank: window for window in reversed(WINDOWS)}

#: Where firmware for something else is often linked: first address, address behind the last, what lies there.
_ELSEWHERE = (
    (0x08100000, 0x08200000, "flash bank 2, where the Cortex-M4 of a dual-core STM32H7 boots from"),
    (0x08000000, 0x0A000000, "internal flash of an STM32 microcontroller"),
    (0x1FFE0000, 0x20000000, "tightly coupled code memory of an i.MX7, or system memory of an STM32 microcontroller"),
    (0x20000000, 0x24000000, "internal SRAM of a microcontroller"),
    (0x24000000, 0x25000000, "AXI SRAM of an STM32H7"),
    (0x2FFC0000, 0x30000000, "SYSRAM, which belongs to the secure world of the A7"),
    (0x38000000, 0x38010000, "RETRAM by its A7 address; the M4 and the TA know it at 0x00000000 only"),
    (0x40000000, 0x60000000, "the peripherals"),
    (0x60000000, 0xA0000000, "external memory behind FMC or QSPI, or DDR of another SoC"),
    (0xC0000000, 0xE0000000, "DDR, which belongs to Linux and OP-TEE"),
    (0xE0000000, 0x100000000, "the private peripherals of the Cortex-M4"),
)


def window_at(da: int) -> Window | None:
    """The view of a bank that holds the byte at device address `da`."""
    return next((w for w in WINDOWS if w.da <= da < w.end), None)


def windows_of(da: int, size: int) -> tuple[Window, ...]:
    """The views that `size` bytes from `da` touch, in ascending order."""
    return tuple(w for w in WINDOWS if max(w.da, da) < min(w.end, da + size))


def da_to_pa(da: int) -> int | None:
    """The A7 physical address of the byte that the M4 sees at `da`, None outside its memories."""
    window = window_at(da)
    return None if window is None else window.pa + da - window.da


def cell(da: int) -> int | None:
    """A number for the memory cell behind `da`, equal for all its aliases: the A7 address of the bank's first view."""
    window = window_at(da)
    return None if window is None else _FIRST[window.bank].pa + da - window.da


def loadable(da: int, size: int) -> bool:
    """Whether the TA loads `size` bytes at `da`: all of them inside one region."""
    return find_region(da, size) is not None


def elsewhere(da: int) -> str:
    """What lies at an address outside the M4's memories, in words; "" when that says nothing."""
    return next((text for first, end, text in _ELSEWHERE if first <= da < end), "")
