"""How long a frame lasts on a serial port: its kernel clock as RCC selects it, its divider, and its format.

Sources: RM0436 (RCC: kernel clock distribution and PLLs; USART: baud rate generation, CR1 to CR3, PRESC) as quoted by
ST's SVD; parents of the selectors as in drivers/clk/clk-stm32mp1.c. Oscillators run at what the DK2 board has (HSE) and
at their nominal rates, whether they are enabled or not.
"""

from __future__ import annotations

from collections.abc import Callable

from cosim.timers import SECOND_PS

HSI_HZ, CSI_HZ, HSE_HZ = 64_000_000, 4_000_000, 24_000_000
#: Reads the stored value of a register by its name.
Registers = Callable[[str], int]

_PARENTS = ("pclk", "pll4_q", "hsi", "csi", "hse")
_PARENTS_OF_USART1 = ("pclk5", "pll3_q", "hsi", "csi", "pll4_q", "hse")
_SELECTORS = {
    "usart1": "UART1CKSELR",
    "usart2": "UART24CKSELR",
    "usart3": "UART35CKSELR",
    "uart4": "UART24CKSELR",
    "uart5": "UART35CKSELR",
    "usart6": "UART6CKSELR",
    "uart7": "UART78CKSELR",
    "uart8": "UART78CKSELR",
}
#: What feeds PLL2, PLL3 and PLL4 by the setting of their selectors, which differ.
_PLL_SOURCES = {
    2: ("RCK12SELR", (HSI_HZ, HSE_HZ)),
    3: ("RCK3SELR", (HSI_HZ, HSE_HZ, CSI_HZ)),
    4: ("RCK4SELR", (HSI_HZ, HSE_HZ, CSI_HZ)),
}
_FRACTION_ON = 1 << 16
_SLOWEST_APB = 4
#: Half bits of CR2.STOP: 1, 0.5, 2 and 1.5 stop bits.
_STOP_HALF_BITS = (2, 1, 4, 3)
#: Divisors of PRESC.PRESCALER; the reserved codings count as the largest.
_PRESCALERS = (1, 2, 4, 6, 8, 10, 12, 16, 32, 64, 128, 256)
#: Smaller dividers are not allowed (RM0436, USART_BRR).
_LEAST_DIVIDER = 16


def kernel_hz(port: str, rcc: Registers, mcu_hz: int) -> int:
    """The kernel clock in hertz of the serial port `port` (`usart1` to `uart8`), by the registers of `rcc`.

    `mcu_hz` is the clock of the MCU subsystem. A selector that picks an input that is not there counts as HSI.
    """
    parents = _PARENTS_OF_USART1 if port == "usart1" else _PARENTS
    setting = rcc(_SELECTORS[port]) & 7 if port in _SELECTORS else 2
    parent = parents[setting] if setting < len(parents) else "hsi"
    if parent == "pclk":
        return mcu_hz >> min(rcc("APB2DIVR" if port == "usart6" else "APB1DIVR") & 7, _SLOWEST_APB)
    if parent == "pclk5":
        return _pll_hz(2, 0, rcc) >> min(rcc("APB5DIVR") & 7, _SLOWEST_APB)
    if parent.startswith("pll"):
        return _pll_hz(int(parent[3]), 8, rcc)
    return {"hsi": HSI_HZ, "csi": CSI_HZ, "hse": HSE_HZ}[parent]


def _pll_hz(number: int, output: int, rcc: Registers) -> int:
    """A PLL's output whose divider lies at bit `output` of CFGR2 (P 0, Q 8)."""
    selector, sources = _PLL_SOURCES[number]
    setting = rcc(selector) & 3
    source = sources[setting] if setting < len(sources) else HSI_HZ
    first, fraction = rcc(f"PLL{number}CFGR1"), rcc(f"PLL{number}FRACR")
    factor = ((first & 0x1FF) + 1 << 13) + (fraction >> 3 & 0x1FFF if fraction & _FRACTION_ON else 0)
    divisor = ((first >> 16 & 0x3F) + 1) * ((rcc(f"PLL{number}CFGR2") >> output & 0x7F) + 1)
    return source * factor // (divisor << 13)


def frame_ps(port: Registers, clock_hz: int) -> int:
    """Picoseconds from the start bit to the end of the stop bits, for a port with the registers `port`.

    The length of a word includes the parity bit. A divider below 16 counts as 16.
    """
    control, divider, twice = port("CR1"), port("BRR"), 1
    if control >> 15 & 1:  # OVER8
        divider, twice = divider & 0xFFF0 | (divider & 7) << 1, 2
    word = 7 if control >> 28 & 1 else 8 + (control >> 12 & 1)
    half_bits = 2 * (1 + word) + _STOP_HALF_BITS[port("CR2") >> 12 & 3]
    ticks = max(divider, _LEAST_DIVIDER) * _PRESCALERS[min(port("PRESC") & 0xF, len(_PRESCALERS) - 1)]
    return half_bits * ticks * SECOND_PS // (2 * twice * clock_hz)
