"""Reading signed images: what a good one says, and how each broken one is refused."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ta.errors import ImageError
from ta.image import MAGIC, SignType, TlvType, parse_image
from ta.image_format import build_tlv
from ta.image_problem import Severity
from ta.image_scan import scan_image

IMAGES = Path(__file__).parent.parent / "vectors" / "images"
A = (IMAGES / "a.bin").read_bytes()
TLV_LEN = struct.unpack_from("<I", A, 8)[0]
# Offsets of the records in an image with one ELF file.
SIGNTYPE, NUM_IMG, IMGTYPE, IMGSIZE, HASHTYPE, HASHTABLE = 20, 36, 52, 68, 84, 100


def word(data: bytes, offset: int, value: int) -> bytes:
    return data[:offset] + struct.pack("<I", value) + data[offset + 4 :]


def byte(data: bytes, offset: int, value: int) -> bytes:
    return data[:offset] + bytes([value]) + data[offset + 1 :]


def with_tlv(data: bytes, record: bytes) -> bytes:
    """Append a record to the TLV area of an image."""
    end = 20 + TLV_LEN
    return word(data[:end] + record + data[end:], 8, TLV_LEN + len(record))


def without_tlv(data: bytes, offset: int, size: int) -> bytes:
    """Remove `size` bytes of TLV records."""
    return word(data[:offset] + data[offset + size :], 8, TLV_LEN - size)


def refusal(data: bytes) -> ImageError:
    with pytest.raises(ImageError) as caught:
        parse_image(data, file="fw.sign")
    return caught.value


def test_image_with_one_elf_shows_all_its_parts() -> None:
    image = parse_image(A)

    assert (image.header.magic, image.header.version, image.header.sign_len) == (MAGIC, 1, 512)
    assert [(t.offset, t.name) for t in image.tlvs] == [
        (SIGNTYPE, "SIGNTYPE"),
        (NUM_IMG, "NUM_IMG"),
        (IMGTYPE, "IMGTYPE"),
        (IMGSIZE, "IMGSIZE"),
        (HASHTYPE, "HASHTYPE"),
        (HASHTABLE, "HASHTABLE"),
    ]
    assert image.sign_type is SignType.RSASSA_PKCS1_V1_5_SHA256
    assert [(p.offset, p.size) for p in image.images] == [(image.header.image_offset, 768)]
    assert [(r.offset, r.p_type, r.p_paddr, r.p_filesz, r.p_memsz) for r in image.hash_records] == [
        (108, 1, 0x00000000, 0xBF, 0xBF),
        (172, 1, 0x10000000, 0x8C, 0x8C),
        (236, 1, 0x10001000, 0, 0x204),
    ]
    assert image.signed_bytes == A[: image.header.sign_offset]
    assert image.signature == A[image.header.sign_offset : image.header.image_offset]
    assert image.key_info is None
    assert image.platform_tlvs == ()


def test_images_of_a_file_with_two_follow_each_other() -> None:
    image = parse_image((IMAGES / "ca.bin").read_bytes())

    first, second = image.images
    assert first.offset == image.header.image_offset
    assert second.offset == first.offset + first.size
    assert second.offset + second.size == image.header.file_size


def test_key_info_and_platform_tlvs_are_found() -> None:
    image = parse_image((IMAGES / "b_info8_plat.bin").read_bytes())

    assert image.key_info == (IMAGES.parent / "elf" / "info8.bin").read_bytes()
    assert [(t.type, t.value) for t in image.platform_tlvs] == [(0x10000, b"text")]


@pytest.mark.parametrize("path", sorted(IMAGES.glob("*.bin")), ids=lambda p: p.stem)
def test_image_of_the_upstream_tool_has_no_problem(path: Path) -> None:
    assert scan_image(path.read_bytes()).problems == ()


BROKEN = {
    "no byte": (b"", "header-truncated", 0),
    "19 bytes": (A[:19], "header-truncated", 19),
    "an ELF file": (b"\x7fELF" + bytes(60), "magic", 0),
    "magic": (byte(A, 0, 0), "magic", 0),
    "version": (word(A, 4, 2), "version", 4),
    "no TLV area": (word(A, 8, 0), "empty-part", 8),
    "no signature": (word(A, 12, 0), "empty-part", 12),
    "no images": (word(A, 16, 0), "empty-part", 16),
    "4 GiB of TLVs": (word(A, 8, 0xFFFFFFF9), "tlv-area-size", 8),
    "4 GiB of signature": (word(A, 12, 0xFFFFFFF9), "truncated", len(A)),
    "4 GiB of images": (word(A, 16, 0xFFFFFFF8), "truncated", len(A)),
    "a byte less": (A[:-1], "truncated", len(A) - 1),
    "a byte more": (A + b"\0", "trailing-bytes", len(A)),
    "TLV longer than the area": (word(A, HASHTABLE + 4, TLV_LEN), "tlv-length", HASHTABLE + 4),
    "TLV length that wraps": (word(A, SIGNTYPE + 4, 0xFFFFFFFF), "tlv-length", SIGNTYPE + 4),
    "no SIGNTYPE": (without_tlv(A, SIGNTYPE, 16), "tlv-missing", 20),
    "no NUM_IMG": (without_tlv(A, NUM_IMG, 16), "tlv-missing", 20),
    "no IMGTYPE": (without_tlv(A, IMGTYPE, 16), "tlv-missing", 20),
    "no IMGSIZE": (without_tlv(A, IMGSIZE, 16), "tlv-missing", 20),
    "no HASHTABLE": (without_tlv(A, HASHTABLE, 200), "tlv-missing", 20),
    "SIGNTYPE of 2 bytes": (word(A, SIGNTYPE + 4, 2), "tlv-size", SIGNTYPE + 4),
    "signature type 3": (byte(A, SIGNTYPE + 8, 3), "sign-type", SIGNTYPE + 8),
    "RSA signature said to be ECDSA": (byte(A, SIGNTYPE + 8, 2), "signature-size", 12),
    "hash type 2": (byte(A, HASHTYPE + 8, 2), "hash-type", HASHTYPE + 8),
    "no image": (byte(A, NUM_IMG + 8, 0), "no-image", NUM_IMG + 8),
    "more images than types": (byte(A, NUM_IMG + 8, 2), "tlv-size", IMGTYPE + 4),
    "image type 2": (byte(A, IMGTYPE + 8, 2), "image-type", IMGTYPE + 8),
    "image size 0": (word(A, IMGSIZE + 8, 0), "image-size", IMGSIZE + 8),
    "image size that is no multiple of 8": (word(A, IMGSIZE + 8, 764), "image-size", IMGSIZE + 8),
    "image that ends behind the file": (word(A, IMGSIZE + 8, 776), "image-outside", IMGSIZE + 8),
    "image smaller than the image area": (word(A, IMGSIZE + 8, 760), "image-sum", 16),
    "hash table of 191 bytes": (word(A, HASHTABLE + 4, 191), "hash-table-size", HASHTABLE + 4),
    "empty hash table": (without_tlv(word(A, HASHTABLE + 4, 0), HASHTABLE + 8, 192), "hash-table-size", HASHTABLE + 4),
    "second SIGNTYPE": (with_tlv(A, build_tlv(TlvType.SIGNTYPE, b"\2")), "tlv-duplicate", 20 + TLV_LEN),
}


@pytest.mark.parametrize(("data", "code", "offset"), BROKEN.values(), ids=BROKEN)
def test_broken_image_is_refused_with_code_offset_and_hint(data: bytes, code: str, offset: int) -> None:
    error = refusal(data)

    assert (error.fields["code"], error.fields["offset"]) == (code, offset)
    assert error.fields["file"] == "fw.sign"
    assert error.fields["field"]
    assert error.hint
    assert f"0x{offset:08x}" in str(error)


def test_elf_file_in_place_of_a_signed_image_is_told_to_be_signed() -> None:
    assert "cosim sign FW.elf" in refusal(BROKEN["an ELF file"][0]).hint


@pytest.mark.parametrize(
    ("length", "part"), [(20, "TLV area"), (20 + TLV_LEN, "signature"), (20 + TLV_LEN + 512, "images")]
)
def test_truncation_names_the_part_in_which_the_file_ends(length: int, part: str) -> None:
    (problem,) = [p for p in scan_image(A[:length]).problems if p.code == "truncated"]

    assert problem.field == part


def test_image_without_hash_type_is_accepted_as_the_ta_does() -> None:
    assert parse_image(without_tlv(A, HASHTYPE, 16)).tlvs[-1].name == "HASHTABLE"


def test_file_larger_than_any_firmware_is_not_looked_into() -> None:
    scan = scan_image(A + bytes(64 << 20))

    assert [p.code for p in scan.problems] == ["file-size"]


def test_scan_of_a_broken_file_yields_no_image() -> None:
    with pytest.raises(ImageError):
        scan_image(b"").image()


def test_unknown_tlv_padding_and_leftover_are_warnings_only() -> None:
    strange = with_tlv(A, build_tlv(0x99, b"x"))
    strange = byte(strange, SIGNTYPE + 9, 0xEE)
    strange = word(strange[: 20 + TLV_LEN + 16] + bytes(8) + strange[20 + TLV_LEN + 16 :], 8, TLV_LEN + 20)

    problems = scan_image(strange).problems

    assert [(p.code, p.offset) for p in problems] == [
        ("tlv-padding", SIGNTYPE + 9),
        ("tlv-unknown", 20 + TLV_LEN),
        ("tlv-leftover", 20 + TLV_LEN + 16),
    ]
    assert {p.severity for p in problems} == {Severity.WARNING}
    assert parse_image(strange).tlvs[-1].name == "UNKNOWN"


def test_scan_reports_every_problem_at_once_and_keeps_the_rest() -> None:
    scan = scan_image(byte(word(word(A, 4, 9), IMGSIZE + 8, 0), HASHTYPE + 8, 7) + b"tail")

    assert [p.code for p in scan.problems] == ["version", "trailing-bytes", "hash-type", "image-size", "image-sum"]
    assert len(scan.hash_records) == 3


def test_many_tiny_tlvs_end_the_walk() -> None:
    area = build_tlv(0x10000, b"") * 5000
    data = struct.pack("<5I", MAGIC, 1, len(area), 512, 8) + area + bytes(520)

    assert "tlv-count" in [p.code for p in scan_image(data).problems]


def test_every_truncation_is_refused_with_its_own_length_or_before() -> None:
    for length in range(len(A)):
        error = refusal(A[:length])
        offset = error.fields["offset"]
        assert isinstance(offset, int)
        assert offset <= length


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), st.booleans())
def test_garbage_is_scanned_without_an_exception(data: bytes, with_header: bool) -> None:
    head = struct.pack("<5I", MAGIC, 1, 64, 64, 64) if with_header else b""

    scan = scan_image(head + data)

    if not any(p.severity is Severity.ERROR for p in scan.problems):
        parse_image(head + data)
    else:
        refusal(head + data)
