"""Inspection: says what a file is and everything that is wrong with it, and survives any input."""

from __future__ import annotations

import hashlib
import json
import struct
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cosim.inspection import Finding, HashCheck, Inspection, Kind, Severity, SignatureCheck, inspect
from cosim.resources import firmware_file
from ta.image import MAGIC, TlvType, parse_image
from ta.image_format import build_tlv
from ta.keys import load_private_key, load_public_key
from ta.signing import sign_images

VECTORS = Path(__file__).parent.parent / "vectors"
A_ELF = (VECTORS / "elf" / "a.elf").read_bytes()
A = (VECTORS / "images" / "a.bin").read_bytes()
A_TLV_LEN = struct.unpack_from("<I", A, 8)[0]
A_SIGNATURE = 20 + A_TLV_LEN
A_IMAGE = A_SIGNATURE + 512
TRUSTED = load_public_key(VECTORS / "keys" / "trusted4096.pub.pem")
SMALL_KEY = load_private_key(VECTORS / "keys" / "trusted2048.pem")

VECTORS_AT_0 = struct.pack("<2I", 0x10040000, 0x9) + b"\x00\xbf" * 12
TRACE_TABLE = struct.pack("<9I32s", 1, 1, 0, 0, 20, 2, 0x10048100, 0x100, 0, b"log")
EXIDX = 0x70000001


@dataclass
class Part:
    """A program header to build: load address, bytes, and what differs from a plain PT_LOAD."""

    paddr: int
    data: bytes = b""
    vaddr: int | None = None
    memsz: int | None = None
    p_type: int = 1


