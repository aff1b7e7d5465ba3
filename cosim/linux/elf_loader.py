"""The kernel's own ELF loader for remote processors (remoteproc_elf_loader.c), for firmware that no TEE authenticates.

Only what the kernel checks is checked, in its order, with its errors. Every read stays inside the file.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from cosim.linux.carveout import Carveouts
from cosim.linux.errno import Errno, KernelError
from cosim.linux.memory import KernelMemory
from cosim.linux.resources import Printk
from ta.resource_table import HEADER_SIZE, SECTION_NAME

_PT_LOAD = 1
#: The kernel has no such bound; here it keeps a file of overlapping segments from costing minutes.
MOST_SEGMENTS = 256
_EHDR32, _EHDR64 = struct.Struct("<16sHHIIIIIHHHHHH"), struct.Struct("<16sHHIQQQIHHHHHH")
_PHDR32, _PHDR64 = struct.Struct("<8I"), struct.Struct("<2I6Q")
_SHDR32, _SHDR64 = struct.Struct("<10I"), struct.Struct("<2I4Q2I2Q")
_HINT = "use the ELF file that the linker for the Cortex-M4 writes"


@dataclass(frozen=True)
class _Header:
    entry: int
    phoff: int
    shoff: int
    phnum: int
    shnum: int
    shstrndx: int
    wide: bool


@dataclass(frozen=True)
class _Segment:
    kind: int
    offset: int
    da: int
    filesz: int
    memsz: int


@dataclass(frozen=True)
class TableSection:
    """The section that holds the resource table: run address `da`, and its bytes in the file."""

    da: int
    data: bytes


def sanity_check(firmware: bytes) -> None:
    """rproc_elf_sanity_check. Raises KernelError (-EINVAL)."""
    function = "rproc_elf_sanity_check"
    if len(firmware) < _EHDR32.size:
        raise _invalid(function, "Image is too small")
    wide = firmware[4] == 2
    if firmware[4] not in (1, 2):
        raise _invalid(function, f"Unsupported class: {firmware[4]}")
    if wide and len(firmware) < _EHDR64.size:
        raise _invalid(function, "elf64 header is too small")
    if firmware[5] != 1:
        raise _invalid(function, "Unsupported firmware endianness")
    header = _header(firmware)
    if len(firmware) < header.shoff + (_SHDR64 if wide else _SHDR32).size:
        raise _invalid(function, "Image is too small")
    if firmware[:4] != b"\x7fELF":
        raise _invalid(function, "Image is corrupted (bad magic)")
    if header.phnum == 0:
        raise _invalid(function, "No loadable segments")
    if header.phoff > len(firmware):
        raise _invalid(function, "Firmware size is too small")


def boot_address(firmware: bytes) -> int:
    """rproc_elf_get_boot_addr: e_entry, of a file that `sanity_check` has passed; as the core keeps it, in 32 bits."""
    return _header(firmware).entry & 0xFFFFFFFF


def load_segments(firmware: bytes, carveouts: Carveouts, memory: KernelMemory) -> None:
    """rproc_elf_load_segments. Raises KernelError (-EINVAL, -EOVERFLOW); segments before the bad one stay loaded."""
    function = "rproc_elf_load_segments"
    for segment in _segments(firmware, function):
        if segment.kind != _PT_LOAD or segment.memsz == 0:
            continue
        if segment.filesz > segment.memsz:
            raise _invalid(function, f"bad phdr filesz 0x{segment.filesz:x} memsz 0x{segment.memsz:x}", segment.da)
        if segment.offset + segment.filesz > len(firmware):
            raise _invalid(function, f"truncated fw: need 0x{segment.offset + segment.filesz:x}", segment.da)
        if segment.memsz > 0xFFFFFFFF:
            raise KernelError(function, Errno.EOVERFLOW, f"size 0x{segment.memsz:x} does not fit in size_t")
        pa = carveouts.da_to_pa(segment.da, segment.memsz)
        if pa is None:
            raise _invalid(function, f"bad phdr da 0x{segment.da:x} mem 0x{segment.memsz:x}", segment.da)
        data = firmware[segment.offset : segment.offset + segment.filesz]
        memory.write(pa, data + bytes(segment.memsz - segment.filesz), function)


def find_table(firmware: bytes, printk: Printk) -> TableSection | None:
    """find_table of the kernel: the `.resource_table` section; why it is not taken goes to the kernel log."""
    header = _header(firmware)
    layout = _SHDR64 if header.wide else _SHDR32
    sections = []
    for number in range(header.shnum):
        at = header.shoff + number * layout.size
        if at + layout.size > len(firmware):
            break
        words = layout.unpack_from(firmware, at)
        sections.append((words[0], words[3], words[4], words[5]))
    if header.shstrndx >= len(sections):
        return None
    names_at = sections[header.shstrndx][2]
    wanted = SECTION_NAME.encode() + b"\0"
    for name, address, offset, size in sections:
        if firmware[names_at + name : names_at + name + len(wanted)] == wanted:
            reason = _bad_table(firmware, offset, size)
            if reason is None:
                return TableSection(address, firmware[offset : offset + size])
            printk("err", "find_table", reason)
            return None
    return None


def load_table(firmware: bytes, printk: Printk) -> bytes:
    """rproc_elf_load_rsc_table. Raises KernelError (-EINVAL) when there is no usable table."""
    section = find_table(firmware, printk)
    if section is None:
        raise _invalid("rproc_elf_load_rsc_table", "no resource table")
    return section.data


def _bad_table(firmware: bytes, offset: int, size: int) -> str | None:
    if offset + size > len(firmware):
        return "resource table truncated"
    if size < HEADER_SIZE:
        return "header-less resource table"
    version, num, *reserved = struct.unpack_from("<4I", firmware, offset)
    if version != 1:
        return f"unsupported fw ver: {version}"
    if any(reserved):
        return "non zero reserved bytes"
    if HEADER_SIZE + 4 * num > size:
        return "resource table incomplete"
    return None


def _header(firmware: bytes) -> _Header:
    wide = firmware[4] == 2
    words = (_EHDR64 if wide else _EHDR32).unpack_from(firmware)
    return _Header(words[4], words[5], words[6], words[10], words[12], words[13], wide)


def _segments(firmware: bytes, function: str) -> Iterator[_Segment]:
    header = _header(firmware)
    layout = _PHDR64 if header.wide else _PHDR32
    if header.phnum > MOST_SEGMENTS:
        raise _invalid(function, f"{header.phnum} program headers, at most {MOST_SEGMENTS} are read")
    for number in range(header.phnum):
        at = header.phoff + number * layout.size
        if at + layout.size > len(firmware):
            # The kernel reads behind its buffer here; nothing sensible can follow.
            raise _invalid(function, f"program header {number} lies behind the end of the file")
        words = layout.unpack_from(firmware, at)
        if header.wide:
            yield _Segment(words[0], words[2], words[4], words[5], words[6])
        else:
            yield _Segment(words[0], words[1], words[3], words[4], words[5])


def _invalid(function: str, reason: str, da: int | None = None) -> KernelError:
    return KernelError(function, Errno.EINVAL, reason, hint=_HINT, address=da)
