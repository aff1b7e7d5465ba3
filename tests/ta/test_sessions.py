"""Session rules of the TEE core: one instance, kept alive, one session, and what a death leaves."""

from __future__ import annotations

import struct
import uuid

import pytest
from ta_bench import World, image, resigned
from test_vectors import build

from ta.events import CommandReturned, SessionClosed, SessionOpened, TaDied
from ta.params import NO_PARAMS, Value
from ta.profile import Profile
from ta.remoteproc_pta import PTA_UUID
from ta.remoteproc_ta import TA_UUID
from ta.results import Origin, TeeResult

LOAD, START = 1, 2


def killer() -> bytes:
    """An image whose sign_len rounds to zero: kills upstream without a valid signature (A2)."""
    data = image("a.bin")
    return data[:12] + b"\xf9\xff\xff\xff" + data[16:300] + data[812:]


def test_a_second_session_is_refused_while_one_is_open(world: World) -> None:
    assert world.open() == 1
    assert world.open() == 0
    assert world.answer == (TeeResult.BUSY, Origin.TEE)
    assert [e.session for e in world.of(SessionOpened)] == [1, 0]


def test_state_survives_the_last_session(world: World) -> None:
    world.open()
    world.load(resigned("a"))
    world.message(2, [], session=1)
    assert world.answer == (TeeResult.SUCCESS, Origin.TEE)
    assert world.open() == 1
    assert world.simple(START) == TeeResult.SUCCESS


def test_a_refused_open_uses_no_session_number_and_does_not_block(world: World) -> None:
    assert world.open(processor_id=7) == 0
    assert world.answer == (TeeResult.NOT_SUPPORTED, Origin.TRUSTED_APP)
    assert world.open() == 1


def test_unknown_sessions_are_told_apart_by_command(world: World) -> None:
    assert world.simple(START) == TeeResult.BAD_PARAMETERS
    assert world.answer == (TeeResult.BAD_PARAMETERS, Origin.TEE)
    assert "session 1 is not open" in world.of(CommandReturned)[-1].reason
    world.message(2, [], session=9)
    assert world.answer == (TeeResult.ITEM_NOT_FOUND, Origin.TEE)
    assert world.of(SessionClosed)[-1].result == TeeResult.ITEM_NOT_FOUND


def test_an_unknown_ta_is_not_found(world: World) -> None:
    assert world.open(octets=uuid.uuid5(uuid.NAMESPACE_DNS, "no.such.ta").bytes) == 0
    assert world.answer == (TeeResult.ITEM_NOT_FOUND, Origin.TEE)


def test_the_pta_refuses_the_normal_world(world: World) -> None:
    assert world.open(octets=uuid.UUID(PTA_UUID).bytes) == 0
    assert world.answer == (TeeResult.ACCESS_DENIED, Origin.TRUSTED_APP)
    assert world.secure.core.open_session(PTA_UUID, 0, NO_PARAMS).result == TeeResult.BAD_PARAMETERS


def test_a_dead_instance_answers_target_dead_and_a_new_one_starts_without_state() -> None:
    world = World(Profile.UPSTREAM)
    world.open()
    assert world.load(killer()) == TeeResult.TARGET_DEAD
    assert world.answer == (TeeResult.TARGET_DEAD, Origin.TEE)
    (death,) = world.of(TaDied)
    assert (death.cause, death.weakness) == ("PANIC", "A2")
    assert world.simple(START) == TeeResult.TARGET_DEAD
    assert "has died" in world.of(CommandReturned)[-1].reason
    assert world.open() == 2
    assert world.invoke(START, [(1, (0, 0, 0))], session=2) == TeeResult.BAD_PARAMETERS
    world.message(2, [], session=1)
    assert world.answer == (TeeResult.SUCCESS, Origin.TEE)


def test_cancelling_needs_a_session_and_finds_nothing_to_cancel(world: World) -> None:
    world.message(3, [], session=1)
    assert world.answer == (TeeResult.BAD_PARAMETERS, Origin.TEE)
    world.open()
    world.message(3, [], session=1)
    assert world.answer == (TeeResult.SUCCESS, Origin.TEE)


@pytest.mark.parametrize("types", [0, 2, 0x11, 0x10001, 8])
def test_sessions_with_other_parameter_types_are_refused_by_the_ta(world: World, types: int) -> None:
    answer = world.secure.core.open_session(TA_UUID, types, NO_PARAMS)
    assert (answer.result, answer.origin) == (TeeResult.BAD_PARAMETERS, Origin.TRUSTED_APP)


def test_a_snapshot_restores_sessions_contexts_heap_and_processor(world: World) -> None:
    world.open()
    world.load(resigned("a"))
    loaded = world.secure.save()
    assert world.simple(START) == TeeResult.SUCCESS
    started = world.secure.save()
    world.simple(3)
    world.message(2, [], session=1)
    world.secure.load(started)
    assert world.secure.save() == started
    assert world.load(resigned("a")) == TeeResult.BAD_STATE
    world.secure.load(loaded)
    assert world.table() == (TeeResult.SUCCESS, 0x10000000, 140)
    assert world.simple(START) == TeeResult.SUCCESS


def test_a_snapshot_of_a_dead_instance_stays_dead() -> None:
    world = World(Profile.UPSTREAM)
    world.open()
    world.load(killer())
    dead = world.secure.save()
    world.open()
    world.secure.load(dead)
    assert world.simple(START) == TeeResult.TARGET_DEAD


def test_forty_one_unknown_processors_starve_the_heap_until_the_instance_is_replaced() -> None:
    world = World(Profile.UPSTREAM)
    world.open()
    for processor_id in range(1, 42):
        assert world.load(image("a.bin"), processor_id) == TeeResult.NOT_SUPPORTED
    assert world.load(resigned("a")) == TeeResult.OUT_OF_MEMORY
    assert "heap" in world.of(CommandReturned)[-1].reason
    for processor_id in range(42, 55):
        assert world.load(image("a.bin"), processor_id) == TeeResult.NOT_SUPPORTED
    assert world.load(image("a.bin"), 99) == TeeResult.OUT_OF_MEMORY


@pytest.mark.parametrize(("size", "result"), [(2912, TeeResult.SUCCESS), (2920, TeeResult.OUT_OF_MEMORY)])
def test_the_heap_bounds_the_tlv_area_to_the_byte(size: int, result: TeeResult) -> None:
    assert _load_with_record(0x10ABC, size) == result


@pytest.mark.parametrize(("size", "result"), [(1400, TeeResult.SUCCESS), (1480, TeeResult.OUT_OF_MEMORY)])
def test_key_information_is_copied_once_more(size: int, result: TeeResult) -> None:
    assert _load_with_record(0x11, size) == result


def _load_with_record(kind: int, size: int) -> int:
    record = struct.pack("<II", kind, size) + bytes(size)
    ops = [
        {"insert": [300, record.hex()]},
        {"set": [8, struct.pack("<I", 280 + len(record)).hex()]},
        {"resign": "trusted4096"},
    ]
    world = World(Profile.UPSTREAM)
    world.open()
    return world.load(build("a.bin", ops))


def test_values_of_a_command_come_back_unchanged_on_refusal(world: World) -> None:
    answer = world.secure.core.invoke(1, 4, 0x221, (Value(0), Value(7, 8), Value(9), Value()))
    assert answer.params[1] == Value(7, 8)
