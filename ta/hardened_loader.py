"""LOAD_FW of the hardened profile: authenticate, plan, write, and look at everything a second time.

Nothing is written before the whole plan stands, and everything is wiped when a later step fails. The second look
(`ta.second_look`, and another verification of the signature) shares no decision with the first. The upstream way is in
`ta.authentication` (shared for the header) and `ta.segment_loader`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from ta.authentication import (
    SignedHeader,
    check_copied_header,
    copy_header,
    copy_length,
    copy_lengths,
    signed_digest,
    step,
    verify_signature,
)
from ta.errors import CosimError
from ta.events import ImageAuthenticated, ResourceTableLocated, SegmentLoaded, SegmentRefused
from ta.heap import TaHeap
from ta.image_format import HASH_RECORD_SIZE, HEADER_SIZE
from ta.image_plan import Placement, PlannedTable, check_table, plan_segments, plan_table, split_images
from ta.ports import Sink
from ta.profile import PlatformTlvs
from ta.remoteproc_pta import RemoteprocPta
from ta.results import RefusedError
from ta.second_look import look_again
from ta.segment_loader import NO_TABLE, Located
from ta.shared_memory import ClientBuffer
from ta.signed_tlvs import Device, SignedTlvs, check_device, read_signed_tlvs
from ta.tlv import round_up_8


@dataclass(frozen=True)
class LoadedImage:
    """What a successful load left: the resource table, SHA-256 of header and TLVs, and the rollback version."""

    table: Located
    digest: bytes
    version: int


class HardenedLoader:
    """One LOAD_FW. Methods raise `RefusedError`; memory may have been written by then."""

    def __init__(
        self,
        *,
        pta: RemoteprocPta,
        heap: TaHeap,
        buffer: ClientBuffer,
        processor_id: int,
        platform_tlvs: PlatformTlvs,
        sink: Sink,
    ) -> None:
        self._pta = pta
        self._heap = heap
        self._buffer = buffer
        self._processor_id = processor_id
        self._device = Device(processor_id, pta.lowest_version, platform_tlvs)
        self._sink = sink

    def offered_digest(self) -> bytes:
        """SHA-256 over header and TLVs of the image in the buffer; nothing behind the signature is looked at."""
        length, start = self._begin()
        with self._heap.block(length, "the copy of header, TLVs and signature") as address:
            return signed_digest(check_copied_header(copy_header(self._buffer, length, start, address), self._buffer))

    def load(self) -> LoadedImage:
        """Authenticate the image and load it."""
        with step(self._sink, "header", "the header describes the file"):
            length, start = self._begin()
        with self._heap.block(length, "the copy of header, TLVs and signature") as address:
            with step(self._sink, "header-copy", f"{length} bytes copied to secure memory are consistent"):
                header = check_copied_header(copy_header(self._buffer, length, start, address), self._buffer)
            with step(self._sink, "signature", "the signature over header and TLVs is valid"):
                digest = verify_signature(header, self._heap, self._pta, self._processor_id)
            with step(self._sink, "tlv", "the TLVs are whole, known, and for this device"):
                tlvs = read_signed_tlvs(header.block.data[HEADER_SIZE : HEADER_SIZE + header.tlv_len])
                check_device(tlvs, self._device)
            with self._heap.block(HASH_RECORD_SIZE * len(tlvs.records), "the copy of the hash table"):
                return self._load(header, tlvs, digest)

    def _load(self, header: SignedHeader, tlvs: SignedTlvs, digest: bytes) -> LoadedImage:
        with step(self._sink, "elf-header", "the program headers are the signed ones"):
            parts = split_images(self._buffer, header.images_at, round_up_8(header.img_len), tlvs)
        with step(self._sink, "hash-table", "every signed segment has a place of its own"):
            placements = plan_segments(parts, self._translate, self._report_refused)
        with step(self._sink, "resource-table", "it lies in the bytes of a signed segment"):
            table = plan_table(self._buffer, parts, placements, tlvs.table)
        try:
            located = self._write_all(placements, table)
            self._look_again(header, located, tlvs.version or 0)
        except CosimError:
            self._pta.wipe("the load failed")
            raise
        self._sink(ImageAuthenticated(len(parts), len(placements), digest.hex()))
        return LoadedImage(located, digest, tlvs.version or 0)

    def _write_all(self, placements: Sequence[Placement], table: PlannedTable | None) -> Located:
        self._pta.prepare()
        for placement in placements:
            self._write(placement)
        return self._locate(table)

    def _look_again(self, header: SignedHeader, located: Located, version: int) -> None:
        """From the signed bytes and from memory: is this what was signed?"""
        signed = header.block.data[: HEADER_SIZE + round_up_8(header.tlv_len)]
        with step(self._sink, "segments-again", "every signed segment, and nothing else, lies in memory"):
            look_again(self._pta, self._device, signed, located, version)
        with step(self._sink, "signature-again", "a second, independent verification agrees"):
            self._pta.confirm_digest(header.sign_type(), hashlib.sha256(signed).digest(), header.signature())

    def _begin(self) -> tuple[int, bytes]:
        """Length of header, TLVs and signature, and the header bytes that it was taken from."""
        self._pta.capabilities(self._processor_id)
        tlv_len, sign_len, start = copy_lengths(self._buffer)
        return copy_length(self._buffer, tlv_len, sign_len), start

    def _translate(self, da: int, size: int) -> int:
        return self._pta.da_to_pa(self._processor_id, da, size)

    def _report_refused(self, placement: Placement, error: RefusedError) -> None:
        record = placement.record
        expected, actual = (str(error.fields.pop(name, "")) for name in ("expected", "actual"))
        place = (placement.image, placement.index, record.p_paddr, record.p_filesz, record.p_memsz)
        self._sink(SegmentRefused(*place, error.message, expected, actual))

    def _write(self, placement: Placement) -> None:
        """Copy a segment, check its hash where it lies, and zero the rest of its memory."""
        record = placement.record
        try:
            if record.p_filesz:
                self._pta.load_segment(
                    self._processor_id,
                    lambda: self._buffer.fetch(placement.source, record.p_filesz),
                    record.p_filesz,
                    record.p_paddr,
                    record.sha256,
                )
            if record.p_memsz > record.p_filesz:
                rest = record.p_memsz - record.p_filesz
                self._pta.set_memory(self._processor_id, record.p_paddr + record.p_filesz, rest, 0)
        except RefusedError as error:
            self._report_refused(placement, error)
            raise RefusedError(
                error.result,
                f"{placement.where}: {error.message}",
                hint=error.hint,
                segment=placement.index,
                address=record.p_paddr,
            ) from error
        place = (placement.image, placement.index, record.p_paddr, placement.pa, record.p_filesz, record.p_memsz)
        self._sink(SegmentLoaded(*place, record.sha256.hex(), record.p_flags))

    def _locate(self, table: PlannedTable | None) -> Located:
        """Check the loaded table and say where it is."""
        if table is None:
            self._sink(ResourceTableLocated(0, 0, 0, hashlib.sha256(b"").hexdigest()))
            return NO_TABLE
        content = self._pta.loaded(table.pa, table.size)
        check_table(content, table.size)
        self._sink(ResourceTableLocated(table.da, table.pa, table.size, hashlib.sha256(content).hexdigest()))
        return Located(table.pa, table.size)
