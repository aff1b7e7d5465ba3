"""Where the hardened profile holds and upstream falls, and that hardening never accepts more."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from ta_bench import STAGING, FakeBus, World, image, private_key, resigned, vector_cases
from test_vectors import CASES, PAGE_TIGHT, Bench

from ta.events import MemoryWiped, TaDied
from ta.heap import HEAP_ADDRESS
from ta.image_format import build_signed_part
from ta.params import MemRef
from ta.profile import FirewallProfile, Profile
from ta.results import RefusedError, TeeResult
from ta.shared_memory import ClientBuffer, SharedMemory

CLEAN = {"0xffff0005", "0xffff0006", "0xffff3072"}  # BAD_FORMAT, BAD_PARAMETERS, SIGNATURE_INVALID
#: Upstream has no heap left after 41 refused processors (A12); hardened loads the image.
STARVED = {"P1689"}
FIRST_HEAP_BLOCK = HEAP_ADDRESS + 72 + 8  # behind the processor's context


def test_hardened_never_dies_accepts_nothing_more_and_leaves_nothing_of_a_failed_load() -> None:
    for case in vector_cases():
        sequence: Any = case["sequence"]
        expect: Any = case["expect"]
        bench = Bench(dict(case), Profile.HARDENED)
        for step, wanted in zip(sequence, expect, strict=True):
            writes = bench.pta.writes
            seen = bench.call(step)
            assert "dead" not in seen, case["id"]
            if seen["result"] != "0x00000000" and bench.pta.writes != writes:
                assert set(bench.hashes().values()) == {"zero"}, case["id"]
            if seen["result"] != wanted["result"]:
                assert seen["result"] != "0x00000000" or case["id"] in STARVED, case["id"]
                break


@pytest.mark.parametrize("firewall", FirewallProfile)
def test_a07_a_failed_load_is_wiped_by_hardened_and_stays_with_upstream(firewall: FirewallProfile) -> None:
    data = bytearray(resigned("a"))
    data[1168] ^= 0x80  # the last segment: the first ones are in memory by then
    for profile in Profile:
        world = World(profile, firewall)
        world.open()
        assert world.load(bytes(data)) == TeeResult.SECURITY
        wiped = [e for e in world.of(MemoryWiped) if e.reason == "the load failed"]
        assert bool(wiped) is (profile is Profile.HARDENED)
        assert any(world.bus.retram) is (profile is Profile.UPSTREAM)


def test_a_load_refused_for_another_processor_leaves_the_running_firmware_alone() -> None:
    world = World(firewall=FirewallProfile.OPEN)
    world.open()
    world.load(image("a.bin"))
    world.simple(2)
    before = bytes(world.bus.retram)
    assert world.load(image("a.bin"), processor_id=1) == TeeResult.NOT_SUPPORTED
    assert bytes(world.bus.retram) == before


def died(profile: Profile, data: bytes, attack: Any = None) -> tuple[int, list[str]]:
    world = World(profile)
    world.open()
    if attack is not None:
        world.secure.shared_memory.observer = lambda _number, address, size: attack(world, address, size)
    return world.load(data), [e.weakness for e in world.of(TaDied)]


def grow_tlv_len(world: World, address: int, size: int) -> None:
    """Between the fetch of the lengths and the copy, trade signature and image bytes for TLV bytes (A1)."""
    if address in (STAGING, STAGING + 20) and size > 20:
        total = len(image("a.bin"))
        world.bus.write(STAGING + 8, struct.pack("<3I", 280 + 512 + 400, 8, total - 20 - 280 - 512 - 400 - 8))


def test_a01_a_length_changed_between_two_reads_reaches_foreign_heap_in_upstream_only() -> None:
    result, _ = died(Profile.UPSTREAM, image("a.bin"), grow_tlv_len)
    assert result == TeeResult.SIGNATURE_INVALID  # it hashed bytes behind its copy
    assert died(Profile.HARDENED, resigned("a"), grow_tlv_len)[0] == TeeResult.SUCCESS


def test_a01_a_length_beyond_the_heap_kills_upstream() -> None:
    data = image("a.bin") + bytes(8192)
    data = data[:16] + struct.pack("<I", 768 + 8192) + data[20:]

    def attack(world: World, address: int, size: int) -> None:
        if address in (STAGING, STAGING + 20) and size > 20:
            world.bus.write(STAGING + 8, struct.pack("<3I", 280 + 8192, 512, 768))

    assert died(Profile.UPSTREAM, data, attack) == (TeeResult.TARGET_DEAD, ["A1"])
    assert died(Profile.HARDENED, data, attack) == (TeeResult.SIGNATURE_INVALID, [])


def test_a02_a_signature_length_that_rounds_to_zero_kills_upstream() -> None:
    data = image("a.bin")
    data = data[:12] + b"\xf9\xff\xff\xff" + data[16:300] + data[812:]
    assert died(Profile.UPSTREAM, data) == (TeeResult.TARGET_DEAD, ["A2"])
    assert died(Profile.HARDENED, data) == (TeeResult.BAD_PARAMETERS, [])


def test_a04_a_tlv_length_that_wraps_the_pointer_kills_upstream_without_a_signature() -> None:
    value = FIRST_HEAP_BLOCK + 20 + 8
    data = bytearray(image("a.bin"))
    struct.pack_into("<I", data, 24, 0xFFFFFFF8 - value)
    assert died(Profile.UPSTREAM, bytes(data)) == (TeeResult.TARGET_DEAD, ["A4"])
    assert died(Profile.HARDENED, bytes(data)) == (TeeResult.BAD_PARAMETERS, [])


def test_an_unsigned_program_header_offset_kills_upstream() -> None:
    data = bytearray(image("a.bin"))
    struct.pack_into("<I", data, 812 + 28, 0x7FFFFFFC)
    assert died(Profile.UPSTREAM, bytes(data)) == (TeeResult.TARGET_DEAD, ["section 8.1"])
    assert died(Profile.HARDENED, bytes(data)) == (TeeResult.BAD_FORMAT, [])


@pytest.mark.parametrize("case_id", PAGE_TIGHT)
def test_a03_a_buffer_that_ends_at_an_unmapped_page_kills_upstream_only(case_id: str) -> None:
    case = PAGE_TIGHT[case_id]
    bench = Bench(case, Profile.UPSTREAM)
    tight = [step if step[0] != "load" else bench.tight(step) for step in case["sequence"]]
    assert [bench.call(step) for step in tight] == case["expect_tight"]
    hardened = Bench(case, Profile.HARDENED)
    assert [hardened.call(step)["result"] for step in tight][1] in CLEAN


@pytest.mark.parametrize(
    ("case_id", "why"),
    [
        ("P0591", "a second image that is no ELF file"),
        ("P1061", "a section name cut by the end of the name table"),
        ("P1194", "a DigestInfo without NULL"),
        ("P1563", "a signed image size larger than the file"),
    ],
)
def test_what_upstream_lets_pass_is_refused(case_id: str, why: str) -> None:
    case = CASES[case_id]
    results = {}
    for profile in Profile:
        bench = Bench(case, profile)
        results[profile] = [bench.call(step)["result"] for step in case["sequence"]][1]
    assert results[Profile.UPSTREAM] == "0x00000000", why
    assert results[Profile.HARDENED] in CLEAN, why


def test_an_image_length_that_is_not_padded_loads_as_upstream_loads_it() -> None:
    data = resigned("a")
    area, size = data[20:316], int.from_bytes(data[16:20], "little")
    unpadded = build_signed_part(area, sign_len=512, img_len=size - 3)
    signature = private_key("trusted4096").sign(unpadded, padding.PKCS1v15(), hashes.SHA256())
    for profile in Profile:
        world = World(profile)
        world.open()
        assert world.load(unpadded + signature + data[828:]) == TeeResult.SUCCESS


@pytest.mark.parametrize(("offset", "size"), [(-4, 4), (60, 8), (64, 1), (1 << 32, 4)])
def test_an_exact_buffer_gives_nothing_outside_the_reference(offset: int, size: int) -> None:
    bus = FakeBus()
    bus.map(STAGING, bytes(4096))
    buffer = ClientBuffer(SharedMemory(bus), MemRef(STAGING + 64, 64), exact=True)
    assert buffer.read(0, 64, "") == bytes(64)
    with pytest.raises(RefusedError):
        buffer.read(offset, size, "")


def test_a_buffer_without_memory_behind_it_is_refused() -> None:
    buffer = ClientBuffer(SharedMemory(FakeBus()), MemRef(STAGING, 64), exact=True)
    with pytest.raises(RefusedError) as caught:
        buffer.read(0, 4, "")
    assert caught.value.result is TeeResult.BAD_PARAMETERS


def test_a_header_field_is_read_once_by_hardened() -> None:
    world = World()
    world.open()
    reads: list[tuple[int, int]] = []
    world.secure.shared_memory.observer = lambda _number, address, size: reads.append((address - STAGING, size))
    world.load(image("a.bin"))
    copied = [(at, at + size) for at, size in reads if 0 <= at < 812]
    assert copied == [(0, 20), (20, 812)]
