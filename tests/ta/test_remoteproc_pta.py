"""The PTA at its own interface: reset lines, firewall changes, memory accesses and their refusals."""

from __future__ import annotations

import hashlib

import pytest
from ta_bench import RCC_MP_GCR, RCC_MP_GRSTCSETR, RCC_TZCR, RETRAM, SRAM, FakeBus, World, image, public_key

from ta.events import MemoryWiped, ProcessorStarted, ProcessorStopped, TaEvent
from ta.image_format import SignType
from ta.memory_map import REGIONS, SHM_ADDRESS, find_region
from ta.profile import FirewallProfile, Profile
from ta.remoteproc_pta import PtaState, RemoteprocPta
from ta.results import RefusedError, TeeResult

DECPROT5 = 0x5C007024
LOADING, RUNNING = 0x0F0, 0x2FA
SOURCE = SHM_ADDRESS
DATA = bytes(range(64))


class Bench:
    def __init__(self, profile: Profile = Profile.UPSTREAM, firewall: FirewallProfile = FirewallProfile.OPEN) -> None:
        self.bus = FakeBus()
        self.bus.map(SOURCE, DATA)
        self.events: list[TaEvent] = []
        self.pta = RemoteprocPta(
            bus=self.bus,
            key=public_key("trusted4096"),
            profile=profile,
            firewall=firewall,
            sink=self.events.append,
        )

    def load(self, da: int, digest: bytes = hashlib.sha256(DATA).digest()) -> int:
        return self.pta.load_segment(0, lambda: self.bus.read(SOURCE, len(DATA)), len(DATA), da, digest)

    def accepted(self) -> bytes:
        """A digest whose signature both verifications accepted."""
        data = image("a.bin")
        digest, kind = hashlib.sha256(data[:300]).digest(), SignType.RSASSA_PKCS1_V1_5_SHA256
        self.pta.verify_digest(0, kind, digest, data[300:812])
        self.pta.confirm_digest(kind, digest, data[300:812])
        return digest

    def decprot(self) -> list[int]:
        """The low 10 bits of DECPROT5 as written, in order."""
        return [value & 0x3FF for address, value in self.bus.register_writes if address == DECPROT5]


def refusal(call: object, *args: object) -> TeeResult:
    assert callable(call)
    with pytest.raises(RefusedError) as caught:
        call(*args)
    assert caught.value.message
    return caught.value.result


def test_start_releases_the_processor_and_closes_hold_boot_behind_it() -> None:
    bench = Bench()
    bench.pta.start(0)
    assert bench.bus.register_writes == [(RCC_MP_GCR, 1), (RCC_MP_GCR, 0)]
    assert bench.events == [ProcessorStarted(0)]
    assert bench.pta.state is PtaState.ON


def test_stop_holds_and_then_resets_the_processor() -> None:
    bench = Bench()
    bench.pta.start(0)
    bench.bus.register_writes.clear()
    bench.pta.stop(0)
    assert bench.bus.register_writes == [(RCC_MP_GCR, 0), (RCC_MP_GRSTCSETR, 2)]
    assert bench.events[-1] == ProcessorStopped(0)


def test_other_bits_of_the_control_register_survive_start_and_stop() -> None:
    bench = Bench()
    bench.bus.registers[RCC_MP_GCR] = 0x80
    bench.pta.start(0)
    bench.pta.stop(0)
    assert [value for address, value in bench.bus.register_writes if address == RCC_MP_GCR] == [0x81, 0x80, 0x80]


def test_probe_holds_the_processor_and_protects_its_clocks() -> None:
    bench = Bench()
    bench.bus.registers[RCC_TZCR] = 1
    bench.pta.probe()
    assert bench.bus.register_writes == [(RCC_MP_GCR, 0), (RCC_MP_GRSTCSETR, 2), (RCC_TZCR, 3)]


def test_probe_refuses_a_reset_controller_that_the_normal_world_owns() -> None:
    bench = Bench()
    bench.bus.registers[RCC_TZCR] = 0
    assert refusal(bench.pta.probe) is TeeResult.BAD_STATE


def test_a_running_processor_refuses_everything_but_stop() -> None:
    bench = Bench()
    bench.pta.start(0)
    assert refusal(bench.load, 0) is TeeResult.BAD_STATE
    assert refusal(bench.pta.set_memory, 0, 0, 4, 0) is TeeResult.BAD_STATE
    assert refusal(bench.pta.start, 0) is TeeResult.BAD_STATE
    assert refusal(bench.pta.release, 0) is TeeResult.BAD_STATE
    bench.pta.stop(0)
    assert refusal(bench.pta.stop, 0) is TeeResult.BAD_STATE


def test_unknown_processors_are_refused() -> None:
    pta = Bench().pta
    assert refusal(pta.capabilities, 1) is TeeResult.NOT_SUPPORTED
    assert refusal(pta.da_to_pa, 1, 0, 4) is TeeResult.BAD_PARAMETERS
    assert refusal(pta.release, 1) is TeeResult.BAD_PARAMETERS
    assert refusal(pta.start, 1) is TeeResult.GENERIC


