"""ELF32 files of the Cortex-M4, read for signing and inspection: headers, segments and sections, bounded and typed.

`scan_elf` keeps what can be read and collects problems, `read_elf` raises the first of them. The TA does not use this
reader: it decides as the upstream TA does, from its own checks.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from ta.errors import ImageError
from ta.image_format import MAX_IMAGE_SIZE
from ta.image_problem import Problem, Severity, raise_first

EHDR_SIZE = 52
PHDR_SIZE = 32
SHDR_SIZE = 40
ELF_MAGIC = b"\x7fELF"
EM_ARM = 40
PT_LOAD = 1
SHT_NOBITS = 8

MAX_SEGMENTS = 256
MAX_SECTIONS = 4096
MAX_NAME = 256
#: The file bytes of all segments together, in file sizes: bounds the hashing of segments that overlap in the file.
MAX_OVERLAP = 8

SEGMENT_TYPES = {
    0: "PT_NULL",
    1: "PT_LOAD",
    2: "PT_DYNAMIC",
    3: "PT_INTERP",
    4: "PT_NOTE",
    5: "PT_SHLIB",
    6: "PT_PHDR",
    7: "PT_TLS",
    0x6474E551: "PT_GNU_STACK",
    0x6474E552: "PT_GNU_RELRO",
    0x70000001: "PT_ARM_EXIDX",
}
MACHINES = {3: "x86", 8: "MIPS", 40: "ARM", 62: "x86-64", 83: "AVR", 94: "Xtensa", 183: "AArch64", 243: "RISC-V"}

_EHDR = struct.Struct("<16sHHIIIIIHHHHHH")
_PHDR = struct.Struct("<8I")
_SHDR = struct.Struct("<10I")
_LINK = "Use the ELF file that the linker for the Cortex-M4 writes (arm-none-eabi, 32-bit, little-endian)."
_CUT = "The file was cut or damaged; link or copy it again."


@dataclass(frozen=True, slots=True)
class Segment:
    """A program header (Elf32_Phdr); `offset` is its own place in the ELF file."""

    index: int
    offset: int
    p_type: int
    p_offset: int
    p_vaddr: int
    p_paddr: int
    p_filesz: int
    p_memsz: int
    p_flags: int
    p_align: int

    @property
    def words(self) -> tuple[int, ...]:
        """The eight words in file order."""
        return (
            self.p_type, self.p_offset, self.p_vaddr, self.p_paddr,
            self.p_filesz, self.p_memsz, self.p_flags, self.p_align,
        )  # fmt: skip

    @property
    def type_name(self) -> str:
        """PT_LOAD and the like; the number in hex when it has no name."""
        return SEGMENT_TYPES.get(self.p_type, f"0x{self.p_type:08x}")


@dataclass(frozen=True, slots=True)
class Section:
    """A section header (Elf32_Shdr) with its name; `offset` is its own place in the ELF file."""

    index: int
    offset: int
    name: str
    sh_type: int
    sh_addr: int
    sh_offset: int
    sh_size: int


@dataclass(frozen=True, slots=True)
class Elf:
    """An ELF32 file; `data` is the file itself."""

    data: bytes
    e_type: int
    e_machine: int
    e_entry: int
    e_flags: int
    segments: tuple[Segment, ...]
    sections: tuple[Section, ...]

    @property
    def loads(self) -> tuple[Segment, ...]:
        """The PT_LOAD segments."""
        return tuple(s for s in self.segments if s.p_type == PT_LOAD)

    def segment_bytes(self, segment: Segment) -> bytes:
        """The bytes of a segment in the file; shorter than p_filesz when the file ends before."""
        return self.data[segment.p_offset : segment.p_offset + segment.p_filesz]

    def section(self, name: str) -> Section | None:
        """The first section with that name."""
        return next((s for s in self.sections if s.name == name), None)


@dataclass(frozen=True, slots=True)
class ElfScan:
    """What could be read, problems of header and segments, and apart from them problems of the section headers."""

    elf: Elf | None
    problems: tuple[Problem, ...]
    section_problems: tuple[Problem, ...]


def scan_elf(data: bytes) -> ElfScan:
    """Read `data`, of any content and length, and report everything found; offsets count from its first byte."""
    return _Reader(data).scan()


def read_elf(data: bytes, *, file: str = "") -> Elf:
    """Read an ELF file whose header and segments must be right; broken section headers leave `sections` short.

    Raises ImageError (`file`, `offset`, `field`, `code`).
    """
    scan = scan_elf(data)
    raise_first(scan.problems, file)
    if scan.elf is None:
        raise ImageError("not an ELF file", hint=_LINK, file=file, offset=0, field="e_ident")
    return scan.elf


class _Reader:
    """State of one reading."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.problems: list[Problem] = []
        self.section_problems: list[Problem] = []

    def scan(self) -> ElfScan:
        return ElfScan(self._elf(), tuple(self.problems), tuple(self.section_problems))

    def _report(self, code: str, offset: int, field: str, message: str, hint: str) -> None:
        self.problems.append(Problem(code, message, hint, offset, field))

    def _elf(self) -> Elf | None:
        size = len(self.data)
        if size > MAX_IMAGE_SIZE:
            text = f"ELF file of {size} bytes, at most {MAX_IMAGE_SIZE} are read"
            self._report("elf-size", MAX_IMAGE_SIZE, "file", text, "Strip debug information: `arm-none-eabi-strip -g`.")
            return None
        if self.data[:4] != ELF_MAGIC:
            self._report("elf-magic", 0, "e_ident", "not an ELF file", _LINK)
            return None
        if size < EHDR_SIZE:
            self._report("elf-truncated", size, "e_ident", f"the ELF header has {size} of {EHDR_SIZE} bytes", _CUT)
            return None
        if not self._ident():
            return None
        (_, e_type, machine, version, entry, phoff, shoff, flags, _, phentsize, phnum, shentsize, shnum, strndx) = (
            _EHDR.unpack_from(self.data)
        )
        if machine != EM_ARM:
            text = f"made for {MACHINES.get(machine, f'machine {machine}')}, not for ARM"
            self._report("elf-machine", 18, "e_machine", text, _LINK)
        if version != 1:
            self._report("elf-version", 20, "e_version", f"ELF version {version} is not 1", _LINK)
        segments = self._segments(phoff, phentsize, phnum)
        sections = self._sections(shoff, shentsize, shnum, strndx)
        return Elf(self.data, e_type, machine, entry, flags, segments, sections)

    def _ident(self) -> bool:
        if self.data[4] != 1:
            text = "a 64-bit ELF file" if self.data[4] == 2 else f"ELF class {self.data[4]} does not exist"
            self._report("elf-class", 4, "e_ident", text, _LINK)
        elif self.data[5] != 1:
            text = "a big-endian ELF file" if self.data[5] == 2 else f"ELF byte order {self.data[5]} does not exist"
            self._report("elf-data", 5, "e_ident", text, _LINK)
        else:
            return True
        return False

    def _segments(self, phoff: int, phentsize: int, phnum: int) -> tuple[Segment, ...]:
        if phnum == 0:
            text = "no program headers: an object file or a library, nothing to load"
            self._report("elf-no-segments", 44, "e_phnum", text, "Link it first.")
            return ()
        if phentsize != PHDR_SIZE:
            text = f"program headers of {phentsize} bytes instead of {PHDR_SIZE}"
            self._report("elf-phentsize", 42, "e_phentsize", text, _LINK)
            return ()
        if phnum > MAX_SEGMENTS:
            text = f"{phnum} program headers, at most {MAX_SEGMENTS} are read"
            self._report("elf-segment-count", 44, "e_phnum", text, _LINK)
            return ()
        if phoff + phnum * PHDR_SIZE > len(self.data):
            text = f"the program headers end at 0x{phoff + phnum * PHDR_SIZE:08x}, behind the end of the file"
            self._report("elf-segment-table", 28, "e_phoff", text, _CUT)
            phnum = max(0, (len(self.data) - phoff) // PHDR_SIZE)
        elif phoff % 4:
            text = f"the program headers start at 0x{phoff:08x}, not 4-byte aligned"
            hint = "The TA refuses this with BAD_FORMAT; use an unmodified linker output."
            self.problems.append(Problem("elf-segment-align", text, hint, 28, "e_phoff", Severity.WARNING))
        places = [phoff + n * PHDR_SIZE for n in range(phnum)]
        segments = tuple(Segment(n, at, *_PHDR.unpack_from(self.data, at)) for n, at in enumerate(places))
        self._segment_data(segments)
        return segments

    def _segment_data(self, segments: tuple[Segment, ...]) -> None:
        size = len(self.data)
        for s in segments:
            end = s.p_offset + s.p_filesz
            if end > size and (s.p_filesz or s.p_type == PT_LOAD):
                text = f"the bytes of segment {s.index} end at 0x{end:08x}, behind the end of the file"
                self._report("elf-segment-data", s.offset + 4, "p_offset", text, _CUT)
            if s.p_type == PT_LOAD and s.p_filesz > s.p_memsz:
                text = f"segment {s.index} has {s.p_filesz} bytes in the file but only {s.p_memsz} in memory"
                self._report("elf-segment-size", s.offset + 16, "p_filesz", text, _LINK)
        if sum(min(s.p_filesz, size) for s in segments) > MAX_OVERLAP * size:
            text = f"the segments claim more than {MAX_OVERLAP} times the bytes of the file"
            self._report("elf-overlap", segments[0].offset + 16, "p_filesz", text, _LINK)

    def _section_problem(self, code: str, offset: int, field: str, message: str) -> tuple[Section, ...]:
        hint = "The TA looks for .resource_table here and answers BAD_FORMAT; do not remove or edit section headers."
        self.section_problems.append(Problem(code, message, hint, offset, field))
        return ()

    def _sections(self, shoff: int, shentsize: int, shnum: int, strndx: int) -> tuple[Section, ...]:
        size = len(self.data)
        if shentsize != SHDR_SIZE:
            text = f"section headers of {shentsize} bytes instead of {SHDR_SIZE}"
            return self._section_problem("elf-shentsize", 46, "e_shentsize", text)
        if shnum == 0 or strndx >= shnum:
            text = f"{shnum} section headers, the one of their names is number {strndx}"
            return self._section_problem("elf-no-sections", 50, "e_shstrndx", text)
        if shnum > MAX_SECTIONS:
            return self._section_problem("elf-section-count", 48, "e_shnum", f"{shnum} section headers are too many")
        if shoff + shnum * SHDR_SIZE > size or shoff % 4:
            text = f"{shnum} section headers at 0x{shoff:08x} are not 4-byte aligned inside the file"
            return self._section_problem("elf-section-table", 32, "e_shoff", text)
        raw = [_SHDR.unpack_from(self.data, shoff + n * SHDR_SIZE) for n in range(shnum)]
        start, length = raw[strndx][4], raw[strndx][5]
        if start + length > size:
            at = shoff + strndx * SHDR_SIZE + 16
            return self._section_problem("elf-section-names", at, "sh_offset", "the section names lie outside the file")
        names = self.data[start : start + length]
        sections = []
        for index, header in enumerate(raw):
            at = shoff + index * SHDR_SIZE
            if header[0] >= length:
                text = f"the name of section {index} lies outside the name table"
                self._section_problem("elf-section-name", at, "sh_name", text)
            name = names[header[0] : header[0] + MAX_NAME].split(b"\0", 1)[0].decode("ascii", "backslashreplace")
            sections.append(Section(index, at, name, header[1], header[3], header[4], header[5]))
        return tuple(sections)
