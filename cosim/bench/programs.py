"""The programs that are measured: the prebuilt ones that only compute, and short A32 loops made here word by word.

Encodings: ARM Architecture Reference Manual, ARMv7-A and ARMv7-R edition, A8.8 (encoding A1 of each instruction).
"""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from cosim.errors import EngineError
from cosim.resources import firmware_file

M4_SPIN, A7_SPIN = "spin_m4.elf", "a7_spin.elf"
#: Where a short loop and its exception vectors lie: the normal-world client's place, which it needs no more.
LOOP_BASE, VECTORS = 0xC0000000, 0xC0001000

_SUBS_R4_1, _WFI, _SMC_0 = 0xE2544001, 0xE320F003, 0xE1600070
_LDR_R1_R0, _STR_R1_R0 = 0xE5901000, 0xE5801000
_MCR_VBAR_R5 = 0xEE0C5F10
_SUBS_PC_LR_4 = 0xE25EF004
_DATA_ABORT = 0x10


@dataclass(frozen=True)
class Program:
    """An ELF program: loadable segments (address, bytes), entry, and the address of `cosim_counter`."""

    elf: bytes
    segments: tuple[tuple[int, bytes], ...]
    entry: int
    counter: int


def read_program(name: str) -> Program:
    """A prebuilt program that counts its rounds. Raises `EngineError` when it has no counter."""
    data = firmware_file(name).read_bytes()
    elf = ELFFile(io.BytesIO(data))
    table = elf.get_section_by_name(".symtab")
    found = table.get_symbol_by_name("cosim_counter") if isinstance(table, SymbolTableSection) else None
    if not found:
        raise EngineError(f"{name} has no symbol cosim_counter", hint="rebuild the firmware")
    segments = tuple((s["p_paddr"], s.data()) for s in elf.iter_segments("PT_LOAD") if s["p_filesz"])
    return Program(data, segments, elf["e_entry"], found[0]["st_value"])


def read_loop(address: int, times: int) -> bytes:
    """Read the word at `address` so many times, then wait for interrupts."""
    return _loop([_LDR_R1_R0], times, address)


def write_loop(address: int, times: int) -> bytes:
    """Write the word at `address` so many times, then wait for interrupts."""
    return _loop([_STR_R1_R0], times, address)


def smc_loop(function: int, times: int) -> bytes:
    """Call the secure monitor's `function` so many times, then wait for interrupts."""
    return _loop([*_load(0, function), _SMC_0], times, 0)


def vectors() -> bytes:
    """Exception vectors for `VECTORS`: a data abort returns to the instruction behind the one that faulted."""
    return struct.pack("<I", _SUBS_PC_LR_4).rjust(_DATA_ABORT + 4, b"\0")


def _loop(body: Sequence[int], times: int, address: int) -> bytes:
    """Point r0 at `address` and VBAR at `VECTORS`, run `body` `times` times, sleep."""
    start = [*_load(5, VECTORS), _MCR_VBAR_R5, *_load(0, address), *_load(4, times)]
    # The offset counts words from two instructions behind the branch.
    back = 0x1A000000 | (-(len(body) + 3) & 0xFFFFFF)
    words = [*start, *body, _SUBS_R4_1, back, _WFI]
    return struct.pack(f"<{len(words)}I", *words)


def _load(register: int, value: int) -> list[int]:
    """MOVW and MOVT of a 32-bit value."""
    return [
        opcode | (half >> 12) << 16 | register << 12 | half & 0xFFF
        for opcode, half in ((0xE3000000, value & 0xFFFF), (0xE3400000, value >> 16))
    ]
