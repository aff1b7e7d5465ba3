"""Small ELF files made to measure, signed with the key that the test device trusts."""

from __future__ import annotations

import struct

from ta_bench import VECTORS, private_key

from ta.signing import binding_tlvs, sign_images

A_ELF = (VECTORS / "elf" / "a.elf").read_bytes()
VECTOR_TABLE = struct.pack("<2I", 0x10010000, 0x41)
#: type, load address, content, size in memory
Part = tuple[int, int, bytes, int]


def make_elf(*parts: Part) -> bytes:
    """An ELF file with these program headers in this order and no resource table."""
    names = b"\0.shstrtab\0\0"
    at = 52 + 32 * len(parts)
    headers, content = b"", b""
    for kind, paddr, data, memsz in parts:
        headers += struct.pack("<8I", kind, at + len(content), paddr, paddr, len(data), memsz, 5, 4)
        content += data + bytes(-len(data) % 4)
    shoff = at + len(content) + len(names)
    sections = bytes(40) + struct.pack("<10I", 1, 3, 0, 0, shoff - len(names), len(names), 0, 0, 1, 0)
    ident = b"\x7fELF\x01\x01\x01" + bytes(9)
    header = struct.pack("<HHIIIIIHHHHHH", 2, 40, 1, 0x41, 52, shoff, 0, 52, 32, len(parts), 40, 2, 1)
    return ident + header + headers + content + names + sections


def signed(*elves: bytes) -> bytes:
    """The files in one signed image without platform TLVs."""
    return sign_images(elves, private_key("trusted4096"))


def bound(elf: bytes, *, processor: int = 0, version: int = 0) -> bytes:
    """The file signed for one processor, with a rollback version."""
    tlvs = binding_tlvs([elf], processor, version)
    return sign_images([elf], private_key("trusted4096"), platform_tlvs=tlvs)
