"""The path without a TEE: rproc_elf_sanity_check, load and table, and who may start the core."""

from __future__ import annotations

import struct

import pytest
from linux_bench import MILLISECOND_PS, TABLE, elf

from cosim.access import Initiator
from cosim.engine import CoreState
from cosim.linux.errno import Errno, KernelError
from cosim.linux.events import KernelMessage
from cosim.linux.host import LinuxHost
from cosim.linux.remoteproc_core import RprocState
from cosim.soc import Soc, SocConfig
from ta.events import CommandInvoked
from ta.profile import FirewallProfile

RCC_TZCR = 0x50000000
DEMO = elf("demo_m4")
PHOFF = struct.unpack_from("<I", DEMO, 28)[0]
SHOFF = struct.unpack_from("<I", DEMO, 32)[0]


def patched(*changes: tuple[int, str, int]) -> bytes:
    data = bytearray(DEMO)
    for offset, layout, value in changes:
        struct.pack_into(layout, data, offset, value)
    return bytes(data)


def plain_host(firmware: bytes = DEMO) -> LinuxHost:
    """An M4 without a TEE on a machine whose RCC is not in secure mode."""
    soc = Soc(SocConfig(firewall=FirewallProfile.OPEN))
    soc.bus.write(Initiator.A7_S, RCC_TZCR, bytes(4))
    return LinuxHost(soc, firmware, tee=False)


def refusal(firmware: bytes) -> tuple[Errno, str]:
    linux = plain_host(firmware)
    with pytest.raises(KernelError) as caught:
        linux.boot()
    assert linux.rproc.state is RprocState.OFFLINE
    assert not linux.soc.m4.retired
    return caught.value.errno, caught.value.function


SANITY, LOAD = "rproc_elf_sanity_check", "rproc_elf_load_segments"


@pytest.mark.parametrize(
    ("firmware", "function"),
    [
        pytest.param(b"", SANITY, id="empty"),
        pytest.param(DEMO[:51], SANITY, id="shorter-than-a-header"),
        pytest.param(patched((4, "<B", 3)), SANITY, id="class"),
        pytest.param(patched((4, "<B", 2))[:63], SANITY, id="64-bit-header-cut"),
        pytest.param(patched((5, "<B", 2)), SANITY, id="big-endian"),
        pytest.param(patched((0, "<B", 0)), SANITY, id="magic"),
        pytest.param(patched((32, "<I", len(DEMO) - 39)), SANITY, id="section-header-behind-the-end"),
        pytest.param(patched((44, "<H", 0)), SANITY, id="no-segments"),
        pytest.param(patched((28, "<I", len(DEMO) + 1)), SANITY, id="program-headers-behind-the-end"),
        pytest.param(patched((28, "<I", len(DEMO) - 4)), LOAD, id="program-headers-cut"),
        pytest.param(patched((44, "<H", 257)), LOAD, id="too-many-segments"),
        pytest.param(patched((PHOFF + 20, "<I", 1)), LOAD, id="filesz-larger-than-memsz"),
        pytest.param(patched((PHOFF + 4, "<I", len(DEMO))), LOAD, id="segment-truncated"),
        pytest.param(patched((PHOFF + 12, "<I", 0x08000000)), LOAD, id="address-outside-the-carveouts"),
        pytest.param(patched((PHOFF + 12, "<I", 0xFFFF)), LOAD, id="segment-leaves-its-carveout"),
    ],
)
def test_a_bad_elf_file_is_einval(firmware: bytes, function: str) -> None:
    assert refusal(firmware) == (Errno.EINVAL, function)


def test_a_segment_of_more_than_32_bits_is_eoverflow() -> None:
    wide = bytearray(0x100)
    struct.pack_into("<16sHHIQQQIHHHHHH", wide, 0, b"\x7fELF\x02\x01\x01", 2, 40, 1, 0, 64, 0, 0, 64, 56, 1, 64, 0, 0)
    struct.pack_into("<2I6Q", wide, 64, 1, 5, 0, 0, 0, 0, 1 << 32, 8)
    assert refusal(bytes(wide)) == (Errno.EOVERFLOW, LOAD)


@pytest.mark.parametrize("change", [(PHOFF, "<I", 4), (PHOFF + 16, "<Q", 0)])
def test_segments_that_are_not_loaded_or_empty_are_skipped_unseen(change: tuple[int, str, int]) -> None:
    linux = plain_host(patched(change, (PHOFF + 12, "<I", 0x08000000)))
    linux.boot()
    assert linux.rproc.state is RprocState.RUNNING
    assert not any(linux.soc.debug_read(0x38000000, 0x298))


def test_without_secure_mode_the_same_elf_file_boots_unsigned_and_the_ta_is_not_asked() -> None:
    linux = plain_host()
    linux.boot()
    linux.run(lambda: False, MILLISECOND_PS)
    assert "m4: ready" in linux.traces[0].text
    assert linux.rproc.loaded_table == TABLE
    assert not linux.soc.log.of(CommandInvoked)
    linux.shutdown()
    assert linux.soc.m4.state is CoreState.HELD


def test_memory_behind_a_segments_file_bytes_is_zeroed() -> None:
    linux = plain_host()
    linux.soc.bus.write(Initiator.DEBUG, TABLE + 0x200, b"\xaa" * 16)
    linux.boot()
    assert linux.soc.debug_read(TABLE + 0x200, 16) == bytes(16)


def test_in_secure_mode_the_normal_world_may_load_but_not_start() -> None:
    linux = LinuxHost(Soc(), DEMO, tee=False)
    with pytest.raises(KernelError) as caught:
        linux.boot()
    assert (caught.value.errno, caught.value.function) == (Errno.EPERM, "stm32_rproc_set_hold_boot")
    assert not linux.soc.m4.retired
    assert linux.rproc.state is RprocState.OFFLINE


def find_section(name: bytes) -> int:
    shnum, shstrndx = struct.unpack_from("<2H", DEMO, 48)
    headers = [struct.unpack_from("<10I", DEMO, SHOFF + 40 * n) for n in range(shnum)]
    names = headers[shstrndx][4]
    return next(n for n, h in enumerate(headers) if DEMO[names + h[0] :].startswith(name + b"\0"))


SECTION = SHOFF + 40 * find_section(b".resource_table")
TABLE_AT = struct.unpack_from("<I", DEMO, SECTION + 16)[0]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        pytest.param((SECTION + 16, "<I", len(DEMO)), "resource table truncated", id="truncated"),
        pytest.param((SECTION + 20, "<I", 15), "header-less resource table", id="header"),
        pytest.param((TABLE_AT, "<I", 2), "unsupported fw ver: 2", id="version"),
        pytest.param((TABLE_AT + 8, "<I", 1), "non zero reserved bytes", id="reserved"),
        pytest.param((TABLE_AT + 4, "<I", 1000), "resource table incomplete", id="offsets"),
    ],
)
def test_a_table_that_the_loader_does_not_take_is_said_and_the_firmware_boots_without_it(
    change: tuple[int, str, int], reason: str
) -> None:
    linux = plain_host(patched(change))
    linux.boot()
    texts = [message.text for message in linux.soc.log.of(KernelMessage)]
    assert reason in texts
    assert "no resource table found for this firmware" in texts
    assert linux.rproc.table is None


def test_a_firmware_whose_sections_were_cut_off_boots_without_a_table() -> None:
    linux = plain_host(patched((48, "<H", 0xFFFF), (50, "<H", 0xFFFE)))
    linux.boot()
    assert linux.rproc.table is None
    assert linux.rproc.state is RprocState.RUNNING
