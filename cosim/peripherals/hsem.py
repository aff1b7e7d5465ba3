"""HSEM of the STM32MP15: 32 hardware semaphores that Cortex-A7 and Cortex-M4 lock, with an interrupt when one is freed.

Sources: RM0436 (HSEM) as quoted by ST's CMSIS header, Linux drivers/hwspinlock/stm32_hwspinlock.c.
A core locks in two steps (write Rn with LOCK, its core and process number, read it back) or in one (read RLRn, process
0). Only the core that holds a semaphore frees it, with the same process number. Core numbers: A7 1, M4 2; a write that
names another core than the writer does nothing. Both security states of the A7 are the same core.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from cosim.access import Initiator
from cosim.events import EventLog
from cosim.interrupts import Output
from cosim.registers import WORD, Access, Field, Register, RegisterBlock, bank

SEMAPHORES = 32
LOCK = 1 << 31
CORES = {Initiator.A7_NS: 1, Initiator.A7_S: 1, Initiator.M4: 2}
_HOLDER = 0xFFFF  # COREID and PROCID


def _interrupt(number: int) -> tuple[Register, ...]:
    base = 0x100 + 0x10 * (number - 1)
    return (
        Register(f"C{number}IER", base, logged=False),
        Register(f"C{number}ICR", base + 4, access=Access.W1C, stored_in=f"C{number}ISR", logged=False),
        Register(f"C{number}ISR", base + 8, access=Access.RO, logged=False),
        Register(f"C{number}MISR", base + 0xC, access=Access.RO, logged=False),
    )


REGISTERS: tuple[Register, ...] = (
    *bank("R", 0x000, SEMAPHORES, logged=False),
    *(Register(f"RLR{n}", 0x080 + 4 * n, access=Access.RO, stored_in=f"R{n}") for n in range(SEMAPHORES)),
    *_interrupt(1),
    *_interrupt(2),
    Register("CR", 0x140, 0, (Field("COREID", 8, 8), Field("KEY", 16, 16)), Access.PULSE, logged=False),
    Register("KEYR", 0x144, 0, (Field("KEY", 16, 16),), logged=False),
    Register("HWCFGR2", 0x3EC, 0x00000021, access=Access.RO),
    Register("HWCFGR1", 0x3F0, 0x00000220, access=Access.RO),
    Register("VERR", 0x3F4, 0x20, access=Access.RO),
    Register("IPIDR", 0x3F8, 0x00100072, access=Access.RO),
    Register("SIDR", 0x3FC, 0xA3C5DD01, access=Access.RO),
)


class Hsem(RegisterBlock):
    """The semaphores; `outputs` has the interrupts by name: It1 (Cortex-A7), It2 (Cortex-M4)."""

    registers: ClassVar[tuple[Register, ...]] = REGISTERS
    computed: ClassVar[frozenset[str] | None] = frozenset(
        {register.name for register in REGISTERS if register.name.startswith("RLR")}
        | {f"C{number}{name}" for number in (1, 2) for name in ("MISR", "ICR")}
    )
    output_names: ClassVar[tuple[str, ...]] = ("It1", "It2")

    def __init__(self, base: int, log: EventLog, outputs: Mapping[str, Output], name: str = "hsem") -> None:
        super().__init__(name, base, log)
        self._outputs = outputs

    def read_register(self, register: Register, initiator: Initiator) -> int:
        """Reading RLRn takes a free semaphore (a debugger only looks); MISR is computed."""
        if register.name.startswith("RLR") and initiator in CORES and not self.value(register.holder):
            self.poke(register.holder, LOCK | CORES[initiator] << 8)
        if register.name.endswith("MISR"):
            number = register.name[1]
            return self.value(f"C{number}ISR") & self.value(f"C{number}IER")
        if register.name.endswith("ICR"):
            return 0
        return super().read_register(register, initiator)

    def combine(self, register: Register, before: int, written: int, lanes: int) -> int:
        """As the table says; the semaphores change in `written`, which knows the writer."""
        if register.holder.startswith("R") and register.offset < 0x080:
            return before
        return super().combine(register, before, written, lanes)

    def written(self, register: Register, before: int, after: int, written: int, initiator: Initiator) -> None:  # noqa: ARG002
        """Lock or free a semaphore, or free all of a core."""
        if register.offset < 0x080:
            self._write_semaphore(register, before, written, initiator)
        elif register.name == "CR" and written >> 16 == self.value("KEYR") >> 16:
            for n in range(SEMAPHORES):
                if self.value(f"R{n}") >> 8 & 0xFF == written >> 8 & 0xFF:
                    self._free(n)
        self._update()

    def reset(self) -> None:
        """Back to the reset values: all semaphores free."""
        super().reset()
        self._update()

    def load_extra(self, extra: object) -> None:  # noqa: ARG002
        """The interrupts follow the restored registers."""
        self._update()

    def _write_semaphore(self, register: Register, before: int, written: int, initiator: Initiator) -> None:
        if initiator is not Initiator.DEBUG and written >> 8 & 0xFF != CORES[initiator]:
            return
        if written & LOCK and not before:
            self.poke(register.name, written & (LOCK | _HOLDER))
        elif not written & LOCK and before & _HOLDER == written & _HOLDER:
            self._free(register.offset // 4)

    def _free(self, number: int) -> None:
        if self.value(f"R{number}"):
            self.poke(f"R{number}", 0)
            for status in ("C1ISR", "C2ISR"):
                self.poke(status, self.value(status) | 1 << number)

    def _update(self) -> None:
        for number in (1, 2):
            pending = self.value(f"C{number}ISR") & self.value(f"C{number}IER") & WORD
            self._outputs[f"It{number}"](bool(pending))