def build_elf(*parts: Part, table: Part | None = None, e_type: int = 2) -> bytes:
    """An ELF file with those program headers, and a .resource_table section over one of them."""
    at = 52 + 32 * len(parts)
    headers = body = b""
    table_at = 0
    for part in parts:
        data = part.data.ljust(-(-len(part.data) // 4) * 4, b"\0")
        vaddr = part.paddr if part.vaddr is None else part.vaddr
        memsz = len(part.data) if part.memsz is None else part.memsz
        headers += struct.pack("<8I", part.p_type, at, vaddr, part.paddr, len(part.data), memsz, 5, 4)
        table_at = at if part is table else table_at
        body += data
        at += len(data)
    names = b"\0.resource_table\0.shstrtab\0\0"
    sections = [bytes(40)]
    if table is not None:
        run = table.paddr if table.vaddr is None else table.vaddr
        sections.append(struct.pack("<10I", 1, 1, 2, run, table_at, len(table.data), 0, 0, 4, 0))
    sections.append(struct.pack("<10I", 17, 3, 0, 0, at, len(names), 0, 0, 1, 0))
    ident = b"\x7fELF\1\1\1" + bytes(9)
    shoff = at + len(names)
    counts = (52, 32, len(parts), 40, len(sections), len(sections) - 1)
    header = struct.pack("<16sHHIIIIIHHHHHH", ident, e_type, 40, 1, 0, 52, shoff, 0, *counts)
    return header + headers + body + names + b"".join(sections)


BOOT = Part(0, VECTORS_AT_0)


def codes(inspection: Inspection, severity: Severity | None = None) -> list[str]:
    return [f.code for f in inspection.findings if severity in (None, f.severity)]


def the(inspection: Inspection, code: str) -> Finding:
    """The one finding with that code."""
    (finding,) = [f for f in inspection.findings if f.code == code]
    assert finding.hint
    return finding


def signed(*elves: bytes) -> bytes:
    return sign_images(elves, SMALL_KEY)


def patch(data: bytes, offset: int, new: bytes) -> bytes:
    return data[:offset] + new + data[offset + len(new) :]


def test_signed_image_shows_header_tlvs_hashes_segments_and_table() -> None:
    inspection = inspect(A, "a.bin", TRUSTED)

    assert (inspection.kind, inspection.signature) == (Kind.SIGNED, SignatureCheck.VALID)
    assert codes(inspection) == ["isolated-bank", "isolated-bank"]
    (image,) = inspection.images
    assert [(s.segment.p_paddr, s.banks, s.pa, s.loadable, s.hash_check) for s in image.segments] == [
        (0x00000000, ("RETRAM",), 0x38000000, True, HashCheck.MATCH),
        (0x10000000, ("SRAM1",), 0x10000000, True, HashCheck.MATCH),
        (0x10001000, ("SRAM1",), 0x10001000, True, HashCheck.MATCH),
    ]
    assert image.vectors is not None
    assert image.vectors.reset == 0x41
    assert image.table is not None
    assert (image.table.run_address, image.table.load_address, image.table.size) == (0x10000000, 0x10000000, 0x8C)
    assert image.table.table is not None
    assert [e.type_name for e in image.table.table.entries] == ["VDEV", "TRACE"]


def test_json_of_a_signed_image_is_complete_and_plain() -> None:
    plain = json.loads(json.dumps(inspect(A, "a.bin", TRUSTED).as_dict()))

    assert plain["kind"] == "signed-image"
    assert plain["sha256"] == hashlib.sha256(A).hexdigest()
    assert plain["header"] == {"magic": MAGIC, "version": 1, "tlv_len": A_TLV_LEN, "sign_len": 512, "img_len": 768}
    assert [t["name"] for t in plain["tlvs"]][:2] == ["SIGNTYPE", "NUM_IMG"]
    assert plain["signature"] == {
        "type": "RSASSA_PKCS1_V1_5_SHA256", "size": 512, "offset": A_SIGNATURE, "check": "valid",
    }  # fmt: skip
    assert len(plain["hash_table"]) == 3
    segment = plain["images"][0]["segments"][1]
    assert (segment["type_name"], segment["banks"], segment["hash"]) == ("PT_LOAD", ["SRAM1"], "match")
    vdev, trace = plain["images"][0]["resource_table"]["entries"]
    assert (vdev["type_name"], len(vdev["vrings"]), trace["name"]) == ("VDEV", 2, "trace_a")
    assert plain["errors"] == 0
    assert plain["warnings"] == len([f for f in plain["findings"] if f["severity"] == "warning"])


def test_good_elf_is_only_told_that_it_is_unsigned() -> None:
    table = Part(0x10048000, TRACE_TABLE)

    inspection = inspect(build_elf(BOOT, table, table=table), "fw.elf")

    assert inspection.kind is Kind.ELF
    assert codes(inspection) == ["unsigned"]
    assert "cosim sign fw.elf" in the(inspection, "unsigned").hint
    assert inspection.images[0].segments[0].hash_check is HashCheck.NOT_SIGNED
    assert inspection.as_dict()["signature"] is None


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"", "empty"),
        (b"HSTO" + bytes(40), "Trusted Application"),
        (b":10000000", "Intel HEX"),
        (bytes(512), "neither"),
    ],
)
def test_file_of_another_kind_is_named(data: bytes, word: str) -> None:
    inspection = inspect(data, "file")

    assert inspection.kind is Kind.UNKNOWN
    assert word in the(inspection, "unknown-format").message
    assert inspection.images == ()


WRONG_ELVES = {
    "elf-machine": patch(A_ELF, 18, b"\xf3\0"),
    "elf-class": patch(A_ELF, 4, b"\2"),
    "elf-segment-data": patch(A_ELF, 56, b"\xff\xff\xff\0"),
    "elf-no-segments": patch(A_ELF, 44, b"\0\0"),
    "elf-shentsize": patch(A_ELF, 46, b"\0\0"),
    "segment-outside": build_elf(BOOT, Part(0x08100000, bytes(64))),
    "segment-spans": build_elf(BOOT, Part(0x1003FFF0, bytes(64))),
    "no-vectors": build_elf(Part(0x10000000, bytes(64))),
    "stack-pointer": build_elf(Part(0, struct.pack("<2I", 0x20020000, 9) + bytes(24))),
    "reset-thumb": build_elf(Part(0, struct.pack("<2I", 0x10040000, 8) + bytes(24))),
    "reset-vector": build_elf(Part(0, struct.pack("<2I", 0x10040000, 0x10000001) + bytes(24))),
    "segment-shadowed": build_elf(Part(0, b"\1" * 8, p_type=EXIDX), BOOT),
}


