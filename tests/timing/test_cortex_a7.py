"""The estimate of the Cortex-A7: partial dual issue and late results, in ARM and Thumb state."""

from __future__ import annotations

import pytest
from timing_code import addresses

from cosim.timing import CodeCosts, CostTable, CycleCounter, Decoder, Step

BASE = 0xC000_0000


def cycles_of(code: bytes, *, thumb: bool) -> int:
    decoder = Decoder(CostTable.load("cortex-a7"), thumb=thumb)
    costs = CodeCosts(decoder, lambda address, size: code[address - BASE : address - BASE + size])
    counter = CycleCounter(decoder.table, costs)
    return counter.count(Step(address) for address in addresses(BASE, decoder.decode(code)))


@pytest.mark.parametrize(
    ("what", "code", "cycles"),
    [
        ("add r0, r1, r2; add r3, r4, #1", "020081e0013084e2", 1),
        ("add r0, r1, r2; add r3, r0, #1", "020081e0013080e2", 2),
        ("add r0, r1, r2; add r3, r4, r5", "020081e0053084e0", 2),
        ("add r0, r1, r2; b", "020081e0feffffea", 1),
        ("ldr r0, [r1]; add r2, r2, #1", "000091e5012082e2", 1),
        ("ldr r0, [r1]; add r2, r0, #1", "000091e5012080e2", 3),
        ("ldm r0, {r1, r2, r3, r4}", "1e0090e8", 3),
        ("mul r0, r1, r2; add r3, r3, r0", "910200e0003083e0", 3),
        ("vldm r0!, {s0, s1}; vadd.f32 s2, s0, s1", "020ab0ec201a30ee", 3),
        ("pop {r4, pc}; add r0, r1, r2", "1080bde8020081e0", 4),
        ("popeq {r4, pc}; add r0, r1, r2", "1080bd08020081e0", 3),
        ("smc #0", "700060e1", 4),
    ],
    ids=lambda value: value if isinstance(value, str) and ("," in value or "#" in value) else "",
)
def test_arm_state(what: str, code: str, cycles: int) -> None:
    assert cycles_of(bytes.fromhex(code), thumb=False) == cycles, what


def test_thumb_state_has_the_same_costs() -> None:
    assert cycles_of(bytes.fromhex("88180134"), thumb=True) == 1  # adds r0, r1, r2; adds r4, #1


def test_no_instruction_of_the_pair_is_older_and_younger_at_once() -> None:
    three = "020081e0013084e2016086e2"  # add r0, r1, r2; add r3, r4, #1; add r6, r6, #1

    assert cycles_of(bytes.fromhex(three), thumb=False) == 2
