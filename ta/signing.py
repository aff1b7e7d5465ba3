"""Signing ELF files into one image as OP-TEE's scripts/sign_rproc_fw.py does, and checking signatures.

An image whose ELF file has a resource table gets one record more, which the upstream TA skips; without it the image
equals the one of the upstream tool byte for byte.
"""

from __future__ import annotations

import enum
import hashlib
import struct
from collections.abc import Sequence

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils

from ta.errors import ImageError, KeyFileError
from ta.image_elf import read_elf
from ta.image_format import (
    FIRST_PLATFORM_TLV,
    HASHTYPE_SHA256,
    IMGTYPE_ELF,
    LAST_PLATFORM_TLV,
    MAX_FILE_SIZE,
    MAX_TLV_LEN,
    MAX_TLVS,
    SignedImage,
    SignType,
    TlvType,
    build_hash_record,
    build_signed_part,
    build_tlv,
    pad,
)
from ta.keys import PrivateKey, PublicKey, key_type_of
from ta.resource_table import find_in_elf
from ta.signed_tlvs import PlatformTlv

MAX_IMAGES = 255

_SHA256 = hashes.SHA256()


class SignatureCheck(enum.Enum):
    """How a signature check ended, and why."""

    VALID = "valid"
    WRONG = "wrong: another key signed this, or header or TLVs were changed"
    OTHER_KEY_KIND = "the key is of another kind or size than the signature"


def sign_images(
    elves: Sequence[bytes],
    key: PrivateKey,
    *,
    key_info: bytes | None = None,
    platform_tlvs: Sequence[tuple[int, bytes]] = (),
    sign_table_place: bool = True,
) -> bytes:
    """Sign one or more ELF files into one image; `platform_tlvs` are (type, value), a repeated type keeps the last.

    With `sign_table_place` the one ELF file that has a resource table makes the record RSC_TABLE, which the hardened
    profile insists on; without it the result is exactly the upstream tool's.

    RSA signs deterministically (PKCS#1 v1.5, SHA-256), ECDSA P-256 as raw r||s with a fresh random number.
    Raises ImageError (`field`, `offset`) for an unusable ELF file or TLV, KeyFileError for an unusable key.
    """
    if not 1 <= len(elves) <= MAX_IMAGES:
        hint = f"Give 1 to {MAX_IMAGES} ELF files."
        raise ImageError(f"cannot sign {len(elves)} images into one file", hint=hint, field="NUM_IMG")
    key_type_of(key)
    places = _table_places(elves) if sign_table_place else []
    if len(places) == 1:
        # No TA loads an image with several tables, so there is no place to sign for it.
        platform_tlvs = [(PlatformTlv.RSC_TABLE, places[0]), *platform_tlvs]
    images = [pad(elf) for elf in elves]
    total = sum(map(len, images))
    if total > MAX_FILE_SIZE:
        hint = f"Strip debug information; at most {MAX_FILE_SIZE} bytes fit."
        raise ImageError(f"the images have {total} bytes together", hint=hint, field="img_len")
    tlv_area = _tlv_area(elves, images, _sign_type(key), key_info, _platform(platform_tlvs))
    if len(tlv_area) > MAX_TLV_LEN:
        text = f"the TLV area has {len(tlv_area)} bytes, at most {MAX_TLV_LEN} fit"
        raise ImageError(text, hint="Sign fewer images together, or shorten key info and TLVs.", field="tlv_len")
    signed = build_signed_part(tlv_area, sign_len=_signature_size(key), img_len=total)
    return signed + pad(_sign(signed, key)) + b"".join(images)


def binding_tlvs(elves: Sequence[bytes], processor_id: int, version: int) -> list[tuple[int, bytes]]:
    """The platform TLVs that bind an image to a processor, a rollback version, and the place of its resource table.

    Only the hardened profile heeds them (`ta.signed_tlvs`). Raises ImageError for a number beyond 32 bits, an
    unreadable ELF file, more than one resource table, or a table outside the loaded bytes.
    """
    for name, number in (("processor", processor_id), ("version", version)):
        if not 0 <= number <= 0xFFFFFFFF:
            raise ImageError(f"{name} {number} is not a 32-bit number", hint="Use 0 to 4294967295.", field=name)
    places = _table_places(elves)
    if len(places) > 1:
        raise ImageError("more than one image has a resource table", hint="The TA takes one.", field="RSC_TABLE")
    return [
        (PlatformTlv.PROCESSOR_ID, processor_id.to_bytes(4, "little")),
        (PlatformTlv.VERSION, version.to_bytes(4, "little")),
        (PlatformTlv.RSC_TABLE, places[0] if places else bytes(8)),
    ]


def _table_places(elves: Sequence[bytes]) -> list[bytes]:
    """A value of RSC_TABLE for each ELF file that has a resource table."""
    found = (_table_place(elf, f"image {index}") for index, elf in enumerate(elves))
    return [struct.pack("<2I", *place) for place in found if place is not None]


def _table_place(elf: bytes, file: str) -> tuple[int, int] | None:
    """Load address and size of the resource table of an ELF file."""
    found = find_in_elf(elf, file=file)
    if found is None:
        return None
    offset, size, _ = found
    for segment in read_elf(elf, file=file).loads:
        if segment.p_offset <= offset and offset + size <= segment.p_offset + segment.p_filesz:
            return segment.p_paddr + offset - segment.p_offset, size
    raise ImageError(
        "the resource table is not in the bytes of a PT_LOAD segment",
        hint="Put .resource_table into a segment that is loaded.",
        field="RSC_TABLE",
    )


