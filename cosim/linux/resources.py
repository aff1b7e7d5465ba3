"""rproc_handle_resources: what the remoteproc core takes from a resource table, with its checks and errors.

The table comes from `KernelTable`, the kernel's own copy. Neither version nor reserved words of the header are looked
at again here. An entry that lies behind the copy is an error of the kernel where it checks, an oops where it does not.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

from cosim.linux.carveout import Carveout, Carveouts, carveout_mismatch
from cosim.linux.errno import Errno, KernelError, KernelOopsError
from ta.memory_map import PAGE
from ta.resource_table import MAX_VRINGS

RSC_CARVEOUT, RSC_DEVMEM, RSC_TRACE, RSC_VDEV, RSC_LAST = range(5)
_FIRST_VENDOR, _LAST_VENDOR = 128, 512

_MEMORY = struct.Struct("<5I32s")
_TRACE = struct.Struct("<3I32s")
_VDEV = struct.Struct("<5I4B")
_VRING = struct.Struct("<5I")

#: Offsets in a vdev entry, from its type word.
VDEV_NOTIFY_ID, VDEV_DFEATURES, VDEV_GFEATURES, VDEV_STATUS, VDEV_VRINGS = 8, 12, 16, 24, 28
VRING_SIZE, VRING_NOTIFY_ID = _VRING.size, 12

#: Tells the kernel log: level, function, text.
Printk = Callable[[str, str, str], None]


class KernelTable:
    """`rproc->cached_table`. A read or write behind its end is an oops (`offset`)."""

    def __init__(self, data: bytes) -> None:
        self.data = bytearray(data)

    def __len__(self) -> int:
        return len(self.data)

    def word(self, offset: int) -> int:
        """The u32 at `offset`."""
        self._check(offset, 4)
        return int.from_bytes(self.data[offset : offset + 4], "little")

    def put(self, offset: int, value: int, size: int = 4) -> None:
        """Store a value of `size` bytes at `offset`."""
        self._check(offset, size)
        self.data[offset : offset + size] = value.to_bytes(size, "little")

    def _check(self, offset: int, size: int) -> None:
        if offset + size > len(self.data):
            raise KernelOopsError(
                f"rproc_handle_resources: access at 0x{offset:x} of a resource table of {len(self.data)} bytes",
                hint="the number of entries was changed behind the TA's check, or the memory reads as something else",
                function="rproc_handle_resources",
                offset=offset,
            )


@dataclass(frozen=True)
class VringSpec:
    """A vring that the table asks for: `da` as it was asked for, `align` in bytes, `num` buffers."""

    da: int
    align: int
    num: int
    notify_id: int

    @property
    def size(self) -> int:
        """Bytes of the ring in memory, in whole pages (vring_size of include/uapi/linux/virtio_ring.h)."""
        return -(-vring_size(self.num, self.align) // PAGE) * PAGE


@dataclass(frozen=True)
class VdevSpec:
    """A virtio device of the table, its entry `offset`, and its index among the devices."""

    index: int
    offset: int
    id: int
    dfeatures: int
    vrings: tuple[VringSpec, ...]


@dataclass(frozen=True)
class TraceSpec:
    """A trace buffer of the table."""

    name: str
    da: int
    size: int


@dataclass(frozen=True)
class Resources:
    """What a table came to."""

    vdevs: tuple[VdevSpec, ...] = ()
    traces: tuple[TraceSpec, ...] = ()


def vring_size(num: int, align: int) -> int:
    """Bytes of a split ring of `num` buffers, its used ring aligned to `align` bytes, a power of two."""
    driver_part = 16 * num + 2 * (3 + num)
    return (driver_part + align - 1 & ~(align - 1)) + 2 * 3 + 8 * num


def handle_resources(table: KernelTable | None, carveouts: Carveouts, printk: Printk) -> Resources:
    """rproc_handle_resources. Raises KernelError (-EINVAL, -ENOMEM) and KernelOopsError."""
    return _Handler(table, carveouts, printk).run() if table is not None else Resources()


class _Handler:
    """State of one pass over a table."""

    def __init__(self, table: KernelTable, carveouts: Carveouts, printk: Printk) -> None:
        self._table = table
        self._carveouts = carveouts
        self._printk = printk
        self._vdevs: list[VdevSpec] = []
        self._traces: list[TraceSpec] = []
        self._notify_ids = 0

    def run(self) -> Resources:
        handlers = {
            RSC_CARVEOUT: self._carveout,
            RSC_DEVMEM: self._devmem,
            RSC_TRACE: self._trace,
            RSC_VDEV: self._vdev,
        }
        for index in range(self._table.word(4)):
            offset = self._table.word(16 + 4 * index)
            available = len(self._table) - offset - 4
            if available < 0:
                raise _invalid("rproc_handle_resources", "rsc table is truncated", offset)
            kind = self._table.word(offset)
            if kind in handlers:
                handlers[kind](offset, available)
            else:
                word = "vendor" if _FIRST_VENDOR <= kind <= _LAST_VENDOR else "unsupported"
                self._printk("warn", "rproc_handle_resources", f"{word} resource {kind} is skipped")
        return Resources(tuple(self._vdevs), tuple(self._traces))

    def _unpack(self, function: str, layout: struct.Struct, offset: int, available: int) -> tuple[int | bytes, ...]:
        if layout.size > available:
            raise _invalid(function, f"{_NAMES[function]} rsc is truncated", offset)
        return layout.unpack_from(self._table.data, offset + 4)

    def _carveout(self, offset: int, available: int) -> None:
        function = "rproc_handle_carveout"
        da, _, size, _, reserved, raw = self._unpack(function, _MEMORY, offset, available)
        if reserved:
            raise _invalid(function, "carveout rsc has non zero reserved bytes", offset)
        name, da, size = _text(raw), _int(da), _int(size)
        found = self._carveouts.by_name(name)
        if found is None:
            self._carveouts.add(Carveout(name, da, None, size, rsc_offset=offset))
            return
        if found.rsc_offset is not None:
            raise _no_memory(function, f"carveout {name!r} already associated to the resource table", offset)
        self._fits(function, found, da, size, offset)
        self._carveouts.associate(found, offset)

    def _devmem(self, offset: int, available: int) -> None:  # noqa: ARG002 - refused before anything is looked at
        raise _invalid("rproc_handle_devmem", "devmem rsc without an IOMMU domain", offset)

    def _trace(self, offset: int, available: int) -> None:
        function = "rproc_handle_trace"
        da, size, reserved, raw = self._unpack(function, _TRACE, offset, available)
        if reserved:
            raise _invalid(function, "trace rsc has non zero reserved bytes", offset)
        self._traces.append(TraceSpec(_text(raw), _int(da), _int(size)))

    def _vdev(self, offset: int, available: int) -> None:
        function = "rproc_handle_vdev"
        body = [_int(word) for word in self._unpack(function, _VDEV, offset, available)]
        device, _, dfeatures, _, config_len, _, count, *reserved = body
        if _VDEV.size + count * _VRING.size + config_len > available:
            raise _invalid(function, "vdev rsc is truncated", offset)
        if any(reserved):
            raise _invalid(function, "vdev rsc has non zero reserved bytes", offset)
        if count > MAX_VRINGS:
            raise _invalid(function, f"too many vrings: {count}", offset)
        index = len(self._vdevs)
        vrings = tuple(self._vring(index, n, offset) for n in range(count))
        self._vdevs.append(VdevSpec(index, offset, device, dfeatures, vrings))

    def _vring(self, vdev: int, number: int, offset: int) -> VringSpec:
        """rproc_parse_vring and rproc_alloc_vring."""
        at = offset + VDEV_VRINGS + number * VRING_SIZE
        da, align, num, _, _ = _VRING.unpack_from(self._table.data, at)
        if not num or not align:
            raise _invalid("rproc_parse_vring", f"invalid qsz ({num}) or alignment ({align})", offset)
        spec = VringSpec(da, align, num, self._notify_ids)
        self._notify_ids += 1
        name = f"vdev{vdev}vring{number}"
        found = self._carveouts.by_name(name)
        if found is None:
            self._carveouts.add(Carveout(name, da, None, spec.size))
        else:
            self._fits("rproc_alloc_vring", found, da, spec.size, offset)
        self._table.put(at + VRING_NOTIFY_ID, spec.notify_id)
        return spec

    def _fits(self, function: str, entry: Carveout, da: int, size: int, offset: int) -> None:
        reason = carveout_mismatch(entry, da, size)
        if reason:
            raise _no_memory(function, reason, offset)


_NAMES = {"rproc_handle_carveout": "carveout", "rproc_handle_trace": "trace", "rproc_handle_vdev": "vdev"}


def write_back_carveouts(table: KernelTable | None, carveouts: Carveouts) -> None:
    """The last part of rproc_alloc_registered_carveouts: pa, da and length of each carveout that the table named."""
    for entry in carveouts:
        if table is not None and entry.rsc_offset is not None and entry.pa is not None:
            table.put(entry.rsc_offset + 4, entry.da)
            table.put(entry.rsc_offset + 8, entry.pa)
            table.put(entry.rsc_offset + 12, entry.size)


def _invalid(function: str, reason: str, offset: int) -> KernelError:
    return KernelError(
        function, Errno.EINVAL, reason, hint="correct the resource table of the firmware", rsc_offset=offset
    )


def _no_memory(function: str, reason: str, offset: int) -> KernelError:
    hint = "the device tree's memory-region list has the carveouts; let the host choose the address (0xffffffff)"
    return KernelError(function, Errno.ENOMEM, reason, hint=hint, rsc_offset=offset)


def _text(raw: int | bytes) -> str:
    return raw.split(b"\0", 1)[0].decode("ascii", "backslashreplace") if isinstance(raw, bytes) else ""


def _int(word: int | bytes) -> int:
    return word if isinstance(word, int) else 0
