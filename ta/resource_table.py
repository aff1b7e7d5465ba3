"""The resource table of a remote processor's firmware (Linux include/linux/remoteproc.h), read bounded and typed.

Layout, all little-endian u32: version 1, num, reserved[2], then num offsets (from the start of the table) of entries
that begin with their type. `ANY` as an address means that the host chooses it.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from ta.errors import ImageError
from ta.image_elf import SHT_NOBITS, Elf, Section, scan_elf
from ta.image_problem import Problem, raise_first

SECTION_NAME = ".resource_table"
HEADER_SIZE = 16
ANY = 0xFFFFFFFF
MAX_ENTRIES = 64
MAX_TABLE_SIZE = 0x10000
MAX_VRINGS = 2  # RVDEV_NUM_VRINGS of the kernel

TYPE_NAMES = {0: "CARVEOUT", 1: "DEVMEM", 2: "TRACE", 3: "VDEV"}
_FIRST_VENDOR, _LAST_VENDOR = 128, 512

_MEMORY = struct.Struct("<5I32s")
_TRACE = struct.Struct("<3I32s")
_VDEV = struct.Struct("<5I4B")
_VRING = struct.Struct("<5I")
_HINT = "Compare the table in the firmware's source with struct resource_table of the Linux kernel."


@dataclass(frozen=True, slots=True)
class Resource:
    """An entry of the table; `offset` in bytes from its start. Plain instances are vendor or unknown entries."""

    offset: int
    type: int

    @property
    def type_name(self) -> str:
        """CARVEOUT, DEVMEM, TRACE, VDEV, VENDOR or UNKNOWN."""
        if _FIRST_VENDOR <= self.type <= _LAST_VENDOR:
            return "VENDOR"
        return TYPE_NAMES.get(self.type, "UNKNOWN")


@dataclass(frozen=True, slots=True)
class Memory(Resource):
    """A CARVEOUT (memory that the host allocates) or DEVMEM (device memory that it maps); sizes in bytes."""

    da: int
    pa: int
    size: int
    flags: int
    name: str


@dataclass(frozen=True, slots=True)
class Trace(Resource):
    """A text buffer of `size` bytes that the firmware writes and the host shows."""

    da: int
    size: int
    name: str


@dataclass(frozen=True, slots=True)
class Vring:
    """One ring of a virtio device: address, alignment in bytes, number of buffers."""

    da: int
    align: int
    num: int
    notify_id: int
    pa: int


@dataclass(frozen=True, slots=True)
class Vdev(Resource):
    """A virtio device; id 7 is rpmsg. `config` holds its configuration space."""

    id: int
    notify_id: int
    dfeatures: int
    gfeatures: int
    status: int
    vrings: tuple[Vring, ...]
    config: bytes


@dataclass(frozen=True, slots=True)
class ResourceTable:
    """A decoded table of `size` bytes; entries that could not be decoded are left out."""

    version: int
    num: int
    size: int
    entries: tuple[Resource, ...]


@dataclass(frozen=True, slots=True)
class TableScan:
    """What could be read of a table, and everything that is wrong with it."""

    table: ResourceTable | None
    problems: tuple[Problem, ...]


def scan_resource_table(data: bytes, *, offset: int = 0) -> TableScan:
    """Read the table in `data`, of any content and length; problems count from file `offset`. Never raises on content.

    The checks are those of the TA for the header and those of the kernel for the entries.
    """
    return _Reader(data, offset).scan()


def parse_resource_table(data: bytes, *, offset: int = 0, file: str = "") -> ResourceTable:
    """Read the table in `data`, which lies at `offset` of its file.

    Raises ImageError (`file`, `offset`, `field`, `code`) for the first thing that TA or kernel would refuse.
    """
    scan = scan_resource_table(data, offset=offset)
    raise_first(scan.problems, file)
    if scan.table is None:
        raise ImageError("no resource table", hint=_HINT, file=file, offset=offset, field="table")
    return scan.table


def find_in_elf(elf: bytes, *, file: str = "") -> tuple[int, int, int] | None:
    """Where an ELF file has its resource table: (file offset, size, sh_addr), or None when it has none.

    An empty section means "no table", as for the TA. Raises ImageError for an unreadable ELF file.
    """
    scan = scan_elf(elf)
    if scan.elf is None:
        raise_first(scan.problems, file)
        return None
    raise_first(scan.section_problems, file)
    section, problems = locate(scan.elf)
    raise_first(problems, file)
    return None if section is None else (section.sh_offset, section.sh_size, section.sh_addr)


def locate(elf: Elf) -> tuple[Section | None, Sequence[Problem]]:
    """The section that holds the table (None: no table), and what is wrong with its place in the file."""
    section = elf.section(SECTION_NAME)
    if section is None or section.sh_size == 0:
        return None, ()
    at = section.offset + 16
    if section.sh_type == SHT_NOBITS or section.sh_offset + section.sh_size > len(elf.data):
        text = f"the bytes of {SECTION_NAME} do not lie in the file"
        hint = "Give the table initial values and keep it in a section that is loaded (PROGBITS)."
        return section, (Problem("table-outside-file", text, hint, at, "sh_offset"),)
    if section.sh_offset % 4:
        text = f"{SECTION_NAME} lies at file offset 0x{section.sh_offset:08x}, not 4-byte aligned"
        hint = "Align the table to 4 bytes; the TA answers CORRUPT_OBJECT."
        return section, (Problem("table-align", text, hint, at, "sh_offset"),)
    return section, ()


class _Reader:
    """State of one reading."""

    def __init__(self, data: bytes, base: int) -> None:
        self.data = data
        self.base = base
        self.problems: list[Problem] = []

    def scan(self) -> TableScan:
        size = len(self.data)
        if size < HEADER_SIZE:
            self._report("table-truncated", size, "header", f"a resource table of {size} bytes, its header has 16")
            return TableScan(None, tuple(self.problems))
        if size > MAX_TABLE_SIZE:
            text = f"a resource table of {size} bytes, at most {MAX_TABLE_SIZE} are read"
            self._report("table-size", MAX_TABLE_SIZE, "table", text)
            return TableScan(None, tuple(self.problems))
        version, num, *reserved = struct.unpack_from("<4I", self.data)
        if version != 1:
            self._report("table-version", 0, "ver", f"resource table version {version} is not 1")
        if any(reserved):
            self._report("table-reserved", 8, "reserved", "the reserved words of the resource table are not 0")
        fits = (size - HEADER_SIZE) // 4
        if num > fits:
            self._report("table-num", 4, "num", f"{num} resources do not fit into a table of {size} bytes")
        elif num > MAX_ENTRIES:
            self._report("table-num", 4, "num", f"{num} resources, at most {MAX_ENTRIES} are read")
        count = min(num, fits, MAX_ENTRIES)
        offsets = struct.unpack_from(f"<{count}I", self.data, HEADER_SIZE)
        entries = [self._entry(index, at) for index, at in enumerate(offsets)]
        table = ResourceTable(version, num, size, tuple(e for e in entries if e is not None))
        return TableScan(table, tuple(self.problems))

    def _report(self, code: str, at: int, field: str, message: str) -> None:
        self.problems.append(Problem(code, message, _HINT, self.base + at, field))

    def _entry(self, index: int, at: int) -> Resource | None:
        if at + 4 > len(self.data):
            text = f"resource {index} at 0x{at:x} lies outside the table of {len(self.data)} bytes"
            self._report("resource-outside", HEADER_SIZE + 4 * index, f"offset[{index}]", text)
            return None
        kind = int.from_bytes(self.data[at : at + 4], "little")
        try:
            if kind in (0, 1):
                return self._memory(index, at, kind)
            if kind == 2:
                return self._trace(index, at, kind)
            return self._vdev(index, at, kind) if kind == 3 else Resource(at, kind)
        except struct.error:
            self._report("resource-truncated", at, f"resource {index}", f"the table ends inside resource {index}")
            return None

    def _reserved(self, index: int, at: int, reserved: int) -> None:
        if reserved:
            text = f"the reserved field of resource {index} is 0x{reserved:x}; the kernel wants 0"
            self._report("resource-reserved", at, "reserved", text)

    def _memory(self, index: int, at: int, kind: int) -> Memory:
        da, pa, size, flags, reserved, name = _MEMORY.unpack_from(self.data, at + 4)
        self._reserved(index, at + 20, reserved)
        return Memory(at, kind, da, pa, size, flags, _text(name))

    def _trace(self, index: int, at: int, kind: int) -> Trace:
        da, size, reserved, name = _TRACE.unpack_from(self.data, at + 4)
        self._reserved(index, at + 12, reserved)
        return Trace(at, kind, da, size, _text(name))

    def _vdev(self, index: int, at: int, kind: int) -> Vdev:
        body = _VDEV.unpack_from(self.data, at + 4)
        device, notify_id, dfeatures, gfeatures, config_len, status, count, low, high = body
        self._reserved(index, at + 26, low | high << 8)
        if count > MAX_VRINGS:
            text = f"virtio device {index} has {count} vrings, the kernel takes at most {MAX_VRINGS}"
            self._report("vdev-vrings", at + 25, "num_of_vrings", text)
        rings_at = at + 4 + _VDEV.size
        vrings = tuple(Vring(*_VRING.unpack_from(self.data, rings_at + n * _VRING.size)) for n in range(count))
        for n, ring in enumerate(vrings):
            if ring.num == 0 or ring.align == 0:
                text = f"vring {n} of resource {index} has {ring.num} buffers aligned to {ring.align}"
                self._report("vring-empty", rings_at + n * _VRING.size + 4, "vring", text)
        config_at = rings_at + count * _VRING.size
        if config_at + config_len > len(self.data):
            text = f"the configuration space of resource {index} ends outside the table"
            self._report("vdev-config", at + 20, "config_len", text)
        config = self.data[config_at : config_at + config_len]
        return Vdev(at, kind, device, notify_id, dfeatures, gfeatures, status, vrings, config)


def _text(raw: bytes) -> str:
    return raw.split(b"\0", 1)[0].decode("ascii", "backslashreplace")
