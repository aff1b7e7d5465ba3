"""What the TA reads of an ELF32 image in shared memory: header checks, program headers, the resource table section.

Checks, their order and their results are those of `ta/remoteproc/src/elf_parser.c` in OP-TEE. Offsets count from the
start of the image; `size` is the size that the signed TLVs give. Fields are read one by one from shared memory, p_paddr
before its range is checked. Only the upstream profile reads ELF files this way; the hardened one plans from signed
bytes (`ta.image_plan`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ta.results import RefusedError, TeeResult
from ta.shared_memory import ClientBuffer

EHDR_SIZE = 52
PHDR_SIZE = 32
SHDR_SIZE = 40
PT_LOAD = 1
RESOURCE_TABLE_NAME = b".resource_table\0"
RESOURCE_TABLE_HEADER = 16

# Fields of Elf32_Ehdr, Elf32_Phdr and Elf32_Shdr.
E_VERSION, E_CLASS = 6, 4
E_PHOFF, E_SHOFF, E_PHENTSIZE, E_PHNUM, E_SHENTSIZE, E_SHNUM, E_SHSTRNDX = 28, 32, 42, 44, 46, 48, 50
P_TYPE, P_OFFSET, P_PADDR, P_FILESZ, P_MEMSZ = 0, 4, 12, 16, 20
SH_NAME, SH_ADDR, SH_OFFSET, SH_SIZE = 0, 12, 16, 20

#: An access outside the buffer because the signed image size leaves it, or because of an unsigned e_phoff.
OUTSIDE_BY_SIZE = "A16"
OUTSIDE_BY_PHOFF = "section 8.1"


@dataclass(frozen=True)
class Segment:
    """A PT_LOAD program header: `index` in the table, file `offset`, load address `da` (p_paddr), sizes in bytes."""

    index: int
    offset: int
    da: int
    filesz: int
    memsz: int


@dataclass(frozen=True)
class TableSection:
    """The `.resource_table` section: run address `da`, file `offset` and `size` in bytes."""

    da: int
    offset: int
    size: int


class ImageView:
    """One image inside the client's buffer, at `base` bytes from its start."""

    def __init__(self, buffer: ClientBuffer, base: int) -> None:
        self.buffer = buffer
        self.base = base

    def aligned(self, offset: int) -> bool:
        """Whether `offset` lies at a multiple of 4 in memory."""
        return (self.buffer.address + self.base + offset) % 4 == 0

    def read(self, offset: int, size: int, weakness: str = OUTSIDE_BY_SIZE) -> bytes:
        """Read bytes of the image; raises as `ClientBuffer.read`."""
        return self.buffer.read(self.base + offset, size, weakness)

    def header(self) -> Record:
        """The ELF header."""
        return Record(self, 0)


class Record:
    """Words of an ELF record at `offset` of the image, each read from shared memory when it is asked for."""

    def __init__(self, image: ImageView, offset: int) -> None:
        self._image = image
        self._offset = offset

    def bytes(self, at: int, size: int) -> bytes:
        """The bytes at `at` in the record."""
        return self._image.read(self._offset + at, size)

    def u16(self, at: int) -> int:
        """The little-endian 16-bit word at `at` in the record."""
        return int.from_bytes(self.bytes(at, 2), "little")

    def u32(self, at: int) -> int:
        """The little-endian 32-bit word at `at` in the record."""
        return int.from_bytes(self.bytes(at, 4), "little")


def check_header(image: ImageView, size: int) -> None:
    """The checks of `e32_parse_ehdr`; `size` bytes belong to the images. Raises BAD_PARAMETERS or BAD_FORMAT."""
    if not image.aligned(0):
        raise RefusedError(TeeResult.BAD_PARAMETERS, "the ELF image is not aligned to 4 bytes in memory")
    if size < EHDR_SIZE:
        raise _bad_format(f"{size} bytes are too few for an ELF header")
    header = image.header()
    end_of_first_section = header.u32(E_SHOFF) + SHDR_SIZE
    if size < end_of_first_section % (1 << 32):
        raise _bad_format(
            f"the section headers at offset 0x{header.u32(E_SHOFF):x} lie outside the image", field="e_shoff"
        )
    if header.bytes(0, 4) != b"\x7fELF":
        raise _bad_format("not an ELF file", field="e_ident")
    if header.bytes(E_VERSION, 1) != b"\x01" or header.bytes(E_CLASS, 1) != b"\x01":
        raise _bad_format("not a 32-bit ELF file of version 1", field="e_ident")
    if header.u16(E_PHENTSIZE) != PHDR_SIZE or header.u16(E_SHENTSIZE) != SHDR_SIZE:
        raise _bad_format("program or section headers have an unexpected size", field="e_phentsize")
    if header.u16(E_PHNUM) == 0:
        raise _bad_format("the ELF file has no program header", field="e_phnum")