def platform_tlv(identifier: str, value: str) -> tuple[int, bytes]:
    """A platform TLV from text as the upstream tool takes it: hex digits behind 0x are 4 bytes, else UTF-8 text.

    Raises ImageError for an id outside 0x10000..0x1ffff and a hex value of more than 32 bits.
    """
    try:
        number = int(identifier, 0)
    except ValueError:
        hint = "Write it as 0x10001 or 65537."
        raise ImageError(f"{identifier!r} is no TLV type", hint=hint, field="platform TLV") from None
    _check_platform_type(number)
    if not value.startswith("0x"):
        return number, value.encode("utf-8", "surrogateescape")
    try:
        return number, int(value, 16).to_bytes(4, "little")
    except (ValueError, OverflowError):
        hint = "Use 0x and up to 8 hex digits, or text."
        raise ImageError(f"{value!r} is not a 32-bit hex number", hint=hint, field="platform TLV") from None


def check_signature(image: SignedImage, key: PublicKey) -> SignatureCheck:
    """Check the signature over header and TLVs; says nothing about the images themselves."""
    return verify(image.signed_bytes, image.signature, image.sign_type, key)


def verify(signed: bytes, signature: bytes, sign_type: SignType, key: PublicKey) -> SignatureCheck:
    """Check `signature` over `signed` with an RSA or P-256 key."""
    try:
        if isinstance(key, rsa.RSAPublicKey):
            if sign_type is not SignType.RSASSA_PKCS1_V1_5_SHA256 or len(signature) * 8 != key.key_size:
                return SignatureCheck.OTHER_KEY_KIND
            key.verify(signature, signed, padding.PKCS1v15(), _SHA256)
        else:
            if sign_type is not SignType.ECDSA_P256_SHA256 or len(signature) != 64:
                return SignatureCheck.OTHER_KEY_KIND
            r, s = (int.from_bytes(half, "big") for half in (signature[:32], signature[32:]))
            key.verify(utils.encode_dss_signature(r, s), signed, ec.ECDSA(_SHA256))
    except InvalidSignature:
        return SignatureCheck.WRONG
    return SignatureCheck.VALID


def _tlv_area(
    elves: Sequence[bytes],
    images: Sequence[bytes],
    sign_type: SignType,
    key_info: bytes | None,
    platform: dict[int, bytes],
) -> bytes:
    """The TLV records in the order in which the upstream tool writes them."""
    sizes = b"".join(len(image).to_bytes(4, "little") for image in images)
    table = b"".join(_hash_records(elf, f"image {index}") for index, elf in enumerate(elves))
    records: list[tuple[int, bytes]] = [
        (TlvType.SIGNTYPE, bytes([sign_type])),
        (TlvType.NUM_IMG, bytes([len(images)])),
        (TlvType.IMGTYPE, bytes([IMGTYPE_ELF]) * len(images)),
        (TlvType.IMGSIZE, sizes),
        (TlvType.HASHTYPE, bytes([HASHTYPE_SHA256])),
        (TlvType.HASHTABLE, table),
    ]
    if key_info is not None:
        records.append((TlvType.PKEYINFO, key_info))
    records += platform.items()
    return b"".join(build_tlv(tlv_type, value) for tlv_type, value in records)


def _hash_records(data: bytes, file: str) -> bytes:
    elf = read_elf(data, file=file)
    digests = ((s, hashlib.sha256(elf.segment_bytes(s)).digest()) for s in elf.segments)
    return b"".join(build_hash_record(s.words, digest) for s, digest in digests)


def _platform(tlvs: Sequence[tuple[int, bytes]]) -> dict[int, bytes]:
    platform: dict[int, bytes] = {}
    for tlv_type, value in tlvs:
        _check_platform_type(tlv_type)
        platform[tlv_type] = value
    if len(platform) > MAX_TLVS // 2:
        hint = f"Use at most {MAX_TLVS // 2}."
        raise ImageError(f"{len(platform)} platform TLVs are too many", hint=hint, field="platform TLV")
    return platform


def _check_platform_type(tlv_type: int) -> None:
    if not FIRST_PLATFORM_TLV <= tlv_type <= LAST_PLATFORM_TLV:
        hint = f"Use 0x{FIRST_PLATFORM_TLV:x} to 0x{LAST_PLATFORM_TLV:x}."
        raise ImageError(f"0x{tlv_type:x} is no type for a platform TLV", hint=hint, field="platform TLV")


def _sign_type(key: PrivateKey) -> SignType:
    if isinstance(key, rsa.RSAPrivateKey):
        return SignType.RSASSA_PKCS1_V1_5_SHA256
    return SignType.ECDSA_P256_SHA256


def _signature_size(key: PrivateKey) -> int:
    return key.key_size // 8 if isinstance(key, rsa.RSAPrivateKey) else 64


def _sign(message: bytes, key: PrivateKey) -> bytes:
    if isinstance(key, rsa.RSAPrivateKey):
        try:
            signature = key.sign(message, padding.PKCS1v15(), _SHA256)
            key.public_key().verify(signature, message, padding.PKCS1v15(), _SHA256)
        except (InvalidSignature, ValueError):
            raise KeyFileError(
                "the RSA key is damaged: its signatures do not verify", hint="Make a new one with `cosim keygen`."
            ) from None
        return signature
    r, s = utils.decode_dss_signature(key.sign(message, ec.ECDSA(_SHA256)))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")
