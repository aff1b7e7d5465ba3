"""Short pieces of code, and the cycles that executing them takes."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from cosim.timing import CodeCosts, CostTable, CycleCounter, Decoder, InstructionCost, MemoryTiming, Step
from cosim.timing.code import RECORD

BASE = 0x1000_0000
SIZE = 0x400


@cache
def m4() -> CostTable:
    return CostTable.load("cortex-m4")


class Code:
    """Code memory at `BASE` whose bytes can change."""

    def __init__(self, code: bytes, memory: MemoryTiming | None = None) -> None:
        self.memory = bytearray(code.ljust(SIZE, b"\x00"))
        self.timing = memory
        self.costs = CodeCosts(Decoder(m4()), self._read, memory)

    def _read(self, address: int, size: int) -> bytes:
        return bytes(self.memory[address - BASE : address - BASE + size]) if address >= BASE else b""

    def record(self, address: int) -> bytes:
        """The record of the instruction at `address`."""
        page, offset = self.costs.ensure(address)
        return bytes(page[offset : offset + RECORD])

    def seen(self, address: int) -> bytes:
        """The record as it is, whether it was made or not."""
        offset = self.costs.offset(address)
        return bytes(self.costs.page(address)[offset : offset + RECORD])

    def counter(self) -> CycleCounter:
        return CycleCounter(m4(), self.costs, self.timing)


def addresses(base: int, instructions: Iterable[InstructionCost]) -> list[int]:
    """Where instructions lie that follow each other from `base` on."""
    found = []
    for instruction in instructions:
        found.append(base)
        base += instruction.size
    return found


def cycles_of(code: bytes, trace: Iterable[int]) -> int:
    """Cycles of executing the instructions at the addresses of `trace`, one after the other."""
    counter = Code(code).counter()
    for address in trace:
        counter.step(Step(address))
    return counter.cycles
