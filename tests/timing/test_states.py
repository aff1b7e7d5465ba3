"""Which instructions may lead from ARM to Thumb state: behind them a loop has to ask."""

from __future__ import annotations

import pytest

from cosim.timing import CodeCosts, CostTable, CycleCounter, Decoder, Flag, Step

BASE = 0x1000
#: ARM state, then Thumb state: an instruction, and whether it may change the state.
CASES = (
    (False, "bx lr", "1eff2fe1", True),
    (False, "blx r1", "31ff2fe1", True),
    (False, "blx immediate", "000000fa", True),
    (False, "pop {r4, pc}", "1080bde8", True),
    (False, "ldr pc, [r0]", "00f090e5", True),
    (False, "undefined", "ffffffff", True),
    (False, "b", "feffffea", False),
    (False, "bl", "feffffeb", False),
    (False, "ldr r0, [r1]", "000091e5", False),
    (True, "bx lr", "7047", True),
    (True, "pop {r4, pc}", "10bd", True),
    (True, "b", "fee7", False),
    (True, "bl", "fff7feff", False),
)


@pytest.mark.parametrize(("thumb", "name", "code", "switches"), CASES, ids=[f"{c[0]}: {c[1]}" for c in CASES])
def test_what_may_change_the_state_is_known(thumb: bool, name: str, code: str, switches: bool) -> None:
    decoder = Decoder(CostTable.load("cortex-a7"), thumb=thumb)

    assert decoder.one(bytes.fromhex(code)).switches == switches, name


def test_either_state_has_costs_of_its_own() -> None:
    memory = bytes.fromhex("0100a0e1") * 4  # mov r0, r1 in ARM state; movs r1, r0; b in Thumb state
    table = CostTable.load("cortex-a7")
    read = lambda address, size: memory[address - BASE : address - BASE + size]  # noqa: E731
    arm, thumb = (CodeCosts(Decoder(table, thumb=state), read) for state in (False, True))
    counter = CycleCounter(table, thumb, arm=arm)

    flags = []
    for state in (1, 0):
        counter.state.thumb = state
        counter.step(Step(BASE))
        flags.append(counter.state.then_flags & Flag.WIDE)

    assert flags == [0, Flag.WIDE]
