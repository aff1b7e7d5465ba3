"""Structure-aware mutants: TLVs and hash records changed as a whole, then signed by whoever might have signed them."""

from __future__ import annotations

import functools
import hashlib
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils

from cosim.testing import default_signer
from ta.image import SignedImage
from ta.image_format import HASH_RECORD_SIZE, TlvType, build_signed_part, build_tlv, pad
from ta.signed_tlvs import PlatformTlv

Tlvs = list[tuple[int, bytes]]
_P_PADDR, _P_FILESZ = 12, 16


@dataclass(frozen=True)
class Structure:
    """One mutant, built when it is wanted; `vendor` when the right key signs it."""

    what: str
    make: Callable[[], bytes]
    vendor: bool


def structures(data: bytes, parsed: SignedImage) -> list[Structure]:
    """Every change of the structure under every signature."""
    images = data[parsed.header.image_offset :]
    tlvs: Tlvs = [(tlv.type, tlv.value) for tlv in parsed.tlvs]
    made = []
    for change, changed in _changes(tlvs):
        for signer, sign in _SIGNERS:
            make = functools.partial(_build, changed, images, sign, parsed.signature)
            made.append(Structure(f"{change}, {signer}", make, signer == _RIGHT_KEY))
    for change, body in _bodies(images):
        make = functools.partial(_rehashed, tlvs, images, body, parsed.signature)
        made.append(Structure(f"{change}, hash table made to match, old signature", make, False))
    return made


def attacker_images(data: bytes, parsed: SignedImage) -> list[tuple[str, bytes]]:
    """One image for each way to be refused: what a single skipped check might let in."""
    images = data[parsed.header.image_offset :]
    tlvs: Tlvs = [(tlv.type, tlv.value) for tlv in parsed.tlvs]
    made = [
        ("image signed with a P-256 key", _build(tlvs, images, _curve, parsed.signature)),
        ("signature of zeros", _build(tlvs, images, _zeros, parsed.signature)),
        ("cut image", data[:-8]),
    ]
    bodies = _bodies(images)
    for change, body in dict([bodies[0], bodies[-1]]).items():
        made.append((f"{change}, old hash table", data[: parsed.header.image_offset] + body))
        made.append((f"{change}, hash table made to match", _rehashed(tlvs, images, body, parsed.signature)))
    offset, count = struct.unpack_from("<I", images, 28)[0], struct.unpack_from("<H", images, 44)[0]
    for kept in sorted({1, count - 1} - {0, count}):
        fewer = images[:44] + struct.pack("<H", kept) + images[46:]
        made.append((f"e_phnum {kept} instead of {count}", data[: parsed.header.image_offset] + fewer))
    if any(kind == PlatformTlv.PROCESSOR_ID for kind, _ in tlvs):
        made.append(("image of processor 1", _with_word(tlvs, images, PlatformTlv.PROCESSOR_ID, 1)))
    moved = images[: offset + _P_PADDR] + struct.pack("<I", 0x10010000) + images[offset + _P_PADDR + 4 :]
    made.append(("first segment at 0x10010000", data[: parsed.header.image_offset] + moved))
    return made


def attacker_code(data: bytes, parsed: SignedImage) -> bytes:
    """An image with another first byte of code and a hash table to match, under the signature of the old one."""
    images = data[parsed.header.image_offset :]
    tlvs: Tlvs = [(tlv.type, tlv.value) for tlv in parsed.tlvs]
    return _rehashed(tlvs, images, _bodies(images)[0][1], parsed.signature)


def older_image(data: bytes, parsed: SignedImage) -> tuple[bytes, ...]:
    """The image as the vendor signed it one version before; () when it has no version to go back from."""
    tlvs: Tlvs = [(tlv.type, tlv.value) for tlv in parsed.tlvs]
    version = next((int.from_bytes(value, "little") for kind, value in tlvs if kind == PlatformTlv.VERSION), 0)
    images = data[parsed.header.image_offset :]
    return (_with_word(tlvs, images, PlatformTlv.VERSION, version - 1),) if version else ()


def _with_word(tlvs: Tlvs, images: bytes, changed: int, word: int) -> bytes:
    """Another value in a platform TLV, signed with the right key: an image of the same vendor."""
    other = [(kind, word.to_bytes(4, "little") if kind == changed else value) for kind, value in tlvs]
    return _build(other, images, _right_key, b"")


def _changes(tlvs: Tlvs) -> list[tuple[str, Tlvs]]:
    """The TLV lists, by what was done to them."""
    changes: list[tuple[str, Tlvs]] = [("TLVs unchanged", tlvs)]
    for at, (kind, value) in enumerate(tlvs):
        name = TlvType(kind).name if kind in set(TlvType) else f"TLV 0x{kind:x}"
        rest = tlvs[:at] + tlvs[at + 1 :]
        changes += [
            (f"{name} removed", rest),
            (f"{name} emptied", _put(tlvs, at, b"")),
            (f"{name} zeroed", _put(tlvs, at, bytes(len(value)))),
            (f"{name} one byte longer", _put(tlvs, at, value + b"\0")),
            (f"{name} one byte shorter", _put(tlvs, at, value[:-1])),
            (f"{name} twice", [*tlvs, (kind, value)]),
            (f"{name} first", [(kind, value), *rest]),
            (f"{name} of an unknown type", [*tlvs[:at], (127, value), *tlvs[at + 1 :]]),
        ]
        if kind == TlvType.HASHTABLE:
            changes += [(f"HASHTABLE {what}", _put(tlvs, at, table)) for what, table in _tables(value)]
    for kind in (0x1C000, 0x1C001, 0x1C002, 0x1C0FF, 0x10000):
        changes += [(f"platform TLV 0x{kind:x} of {n} bytes", [*tlvs, (kind, b"\x01" * n)]) for n in (0, 4, 8)]
    return changes


