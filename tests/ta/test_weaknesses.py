"""A5 to A20 one by one: the attacker gets what he wants from upstream, and hardened holds. A1 to A4: test_hardened."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from elf_bench import A_ELF, VECTOR_TABLE, bound, make_elf, signed
from ta_bench import RCC_MP_GCR, RCC_MP_GRSTCSETR, RETRAM, SRAM, STAGING, World, image, private_key, resigned
from test_vectors import build

import ta.remoteproc_pta
from ta.events import ImageAuthenticated, SegmentLoaded
from ta.image_elf import read_elf
from ta.profile import FirewallProfile, PlatformTlvs, Profile, Settings
from ta.results import DeathCause, TaDeathError, TeeResult
from ta.signing import sign_images

UPSTREAM, HARDENED = Profile.UPSTREAM, Profile.HARDENED
START, STOP, RELEASE = 2, 3, 6
A_ELF_AT = 812
DECPROT5 = 0x5C007024


def opened(profile: Profile, firewall: FirewallProfile = FirewallProfile.ISOLATED, **more: Any) -> World:
    world = World(profile, firewall, **more)
    assert world.open() == 1
    return world


def fallen() -> World:
    return opened(UPSTREAM, FirewallProfile.OPEN)


def inserted(record: bytes) -> bytes:
    """a.bin with one more record at the end of its TLV area, signed again."""
    return build(
        "a.bin",
        [
            {"insert": [300, record.hex()]},
            {"set": [8, struct.pack("<I", 280 + len(record)).hex()]},
            {"resign": "trusted4096"},
        ],
    )


def table_section() -> int:
    """Offset in a.bin of the section header of its resource table."""
    section = read_elf(A_ELF).section(".resource_table")
    assert section is not None
    return A_ELF_AT + section.offset


@pytest.mark.parametrize(
    "record",
    [
        struct.pack("<IIB7x", 0x02, 1, 1),  # a second HASHTYPE, which upstream never reads
        struct.pack("<II", 0x77, 0),
        struct.pack("<II8x", 0x1C0FF, 4),
    ],
)
def test_a05_duplicate_and_unknown_tlvs_pass_upstream_only(record: bytes) -> None:
    assert fallen().load(inserted(record)) == TeeResult.SUCCESS
    assert opened(HARDENED).load(inserted(record)) == TeeResult.BAD_PARAMETERS


def test_a05_a_vendors_own_platform_tlv_passes_both() -> None:
    data = sign_images([A_ELF], private_key("trusted4096"), platform_tlvs=[(0x10001, b"the vendor's")])
    for profile in Profile:
        assert opened(profile).load(data) == TeeResult.SUCCESS


def test_a06_the_normal_world_leaves_a_signed_segment_out() -> None:
    shorter = build("a.bin", [{"set": [A_ELF_AT + 44, "0100"]}, {"set": [A_ELF_AT + 48, "0600"]}])
    world = fallen()
    assert world.load(shorter) == TeeResult.SUCCESS
    assert world.of(ImageAuthenticated)[0].segments == 1  # three are signed
    hardened = opened(HARDENED)
    assert hardened.load(shorter) == TeeResult.BAD_PARAMETERS
    assert not hardened.of(SegmentLoaded)


def test_a06_program_headers_that_are_not_the_signed_ones_are_refused() -> None:
    flags = build("a.bin", [{"set": [A_ELF_AT + 52 + 24, "07000000"]}])  # p_flags of the first segment
    assert fallen().load(flags) == TeeResult.SUCCESS
    assert opened(HARDENED).load(flags) == TeeResult.BAD_PARAMETERS


def test_a07_a_stopped_firmware_stays_in_memory_under_the_next_one() -> None:
    for profile, left in ((UPSTREAM, True), (HARDENED, False)):
        world = opened(profile, FirewallProfile.OPEN)
        world.load(resigned("a"))
        loaded = world.bus.read(RETRAM, 191)
        world.simple(START)
        world.simple(STOP)
        assert (world.bus.read(RETRAM, 191) == loaded) is left
        assert any(world.bus.read(SRAM, 0x46000)) is left


def test_a07_memory_holds_nothing_foreign_when_a_load_begins() -> None:
    for profile, kept in ((UPSTREAM, True), (HARDENED, False)):
        world = opened(profile, FirewallProfile.OPEN)
        world.bus.write(RETRAM + 0x8000, b"planted!")
        assert world.load(resigned("a")) == TeeResult.SUCCESS
        assert (world.bus.read(RETRAM + 0x8000, 8) == b"planted!") is kept


def test_a08_the_normal_world_chooses_the_address_of_the_resource_table() -> None:
    forged = build("a.bin", [{"set": [table_section() + 12, struct.pack("<I", 0x10048000).hex()]}])
    world = fallen()
    assert world.load(forged) == TeeResult.SUCCESS
    assert world.table()[1] == 0x10048000  # nothing was loaded there
    assert opened(HARDENED).load(forged) == TeeResult.SECURITY


def test_a08_section_headers_have_no_say_when_the_place_is_signed() -> None:
    data = bytearray(bound(A_ELF))
    at = len(data) - len(A_ELF) + table_section() - A_ELF_AT
    struct.pack_into("<I", data, at + 12, 0x10048000)
    world = opened(HARDENED)
    assert world.load(bytes(data)) == TeeResult.SUCCESS
    assert world.table() == (TeeResult.SUCCESS, SRAM, 140)


def test_a09_an_older_image_is_refused_once_a_newer_one_ran() -> None:
    for profile, last in ((UPSTREAM, TeeResult.SUCCESS), (HARDENED, TeeResult.SECURITY)):
        world = opened(profile)
        for command in (bound(A_ELF, version=2), START, STOP, RELEASE):
            result = world.load(command) if isinstance(command, bytes) else world.simple(command)
            assert result == TeeResult.SUCCESS
        assert world.load(bound(A_ELF, version=1)) == last


def test_a09_the_counter_is_part_of_the_state_and_moves_at_start() -> None:
    world = opened(HARDENED)
    before = world.secure.save()
    assert world.load(bound(A_ELF, version=5)) == TeeResult.SUCCESS
    assert world.secure.save().pta.lowest_version == 0
    world.simple(START)
    assert world.secure.save().pta.lowest_version == 5
    world.secure.load(before)
    assert world.load(bound(A_ELF, version=1)) == TeeResult.SUCCESS


def test_a09_images_for_another_processor_or_without_version_are_refused() -> None:
    other = bound(A_ELF, processor=1)
    assert opened(UPSTREAM).load(other) == TeeResult.SUCCESS
    assert opened(HARDENED).load(other) == TeeResult.SECURITY
    counted = opened(HARDENED, settings=Settings(lowest_version=1))
    assert counted.load(image("a.bin")) == TeeResult.SECURITY
    strict = opened(HARDENED, settings=Settings(platform_tlvs=PlatformTlvs.REQUIRED))
    assert strict.load(image("a.bin")) == TeeResult.SECURITY
    assert strict.load(bound(A_ELF)) == TeeResult.SUCCESS


def test_a10_the_destination_is_locked_before_it_is_written_and_hashed() -> None:
    for firewall, attribute in ((FirewallProfile.OPEN, 0x3FF), (FirewallProfile.ISOLATED, 0x0F0)):
        world = opened(HARDENED, firewall)
        seen: set[int] = set()
        read = world.bus.read

        def noting(address: int, size: int, world: World = world, seen: set[int] = seen, read: Any = read) -> Any:
            if RETRAM <= address < RETRAM + 0x10000:
                seen.add(world.bus.registers[DECPROT5] & 0x3FF)
            return read(address, size)

        world.bus.read = noting  # type: ignore[method-assign]
        world.load(resigned("a"))
        assert seen == {attribute}


def test_a10_two_segments_cannot_overlap_through_the_alias_of_a_bank() -> None:
    code = (1, 0, VECTOR_TABLE, 8)
    data = signed(make_elf(code, (1, 0x10000000, b"constant", 8), (1, 0x30000000, b"attacker", 8)))
    world = fallen()
    assert world.load(data) == TeeResult.SUCCESS
    assert world.bus.read(SRAM, 8) == b"attacker"  # the first segment was authenticated, and is gone
    assert opened(HARDENED).load(data) == TeeResult.BAD_PARAMETERS


def test_a11_a_segment_larger_in_the_file_than_in_memory_writes_behind_itself() -> None:
    memsz = struct.pack("<I", 4).hex()
    ops = [{"set": [108 + 20, memsz]}, {"set": [A_ELF_AT + 52 + 20, memsz]}, {"resign": "trusted4096"}]
    assert fallen().load(build("a.bin", ops)) == TeeResult.SUCCESS
    assert opened(HARDENED).load(build("a.bin", ops)) == TeeResult.BAD_PARAMETERS


def test_a12_refused_processors_do_not_starve_the_heap() -> None:
    for profile, last in ((UPSTREAM, TeeResult.OUT_OF_MEMORY), (HARDENED, TeeResult.SUCCESS)):
        world = opened(profile)
        for processor_id in range(1, 60):
            world.load(resigned("a"), processor_id)
        assert world.load(resigned("a")) == last


def test_a13_another_image_offered_in_loaded_is_not_a_success() -> None:
    for profile, result in ((UPSTREAM, TeeResult.SUCCESS), (HARDENED, TeeResult.BAD_STATE)):
        world = opened(profile)
        world.load(resigned("a"))
        assert world.load(image("c.bin")) == result
        assert world.load(resigned("a")) == TeeResult.SUCCESS


def test_a14_a_ta_that_dies_leaves_no_processor_behind() -> None:
    for profile, held in ((UPSTREAM, False), (HARDENED, True)):
        world = opened(profile, FirewallProfile.OPEN)
        world.load(resigned("a"))
        world.bus.register_writes.clear()
        write = world.bus.write

        def dying(address: int, data: bytes, world: World = world, write: Any = write) -> None:
            write(address, data)
            if address == RCC_MP_GCR and data[0] & 1:
                world.bus.write = write  # type: ignore[method-assign]
                raise TaDeathError(DeathCause.PANIC, "A14", "made to die")

        world.bus.write = dying  # type: ignore[method-assign]
        assert world.simple(START) == TeeResult.TARGET_DEAD
        assert (world.bus.register_writes[-1] == (RCC_MP_GRSTCSETR, 2)) is held
        assert any(world.bus.retram) is not held
        assert world.open() == 2
        result = world.invoke(1, [(1, (0, 0, 0)), (9, (STAGING, len(resigned("a")), 0))], session=2)
        assert result == TeeResult.SUCCESS


def test_a15_a_header_without_content_does_not_hide_a_segment_at_its_address() -> None:
    data = signed(make_elf((0x70000001, 0, b"", 0), (1, 0, VECTOR_TABLE, 8)))
    assert fallen().load(data) == TeeResult.BAD_PARAMETERS
    assert opened(HARDENED).load(data) == TeeResult.SUCCESS


def test_a16_a_signed_size_of_a_first_image_cannot_lead_out_of_the_buffer() -> None:
    data = build("ad.bin", [{"set": [76, "f8ffff7f"]}, {"resign": "trusted4096"}])
    assert fallen().load(data) == TeeResult.TARGET_DEAD
    assert opened(HARDENED).load(data) == TeeResult.BAD_PARAMETERS


def test_a17_a_section_header_changed_between_two_reads_has_no_effect() -> None:
    sizes = {}
    for profile in Profile:
        world = opened(profile)
        reads: list[int] = []

        def attack(_number: int, address: int, _size: int, world: World = world, reads: list[int] = reads) -> None:
            if address == STAGING + len(resigned("a")) - len(A_ELF) + table_section() - A_ELF_AT + 20:
                reads.append(address)
                if len(reads) == 2:
                    world.bus.write(address, struct.pack("<I", 0x1000))

        world.secure.shared_memory.observer = attack
        assert world.load(resigned("a")) == TeeResult.SUCCESS
        sizes[profile] = world.table()[2]
    assert sizes == {UPSTREAM: 0x1000, HARDENED: 140}


def test_a18_an_image_without_vectors_does_not_start_with_stale_ones() -> None:
    world = fallen()
    world.bus.write(RETRAM, b"stale vectors")
    assert [world.load(image("d.bin")), world.simple(START)] == [TeeResult.SUCCESS] * 2
    assert world.bus.read(RETRAM, 13) == b"stale vectors"
    assert opened(HARDENED).load(image("d.bin")) == TeeResult.BAD_FORMAT


def test_a19_one_skipped_decision_does_not_accept_a_wrong_signature(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = resigned("a", key="other4096")
    with monkeypatch.context() as skipped:
        for name in ("verify_upstream", "verify_strict"):
            skipped.setattr(ta.remoteproc_pta, name, lambda *_: None)
        assert fallen().load(wrong) == TeeResult.SUCCESS
        world = opened(HARDENED)
        assert world.load(wrong) == TeeResult.SECURITY
        assert not any(world.bus.retram)
        assert not world.of(ImageAuthenticated)
    monkeypatch.setattr(ta.remoteproc_pta, "confirm", lambda *_: True)
    assert opened(HARDENED).load(wrong) == TeeResult.SIGNATURE_INVALID


def test_a20_the_table_is_reported_where_it_was_loaded() -> None:
    world = fallen()
    world.load(image("b.bin"))
    assert world.bus.read(world.table()[1], 4) != b"\1\0\0\0"
    hardened = opened(HARDENED)
    hardened.load(resigned("b"))
    assert hardened.table() == (TeeResult.SUCCESS, 0x100000FC, 140)
    assert hardened.bus.read(0x100000FC, 4) == b"\1\0\0\0"