@pytest.mark.parametrize(
    ("da", "size", "pa"),
    [(0, 4, RETRAM), (0xFFFC, 4, RETRAM + 0xFFFC), (0x10000010, 8, 0x10000010), (0x30000010, 8, 0x30000010)],
)
def test_device_addresses_are_translated(da: int, size: int, pa: int) -> None:
    assert Bench().pta.da_to_pa(0, da, size) == pa


@pytest.mark.parametrize(
    ("da", "size"),
    [(0, 0), (0xFFFD, 4), (RETRAM, 4), (0x1003FFFC, 8), (0x08100000, 4), (0xFFFFFFFC, 8), (0x10046000, 4)],
)
def test_ranges_outside_one_region_are_refused(da: int, size: int) -> None:
    assert find_region(da, size) is None
    assert refusal(Bench().pta.da_to_pa, 0, da, size) is TeeResult.ACCESS_DENIED


def test_a_segment_is_hashed_where_it_lies_and_zeroed_when_the_hash_is_wrong() -> None:
    bench = Bench()
    assert bench.load(0x10000000) == SRAM
    assert bench.bus.read(SRAM, 64) == DATA
    assert refusal(bench.load, 0x10000000, bytes(32)) is TeeResult.SECURITY
    assert bench.bus.read(SRAM, 64) == bytes(64)
    assert bench.bus.read(SRAM + 64, 1) == b"\xa5"
    assert [(e.region, e.pa, e.size) for e in bench.events if isinstance(e, MemoryWiped)] == [("mcuram2", SRAM, 64)]


def test_a_change_of_the_copy_before_it_is_hashed_is_caught() -> None:
    bench = Bench()
    write = bench.bus.write

    def tampering(address: int, data: bytes) -> None:
        write(address, data)
        write(address, b"\0" * 4)

    bench.bus.write = tampering  # type: ignore[method-assign]
    assert refusal(bench.load, 0x10000000) is TeeResult.SECURITY


def test_a_missing_source_is_a_refusal_not_a_crash() -> None:
    bench = Bench()
    bench.bus.unmap_all()
    assert refusal(bench.load, 0) is TeeResult.GENERIC


def test_the_fill_value_is_reduced_to_one_bit_by_upstream_only() -> None:
    for profile, wanted in ((Profile.UPSTREAM, b"\x01\x01"), (Profile.HARDENED, b"\x5a\x5a")):
        bench = Bench(profile)
        bench.pta.set_memory(0, 0x10, 2, 0x5A)
        assert bench.bus.read(RETRAM + 0x10, 2) == wanted


def test_release_zeroes_all_regions_of_the_device_tree() -> None:
    bench = Bench()
    bench.pta.release(0)
    wiped = [e for e in bench.events if isinstance(e, MemoryWiped)]
    assert [(e.region, e.pa, e.size) for e in wiped] == [(r.name, r.pa, r.size) for r in REGIONS]
    for region in REGIONS:
        assert bench.bus.read(region.pa, region.size) == bytes(region.size)


def test_the_open_profile_never_touches_the_firewall() -> None:
    bench = Bench()
    bench.load(0)
    bench.pta.start(0)
    bench.pta.stop(0)
    bench.pta.release(0)
    assert bench.decprot() == []


@pytest.mark.parametrize("profile", Profile)
def test_the_isolated_profile_protects_while_loading_and_gives_the_memories_to_the_mcu(profile: Profile) -> None:
    bench = Bench(profile, FirewallProfile.ISOLATED)
    bench.load(0)
    bench.load(0x10000000)
    assert bench.decprot() == [LOADING]
    bench.pta.start(0, bench.accepted())
    assert bench.decprot() == [LOADING, RUNNING]
    addresses = [address for address, _ in bench.bus.register_writes]
    assert addresses.index(RCC_MP_GCR) > max(n for n, address in enumerate(addresses) if address == DECPROT5)
    bench.pta.stop(0)
    assert bench.decprot() == [LOADING, RUNNING, LOADING]


def test_the_memories_are_secure_before_the_first_byte_is_written() -> None:
    bench = Bench(firewall=FirewallProfile.ISOLATED)
    order: list[str] = []
    write = bench.bus.write

    def noting(address: int, data: bytes) -> None:
        order.append("firewall" if address == DECPROT5 else "memory")
        write(address, data)

    bench.bus.write = noting  # type: ignore[method-assign]
    bench.load(0)
    assert order == ["firewall", "memory"]


def test_stopping_an_isolated_processor_wipes_its_banks_but_not_the_shared_ones() -> None:
    bench = Bench(firewall=FirewallProfile.ISOLATED)
    bench.load(0)
    bench.pta.start(0)
    bench.pta.stop(0)
    assert not any(bench.bus.retram)
    assert not any(bench.bus.sram[:0x40000])
    assert all(byte == 0xA5 for byte in bench.bus.sram[0x40000:])
    assert [e.region for e in bench.events if isinstance(e, MemoryWiped)] == ["RETRAM", "SRAM1", "SRAM2"]


def test_the_memories_stay_secure_after_release() -> None:
    world = World()
    world.open()
    world.load(image("a.bin"))
    world.simple(6)
    assert world.bus.registers[DECPROT5] & 0x3FF == LOADING
