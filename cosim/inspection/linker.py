"""What to change in the linker script: the section that a finding is about, and the line that would repair it.

Section and region names are those of STM32CubeMP1's linker scripts (m_interrupts, m_text, m_data); the addresses are
the M4's memories and the region that OP-TEE shares with Linux (0x10048000).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from cosim.inspection.model import Finding, ImageView
from ta.image_elf import SHT_NOBITS, Elf, Section, Segment
from ta.resource_table import SECTION_NAME

_SHARED = "MEMORY { m_rsc_table (RW) : ORIGIN = 0x10048000, LENGTH = 0x8000 }"
_TABLE = f".resource_table : {{ KEEP(*(.resource_table*)) }} > m_rsc_table  /* {_SHARED} */"
_LOG = f".log (NOLOAD) : {{ *(.log) }} > m_rsc_table  /* the buffer in a section of its own; {_SHARED} */"
_MAP = (
    "MEMORY { m_interrupts (RX) : ORIGIN = 0x00000000, LENGTH = 0x298  "
    "m_text (RX) : ORIGIN = 0x10000000, LENGTH = 0x20000  m_data (RW) : ORIGIN = 0x10020000, LENGTH = 0x20000 }"
)
_LINES = {
    "table-run-address": _TABLE,
    "table-not-loaded": _TABLE,
    "table-outside": _TABLE,
    "table-empty": _TABLE,
    "no-table": _TABLE,
    "table-second": "/DISCARD/ : { *(.resource_table*) }  /* in all images but one */",
    "no-vectors": ".isr_vector : { KEEP(*(.isr_vector)) } > m_interrupts  /* ORIGIN = 0x00000000, LENGTH = 0x298 */",
    "stack-pointer": "_estack = ORIGIN(m_data) + LENGTH(m_data);  /* 0x10040000 */",
    "stack-align": "_estack = (ORIGIN(m_data) + LENGTH(m_data)) & ~7;",
    "reset-vector": ".text : { *(.text*) } > m_text  /* no AT>: nobody copies code to where it runs */",
    "segment-outside": _MAP,
    "segment-spans": _MAP,
    "run-address": _MAP,
    "segment-overlap": "m_data (RW) : ORIGIN = 0x10020000, LENGTH = 0x20000  /* behind m_text, by one alias only */",
    "segment-shadowed": "/DISCARD/ : { *(.ARM.exidx* .ARM.extab*) }",
}
_TABLE_CODES = ("table-", "no-table")


def with_advice(findings: Iterable[Finding], images: Sequence[ImageView]) -> list[Finding]:
    """The findings with `section` and `change` filled in where there is something to say."""
    elves = {image.index: image.elf for image in images if image.elf is not None}
    return [_advised(finding, elves.get(finding.image or 0)) for finding in findings]


def _advised(finding: Finding, elf: Elf | None) -> Finding:
    section = None if elf is None else _section_of(finding, elf)
    change = _LINES.get(finding.code)
    if finding.code == "isolated-bank":
        change = _TABLE if section == SECTION_NAME else _LOG
    return replace(finding, section=section, change=change)


def _section_of(finding: Finding, elf: Elf) -> str | None:
    if finding.code.startswith(_TABLE_CODES):
        return SECTION_NAME
    if finding.segment is not None:
        segment = next((s for s in elf.segments if s.index == finding.segment), None)
        return None if segment is None else _first_in(elf, segment)
    if finding.code in ("stack-pointer", "stack-align", "reset-vector", "reset-thumb"):
        return _at(elf, 0)
    return None if finding.address is None else _at(elf, finding.address)


def _first_in(elf: Elf, segment: Segment) -> str | None:
    """The first section whose bytes, or zeros, are a segment's."""
    for section in elf.sections:
        if section.sh_size and section.sh_addr and _inside(section, segment):
            return section.name
    return _at(elf, segment.p_vaddr)


def _inside(section: Section, segment: Segment) -> bool:
    if section.sh_type == SHT_NOBITS:
        return segment.p_vaddr <= section.sh_addr < segment.p_vaddr + segment.p_memsz
    return segment.p_offset <= section.sh_offset < segment.p_offset + segment.p_filesz


def _at(elf: Elf, address: int) -> str | None:
    """The section of the program that holds a run address; debug sections lie at 0 too, but in no segment."""
    segments = elf.loads
    for section in elf.sections:
        if section.sh_addr <= address < section.sh_addr + section.sh_size and any(
            _inside(section, segment) for segment in segments
        ):
            return section.name
    return None
