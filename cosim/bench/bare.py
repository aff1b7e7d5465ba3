"""The yardstick: the benchmark programs on Unicorn alone, one instance per core, RAM only, no hook, nothing watched.

`count=` is Unicorn's own way to stop after a number of instructions. It overshoots inside IT blocks and does not say by
how much, so the work done is read from the program's own counter, not from what was asked for.
"""

from __future__ import annotations

from dataclasses import dataclass

from unicorn import UC_ARCH_ARM, UC_MODE_ARM, UC_MODE_THUMB, Uc
from unicorn.arm_const import (
    UC_ARM_REG_CPSR,
    UC_ARM_REG_PC,
    UC_ARM_REG_SP,
    UC_CPU_ARM_CORTEX_A7,
    UC_CPU_ARM_CORTEX_M4,
)

from cosim.bench.programs import Program

_NEVER = (1 << 32) - 1
_SVC_MODE = 0x1D3


@dataclass(frozen=True)
class _Ram:
    base: int
    size: int


_A7_RAM = (_Ram(0xC0000000, 0x200000),)
_M4_RAM = (_Ram(0x00000000, 0x10000), _Ram(0x10000000, 0x60000))


class BareCore:
    """One core with `program` loaded, at its entry."""

    def __init__(self, program: Program, *, thumb: bool) -> None:
        self._uc = Uc(UC_ARCH_ARM, UC_MODE_THUMB if thumb else UC_MODE_ARM)
        self._uc.ctl_set_cpu_model(UC_CPU_ARM_CORTEX_M4 if thumb else UC_CPU_ARM_CORTEX_A7)
        self._counter = program.counter
        self._thumb = int(thumb)
        for ram in _M4_RAM if thumb else _A7_RAM:
            self._uc.mem_map(ram.base, ram.size)
        for address, data in program.segments:
            self._uc.mem_write(address, data)
        if thumb:
            self._uc.reg_write(UC_ARM_REG_SP, self._word(0))
            self._uc.reg_write(UC_ARM_REG_PC, self._word(4))
        else:
            self._uc.reg_write(UC_ARM_REG_CPSR, _SVC_MODE)
            self._uc.reg_write(UC_ARM_REG_PC, program.entry)

    @property
    def rounds(self) -> int:
        """How many rounds the program has counted."""
        return self._word(self._counter)

    def run(self, instructions: int) -> None:
        """Go on for about that many instructions."""
        self._uc.emu_start(self._uc.reg_read(UC_ARM_REG_PC) | self._thumb, _NEVER, count=instructions)

    def _word(self, address: int) -> int:
        return int.from_bytes(self._uc.mem_read(address, 4), "little")
