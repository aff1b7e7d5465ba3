"""What a client of the remoteproc TA sees: the commands, the states, and events with reasons in words."""

from __future__ import annotations

import hashlib
import struct
from typing import Any

import pytest
from ta_bench import RETRAM, SRAM, STAGING, World, image, resigned
from test_vectors import build

from ta.events import (
    AuthenticationStep,
    CommandInvoked,
    CommandReturned,
    ImageAuthenticated,
    MemoryWiped,
    ProcessorStopped,
    ResourceTableLocated,
    SegmentLoaded,
    SegmentRefused,
)
from ta.profile import FirewallProfile, Profile
from ta.results import TeeResult

LOAD, START, STOP, COREDUMP, RELEASE = 1, 2, 3, 5, 6
BOTH = pytest.mark.parametrize("profile", Profile)


def opened(profile: Profile = Profile.HARDENED, key: str = "trusted4096") -> World:
    world = World(profile, key=key)
    assert world.open() == 1
    return world


def flipped(name: str, offset: int) -> bytes:
    data = bytearray(image(name))
    data[offset] ^= 0x40
    return bytes(data)


def last_reason(world: World) -> str:
    return world.of(CommandReturned)[-1].reason


@BOTH
def test_a_signed_image_is_loaded_started_stopped_and_released(profile: Profile) -> None:
    world = opened(profile)
    assert world.load(resigned("a")) == TeeResult.SUCCESS
    assert world.table() == (TeeResult.SUCCESS, 0x10000000, 140)
    assert world.simple(START) == TeeResult.SUCCESS
    assert world.simple(STOP) == TeeResult.SUCCESS
    assert world.simple(RELEASE) == TeeResult.SUCCESS
    assert [e.state for e in world.of(CommandReturned)] == ["LOADED", "LOADED", "STARTED", "OFF", "OFF"]
    assert [e.command_name for e in world.of(CommandInvoked)][:2] == ["LOAD_FW", "GET_RSC_TABLE"]


#: Steps have an assertion of their own; hardened holds the processor and wipes before it loads.
_ASIDE = (AuthenticationStep, MemoryWiped, ProcessorStopped)


@BOTH
def test_the_events_of_a_load_come_in_the_order_of_the_work(profile: Profile) -> None:
    world = opened(profile)
    world.load(resigned("a"))
    steps = [e.step for e in world.of(AuthenticationStep) if e.passed]
    upstream = ["header", "header-copy", "signature", "elf-header", "hash-table", "tlv", "tlv", "resource-table"]
    hardened = ["header", "header-copy", "signature", "tlv", "elf-header", "hash-table", "resource-table"]
    assert steps == (upstream if profile is Profile.UPSTREAM else [*hardened, "segments-again", "signature-again"])
    kinds = [type(e).__name__ for e in world.events if not isinstance(e, _ASIDE)]
    load = kinds[kinds.index("CommandInvoked") : kinds.index("CommandReturned") + 1]
    wanted = ["CommandInvoked", *["SegmentLoaded"] * 3, "ResourceTableLocated", "ImageAuthenticated", "CommandReturned"]
    assert load == wanted


def test_a_loaded_segment_reports_addresses_flags_and_the_hash_of_the_copy() -> None:
    world = opened()
    world.load(resigned("a"))
    for event in world.of(SegmentLoaded):
        if event.filesz:
            assert hashlib.sha256(world.bus.read(event.pa, event.filesz)).hexdigest() == event.sha256
        assert world.bus.read(event.pa + event.filesz, event.memsz - event.filesz).strip(b"\0") == b""
    assert world.of(SegmentLoaded)[0].pa == RETRAM
    assert world.of(SegmentLoaded)[0].flags & 1


def test_the_located_table_is_the_table_of_the_file() -> None:
    world = opened()
    world.load(resigned("a"))
    (table,) = world.of(ResourceTableLocated)
    assert (table.da, table.pa, table.size) == (0x10000000, SRAM, 140)
    assert hashlib.sha256(world.bus.read(table.pa, table.size)).hexdigest() == table.sha256


def test_an_image_without_a_table_reports_zero_and_zero() -> None:
    world = opened()
    assert world.load(image("c.bin")) == TeeResult.SUCCESS
    assert world.table() == (TeeResult.SUCCESS, 0, 0)
    assert [(e.da, e.pa, e.size) for e in world.of(ResourceTableLocated)] == [(0, 0, 0)]


def test_the_authenticated_digest_covers_header_and_tlvs() -> None:
    world = opened()
    data = resigned("a")
    world.load(data)
    (event,) = world.of(ImageAuthenticated)
    tlv_len = struct.unpack_from("<I", data, 8)[0]
    assert (event.images, event.segments) == (1, 3)
    assert event.sha256 == hashlib.sha256(data[: 20 + tlv_len]).hexdigest()


@BOTH
def test_a_flipped_segment_byte_is_named_with_its_segment_and_both_hashes(profile: Profile) -> None:
    world = opened(profile)
    data = bytearray(resigned("a"))
    data[1152] ^= 0x80
    assert world.load(bytes(data)) == TeeResult.SECURITY
    (refused,) = world.of(SegmentRefused)
    assert refused.expected != refused.actual
    assert len(refused.expected) == len(refused.actual) == 64
    assert last_reason(world) == (
        f"segment {refused.segment} at 0x{refused.da:08x}: "
        "SHA-256 of the loaded bytes does not match the signed hash table"
    )
    assert not world.of(ImageAuthenticated)


