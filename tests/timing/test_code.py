"""Packed costs: what a record depends on, when it is forgotten, and hostile bytes."""

from __future__ import annotations

import json
from importlib.resources import files

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from timing_code import BASE, SIZE, Code, m4

from cosim.errors import PlatformError
from cosim.timing import CostTable, Decoder, Flag, MemoryTiming, Region, Step
from cosim.timing.code import AFTER_NARROW, AFTER_WIDE, CODE, CYCLES, FLAGS, OPERANDS, RECORD, REFILL, TARGET, WAITS

LDR = bytes.fromhex("0868")  # ldr r0, [r1]
LDR_NEXT = bytes.fromhex("1a68")  # ldr r2, [r3]
LDR_SAME = bytes.fromhex("0268")  # ldr r2, [r0]
ADDS = bytes.fromhex("0130")  # adds r0, #1
SDIV = bytes.fromhex("93fbf7f0")  # sdiv r0, r3, r7
TBB = bytes.fromhex("dfe800f0")
M4_TEXT = files("cosim.timing").joinpath("cortex-m4.json").read_text(encoding="utf-8")
#: Core, and whether in Thumb state.
DECODERS = (("cortex-m4", True), ("cortex-a7", True), ("cortex-a7", False))
UNDEFINED = bytes.fromhex("ffffffff")


def test_a_record_tells_a_loop_all_it_needs() -> None:
    code = Code(ADDS + SDIV + TBB)

    divide, branch = code.record(BASE + 2), code.record(BASE + 6)

    assert bytes(divide[place] for place in (CYCLES, REFILL, TARGET, FLAGS, OPERANDS)) == bytes(
        (12, 0, 1, Flag.WIDE | Flag.DIVIDE | Flag.SIGNED, 0x37)
    )
    assert divide[CODE : CODE + 4] == SDIV
    assert code.record(BASE)[CODE : CODE + 4] == ADDS + bytes(2)
    assert (branch[FLAGS], branch[REFILL]) == (Flag.WIDE | Flag.LEAVES, 3)


def test_a_record_has_the_wait_states_of_fetches_from_its_memory() -> None:
    code = Code(LDR, MemoryTiming((Region("code", BASE + 2, 0x100, "system", 0, 0, 5, True, ""),)))

    assert [code.record(BASE + place)[WAITS] for place in (0, 2)] == [0, 5]


def test_a_run_is_decoded_at_once_with_its_pairs() -> None:
    code = Code(LDR + LDR_NEXT + ADDS + SDIV + LDR + TBB + LDR)

    assert code.costs.prepare(BASE) == 6
    records = [code.seen(BASE + place) for place in (0, 2, 4, 6, 10, 12, 16)]
    assert [record[CYCLES] for record in records] == [2, 2, 1, 12, 2, 3, 0]
    assert records[1][AFTER_NARROW] == 0xFF
    assert records[4][AFTER_WIDE] == 0


def test_a_run_ends_where_code_is_decoded_already_and_at_its_limit() -> None:
    code = Code(LDR * 8)
    code.costs.ensure(BASE + 8)

    assert code.costs.prepare(BASE, 2) == 2
    assert code.costs.prepare(BASE + 4) == 2


def test_a_run_ends_behind_what_is_no_instruction() -> None:
    assert Code(LDR + UNDEFINED + LDR).costs.prepare(BASE) == 2


def test_the_records_of_a_page_stay_where_they_are() -> None:
    code = Code(LDR)
    records = code.costs.page(BASE)

    code.costs.ensure(BASE)
    code.memory[:2] = ADDS
    code.costs.ensure(BASE)

    assert code.costs.page(BASE) is records
    assert len(records) == 0x1000 // 2 * RECORD


@pytest.mark.parametrize("again", ["ensure", "prepare"])
def test_changed_code_never_keeps_its_old_cost(again: str) -> None:
    code = Code(ADDS + LDR)
    code.costs.prepare(BASE)

    code.memory[:4] = SDIV
    getattr(code.costs, again)(BASE)

    assert code.seen(BASE)[CYCLES] == 12


