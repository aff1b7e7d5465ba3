"""Every read that the secure world makes of normal-world memory, so that a test can change memory between two of them.

`SharedMemory` is that place. `ClientBuffer` is a memory reference as it is mapped for the TA: whole pages.
"""

from __future__ import annotations

from collections.abc import Callable

from ta.errors import BusFault
from ta.memory_map import PAGE
from ta.params import MemRef
from ta.ports import SecureBus
from ta.results import DeathCause, RefusedError, TaDeathError, TeeResult

#: Called before each read with the number of earlier reads, the physical address and the size in bytes.
ReadObserver = Callable[[int, int, int], None]


class SharedMemory:
    """Counts the reads of shared memory and lets an observer act before each of them."""

    def __init__(self, bus: SecureBus) -> None:
        self._bus = bus
        self.reads = 0
        self.observer: ReadObserver | None = None

    def read(self, address: int, size: int) -> bytes:
        """Read `size` bytes at the A7 physical `address`. Raises `BusFault`."""
        if self.observer is not None:
            self.observer(self.reads, address, size)
        self.reads += 1
        return self._bus.read(address, size)

    def read_from(self, reference: MemRef, offset: int, size: int) -> bytes:
        """Read `size` bytes at `offset` of a memory reference. Raises `BusFault`."""
        return b"".join(self.read(*part) for part in pieces(reference, offset, size))

    def write_to(self, reference: MemRef, offset: int, data: bytes) -> None:
        """Write `data` at `offset` of a memory reference. Raises `BusFault`."""
        for address, size in pieces(reference, offset, len(data)):
            self._bus.write(address, data[:size])
            data = data[size:]

    def peek(self, address: int, size: int) -> bytes:
        """The bytes as a report shows them: no read of the TA, so neither counted nor observed; b"" if unmapped."""
        try:
            return self._bus.read(address, size)
        except BusFault:
            return b""


class ClientBuffer:
    """A memory reference in the address space of the TA; offsets count from the first byte of the reference.

    The TA can read the whole pages that the reference touches, and dies outside them. With `exact` (hardened profile)
    a read outside the reference is refused with BAD_FORMAT instead.
    """

    def __init__(self, memory: SharedMemory, reference: MemRef, *, exact: bool) -> None:
        self._memory = memory
        self._reference = reference
        self.address = reference.address
        self.size = reference.size
        self.exact = exact
        self._low = -(self.address % PAGE)
        self._high = -(-(self.address + self.size) // PAGE) * PAGE - self.address

    def read(self, offset: int, size: int, weakness: str) -> bytes:
        """Read `size` bytes at `offset`, which wraps at 32 bits as a pointer does.

        Raises `TaDeathError` naming `weakness`, or `RefusedError` when `exact`.
        """
        if self.exact:
            if offset < 0 or offset + size > self.size:
                raise RefusedError(
                    TeeResult.BAD_FORMAT,
                    f"bytes {offset}..{offset + size} of the image lie outside its buffer of {self.size} bytes",
                    offset=offset,
                )
            return self._checked(offset, size, weakness)
        wrapped = (offset + 0x80000000) % 0x100000000 - 0x80000000
        if wrapped < self._low or wrapped + size > self._high:
            raise self._death(wrapped, size, weakness)
        return self._checked(wrapped, size, weakness)

    def u32(self, offset: int, weakness: str) -> int:
        """The little-endian word at `offset`; raises as `read` does."""
        return int.from_bytes(self.read(offset, 4, weakness), "little")

    def fetch(self, offset: int, size: int) -> bytes:
        """Read bytes that are known to lie in the reference. Raises `BusFault`."""
        return self._memory.read_from(self._reference, offset, size)

    def peek(self, offset: int, size: int) -> bytes:
        """The bytes as a report shows them, see `SharedMemory.peek`."""
        return b"".join(self._memory.peek(*part) for part in pieces(self._reference, offset, size))

    def _checked(self, offset: int, size: int, weakness: str) -> bytes:
        try:
            return self.fetch(offset, size)
        except BusFault as fault:
            if self.exact:
                raise RefusedError(
                    TeeResult.BAD_PARAMETERS, "no memory is mapped behind the image buffer", offset=offset
                ) from fault
            raise self._death(offset, size, weakness) from fault

    def _death(self, offset: int, size: int, weakness: str) -> TaDeathError:
        return TaDeathError(
            DeathCause.SIGSEGV,
            weakness,
            f"read of {size} bytes at offset {offset} of a buffer of {self.size} bytes: no memory is mapped there",
        )


def pieces(reference: MemRef, offset: int, size: int) -> list[tuple[int, int]]:
    """The A7 physical ranges, as (address, size), behind bytes of a memory reference; pages in a row are one range."""
    if not reference.pages:
        return [(reference.address + offset, size)]
    at = reference.address % PAGE + offset
    parts: list[tuple[int, int]] = []
    while size > 0:
        length = min(size, PAGE - at % PAGE)
        address = reference.pages[at // PAGE] + at % PAGE
        if parts and sum(parts[-1]) == address:
            parts[-1] = (parts[-1][0], parts[-1][1] + length)
        else:
            parts.append((address, length))
        at, size = at + length, size - length
    return parts
