"""Layout of the signed image as construct definitions, and the plain facts that reading one yields.

Source: OP-TEE scripts/sign_rproc_fw.py and ta/remoteproc (drawn in `ta.image`). All numbers are little-endian.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

from construct import Bytes, Int32ul, Struct

MAGIC = 0x3543A468
VERSION = 1
HEADER_SIZE = 20
TLV_HEAD_SIZE = 8
HASH_RECORD_SIZE = 64
ALIGNMENT = 8

#: Largest ELF file that is signed or looked into; the memories of the processor hold less than 1 MiB.
MAX_IMAGE_SIZE = 16 << 20
#: Largest signed file that is looked into.
MAX_FILE_SIZE = 64 << 20
#: Largest TLV area, and most records in it; the TA's own 4 KiB heap ends far earlier.
MAX_TLV_LEN = 1 << 20
MAX_TLVS = 1024

FIRST_PLATFORM_TLV = 0x10000
LAST_PLATFORM_TLV = 0x1FFFF

HEADER = Struct("magic" / Int32ul, "version" / Int32ul, "tlv_len" / Int32ul, "sign_len" / Int32ul, "img_len" / Int32ul)
TLV_HEAD = Struct("type" / Int32ul, "length" / Int32ul)
PHDR_FIELDS = ("p_type", "p_offset", "p_vaddr", "p_paddr", "p_filesz", "p_memsz", "p_flags", "p_align")
HASH_RECORD = Struct(*(name / Int32ul for name in PHDR_FIELDS), "sha256" / Bytes(32))


class TlvType(enum.IntEnum):
    """TLV types that the TA knows; 0x10000..0x1FFFF belong to the platform."""

    SIGNTYPE = 0x01
    HASHTYPE = 0x02
    NUM_IMG = 0x03
    IMGTYPE = 0x04
    IMGSIZE = 0x05
    HASHTABLE = 0x10
    PKEYINFO = 0x11


TLV_NAMES: dict[int, str] = {t.value: t.name for t in TlvType}


class SignType(enum.IntEnum):
    """Values of SIGNTYPE."""

    RSASSA_PKCS1_V1_5_SHA256 = 1
    ECDSA_P256_SHA256 = 2


#: Signature lengths in bytes that can belong to a type: RSA modulus of 2048, 3072 or 4096 bits; r and s of P-256.
SIGNATURE_SIZES = {
    SignType.RSASSA_PKCS1_V1_5_SHA256: (256, 384, 512),
    SignType.ECDSA_P256_SHA256: (64,),
}

HASHTYPE_SHA256 = 1
IMGTYPE_ELF = 1


def round_up(size: int) -> int:
    """The next multiple of 8; parts of the file start on such a distance from the end of the header."""
    return -(-size // ALIGNMENT) * ALIGNMENT


def pad(data: bytes) -> bytes:
    """`data` filled with zeros to a multiple of 8."""
    return data.ljust(round_up(len(data)), b"\0")


@dataclass(frozen=True, slots=True)
class Header:
    """The 20-byte header; lengths in bytes, offsets count from the start of the file."""

    magic: int
    version: int
    tlv_len: int
    sign_len: int
    img_len: int

    @property
    def sign_offset(self) -> int:
        """Where the signature starts, and what it covers ends."""
        return HEADER_SIZE + round_up(self.tlv_len)

    @property
    def image_offset(self) -> int:
        """Where the first image starts."""
        return self.sign_offset + round_up(self.sign_len)

    @property
    def file_size(self) -> int:
        """The only file size that the TA accepts."""
        return self.image_offset + round_up(self.img_len)


@dataclass(frozen=True, slots=True)
class Tlv:
    """One TLV record; `offset` is the file offset of its type word, the value follows 8 bytes later."""

    offset: int
    type: int
    value: bytes

    @property
    def value_offset(self) -> int:
        """File offset of the value."""
        return self.offset + TLV_HEAD_SIZE

    @property
    def is_platform(self) -> bool:
        """Whether the type lies in the range left to the platform."""
        return FIRST_PLATFORM_TLV <= self.type <= LAST_PLATFORM_TLV

    @property
    def name(self) -> str:
        """SIGNTYPE, …, PLATFORM or UNKNOWN."""
        if self.is_platform:
            return "PLATFORM"
        return TLV_NAMES.get(self.type, "UNKNOWN")


@dataclass(frozen=True, slots=True)
class ImagePart:
    """One image inside the file: `size` bytes at file `offset`, including its pad to 8."""

    index: int
    type: int
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class HashRecord:
    """One signed record of HASHTABLE: a program header (Elf32_Phdr order) and the SHA-256 of its file bytes."""

    offset: int
    p_type: int
    p_offset: int
    p_vaddr: int
    p_paddr: int
    p_filesz: int
    p_memsz: int
    p_flags: int
    p_align: int
    sha256: bytes


@dataclass(frozen=True, slots=True)
class SignedImage:
    """A signed image that is well-formed; nothing is said about its signature or the ELF files inside."""

    header: Header
    tlvs: tuple[Tlv, ...]
    sign_type: SignType
    images: tuple[ImagePart, ...]
    hash_records: tuple[HashRecord, ...]
    signature: bytes
    signed_bytes: bytes  # header and padded TLV area: what the signature covers

    @property
    def key_info(self) -> bytes | None:
        """The value of PKEYINFO, None when the file has none."""
        return next((t.value for t in self.tlvs if t.type == TlvType.PKEYINFO), None)

    @property
    def platform_tlvs(self) -> tuple[Tlv, ...]:
        """The records in the platform's range."""
        return tuple(t for t in self.tlvs if t.is_platform)


def read_header(data: bytes) -> Header:
    """The header in the first 20 bytes of `data`, unchecked."""
    raw = HEADER.parse(data[:HEADER_SIZE])
    return Header(raw.magic, raw.version, raw.tlv_len, raw.sign_len, raw.img_len)


def read_hash_records(value: bytes, offset: int) -> tuple[HashRecord, ...]:
    """The whole records in the value of a HASHTABLE that lies at file `offset`; an odd rest is left out."""
    records = []
    for start in range(0, len(value) - HASH_RECORD_SIZE + 1, HASH_RECORD_SIZE):
        raw = HASH_RECORD.parse(value[start : start + HASH_RECORD_SIZE])
        words: dict[str, int] = {name: raw[name] for name in PHDR_FIELDS}
        records.append(HashRecord(offset + start, **words, sha256=raw.sha256))
    return tuple(records)


def build_tlv(tlv_type: int, value: bytes) -> bytes:
    """One TLV record, padded."""
    head: bytes = TLV_HEAD.build({"type": tlv_type, "length": len(value)})
    return pad(head + value)


def build_hash_record(program_header: Sequence[int], sha256: bytes) -> bytes:
    """One hash record from the eight words of an Elf32_Phdr and the digest of its file bytes."""
    record: bytes = HASH_RECORD.build({**dict(zip(PHDR_FIELDS, program_header, strict=True)), "sha256": sha256})
    return record


def build_signed_part(tlv_area: bytes, *, sign_len: int, img_len: int) -> bytes:
    """Header and TLV area: exactly the bytes that the signature covers."""
    fields = {"magic": MAGIC, "version": VERSION, "tlv_len": len(tlv_area), "sign_len": sign_len, "img_len": img_len}
    header: bytes = HEADER.build(fields)
    return header + pad(tlv_area)
