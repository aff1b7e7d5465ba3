"""Short pieces of code, and the cycles that executing them takes."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from cosim.timing import CodeCosts, CostTable, CycleCounter, Decoder, MemoryTiming

BASE = 0x1000_0000
SIZE = 0x400


@cache
def m4() -> CostTable:
    return CostTable.load("cortex-m4")


class Code:
    """Code memory at `BASE` whose bytes can change."""

    def __init__(self, code: bytes) -> None:
        self.memory = bytearray(code.ljust(SIZE, b"\x00"))
        self.costs = CodeCosts(Decoder(m4()), BASE, SIZE, self._read)

    def _read(self, address: int, size: int) -> bytes:
        assert address >= BASE
        assert address + size <= BASE + SIZE
        return bytes(self.memory[address - BASE : address - BASE + size])

    def counter(self, memory: MemoryTiming | None = None) -> CycleCounter:
        return CycleCounter(m4(), [self.costs], memory)


def cycles_of(code: bytes, trace: Iterable[int]) -> int:
    """Cycles of executing the instructions at the addresses of `trace`, one after the other."""
    counter = Code(code).counter()
    for address in trace:
        counter.step(address)
    return counter.cycles
