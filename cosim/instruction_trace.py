"""What a core executed, as text: instruction by instruction, or run by run, a run being instructions in sequence.

For the embedded engine, which notes it. The last `MOST_LINES` are kept.
"""

from __future__ import annotations

from collections.abc import Iterator

import capstone

from cosim.engine import DebugCore, ExecutedInstruction
from cosim.symbols import Symbols

MOST_LINES = 1_000_000


class InstructionTrace:
    """The trace of the instructions of `core` from now on. `symbols` name its functions."""

    def __init__(self, core: DebugCore, symbols: Symbols, *, m_profile: bool = True) -> None:
        self._symbols = symbols
        self._words: dict[tuple[int, bool, bytes], str] = {}
        profile = capstone.CS_MODE_MCLASS if m_profile else 0
        self._thumb = capstone.Cs(capstone.CS_ARCH_ARM, capstone.CS_MODE_THUMB | profile)
        self._arm = capstone.Cs(capstone.CS_ARCH_ARM, capstone.CS_MODE_ARM)
        self._trace = core.trace_instructions(MOST_LINES)

    def close(self) -> None:
        """End it; the lines stay."""
        self._trace.close()

    def lines(self) -> Iterator[str]:
        """One line for each instruction, as it began: the counts are those of the instructions before it."""
        yield f"{'us':>14} {'retired':>10}  {'address':<8}  {'code':<9}  {'instruction':<36} function\n"
        yield from _left_out(self._trace.left_out, "instructions")
        for line in self._trace.lines():
            yield f"{_when(line.time_ps, line.retired)}  {line.address:08x}  {self._in_words(line)}\n"

    def _in_words(self, line: ExecutedInstruction) -> str:
        address, thumb, code = known = line[2:]
        words = self._words.get(known)
        if words is None:
            halves = " ".join(code[at : at + 2][::-1].hex() for at in range(0, len(code), 2))
            found = next((self._thumb if thumb else self._arm).disasm_lite(code, address), None)
            text = "?" if found is None else f"{found[2]} {found[3]}".rstrip()
            words = f"{halves if thumb else code[::-1].hex():<9}  {text:<36} {self._symbols.at(address) or ''}".rstrip()
            self._words[known] = words
        return words


class BlockTrace:
    """The trace of the runs of `core` from now on: where it goes, and how often it goes round."""

    def __init__(self, core: DebugCore, symbols: Symbols) -> None:
        self._symbols = symbols
        self._trace = core.trace_runs(MOST_LINES)

    def close(self) -> None:
        """End it; the lines stay."""
        self._trace.close()

    def lines(self) -> Iterator[str]:
        """One line for each run: first and last address, instructions, and how many times in a row."""
        yield f"{'us':>14} {'retired':>10}  {'first':<8}  {'last':<8}  {'count':>5} {'times':>10}  function\n"
        yield from _left_out(self._trace.left_out, "runs")
        for run in self._trace.lines():
            where = f"{run.address:08x}  {run.last:08x}  {run.instructions:>5} {run.times:>10}"
            name = self._symbols.at(run.address) or ""
            yield f"{_when(run.time_ps, run.retired)}  {where}  {name}".rstrip() + "\n"


def _left_out(count: int, what: str) -> Iterator[str]:
    if count:
        yield f"({count} {what} before these were left out)\n"


def _when(time_ps: int, retired: int) -> str:
    return f"{time_ps // 1_000_000}.{time_ps // 1000 % 1000:03d}".rjust(14) + f" {retired:>10}"