def test_a_pair_is_forgotten_when_either_of_its_instructions_changes() -> None:
    for place, new in ((0, ADDS), (2, LDR_SAME)):
        code = Code(LDR + LDR_NEXT)
        code.costs.prepare(BASE)
        assert code.costs.pair(BASE, BASE + 2) == -1

        code.memory[place : place + 2] = new
        code.costs.ensure(BASE), code.costs.ensure(BASE + 2)

        assert code.costs.pair(BASE, BASE + 2) == 0


def test_the_second_half_of_an_instruction_counts_as_part_of_it() -> None:
    code = Code(SDIV + LDR)
    code.costs.ensure(BASE)

    code.memory[2:4] = bytes.fromhex("f7f1")

    assert code.record(BASE)[OPERANDS] == 0x37
    assert code.record(BASE)[CODE : CODE + 4] == bytes(code.memory[:4])


def test_what_lies_elsewhere_is_kept() -> None:
    code = Code(LDR * 32)
    for place in range(0, 64, 2):
        code.costs.ensure(BASE + place)

    code.memory[16:18] = ADDS
    code.costs.ensure(BASE + 16)

    assert all(code.seen(BASE + place)[CYCLES] for place in range(0, 64, 2))


def test_what_is_no_instruction_takes_a_cycle_and_is_marked() -> None:
    record = Code(UNDEFINED).record(BASE)

    assert record[CYCLES] == 1
    assert record[FLAGS] & Flag.UNKNOWN


def test_where_no_memory_is_an_instruction_is_unknown() -> None:
    for address in (BASE - 2, BASE + SIZE):
        assert Code(LDR).record(address)[FLAGS] == Flag.UNKNOWN | Flag.SWITCHES


@settings(max_examples=150, deadline=None)
@given(
    st.binary(min_size=1, max_size=64),
    st.sampled_from([("cortex-m4", True), ("cortex-a7", True), ("cortex-a7", False)]),
)
def test_any_bytes_are_decoded_back_to_back_at_a_cycle_or_more(code: bytes, core: tuple[str, bool]) -> None:
    decoder = Decoder(CostTable.load(core[0]), thumb=core[1])

    found = decoder.decode(code)

    assert len(code) <= sum(instruction.size for instruction in found) < len(code) + 4
    assert all(instruction.cycles >= 1 and instruction.size in (2, 4) for instruction in found)


@settings(max_examples=150, deadline=None)
@given(st.binary(min_size=4, max_size=64), st.lists(st.integers(0, 31), max_size=40), st.booleans())
def test_any_walk_over_any_bytes_counts_and_never_backwards(code: bytes, walk: list[int], operands: bool) -> None:
    counter = Code(code).counter()
    value = 0xFFFF_FFFF if operands else 0

    for halfword in walk:
        before = counter.cycles
        counter.step(Step(BASE + 2 * halfword, dividend=value, divisor=value))
        assert counter.cycles >= before


@settings(max_examples=100, deadline=None)
@given(st.binary(min_size=8, max_size=48), st.permutations(range(12)))
def test_costs_do_not_depend_on_what_ran_first(code: bytes, order: list[int]) -> None:
    first, second = Code(code), Code(code)
    for halfword in order:
        second.costs.prepare(BASE + 2 * halfword, halfword)
        second.costs.ensure(BASE + 2 * halfword)
        second.costs.ensure(BASE + 2 * halfword + 2)
        second.costs.pair(BASE + 2 * halfword, BASE + 2 * halfword + 2)
    walk = [BASE + 2 * halfword for halfword in range(12)]

    counters = [code.counter() for code in (first, second)]
    for address in walk:
        for counter in counters:
            counter.step(Step(address))

    assert counters[0].cycles == counters[1].cycles


def test_a_core_or_platform_without_a_table_is_refused_by_name() -> None:
    with pytest.raises(PlatformError, match="cortex-m7"):
        CostTable.load("cortex-m7")
    with pytest.raises(PlatformError, match="bluepill"):
        MemoryTiming.load("bluepill")


