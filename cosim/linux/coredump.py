"""The coredump of a crashed processor (remoteproc_coredump.c): an ELF file of type ET_CORE with its memories.

The stm32 driver adds the board's memory regions but the message buffers, then the trace buffers that are in none of
them. As in the kernel it is off until it is enabled, holds no registers, and says EM_NONE.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Callable
from dataclasses import dataclass

from cosim.linux.resources import Printk

#: The kernel has no bound but its memory; a trace entry of the firmware may claim 4 GiB.
MOST_DUMP = 16 * 1024 * 1024
_EHDR, _PHDR = struct.Struct("<16sHHIIIIIHHHHHH"), struct.Struct("<8I")
_IDENT = b"\x7fELF\x01\x01\x01" + bytes(9)  # ELFCLASS32, ELFDATA2LSB, EV_CURRENT
_ET_CORE, _EM_NONE, _EV_CURRENT, _PT_LOAD, _RWX = 4, 0, 1, 1, 7

#: Bytes at a device address as the kernel reads them, None where it has no mapping.
Read = Callable[[int, int], bytes | None]


class DumpConf(enum.Enum):
    """enum rproc_dump_mechanism, what is in debugfs `coredump`. INLINE, which waits for a reader, is not modelled."""

    DISABLED = "disabled"
    ENABLED = "enabled"


@dataclass(frozen=True)
class DumpSegment:
    """`size` bytes at device address `da`."""

    da: int
    size: int


class Coredump:
    """The dump segments of a processor, and the dump that waits to be read, as devcoredump keeps it."""

    def __init__(self, printk: Printk) -> None:
        self.conf = DumpConf.DISABLED
        self._printk = printk
        self._segments: list[DumpSegment] = []
        self._waiting: bytes | None = None

    def add(self, da: int, size: int) -> None:
        """rproc_coredump_add_segment."""
        self._segments.append(DumpSegment(da, size))

    def add_trace(self, da: int, size: int) -> None:
        """What stm32_rproc_add_coredump_trace does for a trace buffer: nothing when a segment starts at its address."""
        if all(segment.da != da for segment in self._segments):
            self.add(da, size)

    def clear(self) -> None:
        """rproc_coredump_cleanup; a dump that waits stays."""
        self._segments.clear()

    def take(self) -> bytes | None:
        """Read the dump that waits, which makes room for the next one."""
        data, self._waiting = self._waiting, None
        return data

    def generate(self, boot_address: int, read: Read) -> None:
        """rproc_coredump. One that nobody has read yet stays, the new one is dropped. Raises KernelOopsError."""
        if self.conf is DumpConf.DISABLED or not self._segments or self._waiting is not None:
            return
        size = _EHDR.size + sum(_PHDR.size + segment.size for segment in self._segments)
        if size > MOST_DUMP:
            self._printk("err", "rproc_coredump", f"cannot allocate {size} bytes")
            return
        self._waiting = self._headers(boot_address) + b"".join(self._copy(segment, read) for segment in self._segments)

    def _headers(self, boot_address: int) -> bytes:
        count = len(self._segments)
        numbers = (_EV_CURRENT, boot_address, _EHDR.size, 0, 0, _EHDR.size, _PHDR.size, count, 0, 0, 0)
        headers = [_EHDR.pack(_IDENT, _ET_CORE, _EM_NONE, *numbers)]
        offset = _EHDR.size + count * _PHDR.size
        for s in self._segments:
            headers.append(_PHDR.pack(_PT_LOAD, offset, s.da, s.da, s.size, s.size, _RWX, 0))
            offset += s.size
        return b"".join(headers)

    def _copy(self, segment: DumpSegment, read: Read) -> bytes:
        """rproc_copy_segment: what cannot be reached is 0xff."""
        data = read(segment.da, segment.size)
        if data is not None:
            return data
        text = f"invalid copy request for segment 0x{segment.da:08x} with offset 0 and size {segment.size}"
        self._printk("err", "rproc_copy_segment", text)
        return b"\xff" * segment.size
