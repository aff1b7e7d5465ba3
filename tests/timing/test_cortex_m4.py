"""Every row and pair of the Cortex-M4 table as a sequence of instructions, with the cycles that the manual gives it."""

from __future__ import annotations

from itertools import pairwise

import pytest
from timing_code import BASE, addresses, cycles_of, m4

from cosim.timing import CostTable, Decoder, Dynamic

#: Row, instruction, its bytes as GNU as encodes them, cycles of the manual at zero wait states.
ROWS = (
    ("load", "ldr r0, [r1]", "0868", 2),
    ("load", "ldr.w r0, [r1, r2, lsl #2]", "51f82200", 2),
    ("load", "ldrex r0, [r1]", "51e8000f", 2),
    ("load-double", "ldrd r0, r1, [r2]", "d2e90001", 3),
    ("load-multiple", "ldm r0!, {r1, r2, r3}", "0ec8", 4),
    ("load-multiple", "pop {r4, r5}", "30bc", 3),
    ("store", "str r0, [r1, #4]", "4860", 1),
    ("store", "strb r0, [r1], #1", "01f8010b", 1),
    ("store-register-offset", "str r0, [r1, r2]", "8850", 2),
    ("store-exclusive", "strex r0, r1, [r2]", "42e80010", 2),
    ("store-double", "strd r0, r1, [r2]", "c2e90001", 3),
    ("store-multiple", "stmdb r0!, {r1, r2, r3, r4, r5, r6, r7, r8}", "20e9fe01", 9),
    ("store-multiple", "push {r4, lr}", "10b5", 3),
    ("preload", "pld [r0]", "90f800f0", 1),
    ("if-then", "it eq", "08bf", 1),
    ("divide", "udiv r0, r1, r2", "b1fbf2f0", 12),
    ("multiply", "mul r0, r1, r2", "01fb02f0", 1),
    ("multiply", "mla r0, r1, r2, r3", "01fb0230", 1),
    ("multiply", "umull r0, r1, r2, r3", "a2fb0301", 1),
    ("multiply", "smlal r0, r1, r2, r3", "c2fb0301", 1),
    ("multiply", "umaal r0, r1, r2, r3", "e2fb6301", 1),
    ("multiply", "smlad r0, r1, r2, r3", "21fb0230", 1),
    ("data-processing", "adds r0, r1, #1", "481c", 1),
    ("data-processing", "add.w r0, r1, r2, lsl #4", "01eb0210", 1),
    ("data-processing", "lsl.w r0, r1, r2", "01fa02f0", 1),
    ("data-processing", "movw r0, #4660", "41f23420", 1),
    ("data-processing", "clz r0, r1", "b1fa81f0", 1),
    ("data-processing", "uadd8 r0, r1, r2", "81fa42f0", 1),
    ("data-processing", "ssat r0, #8, r1", "01f30700", 1),
    ("data-processing", "bfi r0, r1, #3, #4", "61f3c600", 1),
    ("no-operation", "nop", "00bf", 1),
    ("no-operation", "sev", "40bf", 1),
    ("wait", "wfi", "30bf", 1),
    ("change-state", "cpsid i", "72b6", 2),
    ("special-register", "mrs r0, basepri", "eff31180", 2),
    ("special-register", "msr basepri, r0", "80f31188", 2),
    ("clear-exclusive", "clrex", "bff32f8f", 1),
    ("data-barrier", "dsb", "bff34f8f", 1),
    ("data-barrier", "dmb", "bff35f8f", 1),
    ("instruction-barrier", "isb", "bff36f8f", 4),
    ("trap", "svc #0", "00df", 1),
    ("fpu-divide", "vdiv.f32 s0, s1, s2", "80ee810a", 14),
    ("fpu-divide", "vsqrt.f32 s0, s1", "b1eee00a", 14),
    ("fpu-multiply-accumulate", "vmla.f32 s0, s1, s2", "00ee810a", 3),
    ("fpu-multiply-accumulate", "vfma.f32 s0, s1, s2", "a0ee810a", 3),
    ("fpu-arithmetic", "vadd.f32 s0, s1, s2", "30ee810a", 1),
    ("fpu-arithmetic", "vcvt.s32.f32 s0, s1", "bdeee00a", 1),
    ("fpu-move-core", "vmov r0, r1, d0", "51ec100b", 2),
    ("fpu-move-core", "vmov s0, r0", "00ee100a", 2),
    ("fpu-move-core", "vmov r0, s0", "10ee100a", 2),
    ("fpu-move-core", "vmov s2, s3, r0, r1", "41ec110a", 2),
    ("fpu-simple", "vmov.f32 s0, s1", "b0ee600a", 1),
    ("fpu-simple", "vmov.f32 s0, #1.0", "b7ee000a", 1),
    ("fpu-simple", "vmov.32 d0[0], r0", "00ee100b", 1),
    ("fpu-simple", "vmov.32 r0, d0[1]", "30ee100b", 1),
    ("fpu-simple", "vcmp.f32 s0, s1", "b4ee600a", 1),
    ("fpu-simple", "vmrs apsr_nzcv, fpscr", "f1ee10fa", 1),
    ("fpu-load-double", "vldr d0, [r0]", "90ed000b", 3),
    ("fpu-load", "vldr s0, [r0]", "90ed000a", 2),
    ("fpu-store-double", "vstr d0, [r0]", "80ed000b", 3),
    ("fpu-store", "vstr s0, [r0]", "80ed000a", 2),
    ("fpu-load-multiple", "vldm r0!, {s0, s1, s2, s3}", "b0ec040a", 5),
    ("fpu-load-multiple", "vldm r0!, {d0, d1, d2}", "b0ec060b", 7),
    ("fpu-store-multiple", "vpush {s16, s17}", "2ded028a", 3),
)
#: Row, instruction, bytes, cycles when it leads to an aligned instruction elsewhere.
LEAVING = (
    ("branch", "b . + 16", "06e0", 2),
    ("branch", "beq . + 16", "06d0", 2),
    ("branch-link", "bl . + 16", "00f006f8", 2),
    ("compare-branch", "cbz r0, . + 16", "30b1", 2),
    ("branch-register", "bx lr", "7047", 3),
    ("branch-register", "blx r3", "9847", 3),
    ("data-processing-pc", "mov pc, r0", "8746", 3),
    ("load-pc", "ldr.w pc, [r0]", "d0f800f0", 5),
    ("load-multiple-pc", "pop {r4, pc}", "10bd", 6),
    ("table-branch", "tbb [pc, r0]", "dfe800f0", 6),
)
#: What it shows, instructions, bytes, cycles of all.
PAIRS = (
    ("two independent loads", "ldr r0, [r1]; ldr r2, [r3]", "08681a68", 3),
    ("three independent loads", "ldr.w r0, [r1, r5]; ldr r1, [r2]; ldr r2, [r3, #4]", "51f8050011685a68", 4),
    ("a load and a store behind it", "ldr r0, [r1, r2]; str r0, [r3, #20]", "88585861", 3),
    ("a load and a store with register offset", "ldr r0, [r1, r2]; str r1, [r3, r2]", "88589950", 3),
    ("a pointer chase", "ldr r0, [r0]; ldr r0, [r0]", "00680068", 4),
    ("loads after write-back of the same base", "ldr r0, [r1], #4; ldr r2, [r1], #4", "51f8040b51f8042b", 4),
    ("loads after write-back of another base", "ldr r0, [r1], #4; ldr r2, [r3], #4", "51f8040b53f8042b", 3),
    ("two stores", "str r0, [r1]; str r2, [r3]", "08601a60", 2),
    ("two stores by one base that is written back", "str r0, [r1], #4; str r2, [r1], #4", "41f8040b41f8042b", 3),
    ("two stores after write-back of another base", "str r0, [r1], #4; str r2, [r3], #4", "41f8040b43f8042b", 2),
    ("a store and a load behind it", "str r0, [r1]; ldr r2, [r3]", "08601a68", 4),
    ("a store and a multiple load behind it", "str r0, [r1]; ldm r3, {r4, r5}", "086093e83000", 5),
    ("a store and a multiple store behind it", "str r0, [r1]; stm r3!, {r4, r5}", "086030c3", 4),
    ("an address from the ALU", "adds r1, r1, #4; ldr r0, [r1]", "04310868", 4),
    ("an address from the ALU for a store", "adds r1, r1, #4; str r0, [r1]", "04310860", 3),
    ("a stack address from the ALU", "add sp, #8; pop {r4, r5}", "02b030bc", 5),
    ("a base from the ALU", "adds r0, r0, #4; ldm r0!, {r1, r2}", "043006c8", 5),
    ("store data from the ALU", "adds r0, r0, #4; str r0, [r1]", "04300860", 2),
    ("a load and a NOP", "ldr r0, [r1]; nop", "086800bf", 2),
    ("a load and its use", "ldr r0, [r1]; adds r0, r0, #1", "08680130", 3),
    ("IT behind 16 bits", "adds r0, r0, #1; it eq", "013008bf", 1),
    ("IT behind 32 bits", "add.w r0, r0, #1; it eq", "00f1010008bf", 2),
    ("an FPU result used at once", "vadd.f32 s0, s1, s2; vmul.f32 s3, s0, s1", "30ee810a60ee201a", 3),
    ("an FPU result not used at once", "vadd.f32 s0, s1, s2; vmul.f32 s3, s4, s1", "30ee810a62ee201a", 2),
    ("an FPU result used as addend", "vmul.f32 s0, s1, s2; vfma.f32 s0, s3, s4", "20ee810aa1ee820a", 4),
    ("a multiplicand from the FPU", "vmul.f32 s0, s1, s2; vfma.f32 s3, s0, s4", "20ee810ae0ee021a", 5),
    ("an integer instruction behind VDIV", "vdiv.f32 s0, s1, s2; adds r0, r0, #1", "80ee810a0130", 2),
    ("an FPU instruction behind VDIV", "vdiv.f32 s0, s1, s2; vadd.f32 s3, s4, s5", "80ee810a72ee221a", 15),
    ("two multiple loads", "ldm r0!, {r1, r2}; ldm r3!, {r4, r5}", "06c830cb", 6),
)


