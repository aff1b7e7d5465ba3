"""Where the secure world finds things: remote processor regions, and the registers that it writes.

Regions are the `memory-region` list of the DK boards' device tree with the `dma-ranges` of its `mlahb` node; register
offsets are those of the STM32MP15 reference manual (RM0436).
"""

from __future__ import annotations

from dataclasses import dataclass

PAGE = 0x1000


@dataclass(frozen=True)
class Region:
    """A memory region of the remote processor: device address `da`, A7 physical address `pa`, `size` in bytes."""

    name: str
    da: int
    pa: int
    size: int


@dataclass(frozen=True)
class Bank:
    """A memory bank behind the ETZPC: DECPROT identifier and A7 physical range."""

    name: str
    decprot_id: int
    pa: int
    size: int


REGIONS: tuple[Region, ...] = (
    Region("retram", 0x00000000, 0x38000000, 0x10000),
    Region("mcuram", 0x30000000, 0x30000000, 0x40000),
    Region("mcuram2", 0x10000000, 0x10000000, 0x40000),
    Region("vring0", 0x10040000, 0x10040000, 0x1000),
    Region("vring1", 0x10041000, 0x10041000, 0x1000),
    Region("vdev0buffer", 0x10042000, 0x10042000, 0x4000),
    Region("ipc_shmem", 0x10048000, 0x10048000, 0x8000),
)

#: Banks that the isolated firewall profile protects; SRAM3 and SRAM4 carry data shared with Linux and stay open.
ISOLATED_BANKS: tuple[Bank, ...] = (
    Bank("RETRAM", 84, 0x38000000, 0x10000),
    Bank("SRAM1", 80, 0x10000000, 0x20000),
    Bank("SRAM2", 81, 0x10020000, 0x20000),
)

#: The OP-TEE reserved shared memory of the 512 MiB boards.
SHM_ADDRESS = 0xDFE00000
SHM_SIZE = 0x200000

RCC_TZCR = 0x50000000
RCC_TZCR_TZEN = 1 << 0
RCC_TZCR_MCKPROT = 1 << 1
RCC_MP_GCR = 0x5000010C
RCC_MP_GCR_BOOT_MCU = 1 << 0
RCC_MP_APB5ENSETR = 0x50000208
RCC_MP_GRSTCSETR = 0x50000404
RCC_MP_GRSTCSETR_MCURST = 1 << 1
PWR_CR1 = 0x50001000
PWR_CR1_DBP = 1 << 8
ETZPC_TZMA0_SIZE = 0x5C007000
ETZPC_TZMA1_SIZE = 0x5C007004
ETZPC_DECPROT0 = 0x5C007010
ETZPC_DECPROT_LOCK0 = 0x5C007030
TZC_BASE = 0x5C006000
TAMP_SMCR = 0x5C00A020


_SRAM_ALIAS, _SRAM, _SRAM_SIZE = 0x30000000, 0x10000000, 0x60000


def memory_cell(pa: int) -> int:
    """The one address of a memory cell: the MCU SRAM appears at 0x30000000 as well as at 0x10000000."""
    return pa - _SRAM_ALIAS + _SRAM if _SRAM_ALIAS <= pa < _SRAM_ALIAS + _SRAM_SIZE else pa


def find_region(da: int, size: int) -> Region | None:
    """The one region that holds all `size` bytes from the device address `da`, or None; size 0 is in no region."""
    if size <= 0:
        return None
    for region in REGIONS:
        if region.da <= da and da + size <= region.da + region.size:
            return region
    return None
