"""The hardened profile's plan of a load: what goes where, settled from signed bytes before anything is written.

The ELF file is not signed, only its program headers are, as records of the hash table. The plan follows the records:
the program headers of the file must be those records, byte for byte and in their order. Section headers, which nobody
signs, never say where the resource table is: only the signed record RSC_TABLE does.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ta.elf32 import (
    E_PHENTSIZE,
    E_PHNUM,
    E_PHOFF,
    E_SHENTSIZE,
    E_SHNUM,
    E_SHOFF,
    E_SHSTRNDX,
    EHDR_SIZE,
    PHDR_SIZE,
    PT_LOAD,
    RESOURCE_TABLE_HEADER,
    RESOURCE_TABLE_NAME,
    SHDR_SIZE,
)
from ta.memory_map import memory_cell
from ta.results import RefusedError, TeeResult
from ta.shared_memory import ClientBuffer
from ta.signed_tlvs import SignedRecord, SignedTlvs

#: Start of a 32-bit little-endian ELF file of version 1.
_IDENT = b"\x7fELF\x01\x01\x01"
_EM_ARM = 40
_VECTORS = 8  # initial stack pointer and reset vector
_MAX_SECTIONS = 4096


@dataclass(frozen=True)
class Placement:
    """A PT_LOAD to load: `source` is the offset of its bytes in the client's buffer, `pa` its A7 physical address."""

    image: int
    index: int
    source: int
    pa: int
    record: SignedRecord

    @property
    def where(self) -> str:
        """The segment in words."""
        name = f"segment {self.index} at 0x{self.record.p_paddr:08x}"
        return f"image {self.image}, {name}" if self.image else name


@dataclass(frozen=True)
class PlannedTable:
    """The resource table: load address as the M4 (`da`) and the A7 (`pa`) see it, and its size in bytes."""

    da: int
    pa: int
    size: int


@dataclass(frozen=True)
class ImagePart:
    """One ELF image in the client's buffer, and the records of the hash table that are its program headers."""

    index: int
    start: int
    size: int
    header: bytes
    records: tuple[SignedRecord, ...]


#: Translates a device address range; raises `RefusedError` for one that no region holds.
Translate = Callable[[int, int], int]
#: Called with a segment and why it is refused, before the refusal is raised.
Refused = Callable[[Placement, RefusedError], None]


def split_images(buffer: ClientBuffer, images_at: int, area: int, tlvs: SignedTlvs) -> tuple[ImagePart, ...]:
    """The images, their headers copied and held against the signed records. Raises BAD_PARAMETERS or BAD_FORMAT."""
    if sum(tlvs.sizes) != area:
        raise _bad_parameters(f"the images have {sum(tlvs.sizes)} bytes together, the header says {area}")
    parts: list[ImagePart] = []
    start, left = images_at, tlvs.records
    for index, size in enumerate(tlvs.sizes):
        header = _elf_header(buffer, start, size)
        count = _u16(header, E_PHNUM)
        own, left = left[:count], left[count:]
        _check_program_headers(buffer, start, size, header, own)
        parts.append(ImagePart(index, start, size, header, own))
        start += size
    if left:
        raise _bad_parameters(f"{len(left)} signed program headers are missing in the ELF file")
    return tuple(parts)


def plan_segments(parts: Sequence[ImagePart], translate: Translate, refused: Refused) -> tuple[Placement, ...]:
    """Where every signed PT_LOAD goes. Raises BAD_PARAMETERS, BAD_FORMAT or ACCESS_DENIED."""
    placements: list[Placement] = []
    for part in parts:
        for index, record in enumerate(part.records):
            if record.p_type != PT_LOAD or not (record.p_memsz or record.p_filesz):
                continue
            draft = Placement(part.index, index, part.start + record.p_offset, 0, record)
            try:
                placements.append(_placed(draft, part, translate, placements))
            except RefusedError as error:
                refused(draft, error)
                raise RefusedError(
                    error.result,
                    f"{draft.where}: {error.message}",
                    hint=error.hint,
                    segment=index,
                    address=record.p_paddr,
                ) from error
    if not any(p.record.p_paddr == 0 and p.record.p_filesz >= _VECTORS for p in placements):
        raise RefusedError(
            TeeResult.BAD_FORMAT,
            "nothing is loaded at 0x00000000: the processor would start with vectors that nobody signed",
            hint="link the vector table to 0x00000000 (RETRAM)",
        )
    return tuple(placements)


def plan_table(
    buffer: ClientBuffer, parts: Sequence[ImagePart], placements: Sequence[Placement], signed: tuple[int, int] | None
) -> PlannedTable | None:
    """The resource table that the signed RSC_TABLE record names, None when there is none.

    Without the record nobody signed where the table is. Section headers that name one are then a reason to refuse, and
    never an answer: whoever can change them could move it. Raises SECURITY or BAD_FORMAT; the content is checked once
    it is loaded.
    """
    if signed is not None:
        da, size = signed
        return _table_in(placements, da, size) if size else None
    if any(_names_table(buffer, part) for part in parts):
        raise RefusedError(
            TeeResult.SECURITY,
            "the image has a resource table, nobody signed where it is: `cosim sign` does, unless --upstream-format",
            hint="sign it again; only the profile upstream believes the section headers, which anyone can change",
            tlv="RSC_TABLE",
        )
    return None


