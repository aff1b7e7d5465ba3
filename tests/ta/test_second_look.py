"""No single decision carries the security of the hardened profile: each is taken away, and another one holds."""

from __future__ import annotations

import hmac
import struct
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from elf_bench import A_ELF, VECTOR_TABLE, bound, make_elf, signed
from ta_bench import World, image, resigned
from test_remoteproc_pta import Bench, refusal

import ta.hardened_loader
import ta.remoteproc_pta
from ta.events import CommandReturned, ImageAuthenticated, ProcessorStarted
from ta.image_elf import read_elf
from ta.image_format import SignType
from ta.profile import FirewallProfile, Profile
from ta.remoteproc_pta import RemoteprocPta
from ta.remoteproc_ta import RemoteprocTa
from ta.results import TeeResult
from ta.signed_tlvs import SignedTlvs, read_signed_tlvs

START, STOP, RELEASE = 2, 3, 6
DECPROT5 = 0x5C007024


def changed(segment: int = 0) -> bytes:
    """The image with a byte of a segment changed after signing; the first one is code."""
    data = bytearray(resigned("a"))
    data[len(data) - len(A_ELF) + read_elf(A_ELF).loads[segment].p_offset + 100] ^= 0x80
    return bytes(data)


def opened(profile: Profile = Profile.HARDENED) -> World:
    world = World(profile, FirewallProfile.ISOLATED if profile is Profile.HARDENED else FirewallProfile.OPEN)
    world.open()
    return world


def nothing(*_: object, **__: object) -> None:
    """What a skipped call does."""


def without_hash_comparison(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ta.remoteproc_pta, "hmac", SimpleNamespace(compare_digest=lambda *_: True))


def without_copy(patch: pytest.MonkeyPatch) -> None:
    load = RemoteprocPta.load_segment
    calls: list[RemoteprocPta] = []

    def once_skipped(self: RemoteprocPta, processor_id: int, *more: Any) -> int:
        calls.append(self)
        return 0 if calls.count(self) == 1 else load(self, processor_id, *more)

    patch.setattr(RemoteprocPta, "load_segment", once_skipped)


