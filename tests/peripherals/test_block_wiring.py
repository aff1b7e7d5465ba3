"""The blocks on the SoC: where the map has them, interrupts at the controllers, ties between blocks, snapshots."""

from __future__ import annotations

import pytest

from cosim.access import AccessKind, Initiator
from cosim.events import WatchdogExpired
from cosim.peripherals.gic import Gic
from cosim.peripherals.gpio import Gpio
from cosim.peripherals.rcc import BOOT_MCU, MCURST
from cosim.soc import Soc, SocConfig

NS, S, M4, DEBUG = Initiator.A7_NS, Initiator.A7_S, Initiator.M4, Initiator.DEBUG
IPCC, EXTI, GPIOC, SYSRAM, DMA1 = 0x4C001000, 0x5000D000, 0x50004000, 0x2FFC0000, 0x48000000
RCC, TIM2, WWDG1 = 0x50000000, 0x40000000, 0x4000A000
SECOND = 10**12


@pytest.fixture
def soc() -> Soc:
    return Soc()


def put(soc: Soc, address: int, value: int, who: Initiator = M4) -> None:
    assert not soc.bus.transact(who, AccessKind.WRITE, address, 4, value).error


def get(soc: Soc, address: int, who: Initiator = M4) -> int:
    outcome = soc.bus.transact(who, AccessKind.READ, address, 4)
    assert not outcome.error
    return outcome.value


def test_a_message_of_the_normal_world_raises_interrupt_103_at_the_m4(soc: Soc) -> None:
    put(soc, IPCC + 0x10, 1)
    put(soc, IPCC + 0x14, 0)
    put(soc, IPCC + 0x08, 1 << 17, NS)
    assert soc.interrupts.nvic.high() == (103,)
    put(soc, IPCC + 0x18, 1 << 1)
    assert soc.interrupts.nvic.high() == ()


def test_a_message_of_the_m4_reaches_the_gic_as_spi_100(soc: Soc) -> None:
    gic = soc.blocks["gic"]
    assert isinstance(gic, Gic)
    put(soc, IPCC + 0x00, 1, NS)
    put(soc, IPCC + 0x04, 0, NS)
    put(soc, IPCC + 0x18, 1 << 16)
    # GICD_ISPENDR of identifiers 128 to 159
    assert gic.read(0x210, 4, NS) == 1 << (132 - 128)


def test_an_edge_at_a_pin_becomes_an_interrupt_of_its_line(soc: Soc) -> None:
    port = soc.blocks["gpioC"]
    assert isinstance(port, Gpio)
    put(soc, EXTI + 0x6C, 2 << 8)  # line 13 from port C
    put(soc, EXTI + 0x00, 1 << 13)
    put(soc, EXTI + 0xC0, 1 << 13)
    put(soc, GPIOC, 0)
    port.drive(13, True)
    assert soc.interrupts.nvic.high() == (77,)


def test_dma_moves_memory_through_the_bus_and_the_firewall(soc: Soc) -> None:
    put(soc, 0x10000000, 0xCAFEF00D)
    for offset, value in ((0x14, 4), (0x18, 0x10000000), (0x1C, 0x10000100), (0x10, 2 << 6 | 1 << 9 | 1 << 10 | 1)):
        put(soc, DMA1 + offset, value)
    assert get(soc, 0x10000100) == 0xCAFEF00D


def test_dma_cannot_read_the_secure_worlds_memory_for_the_m4(soc: Soc) -> None:
    soc.bus.write(DEBUG, 0xDE000000, b"secret!!")
    for offset, value in ((0x14, 8), (0x18, 0xDE000000), (0x1C, 0x10000100), (0x10, 2 << 6 | 1 << 9 | 1 << 10 | 1)):
        put(soc, DMA1 + offset, value)
    assert soc.debug_read(0x10000100, 8) == bytes(8)


def test_timers_count_at_the_m4s_clock(soc: Soc) -> None:
    put(soc, TIM2 + 0x2C, 208)
    put(soc, TIM2 + 0x0C, 1)
    put(soc, TIM2 + 0x00, 1)
    assert soc.timers.next_at() == soc.log.clock().time_ps + SECOND // 10**6


def test_the_watchdog_resets_the_m4_and_tells_the_a7(soc: Soc) -> None:
    put(soc, EXTI + 0x40, 1 << 4, NS)
    put(soc, EXTI + 0xA0, 1 << 4, NS)
    put(soc, WWDG1, 0x80 | 0x41)
    due = soc.timers.next_at()
    while due is not None:
        soc.timers.run_due(due)
        due = soc.timers.next_at()
    assert soc.log.of(WatchdogExpired) == [WatchdogExpired("wwdg1")]
    assert get(soc, RCC + 0xC00) & (1 << 10 | 1 << 5) == 1 << 10 | 1 << 5
    assert 143 in soc.interrupts.gic.high()


def test_a_reset_of_the_m4_stops_its_watchdog(soc: Soc) -> None:
    put(soc, WWDG1, 0x80 | 0x7F)
    assert soc.timers.next_at() is not None
    soc.bus.write(S, RCC + 0x404, MCURST.to_bytes(4, "little"))
    assert (get(soc, WWDG1), soc.timers.next_at()) == (0x7F, None)


def test_boot_mcu_is_not_touched_by_any_of_this(soc: Soc) -> None:
    assert not get(soc, RCC + 0x10C) & BOOT_MCU


def test_random_words_differ_by_the_seed_of_the_soc() -> None:
    words = []
    for seed in (0, 0, 1):
        soc = Soc(SocConfig(seed=seed))
        put(soc, 0x4C003000, 4)
        words.append(get(soc, 0x4C003008))
    assert words[0] == words[1] != words[2]


def test_pins_of_port_z_are_free_for_the_normal_world(soc: Soc) -> None:
    put(soc, 0x54004018, 1, NS)
    assert get(soc, 0x54004014, NS) == 1


def test_the_clocks_are_those_of_the_boot_chain(soc: Soc) -> None:
    assert get(soc, RCC + 0x048) == 0x80000003
    source, control, divider = get(soc, RCC + 0x820) & 3, get(soc, RCC + 0x880), get(soc, RCC + 0x884)
    post, fraction = get(soc, RCC + 0x888), get(soc, RCC + 0x88C) >> 3 & 0x1FFF
    assert (source, control & 0b10011) == (1, 0b10011)
    m, n, p = (divider >> 16 & 0x3F) + 1, (divider & 0x1FF) + 1, (post & 0x7F) + 1
    assert round(24e6 / m * (n + fraction / 8192) / p) == 208_877_930
    assert get(soc, RCC + 0x830) & 0xF == 0


def test_a_soc_snapshot_keeps_wires_and_alarms(soc: Soc) -> None:
    put(soc, IPCC + 0x10, 1)
    put(soc, IPCC + 0x14, 0)
    put(soc, IPCC + 0x08, 1 << 16, NS)
    put(soc, TIM2 + 0x0C, 1)
    put(soc, TIM2 + 0x00, 1)
    saved, due = soc.snapshot(), soc.timers.next_at()
    put(soc, IPCC + 0x18, 1)
    put(soc, TIM2 + 0x00, 0)
    soc.restore(saved)
    assert (soc.interrupts.nvic.high(), soc.timers.next_at()) == ((103,), due)
