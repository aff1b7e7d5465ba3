"""The prebuilt programs as the tests here see them: path, segments, symbols and section contents."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

FIRMWARE = Path(__file__).resolve().parents[2] / "firmware"
PREBUILT = FIRMWARE / "prebuilt"

DEMOS = ("demo_m4", "demo_m4_retram", "demo_m4_notable", "demo_m4_lma", "demo_m4_ddr", "demo_m4_v2")
M4_PROGRAMS = (*DEMOS, "spin_m4")
A7_PROGRAMS = ("a7_client", "a7_spin")
PROGRAMS = M4_PROGRAMS + A7_PROGRAMS
#: Programs that other folders of tests are about: the simulated core (tests/engines), RPMsg (tests/linux).
PROBES = (
    "demo_m4_cube",
    "rpmsg_echo",
    "rpmsg_hostile",
    "probe_faults",
    "probe_lockup",
    "probe_it",
    "dwt_probe",
    "probe_stores",
    "nvic_cases",
    "nvic_hostile",
    "kernel_m4",
    "watchdog_m4",
    "mpu_m4",
    "uart_echo",
    "irq_probe",
    "a7_probe_irq",
)


@dataclass(frozen=True)
class Segment:
    """One program header with its bytes in the file."""

    kind: str
    offset: int
    vaddr: int
    paddr: int
    memsz: int
    data: bytes


@dataclass(frozen=True)
class Section:
    """Run address, load address (None when no segment loads it) and contents of one section."""

    address: int
    load_address: int | None
    size: int
    data: bytes


@dataclass(frozen=True)
class Program:
    """One ELF file, read completely."""

    name: str
    entry: int
    segments: tuple[Segment, ...]
    sections: dict[str, Section]
    symbols: dict[str, int]

    def word(self, load_address: int) -> int:
        """The little-endian word that the file loads at an address."""
        for s in self.segments:
            if s.paddr <= load_address and load_address + 4 <= s.paddr + len(s.data):
                return int(struct.unpack_from("<I", s.data, load_address - s.paddr)[0])
        raise LookupError(f"0x{load_address:08x} is not loaded")


def load_address(address: int, size: int, segments: tuple[Segment, ...]) -> int | None:
    """Where the file puts the bytes that run at `address`, or None when no segment has them."""
    for s in segments:
        if s.vaddr <= address and address + size <= s.vaddr + len(s.data):
            return s.paddr + address - s.vaddr
    return None


def read_program(name: str) -> Program:
    """Read `prebuilt/<name>.elf`."""
    with (PREBUILT / f"{name}.elf").open("rb") as stream:
        elf = ELFFile(stream)
        segments = tuple(
            Segment(s["p_type"], s["p_offset"], s["p_vaddr"], s["p_paddr"], s["p_memsz"], s.data())
            for s in elf.iter_segments()
        )
        sections = {
            s.name: Section(s["sh_addr"], load_address(s["sh_addr"], s["sh_size"], segments), s["sh_size"], s.data())
            for s in elf.iter_sections()
        }
        table = elf.get_section_by_name(".symtab")
        symbols = {s.name: s["st_value"] for s in table.iter_symbols()} if isinstance(table, SymbolTableSection) else {}
        return Program(name, elf["e_entry"], segments, sections, symbols)
