"""Where the numbers of a signed image lie: header, TLV heads, ELF, program and section headers, for mutation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ta.image import SignedImage
from ta.image_elf import Elf, read_elf
from ta.image_format import TLV_HEAD_SIZE

#: Fields of the ELF header behind e_ident: name, offset, size.
_EHDR = (
    ("e_type", 16, 2), ("e_machine", 18, 2), ("e_version", 20, 4), ("e_entry", 24, 4), ("e_phoff", 28, 4),
    ("e_shoff", 32, 4), ("e_flags", 36, 4), ("e_ehsize", 40, 2), ("e_phentsize", 42, 2), ("e_phnum", 44, 2),
    ("e_shentsize", 46, 2), ("e_shnum", 48, 2), ("e_shstrndx", 50, 2),
)  # fmt: skip
_PHDR = ("p_type", "p_offset", "p_vaddr", "p_paddr", "p_filesz", "p_memsz", "p_flags", "p_align")
_SHDR = (
    "sh_name", "sh_type", "sh_flags", "sh_addr", "sh_offset", "sh_size", "sh_link", "sh_info", "sh_addralign",
    "sh_entsize",
)  # fmt: skip
_HEADER = ("magic", "version", "tlv_len", "sign_len", "img_len")
_EHDR_SIZE, _PHDR_SIZE, _SHDR_SIZE = 52, 32, 40


@dataclass(frozen=True)
class Field:
    """A little-endian number of `size` bytes at file `offset`."""

    name: str
    offset: int
    size: int


@dataclass(frozen=True)
class Span:
    """A range of file bytes with a name."""

    name: str
    offset: int
    size: int


def elves_of(image: SignedImage, data: bytes) -> list[Elf]:
    """The ELF files inside. Raises `ImageError` for a damaged one."""
    return [read_elf(data[part.offset : part.offset + part.size]) for part in image.images]


def header_spans(image: SignedImage, data: bytes) -> list[Span]:
    """The ELF, program and section headers of every image."""
    spans = []
    for part, elf in zip(image.images, elves_of(image, data), strict=True):
        spans.append(Span(f"image {part.index} ELF header", part.offset, _EHDR_SIZE))
        for segment in elf.segments:
            name = f"image {part.index} program header {segment.index}"
            spans.append(Span(name, part.offset + segment.offset, _PHDR_SIZE))
        for section in elf.sections:
            name = f"image {part.index} section header {section.index}"
            spans.append(Span(name, part.offset + section.offset, _SHDR_SIZE))
    return spans


def number_fields(image: SignedImage, data: bytes) -> list[Field]:
    """Every number of the format, the unsigned ones of the ELF files included."""
    fields = [Field(name, 4 * n, 4) for n, name in enumerate(_HEADER)]
    for tlv in image.tlvs:
        fields += [Field(f"{tlv.name} type", tlv.offset, 4), Field(f"{tlv.name} length", tlv.offset + 4, 4)]
        fields.append(Field(f"{tlv.name} value", tlv.offset + TLV_HEAD_SIZE, min(4, len(tlv.value))))
    for span in header_spans(image, data):
        fields += _fields_of(span)
    return [field for field in fields if field.size]


def _fields_of(span: Span) -> Iterator[Field]:
    if span.size == _EHDR_SIZE:
        yield from (Field(f"{span.name} {name}", span.offset + at, size) for name, at, size in _EHDR)
    else:
        names = _PHDR if span.size == _PHDR_SIZE else _SHDR
        yield from (Field(f"{span.name} {name}", span.offset + 4 * n, 4) for n, name in enumerate(names))
