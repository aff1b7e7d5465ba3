"""Interrupt lines of the SoC's blocks end at Renode's own controllers. What firmware makes of them is the scenario
`interrupts` of tests/engines; here is what reaches NVIC and GIC.
"""

from __future__ import annotations

from collections.abc import Callable

import programs

from cosim import client
from cosim.client import Step
from cosim.soc import Soc

IPCC_C1CR, IPCC_C1MR, IPCC_C1SCR = 0x4C001000, 0x4C001004, 0x4C001008
IPCC_C2CR, IPCC_C2MR, IPCC_C2SCR = 0x4C001010, 0x4C001014, 0x4C001018
RXOIE, TXFIE, CHANNEL_1, CHANNEL_1_FREE, SET_CHANNEL_1 = 1, 1 << 16, 1, 1 << 16, 1 << 16
#: SPI 101 (IPCC TX0) is interrupt 133 of the GIC.
GICD_ISPENDR4, TX0_PENDS = 0xA0021210, 1 << 5
RX1_PENDS = 1 << 103 % 32
RESET = 1
MS = 10**9

#: Let the M4's mailbox interrupt follow channel 1.
ARM_RX1 = (client.write32(IPCC_C2MR, ~CHANNEL_1 & 0xFFFFFFFF), client.write32(IPCC_C2CR, RXOIE))
RING: Step = client.write32(IPCC_C1SCR, SET_CHANNEL_1)


def test_line_of_a_block_reaches_the_gic_of_renode(soc: Soc) -> None:
    free = client.write32(IPCC_C1MR, ~CHANNEL_1_FREE & 0xFFFFFFFF)
    before, _, _, after = soc.run_script(
        [client.read32(GICD_ISPENDR4), free, client.write32(IPCC_C1CR, TXFIE), client.read32(GICD_ISPENDR4)]
    )

    assert (before.result[0] & TX0_PENDS, after.result[0] & TX0_PENDS) == (0, TX0_PENDS)


def test_line_reaches_the_nvic_and_starts_no_systick(soc: Soc, start_m4: Callable[..., None]) -> None:
    start_m4(programs.WATCH_MASKED_IRQ_103, {RESET: 0x10000001})
    soc.run(budget_ps=MS // 10)
    assert soc.m4.read_register("r2") & RX1_PENDS == 0
    soc.run_script([*ARM_RX1, RING, client.spin(10_000)])

    assert soc.m4.read_register("r2") & RX1_PENDS
    assert soc.m4.read_register("r1") & 1 == 0


def test_line_that_is_high_at_a_reset_pends_again(soc: Soc, start_m4: Callable[..., None]) -> None:
    soc.run_script([*ARM_RX1, RING])
    start_m4(programs.WATCH_MASKED_IRQ_103, {RESET: 0x10000001})
    soc.run(budget_ps=MS // 10)
    assert soc.m4.read_register("r2") & RX1_PENDS
    soc.engine.hold(soc.m4.name)
    soc.engine.release(soc.m4.name)
    soc.run(budget_ps=MS // 10)

    assert soc.m4.read_register("r2") & RX1_PENDS
