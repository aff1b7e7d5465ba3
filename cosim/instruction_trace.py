"""What a core executed, instruction by instruction: virtual time, counts, address, code, disassembly and function.

For the embedded engine, which tells of each instruction. The last `MOST_LINES` are kept.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import capstone

from cosim.engine import DebugCore
from cosim.symbols import Symbols

MOST_LINES = 1_000_000


class InstructionTrace:
    """The trace of `core`, a Cortex-M4, from now on. `symbols` name its functions."""

    def __init__(self, core: DebugCore, symbols: Symbols) -> None:
        self._core = core
        self._symbols = symbols
        self._lines: deque[tuple[int, int, int, bytes]] = deque(maxlen=MOST_LINES)
        self._count = 0
        self._words: dict[tuple[int, bytes], str] = {}
        self._disassembler = capstone.Cs(capstone.CS_ARCH_ARM, capstone.CS_MODE_THUMB | capstone.CS_MODE_MCLASS)
        core.announce(self._note)

    def close(self) -> None:
        """End it; the lines stay."""
        self._core.announce(None)

    def lines(self) -> Iterator[str]:
        """One line for each instruction, as it began: the counts are those of the instructions before it."""
        yield f"{'us':>14} {'retired':>10}  {'address':<8}  {'code':<9}  {'instruction':<36} function\n"
        if self._count > len(self._lines):
            yield f"({self._count - len(self._lines)} instructions before these were left out)\n"
        for time_ps, retired, address, code in self._lines:
            time = f"{time_ps // 1_000_000}.{time_ps // 1000 % 1000:03d}"
            yield f"{time:>14} {retired:>10}  {address:08x}  {self._in_words(address, code)}\n"

    def _note(self, address: int, size: int) -> None:
        core = self._core
        self._count += 1
        self._lines.append((core.time_ps, core.retired, address, core.read_code(address, size)))

    def _in_words(self, address: int, code: bytes) -> str:
        words = self._words.get((address, code))
        if words is None:
            halves = " ".join(code[at : at + 2][::-1].hex() for at in range(0, len(code), 2))
            found = next(self._disassembler.disasm_lite(code, address), None)
            text = "?" if found is None else f"{found[2]} {found[3]}".rstrip()
            words = f"{halves:<9}  {text:<36} {self._symbols.at(address) or ''}".rstrip()
            self._words[address, code] = words
        return words