def check_table(content: bytes, size: int) -> None:
    """Check the header of a loaded resource table of `size` bytes. Raises BAD_FORMAT."""
    version, number, *reserved = struct.unpack_from("<4I", content)
    if version != 1 or any(reserved) or number * 4 + RESOURCE_TABLE_HEADER > size:
        raise _bad_format("the loaded bytes are no resource table of version 1", "ver")


def _elf_header(buffer: ClientBuffer, start: int, size: int) -> bytes:
    if size < EHDR_SIZE:
        raise _bad_format(f"{size} bytes are too few for an ELF header", "IMGSIZE")
    header = buffer.read(start, EHDR_SIZE, "")
    if header[:7] != _IDENT or _u16(header, 18) != _EM_ARM:
        raise _bad_format("not a 32-bit little-endian ELF file for ARM", "e_ident")
    if _u16(header, E_PHENTSIZE) != PHDR_SIZE or not _u16(header, E_PHNUM):
        raise _bad_format("the program headers are missing or have an unexpected size", "e_phentsize")
    return header


def _check_program_headers(
    buffer: ClientBuffer, start: int, size: int, header: bytes, records: tuple[SignedRecord, ...]
) -> None:
    """The program headers of the file are the signed ones."""
    offset, count = _u32(header, E_PHOFF), _u16(header, E_PHNUM)
    if offset + count * PHDR_SIZE > size:
        raise _bad_format("the program headers lie outside the image", "e_phoff")
    signed = b"".join(record.header for record in records)
    if count != len(records) or buffer.read(start + offset, count * PHDR_SIZE, "") != signed:
        raise _bad_parameters("the program headers of the ELF file are not the signed ones")


def _placed(draft: Placement, part: ImagePart, translate: Translate, others: Sequence[Placement]) -> Placement:
    record = draft.record
    if record.p_filesz > record.p_memsz:
        raise _bad_parameters(f"{record.p_filesz} bytes in the file, but {record.p_memsz} in memory")
    if record.p_offset + record.p_filesz > part.size:
        raise _bad_format("its data lie outside the image", "p_offset")
    pa = translate(record.p_paddr, record.p_memsz)
    cell = memory_cell(pa)
    for other in others:
        start = memory_cell(other.pa)
        if cell < start + other.record.p_memsz and start < cell + record.p_memsz:
            raise _bad_parameters(f"it overlaps {other.where} in memory")
    return Placement(draft.image, draft.index, draft.source, pa, record)


def _table_in(placements: Sequence[Placement], da: int, size: int) -> PlannedTable:
    """The table inside the file bytes of one loaded segment."""
    for placement in placements:
        offset = da - placement.record.p_paddr
        if offset >= 0 and offset + size <= placement.record.p_filesz and not (placement.pa + offset) % 4:
            if size < RESOURCE_TABLE_HEADER:
                break
            return PlannedTable(da, placement.pa + offset, size)
    raise _bad_format("the resource table does not lie, aligned, in the bytes of one loaded segment", "RSC_TABLE")


def _names_table(buffer: ClientBuffer, part: ImagePart) -> bool:
    """Whether a section header names a resource table that is not empty. All is read once."""
    table, count = _u32(part.header, E_SHOFF), _u16(part.header, E_SHNUM)
    names_index = _u16(part.header, E_SHSTRNDX)
    if _u16(part.header, E_SHENTSIZE) != SHDR_SIZE or count > _MAX_SECTIONS or names_index >= count:
        raise _bad_format("there are no usable section headers", "e_shnum")
    if table + count * SHDR_SIZE > part.size:
        raise _bad_format("the section headers lie outside the image", "e_shoff")
    raw = buffer.read(part.start + table, count * SHDR_SIZE, "")
    headers = [struct.unpack_from("<10I", raw, index * SHDR_SIZE) for index in range(count)]
    names_at, names_size = headers[names_index][4:6]
    if names_at + names_size > part.size:
        raise _bad_format("the section name table lies outside the image", "sh_offset")
    names = buffer.read(part.start + names_at, names_size, "")
    if any(header[0] >= names_size for header in headers):
        raise _bad_format("the name of a section lies outside the name table", "sh_name")
    return any(header[5] and _is_table_name(names[header[0] :]) for header in headers)


def _is_table_name(rest: bytes) -> bool:
    """Whether a name is the table's; one that the end of the name table cuts short is too, as in the reference."""
    return rest.startswith(RESOURCE_TABLE_NAME) or RESOURCE_TABLE_NAME.startswith(rest)


def _u16(raw: bytes, at: int) -> int:
    return int.from_bytes(raw[at : at + 2], "little")


def _u32(raw: bytes, at: int) -> int:
    return int.from_bytes(raw[at : at + 4], "little")


def _bad_format(reason: str, field: str) -> RefusedError:
    return RefusedError(TeeResult.BAD_FORMAT, reason, field=field)


def _bad_parameters(reason: str) -> RefusedError:
    return RefusedError(TeeResult.BAD_PARAMETERS, reason, hint="the ELF file is not the one that was signed")
