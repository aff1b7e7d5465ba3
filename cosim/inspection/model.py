"""What an inspection yields: the facts of a firmware file and the findings about it, ready for text and for JSON."""

from __future__ import annotations

import dataclasses
import enum
from dataclasses import dataclass

from ta.image_elf import Elf, Segment
from ta.image_problem import Problem, Severity
from ta.image_scan import ImageScan
from ta.resource_table import Resource, ResourceTable, Vdev
from ta.signing import SignatureCheck

Json = dict[str, object]


class Kind(enum.Enum):
    """Which kind of file it is."""

    SIGNED = "signed-image"
    ELF = "elf"
    UNKNOWN = "unknown"


class HashCheck(enum.Enum):
    """How the bytes of a segment compare to its signed record."""

    MATCH = "match"
    MISMATCH = "mismatch"
    NO_RECORD = "no-record"
    NOT_SIGNED = "not-signed"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something to tell the firmware's developer, with what to do about it.

    `offset` counts from the start of the file, `address` is a device address, `section` the ELF section it is about,
    `change` a line for the linker script; None where that says nothing.
    """

    severity: Severity
    code: str
    message: str
    hint: str
    offset: int | None = None
    address: int | None = None
    image: int | None = None
    segment: int | None = None
    section: str | None = None
    change: str | None = None

    @classmethod
    def of(cls, problem: Problem, *, base: int = 0, image: int | None = None) -> Finding:
        """The finding for a reader's problem in an image that starts at file offset `base`."""
        text = problem.message if image is None else f"image {image}: {problem.message}"
        return cls(problem.severity, problem.code, text, problem.hint, base + problem.offset, image=image)

    def as_dict(self) -> Json:
        """JSON-ready."""
        return {**dataclasses.asdict(self), "severity": self.severity.value}


@dataclass(frozen=True, slots=True)
class SegmentView:
    """A program header against the M4's memories: banks at its load address, A7 address, hash of its file bytes."""

    segment: Segment
    banks: tuple[str, ...]
    pa: int | None
    loadable: bool
    sha256: str
    hash_check: HashCheck

    def as_dict(self) -> Json:
        """JSON-ready; `loadable` says whether the TA has a region for all of a PT_LOAD."""
        return {
            **dataclasses.asdict(self.segment),
            "type_name": self.segment.type_name,
            "banks": list(self.banks),
            "pa": self.pa,
            "loadable": self.loadable,
            "sha256": self.sha256,
            "hash": self.hash_check.value,
        }


@dataclass(frozen=True, slots=True)
class Vectors:
    """The first two words of the vector table at device address 0."""

    initial_sp: int
    reset: int


@dataclass(frozen=True, slots=True)
class TableView:
    """The resource table: where it lies in the file, where it runs (reported by the TA) and where it is loaded."""

    offset: int
    size: int
    run_address: int
    load_address: int | None
    table: ResourceTable | None

    def as_dict(self) -> Json:
        """JSON-ready."""
        entries = [] if self.table is None else [_resource(entry) for entry in self.table.entries]
        return {
            "offset": self.offset,
            "size": self.size,
            "run_address": self.run_address,
            "load_address": self.load_address,
            "version": None if self.table is None else self.table.version,
            "num": None if self.table is None else self.table.num,
            "entries": entries,
        }


@dataclass(frozen=True, slots=True)
class ImageView:
    """One ELF file: the whole file, or one of those in a signed image, at file `offset`."""

    index: int
    offset: int
    size: int
    elf: Elf | None
    segments: tuple[SegmentView, ...]
    vectors: Vectors | None
    table: TableView | None

    def as_dict(self) -> Json:
        """JSON-ready."""
        return {
            "index": self.index,
            "offset": self.offset,
            "size": self.size,
            "machine": None if self.elf is None else self.elf.e_machine,
            "entry": None if self.elf is None else self.elf.e_entry,
            "segments": [s.as_dict() for s in self.segments],
            "vectors": None if self.vectors is None else dataclasses.asdict(self.vectors),
            "resource_table": None if self.table is None else self.table.as_dict(),
        }


@dataclass(frozen=True, slots=True)
class Inspection:
    """Everything an inspection found. `scan` is None unless it is a signed image, `signature` unless checked."""

    name: str
    kind: Kind
    size: int
    sha256: str
    scan: ImageScan | None
    signature: SignatureCheck | None
    images: tuple[ImageView, ...]
    findings: tuple[Finding, ...]

    def count(self, severity: Severity) -> int:
        """The number of findings of one severity."""
        return sum(f.severity is severity for f in self.findings)

    def as_dict(self) -> Json:
        """JSON-ready: numbers as integers, bytes in hex."""
        return {
            "name": self.name,
            "kind": self.kind.value,
            "size": self.size,
            "sha256": self.sha256,
            **_signed_part(self.scan, self.signature),
            "images": [image.as_dict() for image in self.images],
            "findings": [finding.as_dict() for finding in self.findings],
            "errors": self.count(Severity.ERROR),
            "warnings": self.count(Severity.WARNING),
        }


def _signed_part(scan: ImageScan | None, check: SignatureCheck | None) -> Json:
    if scan is None or scan.header is None:
        return {"header": None, "tlvs": [], "hash_table": [], "signature": None}
    tlvs = [
        {"offset": t.offset, "type": t.type, "name": t.name, "length": len(t.value), "value": t.value.hex()}
        for t in scan.tlvs
    ]
    signature = {
        "type": None if scan.sign_type is None else scan.sign_type.name,
        "size": scan.header.sign_len,
        "offset": scan.header.sign_offset,
        "check": "not-checked" if check is None else check.name.lower().replace("_", "-"),
    }
    records = [{**dataclasses.asdict(r), "sha256": r.sha256.hex()} for r in scan.hash_records]
    return {"header": dataclasses.asdict(scan.header), "tlvs": tlvs, "hash_table": records, "signature": signature}


def _resource(entry: Resource) -> Json:
    plain = {**dataclasses.asdict(entry), "type_name": entry.type_name}
    if isinstance(entry, Vdev):
        plain["config"] = entry.config.hex()
    return plain
