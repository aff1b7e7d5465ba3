"""GIC-400 for one Cortex-A7 core: a GICv2 with one security state, made of distributor and CPU interface.

Sources: Arm IHI 0048B (GICv2 architecture), Arm DDI 0471 (GIC-400 TRM).
The view is that of the normal world (IGROUPR reads as zero and ignores writes), as the emulated A7 has no security
extensions of its own. There is one CPU interface, so SGIs come from and go to core 0. Interrupt identifiers: 0..15 SGI,
16..31 PPI, from 32 on SPI (SPI n is identifier 32 + n). The engine delivers the interrupt to the core.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from cosim.access import Initiator
from cosim.errors import EngineError
from cosim.events import EventLog
from cosim.peripherals.gic_distributor import INTERRUPTS, SPIS, GicDistributor, Interrupts
from cosim.registers import WORD, Access, BlockState, Field, Register, RegisterBlock, bits

CPU_INTERFACE_OFFSET = 0x1000
SPURIOUS = 1023
IDLE_PRIORITY = 0xFF

_EOIMODE = 1 << 9
_LOWEST_BINARY_POINT = 2  # five priority bits, all of them preempt

CPU_INTERFACE: tuple[Register, ...] = (
    Register("GICC_CTLR", 0x000, 0, bits({0: "ENABLE", 5: "FIQBYPDIS", 6: "IRQBYPDIS", 9: "EOIMODE"})),
    Register("GICC_PMR", 0x004, 0, (Field("PRIORITY", 3, 5),), logged=False),
    Register("GICC_BPR", 0x008, 0x2, (Field("BINARY_POINT", 0, 3),), logged=False),
    Register("GICC_IAR", 0x00C, access=Access.RO, logged=False),
    Register("GICC_EOIR", 0x010, access=Access.PULSE, logged=False),
    Register("GICC_RPR", 0x014, access=Access.RO, logged=False),
    Register("GICC_HPPIR", 0x018, access=Access.RO, logged=False),
    Register("GICC_IIDR", 0x0FC, 0x0202143B, access=Access.RO),
    Register("GICC_DIR", 0x1000, access=Access.PULSE, logged=False),
)


class GicCpuInterface(RegisterBlock):
    """The CPU interface of core 0: masks, acknowledges and ends interrupts."""

    registers: ClassVar[tuple[Register, ...]] = CPU_INTERFACE

    def __init__(self, base: int, log: EventLog, name: str, shared: Interrupts, changed: Callable[[], None]) -> None:
        super().__init__(name, base, log)
        self._shared = shared
        self._changed = changed

    @property
    def running_priority(self) -> int:
        """The group priority of the innermost active interrupt; 0xFF when none is."""
        return self._shared.running[-1][1] if self._shared.running else IDLE_PRIORITY

    def signalled(self) -> int:
        """The identifier that would be acknowledged now, or 1023: masked by GICC_PMR and by what runs."""
        best = self._shared.best()
        if best is None or not self.value("GICC_CTLR") & 1:
            return SPURIOUS
        priority, number = best
        if priority >= self.value("GICC_PMR") or self._group(priority) >= self.running_priority:
            return SPURIOUS
        return number

    def reset(self) -> None:
        """Back to the reset values."""
        super().reset()
        self._changed()

    def read_register(self, register: Register, initiator: Initiator) -> int:
        """IAR acknowledges (a debugger only looks); RPR and HPPIR are computed."""
        if register.name == "GICC_IAR":
            number = self.signalled()
            if number != SPURIOUS and initiator is not Initiator.DEBUG:
                self._acknowledge(number)
            return number
        if register.name == "GICC_RPR":
            return self.running_priority
        if register.name == "GICC_HPPIR":
            best = self._shared.best()
            return SPURIOUS if best is None else best[1]
        return super().read_register(register, initiator)

    def combine(self, register: Register, before: int, written: int, lanes: int) -> int:
        """As the table says; a binary point below the smallest one becomes that."""
        after = super().combine(register, before, written, lanes)
        return max(after, _LOWEST_BINARY_POINT) if register.name == "GICC_BPR" else after

    def written(self, register: Register, before: int, after: int, written: int, initiator: Initiator) -> None:  # noqa: ARG002
        """EOIR and DIR end an interrupt; the rest may change what is signalled."""
        number = written & 0x3FF
        if register.name == "GICC_EOIR" and number < INTERRUPTS:
            self._drop_priority(number)
            if not self.value("GICC_CTLR") & _EOIMODE:
                self._shared.active &= ~(1 << number)
        elif register.name == "GICC_DIR" and number < INTERRUPTS and self.value("GICC_CTLR") & _EOIMODE:
            self._shared.active &= ~(1 << number)
        self._changed()

    def load_extra(self, extra: object) -> None:  # noqa: ARG002
        """The interrupt output follows the restored masks."""
        self._changed()

    def _group(self, priority: int) -> int:
        """The part of a priority that decides about preemption."""
        return priority & (WORD << (self.value("GICC_BPR") + 1)) & 0xFF

    def _acknowledge(self, number: int) -> None:
        shared = self._shared
        shared.latched &= ~(1 << number)
        shared.active |= 1 << number
        shared.running.append((number, self._group(shared.priorities[number])))
        self._changed()

    def _drop_priority(self, number: int) -> None:
        for position in range(len(self._shared.running) - 1, -1, -1):
            if self._shared.running[position][0] == number:
                del self._shared.running[position]
                return


class Gic:
    """The interrupt controller: one block for the bus, input lines, and the IRQ output for the core.

    The distributor's registers lie at offset 0, those of the CPU interface at 0x1000, as on silicon. `output` is told
    the level of the core's IRQ input whenever it changes.
    """

    def __init__(
        self, base: int, log: EventLog, name: str = "gic", output: Callable[[bool], None] | None = None
    ) -> None:
        self.name = name
        self._output = output
        self._level = False
        self._shared = Interrupts()
        self._distributor = GicDistributor(base, log, name, self._shared, self._update)
        self._cpu_interface = GicCpuInterface(base + CPU_INTERFACE_OFFSET, log, name, self._shared, self._update)

    def read(self, offset: int, size: int, initiator: Initiator) -> int:
        """The value of `size` bytes at `offset`; reading GICC_IAR acknowledges."""
        block, at = self._block(offset)
        return block.read(at, size, initiator)

    def write(self, offset: int, size: int, value: int, initiator: Initiator) -> None:
        """Write `size` bytes at `offset`."""
        block, at = self._block(offset)
        block.write(at, size, value, initiator)

    def reset(self) -> None:
        """Back to the reset values; the input lines keep their levels."""
        self._distributor.reset()
        self._cpu_interface.reset()

    def save(self) -> tuple[BlockState, BlockState]:
        """The complete state, as an immutable value for `load`."""
        return self._distributor.save(), self._cpu_interface.save()

    def load(self, state: object) -> None:
        """Restore what `save` returned. Raises `EngineError` for anything else."""
        match state:
            case (distributor, cpu_interface):
                self._distributor.load(distributor)
                self._cpu_interface.load(cpu_interface)
            case _:
                raise EngineError(f"not a snapshot of block {self.name}", hint="restore into the SoC that was saved")

    @property
    def irq_pending(self) -> bool:
        """Whether the core's IRQ input is asserted."""
        return self._level

    def set_line(self, spi: int, level: bool) -> None:
        """A block drives shared interrupt `spi` (0..255). Raises `EngineError` for another number."""
        if not 0 <= spi < SPIS:
            raise EngineError(f"the GIC has no SPI {spi}", hint=f"use 0 to {SPIS - 1}", interrupt=spi)
        self._shared.set_level(32 + spi, level)
        self._update()

    def set_ppi(self, number: int, level: bool) -> None:
        """A private source of the core drives interrupt `number` (16..31). Raises `EngineError` for another number."""
        if not 16 <= number < 32:
            raise EngineError(f"the GIC has no PPI with identifier {number}", hint="use 16 to 31", interrupt=number)
        self._shared.set_level(number, level)
        self._update()

    def _block(self, offset: int) -> tuple[RegisterBlock, int]:
        if offset < CPU_INTERFACE_OFFSET:
            return self._distributor, offset
        return self._cpu_interface, offset - CPU_INTERFACE_OFFSET

    def _update(self) -> None:
        level = self._cpu_interface.signalled() != SPURIOUS
        if level != self._level:
            self._level = level
            if self._output is not None:
                self._output(level)
