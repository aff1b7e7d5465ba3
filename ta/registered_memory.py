"""Dynamic shared memory: page lists of the normal world, and the buffers that it registered under a cookie.

Layout and rules of `core/include/optee_msg.h` and `msg_param_mobj_from_noncontig` in OP-TEE. A page list is read once;
its length is settled before the first page of it is, so a list that points at itself ends like any other.
"""

from __future__ import annotations

import struct

from ta.memory_map import PAGE
from ta.params import MemRef
from ta.results import RefusedError, TeeResult
from ta.secure_boot import DDR_REGIONS
from ta.shared_memory import SharedMemory

_LIST_ENTRIES = PAGE // 8 - 1  # the last word of a list page is the address of the next
#: The model's own bounds, in place of the exhaustion of OP-TEE's core heap: 64 MiB and 256 buffers.
MAX_PAGES = 1 << 14
MAX_BUFFERS = 256

#: A registered buffer: its cookie and where it is.
Registration = tuple[int, MemRef]


def in_normal_ddr(address: int, size: int) -> bool:
    """Whether `size` bytes at an A7 physical address lie in one DDR region of the normal world."""
    return any(r.base <= address and address + size <= r.top + 1 for r in DDR_REGIONS if r.non_secure)


def read_page_list(memory: SharedMemory, pointer: int, size: int) -> MemRef:
    """The buffer of `size` bytes behind a NONCONTIG pointer: list address, and offset of the buffer in its first page.

    Raises BAD_PARAMETERS for a list or a page outside the DDR of the normal world, OUT_OF_MEMORY beyond 64 MiB, and
    `BusFault` when there is no memory where the DDR should be.
    """
    offset, at = pointer % PAGE, pointer - pointer % PAGE
    count = -(-(offset + size) // PAGE)
    if not size:
        raise RefusedError(TeeResult.BAD_PARAMETERS, "a page list for a buffer of 0 bytes")
    if count > MAX_PAGES:
        raise RefusedError(TeeResult.OUT_OF_MEMORY, f"a buffer of {count} pages, at most {MAX_PAGES} are mapped")
    pages: list[int] = []
    while len(pages) < count:
        if not in_normal_ddr(at, PAGE):
            raise RefusedError(TeeResult.BAD_PARAMETERS, f"the page list at 0x{at:x} is not in non-secure DDR")
        *entries, at = struct.unpack(f"<{_LIST_ENTRIES + 1}Q", memory.read(at, PAGE))
        pages += entries[: count - len(pages)]
        if at % PAGE:
            raise RefusedError(TeeResult.BAD_PARAMETERS, f"the next page list 0x{at:x} is not aligned to a page")
    for page in pages:
        if page % PAGE or not in_normal_ddr(page, PAGE):
            raise RefusedError(TeeResult.BAD_PARAMETERS, f"page 0x{page:x} is not a page of non-secure DDR")
    return MemRef(pages[0] + offset, size, tuple(pages))


class RegisteredMemory:
    """Buffers by cookie; with a cookie used twice the newest buffer answers. `save` and `load` move the whole state."""

    def __init__(self) -> None:
        self._buffers: tuple[Registration, ...] = ()

    def register(self, cookie: int, buffer: MemRef) -> None:
        """Keep a buffer. Raises OUT_OF_MEMORY."""
        pages = sum(len(known.pages) for _, known in self._buffers) + len(buffer.pages)
        if len(self._buffers) >= MAX_BUFFERS or pages > MAX_PAGES:
            raise RefusedError(TeeResult.OUT_OF_MEMORY, "too much shared memory is registered")
        self._buffers = ((cookie, buffer), *self._buffers)

    def release(self, cookie: int) -> MemRef:
        """Forget a buffer and return it. Raises BAD_PARAMETERS for an unknown cookie."""
        known = self.find(cookie)
        if known is None:
            raise RefusedError(TeeResult.BAD_PARAMETERS, f"no shared memory has the cookie 0x{cookie:x}")
        at = self._buffers.index((cookie, known))
        self._buffers = self._buffers[:at] + self._buffers[at + 1 :]
        return known

    def find(self, cookie: int) -> MemRef | None:
        """The buffer behind a cookie."""
        return next((buffer for known, buffer in self._buffers if known == cookie), None)

    def slice(self, cookie: int, offset: int, size: int) -> MemRef:
        """Part of a buffer. Raises BAD_PARAMETERS for an unknown cookie, SECURITY for a part outside the buffer."""
        buffer = self.find(cookie)
        if buffer is None:
            raise RefusedError(TeeResult.BAD_PARAMETERS, f"no shared memory has the cookie 0x{cookie:x}")
        if offset + size > buffer.size:
            raise RefusedError(TeeResult.SECURITY, "the reference leaves the registered shared memory")
        start = buffer.address % PAGE + offset
        pages = buffer.pages[start // PAGE :] or buffer.pages[-1:]
        return MemRef(pages[0] + start % PAGE, size, pages)

    def save(self) -> tuple[Registration, ...]:
        """The complete state as an immutable value."""
        return self._buffers

    def load(self, state: tuple[Registration, ...]) -> None:
        """Restore what `save` returned."""
        self._buffers = state
