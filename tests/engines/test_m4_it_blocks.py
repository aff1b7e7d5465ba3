"""Accesses to blocks inside an IT block leave nothing of its state behind (ARMv7-M manual, A7.3.3: ITAdvance)."""

from __future__ import annotations

import pytest
from m4_probes import RUNS

from cosim.access import Initiator
from cosim.events import ExceptionTaken
from cosim.soc import Soc, SocConfig
from ta.profile import FirewallProfile

RETRAM, CODE, RESULT, BOOT_MCU = 0x38000000, 0x10000000, 0x10000100, 0x5000010C
#: r3 = USART3, r2 = RESULT, r1 = 64, call `block`, then MOVS r4,#1 (Z becomes 0); ITE EQ; *r2 = Z ? 1 : 2; loop.
CALLER = "4ff20003 c4f20003 40f20012 c1f20002 4021 00f006f8 0124 0cbf 0125 0225 1560 fee7"
#: CMP r1,#64 (Z becomes 1), the block, BX lr.
LOADS = "4029 0cbf d869 186a 7047"  # ITE EQ; LDREQ r0,[r3,#ISR]; LDRNE r0,[r3,#ICR]
STORES = "4029 04bf 9862 9862 7047"  # ITT EQ; STREQ r0,[r3,#TDR], twice
LAST_OF_FOUR = "4029 01bf 00bf 00bf 00bf d869 7047"  # ITTTT EQ; NOP, NOP, NOP; LDREQ r0,[r3,#ISR]


@pytest.mark.parametrize("run", RUNS, ids=str)
@pytest.mark.parametrize("block", [LOADS, STORES, LAST_OF_FOUR], ids=["loads", "stores", "last-of-four"])
def test_what_follows_the_block_is_executed_outside_it(block: str, run: tuple[str, int]) -> None:
    loop, quantum = run
    soc = Soc(SocConfig(firewall=FirewallProfile.OPEN, loop=loop, quantum=quantum))
    vectors = b"".join(word.to_bytes(4, "little") for word in (0x10020000, CODE | 1))
    soc.bus.write(Initiator.DEBUG, RETRAM, vectors)
    soc.bus.write(Initiator.DEBUG, CODE, bytes.fromhex(CALLER + block))
    soc.bus.write(Initiator.A7_S, BOOT_MCU, bytes([1, 0, 0, 0]))
    soc.run(budget_ps=10**6)
    assert not soc.log.of(ExceptionTaken)
    assert soc.debug_read(RESULT, 1) == b"\2"
