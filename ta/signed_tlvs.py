"""The TLVs of an authenticated header as the hardened profile reads them: all of them, each once, nothing unknown.

Platform TLVs of this device (signed, so the TA may trust them; little-endian words)::

    0x1C000 PROCESSOR_ID  4 bytes   the remote processor that the image is for
    0x1C001 VERSION       4 bytes   rollback version; an image without the record has version 0
    0x1C002 RSC_TABLE     8 bytes   load address (device address) and size of the resource table, 0 and 0 without one

0x1C000..0x1C0FF is critical: a record there that is not known is refused, because it may restrict where the image may
run. The other platform types are the vendor's own and pass.
"""

from __future__ import annotations

import enum
import struct
from dataclasses import dataclass

from ta.image_format import (
    FIRST_PLATFORM_TLV,
    HASH_RECORD_SIZE,
    HASHTYPE_SHA256,
    IMGTYPE_ELF,
    LAST_PLATFORM_TLV,
    TLV_HEAD_SIZE,
    TlvType,
)
from ta.profile import PlatformTlvs
from ta.results import RefusedError, TeeResult
from ta.tlv import round_up_8

FIRST_CRITICAL_TLV = 0x1C000
LAST_CRITICAL_TLV = 0x1C0FF


class PlatformTlv(enum.IntEnum):
    """Platform TLV types that the hardened profile understands."""

    PROCESSOR_ID = 0x1C000
    VERSION = 0x1C001
    RSC_TABLE = 0x1C002


@dataclass(frozen=True)
class SignedRecord:
    """A record of the hash table: a whole program header, its 32 bytes as they were signed, and the SHA-256."""

    header: bytes
    p_type: int
    p_offset: int
    p_vaddr: int
    p_paddr: int
    p_filesz: int
    p_memsz: int
    p_flags: int
    sha256: bytes


@dataclass(frozen=True)
class SignedTlvs:
    """What the signer said: sizes of the images in bytes, the hash table, and the platform's records (None: absent)."""

    sizes: tuple[int, ...]
    records: tuple[SignedRecord, ...]
    processor_id: int | None
    version: int | None
    table: tuple[int, int] | None


@dataclass(frozen=True)
class Device:
    """What the platform's records are held against: processor id, rollback counter, and whether they must be there."""

    processor_id: int
    lowest_version: int
    platform_tlvs: PlatformTlvs


def check_device(tlvs: SignedTlvs, device: Device) -> None:
    """The image is for this processor and not older than what ran here. Raises SECURITY."""
    if device.platform_tlvs is PlatformTlvs.REQUIRED and None in (tlvs.processor_id, tlvs.version, tlvs.table):
        raise RefusedError(
            TeeResult.SECURITY,
            "the image does not say which processor and version it is, and this device insists on it",
            hint="sign it with `cosim sign --processor 0 --version N`",
        )
    if tlvs.processor_id not in (None, device.processor_id):
        raise RefusedError(
            TeeResult.SECURITY,
            f"the image is for remote processor {tlvs.processor_id}, not {device.processor_id}",
            hint="sign it with the right --processor",
            tlv="PROCESSOR_ID",
        )
    if (tlvs.version or 0) < device.lowest_version:
        raise RefusedError(
            TeeResult.SECURITY,
            f"rollback: the image has version {tlvs.version or 0}, this device ran {device.lowest_version}",
            hint="sign it with a higher --version",
            tlv="VERSION",
        )


