"""The clock registers of the RCC as tables: oscillators, PLLs, selectors, dividers, enables and resets of blocks.

Sources: RM0436 (RCC) as quoted by ST's SVD (offsets, reset values, which of them TZEN and MCKPROT guard) and CMSIS
header; TF-A's device tree of the DK2 for what the boot chain leaves behind.
No clock runs here. A ready flag follows its enable at once, so that code that waits for it gets through; resets of
blocks are stored without effect.
"""

from __future__ import annotations

from collections.abc import Mapping

from cosim.registers import WORD, Access, Field, Register, bits, set_clear_pair

READY = 1 << 31
_ALL = (Field("BITS", 0, 32),)

_OSCILLATORS = {0: "HSION", 1: "HSIKERON", 4: "CSION", 5: "CSIKERON", 7: "DIGBYP", 8: "HSEON", 9: "HSEKERON"}
_OSCILLATORS |= {10: "HSEBYP", 11: "HSECSSON"}
#: Flags of OCRDYR that the enables of OCENSETR in the same place raise; the others are always up.
_FOLLOWING, _ALWAYS_READY = 1 << 0 | 1 << 4 | 1 << 8, 1 << 2 | 1 << 23 | 1 << 24

#: Selectors and dividers with a ready flag: offset, width of the setting, setting after reset.
_WITH_READY = {
    "MPCKSELR": (0x020, 2, 0),
    "ASSCKSELR": (0x024, 3, 0),
    "RCK12SELR": (0x028, 2, 0),
    "MPCKDIVR": (0x02C, 3, 1),
    "AXIDIVR": (0x030, 3, 0),
    "APB4DIVR": (0x03C, 3, 0),
    "APB5DIVR": (0x040, 3, 0),
    "RCK3SELR": (0x820, 2, 0),
    "RCK4SELR": (0x824, 2, 0),
    "TIMG1PRER": (0x828, 1, 0),
    "TIMG2PRER": (0x82C, 1, 0),
    "APB1DIVR": (0x834, 3, 0),
    "APB2DIVR": (0x838, 3, 0),
    "APB3DIVR": (0x83C, 3, 0),
}
#: Kernel clock selectors and other plain settings: offset, reset value.
_PLAIN = {
    "HSICFGR": (0x018, 0x0),
    "CSICFGR": (0x01C, 0x1000),
    "RTCDIVR": (0x044, 0x0),
    "I2C46CKSELR": (0x0C0, 0x0),
    "SPI6CKSELR": (0x0C4, 0x0),
    "UART1CKSELR": (0x0C8, 0x0),
    "RNG1CKSELR": (0x0CC, 0x0),
    "CPERCKSELR": (0x0D0, 0x0),
    "STGENCKSELR": (0x0D4, 0x0),
    "DDRITFCR": (0x0D8, 0x000FD02A),
    "PWRLPDLYCR": (0x41C, 0x0),
    "MP_CIER": (0x414, 0x0),
    "MCO1CFGR": (0x800, 0x0),
    "MCO2CFGR": (0x804, 0x0),
    "DBGCFGR": (0x80C, 0x1),
    "SDMMC3CKSELR": (0x8F8, 0x0),
    "FDCANCKSELR": (0x90C, 0x0),
    "SPDIFCKSELR": (0x914, 0x0),
    "MC_CIER": (0xC14, 0x0),
}
#: Kernel clock selectors that lie one behind the other, from the offset on.
_SELECTORS = {
    0x8C0: ("I2C12", "I2C35", "SAI1", "SAI2", "SAI3", "SAI4", "SPI2S1", "SPI2S23", "SPI45", "UART6", "UART24"),
    0x8EC: ("UART35", "UART78", "SDMMC12"),
    0x8FC: ("ETH", "QSPI", "FMC"),
    0x918: ("CEC", "USB", "RNG2", "DSI", "ADC", "LPTIM45", "LPTIM23", "LPTIM1"),
}
_SELECTOR_RESETS = {"SDMMC12": 0x3}