@pytest.mark.parametrize(
    ("fault", "data"), [(without_hash_comparison, changed()), (without_copy, resigned("a"))], ids=["compare", "copy"]
)
def test_a_second_look_finds_a_segment_that_the_first_let_pass(
    fault: Callable[[pytest.MonkeyPatch], None], data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault(monkeypatch)
    fallen, world = opened(Profile.UPSTREAM), opened()
    assert fallen.load(data) == TeeResult.SUCCESS
    assert world.load(data) == TeeResult.SECURITY
    assert not any(world.bus.retram)
    assert not world.of(ImageAuthenticated)


def test_two_faults_that_fit_each_other_are_another_class(monkeypatch: pytest.MonkeyPatch) -> None:
    without_hash_comparison(monkeypatch)
    monkeypatch.setattr("ta.hardened_loader.look_again", nothing)
    world = opened()
    assert world.load(changed()) == TeeResult.SUCCESS
    monkeypatch.undo()
    assert world.simple(START) == TeeResult.SUCCESS


def test_the_second_look_alone_accepts_nothing_either(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ta.hardened_loader.look_again", nothing)
    assert opened().load(changed()) == TeeResult.SECURITY


def test_a_load_that_was_not_carried_out_is_no_success_and_nothing_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RemoteprocTa, "_load_hardened", nothing)
    world = opened()
    assert world.load(resigned("a")) == TeeResult.SECURITY
    assert world.simple(START) == TeeResult.BAD_PARAMETERS
    assert not world.of(ProcessorStarted)


def test_start_insists_on_an_authenticated_image_where_the_state_says_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as skipped:
        skipped.setattr(RemoteprocTa, "_load_hardened", nothing)
        skipped.setattr(RemoteprocTa, "_require_loaded", nothing)
        world = opened()
        assert world.load(resigned("a")) == TeeResult.SUCCESS
    assert world.simple(START) == TeeResult.SECURITY
    assert not world.of(ProcessorStarted)


def test_the_pta_starts_only_what_both_verifications_accepted() -> None:
    data = image("a.bin")
    bench = Bench(Profile.HARDENED)
    assert refusal(bench.pta.start, 0) is TeeResult.SECURITY
    digest = bench.accepted()
    assert refusal(bench.pta.start, 0, bytes(32)) is TeeResult.SECURITY
    bench.pta.verify_digest(0, SignType.RSASSA_PKCS1_V1_5_SHA256, digest, data[300:812])
    assert refusal(bench.pta.start, 0, digest) is TeeResult.SECURITY  # a new verification, not yet confirmed
    bench.pta.confirm_digest(SignType.RSASSA_PKCS1_V1_5_SHA256, digest, data[300:812])
    bench.pta.start(0, digest)
    assert hmac.compare_digest(bench.pta.save().verified, digest)


def test_a_firewall_that_does_not_take_the_write_stops_the_load_and_the_start() -> None:
    for stuck_from in (0, 1):  # at the first write, S_RW; at the second, MCU_ISOLATION
        world, writes = opened(), 0
        write = world.bus.write

        def dropping(address: int, data: bytes, *, write: Callable[..., None] = write, first: int = stuck_from) -> None:
            nonlocal writes
            writes += address == DECPROT5
            if address != DECPROT5 or writes <= first:
                write(address, data)

        world.bus.write = dropping  # type: ignore[method-assign]
        results = [world.load(resigned("a")), world.simple(START)]
        assert TeeResult.SECURITY in results
        assert not world.of(ProcessorStarted)


def test_a_skipped_wipe_leaves_nothing_of_a_refused_image(monkeypatch: pytest.MonkeyPatch) -> None:
    wipe = RemoteprocPta.wipe
    calls: list[str] = []

    def once_skipped(self: RemoteprocPta, reason: str) -> None:
        calls.append(reason)
        if calls.count("the load failed") != 1:
            wipe(self, reason)

    monkeypatch.setattr(RemoteprocPta, "wipe", once_skipped)
    world = opened()
    assert world.load(changed(segment=1)) == TeeResult.SECURITY  # with the first one in memory
    assert calls.count("the load failed") == 2
    assert not any(world.bus.retram)


def test_a_skipped_wipe_at_release_is_made_up_for(monkeypatch: pytest.MonkeyPatch) -> None:
    world = opened()
    world.load(resigned("a"))
    with monkeypatch.context() as skipped:
        skipped.setattr(RemoteprocPta, "release", nothing)
        assert world.simple(RELEASE) == TeeResult.SUCCESS
    assert not any(world.bus.retram)


def test_a_release_that_was_not_carried_out_is_made_up_for(monkeypatch: pytest.MonkeyPatch) -> None:
    world = opened()
    world.load(resigned("a"))
    with monkeypatch.context() as skipped:
        skipped.setattr(RemoteprocTa, "_release", nothing)
        assert world.simple(RELEASE) == TeeResult.SUCCESS
    assert not any(world.bus.retram)
    assert world.simple(START) == TeeResult.BAD_STATE


def test_a_skipped_count_does_not_let_an_older_image_in(monkeypatch: pytest.MonkeyPatch) -> None:
    raise_version = RemoteprocPta.raise_version
    calls: list[int] = []

    def once_skipped(self: RemoteprocPta, version: int) -> None:
        calls.append(version)
        if len(calls) > 1:
            raise_version(self, version)

    monkeypatch.setattr(RemoteprocPta, "raise_version", once_skipped)
    world = opened()
    assert world.load(bound(A_ELF, version=2)) == TeeResult.SUCCESS
    assert [world.simple(command) for command in (START, STOP, RELEASE)] == [TeeResult.SUCCESS] * 3
    assert world.load(bound(A_ELF, version=1)) == TeeResult.SECURITY


def test_a_version_that_was_read_wrong_is_found_before_it_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    def without_version(area: bytes) -> SignedTlvs:
        tlvs = read_signed_tlvs(area)
        return SignedTlvs(tlvs.sizes, tlvs.records, tlvs.processor_id, None, tlvs.table)

    monkeypatch.setattr(ta.hardened_loader, "read_signed_tlvs", without_version)
    assert opened().load(bound(A_ELF, version=2)) == TeeResult.SECURITY


def test_without_the_signed_record_a_table_is_a_reason_to_refuse_and_never_an_answer() -> None:
    data = bytearray(image("a.bin"))
    world = opened()
    assert world.load(bytes(data)) == TeeResult.SECURITY
    assert "nobody signed where it is" in world.of(CommandReturned)[-1].reason
    section = read_elf(A_ELF).section(".resource_table")
    assert section is not None
    struct.pack_into("<I", data, 812 + section.offset, 0)  # the normal world hides its name
    for profile, result in ((Profile.UPSTREAM, TeeResult.SUCCESS), (Profile.HARDENED, TeeResult.SUCCESS)):
        hidden = opened(profile)
        assert hidden.load(bytes(data)) == result
        assert hidden.table() == (TeeResult.SUCCESS, 0, 0)


def test_the_table_of_a_signed_record_cannot_be_hidden() -> None:
    data = bytearray(resigned("a"))
    section = read_elf(A_ELF).section(".resource_table")
    assert section is not None
    struct.pack_into("<I", data, 828 + section.offset, 0)
    tables = {}
    for profile in Profile:
        world = opened(profile)
        assert world.load(bytes(data)) == TeeResult.SUCCESS
        tables[profile] = world.table()[1:]
    assert tables == {Profile.UPSTREAM: (0, 0), Profile.HARDENED: (0x10000000, 140)}


def test_the_signer_adds_the_record_only_where_there_is_one_table() -> None:
    elf = make_elf((1, 0, VECTOR_TABLE, 8))
    assert struct.pack("<I", 0x1C002) in resigned("a")[:316]
    assert struct.pack("<I", 0x1C002) not in signed(elf)[:200]
    assert opened().load(signed(elf)) == TeeResult.SUCCESS
    assert struct.pack("<I", 0x1C002) not in resigned("a", "b")


def test_the_processor_is_held_before_a_load() -> None:
    world = opened()
    world.bus.register_writes.clear()
    world.load(resigned("a"))
    assert [address for address, _ in world.bus.register_writes][:2] == [0x5000010C, 0x50000404]