def read_signed_tlvs(area: bytes) -> SignedTlvs:
    """Read a whole TLV area. Raises BAD_PARAMETERS, BAD_FORMAT or NO_DATA."""
    values = _walk(area)
    if values.get(TlvType.HASHTYPE) != bytes([HASHTYPE_SHA256]):
        raise _refuse(TeeResult.BAD_PARAMETERS, "the hash table is not of SHA-256 digests", "HASHTYPE")
    table = _present(values, TlvType.HASHTABLE)
    if len(table) % HASH_RECORD_SIZE:
        raise _refuse(
            TeeResult.BAD_PARAMETERS,
            f"the hash table has {len(table)} bytes, not a multiple of {HASH_RECORD_SIZE}",
            "HASHTABLE",
        )
    number = _present(values, TlvType.NUM_IMG)
    if len(number) != 1:
        raise _refuse(TeeResult.BAD_FORMAT, f"NUM_IMG has {len(number)} bytes instead of 1", "NUM_IMG")
    if not number[0]:
        raise _refuse(TeeResult.NO_DATA, "NUM_IMG is 0", "NUM_IMG")
    types = _sized(values, TlvType.IMGTYPE, number[0])
    if set(types) != {IMGTYPE_ELF}:
        raise _refuse(TeeResult.BAD_FORMAT, "an image is of a type other than ELF (1)", "IMGTYPE")
    sizes = struct.unpack(f"<{number[0]}I", _sized(values, TlvType.IMGSIZE, 4 * number[0]))
    place = _words(values, PlatformTlv.RSC_TABLE, 2)
    return SignedTlvs(
        sizes,
        tuple(_record(table[at : at + HASH_RECORD_SIZE]) for at in range(0, len(table), HASH_RECORD_SIZE)),
        _word(values, PlatformTlv.PROCESSOR_ID),
        _word(values, PlatformTlv.VERSION),
        (place[0], place[1]) if place else None,
    )


def _walk(area: bytes) -> dict[int, bytes]:
    """Type → value. Raises BAD_PARAMETERS for a record that is cut, repeated or unknown."""
    values: dict[int, bytes] = {}
    at = 0
    while at < len(area):
        if at + TLV_HEAD_SIZE > len(area):
            raise _refuse(TeeResult.BAD_PARAMETERS, "bytes that are no record follow the last TLV", "")
        kind, length = struct.unpack_from("<II", area, at)
        end = at + TLV_HEAD_SIZE + length
        if end > len(area):
            raise _refuse(TeeResult.BAD_PARAMETERS, f"TLV 0x{kind:x} ends outside the TLV area", f"0x{kind:x}")
        if kind in values:
            raise _refuse(TeeResult.BAD_PARAMETERS, f"TLV 0x{kind:x} is there twice", f"0x{kind:x}")
        if not _known(kind):
            raise _refuse(TeeResult.BAD_PARAMETERS, f"TLV 0x{kind:x} is unknown to this device", f"0x{kind:x}")
        values[kind] = area[at + TLV_HEAD_SIZE : end]
        at = at + TLV_HEAD_SIZE + round_up_8(length)
    return values


_PLATFORM_TLVS, _TLV_TYPES = frozenset(PlatformTlv), frozenset(TlvType)


def _known(kind: int) -> bool:
    if FIRST_CRITICAL_TLV <= kind <= LAST_CRITICAL_TLV:
        return kind in _PLATFORM_TLVS
    return kind in _TLV_TYPES or FIRST_PLATFORM_TLV <= kind <= LAST_PLATFORM_TLV


def _present(values: dict[int, bytes], kind: TlvType) -> bytes:
    value = values.get(kind)
    if not value:
        raise _refuse(TeeResult.NO_DATA, f"the TLVs have no {kind.name}", kind.name)
    return value


def _sized(values: dict[int, bytes], kind: TlvType, length: int) -> bytes:
    value = _present(values, kind)
    if len(value) != length:
        raise _refuse(TeeResult.BAD_PARAMETERS, f"{kind.name} has {len(value)} bytes instead of {length}", kind.name)
    return value


def _words(values: dict[int, bytes], kind: PlatformTlv, count: int) -> tuple[int, ...]:
    """The words of a platform record, () when it is absent."""
    value = values.get(kind)
    if value is None:
        return ()
    if len(value) != 4 * count:
        raise _refuse(TeeResult.BAD_PARAMETERS, f"{kind.name} has {len(value)} bytes, not {4 * count}", kind.name)
    return struct.unpack(f"<{count}I", value)


def _word(values: dict[int, bytes], kind: PlatformTlv) -> int | None:
    return next(iter(_words(values, kind, 1)), None)


def _record(raw: bytes) -> SignedRecord:
    p_type, p_offset, p_vaddr, p_paddr, p_filesz, p_memsz, p_flags, _, sha256 = struct.unpack("<8I32s", raw)
    return SignedRecord(raw[:32], p_type, p_offset, p_vaddr, p_paddr, p_filesz, p_memsz, p_flags, sha256)


def _refuse(result: TeeResult, reason: str, tlv: str) -> RefusedError:
    return RefusedError(result, reason, hint="sign the ELF file again with `cosim sign`", tlv=tlv)