@pytest.mark.parametrize(
    ("data", "result", "words"),
    [
        (image("a.bin")[812:], TeeResult.BAD_PARAMETERS, "not a signed image"),
        (image("a.bin")[:-8], TeeResult.BAD_PARAMETERS, "describes a file of 1580 bytes, this one has 1572"),
        (image("a_otherkey.bin"), TeeResult.SIGNATURE_INVALID, "under the key of this device"),
        (image("a_rsa2048.bin"), TeeResult.SIGNATURE_INVALID, "256 bytes, the key of this device (RSA-4096) makes 512"),
        (image("a_ecc.bin"), TeeResult.NOT_SUPPORTED, "ECDSA"),
        (flipped("a.bin", 120), TeeResult.SIGNATURE_INVALID, "signature"),
        (flipped("a.bin", 400), TeeResult.SIGNATURE_INVALID, "signature"),
        (flipped("a.bin", 0), TeeResult.BAD_PARAMETERS, "magic"),
        (image("ab.bin"), TeeResult.BAD_PARAMETERS, "image 1, segment 0 at 0x00000000"),
    ],
)
@BOTH
def test_every_refusal_has_a_reason_that_names_the_part(
    profile: Profile, data: bytes, result: TeeResult, words: str
) -> None:
    world = opened(profile)
    assert world.load(data) == result
    assert words in last_reason(world)
    assert world.of(CommandReturned)[-1].result_name == result.full_name


def test_an_ecdsa_image_loads_on_a_hardened_device_with_an_ecdsa_key() -> None:
    world = opened(key="ecc256")
    assert world.load(resigned("a", key="ecc256")) == TeeResult.SUCCESS
    assert opened(Profile.UPSTREAM, key="ecc256").load(image("a_ecc.bin")) == TeeResult.NOT_SUPPORTED


def test_an_rsa_image_is_refused_by_a_device_with_an_ecdsa_key() -> None:
    assert opened(key="ecc256").load(image("a.bin")) == TeeResult.NOT_SUPPORTED
    assert opened(Profile.UPSTREAM, key="ecc256").load(image("a.bin")) == TeeResult.NOT_SUPPORTED


def test_a_second_load_is_accepted_by_upstream_without_reading_the_buffer() -> None:
    world = opened(Profile.UPSTREAM)
    world.load(image("a.bin"))
    reads: list[int] = []
    world.secure.shared_memory.observer = lambda _number, address, _size: reads.append(address)
    assert world.load(image("b.bin")) == TeeResult.SUCCESS
    assert not [address for address in reads if address >= STAGING]


@BOTH
def test_coredump_is_not_implemented_in_any_state(profile: Profile) -> None:
    world = opened(profile)
    assert world.invoke(COREDUMP, []) == TeeResult.NOT_IMPLEMENTED
    world.load(image("a.bin"))
    assert world.invoke(COREDUMP, [(1, (0, 0, 0))]) == TeeResult.NOT_IMPLEMENTED


@BOTH
def test_commands_before_any_load_are_refused(profile: Profile) -> None:
    world = opened(profile)
    assert [world.simple(c) for c in (START, STOP, RELEASE)] == [TeeResult.BAD_PARAMETERS] * 3
    assert world.table()[0] == TeeResult.BAD_PARAMETERS
    assert all(e.reason and e.state == "NOCTX" for e in world.of(CommandReturned))


def test_release_wipes_every_region_and_says_so() -> None:
    world = World(Profile.UPSTREAM, FirewallProfile.OPEN)
    world.open()
    world.load(image("a.bin"))
    world.simple(RELEASE)
    assert not any(world.bus.retram)
    assert not any(world.bus.sram[:0x43000])
    assert [e.region for e in world.of(MemoryWiped)][:2] == ["retram", "mcuram"]


@BOTH
def test_a_signed_size_larger_than_the_file_does_not_lead_behind_it(profile: Profile) -> None:
    ops: list[dict[str, Any]] = [
        {"set": [76, "f8ffff7f"]},  # IMGSIZE
        {"resign": "trusted4096"},
        {"set": [812 + 52 + 4, struct.pack("<I", 0x1000).hex()]},  # p_offset of the first segment, not signed
    ]
    world = opened(profile)
    assert world.load(build("a.bin", ops)) == TeeResult.BAD_PARAMETERS
    assert last_reason(world)
    assert not world.of(SegmentLoaded)


@BOTH
def test_segment_data_changed_behind_the_copy_is_harmless(profile: Profile) -> None:
    world = opened(profile)
    data = resigned("a")
    assert world.load(data) == TeeResult.SUCCESS
    before = bytes(world.bus.retram)
    world.bus.write(STAGING, bytes(len(data)))
    assert world.simple(START) == TeeResult.SUCCESS
    assert bytes(world.bus.retram) == before


@BOTH
def test_segment_data_changed_between_check_and_copy_is_caught(profile: Profile) -> None:
    world = opened(profile)
    data = image("a.bin")

    def attack(_number: int, address: int, size: int) -> None:
        if address >= STAGING + 812 + 0x34 and size == 191:  # the first segment
            world.bus.write(address, bytes(size))

    world.secure.shared_memory.observer = attack
    assert world.load(data) == TeeResult.SECURITY
