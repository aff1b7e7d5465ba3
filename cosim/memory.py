"""A bank of memory whose bytes live in one host buffer that engines map without copying.

The buffer is a private anonymous mapping: it costs nothing until it is touched and reads as zero. A snapshot holds only
the chunks that are not zero. For 512 MiB of DDR with 8 MiB in use that takes about 7 ms where the kernel tells which
pages were touched (/proc/self/pagemap), 160 ms otherwise. A restore writes those chunks that differ, and drops the
pages of the others: of a chunk in use that would cost more than to look at it, because each page is a fault again.
"""

from __future__ import annotations

import ctypes
import mmap
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cosim.errors import BusFault, EngineError

CHUNK = 0x10000
_GRANULE = 0x1000  # what Unicorn maps in; the host's page may be larger (16 KiB on Apple silicon)
_PAGE = mmap.PAGESIZE
_ZEROS = bytes(CHUNK)
#: Up to this size in bytes, all chunks of a bank count as in use.
_SMALL = 16 * CHUNK
_PAGEMAP = Path("/proc/self/pagemap")
_ENTRY = 8  # bytes per page in the page map, little-endian; bits 63 and 62 mean present and swapped out
_IN_USE = bytes(value & 0xC0 for value in range(256))
#: On Linux alone, madvise(MADV_DONTNEED) makes anonymous pages zero; on macOS they keep their contents.
_MADVISE_ZEROES = sys.platform == "linux"
_MAP_FIXED = 0x10  # on Linux and macOS; Python's mmap module does not name it
#: The C library. There is none to ask for by None on Windows, where banks cannot be made but modules can be imported.
_LIBC = ctypes.CDLL("msvcrt" if sys.platform == "win32" else None, use_errno=True)
_memcmp = _LIBC.memcmp
_memcmp.argtypes = ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t


@dataclass(frozen=True)
class MemoryState:
    """A snapshot of a bank: the chunks that are not all zero, by offset."""

    size: int
    chunks: tuple[tuple[int, bytes], ...]