@pytest.mark.parametrize(("code", "data"), WRONG_ELVES.items(), ids=WRONG_ELVES)
def test_unusable_elf_is_an_error_with_a_hint(code: str, data: bytes) -> None:
    finding = the(inspect(data, "fw.elf"), code)

    assert finding.severity is Severity.ERROR


def test_file_without_segments_is_not_blamed_for_its_vectors() -> None:
    assert "no-vectors" not in codes(inspect(WRONG_ELVES["elf-no-segments"], "fw.o"))


def test_overlap_with_a_long_segment_is_found_behind_a_short_one() -> None:
    long, short, last = Part(0x10000000, bytes(256)), Part(0x10000010, bytes(16)), Part(0x10000080, bytes(16))

    found = [f for f in inspect(build_elf(BOOT, long, short, last), "fw.elf").findings if f.code == "segment-overlap"]

    assert [(f.segment, "segment 1 " in f.message) for f in found] == [(2, True), (3, True)]


def test_table_outside_the_file_is_one_finding() -> None:
    shoff = struct.unpack_from("<I", A_ELF, 32)[0]

    found = codes(inspect(patch(A_ELF, shoff + 3 * 40 + 16, struct.pack("<I", len(A_ELF))), "a.elf"), Severity.ERROR)

    assert found == ["table-outside-file", "table-not-loaded"]


def test_segment_of_another_part_says_which_part_it_was_linked_for() -> None:
    finding = the(inspect(WRONG_ELVES["segment-outside"], "fw.elf"), "segment-outside")

    assert finding.address == 0x08100000
    assert finding.segment == 1
    assert "STM32H7" in finding.message
    assert "ACCESS_DENIED" in finding.hint


def test_zeros_behind_the_data_must_lie_in_memory_too() -> None:
    finding = the(inspect(build_elf(BOOT, Part(0x1003FF00, bytes(16), memsz=0x200)), "fw.elf"), "segment-spans")

    assert finding.address == 0x1003FF10


def test_segment_of_size_zero_may_lie_anywhere() -> None:
    assert codes(inspect(build_elf(BOOT, Part(0x60000000)), "fw.elf"), Severity.ERROR) == []


@pytest.mark.parametrize("reset", [0x10000001, 0x30000001])
def test_reset_vector_may_point_through_either_alias(reset: int) -> None:
    boot = Part(0, struct.pack("<2I", 0x10040000, reset) + bytes(24))

    inspection = inspect(build_elf(boot, Part(0x10000000, bytes(64))), "fw.elf")

    assert codes(inspection, Severity.ERROR) == []


WARNED_ELVES = {
    "stack-align": build_elf(Part(0, struct.pack("<2I", 0x1003FFFC, 9) + bytes(24))),
    "segment-overlap": build_elf(BOOT, Part(0x10000000, bytes(64)), Part(0x30000020, bytes(64))),
    "run-address": build_elf(BOOT, Part(0x10000000, bytes(64), vaddr=0x20000000)),
    "elf-type": build_elf(BOOT, e_type=3),
    "elf-segment-align": patch(build_elf(BOOT), 28, struct.pack("<I", 54)),
}


@pytest.mark.parametrize(("code", "data"), WARNED_ELVES.items(), ids=WARNED_ELVES)
def test_suspicious_elf_is_warned_about(code: str, data: bytes) -> None:
    assert the(inspect(data, "fw.elf"), code).severity is Severity.WARNING


def test_exidx_behind_the_segment_that_it_belongs_to_hides_nothing() -> None:
    data = build_elf(BOOT, Part(0, b"\1" * 8, p_type=EXIDX))

    assert "segment-shadowed" not in codes(inspect(data, "fw.elf"))


def check_table(table: Part, *others: Part) -> Inspection:
    return inspect(build_elf(BOOT, *others, table, table=table), "fw.elf")