_APB2 = bits(
    {n: f"TIM{t}EN" for n, t in enumerate((1, 8, 15, 16, 17))}
    | {8: "SPI1EN", 9: "SPI4EN", 10: "SPI5EN", 13: "USART6EN", 16: "SAI1EN", 17: "SAI2EN", 18: "SAI3EN"}
    | {20: "DFSDMEN", 21: "ADFSDMEN", 24: "FDCANEN"}
)
_APB3 = bits(
    {n: f"LPTIM{n + 2}EN" for n in range(4)} | {8: "SAI4EN", 11: "SYSCFGEN", 13: "VREFEN", 16: "DTSEN", 20: "HDPEN"}
)
_APB4 = bits({0: "LTDCEN", 4: "DSIEN", 8: "DDRPERFMEN", 15: "IWDG2APBEN", 16: "USBPHYEN", 20: "STGENROEN"})
_APB5 = bits({0: "SPI6EN", 2: "I2C4EN", 3: "I2C6EN", 4: "USART1EN", 8: "RTCAPBEN", 11: "TZC1EN", 12: "TZC2EN"})
_APB5 += bits({13: "TZPCEN", 16: "BSECEN", 20: "STGENEN"})
_AHB2 = bits({0: "DMA1EN", 1: "DMA2EN", 2: "DMAMUXEN", 5: "ADC12EN", 8: "USBOEN", 16: "SDMMC3EN"})
_AHB5 = bits({0: "GPIOZEN", 4: "CRYP1EN", 5: "HASH1EN", 6: "RNG1EN", 8: "BKPSRAMEN", 16: "AXIMCEN"})
_AHB6 = bits({0: "MDMAEN", 5: "GPUEN", 7: "ETHCKEN", 8: "ETHTXEN", 9: "ETHRXEN", 10: "ETHMACEN", 12: "FMCEN"})
_AHB6 += bits({14: "QSPIEN", 16: "SDMMC1EN", 17: "SDMMC2EN", 20: "CRC1EN", 24: "USBHEN"})

#: Pairs of a set and a clear register: offset, reset value, fields.
_PAIRS: Mapping[str, tuple[int, int, tuple[Field, ...]]] = {
    "MP_APB4EN": (0x200, 0x0, _APB4),
    "MP_AHB5EN": (0x210, 0x00010000, _AHB5),
    "MP_AHB6EN": (0x218, 0x0, _AHB6),
    "MC_APB4EN": (0x280, 0x0, _APB4),
    "MC_APB5EN": (0x288, 0x0, _APB5),
    "MC_AHB5EN": (0x290, 0x0, _AHB5),
    "MC_AHB6EN": (0x298, 0x0, _AHB6),
    "MP_APB2EN": (0xA08, 0x0, _APB2),
    "MP_APB3EN": (0xA10, 0x0, _APB3),
    "MP_AHB2EN": (0xA18, 0x0, _AHB2),
    "MC_APB2EN": (0xA88, 0x0, _APB2),
    "MC_APB3EN": (0xA90, 0x0, _APB3),
    "MC_AHB2EN": (0xA98, 0x0, _AHB2),
    "MC_AXIMEN": (0xAB0, 0x0, bits({0: "SYSRAMEN"})),
    "MP_APB4LPEN": (0x300, 0x00118111, _ALL),
    "MP_APB5LPEN": (0x308, 0x0011391D, _ALL),
    "MP_AHB5LPEN": (0x310, 0x00000171, _ALL),
    "MP_AHB6LPEN": (0x318, 0x011357A1, _ALL),
    "MC_APB4LPEN": (0x380, 0x00110111, _ALL),
    "MC_APB5LPEN": (0x388, 0x0011391D, _ALL),
    "MC_AHB5LPEN": (0x390, 0x00000171, _ALL),
    "MC_AHB6LPEN": (0x398, 0x011357A1, _ALL),
    "MP_APB1LPEN": (0xB00, 0xADEFDBFF, _ALL),
    "MP_APB2LPEN": (0xB08, 0x0137271F, _ALL),
    "MP_APB3LPEN": (0xB10, 0x0003290F, _ALL),
    "MP_AHB2LPEN": (0xB18, 0x00010127, _ALL),
    "MP_AHB3LPEN": (0xB20, 0x000018F1, _ALL),
    "MP_AHB4LPEN": (0xB28, 0x000007FF, _ALL),
    "MP_AXIMLPEN": (0xB30, 0x00000001, _ALL),
    "MP_MLAHBLPEN": (0xB38, 0x00000017, _ALL),
    "MC_APB1LPEN": (0xB80, 0xBDEFDBFF, _ALL),
    "MC_APB2LPEN": (0xB88, 0x0137271F, _ALL),
    "MC_APB3LPEN": (0xB90, 0x0003290F, _ALL),
    "MC_AHB2LPEN": (0xB98, 0x00010127, _ALL),
    "MC_AHB3LPEN": (0xBA0, 0x000018F1, _ALL),
    "MC_AHB4LPEN": (0xBA8, 0x000007FF, _ALL),
    "MC_AXIMLPEN": (0xBB0, 0x00000001, _ALL),
    "MC_MLAHBLPEN": (0xBB8, 0x00000017, _ALL),
    **{
        f"{name}RST": (offset, 0x0, _ALL)
        for offset, name in {
            0x180: "APB4",
            0x188: "APB5",
            0x190: "AHB5",
            0x198: "AHB6",
            0x1A0: "TZAHB6",
            0x980: "APB1",
            0x988: "APB2",
            0x990: "APB3",
            0x998: "AHB2",
            0x9A0: "AHB3",
            0x9A8: "AHB4",
        }.items()
    },
}


