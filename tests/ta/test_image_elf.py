"""Reading ELF files: bounded, with a typed error for every way in which a file can lie."""

from __future__ import annotations

import contextlib
import struct
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from hypothesis import given, settings
from hypothesis import strategies as st

from ta.errors import ImageError
from ta.image_elf import read_elf, scan_elf

ELVES = Path(__file__).parent.parent / "vectors" / "elf"
A = (ELVES / "a.elf").read_bytes()
SHOFF = struct.unpack_from("<I", A, 32)[0]


def word(data: bytes, offset: int, value: int) -> bytes:
    return data[:offset] + struct.pack("<I", value) + data[offset + 4 :]


def half(data: bytes, offset: int, value: int) -> bytes:
    return data[:offset] + struct.pack("<H", value) + data[offset + 2 :]


@pytest.mark.parametrize("path", sorted(ELVES.glob("*.elf")), ids=lambda p: p.stem)
def test_headers_equal_those_that_pyelftools_reads(path: Path) -> None:
    elf = read_elf(path.read_bytes())

    with path.open("rb") as stream:
        other = ELFFile(stream)
        segments = [
            (s["p_offset"], s["p_vaddr"], s["p_paddr"], s["p_filesz"], s["p_memsz"], s["p_flags"], s["p_align"])
            for s in other.iter_segments()
        ]
        sections = [(s.name, s["sh_addr"], s["sh_offset"], s["sh_size"]) for s in other.iter_sections()]
        data = [s.data() for s in other.iter_segments()]
    assert [s.words[1:] for s in elf.segments] == segments
    assert [(s.name, s.sh_addr, s.sh_offset, s.sh_size) for s in elf.sections] == sections
    assert [elf.segment_bytes(s) for s in elf.segments] == data


BROKEN = {
    "no byte": (b"", "elf-magic", 0),
    "text": (b"int main(void) { return 0; }" * 3, "elf-magic", 0),
    "cut header": (A[:51], "elf-truncated", 51),
    "64-bit": (A[:4] + b"\2" + A[5:], "elf-class", 4),
    "big-endian": (A[:5] + b"\2" + A[6:], "elf-data", 5),
    "x86": (half(A, 18, 3), "elf-machine", 18),
    "version 2": (word(A, 20, 2), "elf-version", 20),
    "object file": (half(A, 44, 0), "elf-no-segments", 44),
    "odd program headers": (half(A, 42, 56), "elf-phentsize", 42),
    "65535 program headers": (half(A, 44, 0xFFFF), "elf-segment-count", 44),
    "program headers outside": (word(A, 28, len(A) - 64), "elf-segment-table", 28),
    "program headers at 4 GiB": (word(A, 28, 0xFFFFFFF0), "elf-segment-table", 28),
    "segment data outside": (word(A, 52 + 4, len(A) - 1), "elf-segment-data", 56),
    "segment of 4 GiB": (word(word(A, 52 + 16, 0xFFFFFFFF), 52 + 20, 0xFFFFFFFF), "elf-segment-data", 56),
    "more in the file than in memory": (word(A, 52 + 20, 4), "elf-segment-size", 68),
    "17 MiB": (A + bytes(17 << 20), "elf-size", 16 << 20),
}


@pytest.mark.parametrize(("data", "code", "offset"), BROKEN.values(), ids=BROKEN)
def test_broken_elf_is_refused_with_code_and_offset(data: bytes, code: str, offset: int) -> None:
    with pytest.raises(ImageError) as caught:
        read_elf(data, file="fw.elf")

    assert (caught.value.fields["code"], caught.value.fields["offset"]) == (code, offset)
    assert caught.value.fields["file"] == "fw.elf"
    assert caught.value.hint


BROKEN_SECTIONS = {
    "size of a header": (half(A, 46, 64), "elf-shentsize"),
    "none": (half(A, 48, 0), "elf-no-sections"),
    "names behind the last": (half(A, 50, 99), "elf-no-sections"),
    "65535": (half(A, 48, 0xFFFF), "elf-section-count"),
    "outside": (word(A, 32, len(A) - 80), "elf-section-table"),
    "at 4 GiB": (word(A, 32, 0xFFFFFFFC), "elf-section-table"),
    "misaligned": (word(A, 32, SHOFF - 2), "elf-section-table"),
    "name table outside": (word(A, SHOFF + 5 * 40 + 20, len(A)), "elf-section-names"),
    "name outside its table": (word(A, SHOFF + 40, 0xFFFFFFFF), "elf-section-name"),
}


@pytest.mark.parametrize(("data", "code"), BROKEN_SECTIONS.values(), ids=BROKEN_SECTIONS)
def test_broken_section_headers_do_not_stop_the_signer_but_are_reported(data: bytes, code: str) -> None:
    scan = scan_elf(data)

    assert [p.code for p in scan.section_problems] == [code]
    assert len(read_elf(data).segments) == 3


def test_segments_that_claim_the_same_bytes_over_and_over_are_refused() -> None:
    count = 40
    header = A[:28] + struct.pack("<I", 52) + A[32:44] + struct.pack("<H", count) + A[46:52]
    size = 52 + 32 * count
    headers = struct.pack("<8I", 1, 0, 0, 0, size, size, 5, 4) * count

    assert "elf-overlap" in [p.code for p in scan_elf(header + headers).problems]


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300), st.integers(0, len(A)), st.binary(max_size=8))
def test_garbage_never_raises_anything_but_image_error(garbage: bytes, at: int, patch: bytes) -> None:
    for data in (garbage, A[:16] + garbage, A[:at] + patch + A[at + len(patch) :]):
        with contextlib.suppress(ImageError):
            read_elf(data)
