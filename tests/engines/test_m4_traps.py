"""Opcode traps stop a lane exactly before or behind the instructions that they match, in both inner loops.

Encodings are those of the ARMv7-M manual (DDI 0403, A7.7) and the ARMv7-A manual (DDI 0406, A8.8).
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from unicorn import UC_ARCH_ARM, UC_MODE_ARM, UC_MODE_THUMB, UC_PROT_ALL, Uc
from unicorn.arm_const import (
    UC_ARM_REG_PC,
    UC_ARM_REG_R0,
    UC_ARM_REG_R1,
    UC_ARM_REG_R2,
    UC_CPU_ARM_CORTEX_A7,
    UC_CPU_ARM_CORTEX_M4,
)

from cosim.engine.unicorn.loop import CodeRange, Lane, Loop
from cosim.engine.unicorn.native import NativeLoop, library_path
from cosim.engine.unicorn.python_loop import PythonLoop
from cosim.engine.unicorn.traps import MAX_TRAPS, Trap
from cosim.errors import EngineError
from cosim.memory import MemoryBank

BASE = 0x1000
NOP, ITT_EQ = "00bf", "04bf"
CPSIE_I, SEV = "62b6", "40bf"
UDIV_R0_R1_R2 = "b1fbf2f0"
MRC_CNTFRQ_ARM, MRC_CNTFRQ_THUMB = "100f1eee", "1eee100f"
MRC_CNTFRQ_NE_ARM = "100f1e1e"

UDIV = Trap(4, 0xFFF0F0F0, 0xFBB0F0F0)
UDIV_BY_ZERO = Trap(4, 0xFFF0F0F0, 0xFBB0F0F0, when_zero=0)
CPSIE = Trap(2, 0xFFFC, 0xB660, after=True)
MRC_C14 = Trap(4, 0xFF1F0F10, 0xEE1E0F10)
MRC_C14_ARM = Trap(4, 0x0F1F0F10, 0x0E1E0F10, arm=True)

LOOPS = [
    PythonLoop,
    pytest.param(NativeLoop, marks=pytest.mark.skipif(library_path() is None, reason="not built")),
]


class Bench:
    """One lane on a page of code, with a table of traps that are all on."""

    def __init__(self, loop: Loop, code: str, traps: Sequence[Trap], *, a7: bool = False) -> None:
        self.uc = Uc(UC_ARCH_ARM, UC_MODE_ARM if a7 else UC_MODE_THUMB)
        self.uc.ctl_set_cpu_model(UC_CPU_ARM_CORTEX_A7 if a7 else UC_CPU_ARM_CORTEX_M4)
        self.bank = MemoryBank("code", 0x1000)
        self.bank.write(0, bytes.fromhex(code))
        self.uc.mem_map_ptr(BASE, 0x1000, 7, self.bank.host_address)
        self.loop = loop
        self.lane: Lane = loop.add(self.uc._uch.value, timed=False)
        loop.set_code(self.lane, [CodeRange(BASE, 0x1000, self.bank.host_address, UC_PROT_ALL)])
        self.in_block: list[tuple[int, int]] = []
        loop.set_traps(self.lane, traps, lambda: self.in_block.append((self.lane.pc - BASE, self.lane.it_state)))
        self.lane.traps_on = (1 << len(traps)) - 1
        self.uc.reg_write(UC_ARM_REG_PC, BASE | (0 if a7 else 1))

    def run(self, limit: int) -> tuple[int, int, int]:
        """Run to `limit`; offset of the PC, trap, and instructions retired."""
        self.lane.limit = limit
        assert self.loop.run(self.lane) == 0
        return self.uc.reg_read(UC_ARM_REG_PC) - BASE, self.lane.trap, self.lane.retired


@pytest.fixture(params=LOOPS)
def loop(request: pytest.FixtureRequest) -> Loop:
    made: Loop = request.param()
    return made


def test_lane_stops_before_the_instruction_and_says_which_trap_it_was(loop: Loop) -> None:
    bench = Bench(loop, NOP + NOP + UDIV_R0_R1_R2 + NOP * 4, [CPSIE, UDIV])

    assert bench.run(10) == (4, 2, 2)
    assert (bench.lane.busy, bench.lane.attention) == (0, 1)


def test_trapped_instruction_is_let_through_once(loop: Loop) -> None:
    bench = Bench(loop, NOP + UDIV_R0_R1_R2 + "fbe7", [UDIV])  # the last one branches back to the NOP
    bench.uc.reg_write(UC_ARM_REG_R1, 42)
    bench.uc.reg_write(UC_ARM_REG_R2, 6)
    bench.run(100)
    bench.lane.pass_at = BASE + 2 | 1

    assert bench.run(100) == (2, 1, 4)
    assert bench.uc.reg_read(UC_ARM_REG_R0) == 7


def test_lane_stops_behind_the_instruction_of_an_after_trap(loop: Loop) -> None:
    assert Bench(loop, NOP + CPSIE_I + NOP * 8, [CPSIE]).run(10) == (4, 1, 2)


def test_trap_that_is_off_does_not_stop_the_lane(loop: Loop) -> None:
    bench = Bench(loop, NOP + CPSIE_I + NOP * 8, [UDIV, CPSIE])
    bench.lane.traps_on = 1

    assert bench.run(5) == (10, 0, 5)


@pytest.mark.parametrize("other", [SEV, "72b6"])
def test_instruction_that_only_begins_alike_is_not_trapped(loop: Loop, other: str) -> None:
    bench = Bench(loop, NOP + other + NOP * 8, [CPSIE])

    assert bench.run(2)[1:] == (0, 2)


@pytest.mark.parametrize(("divisor", "trap", "retired"), [(0, 1, 1), (3, 0, 4)])
def test_register_condition_traps_only_where_that_register_is_zero(
    loop: Loop, divisor: int, trap: int, retired: int
) -> None:
    bench = Bench(loop, NOP + UDIV_R0_R1_R2 + NOP * 8, [UDIV_BY_ZERO])
    bench.uc.reg_write(UC_ARM_REG_R2, divisor)

    assert bench.run(4)[1:] == (trap, retired)


def test_trap_inside_an_it_block_tells_where_the_block_stands(loop: Loop) -> None:
    # cmp r0, r0; ittt eq; moveq r0, #1; udiveq r0, r1, r2; moveq r3, #3; nop
    bench = Bench(loop, "804202bf0120" + UDIV_R0_R1_R2 + "0323" + NOP * 4, [UDIV])

    assert bench.run(20)[1] == 1
    assert bench.in_block == [(6, 0b00000100)]  # once; ITSTATE: EQ, two members to come


def test_member_that_its_it_block_skips_is_not_trapped(loop: Loop) -> None:
    # cmp r0, r0; itt ne; udivne r0, r1, r2; movne r3, #3; nop
    bench = Bench(loop, "80421cbf" + UDIV_R0_R1_R2 + "0323" + NOP * 4, [UDIV])

    assert bench.run(5) == (12, 0, 5)
    assert bench.in_block == []


def test_after_trap_inside_an_it_block_stops_behind_the_block(loop: Loop) -> None:
    # cmp r0, r0; itt eq; seveq; moveq r3, #3; nop
    bench = Bench(loop, "8042" + ITT_EQ + SEV + "0323" + NOP * 4, [Trap(2, 0xFFFF, 0xBF40, after=True)])

    assert bench.run(20) == (8, 1, 4)


@pytest.mark.parametrize(
    ("code", "before", "trap"),
    [
        (MRC_CNTFRQ_ARM, 0, 2),
        (MRC_CNTFRQ_NE_ARM, 0, 2),
        ("00f020e3" + MRC_CNTFRQ_ARM, 4, 2),
        # add r0, pc, #1; bx r0; then Thumb
        ("01008fe210ff2fe1" + MRC_CNTFRQ_THUMB, 8, 1),
    ],
    ids=["always", "not equal", "second", "thumb"],
)
def test_one_table_serves_both_instruction_sets_of_the_a7(loop: Loop, code: str, before: int, trap: int) -> None:
    bench = Bench(loop, code + "00f020e3" * 8, [MRC_C14, MRC_C14_ARM], a7=True)

    assert bench.run(10)[:2] == (before, trap)


def test_table_of_too_many_traps_is_refused() -> None:
    if library_path() is None:
        pytest.skip("not built")
    with pytest.raises(EngineError, match="traps"):
        Bench(NativeLoop(), NOP, [UDIV] * (MAX_TRAPS + 1))
