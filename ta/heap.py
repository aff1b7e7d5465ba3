"""The heap of the TA: how much fits, and what a read outside a block meets (weaknesses A1, A4, A12).

The TA has CFG_REMOTEPROC_TA_HEAP_SIZE (4 KiB) managed by OP-TEE's bget allocator: every block is rounded up to 8 bytes
and has a header of 8 bytes. Blocks come and go in stack order here, so a count of used bytes describes the heap.
"""

from __future__ import annotations

from dataclasses import dataclass

from ta.results import DeathCause, RefusedError, TaDeathError, TeeResult

HEAP_SIZE = 4096
#: What is left for the TA's own blocks once libutee holds the open session and bget its end marker.
HEAP_USABLE = 4016
#: Upstream places it at random (ASLR); the model keeps one address so that runs repeat.
HEAP_ADDRESS = 0x0015D000
BLOCK_HEADER = 8

#: Sizes of the 32-bit build, in bytes: `struct remoteproc_context`, a libutee operation handle, its digest buffer.
CONTEXT_SIZE = 60
OPERATION_SIZE = 64
DIGEST_SIZE = 32


@dataclass(frozen=True)
class HeapBlock:
    """A filled heap block: user `address` in the TA and its content."""

    address: int
    data: bytes

    def readable(self, address: int, size: int) -> bool:
        """Whether the TA may read `size` bytes at `address`: anywhere in its heap, not only in this block."""
        return address >= HEAP_ADDRESS and address + size <= HEAP_ADDRESS + HEAP_SIZE

    def read(self, address: int, size: int, weakness: str) -> bytes:
        """Read as C does: other heap memory (modelled as zero) behind the block, death outside the heap.

        Raises `TaDeathError` naming `weakness`.
        """
        if not self.readable(address, size):
            raise TaDeathError(
                DeathCause.SIGSEGV, weakness, f"read of {size} bytes at 0x{address:08x}, outside the memory of the TA"
            )
        start = address - self.address
        inside = self.data[max(start, 0) : max(start + size, 0)]
        return bytes(min(max(-start, 0), size)) + inside + bytes(size - len(inside) - min(max(-start, 0), size))


class TaHeap:
    """Counts the bytes in use; `used` is the whole state."""

    def __init__(self, used: int = 0) -> None:
        self.used = used

    def allocate(self, size: int, what: str) -> int:
        """Take a block of `size` bytes for good and return its user address. Raises OUT_OF_MEMORY."""
        gross = _round_up(size) + BLOCK_HEADER
        if self.used + gross > HEAP_USABLE:
            raise RefusedError(
                TeeResult.OUT_OF_MEMORY,
                f"the TA heap has no room for {what}: {size} bytes wanted, "
                f"{max(HEAP_USABLE - self.used - BLOCK_HEADER, 0)} of {HEAP_USABLE} left",
                hint="fewer or smaller TLVs and program headers, or a larger CFG_REMOTEPROC_TA_HEAP_SIZE",
            )
        address = HEAP_ADDRESS + self.used + BLOCK_HEADER
        self.used += gross
        return address

    def block(self, size: int, what: str) -> _Borrowed:
        """A block that is freed at the end of the `with`, which gives its user address. Raises OUT_OF_MEMORY."""
        return _Borrowed(self, size, what)


class _Borrowed:
    """A block of a heap for the time of a `with`."""

    __slots__ = "_before", "_heap", "_size", "_what"

    def __init__(self, heap: TaHeap, size: int, what: str) -> None:
        self._heap, self._size, self._what, self._before = heap, size, what, heap.used

    def __enter__(self) -> int:
        self._before = self._heap.used
        return self._heap.allocate(self._size, self._what)

    def __exit__(self, *_error: object) -> None:
        self._heap.used = self._before


def _round_up(size: int) -> int:
    return (max(size, 8) + 7) & ~7