def test_table_loaded_elsewhere_than_it_runs_is_an_error_with_both_addresses() -> None:
    finding = the(check_table(Part(0x10000000, TRACE_TABLE, vaddr=0x10048000)), "table-run-address")

    assert finding.severity is Severity.ERROR
    assert finding.address == 0x10048000
    assert "0x10000000" in finding.message


def test_table_loaded_through_the_other_alias_is_fine() -> None:
    inspection = check_table(Part(0x10000000, TRACE_TABLE, vaddr=0x30000000))

    assert codes(inspection, Severity.ERROR) == []


def test_table_of_the_vectors_with_a_separate_load_address_is_found() -> None:
    data = (VECTORS / "elf" / "b.elf").read_bytes()

    assert the(inspect(data, "b.elf"), "table-run-address").address == 0x10020064


def test_table_outside_the_regions_is_an_error() -> None:
    assert the(check_table(Part(0x10000000, TRACE_TABLE, vaddr=0xC0000000)), "table-outside").address == 0xC0000000


def test_table_in_no_loaded_segment_is_an_error() -> None:
    assert the(check_table(Part(0x10048000, TRACE_TABLE, p_type=4)), "table-not-loaded").severity is Severity.ERROR


def test_table_and_trace_in_an_isolated_bank_are_warned_about() -> None:
    table = patch(TRACE_TABLE, 24, struct.pack("<I", 0x10030000))

    found = [f for f in check_table(Part(0x10000000, table)).findings if f.code == "isolated-bank"]

    assert [f.address for f in found] == [0x10000000, 0x10030000]


def test_trace_outside_the_memories_is_warned_about() -> None:
    table = patch(TRACE_TABLE, 24, struct.pack("<I", 0x20000000))

    assert the(check_table(Part(0x10048000, table)), "not-in-memory").address == 0x20000000


def test_broken_table_is_reported_at_its_file_offset() -> None:
    data = patch(A_ELF, 0x154, b"\2")

    assert the(inspect(data, "a.elf"), "table-version").offset == 0x154
    inside = signed(data)
    at = len(inside) - len(data) + 0x154
    assert the(inspect(inside, "a.sign"), "table-version").offset == at


def test_firmware_without_table_gets_a_note() -> None:
    assert the(inspect(build_elf(BOOT), "fw.elf"), "no-table").severity is Severity.NOTE


def test_flipped_byte_of_a_segment_is_found_by_its_hash() -> None:
    inspection = inspect(patch(A, A_IMAGE + 0x94, b"\xff"), "a.bin", TRUSTED)

    finding = the(inspection, "hash-mismatch")
    assert (finding.image, finding.segment) == (0, 0)
    assert "SECURITY" in finding.hint
    assert inspection.signature is SignatureCheck.VALID
    assert inspection.images[0].segments[0].hash_check is HashCheck.MISMATCH


def test_program_header_changed_after_signing_is_found() -> None:
    moved = patch(A, A_IMAGE + 52 + 12, struct.pack("<I", 0x100))

    assert the(inspect(moved, "a.bin"), "record-differs").severity is Severity.ERROR
    flags = patch(A, A_IMAGE + 52 + 24, struct.pack("<I", 7))
    assert the(inspect(flags, "a.bin"), "record-differs").severity is Severity.WARNING


def test_program_header_left_out_after_signing_is_found() -> None:
    fewer = patch(A, A_IMAGE + 44, struct.pack("<H", 2))

    finding = the(inspect(fewer, "a.bin"), "record-unused")

    assert finding.address == 0x10001000
    assert finding.severity is Severity.ERROR


def test_program_header_without_signed_record_is_found() -> None:
    small, large = build_elf(BOOT), build_elf(BOOT, Part(0x10000000, bytes(64)))
    image = parse_image(signed(small))
    swapped = signed(small)[: image.header.image_offset] + large

    assert "no-record" not in codes(inspect(signed(large), "fw.sign"))
    data = patch(swapped, 68 + 8, struct.pack("<I", len(large) + -len(large) % 8))
    assert the(inspect(data, "fw.sign"), "no-record").segment == 1


