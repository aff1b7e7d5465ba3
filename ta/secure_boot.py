"""What BL2 and OP-TEE leave behind at start, written register by register: clocks, RCC, PWR, TAMP, ETZPC, TZC-400.

Sources: TF-A `plat/st/stm32mp1`, OP-TEE `core/arch/arm/plat-stm32mp1` and the ETZPC table of the 157C-DK2 board.
Nothing here depends on the image; the firewall of the remote processor's memories is the PTA's (`ta.isolation`).
"""

from __future__ import annotations

from dataclasses import dataclass

from ta.isolation import DecprotAttribute, decprot_fields, write_fields
from ta.memory_map import (
    ETZPC_DECPROT_LOCK0,
    ETZPC_TZMA0_SIZE,
    ETZPC_TZMA1_SIZE,
    PWR_CR1,
    PWR_CR1_DBP,
    RCC_MP_APB5ENSETR,
    RCC_TZCR,
    RCC_TZCR_TZEN,
    TAMP_SMCR,
    TZC_BASE,
)
from ta.ports import SecureBus, read32, write32

#: RCC_MP_APB5ENSETR: RTCAPB, TZC1, TZC2, TZPC, IWDG1, BSEC, STGEN.
APB5_CLOCKS = 1 << 8 | 1 << 11 | 1 << 12 | 1 << 13 | 1 << 15 | 1 << 16 | 1 << 20

#: TAMP_SMCR: backup registers 0-9 secure only, 10-14 read-only for the normal world, 15-31 for everyone.
TAMP_ZONE_1_END, TAMP_ZONE_2_END = 10, 15

#: A TZMA that is secure over its whole range (R0SIZE counts 4 KiB pages from the base).
TZMA_ALL_SECURE = 0x3FF

_S_RW, _NS_R_S_W, _NS_RW = DecprotAttribute.S_RW, DecprotAttribute.NS_R_S_W, DecprotAttribute.NS_RW

#: DECPROT identifiers of the 157C-DK2: STGENC, BKPSRAM, IWDG1 secure; USART1, SPI6, I2C4, RNG1, HASH1, CRYP1, I2C6
#: open; DDRCTRL and DDRPHYC readable; RETRAM and SRAM1 to 4 open until the PTA says otherwise.
BOARD_DECPROT: dict[int, DecprotAttribute] = {
    **dict.fromkeys((0, 1, 2), _S_RW),
    **dict.fromkeys((3, 4, 5, 7, 8, 9, 12), _NS_RW),
    **dict.fromkeys((10, 11), _NS_R_S_W),
    **dict.fromkeys((80, 81, 82, 83, 84), _NS_RW),
}
BOARD_LOCKED = (0, 1, 2, 10, 11)


@dataclass(frozen=True)
class TzcRegion:
    """A TZC-400 region: inclusive addresses, and whether the normal world (every NSAID of the SoC) may use it."""

    base: int
    top: int
    non_secure: bool


#: The 512 MiB boards: normal world, OP-TEE, reserved shared memory.
DDR_REGIONS = (
    TzcRegion(0xC0000000, 0xDDFFFFFF, non_secure=True),
    TzcRegion(0xDE000000, 0xDFDFFFFF, non_secure=False),
    TzcRegion(0xDFE00000, 0xDFFFFFFF, non_secure=True),
)
_TZC_ACTION, _TZC_GATE_KEEPER, _TZC_REGIONS, _TZC_REGION_STRIDE = 0x004, 0x008, 0x100, 0x20
_TZC_ACTION_INT = 2
_TZC_FILTERS = 3
_SECURE_RW = 1 << 31 | 1 << 30
#: NSAIDs 0, 1, 3 to 10 and 15, for writes and reads.
_ALL_NSAIDS = 0x87FB87FB


def configure_machine(bus: SecureBus) -> None:
    """Write everything up to the point where OP-TEE starts its remoteproc PTA. Raises `BusFault`."""
    write32(bus, RCC_MP_APB5ENSETR, APB5_CLOCKS)
    write32(bus, RCC_TZCR, RCC_TZCR_TZEN)
    write32(bus, PWR_CR1, read32(bus, PWR_CR1) | PWR_CR1_DBP)
    zones = TAMP_ZONE_2_END << 16 | TAMP_ZONE_1_END
    write32(bus, TAMP_SMCR, read32(bus, TAMP_SMCR) & ~0x00FF00FF | zones)
    _configure_tzc(bus)
    write32(bus, ETZPC_TZMA0_SIZE, TZMA_ALL_SECURE)
    write32(bus, ETZPC_TZMA1_SIZE, TZMA_ALL_SECURE)
    write_fields(bus, decprot_fields(BOARD_DECPROT))
    for identifier in BOARD_LOCKED:
        write32(bus, ETZPC_DECPROT_LOCK0 + 4 * (identifier // 32), 1 << identifier % 32)


def _configure_tzc(bus: SecureBus) -> None:
    """The DDR firewall: nothing outside the regions, filters closed while they change."""
    write32(bus, TZC_BASE + _TZC_GATE_KEEPER, 0)
    _write_region(bus, 0, _TZC_FILTERS, 0)
    for number, region in enumerate(DDR_REGIONS, start=1):
        base = TZC_BASE + _TZC_REGIONS + number * _TZC_REGION_STRIDE
        write32(bus, base, region.base)
        write32(bus, base + 0x08, region.top)
        # The secure world of the model makes all its accesses with the secure attribute, so it needs the right to the
        # shared DDR as well; OP-TEE maps that memory as non-secure instead.
        _write_region(bus, number, _SECURE_RW | _TZC_FILTERS, _ALL_NSAIDS if region.non_secure else 0)
    write32(bus, TZC_BASE + _TZC_ACTION, _TZC_ACTION_INT)
    write32(bus, TZC_BASE + _TZC_GATE_KEEPER, _TZC_FILTERS)


def _write_region(bus: SecureBus, number: int, attributes: int, id_access: int) -> None:
    base = TZC_BASE + _TZC_REGIONS + number * _TZC_REGION_STRIDE
    write32(bus, base + 0x10, attributes)
    write32(bus, base + 0x14, id_access)