def _pll(number: int, base: int, configuration: int, dividers: int) -> tuple[Register, ...]:
    name = f"PLL{number}"
    control = (Field("PLLON", 0), Field("PLLRDY", 1, access=Access.RO), Field("SSCG_CTRL", 2), Field("DIVEN", 4, 3))
    return (
        Register(f"{name}CR", base, 0, control),
        Register(f"{name}CFGR1", base + 0x04, configuration),
        Register(f"{name}CFGR2", base + 0x08, dividers),
        Register(f"{name}FRACR", base + 0x0C),
        Register(f"{name}CSGR", base + 0x10),
    )


PLLS = (1, 2, 3, 4)
REGISTERS: tuple[Register, ...] = (
    Register("OCENSETR", 0x00C, 0x1, bits(_OSCILLATORS), Access.W1S),
    Register("OCENCLRR", 0x010, 0x1, bits(_OSCILLATORS), Access.W1C, stored_in="OCENSETR"),
    Register("OCRDYR", 0x808, 0x0, access=Access.RO, logged=False),
    Register("BDCR", 0x140, 0x20),
    Register("RDLSICR", 0x144, 0x0),
    Register("MP_CIFR", 0x418, 0x0, access=Access.W1C),
    Register("MC_CIFR", 0xC18, 0x0, access=Access.W1C),
    *_pll(1, 0x080, 0x00010031, 0x00010100),
    *_pll(2, 0x094, 0x00010063, 0x00010101),
    *_pll(3, 0x880, 0x00010031, 0x00010101),
    *_pll(4, 0x894, 0x00010031, 0x0),
    *(
        Register(name, offset, READY | reset, (Field("SETTING", 0, width), Field("RDY", 31, access=Access.RO)))
        for name, (offset, width, reset) in _WITH_READY.items()
    ),
    *(Register(name, offset, reset) for name, (offset, reset) in _PLAIN.items()),
    *(
        Register(f"{name}CKSELR", first + 4 * n, _SELECTOR_RESETS.get(name, 0), (Field("SRC", 0, 3),))
        for first, names in _SELECTORS.items()
        for n, name in enumerate(names)
    ),
    *(
        register
        for name, (offset, reset, fields) in _PAIRS.items()
        for register in set_clear_pair(name, offset, reset, fields)
    ),
)

