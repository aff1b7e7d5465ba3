"""The register state that the secure world leaves before the normal world runs."""

from __future__ import annotations

import pytest
from ta_bench import RCC_MP_GCR, RCC_MP_GRSTCSETR, RCC_TZCR, FakeBus, public_key

from ta.events import ProcessorStopped, TaEvent
from ta.profile import FirewallProfile, Profile
from ta.secure_world import SecureWorld

TZC, ETZPC = 0x5C006000, 0x5C007000


def booted(bus: FakeBus, firewall: FirewallProfile = FirewallProfile.ISOLATED) -> list[TaEvent]:
    events: list[TaEvent] = []
    world = SecureWorld(bus, public_key("trusted2048"), profile=Profile.HARDENED, firewall=firewall, sink=events.append)
    world.boot()
    return events


def test_the_reset_controller_is_secure_and_the_m4_is_held(bus: FakeBus) -> None:
    bus.registers[RCC_TZCR] = 0
    events = booted(bus)
    assert bus.registers[RCC_TZCR] == 3
    assert bus.register_writes[-3:] == [(RCC_MP_GCR, 0), (RCC_MP_GRSTCSETR, 2), (RCC_TZCR, 3)]
    assert events == [ProcessorStopped(0)]


def test_clocks_are_on_before_the_blocks_behind_them_are_written(bus: FakeBus) -> None:
    booted(bus)
    assert bus.register_writes[0] == (0x50000208, 0x11B900)


def test_backup_registers_have_three_zones(bus: FakeBus) -> None:
    booted(bus)
    assert bus.registers[0x50001000] == 1 << 8
    assert bus.registers[0x5C00A020] == 0x800F000A
    written = [address for address, _ in bus.register_writes]
    assert written.index(0x50001000) < written.index(0x5C00A020)


def test_ddr_is_divided_into_normal_secure_and_shared(bus: FakeBus) -> None:
    booted(bus)
    regions = [tuple(bus.registers[TZC + 0x100 + 0x20 * n + at] for at in (0, 8, 0x10, 0x14)) for n in (1, 2, 3)]
    assert regions == [
        (0xC0000000, 0xDDFFFFFF, 0xC0000003, 0x87FB87FB),
        (0xDE000000, 0xDFDFFFFF, 0xC0000003, 0),
        (0xDFE00000, 0xDFFFFFFF, 0xC0000003, 0x87FB87FB),
    ]
    assert (bus.registers[TZC + 0x110], bus.registers[TZC + 0x114]) == (3, 0)


def test_the_ddr_filters_are_closed_while_regions_change(bus: FakeBus) -> None:
    booted(bus)
    tzc = [(address - TZC, value) for address, value in bus.register_writes if TZC <= address < TZC + 0x1000]
    assert tzc[0] == (8, 0)
    assert tzc[-1] == (8, 3)


def test_sysram_and_rom_are_secure(bus: FakeBus) -> None:
    booted(bus)
    assert bus.registers[ETZPC] == bus.registers[ETZPC + 4] == 0x3FF


@pytest.mark.parametrize("firewall", FirewallProfile)
def test_peripherals_follow_the_board_and_the_mcu_memories_start_open(bus: FakeBus, firewall: FirewallProfile) -> None:
    bus.registers[ETZPC + 0x24] = 0
    booted(bus, firewall)
    fields = [bus.registers[ETZPC + 0x10] >> (2 * n) & 3 for n in range(13)]
    assert fields == [0, 0, 0, 3, 3, 3, 0, 3, 3, 3, 1, 1, 3]
    assert bus.registers[ETZPC + 0x24] & 0x3FF == 0x3FF


def test_the_secure_only_peripherals_are_locked(bus: FakeBus) -> None:
    booted(bus)
    locks = [value for address, value in bus.register_writes if address == ETZPC + 0x30]
    assert sum(locks) == 0b1100_0000_0111
