"""The counter over an execution: refill, IT blocks, divides, exceptions, wait states."""

from __future__ import annotations

import pytest
from timing_code import BASE, Code, cycles_of, m4

from cosim.timing import Access, CodeCosts, CycleCounter, Decoder, ExceptionEvent, MemoryTiming, Region, Step

NOP = bytes.fromhex("00bf")
NOP_W = bytes.fromhex("aff30080")
SUBS = bytes.fromhex("0138")  # subs r0, #1
BNE_BACK = bytes.fromhex("fdd1")  # bne to the instruction before it
UDIV = bytes.fromhex("b1fbf2f0")  # udiv r0, r1, r2
SDIV = bytes.fromhex("91fbf2f0")  # sdiv r0, r1, r2
ITT_EQ = bytes.fromhex("04bf")
ADDEQ = bytes.fromhex("0130")  # addeq r0, #1
LDR = bytes.fromhex("0868")  # ldr r0, [r1]
VDIV = bytes.fromhex("80ee810a")  # vdiv.f32 s0, s1, s2
VADD = bytes.fromhex("72ee221a")  # vadd.f32 s3, s4, s5


def test_a_loop_costs_three_cycles_a_turn_and_one_less_at_its_end() -> None:
    turn = [BASE, BASE + 2]

    assert cycles_of(SUBS + BNE_BACK + NOP, turn * 10 + [BASE + 4]) == 10 * 3 - 1 + 1


@pytest.mark.parametrize(
    ("offset", "instruction", "cycles"),
    [(0x40, NOP, 1), (0x42, NOP, 1), (0x40, NOP_W, 1), (0x42, NOP_W, 2)],
    ids=["narrow", "narrow in the upper half", "wide", "wide across words"],
)
def test_a_target_across_two_words_takes_a_cycle_more(offset: int, instruction: bytes, cycles: int) -> None:
    branch = (0xE000 | (offset - 4) >> 1).to_bytes(2, "little")
    memory = branch.ljust(offset, b"\x00") + instruction

    assert cycles_of(memory, [BASE, BASE + offset]) == 1 + cycles + 1


def test_a_branch_to_the_next_instruction_is_taken_and_one_that_fails_is_not() -> None:
    always, never = bytes.fromhex("ffe7"), bytes.fromhex("ffd1")  # b and bne to the instruction behind

    assert cycles_of(always + NOP, [BASE, BASE + 2]) == 2 + 1
    assert cycles_of(never + NOP, [BASE, BASE + 2]) == 1 + 1


def test_the_refill_never_exceeds_three_cycles() -> None:
    load_pc = bytes.fromhex("d0f800f0")
    memory = load_pc.ljust(0x42, b"\x00") + NOP_W

    assert cycles_of(memory, [BASE, BASE + 0x42]) == 2 + 3 + 1


@pytest.mark.parametrize(
    ("code", "cycles"),
    [("7047", 3), ("10bd", 6), ("d0f800f0", 5)],
    ids=["bx lr", "pop {r4, pc}", "ldr.w pc, [r0]"],
)
def test_an_instruction_that_always_leaves_pays_its_refill_to_the_next_address_too(code: str, cycles: int) -> None:
    memory = bytes.fromhex(code)

    assert cycles_of(memory + NOP, [BASE, BASE + len(memory)]) == cycles + 1


def test_neighbours_in_memory_pair_only_when_control_comes_straight_on() -> None:
    memory = LDR + LDR + SUBS + BNE_BACK
    counter = Code(memory).counter()

    counter.step(Step(BASE))
    counter.step(Step(BASE + 2))
    straight = counter.cycles
    counter.step(Step(BASE + 4))
    counter.step(Step(BASE + 6))
    before = counter.cycles
    counter.step(Step(BASE + 2))

    # r0 is loaded from [r1] both times, so the second load overlaps the first.
    assert straight == 3
    assert counter.cycles - before == 1 + 2


def test_a_skipped_instruction_takes_one_cycle_and_pairs_with_nothing() -> None:
    memory = ITT_EQ + LDR + LDR + NOP
    trace = [Step(BASE), Step(BASE + 2, executed=False), Step(BASE + 4, executed=False), Step(BASE + 6)]

    assert Code(memory).counter().count(trace) == 4


def test_an_executed_it_block_costs_what_its_instructions_cost() -> None:
    trace = [Step(BASE), Step(BASE + 2), Step(BASE + 4)]

    assert Code(ITT_EQ + ADDEQ + ADDEQ).counter().count(trace) == 3


@pytest.mark.parametrize(("code", "cycles"), [(UDIV, 12), (SDIV, 3)], ids=["unsigned", "signed: minus one by one"])
def test_a_divide_counts_by_its_operands(code: bytes, cycles: int) -> None:
    assert Code(code).counter().count([Step(BASE, dividend=0xFFFF_FFFF, divisor=1)]) == cycles


def test_the_fpu_is_busy_for_fourteen_cycles_and_the_core_is_not() -> None:
    memory = VDIV + NOP * 4 + VADD
    steps = [BASE, *(BASE + 4 + 2 * n for n in range(4))]

    assert cycles_of(memory, steps) == 1 + 4
    assert cycles_of(memory, [*steps, BASE + 12]) == 14 + 1


