"""Builds with dynamic shared memory: registered pages, calls with RPC argument, device enumeration, hostile input."""

from __future__ import annotations

import struct
import uuid
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ta_bench import SHM, STAGING, TA_OCTETS, World, image, resigned

from ta.device_enumeration import ENUMERATION_UUID
from ta.events import SharedMemoryRegistration
from ta.params import MemRef
from ta.profile import ClientApi, Profile, Settings, ShmBuild
from ta.results import Origin, TeeResult
from ta.shared_memory import pieces
from ta.tee_core import MAX_SESSIONS

MESSAGE, LISTS, PAGES, BUFFER = 0xDFE00000, 0xDFE10000, 0xDFE40000, 0xDFE80000
OK, EBADADDR, EBADCMD, UNKNOWN = 0, 4, 5, 0xFFFFFFFF
REGISTER, UNREGISTER, COOKIE = 4, 5, 0x1234_5678_9ABC
NONCONTIG_OUT, RMEM_IN, TMEM_IN = 0x20A, 5, 9
FIRST, SECOND = struct.unpack("<2Q", TA_OCTETS)


@pytest.fixture
def dynamic() -> World:
    return World(settings=Settings(shm=ShmBuild.DYNAMIC))


def scattered(world: World, data: bytes, offset: int = 0) -> tuple[int, int]:
    """Put data into pages in descending order behind a page list; pointer and size as REGISTER_SHM wants them."""
    padded = bytes(offset) + data
    count = -(-len(padded) // 4096)
    pages = [PAGES + 0x40000 - 4096 * n for n in range(count)]
    for n, page in enumerate(pages):
        world.bus.write(page, padded[4096 * n : 4096 * (n + 1)].ljust(4096, b"\0"))
    entries = pages + [0] * (511 - count)
    world.bus.write(LISTS, struct.pack("<512Q", *entries, 0))
    return LISTS | offset, len(data)


def register(world: World, pointer: int, size: int, cookie: int = COOKIE) -> int:
    assert world.message(REGISTER, [(NONCONTIG_OUT, (pointer, size, cookie))]) == OK
    assert world.answer[1] == Origin.TEE
    return world.answer[0]


def test_a_dynamic_build_offers_dynamic_memory_and_no_reserved_memory(dynamic: World) -> None:
    assert dynamic.smc(0xB2000009, 1) == (0, 0x54, 0, 4)
    assert dynamic.smc(0xB2000007)[0] == UNKNOWN
    assert dynamic.smc(0xB200000A)[0] == 7
    assert dynamic.smc(0xB200000B)[0] == 0


@pytest.mark.parametrize("offset", [0, 0x124])
def test_an_image_in_scattered_registered_pages_loads(dynamic: World, offset: int) -> None:
    dynamic.open()
    data = resigned("a") + bytes(4096)  # over two pages; the reference covers the image only
    assert register(dynamic, *scattered(dynamic, data, offset)) == TeeResult.SUCCESS
    reference = (RMEM_IN, (0, len(resigned("a")), COOKIE))
    assert dynamic.invoke(1, [(1, (0, 0, 0)), reference]) == TeeResult.SUCCESS
    assert dynamic.message(UNREGISTER, [(RMEM_IN, (0, 0, COOKIE))]) == OK
    assert dynamic.answer[0] == TeeResult.SUCCESS
    assert dynamic.invoke(6, [(1, (0, 0, 0))]) == TeeResult.SUCCESS
    assert dynamic.invoke(1, [(1, (0, 0, 0)), reference]) == TeeResult.BAD_PARAMETERS


def test_an_image_larger_than_a_page_is_read_across_its_pages() -> None:
    world = World(Profile.UPSTREAM, settings=Settings(shm=ShmBuild.DYNAMIC))
    world.open()
    register(world, *scattered(world, image("b.bin"), 0xC00))
    size = len(image("b.bin"))
    assert world.invoke(1, [(1, (0, 0, 0)), (RMEM_IN, (0, size, COOKIE))]) == TeeResult.SUCCESS
    register(world, *scattered(world, bytes(8) + image("b.bin"), 0xC00), cookie=7)
    assert world.invoke(6, [(1, (0, 0, 0))]) == TeeResult.SUCCESS
    assert world.invoke(1, [(1, (0, 0, 0)), (RMEM_IN, (8, size, 7))]) == TeeResult.SUCCESS


def test_a_temporary_page_list_works_and_a_contiguous_buffer_does_not(dynamic: World) -> None:
    dynamic.open()
    pointer, size = scattered(dynamic, resigned("a"))
    assert dynamic.invoke(1, [(1, (0, 0, 0)), (TMEM_IN, (STAGING, size, 0))]) == TeeResult.BAD_PARAMETERS
    assert dynamic.invoke(1, [(1, (0, 0, 0)), (TMEM_IN | 0x200, (pointer, size, 0))]) == TeeResult.SUCCESS


@pytest.mark.parametrize(("offset", "size"), [(0, 65), (64, 1), (1 << 63, 1 << 63), (0, 1 << 64 - 1)])
def test_a_reference_outside_its_registration_is_a_security_error(dynamic: World, offset: int, size: int) -> None:
    dynamic.open()
    register(dynamic, *scattered(dynamic, bytes(64)))
    reference = (RMEM_IN, (offset, size & (1 << 64) - 1, COOKIE))
    assert dynamic.invoke(1, [(1, (0, 0, 0)), reference]) == TeeResult.SECURITY


def loop(world: World) -> tuple[int, int]:
    world.bus.write(LISTS, struct.pack("<512Q", *[PAGES] * 511, LISTS))
    return LISTS, 4096 * 1024


def endless(world: World) -> tuple[int, int]:
    loop(world)
    return LISTS, (1 << 64) - 1


def misaligned(world: World) -> tuple[int, int]:
    world.bus.write(LISTS, struct.pack("<512Q", PAGES + 8, *[0] * 511))
    return LISTS, 4096


def secure_page(world: World) -> tuple[int, int]:
    world.bus.write(LISTS, struct.pack("<512Q", 0xDE000000, *[0] * 511))
    return LISTS, 4096


def short_list(world: World) -> tuple[int, int]:
    world.bus.write(LISTS, struct.pack("<512Q", *[PAGES] * 511, 0))
    return LISTS, 4096 * 512


@pytest.mark.parametrize(
    ("make", "result"),
    [
        (loop, TeeResult.SUCCESS),  # ends when the stated size is covered
        (endless, TeeResult.OUT_OF_MEMORY),
        (misaligned, TeeResult.BAD_PARAMETERS),
        (secure_page, TeeResult.BAD_PARAMETERS),
        (short_list, TeeResult.BAD_PARAMETERS),
        (lambda _world: (LISTS, 0), TeeResult.BAD_PARAMETERS),
        (lambda _world: (0x38000000, 64), TeeResult.BAD_PARAMETERS),
        (lambda _world: (1 << 40, 64), TeeResult.BAD_PARAMETERS),
    ],
)
def test_hostile_page_lists_end_in_a_result(dynamic: World, make: Any, result: TeeResult) -> None:
    assert register(dynamic, *make(dynamic)) == result


def test_registration_takes_one_parameter_of_one_kind_and_is_bounded(dynamic: World) -> None:
    pointer, size = scattered(dynamic, bytes(64))
    for params in ([], [(10, (pointer, size, 1))], [(NONCONTIG_OUT | 1 << 16, (pointer, size, 1))]):
        dynamic.message(REGISTER, params)
        assert dynamic.answer == (TeeResult.BAD_PARAMETERS, Origin.TEE)
    results = [register(dynamic, pointer, size, cookie) for cookie in range(257)]
    assert results == [TeeResult.SUCCESS] * 256 + [TeeResult.OUT_OF_MEMORY]
    dynamic.message(UNREGISTER, [(RMEM_IN, (0, 0, 999))])
    assert dynamic.answer[0] == TeeResult.BAD_PARAMETERS


def test_each_registration_and_release_is_reported_once_with_its_pages_or_the_reason(dynamic: World) -> None:
    pointer, size = scattered(dynamic, bytes(5000), 0x124)
    register(dynamic, pointer, size)
    register(dynamic, 0x38000000, 64)
    for _ in range(2):
        dynamic.message(UNREGISTER, [(RMEM_IN, (0, 0, COOKIE))])
    dynamic.message(UNREGISTER, [])
    first, page, last, unknown, none = dynamic.of(SharedMemoryRegistration)
    done = (COOKIE, PAGES + 0x40124, 5000, 2, 0, "TEE_SUCCESS", "")
    assert first == SharedMemoryRegistration("REGISTER_SHM", *done)
    assert last == SharedMemoryRegistration("UNREGISTER_SHM", *done)
    refused = (TeeResult.BAD_PARAMETERS, "TEE_ERROR_BAD_PARAMETERS")
    why = "the page list at 0x38000000 is not in non-secure DDR"
    assert page == SharedMemoryRegistration("REGISTER_SHM", COOKIE, 0, 64, 0, *refused, why)
    why = f"no shared memory has the cookie 0x{COOKIE:x}"
    assert unknown == SharedMemoryRegistration("UNREGISTER_SHM", COOKIE, 0, 0, 0, *refused, why)
    assert (none.cookie, none.result, bool(none.reason)) == (0, TeeResult.BAD_PARAMETERS, True)


def test_registrations_are_part_of_the_state(dynamic: World) -> None:
    empty = dynamic.secure.save()
    register(dynamic, *scattered(dynamic, bytes(64)))
    full = dynamic.secure.save()
    dynamic.secure.load(empty)
    dynamic.message(UNREGISTER, [(RMEM_IN, (0, 0, COOKIE))])
    assert dynamic.answer[0] == TeeResult.BAD_PARAMETERS
    dynamic.secure.load(full)
    dynamic.message(UNREGISTER, [(RMEM_IN, (0, 0, COOKIE))])
    assert dynamic.answer[0] == TeeResult.SUCCESS


def test_a_message_with_rpc_argument_needs_room_for_it(dynamic: World) -> None:
    for count, result in ((122, OK), (123, EBADADDR)):
        dynamic.bus.write(MESSAGE, struct.pack("<8I", 2, 0, 1, 0, 0, 0, 0, count))
        assert dynamic.smc(0x32000012, 0, MESSAGE)[0] == result
    assert dynamic.smc(0x32000004, 0, MESSAGE + 8)[0] == EBADADDR


def test_a_message_in_a_registered_buffer_is_served_at_its_offset(dynamic: World) -> None:
    request = struct.pack("<8I", 3, 0, 9, 0, 0, 0, 0, 0)
    register(dynamic, *scattered(dynamic, bytes(4064) + request + bytes(400)))
    high, low = COOKIE >> 32, COOKIE & 0xFFFFFFFF
    assert dynamic.smc(0x32000013, high, low, 4064) == (OK, 0, 0, 0)
    result = dynamic.bus.read(PAGES + 0x40000 + 4064 + 20, 4)
    assert int.from_bytes(result, "little") == TeeResult.BAD_PARAMETERS
    for offset in (4060, 4400, 0xFFFFFFF8):
        assert dynamic.smc(0x32000013, high, low, offset)[0] == EBADADDR
    assert dynamic.smc(0x32000013, 0, 1, 0)[0] == EBADADDR


@pytest.mark.parametrize("build", ShmBuild)
def test_a_message_where_no_memory_answers_is_a_bad_address(build: ShmBuild) -> None:
    world = World(settings=Settings(shm=build))
    world.bus.unmap_all()
    assert world.smc(0x32000004, 0, MESSAGE) == (EBADADDR, 0, 0, 0)


def test_a_reserved_build_has_neither_registration_nor_the_newer_calls() -> None:
    world = World(settings=Settings(shm=ShmBuild.RESERVED))
    assert world.smc(0xB2000009, 1) == (0, 0x11, 0, 0)
    assert world.message(REGISTER, [(NONCONTIG_OUT, (LISTS, 64, 1))]) == EBADCMD
    assert [world.smc(call, 0, SHM)[0] for call in (0x32000012, 0x32000013)] == [UNKNOWN, UNKNOWN]


def test_a_build_with_both_takes_messages_and_buffers_from_either(world: World) -> None:
    assert world.smc(0xB2000009, 1) == (0, 0x55, 0, 4)
    assert world.smc(0xB2000007)[:3] == (0, SHM, 0x200000)
    world.open()
    assert world.load(resigned("a")) == TeeResult.SUCCESS
    assert world.simple(6) == TeeResult.SUCCESS
    assert register(world, *scattered(world, resigned("a"))) == TeeResult.SUCCESS
    reference = (RMEM_IN, (0, len(resigned("a")), COOKIE))
    assert world.invoke(1, [(1, (0, 0, 0)), reference]) == TeeResult.SUCCESS
    for address, result in ((SHM + 8, OK), (SHM + 4, EBADADDR), (0xC0300008, EBADADDR), (0xDE000000, EBADADDR)):
        world.bus.write(SHM + 8, struct.pack("<8I", 2, 0, 9, 0, 0, 0, 0, 0))
        assert world.smc(0x32000004, 0, address)[0] == result, hex(address)


def test_pages_in_a_row_are_read_at_once_and_scattered_ones_one_by_one() -> None:
    row = MemRef(PAGES + 0x10, 0x2FF0, (PAGES, PAGES + 0x1000, PAGES + 0x2000))
    apart = MemRef(PAGES + 0x10, 0x1FF0, (PAGES, PAGES + 0x3000))
    assert pieces(row, 0xFE0, 0x1020) == [(PAGES + 0xFF0, 0x1020)]
    assert pieces(apart, 0xFE0, 0x20) == [(PAGES + 0xFF0, 0x10), (PAGES + 0x3000, 0x10)]


def enumerate_with(world: World, command: int, size: int) -> tuple[int, int]:
    session = world.open(octets=uuid.UUID(ENUMERATION_UUID).bytes)
    result = world.invoke(command, [(10, (BUFFER if size else 0, size, 0))], session)
    return result, world.out(0)[1]


def test_the_remoteproc_ta_is_a_device_of_the_tee_bus(world: World) -> None:
    assert enumerate_with(world, 0, 0) == (TeeResult.SHORT_BUFFER, 16)
    assert enumerate_with(world, 0, 15) == (TeeResult.SHORT_BUFFER, 16)
    assert enumerate_with(world, 0, 64) == (TeeResult.SUCCESS, 16)
    assert world.bus.read(BUFFER, 17) == TA_OCTETS + b"\0"
    assert enumerate_with(world, 1, 64) == (TeeResult.SUCCESS, 0)
    assert enumerate_with(world, 9, 64)[0] == TeeResult.NOT_IMPLEMENTED
    assert world.open() > 1  # sessions to the PTA do not block the TA


def test_sessions_are_bounded(world: World) -> None:
    octets = uuid.UUID(ENUMERATION_UUID).bytes
    assert all(world.open(octets=octets) for _ in range(MAX_SESSIONS))
    assert world.open(octets=octets) == 0
    assert world.answer[0] == TeeResult.OUT_OF_MEMORY


def test_the_older_vendor_api_opens_without_parameter_and_knows_five_commands() -> None:
    world = World(Profile.UPSTREAM, settings=Settings(api=ClientApi.VENDOR_2020))
    assert world.open() == 0
    assert world.message(0, [(0x101, (FIRST, SECOND, 0)), (0x101, (0, 0, 0))]) == OK
    assert world.answer[0] == TeeResult.SUCCESS
    assert world.load(image("a.bin")) == TeeResult.SUCCESS
    assert world.load(image("a.bin")) == TeeResult.BAD_STATE
    assert world.simple(6) == TeeResult.BAD_PARAMETERS
    assert [world.simple(2), world.simple(3)] == [TeeResult.SUCCESS] * 2


WORDS = st.one_of(
    st.sampled_from([0, 1, 4, 5, MESSAGE, LISTS, PAGES, 0xC0000000, 0xDE000000, 0x38000000, 0x50000000, 0xFFFFFFF8]),
    st.integers(0, 0xFFFFFFFF),
)
CALLS = st.sampled_from([0x32000003, 0x32000004, 0x32000012, 0x32000013, 0xB2000009, 0xB200000A, 0xBF00FF01])
PARAMS = st.lists(
    st.tuples(st.sampled_from([0, 1, 2, 5, 6, 9, 10, 0x101, 0x209, 0x20A]), WORDS, WORDS, WORDS), max_size=6
)


@settings(max_examples=300, deadline=None, database=None, derandomize=True)
@given(
    build=st.sampled_from(ShmBuild),
    registers=st.tuples(st.one_of(CALLS, WORDS), WORDS, WORDS, WORDS),
    head=st.tuples(st.integers(0, 9), WORDS, st.integers(0, 3)),
    params=PARAMS,
    entries=st.lists(WORDS, max_size=8),
    backed=st.booleans(),
)
def test_any_registers_and_any_message_end_in_an_answer(
    *, build: ShmBuild, registers: Any, head: Any, params: Any, entries: Any, backed: bool
) -> None:
    world = World(Profile.HARDENED, settings=Settings(shm=build))
    world.open()
    message = struct.pack("<8I", *head, 0, 0, 0, 0, len(params)) + b"".join(struct.pack("<4Q", *p) for p in params)
    world.bus.write(MESSAGE, message)
    world.bus.write(LISTS, struct.pack(f"<{len(entries)}Q", *entries))
    if not backed:
        world.bus.unmap_all()
    for call in (registers, (registers[0], 0, MESSAGE, 0)):
        answer = world.smc(*call)
        assert len(answer) == 4
        assert all(0 <= word <= 0xFFFFFFFF for word in answer)