class MemoryBank:
    """`size` bytes of RAM, zero at first. `size` is a multiple of 4 KiB."""

    def __init__(self, name: str, size: int) -> None:
        if size <= 0 or size % _GRANULE:
            raise EngineError(
                f"memory {name} has a size of 0x{size:x} bytes",
                hint=f"give it a size that is a multiple of 0x{_GRANULE:x}",
                target=name,
                size=size,
            )
        self.name = name
        self.size = size
        try:
            self._memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        except (OSError, OverflowError) as error:
            raise EngineError(
                f"memory {name} of 0x{size:x} bytes cannot be had from this machine: {error}",
                hint="give it a smaller size",
                target=name,
                size=size,
            ) from error
        self._anchor = ctypes.c_char.from_buffer(self._memory)
        self._address = ctypes.addressof(self._anchor)
        #: Offsets of chunks in use, which a restore had better look at than drop. Cores store without asking: not all.
        self._used = set(range(0, size, CHUNK)) if size <= _SMALL else set[int]()

    @property
    def host_address(self) -> int:
        """Where the buffer lies in this process; valid as long as the bank lives."""
        return self._address

    def read(self, offset: int, size: int) -> bytes:
        """The `size` bytes at `offset`. Raises `BusFault` outside the bank."""
        if not 0 <= offset <= offset + size <= self.size:
            self._check(offset, size)
        return self._memory[offset : offset + size]

    def write(self, offset: int, data: bytes) -> None:
        """Store `data` at `offset`. Raises `BusFault` outside the bank."""
        self._check(offset, len(data))
        self._memory[offset : offset + len(data)] = data
        self._used.add(offset - offset % CHUNK)

    def holds(self, offset: int, data: bytes, start: int = 0, size: int | None = None) -> bool:
        """Whether the bytes at `offset` are `data`, or `size` bytes of it from `start`; copies nothing.

        Raises `BusFault` outside the bank or the data.
        """
        size = len(data) if size is None else size
        self._check(offset, size)
        if not 0 <= start <= start + size <= len(data):
            raise BusFault(f"bytes {start} to {start + size} of {len(data)} are compared", address=offset, size=size)
        first = (ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value or 0) + start if start else data
        return not _memcmp(self._address + offset, first, size)

    def fill(self, offset: int, size: int, value: int = 0) -> None:
        """Set `size` bytes at `offset` to the byte `value`. Raises `BusFault` outside the bank."""
        self._check(offset, size)
        for start in range(offset, offset + size, CHUNK):
            part = min(CHUNK, offset + size - start)
            self._memory[start : start + part] = bytes((value & 0xFF,)) * part

    def reset(self) -> None:
        """Back to all zero."""
        self._drop(0, self.size)

    def _drop(self, start: int, end: int) -> None:
        """Zero whole chunks by giving their pages back to the host."""
        if _MADVISE_ZEROES:
            self._memory.madvise(mmap.MADV_DONTNEED, start, end - start)
        else:
            _map_anew(self._address + start, end - start)

    def save(self) -> MemoryState:
        """The contents, as an immutable value for `load`."""
        chunks = ((offset, self._memory[offset : offset + CHUNK]) for offset in self._touched())
        return MemoryState(self.size, tuple((o, data) for o, data in chunks if data != _ZEROS[: len(data)]))

    def load(self, state: object) -> None:
        """Restore what `save` returned. Raises `EngineError` for the snapshot of another bank."""
        if not isinstance(state, MemoryState) or state.size != self.size:
            raise EngineError(f"not a snapshot of memory {self.name}", hint="restore into the SoC that was saved")
        wanted = dict(state.chunks)
        behind = 0
        for offset in sorted(self._used.union(wanted)):
            if behind < offset:
                self._drop(behind, offset)
            behind = min(offset + CHUNK, self.size)
            data = wanted.get(offset) or _ZEROS[: behind - offset]
            if not self.holds(offset, data):
                self._memory[offset:behind] = data
        if behind < self.size:
            self._drop(behind, self.size)

    def _touched(self) -> Iterator[int]:
        """The offsets of the chunks that may hold something else than zeros."""
        pages = self._pages_in_use()
        per_chunk = CHUNK // _PAGE
        for index, offset in enumerate(range(0, self.size, CHUNK)):
            if pages is None or any(pages[index * per_chunk : (index + 1) * per_chunk]):
                yield offset

    def _pages_in_use(self) -> bytes | None:
        """One byte per page, 0 for pages that were never touched, or None where the kernel does not tell."""
        wanted = -(-self.size // _PAGE) * _ENTRY
        try:
            with _PAGEMAP.open("rb", buffering=0) as stream:
                stream.seek(self._address // _PAGE * _ENTRY)
                entries = stream.read(wanted)
        except OSError:
            return None
        return entries[_ENTRY - 1 :: _ENTRY].translate(_IN_USE) if len(entries) == wanted else None

    def _check(self, offset: int, size: int) -> None:
        if offset < 0 or size < 0 or offset + size > self.size:
            raise BusFault(
                f"0x{size:x} bytes at offset 0x{offset:08x} lie outside memory {self.name}",
                hint=f"{self.name} has 0x{self.size:x} bytes",
                address=offset,
                size=size,
            )


def _map_anew(address: int, size: int) -> None:
    """Put fresh zero pages into the place of an anonymous mapping."""
    function = _LIBC.mmap
    function.restype = ctypes.c_void_p
    function.argtypes = (
        ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_int64
    )  # fmt: skip
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_FIXED
    if function(address, size, mmap.PROT_READ | mmap.PROT_WRITE, flags, -1, 0) != address:
        raise EngineError(f"0x{size:x} bytes of memory cannot be zeroed (errno {ctypes.get_errno()})")
