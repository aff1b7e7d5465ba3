"""Function names of firmware: which function an address belongs to, from the symbol tables of its ELF files."""

from __future__ import annotations

import bisect
import struct
from collections.abc import Iterable

from ta.image_elf import Elf, Section

_SYMBOL = struct.Struct("<IIIBBH")
_SHT_SYMTAB, _STT_FUNC, _LINK_OFFSET = 2, 2, 24
#: Bounds for hostile files: symbols read of one table, bytes of a name, bytes that a function may be long.
MOST_SYMBOLS, _LONGEST_NAME, _LARGEST = 65536, 256, 0x100000
#: Bytes that a function without a size is taken to have at most.
_MOST_UNSIZED = 0x1000


class Symbols:
    """The functions of some ELF files; a broken or missing table just gives no names."""

    def __init__(self, elves: Iterable[Elf]) -> None:
        functions = {}
        for elf in elves:
            for section in elf.sections:
                if section.sh_type == _SHT_SYMTAB:
                    functions.update(_functions(elf, section))
        self._starts = sorted(functions)
        self._functions = functions

    def at(self, address: int) -> str | None:
        """`name+0x12` for an address inside a function, `name` for its start, None elsewhere."""
        start = self.function(address)
        if start is None:
            return None
        offset = (address & ~1) - start
        name, _ = self._functions[start]
        return f"{name}+0x{offset:x}" if offset else name

    def function(self, address: int) -> int | None:
        """Where the function that holds `address` begins."""
        index = bisect.bisect_right(self._starts, address & ~1) - 1
        if index < 0:
            return None
        start = self._starts[index]
        _, size = self._functions[start]
        return start if (address & ~1) < start + (size or self._unsized(index)) else None

    def _unsized(self, index: int) -> int:
        """Assembler often states no size: up to the next function, and not far."""
        following = self._starts[index + 1 : index + 2]
        return min([_MOST_UNSIZED, *(start - self._starts[index] for start in following)])


def _functions(elf: Elf, table: Section) -> dict[int, tuple[str, int]]:
    """Start address (bit 0 clear) to name and size in bytes."""
    (link,) = struct.unpack_from("<I", elf.data, table.offset + _LINK_OFFSET)
    names = next((s for s in elf.sections if s.index == link), None)
    if names is None:
        return {}
    found: dict[int, tuple[str, int]] = {}
    count = min(table.sh_size // _SYMBOL.size, MOST_SYMBOLS)
    data = elf.data[table.sh_offset : table.sh_offset + count * _SYMBOL.size]
    for at in range(0, len(data) - _SYMBOL.size + 1, _SYMBOL.size):
        name, value, size, info, _, section = _SYMBOL.unpack_from(data, at)
        if info & 15 != _STT_FUNC or not section or size > _LARGEST or name >= names.sh_size:
            continue
        start = names.sh_offset + name
        text = elf.data[start : start + _LONGEST_NAME].split(b"\0", 1)[0].decode("ascii", "replace")
        if text:
            found.setdefault(value & ~1, (text, size))
    return found
