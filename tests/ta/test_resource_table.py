"""The resource table: decoded as the kernel reads it, refused where TA or kernel would refuse it."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ta.errors import ImageError
from ta.resource_table import (
    ANY,
    Memory,
    Resource,
    Trace,
    Vdev,
    Vring,
    find_in_elf,
    parse_resource_table,
    scan_resource_table,
)

ELVES = Path(__file__).parent.parent / "vectors" / "elf"
A = (ELVES / "a.elf").read_bytes()


def table(*entries: bytes, version: int = 1, reserved: int = 0, num: int | None = None) -> bytes:
    """A table with its entries one after the other."""
    count = len(entries) if num is None else num
    at = 16 + 4 * len(entries)
    offsets = []
    for entry in entries:
        offsets.append(at)
        at += len(entry)
    head = struct.pack(f"<4I{len(entries)}I", version, count, reserved, 0, *offsets)
    return head + b"".join(entries)


def vdev(
    vrings: int = 2, *, claimed: int | None = None, align: int = 16, config: bytes = b"", config_len: int = 0
) -> bytes:
    rings = b"".join(struct.pack("<5I", ANY, align, 8, n, 0) for n in range(vrings))
    count = vrings if claimed is None else claimed
    return struct.pack("<6I4B", 3, 7, 0, 1, 0, config_len or len(config), 0, count, 0, 0) + rings + config


TRACE = struct.pack("<4I32s", 2, 0x10040000, 0x1000, 0, b"cm4_log")
CARVEOUT = struct.pack("<6I32s", 0, 0x10000000, ANY, 0x2000, 3, 0, b"buffer")
DEVMEM = struct.pack("<6I32s", 1, 0x40000000, 0x40000000, 0x400, 0, 0, b"timer")


def test_every_kind_of_entry_is_decoded() -> None:
    vendor = struct.pack("<2I", 128, 99)
    data = table(CARVEOUT, DEVMEM, TRACE, vdev(config=b"abcd"), vendor)

    parsed = parse_resource_table(data)

    assert (parsed.version, parsed.num, parsed.size) == (1, 5, len(data))
    carveout, devmem, trace, device, other = parsed.entries
    assert carveout == Memory(36, 0, 0x10000000, ANY, 0x2000, 3, "buffer")
    assert devmem == Memory(92, 1, 0x40000000, 0x40000000, 0x400, 0, "timer")
    assert trace == Trace(148, 2, 0x10040000, 0x1000, "cm4_log")
    rings = (Vring(ANY, 16, 8, 0, 0), Vring(ANY, 16, 8, 1, 0))
    assert device == Vdev(196, 3, 7, 0, 1, 0, 0, rings, b"abcd")
    assert type(other) is Resource
    names = [e.type_name for e in parsed.entries]
    assert names == ["CARVEOUT", "DEVMEM", "TRACE", "VDEV", "VENDOR"]
    assert Resource(0, 4).type_name == "UNKNOWN"


BROKEN = {
    "no byte": (b"", "table-truncated", 0),
    "15 bytes": (table()[:15], "table-truncated", 15),
    "version": (table(version=2), "table-version", 0),
    "reserved": (table(reserved=1), "table-reserved", 8),
    "more entries than fit": (table(num=1), "table-num", 4),
    "number that wraps": (table(num=0x40000000), "table-num", 4),
    "too many entries": (table(num=65) + bytes(400), "table-num", 4),
    "entry outside": (table(TRACE)[:20], "resource-outside", 16),
    "entry cut": (table(TRACE)[:-1], "resource-truncated", 20),
    "vdev cut": (table(vdev())[:-1], "resource-truncated", 20),
    "carveout reserved": (table(CARVEOUT[:20] + b"\1" + CARVEOUT[21:]), "resource-reserved", 40),
    "trace reserved": (table(TRACE[:12] + b"\1" + TRACE[13:]), "resource-reserved", 32),
    "vdev reserved": (table(vdev()[:26] + b"\1" + vdev()[27:]), "resource-reserved", 46),
    "three vrings": (table(vdev(3)), "vdev-vrings", 45),
    "255 vrings": (table(vdev(2, claimed=255)), "resource-truncated", 20),
    "vring alignment 0": (table(vdev(align=0)), "vring-empty", 20 + 28 + 4),
    "config outside": (table(vdev(config_len=1)), "vdev-config", 40),
    "config that wraps": (table(vdev(config_len=0xFFFFFFFF)), "vdev-config", 40),
    "128 KiB": (table() + bytes(0x20000), "table-size", 0x10000),
}


@pytest.mark.parametrize(("data", "code", "offset"), BROKEN.values(), ids=BROKEN)
def test_broken_table_is_refused_with_code_and_file_offset(data: bytes, code: str, offset: int) -> None:
    codes = [(p.code, p.offset) for p in scan_resource_table(data, offset=0x1000).problems]
    assert (code, 0x1000 + offset) in codes

    with pytest.raises(ImageError) as caught:
        parse_resource_table(data, offset=0x1000, file="fw.elf")

    assert caught.value.fields["file"] == "fw.elf"
    assert caught.value.hint


def test_table_is_found_in_an_elf_with_its_run_address() -> None:
    assert find_in_elf(A) == (0x154, 0x8C, 0x10000000)
    assert find_in_elf((ELVES / "b.elf").read_bytes()) == (0x448, 0x8C, 0x10020064)
    assert find_in_elf((ELVES / "c.elf").read_bytes()) is None


def section_word(index: int, at: int, value: int) -> bytes:
    offset = struct.unpack_from("<I", A, 32)[0] + 40 * index + at
    return A[:offset] + struct.pack("<I", value) + A[offset + 4 :]


def test_empty_section_is_no_table() -> None:
    assert find_in_elf(section_word(3, 20, 0)) is None


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (section_word(3, 16, len(A)), "table-outside-file"),
        (section_word(3, 16, 0xFFFFFFFC), "table-outside-file"),
        (section_word(3, 4, 8), "table-outside-file"),
        (section_word(3, 16, 0x156), "table-align"),
        (b"\x7fELF", "elf-truncated"),
        (A[:46] + b"\0\0" + A[48:], "elf-shentsize"),
    ],
)
def test_table_that_cannot_be_located_is_an_error(data: bytes, code: str) -> None:
    with pytest.raises(ImageError) as caught:
        find_in_elf(data, file="fw.elf")

    assert caught.value.fields["code"] == code


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=160), st.integers(0, 3))
def test_garbage_is_scanned_without_an_exception(data: bytes, num: int) -> None:
    for table_bytes in (data, struct.pack("<4I3I", 1, num, 0, 0, 28, 32, 40) + data):
        scan_resource_table(table_bytes)