def segments(image: ImageView, size: int) -> Iterator[Segment]:
    """The PT_LOAD segments in file order, each checked when its turn comes (`e32_parser_load_elf_image`).

    Raises BAD_PARAMETERS or BAD_FORMAT; `TaDeathError` for upstream when e_phoff leaves the mapped buffer.
    """
    if not 0 < size < 1 << 31:
        raise RefusedError(TeeResult.BAD_PARAMETERS, f"the signed size of the image, 0x{size:x}, is not possible")
    header = image.header()
    table = header.u32(E_PHOFF)
    if not image.aligned(table):
        raise _bad_format("the program headers are not aligned to 4 bytes", field="e_phoff")
    index = 0
    while index < header.u16(E_PHNUM):
        segment = _segment(image, size, table, index)
        if segment is not None:
            yield segment
        index += 1


def _segment(image: ImageView, size: int, table: int, index: int) -> Segment | None:
    offset = table + index * PHDR_SIZE
    inside = offset + PHDR_SIZE <= size
    if inside:
        record = Record(image, offset)
        da = record.u32(P_PADDR)
    else:
        # The reference fetches p_paddr before it checks the range: an unsigned e_phoff can kill it here.
        image.read(offset + P_PADDR, 4, OUTSIDE_BY_PHOFF)
        raise _bad_format(f"program header {index} lies outside the image", field="e_phoff", segment=index)
    if record.u32(P_TYPE) != PT_LOAD:
        return None
    start, filesz = record.u32(P_OFFSET), record.u32(P_FILESZ)
    if start + filesz > size:
        raise _bad_format(f"the data of segment {index} lies outside the image", field="p_offset", segment=index)
    return Segment(index, start, da, filesz, record.u32(P_MEMSZ))


def find_resource_table(image: ImageView, size: int) -> TableSection | None:
    """The resource table of an image, checked, or None (`e32_parser_find_rsc_table`).

    Raises BAD_PARAMETERS, BAD_FORMAT or CORRUPT_OBJECT.
    """
    header = image.header()
    table, count = header.u32(E_SHOFF), header.u16(E_SHNUM)
    if table >= 1 << 31:
        raise RefusedError(TeeResult.BAD_PARAMETERS, f"section headers at offset 0x{table:08x} are not possible")
    if table + count * SHDR_SIZE > size or not image.aligned(table):
        raise _bad_format("the section headers lie outside the image or are misaligned", field="e_shoff")
    names_index = header.u16(E_SHSTRNDX)
    if names_index >= count:
        raise _bad_format("the section name table has no section header", field="e_shstrndx")
    names = Record(image, table + names_index * SHDR_SIZE)
    names_at, names_size = names.u32(SH_OFFSET), names.u32(SH_SIZE)
    if names_at + names_size > size:
        raise _bad_format("the section name table lies outside the image", field="sh_offset")
    for index in range(count):
        section = Record(image, table + index * SHDR_SIZE)
        name = section.u32(SH_NAME)
        if name >= names_size:
            raise _bad_format(f"the name of section {index} lies outside the name table", field="sh_name")
        if _is_resource_table(image, names_at + name, names_size - name):
            return _checked_table(image, section, size)
    return None


def _is_resource_table(image: ImageView, at: int, left: int) -> bool:
    """Whether the name equals ".resource_table" as far as the name table reaches (`strncmp`, weakness A17)."""
    name = RESOURCE_TABLE_NAME[:left]
    return all(image.read(at + index, 1)[0] == expected for index, expected in enumerate(name))


def _checked_table(image: ImageView, section: Record, size: int) -> TableSection | None:
    length, offset = section.u32(SH_SIZE), section.u32(SH_OFFSET)
    if length == 0:
        return None
    if offset + length > size:
        raise _bad_format("the resource table lies outside the image", field="sh_size")
    if length < RESOURCE_TABLE_HEADER:
        raise _bad_format(f"{length} bytes are too few for the header of a resource table", field="sh_size")
    if not image.aligned(offset):
        raise RefusedError(TeeResult.CORRUPT_OBJECT, "the resource table is not aligned to 4 bytes in the file")
    content = Record(image, offset)
    if content.u32(0) != 1:
        raise _bad_format("the resource table is not of version 1", field="ver")
    if content.u32(8) or content.u32(12):
        raise _bad_format("reserved words of the resource table are not zero", field="reserved")
    if content.u32(4) * 4 + RESOURCE_TABLE_HEADER > length:
        raise _bad_format("the resource table has no room for its entry offsets", field="num")
    return TableSection(section.u32(SH_ADDR), offset, section.u32(SH_SIZE))


def _bad_format(reason: str, *, field: str = "", segment: int | None = None) -> RefusedError:
    return RefusedError(TeeResult.BAD_FORMAT, reason, field=field, segment=segment)
