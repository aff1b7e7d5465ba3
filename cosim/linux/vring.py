"""A split virtqueue from the driver's side (virtio 1.0, 2.6; drivers/virtio/virtio_ring.c), bounded and distrustful.

The device may write anything into the ring. What the driver needs to go on is kept in its own memory; what it reads
back is checked, and a rule that does not hold is a `RingError` that names it. Addresses are physical.
"""

from __future__ import annotations

import enum
import struct
from collections import deque
from dataclasses import dataclass

from cosim.errors import CosimError
from cosim.linux.memory import KernelMemory
from cosim.linux.resources import vring_size

DESC_F_NEXT, DESC_F_WRITE, DESC_F_INDIRECT = 1, 2, 4
_DESCRIPTOR = struct.Struct("<QIHH")
_USED = struct.Struct("<II")
_U16 = 0xFFFF
AVAIL_F_NO_INTERRUPT = 1


class RingRule(enum.Enum):
    """Rules that the device side of a ring can break."""

    USED_INDEX = "the used index runs ahead of what was made available"
    ID_RANGE = "a used element names a descriptor that does not exist"
    NOT_A_HEAD = "a used element names a buffer that the device does not own"
    USED_LENGTH = "a used element is longer than its buffer"
    CHAIN_LOOP = "a descriptor chain does not end"
    CHAIN_RANGE = "a descriptor chain leaves the table"
    DESCRIPTOR_CHANGED = "the device changed a descriptor that it may only read"
    MESSAGE_LENGTH = "a message claims more than its buffer holds"
    NAME_SERVICE = "an announcement is malformed"
    CHANNELS = "more channels were announced than are kept"
    UNREAD = "more messages arrived than are kept unread"
    DOORBELLS = "the mailbox rings without end, and there is no message"


class RingError(CosimError):
    """The device broke a rule of the ring (`rule`, `queue`); the queue is broken from then on."""

    kind = "ring"

    def __init__(self, rule: RingRule, queue: int, detail: str) -> None:
        hint = "the firmware corrupts the ring, or uses another layout (align, num) than its resource table says"
        super().__init__(f"vq{queue}: {rule.value}: {detail}", hint=hint, rule=rule.name, queue=queue)
        self.rule = rule
        self.queue = queue
        self.detail = detail


@dataclass(frozen=True)
class Buffer:
    """A buffer of the driver: physical address and size in bytes."""

    address: int
    size: int


@dataclass(frozen=True)
class Used:
    """A buffer that came back, and how many bytes the device says that it wrote."""

    buffer: Buffer
    length: int


class Virtqueue:
    """One ring at `base` with `num` buffers (a power of two); its used ring is aligned to `align` bytes."""

    def __init__(self, memory: KernelMemory, queue: int, base: int, num: int, align: int) -> None:
        self.queue = queue
        self.num = num
        self.broken = False
        self._memory = memory
        self._descriptors = base
        self._avail = base + 16 * num
        self._used = base + vring_size(num, align) - (6 + 8 * num)
        self._free = deque(range(num))
        self._owned: dict[int, bytes] = {}  # descriptors that the device has, as they were written
        self._avail_index = 0
        self._last_used = 0
        memory.write(base, bytes(vring_size(num, align)), "rp_find_vq")

    @property
    def free(self) -> int:
        """How many buffers can be added."""
        return len(self._free)

    def add(self, buffer: Buffer, *, writable: bool) -> None:
        """Make a buffer available; `writable` for the device (inbuf). The caller knows that there is room."""
        head = self._free.popleft()
        entry = _DESCRIPTOR.pack(buffer.address, buffer.size, DESC_F_WRITE if writable else 0, 0)
        self._memory.write(self._descriptors + 16 * head, entry, "virtqueue_add_split")
        self._owned[head] = entry
        slot = self._avail + 4 + 2 * (self._avail_index % self.num)
        self._memory.write_word(slot, head, 2, "virtqueue_add_split")
        self._avail_index = self._avail_index + 1 & _U16
        self._memory.write_word(self._avail + 2, self._avail_index, 2, "virtqueue_add_split")

    def disable_callbacks(self) -> None:
        """virtqueue_disable_cb: the device need not notify."""
        self._memory.write_word(self._avail, AVAIL_F_NO_INTERRUPT, 2, "virtqueue_disable_cb")

    def wants_kick(self) -> bool:
        """virtqueue_kick_prepare: whether the device asked to be notified."""
        return not self._memory.read_word(self._used, 2, "virtqueue_kick_prepare") & 1

    def has_used(self) -> bool:
        """more_used: whether the device gave something back."""
        return self._memory.read_word(self._used + 2, 2, "virtqueue_get_buf") != self._last_used

    def take(self) -> Used | None:
        """virtqueue_get_buf: the next buffer that came back, None when there is none.

        Raises RingError, after which the queue is broken and gives nothing any more.
        """
        if self.broken:
            return None
        try:
            return self._take()
        except RingError:
            self.broken = True
            raise

    def _take(self) -> Used | None:
        index = self._memory.read_word(self._used + 2, 2, "virtqueue_get_buf")
        ahead = index - self._last_used & _U16
        if not ahead:
            return None
        if ahead > len(self._owned):
            raise RingError(RingRule.USED_INDEX, self.queue, f"{ahead} used, {len(self._owned)} outstanding")
        slot = self._used + 4 + 8 * (self._last_used % self.num)
        head, length = _USED.unpack(self._memory.read(slot, 8, "virtqueue_get_buf"))
        if head >= self.num:
            raise RingError(RingRule.ID_RANGE, self.queue, f"id {head} out of range")
        if head not in self._owned:
            raise RingError(RingRule.NOT_A_HEAD, self.queue, f"id {head} is not a head")
        self._check_chain(head)
        address, size, _, _ = _DESCRIPTOR.unpack(self._owned[head])
        if length > size:
            raise RingError(RingRule.USED_LENGTH, self.queue, f"{length} bytes in a buffer of {size}")
        del self._owned[head]
        self._free.append(head)
        self._last_used = self._last_used + 1 & _U16
        return Used(Buffer(address, size), length)

    def _check_chain(self, head: int) -> None:
        """What lies in the table now, against what was written there; a changed chain is followed to its end."""
        seen: set[int] = set()
        at, entries = head, []
        while True:
            if at in seen:
                raise RingError(RingRule.CHAIN_LOOP, self.queue, f"descriptor {at} comes again in the chain of {head}")
            seen.add(at)
            entries.append(self._memory.read(self._descriptors + 16 * at, 16, "detach_buf_split"))
            _, _, flags, following = _DESCRIPTOR.unpack(entries[-1])
            if not flags & DESC_F_NEXT:
                break
            if following >= self.num:
                raise RingError(RingRule.CHAIN_RANGE, self.queue, f"descriptor {at} goes on at {following}")
            at = following
        if entries[0] != self._owned[head]:
            raise RingError(RingRule.DESCRIPTOR_CHANGED, self.queue, f"descriptor {head} is not what the driver wrote")
