"""An interrupt that the M4's own store raises is taken four instructions later, also where a snapshot was restored."""

from __future__ import annotations

import pytest
from m4_probes import RUNS

from cosim.access import Initiator
from cosim.events import InterruptPended, InterruptTaken
from cosim.soc import Soc, SocConfig
from ta.profile import FirewallProfile

RETRAM, CODE, BOOT_MCU = 0x38000000, 0x10000000, 0x5000010C
HANDLER, EXTI0_VECTOR = CODE + 0x80, 16 + 6
#: r0 = EXTI, r1 = NVIC_ISER; C2IMR1.0, the interrupt's enable bit, and SWIER1.0, which raises the line.
RAISE = "4df20000 c5f20000 0122 4ef20011 cef20001 c0f8c020 4023 0b60 8260"
#: UDIV r4, r4, r2, which takes more than a cycle.
DIVISIONS, LOOP = "b4fbf2f4" * 8, "fee7"
LATE = 5  # instructions from the beginning of the store to the handler


def make(loop: str, quantum: int, timing: str = "instructions") -> Soc:
    soc = Soc(SocConfig(firewall=FirewallProfile.OPEN, loop=loop, quantum=quantum, timing=timing))
    vectors = [0x10020000, CODE | 1, *[HANDLER | 1] * (EXTI0_VECTOR - 1)]
    soc.bus.write(Initiator.DEBUG, RETRAM, b"".join(word.to_bytes(4, "little") for word in vectors))
    soc.bus.write(Initiator.DEBUG, CODE, bytes.fromhex(RAISE + DIVISIONS + LOOP))
    soc.bus.write(Initiator.DEBUG, HANDLER, bytes.fromhex(LOOP))
    soc.bus.write(Initiator.A7_S, BOOT_MCU, bytes([1, 0, 0, 0]))
    return soc


def lateness(soc: Soc) -> list[int]:
    """Instructions between the two events of each interrupt."""

    def when(event: type[InterruptPended] | type[InterruptTaken]) -> list[int]:
        return [record.stamp.instructions for record in soc.log if isinstance(record.payload, event)]

    return [taken - pended for pended, taken in zip(when(InterruptPended), when(InterruptTaken), strict=True)]


@pytest.mark.parametrize("timing", ["instructions", "cycles"])
@pytest.mark.parametrize("how", RUNS, ids=str)
def test_four_instructions_retire_behind_the_store(how: tuple[str, int], timing: str) -> None:
    soc = make(*how, timing)
    soc.run(budget_ps=10**6)

    assert lateness(soc) == [LATE]


@pytest.mark.parametrize("loop", ["python", "auto"])
def test_a_snapshot_within_them_goes_on_as_the_run_did(loop: str) -> None:
    soc = make(loop, 1)
    soc.run(lambda: any(True for _ in soc.log.of(InterruptPended)), budget_ps=10**6)
    assert not list(soc.log.of(InterruptTaken))
    snapshot = soc.snapshot()
    for _ in range(2):
        soc.run(budget_ps=10**6)
        assert lateness(soc) == [LATE]
        soc.restore(snapshot)
