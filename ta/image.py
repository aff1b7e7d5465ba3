"""The signed firmware image: its format, and the strict reader.

Format of OP-TEE scripts/sign_rproc_fw.py (all numbers little-endian, R8 = rounded up to a multiple of 8)::

      offset 0                                                        covered by the signature
    +----------------------------------------------------------------+  -+
    | header, 20 bytes                                               |   |
    |   0x00 magic     0x3543a468                                    |   |
    |   0x04 version   1                                             |   |
    |   0x08 tlv_len   bytes in the TLV area                         |   |
    |   0x0c sign_len  bytes in the signature                        |   |
    |   0x10 img_len   bytes in all images, each with its pad        |   |
    +----------------------------------------------------------------+   |
    | TLV area, R8(tlv_len) bytes; each record is                    |   |
    |   +0 type | +4 length | +8 value, zeros up to a multiple of 8  |   |
    |   0x01 SIGNTYPE   1 byte: 1 RSA PKCS#1 v1.5, 2 ECDSA P-256     |   |
    |   0x03 NUM_IMG    1 byte: n, at least 1                        |   |
    |   0x04 IMGTYPE    n bytes: 1 ELF                               |   |
    |   0x05 IMGSIZE    n words: size of each image with its pad     |   |
    |   0x02 HASHTYPE   1 byte: 1 SHA-256                            |   |
    |   0x10 HASHTABLE  64 bytes for every program header of every   |   |
    |                   image: Elf32_Phdr (32) | SHA-256 (32)        |   |
    |   0x11 PKEYINFO   optional, handed to the verifier             |   |
    |   0x10000..0x1ffff  optional, the platform's own               |   |
    +----------------------------------------------------------------+  -+
    | signature, R8(sign_len) bytes                                  |
    +----------------------------------------------------------------+
    | image 1, zeros up to a multiple of 8 | image 2 | … | image n   |
    +----------------------------------------------------------------+

The file is exactly 20 + R8(tlv_len) + R8(sign_len) + R8(img_len) bytes long. The signature does not cover the images:
their loaded bytes are authenticated through HASHTABLE, their ELF, program and section headers not at all.

`parse_image` is for code that needs a good image; `ta.image_scan.scan_image` reports everything that is wrong.
"""

from __future__ import annotations

from ta.image_format import (
    FIRST_PLATFORM_TLV,
    LAST_PLATFORM_TLV,
    MAGIC,
    MAX_FILE_SIZE,
    MAX_IMAGE_SIZE,
    VERSION,
    HashRecord,
    Header,
    ImagePart,
    SignedImage,
    SignType,
    Tlv,
    TlvType,
)
from ta.image_problem import raise_first
from ta.image_scan import scan_image

__all__ = [
    "FIRST_PLATFORM_TLV",
    "LAST_PLATFORM_TLV",
    "MAGIC",
    "MAX_FILE_SIZE",
    "MAX_IMAGE_SIZE",
    "VERSION",
    "HashRecord",
    "Header",
    "ImagePart",
    "SignType",
    "SignedImage",
    "Tlv",
    "TlvType",
    "parse_image",
]


def parse_image(data: bytes, *, file: str = "") -> SignedImage:
    """Read a signed image strictly; whether its signature is right is another question (`ta.signing`).

    Raises ImageError (`file`, `offset`, `field`, `code`) for the first thing that is wrong. Stricter than the upstream
    TA: duplicate TLVs, an unknown hash type and sizes that do not add up are refused.
    """
    scan = scan_image(data)
    raise_first(scan.problems, file)
    return scan.image()
