"""A bare Cortex-A7 for the client alone: DDR, shared memory, UART4, a scripted secure world, and precise aborts.

It is not the project's engine: the client has to be right whatever runs it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import unicorn
from firmware_files import read_program
from unicorn import UC_ARCH_ARM, UC_HOOK_INTR, UC_HOOK_MEM_UNMAPPED, UC_MEM_FETCH_UNMAPPED, UC_MODE_ARM
from unicorn.arm_const import (
    UC_ARM_REG_CP_REG,
    UC_ARM_REG_CPSR,
    UC_ARM_REG_LR,
    UC_ARM_REG_PC,
    UC_ARM_REG_R0,
    UC_ARM_REG_SPSR,
    UC_CPU_ARM_CORTEX_A7,
)

#: The binding is typed in parts only; as Any it is at least consistent.
BINDING: Any = unicorn

STEPS, STAGING, SHM_ARGUMENT, SHM_BUFFERS = 0xC0100000, 0xC2000000, 0xDFE00000, 0xDFE10000
UART4 = 0x40010000
DFSR, DFAR = (15, 0, 0, 5, 0, 0, 0), (15, 0, 0, 6, 0, 0, 0)
IFSR, IFAR = (15, 0, 0, 5, 0, 0, 1), (15, 0, 0, 6, 0, 0, 2)
VBAR = (15, 0, 0, 12, 0, 0, 0)
MODE_ABT, MODE_UND, THUMB, IRQ_MASKED = 0x17, 0x1B, 0x20, 0x80
EXTERNAL_ABORT = 0x1008
SMC_EXCEPTION = 13
SYSTEM_OFF = 0x84000008
BUDGET = 3_000_000
FAULTS_MOST = 1000

Registers = Sequence[int]
Monitor = Callable[["BareA7", Registers], Registers]


@dataclass(frozen=True)
class Outcome:
    """What the client wrote beside one step."""

    status: int
    result: tuple[int, ...]
    fault_kind: int
    fault_status: int
    fault_address: int
    fault_pc: int


def answer_nothing(_machine: BareA7, _registers: Registers) -> Registers:
    """A secure world that knows no function."""
    return (0xFFFFFFFF, 0, 0, 0)


@dataclass
class BareA7:
    """The machine; run a step list with `run`, then look at `outcomes`, `console`, `smcs` `faults` and memory."""

    monitor: Monitor = answer_nothing
    uart_ready: bool = True
    smcs: list[tuple[int, ...]] = field(default_factory=list)
    uart: bytearray = field(default_factory=bytearray)
    outcomes: list[Outcome] = field(default_factory=list)
    faults: int = 0

    def __post_init__(self) -> None:
        self.uc = BINDING.Uc(UC_ARCH_ARM, UC_MODE_ARM)
        self.uc.ctl_set_cpu_model(UC_CPU_ARM_CORTEX_A7)
        self.uc.mem_map(0xC0000000, 0x3000000)
        self.uc.mem_map(SHM_ARGUMENT, 0x200000)
        self.uc.mmio_map(UART4, 0x1000, self._uart_read, None, self._uart_write, None)
        for segment in read_program("a7_client").segments:
            self.uc.mem_write(segment.paddr, segment.data)
        self.uc.hook_add(UC_HOOK_INTR, self._interrupt)
        self.uc.hook_add(UC_HOOK_MEM_UNMAPPED, self._unmapped)
        self._abort: tuple[int, int] | None = None

    def run(
        self,
        *steps: Sequence[int],
        magic: int = 0x50455453,
        version: int = 1,
        count: int | None = None,
        on_error: int = 0,
    ) -> int:
        """Run steps (op, flags, args…) until the client waits; returns how many it says are done."""
        header = struct.pack("<5I44x", magic, version, len(steps) if count is None else count, 0, on_error)
        body = b"".join(struct.pack("<16I", *step, *[0] * (16 - len(step))) + b"\xff" * 4 + bytes(60) for step in steps)
        self.uc.mem_write(STEPS, header + body)
        self._execute(0xC0000000)
        for i in range(len(steps)):
            words = struct.unpack("<16I", self.uc.mem_read(STEPS + 64 + 128 * i + 64, 64))
            self.outcomes.append(Outcome(words[0], words[1:12], *words[12:]))
        return self.word(STEPS + 12)

    @property
    def console(self) -> str:
        """Everything that came out of UART4."""
        return self.uart.decode("ascii")

    def word(self, address: int) -> int:
        """One word of memory."""
        return int(struct.unpack("<I", self.uc.mem_read(address, 4))[0])

    def words(self, address: int, count: int) -> tuple[int, ...]:
        """Several words of memory."""
        return tuple(struct.unpack(f"<{count}I", self.uc.mem_read(address, 4 * count)))

    def _execute(self, pc: int) -> None:
        for _ in range(FAULTS_MOST):
            try:
                self.uc.emu_start(pc, 0xFFFFFFFC, 0, BUDGET)
            except BINDING.UcError:
                pc = self._deliver()
            else:
                return
        raise RuntimeError("the client does nothing but fault")

    def _deliver(self) -> int:
        self.faults += 1
        pc, abort, self._abort = self.uc.reg_read(UC_ARM_REG_PC), self._abort, None
        if abort is None:
            thumb = self.uc.reg_read(UC_ARM_REG_CPSR) & THUMB
            return self._enter(MODE_UND, 0x04, pc + (2 if thumb else 4))
        access, address = abort
        fetch = access == UC_MEM_FETCH_UNMAPPED
        self.uc.reg_write(UC_ARM_REG_CP_REG, (*(IFSR if fetch else DFSR), EXTERNAL_ABORT))
        self.uc.reg_write(UC_ARM_REG_CP_REG, (*(IFAR if fetch else DFAR), address))
        return self._enter(MODE_ABT, 0x0C if fetch else 0x10, pc + (4 if fetch else 8))

    def _enter(self, mode: int, vector: int, link: int) -> int:
        cpsr = self.uc.reg_read(UC_ARM_REG_CPSR)
        self.uc.reg_write(UC_ARM_REG_CPSR, (cpsr & ~(0x1F | THUMB)) | mode | IRQ_MASKED)
        self.uc.reg_write(UC_ARM_REG_SPSR, cpsr)
        self.uc.reg_write(UC_ARM_REG_LR, link)
        return int(self.uc.reg_read(UC_ARM_REG_CP_REG, VBAR)) + vector

    def _interrupt(self, uc: Any, number: int, _data: object) -> None:
        registers = tuple(uc.reg_read(UC_ARM_REG_R0 + i) for i in range(8))
        self.smcs.append(registers)
        if number != SMC_EXCEPTION or registers[0] == SYSTEM_OFF:
            uc.emu_stop()
            return
        for i, value in enumerate(self.monitor(self, registers)):
            uc.reg_write(UC_ARM_REG_R0 + i, value)

    def _unmapped(self, _uc: Any, access: int, address: int, _size: int, _value: int, _data: object) -> bool:
        self._abort = (access, address)
        return False

    def _uart_read(self, _uc: Any, offset: int, _size: int, _data: object) -> int:
        return 0x80 if offset == 0x1C and self.uart_ready else 0

    def _uart_write(self, _uc: Any, offset: int, _size: int, value: int, _data: object) -> None:
        if offset == 0x28:
            self.uart.append(value)
