"""Inspection of a firmware file: which kind it is, what is in it, and every problem it has, with a way out."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

from cosim.inspection import elf as elf_checks
from cosim.inspection import signed as signed_checks
from cosim.inspection.elf import Load
from cosim.inspection.linker import with_advice
from cosim.inspection.model import (
    Finding,
    HashCheck,
    ImageView,
    Inspection,
    Kind,
    SegmentView,
    TableView,
    Vectors,
)
from cosim.memory_map import da_to_pa, windows_of
from ta.image_elf import ELF_MAGIC, Elf, ElfScan, Segment, scan_elf
from ta.image_format import MAGIC, HashRecord, ImagePart
from ta.image_problem import Severity
from ta.image_scan import ImageScan, scan_image
from ta.keys import PublicKey
from ta.signing import SignatureCheck

__all__ = [
    "Finding",
    "HashCheck",
    "ImageView",
    "Inspection",
    "Kind",
    "SegmentView",
    "Severity",
    "SignatureCheck",
    "TableView",
    "Vectors",
    "inspect",
]

#: More findings than a person reads; a broken file can yield one per byte.
MAX_FINDINGS = 200

#: First bytes of files that people hand over by mistake.
_MISTAKEN = (
    (b"HSTO", "a signed OP-TEE Trusted Application (.ta)"),
    (b"STM2", "an STM32 boot image (.stm32)"),
    (b":", "an Intel HEX file"),
    (b"S0", "a Motorola S-record file"),
    (b"-----BEGIN", "a PEM file (a key or certificate)"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "gzip-compressed data"),
)


def inspect(data: bytes, name: str, public_key: PublicKey | None = None) -> Inspection:
    """Inspect a firmware file of any content and length; with a key, also say whether the signature verifies.

    Never raises because of the content of `data`. `name` is what the file is called in the result.
    """
    digest = hashlib.sha256(data).hexdigest()
    if data[:4] == ELF_MAGIC:
        views, findings = _inspect_images(data, [ImagePart(0, 1, 0, len(data))], None)
        hint = f"Sign it before you hand it to OP-TEE: `cosim sign {name} --key KEY.pem --out FW.sign`."
        findings.insert(0, Finding(Severity.WARNING, "unsigned", "an ELF file without signature", hint, 0))
        return Inspection(name, Kind.ELF, len(data), digest, None, None, tuple(views), _capped(findings))
    if data[:4] == MAGIC.to_bytes(4, "little"):
        return _inspect_signed(data, name, digest, public_key)
    return Inspection(name, Kind.UNKNOWN, len(data), digest, None, None, (), (_unknown(data),))


def _unknown(data: bytes) -> Finding:
    guess = next((text for start, text in _MISTAKEN if data.startswith(start)), "")
    if not data:
        guess = "an empty file"
    text = f"neither an ELF file nor a signed image{': this looks like ' + guess if guess else ''}"
    hint = "Give the ELF file from the linker, or what `cosim sign` made of it."
    return Finding(Severity.ERROR, "unknown-format", text, hint, 0)


def _inspect_signed(data: bytes, name: str, digest: str, key: PublicKey | None) -> Inspection:
    scan = scan_image(data)
    findings = [Finding.of(problem) for problem in scan.problems]
    findings += signed_checks.check_limits(scan)
    check = None if key is None else signed_checks.check_signature(scan, key)
    findings += signed_checks.signature_finding(scan, check, key)
    views, more = _inspect_images(data, scan.images, scan)
    return Inspection(name, Kind.SIGNED, len(data), digest, scan, check, tuple(views), _capped(findings + more))


def _capped(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    if len(findings) <= MAX_FINDINGS:
        return tuple(findings)
    text = f"{len(findings) - MAX_FINDINGS} more findings"
    rest = Finding(Severity.NOTE, "more-findings", text, "Repair the first ones, then inspect again.")
    return (*findings[:MAX_FINDINGS], rest)


def _inspect_images(
    data: bytes, parts: Sequence[ImagePart], scan: ImageScan | None
) -> tuple[list[ImageView], list[Finding]]:
    """Look into each ELF file, then at all of them together."""
    scans = [scan_elf(data[part.offset : part.offset + part.size]) for part in parts]
    segments = [s for elf_scan in scans if elf_scan.elf is not None for s in elf_scan.elf.segments]
    records = iter(signed_checks.match_records(segments, () if scan is None else scan.hash_records))
    views: list[ImageView] = []
    findings: list[Finding] = []
    for part, elf_scan in zip(parts, scans, strict=True):
        findings += [Finding.of(problem, base=part.offset, image=part.index) for problem in elf_scan.problems]
        view, more = _image(part, elf_scan, records, scan is not None)
        views.append(view)
        findings += more
    findings += _together(views, segments, scan)
    return views, with_advice(findings, views)


def _image(
    part: ImagePart, scan: ElfScan, records: Iterator[HashRecord | None], signed: bool
) -> tuple[ImageView, list[Finding]]:
    segment_views: list[SegmentView] = []
    findings: list[Finding] = []
    for segment, digest in _digests(scan.elf):
        record = next(records)
        hashed = signed_checks.check_hash(record, digest) if signed else HashCheck.NOT_SIGNED
        segment_views.append(_segment_view(segment, digest.hex(), hashed))
        if signed:
            findings += signed_checks.check_segment(Load(part.index, part.offset, segment), record, hashed)
    table, table_findings = elf_checks.read_table(scan, part.offset, part.index)
    vectors = elf_checks.read_vectors(scan.elf)
    view = ImageView(part.index, part.offset, part.size, scan.elf, tuple(segment_views), vectors, table)
    return view, findings + table_findings


def _digests(elf: Elf | None) -> Iterator[tuple[Segment, bytes]]:
    """Each segment with the SHA-256 of its bytes in the file."""
    if elf is not None:
        for segment in elf.segments:
            yield segment, hashlib.sha256(elf.segment_bytes(segment)).digest()


def _segment_view(segment: Segment, digest: str, hashed: HashCheck) -> SegmentView:
    banks = dict.fromkeys(w.bank.name for w in windows_of(segment.p_paddr, max(segment.p_memsz, 1)))
    inside = elf_checks.is_loadable(segment)
    return SegmentView(segment, tuple(banks), da_to_pa(segment.p_paddr), inside, digest, hashed)


def _together(views: Sequence[ImageView], segments: Sequence[Segment], scan: ImageScan | None) -> Iterator[Finding]:
    loads = elf_checks.loads_of(views)
    for view in views:
        yield from elf_checks.check_type(view)
    yield from elf_checks.check_memories(loads)
    headers: Sequence[Segment] | Sequence[HashRecord] = segments if scan is None else scan.hash_records
    yield from elf_checks.check_shadows(loads, [(h.p_type, h.p_paddr, h.p_filesz, h.p_memsz) for h in headers])
    if scan is not None:
        yield from signed_checks.check_unused(segments, scan.hash_records)
    yield from elf_checks.check_vectors(loads, views)
    yield from elf_checks.check_tables(views)