@pytest.mark.parametrize(("row", "text", "code", "cycles"), ROWS, ids=[case[1] for case in ROWS])
def test_an_instruction_by_itself_takes_what_the_manual_says(row: str, text: str, code: str, cycles: int) -> None:
    (found,) = Decoder(m4()).decode(bytes.fromhex(code))

    assert (found.row.name, found.cycles, found.known) == (row, cycles, True), text


@pytest.mark.parametrize(("row", "text", "code", "cycles"), LEAVING, ids=[case[1] for case in LEAVING])
def test_an_instruction_that_leads_elsewhere_pays_the_refill(row: str, text: str, code: str, cycles: int) -> None:
    target = BASE + 0x40
    memory = bytes.fromhex(code).ljust(0x40, b"\x00") + bytes.fromhex("00bf")

    assert Decoder(m4()).one(memory).row.name == row, text
    assert cycles_of(memory, [BASE, target]) == cycles + 1


@pytest.mark.parametrize(("what", "text", "code", "cycles"), PAIRS, ids=[case[0] for case in PAIRS])
def test_neighbours_take_what_manual_or_measurement_say(what: str, text: str, code: str, cycles: int) -> None:
    memory = bytes.fromhex(code)
    trace = addresses(BASE, Decoder(m4()).decode(memory))

    assert cycles_of(memory, trace) == cycles, (what, text)