def _tables(table: bytes) -> list[tuple[str, bytes]]:
    records = [table[at : at + HASH_RECORD_SIZE] for at in range(0, len(table), HASH_RECORD_SIZE)]
    made = [("reversed", b"".join(reversed(records)))]
    for at, record in enumerate(records):
        others = b"".join(records[:at]), b"".join(records[at + 1 :])
        paddr = struct.unpack_from("<I", record, _P_PADDR)[0]
        made += [
            (f"without record {at}", others[0] + others[1]),
            (f"with record {at} twice", others[0] + record + record + others[1]),
            (f"with another digest in record {at}", others[0] + record[:32] + bytes(32) + others[1]),
        ]
        for address in (paddr ^ 0x20000000, paddr + 0x10000, 0xC0000000, 0xFFFFFFF0):
            moved = record[:_P_PADDR] + struct.pack("<I", address & 0xFFFFFFFF) + record[_P_FILESZ:]
            made.append((f"with record {at} at 0x{address:08x}", others[0] + moved + others[1]))
    return made


def _put(tlvs: Tlvs, at: int, value: bytes) -> Tlvs:
    return [*tlvs[:at], (tlvs[at][0], value), *tlvs[at + 1 :]]


def _bodies(images: bytes) -> list[tuple[str, bytes]]:
    """Firmware that nobody signed, built from the first program headers of the ELF file."""
    offset, count = struct.unpack_from("<I", images, 28)[0], struct.unpack_from("<H", images, 44)[0]
    bodies = []
    for index in range(count):
        start, size = (struct.unpack_from("<I", images, offset + 32 * index + at)[0] for at in (4, _P_FILESZ))
        if size:
            bodies.append((f"first byte of segment {index} changed", _flipped(images, start)))
    return bodies


def _flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def _rehashed(tlvs: Tlvs, images: bytes, body: bytes, signature: bytes) -> bytes:
    """`body` with the digests of its own segments in the hash table, under the signature of the old one."""
    changed: Tlvs = []
    for kind, value in tlvs:
        table = bytearray(value)
        for at in range(0, len(value) if kind == TlvType.HASHTABLE else 0, HASH_RECORD_SIZE):
            start, size = struct.unpack_from("<I", value, at + 4)[0], struct.unpack_from("<I", value, at + _P_FILESZ)[0]
            if images[start : start + size] != body[start : start + size]:
                table[at + 32 : at + 64] = hashlib.sha256(body[start : start + size]).digest()
        changed.append((kind, bytes(table)))
    return _build(changed, body, lambda _signed, old: old, signature)


#: Makes the signature: the signed bytes and the signature of the untouched image in.
Sign = Callable[[bytes, bytes], bytes]


def _build(tlvs: Sequence[tuple[int, bytes]], images: bytes, sign: Sign, old: bytes) -> bytes:
    area = b"".join(build_tlv(kind, value) for kind, value in tlvs)
    # The length of the signature is part of what is signed.
    length = len(sign(b"", old))
    signed = build_signed_part(area, sign_len=length, img_len=len(images))
    return signed + pad(sign(signed, old)) + images


def _old(_signed: bytes, old: bytes) -> bytes:
    return old


def _zeros(_signed: bytes, old: bytes) -> bytes:
    return bytes(len(old))


def _right_key(signed: bytes, _old: bytes) -> bytes:
    key = default_signer().key
    return _rsa(key, signed) if isinstance(key, rsa.RSAPrivateKey) else b""


def _shorter_rsa(signed: bytes, _old: bytes) -> bytes:
    return _rsa(_rsa_key(2048), signed)


def _wrong_key(signed: bytes, _old: bytes) -> bytes:
    return _rsa(_rsa_key(4096), signed)


def _curve(signed: bytes, _old: bytes) -> bytes:
    r, s = utils.decode_dss_signature(_p256_key().sign(signed, ec.ECDSA(hashes.SHA256())))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def _rsa(key: rsa.RSAPrivateKey, signed: bytes) -> bytes:
    return key.sign(signed, padding.PKCS1v15(), hashes.SHA256())


@functools.cache
def _rsa_key(bits: int) -> rsa.RSAPrivateKey:
    # Which wrong key it is makes no difference to any verdict, so each process makes its own.
    return rsa.generate_private_key(65537, bits)


@functools.cache
def _p256_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


_RIGHT_KEY = "signed with the right key"
_SIGNERS: tuple[tuple[str, Sign], ...] = (
    ("old signature", _old),
    ("signature of zeros", _zeros),
    ("signed with another RSA-4096 key", _wrong_key),
    ("signed with an RSA-2048 key", _shorter_rsa),
    ("signed with a P-256 key", _curve),
    (_RIGHT_KEY, _right_key),
)
