"""Semantic checks of a whole machine description: sizes, the 32-bit address space, overlaps, names that must exist."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from cosim.platform.model import Entry, Platform, Reference, Registration
from cosim.platform.place import Place

ADDRESS_SPACE = 1 << 32
#: Granule of memories: what the engines can map, and the firewall's page.
MEMORY_GRANULE = 0x1000
MAX_CORES = 16
MAX_REGISTRATIONS = 16384

MEMORY = "Memory.MappedMemory"
PYTHON = "Python.PythonPeripheral"
#: Sizes that Renode's classes have built in (IKnownSize), in bytes.
BUILT_IN_SIZES = {"IRQControllers.NVIC": 0x1000, "UART.STM32F7_USART": 0x400}


def extent(entry: Entry, registration: Registration) -> int | None:
    """Size in bytes of `entry` at `registration`: its own, the `size` property, or the class's; None when unknown."""
    if registration.size is not None:
        return registration.size
    size = entry.properties.get("size")
    if isinstance(size, int) and not isinstance(size, bool):
        return size
    return BUILT_IN_SIZES.get(entry.type)


def cores(platform: Platform) -> tuple[Entry, ...]:
    """The entries that are processors."""
    return tuple(entry for entry in platform.entries.values() if entry.type.startswith("CPU."))


def validate(platform: Platform) -> None:
    """Raise `PlatformError` (`file`, `line`, `entry`, `type`) for the first contradiction of the description."""
    processors = cores(platform)
    if len(processors) > MAX_CORES:
        raise Place.of(processors[MAX_CORES]).error(f"more than {MAX_CORES} cores", "split the machine")
    count = 0
    for entry in platform.entries.values():
        count += len(entry.registrations)
        if count > MAX_REGISTRATIONS:
            raise Place.of(entry).error(f"more than {MAX_REGISTRATIONS} registrations", "split the machine")
        _check_sizes(entry)
        _check_names(entry, platform, {core.name for core in processors})
    for core in processors:
        _check_overlaps(platform, core.name)
    if not processors:
        _check_overlaps(platform, None)


def _check_sizes(entry: Entry) -> None:
    size = entry.properties.get("size")
    if entry.type in (MEMORY, PYTHON) and (not isinstance(size, int) or isinstance(size, bool) or size <= 0):
        raise Place.of(entry).error(
            f"a {entry.type} without a size", "add a line 'size: 0x1000' with its size in bytes"
        )
    for registration in entry.registrations:
        bytes_ = extent(entry, registration) or 1
        address = registration.address
        if not 0 <= address < ADDRESS_SPACE or not 0 < bytes_ <= ADDRESS_SPACE - address:
            message = f"{bytes_:#x} bytes at {address:#x} are outside the 32-bit address space"
            raise Place.of(entry).error(message, "addresses go from 0x00000000 to 0xffffffff")
        if entry.type == MEMORY and (address % MEMORY_GRANULE or bytes_ % MEMORY_GRANULE):
            message = f"{bytes_:#x} bytes at 0x{address:08x} are no whole pages"
            raise Place.of(entry).error(message, f"address and size of a memory are multiples of {MEMORY_GRANULE:#x}")


def _check_names(entry: Entry, platform: Platform, processors: set[str]) -> None:
    known = {"sysbus", *platform.entries}
    for name, kind in _names(entry):
        if name not in known:
            raise Place.of(entry).error(f"{kind} '{name}' does not exist", "correct the name or add the entry")
    for registration in entry.registrations:
        if registration.cpu is not None and registration.cpu not in processors:
            raise Place.of(entry).error(f"'{registration.cpu}' is not a core", "'cpu:' names an entry of a CPU type")


def _names(entry: Entry) -> Iterator[tuple[str, str]]:
    if entry.parent is not None:
        yield entry.parent, "the place of registration"
    for registration in entry.registrations:
        if registration.cpu is not None:
            yield registration.cpu, "the core"
    for name, value in entry.properties.items():
        if isinstance(value, Reference):
            yield value.name, f"the entry in '{name}:'"
    for interrupt in entry.interrupts:
        yield interrupt.destination, "the interrupt destination"


def _check_overlaps(platform: Platform, core: str | None) -> None:
    view = sorted(
        (
            (registration.address, registration.address + (extent(entry, registration) or 1), entry)
            for entry in platform.entries.values()
            for registration in entry.registrations
            if registration.cpu in (None, core)
        ),
        key=lambda place: place[:2],
    )
    for (_, end, below), (begin, _, above) in pairwise(view):
        if begin < end:
            seen = f" in the view of {core}" if core else ""
            message = f"its address 0x{begin:08x} is taken by '{below.name}'{seen}"
            raise Place.of(above).error(message, f"'{below.name}' ends at 0x{end - 1:08x}; move or shrink one of them")
