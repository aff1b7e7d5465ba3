"""The TA's ELF reader alone: what it refuses, in which order, and that hostile headers only ever refuse or kill."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ta_bench import VECTORS, FakeBus

from ta.elf32 import ImageView, check_header, find_resource_table, segments
from ta.params import MemRef
from ta.results import RefusedError, TaDeathError, TeeResult
from ta.shared_memory import ClientBuffer, SharedMemory

Reader = Callable[[ImageView, int], object]

BASE = 0xC2000000
ELF = (VECTORS / "elf" / "a.elf").read_bytes()
E_PHOFF, E_SHOFF, E_PHNUM, E_SHNUM, E_SHSTRNDX = 28, 32, 44, 48, 50


def view(data: bytes, *, address: int = BASE) -> ImageView:
    bus = FakeBus()
    bus.map(address, data)
    return ImageView(ClientBuffer(SharedMemory(bus), MemRef(address, len(data)), exact=False), 0)


def patched(at: int, layout: str, value: int) -> bytes:
    data = bytearray(ELF)
    struct.pack_into(layout, data, at, value)
    return bytes(data)


def refusal(data: bytes, what: Reader) -> TeeResult:
    with pytest.raises(RefusedError) as caught:
        _read(what, view(data), len(data))
    return caught.value.result


def _read(what: Reader, image: ImageView, size: int) -> None:
    result = what(image, size)
    if isinstance(result, Iterator):
        list(result)


def test_segments_come_in_file_order_with_their_load_addresses() -> None:
    found = list(segments(view(ELF), len(ELF)))
    assert [s.da for s in found] == [0, 0x10000000, 0x10001000]
    assert all(s.memsz >= s.filesz for s in found)


def test_the_resource_table_is_found_by_its_section_name() -> None:
    table = find_resource_table(view(ELF), len(ELF))
    assert table is not None
    assert (table.da, table.size) == (0x10000000, 140)


@pytest.mark.parametrize(
    ("at", "layout", "value"),
    [
        (0, "B", 0x7E),
        (4, "B", 2),
        (6, "B", 0),
        (42, "<H", 31),
        (46, "<H", 41),
        (E_PHNUM, "<H", 0),
        (E_SHOFF, "<I", 4000),
    ],
)
def test_headers_that_are_not_elf32_are_bad_formats(at: int, layout: str, value: int) -> None:
    assert refusal(patched(at, layout, value), check_header) is TeeResult.BAD_FORMAT


def test_a_section_offset_that_wraps_passes_the_header_check() -> None:
    data = patched(E_SHOFF, "<I", 0xFFFFFFD8)
    check_header(view(data), len(data))


def test_a_misaligned_image_is_a_bad_parameter() -> None:
    with pytest.raises(RefusedError) as caught:
        check_header(view(ELF, address=BASE + 2), len(ELF))
    assert caught.value.result is TeeResult.BAD_PARAMETERS


@pytest.mark.parametrize("size", [0, 1 << 31, 0xFFFFFFFF])
def test_impossible_image_sizes_are_bad_parameters(size: int) -> None:
    with pytest.raises(RefusedError) as caught:
        next(segments(view(ELF), size))
    assert caught.value.result is TeeResult.BAD_PARAMETERS


def test_a_program_header_offset_into_nothing_kills_the_ta() -> None:
    data = patched(E_PHOFF, "<I", 0x7FFFFFF0)
    with pytest.raises(TaDeathError):
        next(segments(view(data), len(data)))


@pytest.mark.parametrize(
    ("at", "layout", "value", "result"),
    [
        (E_SHOFF, "<I", 1 << 31, TeeResult.BAD_PARAMETERS),
        (E_SHOFF, "<I", 2, TeeResult.BAD_FORMAT),
        (E_SHNUM, "<H", 0xFFFF, TeeResult.BAD_FORMAT),
        (E_SHNUM, "<H", 0, TeeResult.BAD_FORMAT),
        (E_SHSTRNDX, "<H", 0xFF, TeeResult.BAD_FORMAT),
    ],
)
def test_broken_section_tables_are_refused(at: int, layout: str, value: int, result: TeeResult) -> None:
    assert refusal(patched(at, layout, value), find_resource_table) is result


@settings(max_examples=150, deadline=None, database=None, derandomize=True)
@given(
    edits=st.lists(st.tuples(st.integers(0, len(ELF) - 1), st.integers(0, 255)), max_size=12), cut=st.integers(0, 800)
)
def test_hostile_images_are_read_without_a_crash(edits: list[tuple[int, int]], cut: int) -> None:
    data = bytearray(ELF)
    for at, value in edits:
        data[at] = value
    hostile = bytes(data[: max(len(data) - cut, 1)])
    image = view(hostile)
    readers: tuple[Reader, ...] = (check_header, segments, find_resource_table)
    for read in readers:
        with contextlib.suppress(RefusedError, TaDeathError):
            _read(read, image, len(hostile))