@pytest.mark.parametrize("text", ["[", "[" * 100_000, "\x00"])
def test_a_table_that_is_no_json_is_refused(text: str) -> None:
    with pytest.raises(PlatformError) as caught:
        CostTable.parse(text, "my.json")

    assert caught.value.fields["file"] == "my.json"


@pytest.mark.parametrize("text", ["{}", "[1]", "7", "null", '{"instructions": 7}', '{"instructions": [7]}'])
def test_a_table_without_rows_is_refused(text: str) -> None:
    with pytest.raises(PlatformError) as caught:
        CostTable.parse(text, "my.json")

    assert caught.value.fields["entry"] == "instructions"


@pytest.mark.parametrize(
    ("part", "key", "value"),
    [
        ("instructions", "cycles", 0),
        ("instructions", "cycles", 1.5),
        ("instructions", "cycles", True),
        ("instructions", "cycles", 128),
        ("instructions", "refill", -1),
        ("instructions", "mnemonics", 7),
        ("instructions", "when", "never"),
        ("instructions", "dynamic", "often"),
        ("instructions", "always_leaves", 1),
        ("instructions", "section", None),
        ("pairs", "first", "load nowhere"),
        ("pairs", "condition", "sometimes"),
        ("pairs", "cycles", -2),
        ("events", "cycles", -1),
    ],
)
def test_a_wrong_row_is_refused_by_its_name(part: str, key: str, value: object) -> None:
    data = json.loads(M4_TEXT)
    row = data[part][1]
    row[key] = value

    with pytest.raises(PlatformError) as caught:
        CostTable.parse(json.dumps(data), "my.json")

    assert caught.value.fields["entry"] == row["name"]


def test_two_rows_of_one_name_are_refused() -> None:
    data = json.loads(M4_TEXT)
    data["instructions"].append(data["instructions"][0])

    with pytest.raises(PlatformError, match="two of this name"):
        CostTable.parse(json.dumps(data), "my.json")


@pytest.mark.parametrize("key", ["divide", "unaligned_access", "unknown", "skipped", "unaligned_wide_target", "core"])
def test_a_table_that_lacks_a_part_is_refused(key: str) -> None:
    data = json.loads(M4_TEXT)
    del data[key]

    with pytest.raises(PlatformError):
        CostTable.parse(json.dumps(data), "my.json")


def test_no_pair_takes_more_off_than_the_instruction_costs() -> None:
    data = json.loads(M4_TEXT)
    data["pairs"].append({**data["pairs"][0], "name": "again", "second": "no-operation", "condition": "always"})
    data["pairs"].append({**data["pairs"][-1], "name": "and again"})
    decoder = Decoder(CostTable.parse(json.dumps(data), "my.json"))
    load, nop = decoder.decode(LDR + bytes.fromhex("00bf"))

    assert decoder.pair_cycles(load, nop) == -nop.cycles


def test_an_undefined_wide_encoding_is_passed_over_whole() -> None:
    assert [i.size for i in Decoder(m4()).decode(UNDEFINED + LDR + UNDEFINED[:2])] == [4, 2, 2]


def test_the_pair_behind_a_wide_instruction_is_not_that_behind_its_second_half() -> None:
    # ldr.w r0, [r1], whose second half alone is movs r0, r0; then ldr r2, [r0]
    code = Code(bytes.fromhex("d1f80000") + LDR_SAME)
    for offset in (0, 2, 4):
        code.costs.ensure(BASE + offset)

    assert code.costs.pair(BASE + 2, BASE + 4) == 1
    assert code.costs.pair(BASE, BASE + 4) == 0


def test_the_last_halfword_of_memory_is_decoded_from_what_lies_in_it() -> None:
    code = Code(LDR)
    code.memory[-2:] = bytes.fromhex("d1f8")  # the first half of a load

    assert code.record(BASE + SIZE - 2)[FLAGS] == Flag.UNKNOWN | Flag.SWITCHES