def test_every_row_and_every_pair_of_the_table_is_shown_here() -> None:
    table = m4()
    decoder = Decoder(table)
    used: set[str] = set()
    for _, _, code, _ in PAIRS:
        instructions = decoder.decode(bytes.fromhex(code))
        for first, second in pairwise(instructions):
            used |= {rule.name for rule in decoder.pair_rules(first, second)}

    assert {row.name for row in table.rows} == {case[0] for case in (*ROWS, *LEAVING)}
    assert {rule.name for rule in table.pairs} == used


def test_every_row_names_where_its_figure_comes_from() -> None:
    for core in ("cortex-m4", "cortex-a7"):
        table = CostTable.load(core)
        for entry in (*table.rows, *table.pairs, *table.events.values()):
            assert entry.section, entry.name
            assert entry.note, entry.name


def test_the_cortex_a7_is_called_an_estimate_and_the_cortex_m4_is_not() -> None:
    assert CostTable.load("cortex-a7").estimate
    assert "estimate" in CostTable.load("cortex-a7").source
    assert not CostTable.load("cortex-m4").estimate


@pytest.mark.parametrize(
    ("dividend", "divisor", "signed", "cycles"),
    [
        (0, 5, False, 2),  # no quotient bit
        (4, 8, False, 2),
        (100, 0, False, 2),  # by zero
        (1, 0xFFFF_FFFF, False, 2),
        (0xFFFF_FFFF, 1, False, 12),  # all quotient bits
        (0xFFFF_FFFF, 1, True, 3),  # minus one by one
        (0x8000_0000, 1, True, 12),
        (0x0001_0000, 1, False, 8),  # 17 bits: 2 + 10 * 17 / 32, rounded up
    ],
)
def test_a_divide_ends_early(dividend: int, divisor: int, signed: bool, cycles: int) -> None:
    assert m4().divide.cycles(dividend, divisor, signed=signed) == cycles


@pytest.mark.parametrize(
    ("name", "cycles"),
    [("exception-entry", 12), ("exception-return", 10), ("tail-chain", 6), ("late-arrival", 0)],
)
def test_exceptions_take_what_the_manual_says(name: str, cycles: int) -> None:
    assert m4().event_cycles(name) == cycles


@pytest.mark.parametrize(
    ("address", "size", "cycles"),
    [(0x1000, 4, 0), (0x1001, 4, 2), (0x1002, 4, 1), (0x1003, 4, 2), (0x1001, 2, 1), (0x1002, 2, 0), (0x1001, 1, 0)],
)
def test_an_unaligned_access_takes_a_cycle_for_each_further_part(address: int, size: int, cycles: int) -> None:
    assert m4().unaligned.cycles(address, size) == cycles


def test_only_divide_fpu_divide_and_wait_depend_on_more_than_flow_and_memory() -> None:
    dynamic = {row.name: row.dynamic for row in m4().rows if row.dynamic is not Dynamic.NONE}

    assert dynamic == {"divide": Dynamic.DIVIDE, "fpu-divide": Dynamic.FPU_DIVIDE, "wait": Dynamic.WAIT}