def test_exceptions_count_and_break_the_flow() -> None:
    counter = Code(LDR + LDR).counter()

    counter.step(Step(BASE))
    counter.exception(ExceptionEvent.ENTRY)
    counter.step(Step(BASE + 2))
    entered = counter.cycles
    counter.exception(ExceptionEvent.TAIL_CHAIN)
    counter.exception(ExceptionEvent.RETURN)

    assert entered == 2 + 12 + 2
    assert counter.cycles == entered + 6 + 10


def test_stacking_fp_state_at_once_takes_seventeen_cycles_more_each_way() -> None:
    counter = Code(NOP).counter()

    counter.exception(ExceptionEvent.ENTRY, floating_point=True)
    counter.exception(ExceptionEvent.RETURN, floating_point=True)

    assert counter.cycles == 12 + 17 + 10 + 17


def test_unaligned_accesses_take_their_further_cycles() -> None:
    trace = [Step(BASE, accesses=(Access(0x2000_0001, 4),))]

    assert Code(LDR).counter().count(trace) == 2 + 2


SLOW = MemoryTiming((Region("slow", 0xC000_0000, 0x1000, "AXI", 40, 3, 0, True, ""),))


@pytest.mark.parametrize(
    ("access", "cycles"),
    [(Access(0xC000_0000, 4), 40), (Access(0xC000_0000, 4, write=True), 3), (Access(0xD000_0000, 4), 0)],
    ids=["read", "write", "elsewhere"],
)
def test_wait_states_are_those_of_the_region(access: Access, cycles: int) -> None:
    assert Code(LDR, SLOW).counter().count([Step(BASE, accesses=(access,))]) == 2 + cycles


def test_fetches_wait_once_for_each_word() -> None:
    slow = MemoryTiming((Region("code", BASE, 0x1000, "system", 0, 0, 5, True, ""),))
    counter = Code(NOP + NOP + NOP_W + NOP + NOP_W, slow).counter()
    waited = []

    for offset in (0, 2, 4, 8, 10):
        before = counter.cycles
        counter.step(Step(BASE + offset))
        waited.append(counter.cycles - before - 1)

    assert waited == [5, 0, 5, 5, 5]


def test_a_skipped_instruction_is_fetched_too() -> None:
    slow = MemoryTiming((Region("code", BASE, 0x1000, "system", 0, 0, 5, True, ""),))
    counter = Code(ITT_EQ + NOP_W + NOP, slow).counter()

    counter.step(Step(BASE))
    counter.skip(BASE + 2)
    skipped = counter.cycles
    counter.step(Step(BASE + 6))

    assert (skipped, counter.cycles) == (2 + 2 * 5, 3 + 2 * 5)


def test_the_platform_of_the_m4_has_no_wait_states_in_its_own_memories_and_the_system_bus_fetches_slower() -> None:
    timing = MemoryTiming.load("stm32mp15-m4")
    names = {address: region.name for address in (0x0, 0x1000_0000, 0x3000_0000, 0xC000_0000)
             if (region := timing.at(address))}  # fmt: skip

    assert names == {0: "RETRAM", 0x1000_0000: "MCUSRAM, code alias", 0x3000_0000: "MCUSRAM", 0xC000_0000: "DDR"}
    assert [timing.at(a).fetch for a in (0x0, 0x1000_0000, 0x3000_0000)] == [0, 0, 1]  # type: ignore[union-attr]
    assert timing.at(0x9000_0000) is None
    assert all(region.estimate for region in timing.regions)


def test_counting_again_gives_the_same_cycles() -> None:
    memory = LDR + SUBS + BNE_BACK + NOP_W
    trace = [Step(BASE + offset) for offset in (0, 2, 4, 2, 4, 6)]
    code = Code(memory)

    assert len({code.counter().count(trace) for _ in range(3)} | {Code(memory).counter().count(trace)}) == 1


def test_neighbours_pair_across_pages_of_records() -> None:
    page = 0x1000
    memory = bytearray(2 * page)
    memory[page - 2 : page + 2] = LDR + LDR
    costs = CodeCosts(Decoder(m4()), lambda address, size: bytes(memory[address : address + size]))
    counter = CycleCounter(m4(), costs)

    counter.step(Step(page - 2))
    counter.step(Step(page))

    assert counter.cycles == 2 + 1


def test_an_abandoned_instruction_costs_nothing_and_its_repetition_the_usual() -> None:
    counter = Code(LDR + LDR + VDIV + VADD).counter()
    counter.step(Step(BASE))

    for _ in range(3):
        counter.arrive(BASE + 2)
        counter.begin(BASE + 2)
        counter.access(0x2000_0001, 4, write=False)
    counter.step(Step(BASE + 2))

    assert counter.cycles == 2 + 1


def test_a_refill_is_paid_once_however_often_control_arrives() -> None:
    counter = Code(bytes.fromhex("7047") + NOP).counter()
    counter.step(Step(BASE))

    for _ in range(3):
        counter.arrive(BASE + 2)

    assert counter.cycles == 1 + 2


def test_code_where_no_memory_is_takes_the_default_and_is_reported() -> None:
    counter = Code(LDR).counter()

    counter.step(Step(BASE))
    counter.step(Step(0x9000_0000))
    counter.step(Step(0x9000_0002))

    assert counter.cycles == 2 + 1 + 1
    assert (counter.state.unknown, counter.state.unknown_at) == (2, 0x9000_0000)


def test_an_unknown_encoding_is_reported_each_time_it_executes() -> None:
    counter = Code(bytes.fromhex("ffffffff")).counter()

    counter.step(Step(BASE))
    counter.step(Step(BASE))

    assert (counter.cycles, counter.state.unknown) == (2, 2)