#: Registers of this file that the normal world may not write while TZEN is set.
GATED_BY_TZEN = frozenset(
    {
        "OCENSETR",
        "OCENCLRR",
        *("HSICFGR", "CSICFGR", "MPCKSELR", "ASSCKSELR", "RCK12SELR", "MPCKDIVR", "AXIDIVR", "APB4DIVR", "APB5DIVR"),
        *("RTCDIVR", "I2C46CKSELR", "SPI6CKSELR", "UART1CKSELR", "RNG1CKSELR", "STGENCKSELR", "DDRITFCR"),
        *("BDCR", "RDLSICR", "MP_CIER", "MP_CIFR", "PWRLPDLYCR"),
        *(f"PLL{n}{part}" for n in (1, 2) for part in ("CR", "CFGR1", "CFGR2", "FRACR", "CSGR")),
        *(f"{pair}{end}" for pair in ("APB5RST", "AHB5RST", "TZAHB6RST", "MP_AHB5EN") for end in ("SETR", "CLRR")),
        *(f"{pair}{end}" for pair in ("MC_AHB5EN", "MP_APB5LPEN", "MP_AHB5LPEN") for end in ("SETR", "CLRR")),
        *(f"MC_AHB5LPEN{end}" for end in ("SETR", "CLRR")),
    }
)
#: Those that it may not write while TZEN and MCKPROT are set.
GATED_BY_MCKPROT: Mapping[str, int] = dict.fromkeys(
    ("RCK3SELR", "PLL3CR", "PLL3CFGR1", "PLL3CFGR2", "PLL3FRACR", "PLL3CSGR"), WORD
)

#: What TF-A's boot stage leaves on a DK2: HSE, PLL1 at 650 MHz, PLL3 at 208.877930 MHz for the MCU subsystem with its
#: APBs at half of that, PLL2 and PLL4 on, UART2 and UART4 on the HSI.
BOOT_CHAIN: Mapping[str, int] = {
    "OCENSETR": 0x113,
    "RCK12SELR": READY | 1,
    "RCK3SELR": READY | 1,
    "RCK4SELR": READY | 1,
    "MPCKSELR": READY | 2,
    "ASSCKSELR": READY | 2,
    "MSSCKSELR": READY | 3,
    "APB1DIVR": READY | 1,
    "APB2DIVR": READY | 1,
    "APB3DIVR": READY | 1,
    "APB4DIVR": READY | 1,
    "APB5DIVR": READY | 2,
    "PLL1CFGR1": 2 << 16 | 80,
    "PLL1CFGR2": 0x00010000,
    "PLL1FRACR": 0x800 << 3 | 1 << 16,
    "PLL2CFGR1": 2 << 16 | 65,
    "PLL2CFGR2": 0x00000001,
    "PLL2FRACR": 0x1400 << 3 | 1 << 16,
    "PLL3CFGR1": 1 << 16 | 33,
    "PLL3CFGR2": 36 << 16 | 16 << 8 | 1,
    "PLL3FRACR": 0x1A04 << 3 | 1 << 16,
    "PLL4CFGR1": 3 << 16 | 98,
    "PLL4CFGR2": 7 << 16 | 7 << 8 | 5,
    "PLL1CR": 0x11,
    "PLL2CR": 0x71,
    "PLL3CR": 0x71,
    "PLL4CR": 0x71,
    "UART24CKSELR": 2,
}


#: The registers that show ready flags, beside those that `_WITH_READY` keeps set.
WITH_FLAGS = frozenset({"OCRDYR", "BDCR", "RDLSICR", *(f"PLL{n}CR" for n in PLLS)})


def with_ready_flags(name: str, value: int, oscillators: int) -> int:
    """The register's value as it reads: `value` is what is stored, `oscillators` what OCENSETR holds."""
    if name == "OCRDYR":
        return oscillators & _FOLLOWING | _ALWAYS_READY
    if name == "BDCR":
        return value & ~(1 << 2) | (value & 1) << 2
    if name in WITH_FLAGS:
        return value & ~(1 << 1) | (value & 1) << 1
    return value
