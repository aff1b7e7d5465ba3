"""An exception gives back all of the APSR (ARMv7-M manual, B1.4.2 and B1.5.8), GE[3:0] of the DSP extension too."""

from __future__ import annotations

import pytest
from m4_probes import RUNS

from cosim.access import Initiator
from cosim.soc import Soc, SocConfig
from ta.profile import FirewallProfile

RETRAM, CODE, RESULT, BOOT_MCU = 0x38000000, 0x10000000, 0x10000100, 0x5000010C
HANDLER = CODE + 0x20
#: r2 = RESULT, r3 = 1, r4 = 2, r0 = -1; UADD8 r1,r0,r0 sets GE; SVC; SEL r5,r3,r4 takes r3 by GE; *r2 = r5; loop; NOP.
CALLER = "40f20012 c1f20002 0123 0224 6ff00000 80fa40f1 00df a3fa84f5 1560 fee7 00bf"
#: r0 = 0; UADD8 r0,r0,r0 clears GE; BX lr.
CLEARS_GE = "0020 80fa40f0 7047"


@pytest.mark.parametrize("run", RUNS, ids=str)
def test_the_ge_bits_of_the_interrupted_code_come_back(run: tuple[str, int]) -> None:
    """C libraries compare strings with UADD8 and SEL, and are interrupted between the two."""
    loop, quantum = run
    soc = Soc(SocConfig(firewall=FirewallProfile.OPEN, loop=loop, quantum=quantum))
    vectors = [0x10020000, CODE | 1, *[HANDLER | 1] * 14]
    soc.bus.write(Initiator.DEBUG, RETRAM, b"".join(word.to_bytes(4, "little") for word in vectors))
    soc.bus.write(Initiator.DEBUG, CODE, bytes.fromhex(CALLER + CLEARS_GE))
    soc.bus.write(Initiator.A7_S, BOOT_MCU, bytes([1, 0, 0, 0]))
    soc.run(budget_ps=10**6)
    assert soc.debug_read(RESULT, 1) == b"\1"