def test_two_normal_firmwares_in_one_file_hide_each_other() -> None:
    inspection = inspect((VECTORS / "images" / "ab.bin").read_bytes(), "ab.bin")

    found = [(f.image, f.segment) for f in inspection.findings if f.code == "segment-shadowed"]
    assert found == [(1, 0), (1, 1)]
    assert the(inspection, "table-second").image == 1


def test_helper_image_without_vectors_is_fine_beside_one_that_has_them() -> None:
    assert codes(inspect((VECTORS / "images" / "ad.bin").read_bytes(), "ad.bin"), Severity.ERROR) == []
    assert "no-vectors" in codes(inspect((VECTORS / "images" / "d.bin").read_bytes(), "d.bin"))


def test_wrong_key_and_key_of_another_kind_are_told_apart() -> None:
    other = load_public_key(VECTORS / "keys" / "other4096.pub.pem")
    ecc = load_public_key(VECTORS / "keys" / "ecc256.pub.pem")

    wrong, kind = inspect(A, "a.bin", other), inspect(A, "a.bin", ecc)

    assert (wrong.signature, the(wrong, "signature-wrong").offset) == (SignatureCheck.WRONG, A_SIGNATURE)
    assert (kind.signature, the(kind, "signature-key").offset) == (SignatureCheck.OTHER_KEY_KIND, A_SIGNATURE)


def test_content_that_was_changed_after_signing_is_told_from_another_key() -> None:
    changed = inspect(patch(A, 0x60, bytes([A[0x60] ^ 1])), "a.bin", TRUSTED)
    assert changed.signature is SignatureCheck.WRONG
    assert "changed since" in the(changed, "signature-content").message


def test_without_a_key_the_signature_is_not_judged() -> None:
    inspection = inspect(patch(A, A_SIGNATURE, bytes(8)), "a.bin")

    assert inspection.signature is None
    signature = inspection.as_dict()["signature"]
    assert isinstance(signature, dict)
    assert signature["check"] == "not-checked"


def test_ecdsa_image_is_warned_about_on_this_platform() -> None:
    key = load_public_key(VECTORS / "keys" / "ecc256.pub.pem")

    inspection = inspect((VECTORS / "images" / "a_ecc.bin").read_bytes(), "a_ecc.bin", key)

    assert inspection.signature is SignatureCheck.VALID
    assert the(inspection, "ecdsa").severity is Severity.WARNING


@pytest.mark.parametrize(("headers", "fits"), [(27, True), (28, False)])
def test_image_with_more_program_headers_than_the_ta_has_heap_for_is_warned_about(headers: int, fits: bool) -> None:
    parts = [BOOT, *(Part(0x10000000 + 16 * n, bytes(16)) for n in range(headers - 1))]

    inspection = inspect(signed(build_elf(*parts)), "fw.sign")

    assert ("ta-heap" not in codes(inspection)) is fits


def test_duplicate_unknown_and_missing_tlvs_are_all_reported() -> None:
    extra = build_tlv(TlvType.SIGNTYPE, b"\1") + build_tlv(0x99, b"")
    data = patch(A[:A_SIGNATURE] + extra + A[A_SIGNATURE:], 8, struct.pack("<I", A_TLV_LEN + len(extra)))
    data = patch(data, 84, struct.pack("<I", 0x10000))

    found = codes(inspect(data + b"tail", "a.bin"))

    assert {"tlv-duplicate", "tlv-unknown", "no-hash-type", "trailing-bytes"} <= set(found)


def test_number_of_findings_is_bounded() -> None:
    entries = 64
    body = struct.pack(f"<4I{entries}I", 1, entries, 0, 0, *[0xFFFFFFFF] * entries)
    tables = [Part(0x10048000, body)]
    elf = build_elf(BOOT, *tables, table=tables[0])

    inspection = inspect(signed(*[elf] * 4), "fw.sign")

    assert len(inspection.findings) == 201
    assert "more findings" in the(inspection, "more-findings").message


