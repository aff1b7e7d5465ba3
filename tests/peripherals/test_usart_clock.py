"""How long a frame on a serial port lasts: format, divider, and the kernel clock that RCC selects."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from cosim.access import Initiator
from cosim.peripherals.rcc import Rcc
from cosim.peripherals.usart import Stm32Usart
from cosim.peripherals.usart_clock import frame_ps, kernel_hz
from cosim.soc import Soc

MCU_HZ = 209_000_000
OVER8, M0, M1 = 1 << 15, 1 << 12, 1 << 28
BIT_PS = 8_000_000  # 64 MHz by 512
SETTINGS = {"CR1": 0, "CR2": 0, "BRR": 512, "PRESC": 0}


@pytest.fixture(scope="module")
def soc() -> Soc:
    return Soc()


@pytest.mark.parametrize(
    ("changed", "half_bits"),
    [
        ({}, 20),
        ({"CR1": M0}, 22),
        ({"CR1": M1}, 18),
        ({"CR2": 1 << 12}, 19),
        ({"CR2": 2 << 12}, 22),
        ({"CR2": 3 << 12}, 21),
        ({"PRESC": 1}, 40),
        ({"PRESC": 11}, 20 * 256),
        ({"PRESC": 15}, 20 * 256),
        ({"CR1": OVER8, "BRR": 0x200}, 10),
        ({"CR1": OVER8, "BRR": 0x204}, 10.15625),
    ],
)
def test_a_frame_has_start_bit_word_and_stop_bits_at_the_divided_clock(
    changed: Mapping[str, int], half_bits: float
) -> None:
    """RM0436, USART: character format (CR1.M, CR2.STOP), baud rate with OVER8, and PRESC."""
    assert frame_ps({**SETTINGS, **changed}.__getitem__, 64_000_000) == half_bits * BIT_PS / 2


@pytest.mark.parametrize("divider", [0, 1, 15, 16])
def test_a_divider_that_the_manual_forbids_counts_as_the_smallest(divider: int) -> None:
    assert frame_ps({**SETTINGS, "BRR": divider}.__getitem__, 64_000_000) == 10 * 250_000


@pytest.mark.parametrize(
    ("port", "selector", "rates"),
    [
        ("usart3", "UART35CKSELR", (104_500_000, 74_250_000, 64_000_000, 4_000_000, 24_000_000, 64_000_000)),
        ("usart6", "UART6CKSELR", (104_500_000, 74_250_000, 64_000_000, 4_000_000, 24_000_000, 64_000_000)),
        ("uart8", "UART78CKSELR", (104_500_000, 74_250_000, 64_000_000, 4_000_000, 24_000_000, 64_000_000)),
        ("usart1", "UART1CKSELR", (66_625_000, 24_573_874, 64_000_000, 4_000_000, 74_250_000, 24_000_000, 64_000_000)),
    ],
)
def test_the_kernel_clock_is_what_the_selector_picks_of_the_clocks_of_the_boot_chain(
    soc: Soc, port: str, selector: str, rates: tuple[int, ...]
) -> None:
    for setting, rate in enumerate(rates):
        soc.rcc.poke(selector, setting)
        assert kernel_hz(port, soc.rcc.value, MCU_HZ) == rate, setting


def test_the_bus_clock_follows_the_divider_of_its_bus(soc: Soc) -> None:
    for selector in ("UART24CKSELR", "UART6CKSELR", "UART1CKSELR"):
        soc.rcc.poke(selector, 0)
    for divider, shift in ((0, 0), (2, 2), (7, 4)):
        for other, bus in ((1, "APB1DIVR"), (3, "APB5DIVR")):
            soc.rcc.poke(bus, other)
        soc.rcc.poke("APB2DIVR", divider)
        assert kernel_hz("usart6", soc.rcc.value, MCU_HZ) == MCU_HZ >> shift
        soc.rcc.poke("APB2DIVR", 1)
        soc.rcc.poke("APB1DIVR", divider)
        assert kernel_hz("uart4", soc.rcc.value, MCU_HZ) == MCU_HZ >> shift
        soc.rcc.poke("APB5DIVR", divider)
        assert kernel_hz("usart1", soc.rcc.value, MCU_HZ) == 266_500_000 >> shift


def test_a_port_of_the_soc_has_the_frame_time_of_its_own_clock(soc: Soc) -> None:
    port = soc.blocks["uart7"]
    assert isinstance(port, Stm32Usart)
    assert isinstance(soc.rcc, Rcc)
    port.write(0x0C, 4, 556, Initiator.M4)
    for setting, clock in ((0, 104_500_000), (2, 64_000_000)):
        soc.rcc.poke("UART78CKSELR", setting)
        soc.rcc.poke("APB1DIVR", 1)
        assert port.frame_ps == 10 * 556 * 10**12 // clock
