"""EXTI (AIEC) of the STM32MP15: edges of pins and of a few blocks become interrupts; all other lines only wake cores.

Sources: RM0436 (EXTI) as quoted by ST's SVD and CMSIS header, Linux drivers/irqchip/irq-stm32mp-exti.c.
Configurable lines (0 to 15 pins, 16 PVD, 65 and 66 the other core's SEV, 68 WWDG1 reset, 73 SYSRESETREQ of the M4) have
edge selection, software trigger and pending bits; their interrupt is high while a pending bit is set that the core to
which the line goes has not masked. Direct lines have masks only: their blocks' interrupts go to GIC and NVIC by
themselves, and the masks matter for leaving low-power modes, which are not modelled.

TZENR is stored and its secure gating not modelled; C2EMR is stored, events to the M4 are not generated.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from cosim.access import Initiator
from cosim.errors import EngineError
from cosim.events import EventLog
from cosim.interrupts import Output
from cosim.registers import WORD, Access, Field, Register, RegisterBlock

PINS = 16
#: Lines whose interrupt passes through this block, by bank of 32.
CONFIGURABLE = (0x0001FFFF, 0x00000000, 0x00000216)
_DIRECT_UNMASKED = (0xFFFE0000, 0xFFFFFFFF, 0x00000DE9)
_LINES = tuple(32 * bank + bit for bank, mask in enumerate(CONFIGURABLE) for bit in range(32) if mask >> bit & 1)


def _bank(number: int) -> tuple[Register, ...]:
    base, mask = 0x20 * number, CONFIGURABLE[number]
    fields = tuple(Field(f"L{bit}", bit) for bit in range(32) if mask >> bit & 1) or (
        Field("NONE", 0, access=Access.RO),
    )
    n, unmasked = number + 1, _DIRECT_UNMASKED[number]
    return (
        Register(f"RTSR{n}", base + 0x00, 0, fields, logged=False),
        Register(f"FTSR{n}", base + 0x04, 0, fields, logged=False),
        Register(f"SWIER{n}", base + 0x08, 0, (Field("SWI", 0, 32),), Access.PULSE, logged=False),
        Register(f"RPR{n}", base + 0x0C, 0, (Field("RPIF", 0, 32),), Access.W1C, logged=False),
        Register(f"FPR{n}", base + 0x10, 0, (Field("FPIF", 0, 32),), Access.W1C, logged=False),
        Register(f"TZENR{n}", base + 0x14, logged=False),
        Register(f"C1IMR{n}", 0x80 + 0x10 * number, unmasked, logged=False),
        Register(f"C2IMR{n}", 0xC0 + 0x10 * number, unmasked, logged=False),
        Register(f"C2EMR{n}", 0xC4 + 0x10 * number, logged=False),
    )


REGISTERS: tuple[Register, ...] = (
    *_bank(0),
    *_bank(1),
    *_bank(2),
    *(Register(f"EXTICR{n + 1}", 0x60 + 4 * n, logged=False) for n in range(4)),
    Register("HWCFGR1", 0x3F0, 0x000B214B, access=Access.RO),
    Register("VERR", 0x3F4, 0x30, access=Access.RO),
    Register("IPIDR", 0x3F8, 0x000E0001, access=Access.RO),
    Register("SIDR", 0x3FC, 0xA3C5DD01, access=Access.RO),
)


class Exti(RegisterBlock):
    """The controller. `outputs` has per configurable line n the interrupts Cpu1Line<n> (A7) and Cpu2Line<n> (M4)."""

    registers: ClassVar[tuple[Register, ...]] = REGISTERS
    output_names: ClassVar[tuple[str, ...]] = tuple(f"Cpu{cpu}Line{line}" for line in _LINES for cpu in (1, 2))

    def __init__(self, base: int, log: EventLog, outputs: Mapping[str, Output], name: str = "exti") -> None:
        super().__init__(name, base, log)
        self._outputs = outputs
        self._levels = [0, 0, 0]  # inputs of the configurable lines, by bank
        self._pins: dict[tuple[int, int], bool] = {}

    def set_pin(self, port: int, pin: int, level: bool) -> None:
        """Pin `pin` of GPIO port `port` (0 is A, 10 is K, 11 is Z) has this level; it counts if EXTICR selects it."""
        self._pins[port, pin] = level
        if self._port(pin) == port:
            self.set_line(pin, level)

    def set_line(self, line: int, level: bool) -> None:
        """The input of a configurable line has this level. Raises `EngineError` for any other line."""
        if line not in _LINES:
            raise EngineError(f"EXTI line {line} is not configurable", hint="its block drives the interrupt itself")
        number, bit = divmod(line, 32)
        if level is bool(self._levels[number] >> bit & 1):
            return
        self._levels[number] ^= 1 << bit
        select, pending = ("RTSR", "RPR") if level else ("FTSR", "FPR")
        if self.value(f"{select}{number + 1}") >> bit & 1:
            self._pend(f"{pending}{number + 1}", 1 << bit)

    def written(self, register: Register, before: int, after: int, written: int, initiator: Initiator) -> None:  # noqa: ARG002
        """A software trigger pends a rising edge; a new pin selection moves inputs; all may move the interrupts."""
        if register.name.startswith("SWIER"):
            number = int(register.name[-1])
            self._pend(f"RPR{number}", written & CONFIGURABLE[number - 1])
        elif register.name.startswith("EXTICR"):
            first = 4 * (int(register.name[-1]) - 1)
            for pin in range(first, first + 4):
                self.set_line(pin, self._pins.get((self._port(pin), pin), False))
        self._update()

    def reset(self) -> None:
        """Back to the reset values; the inputs keep their levels."""
        super().reset()
        self._update()

    def save_extra(self) -> tuple[tuple[int, ...], tuple[tuple[tuple[int, int], bool], ...]]:
        """The levels of the inputs."""
        return tuple(self._levels), tuple(self._pins.items())

    def load_extra(self, extra: object) -> None:
        """Restore them; the interrupts follow."""
        match extra:
            case (tuple(levels), tuple(pins)):
                self._levels, self._pins = list(levels), dict(pins)
            case _:
                raise EngineError(f"not a snapshot of block {self.name}", hint="restore into the SoC that was saved")
        self._update()

    def _port(self, pin: int) -> int:
        return self.value(f"EXTICR{pin // 4 + 1}") >> 8 * (pin % 4) & 0xFF

    def _pend(self, register: str, bits: int) -> None:
        self.poke(register, self.value(register) | bits)
        self._update()

    def _update(self) -> None:
        for line in _LINES:
            number, bit = divmod(line, 32)
            pending = (self.value(f"RPR{number + 1}") | self.value(f"FPR{number + 1}")) & WORD
            for cpu in (1, 2):
                unmasked = pending & self.value(f"C{cpu}IMR{number + 1}")
                self._outputs[f"Cpu{cpu}Line{line}"](bool(unmasked >> bit & 1))
