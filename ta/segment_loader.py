"""Loading of the images behind an authenticated header, upstream: segments by the hash table, then the resource table.

Order and results as in `remoteproc_load_elf` of OP-TEE's remoteproc TA. Nothing of the ELF file itself is signed: a
segment counts only through the record of the hash table that it matches.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from dataclasses import dataclass

from ta.authentication import SignedHeader, step
from ta.elf32 import PT_LOAD, ImageView, Segment, TableSection, check_header, find_resource_table, segments
from ta.events import ResourceTableLocated, SegmentLoaded, SegmentRefused
from ta.heap import TaHeap
from ta.image_format import HASH_RECORD_SIZE, IMGTYPE_ELF, TlvType
from ta.ports import Sink
from ta.remoteproc_pta import RemoteprocPta
from ta.results import RefusedError, TeeResult
from ta.shared_memory import ClientBuffer


@dataclass(frozen=True)
class HashRecord:
    """One record of the signed hash table: fields of the program header and the SHA-256 of its file bytes."""

    p_type: int
    p_paddr: int
    p_filesz: int
    p_memsz: int
    p_flags: int
    sha256: bytes


@dataclass(frozen=True)
class Located:
    """Where GET_RSC_TABLE will say the resource table is: A7 physical address and size, 0 and 0 when there is none."""

    pa: int = 0
    size: int = 0


NO_TABLE = Located()


@dataclass(frozen=True)
class LoadReport:
    """What was loaded: numbers of images and PT_LOAD segments."""

    images: int
    segments: int


class SegmentLoader:
    """Loads the images of one LOAD_FW.

    `locate` is called with the resource table as soon as it is known, because upstream keeps it even when a later image
    fails. Raises `RefusedError` and `TaDeathError`.
    """

    def __init__(
        self,
        *,
        pta: RemoteprocPta,
        heap: TaHeap,
        buffer: ClientBuffer,
        header: SignedHeader,
        processor_id: int,
        locate: Callable[[Located], None],
        sink: Sink,
    ) -> None:
        self._pta = pta
        self._heap = heap
        self._buffer = buffer
        self._header = header
        self._processor_id = processor_id
        self._locate = locate
        self._sink = sink
        self._located = NO_TABLE
        self._records: list[HashRecord] = []
        self._count = 0

    def load(self) -> LoadReport:
        """Check the first ELF header, fetch the hash table and load image after image."""
        with step(self._sink, "elf-header", "the first image is a 32-bit ELF file"):
            check_header(ImageView(self._buffer, self._header.images_at), self._header.img_len)
        with step(self._sink, "hash-table", "the signed hash table is well-formed"):
            table = self._hash_table()
        with self._heap.block(len(table), "the copy of the hash table"):
            self._records = _records(table)
            with step(self._sink, "tlv", "NUM_IMG is present"):
                images = self._number_of_images()
            self._relocate(NO_TABLE)
            offset = 0
            for index in range(images):
                with step(self._sink, "tlv", f"image {index} is an ELF file of known size"):
                    size = self._image_size(images, index)
                self._load_image(index, offset, size)
                offset += size
        if self._located == NO_TABLE:
            self._sink(ResourceTableLocated(0, 0, 0, hashlib.sha256(b"").hexdigest()))
        return LoadReport(images, self._count)

    def _hash_table(self) -> bytes:
        table = self._header.tlvs.find(TlvType.HASHTABLE)
        if not table:
            raise RefusedError(TeeResult.NO_DATA, "the TLVs have no hash table (HASHTABLE)", tlv="HASHTABLE")
        if len(table) % HASH_RECORD_SIZE:
            raise RefusedError(
                TeeResult.BAD_PARAMETERS,
                f"the hash table has {len(table)} bytes, not a multiple of {HASH_RECORD_SIZE}",
                tlv="HASHTABLE",
            )
        return table

    def _number_of_images(self) -> int:
        value = self._header.tlvs.find(TlvType.NUM_IMG)
        if not value:
            raise RefusedError(TeeResult.NO_DATA, "the TLVs do not say how many images there are", tlv="NUM_IMG")
        if len(value) != 1:
            raise RefusedError(TeeResult.BAD_FORMAT, f"NUM_IMG has {len(value)} bytes instead of 1", tlv="NUM_IMG")
        if not value[0]:
            raise RefusedError(TeeResult.NO_DATA, "NUM_IMG is 0", tlv="NUM_IMG")
        return value[0]

    def _image_size(self, images: int, index: int) -> int:
        """The signed size of image `index`, once its type is known to be ELF."""
        types = self._per_image(TlvType.IMGTYPE, images)
        if types[index] != IMGTYPE_ELF:
            raise RefusedError(
                TeeResult.BAD_FORMAT, f"image {index} has type {types[index]}, only ELF (1) is known", tlv="IMGTYPE"
            )
        size: int = struct.unpack_from("<I", self._per_image(TlvType.IMGSIZE, 4 * images), 4 * index)[0]
        return size

    def _per_image(self, kind: TlvType, length: int) -> bytes:
        value = self._header.tlvs.find(kind)
        if not value:
            raise RefusedError(TeeResult.NO_DATA, f"the TLVs have no {kind.name}", tlv=kind.name)
        if len(value) != length:
            raise RefusedError(
                TeeResult.BAD_PARAMETERS, f"{kind.name} has {len(value)} bytes instead of {length}", tlv=kind.name
            )
        return value

    def _load_image(self, index: int, offset: int, size: int) -> None:
        image = ImageView(self._buffer, self._header.images_at + offset)
        for segment in segments(image, size):
            self._load_segment(index, offset, segment)
        with step(self._sink, "resource-table", f"image {index}: checked"):
            table = find_resource_table(image, size)
            if table is not None:
                self._place_table(image, table)

    def _load_segment(self, image: int, offset: int, segment: Segment) -> None:
        try:
            record = self._record_of(offset, segment)
            pa, digest = self._write_segment(offset, segment, record)
        except RefusedError as error:
            where = f"segment {segment.index} at 0x{segment.da:08x}"
            where = f"image {image}, {where}" if image else where
            expected, actual = (str(error.fields.pop(name, "")) for name in ("expected", "actual"))
            self._sink(
                SegmentRefused(
                    image, segment.index, segment.da, segment.filesz, segment.memsz, error.message, expected, actual
                )
            )
            raise RefusedError(
                error.result, f"{where}: {error.message}", hint=error.hint, segment=segment.index, address=segment.da
            ) from error
        self._count += 1
        self._sink(
            SegmentLoaded(
                image, segment.index, segment.da, pa, segment.filesz, segment.memsz, digest.hex(), record.p_flags
            )
        )

    def _record_of(self, offset: int, segment: Segment) -> HashRecord:
        """The first signed record with the segment's load address; the rest of the segment must agree with it (A15)."""
        for record in self._records:
            if record.p_paddr != segment.da:
                continue
            if record.p_type != PT_LOAD:
                raise _mismatch(f"the signed program header for this address has type 0x{record.p_type:x}, not PT_LOAD")
            if (record.p_filesz, record.p_memsz) != (segment.filesz, segment.memsz):
                raise _mismatch(
                    f"sizes {segment.filesz}/{segment.memsz} differ from the signed {record.p_filesz}/{record.p_memsz}"
                )
            if offset + segment.offset + segment.filesz > self._header.img_len:
                raise _mismatch("its data lie outside the signed image area")
            return record
        raise RefusedError(
            TeeResult.NO_DATA,
            "no record of the signed hash table has this load address",
            hint="the ELF file is not the one that was signed",
        )

    def _write_segment(self, offset: int, segment: Segment, record: HashRecord) -> tuple[int, bytes]:
        """Copy and zero-fill; returns the physical address (0 for an empty segment) and the SHA-256 of the copy."""
        pa, digest = 0, hashlib.sha256(b"").digest()
        if segment.filesz:
            source = self._header.images_at + offset + segment.offset
            pa = self._pta.load_segment(
                self._processor_id,
                lambda: self._buffer.fetch(source, segment.filesz),
                segment.filesz,
                segment.da,
                record.sha256,
            )
            digest = record.sha256
        if segment.memsz > segment.filesz:
            start = (segment.da + segment.filesz) % (1 << 32)
            self._pta.set_memory(self._processor_id, start, segment.memsz - segment.filesz, 0)
            pa = pa or self._pta.da_to_pa(self._processor_id, start, segment.memsz - segment.filesz)
        return pa, digest

    def _place_table(self, image: ImageView, table: TableSection) -> None:
        try:
            pa = self._pta.da_to_pa(self._processor_id, table.da, table.size)
        except RefusedError as error:
            raise RefusedError(
                TeeResult.ACCESS_DENIED,
                f"the resource table at 0x{table.da:08x} is not inside one memory region of the Cortex-M4",
                hint=error.hint,
                address=table.da,
            ) from error
        if self._located != NO_TABLE:
            raise RefusedError(TeeResult.BAD_FORMAT, "more than one image has a resource table")
        self._relocate(Located(pa, table.size))
        digest = hashlib.sha256(image.buffer.peek(image.base + table.offset, table.size)).hexdigest()
        self._sink(ResourceTableLocated(table.da, pa, table.size, digest))

    def _relocate(self, located: Located) -> None:
        self._located = located
        self._locate(located)


def _records(table: bytes) -> list[HashRecord]:
    records = []
    for p_type, _, _, p_paddr, p_filesz, p_memsz, p_flags, _, sha256 in struct.iter_unpack("<8I32s", table):
        records.append(HashRecord(p_type, p_paddr, p_filesz, p_memsz, p_flags, sha256))
    return records


def _mismatch(reason: str) -> RefusedError:
    return RefusedError(TeeResult.BAD_PARAMETERS, reason, hint="the ELF file is not the one that was signed")
