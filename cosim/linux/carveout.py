"""Carveouts of the remoteproc core: the memories that a remote processor may use, and how addresses translate.

Follows rproc_find_carveout_by_name, rproc_check_carveout_da, rproc_da_to_va and rproc_alloc_carveout of
drivers/remoteproc/remoteproc_core.c.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from cosim.linux.errno import Errno, KernelError
from ta.memory_map import PAGE, REGIONS
from ta.resource_table import ANY

#: DDR that stands for the kernel's contiguous memory allocator.
CMA_BASE, CMA_SIZE = 0xD0000000, 0x400000
#: The kernel has no such bound; it would run out of memory.
MOST_CARVEOUTS = 256
#: Node names in the board's device tree where they differ from the region's.
_NODES = {"vring0": "vdev0vring0", "vring1": "vdev0vring1"}


@dataclass(frozen=True)
class Carveout:
    """`size` bytes at device address `da` (ANY: not yet chosen) and physical address `pa` (None: not yet allocated).

    `mapped` tells whether the kernel has a mapping; `rsc_offset` is the table entry that asked for it.
    """

    name: str
    da: int
    pa: int | None
    size: int
    mapped: bool = False
    rsc_offset: int | None = None


class Carveouts:
    """The list `rproc->carveouts`, in order."""

    def __init__(self) -> None:
        self._entries: list[Carveout] = []
        self._cma_used = 0

    def __iter__(self) -> Iterator[Carveout]:
        return iter(self._entries)

    def clear(self) -> None:
        """Forget and unmap everything (rproc_resource_cleanup)."""
        self._entries.clear()
        self._cma_used = 0

    def add(self, entry: Carveout) -> None:
        """rproc_add_carveout. Raises KernelError (-ENOMEM) for more than a table could sensibly ask for."""
        if len(self._entries) >= MOST_CARVEOUTS:
            raise KernelError("rproc_mem_entry_init", Errno.ENOMEM, f"more than {MOST_CARVEOUTS} carveouts")
        self._entries.append(entry)

    def add_board_regions(self) -> None:
        """The `memory-region` list of the DK boards (stm32_rproc_prepare); nothing is mapped yet."""
        for region in REGIONS:
            self.add(Carveout(_NODES.get(region.name, region.name), region.da, region.pa, region.size))

    def by_name(self, name: str) -> Carveout | None:
        """rproc_find_carveout_by_name."""
        return next((entry for entry in self._entries if entry.name == name), None)

    def associate(self, entry: Carveout, rsc_offset: int) -> None:
        """Remember which table entry asked for a carveout."""
        self._entries[self._entries.index(entry)] = replace(entry, rsc_offset=rsc_offset)

    def allocate(self) -> None:
        """rproc_alloc_registered_carveouts: map the board's regions, take the others from DDR.

        Raises KernelError (-ENOMEM) when the DDR set aside for that is used up.
        """
        for index, entry in enumerate(self._entries):
            if entry.pa is not None:
                self._entries[index] = replace(entry, mapped=True)
                continue
            pa = self.dma_alloc(entry.size, "rproc_alloc_carveout", entry.name)
            da = pa if entry.da == ANY else entry.da
            self._entries[index] = replace(entry, pa=pa, da=da, mapped=True)

    def dma_alloc(self, size: int, function: str, name: str) -> int:
        """Physical address of `size` fresh bytes of DDR, rounded up to pages. Raises KernelError (-ENOMEM)."""
        rounded = -(-size // PAGE) * PAGE
        if size <= 0 or self._cma_used + rounded > CMA_SIZE:
            raise KernelError(function, Errno.ENOMEM, f"cannot allocate 0x{size:x} bytes for {name!r}", size=size)
        self._cma_used += rounded
        return CMA_BASE + self._cma_used - rounded

    def da_to_pa(self, da: int, size: int) -> int | None:
        """Where the kernel reaches `size` bytes at device address `da` (rproc_da_to_va), None when it does not."""
        for entry in self._entries:
            offset = da - entry.da
            if entry.mapped and entry.pa is not None and offset >= 0 and offset + size <= entry.size:
                return entry.pa + offset
        return None

    def holds_pa(self, pa: int, size: int) -> bool:
        """Whether one mapped carveout holds `size` bytes at physical address `pa` (rproc_pa_to_va)."""
        return any(e.mapped and e.pa is not None and e.pa <= pa and pa + size <= e.pa + e.size for e in self._entries)


def carveout_mismatch(entry: Carveout, da: int, size: int) -> str | None:
    """Why `size` bytes at `da` do not fit a registered carveout (rproc_check_carveout_da), None when they do."""
    if size > entry.size:
        return f"registered carveout {entry.name!r} of 0x{entry.size:x} bytes does not fit 0x{size:x} bytes"
    if da == ANY:
        return None
    if da < entry.da:
        return f"0x{da:08x} lies below the registered carveout {entry.name!r} at 0x{entry.da:08x}"
    if da - entry.da + size > entry.size:
        return f"0x{size:x} bytes at 0x{da:08x} end behind the registered carveout {entry.name!r}"
    return None
