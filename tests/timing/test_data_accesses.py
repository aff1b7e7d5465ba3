"""Data accesses: where the address of each form of load and store comes from, and what it takes further."""

from __future__ import annotations

import pytest
from timing_code import BASE, Code, m4

from cosim.timing import CodeCosts, CostTable, Decoder, MemoryTiming, Region
from cosim.timing.code import ACCESS, CYCLES, NO_REGISTER

SLOW = MemoryTiming((Region("slow", 0xC000_0000, 0x1000, "AXI", 40, 3, 0, True, ""),))
SP, PC, NONE = 13, 15, NO_REGISTER
#: An instruction, the registers that its address comes from, what these hold, and its cycles beyond those of the table.
FORMS = (
    ("ldr r0, [r1]", "0868", (1, NONE), (0xC000_0000, 0), 40),
    ("ldr r0, [r1] elsewhere", "0868", (1, NONE), (0xC000_1000, 0), 0),
    ("ldr r0, [r1] at an even address", "0868", (1, NONE), (0x2000_0002, 0), 1),
    ("ldr r0, [r1] at an odd address", "0868", (1, NONE), (0x2000_0003, 0), 2),
    ("ldr r0, [r1], in three parts that wait", "0868", (1, NONE), (0xC000_0001, 0), 2 + 3 * 40),
    ("ldr r0, [r1, #4]", "4868", (1, NONE), (0xBFFF_FFFC, 0), 40),
    ("ldr r0, [r1, #-4]", "51f8040c", (1, NONE), (0xC000_1000, 0), 40),
    ("ldr r0, [r1, #-4]!", "51f8040d", (1, NONE), (0xC000_1000, 0), 40),
    ("ldr r0, [r1], #-4", "51f80409", (1, NONE), (0xC000_1000, 0), 0),
    ("ldr r0, [r1, r2, lsl #2]", "51f82200", (1, 2), (0xBFFF_FFFC, 1), 40),
    ("ldr r0, [r1, r2], around the end", "8858", (1, 2), (0xFFFF_FFF0, 0xC000_0010), 40),
    ("ldrh r0, [r1]", "0888", (1, NONE), (0x2000_0001, 0), 1),
    ("ldrsb r0, [r1]", "91f90000", (1, NONE), (0xC000_0001, 0), 40),
    ("str r0, [r1]", "0860", (1, NONE), (0xC000_0000, 0), 3),
    ("strh r0, [r1]", "0880", (1, NONE), (0xC000_0001, 0), 1 + 2 * 3),
    ("ldr r0, [sp, #4]", "0198", (SP, NONE), (0xC000_0000, 0), 40),
    ("push {r0, r1}", "03b4", (SP, NONE), (0xC000_1000, 0), 2 * 3),
    ("pop {r0, r1}", "03bc", (SP, NONE), (0xC000_0FFC, 0), 2 * 40),
    ("ldm r0!, {r1, r2}", "06c8", (0, NONE), (0xC000_0000, 0), 2 * 40),
    ("ldm r0!, {r1, r2}, where no trap is", "06c8", (0, NONE), (0xC000_0002, 0), 2 * 40),
    ("ldmdb r0, {r1, r2}", "10e90600", (0, NONE), (0xC000_0008, 0), 2 * 40),
    ("stmdb r0!, {r1, r2}", "20e90600", (0, NONE), (0xC000_1000, 0), 2 * 3),
    ("ldrd r0, r1, [r2, #8]", "d2e90201", (2, NONE), (0xBFFF_FFF8, 0), 2 * 40),
    ("ldrex r0, [r1, #8]", "51e8020f", (1, NONE), (0xBFFF_FFF8, 0), 40),
    ("strexb r0, r1, [r2]", "c2e8401f", (2, NONE), (0xC000_0001, 0), 3),
    ("tbh [r1, r0, lsl #1]", "d1e810f0", (1, 0), (0xC000_0000, 3), 40),
    ("vldr s0, [r0, #-8]", "10ed020a", (0, NONE), (0xC000_0008, 0), 40),
    ("vldr d0, [r0]", "90ed000b", (0, NONE), (0xC000_0000, 0), 2 * 40),
    ("vpush {d0, d1}", "2ded040b", (SP, NONE), (0xC000_0010, 0), 4 * 3),
    ("vldmia r0!, {s0-s3}", "b0ec040a", (0, NONE), (0xC000_0000, 0), 4 * 40),
)


@pytest.mark.parametrize(("name", "code", "registers", "values", "cycles"), FORMS, ids=[form[0] for form in FORMS])
def test_an_access_takes_what_the_registers_before_it_say(
    name: str, code: str, registers: tuple[int, int], values: tuple[int, int], cycles: int
) -> None:
    counter = Code(bytes.fromhex(code), SLOW).counter()

    counter.arrive(BASE)
    counter.begin(BASE)
    static = counter.state.cost
    assert counter.reach == registers, name
    counter.reached(*values)

    assert counter.state.cost - static == cycles


@pytest.mark.parametrize(("offset", "waits"), [(0, 40), (2, 40), (4, 0)])
def test_a_literal_lies_where_the_instruction_says(offset: int, waits: int) -> None:
    timing = MemoryTiming((Region("literals", BASE + 8, 4, "code", 40, 0, 0, True, ""),))
    counter = Code(bytes.fromhex("0148") * 3, timing).counter()  # ldr r0, [pc, #4]

    counter.arrive(BASE + offset)
    counter.begin(BASE + offset)
    assert counter.reach == (PC, NONE)
    counter.reached(0, 0)

    assert counter.state.cost == 2 + waits


#: What cannot be unaligned: bytes, literals, the stack by words, and what would fault.
ALIGNED = ("0878", "0148", "0198", "03b4", "06c8", "d2e90201", "90ed000b", "0130")


@pytest.mark.parametrize("code", ALIGNED)
def test_without_wait_states_no_register_is_asked_where_the_address_cannot_be_unaligned(code: str) -> None:
    assert Code(bytes.fromhex(code)).record(BASE)[ACCESS] == 0
    assert Code(bytes.fromhex("0868")).record(BASE)[ACCESS] == 4


def test_fetches_that_wait_are_no_reason_to_ask() -> None:
    timing = MemoryTiming((Region("code", BASE, 0x100, "system", 0, 0, 5, True, ""),))

    assert Code(bytes.fromhex("0198"), timing).record(BASE)[ACCESS] == 0


@pytest.mark.parametrize(("thumb", "code"), [(True, "0868"), (False, "000091e5")])
def test_the_a7_whose_data_accesses_are_not_timed_is_never_asked(thumb: bool, code: str) -> None:
    costs = CodeCosts(Decoder(CostTable.load("cortex-a7"), thumb=thumb), lambda _address, _size: bytes.fromhex(code))

    page, record = costs.ensure(BASE)

    assert page[record + CYCLES]
    assert page[record + ACCESS] == 0


@pytest.mark.parametrize("code", ["021011e7", "620011e7", "620091e7", "420091e7"])
def test_an_address_of_another_form_is_none(code: str) -> None:
    # ARM state: ldr r1, [r1, -r2] and with an index shifted right or arithmetically.
    access = Decoder(CostTable.load("cortex-a7"), thumb=False).one(bytes.fromhex(code)).access

    assert access is None


def test_every_load_and_store_of_the_table_has_an_address() -> None:
    decoder = Decoder(m4())
    halfwords = (first.to_bytes(2, "little") for first in range(0xE800))
    loads = [found for code in halfwords if "memory" in (found := decoder.one(code)).row.tags]

    assert len(loads) > 20_000
    assert all(found.access is not None for found in loads)
