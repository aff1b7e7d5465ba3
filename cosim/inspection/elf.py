"""Checks of the ELF files against the M4: memories, vectors, resource table, and how the TA will look segments up."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from cosim.inspection.model import Finding, ImageView, TableView, Vectors
from cosim.memory_map import Window, cell, elsewhere, loadable, window_at
from ta.image_elf import PT_LOAD, Elf, ElfScan, Segment
from ta.image_problem import Severity
from ta.memory_map import ISOLATED_BANKS
from ta.resource_table import SECTION_NAME, Trace, locate, scan_resource_table

_ET_EXEC = 2
_ISOLATED = frozenset(bank.name for bank in ISOLATED_BANKS)
_MAP_HINT = "Link to RETRAM at 0x00000000 (64 KiB) and SRAM1..3 at 0x10000000 (320 KiB) of the STM32MP15."


@dataclass(frozen=True, slots=True)
class Load:
    """A PT_LOAD segment and the image it belongs to."""

    image: int
    base: int
    segment: Segment

    def finding(self, severity: Severity, code: str, message: str, hint: str, *, address: int | None = None) -> Finding:
        """A finding about this segment."""
        s = self.segment
        where = s.p_paddr if address is None else address
        text = f"image {self.image}, segment {s.index}: {message}"
        return Finding(severity, code, text, hint, self.base + s.offset, where, self.image, s.index)


def loads_of(images: Iterable[ImageView]) -> list[Load]:
    """All PT_LOAD segments, in the order in which the TA loads them."""
    return [
        Load(image.index, image.offset, segment)
        for image in images
        if image.elf is not None
        for segment in image.elf.loads
    ]


def is_loadable(segment: Segment) -> bool:
    """Whether the TA has a region for the bytes of a segment, and for the zeros behind them."""
    return all(loadable(da, size) for da, size in _parts(segment))


def _parts(segment: Segment) -> Iterator[tuple[int, int]]:
    if segment.p_filesz:
        yield segment.p_paddr, segment.p_filesz
    if segment.p_memsz > segment.p_filesz:
        yield segment.p_paddr + segment.p_filesz, segment.p_memsz - segment.p_filesz


def check_type(image: ImageView) -> Iterator[Finding]:
    """Whether it is a linked executable."""
    if image.elf is not None and image.elf.e_type != _ET_EXEC:
        text = f"image {image.index}: ELF type {image.elf.e_type} is not an executable (2)"
        hint = "Link without -r, -shared and -pie: nobody relocates this firmware."
        yield Finding(Severity.WARNING, "elf-type", text, hint, image.offset + 16, image=image.index)


def check_memories(loads: Sequence[Load]) -> Iterator[Finding]:
    """Whether each segment lies in memory of the M4, and whether two of them use the same cells."""
    for load in loads:
        for da, size in _parts(load.segment):
            if not loadable(da, size):
                yield _outside(load, da, size)
                break
        run = load.segment.p_vaddr
        if load.segment.p_memsz and run != load.segment.p_paddr and window_at(run) is None:
            text = f"its run address 0x{run:08x} is no memory of the M4{_there(run)}"
            yield load.finding(Severity.WARNING, "run-address", text, _MAP_HINT, address=run)
    yield from _overlaps(loads)


def _outside(load: Load, da: int, size: int) -> Finding:
    window = window_at(da)
    denied = "The TA answers ACCESS_DENIED (0xffff0001)."
    if window is None:
        text = f"load address 0x{da:08x} is no memory of the M4{_there(da)}"
        return load.finding(Severity.ERROR, "segment-outside", text, f"{_MAP_HINT} {denied}", address=da)
    text = f"0x{da:08x}..0x{da + size - 1:08x} starts in {window.bank.name} but does not fit into one region of the TA"
    hint = f"Regions: RETRAM, SRAM1+SRAM2, and the shared ones in SRAM3. {denied}"
    return load.finding(Severity.ERROR, "segment-spans", text, hint, address=da)


def _there(da: int) -> str:
    text = elsewhere(da)
    return f" ({text})" if text else ""


def _overlaps(loads: Sequence[Load]) -> Iterator[Finding]:
    placed = [
        (start, load) for load in loads if load.segment.p_memsz and (start := cell(load.segment.p_paddr)) is not None
    ]
    placed.sort(key=lambda item: item[0])
    reach, last = -1, None
    for start, load in placed:
        if last is not None and start < reach:
            text = f"it shares memory with segment {last.segment.index} of image {last.image}"
            hint = "The later one overwrites the other; 0x10000000 and 0x30000000 are the same cells."
            yield load.finding(Severity.WARNING, "segment-overlap", text, hint)
        if start + load.segment.p_memsz > reach:
            reach, last = start + load.segment.p_memsz, load


def read_vectors(elf: Elf | None) -> Vectors | None:
    """Initial SP and reset vector, when the file loads them to device address 0."""
    for segment in () if elf is None else elf.loads:
        data = b"" if elf is None or segment.p_paddr else elf.segment_bytes(segment)[:8]
        if len(data) == 8:
            return Vectors(int.from_bytes(data[:4], "little"), int.from_bytes(data[4:], "little"))
    return None


def check_vectors(loads: Sequence[Load], images: Sequence[ImageView]) -> Iterator[Finding]:
    """Whether the M4 will find a usable stack pointer and reset vector at 0x0."""
    if not loads:
        return
    found = [(image, image.vectors) for image in images if image.vectors is not None]
    if not found:
        hint = "Put the vector table at 0x00000000 in RETRAM: the M4 boots from there, e_entry is not used."
        text = "nothing is loaded at 0x00000000: START would run whatever vectors were left there"
        yield Finding(Severity.ERROR, "no-vectors", text, hint, address=0)
    for image, vectors in found:
        yield from _stack(image, vectors.initial_sp)
        yield from _reset(image, vectors.reset, loads)


def _stack(image: ImageView, sp: int) -> Iterator[Finding]:
    if window_at(sp - 1) is None:
        text = f"the initial stack pointer 0x{sp:08x} does not point into memory of the M4{_there(sp)}"
        hint = "Word 0 of the vector table must be the end of the stack, such as 0x10040000."
        yield Finding(Severity.ERROR, "stack-pointer", text, hint, address=sp, image=image.index)
    elif sp % 8:
        text = f"the initial stack pointer 0x{sp:08x} is not 8-byte aligned"
        hint = "Align the end of the stack to 8 bytes (AAPCS)."
        yield Finding(Severity.WARNING, "stack-align", text, hint, address=sp, image=image.index)


def _reset(image: ImageView, reset: int, loads: Sequence[Load]) -> Iterator[Finding]:
    if not reset & 1:
        text = f"the reset vector 0x{reset:08x} has bit 0 clear, so the M4 faults at once"
        hint = "Declare the handler as a function (.thumb_func, or .type Reset_Handler, %function)."
        yield Finding(Severity.ERROR, "reset-thumb", text, hint, address=reset, image=image.index)
    target = cell(reset & ~1)
    starts = ((cell(load.segment.p_paddr), load.segment.p_filesz) for load in loads)
    if target is None or not any(start is not None and start <= target < start + size for start, size in starts):
        text = f"the reset vector 0x{reset:08x} points to memory that nothing is loaded to"
        hint = f"Load code where it runs: p_paddr and p_vaddr of the code segment must agree.{_there(reset)}"
        yield Finding(Severity.ERROR, "reset-vector", text, hint, address=reset, image=image.index)


def read_table(scan: ElfScan, base: int, image: int) -> tuple[TableView | None, list[Finding]]:
    """The resource table of an image that starts at file offset `base`, and what is wrong with it."""
    if scan.elf is None:
        return None, []
    findings = [Finding.of(p, base=base, image=image) for p in scan.section_problems]
    section, problems = locate(scan.elf)
    findings += [Finding.of(p, base=base, image=image) for p in problems]
    if section is None:
        return None, findings
    data = scan.elf.data[section.sh_offset : section.sh_offset + section.sh_size]
    table = scan_resource_table(data, offset=base + section.sh_offset)
    if not problems:
        findings += [Finding.of(p, image=image) for p in table.problems]
    load_address = _load_address(scan.elf, section.sh_offset, section.sh_size)
    view = TableView(base + section.sh_offset, section.sh_size, section.sh_addr, load_address, table.table)
    return view, findings


def _load_address(elf: Elf, offset: int, size: int) -> int | None:
    for s in elf.loads:
        if s.p_offset <= offset and offset + size <= s.p_offset + s.p_filesz:
            return s.p_paddr + offset - s.p_offset
    return None


def check_tables(images: Sequence[ImageView]) -> Iterator[Finding]:
    """Whether the TA will report an address at which the table really lies and Linux can read it."""
    found = [(image, image.table) for image in images if image.table is not None]
    empty = [image for image in images if image.elf is not None and image.elf.section(SECTION_NAME) is not None]
    if not found and empty:
        hint = "Linux finds no rpmsg and no trace. Fine if there are none; else the table was not linked in: KEEP it."
        text = f"image {empty[0].index}: the section {SECTION_NAME} is empty, which means no resource table"
        yield Finding(Severity.WARNING, "table-empty", text, hint, image=empty[0].index)
    elif not found and any(image.elf is not None and image.elf.sections for image in images):
        hint = "Fine for firmware without rpmsg and trace buffer; else add a .resource_table section."
        yield Finding(Severity.NOTE, "no-table", "no resource table", hint)
    for image, view in found:
        yield from _table_address(image.index, view)
        for entry in view.table.entries if view.table is not None else ():
            if isinstance(entry, Trace):
                yield from _shared(
                    image.index, f"the trace buffer {entry.name!r}", view.offset + entry.offset, entry.da
                )
    for image, view in found[1:]:
        hint = "Keep the table in one of the images only. The TA answers BAD_FORMAT (0xffff0005)."
        text = f"image {image.index}: a second resource table"
        yield Finding(Severity.ERROR, "table-second", text, hint, view.offset, view.run_address, image.index)


def _table_address(image: int, view: TableView) -> Iterator[Finding]:
    run, load = view.run_address, view.load_address

    def finding(severity: Severity, code: str, message: str, hint: str) -> Finding:
        return Finding(severity, code, f"image {image}: {message}", hint, view.offset, run, image)

    if not loadable(run, view.size):
        text = f"the resource table runs at 0x{run:08x}, outside the TA's regions{_there(run)}"
        hint = "Link .resource_table to memory of the M4. The TA answers ACCESS_DENIED (0xffff0001)."
        yield finding(Severity.ERROR, "table-outside", text, hint)
        return
    if load is None:
        text = f"the resource table at 0x{run:08x} is in no PT_LOAD segment, so nothing puts it there"
        yield finding(Severity.ERROR, "table-not-loaded", text, "Place .resource_table in a loaded segment (KEEP it).")
    elif cell(run) != cell(load):
        text = f"the resource table is loaded to 0x{load:08x}, but the TA reports its run address 0x{run:08x}"
        hint = "Linux would read a table that is not there: give .resource_table a section without AT>, load = run."
        yield finding(Severity.ERROR, "table-run-address", text, hint)
    yield from _shared(image, "the resource table", view.offset, run)


def _shared(image: int, what: str, offset: int, da: int) -> Iterator[Finding]:
    window = window_at(da)
    if window is None:
        text = f"image {image}: {what} at 0x{da:08x} is in no memory of the M4{_there(da)}"
        yield Finding(Severity.WARNING, "not-in-memory", text, _MAP_HINT, offset, da, image)
    elif _isolated(window):
        text = f"image {image}: {what} at 0x{da:08x} is in {window.bank.name}, which Linux cannot read once isolated"
        hint = "Move what Linux reads to SRAM3 (0x10048000), as ST's layout for signed firmware does."
        yield Finding(Severity.WARNING, "isolated-bank", text, hint, offset, da, image)


def _isolated(window: Window) -> bool:
    return window.bank.name in _ISOLATED


def check_shadows(loads: Sequence[Load], table: Sequence[tuple[int, int, int, int]]) -> Iterator[Finding]:
    """Whether the TA finds each segment by its load address.

    `table` holds (p_type, p_paddr, p_filesz, p_memsz) of every program header of every image, as it is or will be
    signed. The upstream TA takes the first with the same p_paddr.
    """
    known = set(table)
    first: dict[int, tuple[int, int, int, int]] = {}
    for entry in table:
        first.setdefault(entry[1], entry)
    for load in loads:
        s = load.segment
        mine = (PT_LOAD, s.p_paddr, s.p_filesz, s.p_memsz)
        taken = first.get(s.p_paddr)
        if taken is not None and taken != mine and mine in known:
            text = f"another program header with the same p_paddr 0x{s.p_paddr:08x} comes first and hides it"
            hint = (
                "Drop or move the PT_ARM_EXIDX or empty segment (`/DISCARD/` .ARM.exidx), or give images load "
                "addresses of their own. The upstream TA answers BAD_PARAMETERS (0xffff0006)."
            )
            yield load.finding(Severity.ERROR, "segment-shadowed", text, hint)