@pytest.mark.parametrize("name", ["a_rsa2048.bin", "ca.bin"])
def test_every_truncation_of_a_signed_image_is_inspected_and_found_broken(name: str) -> None:
    data = (VECTORS / "images" / name).read_bytes()
    key = load_public_key(VECTORS / "keys" / "trusted2048.pub.pem")
    for length in range(len(data)):
        inspection = inspect(data[:length], name, key)
        assert inspection.count(Severity.ERROR) >= 1
        inspection.as_dict()


def test_every_truncation_of_an_elf_is_inspected() -> None:
    for length in range(len(A_ELF)):
        inspection = inspect(A_ELF[:length], "a.elf")
        assert inspection.count(Severity.ERROR) >= 1
        inspection.as_dict()


@pytest.mark.parametrize("data", [A, A_ELF], ids=["signed", "elf"])
def test_every_byte_at_its_extremes_is_inspected(data: bytes) -> None:
    for at in range(len(data)):
        for value in (b"\0", b"\xff"):
            json.dumps(inspect(patch(data, at, value), "fw").as_dict())


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([A, A_ELF, b""]), st.lists(st.tuples(st.integers(0, 1600), st.binary(max_size=8)), max_size=6))
def test_garbage_is_inspected_without_an_exception(data: bytes, patches: list[tuple[int, bytes]]) -> None:
    for at, new in patches:
        data = patch(data, min(at, len(data)), new)

    json.dumps(inspect(data, "fw", TRUSTED).as_dict())


# -- what to change in the linker script -------------------------------------------------------------------------------


def test_an_image_in_the_layout_of_stm32cubemp1_is_told_what_linux_will_not_see_and_which_lines_to_change() -> None:
    inspection = inspect(firmware_file("demo_m4_cube.elf").read_bytes(), "fw.elf")

    assert codes(inspection) == ["unsigned", "table-run-address", "isolated-bank", "isolated-bank"]
    run = the(inspection, "table-run-address")
    assert (run.severity, run.section, run.address) == (Severity.ERROR, ".resource_table", 0x10020008)
    assert run.change is not None
    assert "> m_rsc_table" in run.change
    assert "ORIGIN = 0x10048000" in run.change
    table, trace = [f for f in inspection.findings if f.code == "isolated-bank"]
    assert (table.section, trace.section) == (".resource_table", ".bss")
    assert trace.change is not None
    assert trace.change.startswith(".log (NOLOAD)")
    assert json.loads(json.dumps(inspection.as_dict()))["findings"][1]["change"] == run.change


def test_the_layout_of_the_demo_needs_no_change() -> None:
    inspection = inspect(firmware_file("demo_m4.elf").read_bytes(), "fw.elf")
    assert [f.code for f in inspection.findings if f.change is not None] == []


@pytest.mark.parametrize(
    ("data", "code", "words"),
    [
        (build_elf(Part(0x10000000, b"\0" * 8)), "no-vectors", "> m_interrupts"),
        (build_elf(Part(0, struct.pack("<2I", 0x20001000, 0x9) + b"\0" * 8)), "stack-pointer", "_estack ="),
        (build_elf(Part(0, struct.pack("<2I", 0x10040000, 0x10000001))), "reset-vector", "> m_text"),
        (build_elf(BOOT, Part(0x08100000, b"\0" * 8)), "segment-outside", "MEMORY { m_interrupts"),
        (build_elf(BOOT, Part(0x10000000, b"12345678"), Part(0x30000004, b"1234")), "segment-overlap", "m_data (RW)"),
        (build_elf(Part(0, b"\1" * 8, p_type=EXIDX), BOOT), "segment-shadowed", ".ARM.exidx"),
    ],
)
def test_each_finding_about_the_layout_names_the_line_to_change(data: bytes, code: str, words: str) -> None:
    finding = next(f for f in inspect(data, "fw.elf").findings if f.code == code)
    assert finding.change is not None
    assert words in finding.change


def test_a_section_of_the_resource_table_without_bytes_is_a_warning_that_names_it() -> None:
    empty = Part(0x10048000, b"")
    finding = the(inspect(build_elf(BOOT, empty, table=empty), "fw.elf"), "table-empty")
    assert (finding.severity, finding.section) == (Severity.WARNING, ".resource_table")
    assert finding.change is not None
