"""Target `table`: a resource table, as inspection reads it and as the kernel acts on it."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from fuzz_target import FuzzTarget, Play, require

from cosim.linux.carveout import Carveouts
from cosim.linux.errno import KernelError, KernelOopsError
from cosim.linux.resources import KernelTable, handle_resources, write_back_carveouts
from cosim.resources import firmware_file
from ta.errors import ImageError
from ta.resource_table import MAX_ENTRIES, MAX_TABLE_SIZE, find_in_elf, parse_resource_table, scan_resource_table

#: Lines that one table may put into the kernel's log: one for each word of its list of offsets.
_MOST_LINES = MAX_TABLE_SIZE // 4


def table_seeds() -> Sequence[bytes]:
    """The tables of the project's firmware, and one with every kind of entry."""
    tables = []
    for name in ("demo_m4.elf", "rpmsg_echo.elf"):
        elf = firmware_file(name).read_bytes()
        found = find_in_elf(elf)
        require(found is not None, f"{name} has no resource table")
        if found is not None:
            tables.append(elf[found[0] : found[0] + found[1]])
    memory = struct.pack("<6I32s", 0, 0x10048000, 0, 0x1000, 0, 0, b"buffer")
    device = struct.pack("<6I32s", 1, 0x40000000, 0x40000000, 0x1000, 0, 0, b"uart")
    trace = struct.pack("<4I32s", 2, 0x10049000, 0x1000, 0, b"trace")
    ring = struct.pack("<5I", 0xFFFFFFFF, 16, 16, 0, 0)
    virtio = struct.pack("<6I4B", 3, 7, 0, 1, 0, 4, 0, 2, 0, 0) + 2 * ring + b"conf"
    vendor = struct.pack("<2I", 128, 0)
    entries = [memory, device, trace, virtio, vendor]
    at, offsets = 16 + 4 * len(entries), []
    for entry in entries:
        offsets.append(at)
        at += len(entry)
    return [*tables, struct.pack("<4I5I", 1, len(entries), 0, 0, *offsets) + b"".join(entries)]


def _make() -> Play:
    def play(data: bytes) -> None:
        scan = scan_resource_table(data)
        require(scan.table is None or len(scan.table.entries) <= MAX_ENTRIES, "more entries than are read")
        try:
            parse_resource_table(data)
        except ImageError as refusal:
            require(bool(scan.problems) and bool(refusal.hint), f"{refusal} is not what the scan found")
        _as_the_kernel(data)

    return play


def _as_the_kernel(data: bytes) -> None:
    """What rproc_boot makes of it; the table keeps its size, and the log stays small."""
    table, carveouts, lines = KernelTable(data), Carveouts(), 0

    def printk(_level: str, _function: str, _text: str) -> None:
        nonlocal lines
        lines += 1

    carveouts.add_board_regions()
    try:
        handle_resources(table, carveouts, printk)
        carveouts.allocate()
        write_back_carveouts(table, carveouts)
    except (KernelError, KernelOopsError) as refusal:
        require(bool(refusal.fields.get("function")), f"{refusal} names no function")
    require(lines <= _MOST_LINES, f"{lines} lines in the kernel's log")
    require(len(table) == len(data), "the table has changed its size")


TABLE = FuzzTarget("table", table_seeds, _make, 4096)
