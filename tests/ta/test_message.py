"""The OP-TEE message ABI: what a message may look like, and what comes back in it."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from ta_bench import OTHER, SHM, STAGING, TA_OCTETS, World, resigned
from test_vectors import CASES, build

from ta.profile import FirewallProfile, Profile
from ta.results import Origin, TeeResult

EBADADDR, EBADCMD, OK = 4, 5, 0
META_VALUE, VALUE_IN, VALUE_OUT, VALUE_INOUT, RMEM_IN, TMEM_IN, TMEM_OUT = 0x101, 1, 2, 3, 5, 9, 10
FIRST, SECOND = struct.unpack("<2Q", TA_OCTETS)
OPEN_PARAMS: list[Any] = [
    (META_VALUE, (FIRST, SECOND, 0)),
    (META_VALUE, (0, 0, 0x80000000)),
    (VALUE_IN, (0, 0, 0)),
]


def call_at(world: World, address: int) -> int:
    return world.smc(0x32000004, address >> 32, address & 0xFFFFFFFF)[0]


@pytest.mark.parametrize("address", [SHM + 4, SHM + 1, SHM - 8, SHM + 0x200000 - 24, 0xC0000000, SHM + (1 << 32), 0])
def test_messages_outside_reserved_memory_or_misaligned_are_bad_addresses(world: World, address: int) -> None:
    assert call_at(world, address) == EBADADDR


@pytest.mark.parametrize(("count", "result"), [(127, OK), (128, EBADADDR), (0xFFFFFFFF, EBADADDR)])
def test_the_number_of_parameters_is_bounded_by_a_page(world: World, count: int, result: int) -> None:
    world.bus.write(SHM, struct.pack("<8I", 1, 1, 1, 0, 0, 0, 0, count))
    assert call_at(world, SHM) == result
    if result == OK:
        assert world.answer == (TeeResult.BAD_PARAMETERS, Origin.TEE)


def test_a_message_may_not_run_out_of_reserved_memory(world: World) -> None:
    end = SHM + 0x200000 - 64
    world.bus.write(end, struct.pack("<8I", 1, 1, 1, 0, 0, 0, 0, 2))
    assert call_at(world, end) == EBADADDR


@pytest.mark.parametrize("command", [6, 7, 8, 11, 0xFFFFFFFF])
def test_message_commands_of_other_builds_are_bad_commands(world: World, command: int) -> None:
    assert world.message(command, []) == EBADCMD


@pytest.mark.parametrize(
    "params",
    [
        [],
        OPEN_PARAMS[:1],
        [(VALUE_IN, (FIRST, SECOND, 0)), *OPEN_PARAMS[1:]],
        [OPEN_PARAMS[0], (META_VALUE | 1 << 16, (0, 0, 0)), OPEN_PARAMS[2]],
        [OPEN_PARAMS[0], (META_VALUE, (0, 0, 3)), OPEN_PARAMS[2]],
        [*OPEN_PARAMS[:2], OPEN_PARAMS[0]],
        [*OPEN_PARAMS, *[OPEN_PARAMS[2]] * 4],
    ],
)
def test_a_malformed_open_is_refused_by_the_tee(world: World, params: list[Any]) -> None:
    world.bus.write(SHM + 8, b"\xff\xff\xff\xff")
    assert world.message(0, params) == OK
    assert world.answer == (TeeResult.BAD_PARAMETERS, Origin.TEE)
    assert world.bus.read(SHM + 8, 4) == bytes(4)


@pytest.mark.parametrize("login", [0, 1, 2, 4, 5, 6, 0x80000000])
def test_every_login_method_is_accepted(world: World, login: int) -> None:
    assert world.open(login=login) == 1


def test_the_uuid_of_the_ta_has_the_octets_of_the_facts() -> None:
    assert (FIRST, SECOND) == (0x0549470A75C2A480, 0x081A77A986148582)


@pytest.mark.parametrize(
    "second",
    [
        (RMEM_IN, (0, 16, 1)),
        (TMEM_IN, (0xC0000000, 16, 0)),
        (TMEM_IN, (SHM - 4, 16, 0)),
        (TMEM_IN, (SHM + 0x200000 - 8, 16, 0)),
        (TMEM_IN, (SHM + 0x200000, 0, 0)),
        (TMEM_IN | 1 << 9, (STAGING, 16, 0)),
        (META_VALUE, (0, 0, 0)),
        (4, (0, 0, 0)),
        (12, (0, 0, 0)),
    ],
)
def test_parameters_that_this_build_cannot_take_are_refused_by_the_tee(world: World, second: Any) -> None:
    world.open()
    assert world.invoke(1, [(VALUE_IN, (0, 0, 0)), second]) == TeeResult.BAD_PARAMETERS
    assert world.answer[1] == Origin.TEE


def test_a_null_reference_reaches_the_ta(world: World) -> None:
    world.open()
    assert world.invoke(1, [(VALUE_IN, (0, 0, 0)), (TMEM_IN, (0, 4096, 0))]) == TeeResult.BAD_PARAMETERS
    assert world.answer[1] == Origin.TRUSTED_APP


def test_cache_attributes_do_not_matter_and_missing_parameters_are_none(world: World) -> None:
    world.open()
    data = resigned("a")
    world.bus.write(STAGING, data)
    params: list[Any] = [(VALUE_IN, (0, 0, 0)), (TMEM_IN | 1 << 16, (STAGING, len(data), 0))]
    assert world.invoke(1, params) == TeeResult.SUCCESS


def test_values_are_cut_to_32_bits(world: World) -> None:
    world.open()
    assert world.load(resigned("a")) == TeeResult.SUCCESS
    assert world.invoke(2, [(VALUE_IN, (1 << 32, 0, 0))]) == TeeResult.SUCCESS


def test_output_values_are_written_back_also_on_error_and_the_third_word_stays(world: World) -> None:
    world.open()
    params: list[Any] = [
        (VALUE_IN, (0, 5, 6)),
        (VALUE_OUT, (0x1_0000_0007, 8, 9)),
        (VALUE_INOUT, (0x2_0000_0003, 4, 5)),
        (TMEM_OUT, (OTHER, 32, 77)),
    ]
    assert world.invoke(4, params) == TeeResult.BAD_PARAMETERS
    assert world.out(0) == (0, 5, 6)
    assert world.out(1) == (7, 8, 9)
    assert world.out(2) == (3, 4, 5)
    assert world.out(3) == (OTHER, 32, 77)


def test_a_refused_open_writes_its_output_values_back_too(world: World) -> None:
    world.message(0, [*OPEN_PARAMS[:2], (VALUE_INOUT, (0x3_0000_0001, 2, 3))])
    assert world.answer == (TeeResult.BAD_PARAMETERS, Origin.TRUSTED_APP)
    assert world.out(2) == (1, 2, 3)


def test_close_and_cancel_take_no_parameters(world: World) -> None:
    world.open()
    for command in (2, 3):
        world.message(command, [(VALUE_IN, (0, 0, 0))], session=1)
        assert world.answer == (TeeResult.BAD_PARAMETERS, Origin.TEE)
    assert world.simple(3) == TeeResult.BAD_PARAMETERS  # the session is still open; the TA has no context


def test_every_field_of_a_message_is_read_once(world: World) -> None:
    reads: list[tuple[int, int]] = []
    world.secure.shared_memory.observer = lambda _number, address, size: reads.append((address - SHM, size))
    world.open()
    covered = [at + n for at, size in reads for n in range(size)]
    assert len(covered) == len(set(covered))


def test_messages_changed_after_the_count_was_read_do_not_reach_further(world: World) -> None:
    def grow(_number: int, address: int, _size: int) -> None:
        if address == SHM:
            world.bus.write(SHM + 28, b"\xff\xff\xff\xff")

    world.secure.shared_memory.observer = grow
    assert world.message(1, [(VALUE_IN, (0, 0, 0))], session=1, function=2) == OK


@pytest.mark.parametrize("case_id", ["P0001", "P0005", "P1600", "P1660", "P1690", "P1697", "P1702", "P1712", "P1719"])
def test_verdicts_of_the_reference_hold_through_messages_too(case_id: str) -> None:
    case = CASES[case_id]
    world = World(Profile.UPSTREAM, FirewallProfile.OPEN, case["key"])
    images = [build(case["base"], case["ops"])]
    if "image2" in case:
        images.append(build(case["image2"]["base"], case["image2"]["ops"]))
    for step, wanted in zip(case["sequence"], case["expect"], strict=True):
        session = _call(world, step, images)
        assert world.answer == (int(wanted["result"], 16), wanted["origin"]), step
        if step[0] == "open":
            assert session == wanted.get("session", 0)
        for index, a, b in wanted.get("out", ()):
            assert world.out(index)[:2] == (int(a, 16), int(b, 16))


def _call(world: World, step: list[Any], images: list[bytes]) -> int:
    options = step[-1] if isinstance(step[-1], dict) else {}
    session, processor = options.get("session", 1), (VALUE_IN, (options.get("id", 0), 0, 0))
    if step[0] == "open":
        return world.open(step[1])
    if step[0] == "close":
        return world.message(2, [], session=step[1] if len(step) > 1 else 1)
    data = images[options.get("image", 1) - 1]
    world.bus.write(STAGING, data + bytes(4096))
    memory = (TMEM_IN, (STAGING, len(data), 0))
    if step[0] == "load":
        return world.invoke(1, [processor, memory], session)
    if step[0] == "get_rsc":
        return world.invoke(4, [processor, (VALUE_OUT, (0, 0, 0)), (VALUE_OUT, (0, 0, 0))], session)
    if step[0] == "invoke":
        types = int(step[2], 16)
        params = [_param(types >> (4 * n) & 15, given, len(data)) for n, given in enumerate(step[3])]
        return world.invoke(step[1], params, session)
    return world.invoke({"start": 2, "stop": 3, "release": 6}[step[0]], [processor], session)


def _param(kind: int, given: Any, size: int) -> Any:
    if kind in (5, 6, 7):
        return (kind + 4, (STAGING, size, 0))
    return (kind, (given[0], given[1], 0) if kind else (0, 0, 0))
