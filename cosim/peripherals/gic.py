"""GIC-400 for one Cortex-A7 core: a GICv2 with one security state, made of distributor and CPU interface.

Sources: Arm IHI 0048B (GICv2 architecture), Arm DDI 0471 (GIC-400 TRM).
One security state, as in the platform file, because the emulated A7 is always the normal world: both interrupt groups
are the guest's own. Everything is in group 0 after reset, and group 0 is signalled as IRQ unless GICC_CTLR.FIQEn is
set. There is one CPU interface, so SGIs come from and go to core 0. Interrupt identifiers: 0..15 SGI, 16..31 PPI, from
32 on SPI (SPI n is identifier 32 + n). The engine takes the interrupt.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import ClassVar

from cosim.access import Initiator
from cosim.errors import EngineError
from cosim.events import EventLog
from cosim.peripherals.gic_distributor import INTERRUPTS, SPIS, GicDistributor, Interrupts
from cosim.registers import WORD, Access, BlockState, Field, Register, RegisterBlock, bits

CPU_INTERFACE_OFFSET = 0x1000
#: What the acknowledge registers return when nothing is signalled.
SPURIOUS = 1023
#: What GICC_IAR and GICC_HPPIR return when the interrupt is in group 1 and GICC_CTLR.AckCtl is clear.
OTHER_GROUP = 1022
IDLE_PRIORITY = 0xFF

_ENABLEGRP0, _ENABLEGRP1, _ACKCTL, _FIQEN, _CBPR, _EOIMODE = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 4, 1 << 9
#: Five priority bits, all of which can preempt: GICC_BPR counts from 2, its alias from 3.
_LOWEST_BINARY_POINTS = {"GICC_BPR": 2, "GICC_ABPR": 3}


class Signal(enum.Enum):
    """Which input of the core the CPU interface asserts; never both at a time."""

    NONE = "none"
    IRQ = "irq"
    FIQ = "fiq"


CPU_INTERFACE: tuple[Register, ...] = (
    Register(
        "GICC_CTLR",
        0x000,
        0,
        bits(
            {
                0: "ENABLEGRP0", 1: "ENABLEGRP1", 2: "ACKCTL", 3: "FIQEN", 4: "CBPR", 5: "FIQBYPDISGRP0",
                6: "IRQBYPDISGRP0", 7: "FIQBYPDISGRP1", 8: "IRQBYPDISGRP1", 9: "EOIMODE",
            }
        ),
    ),
    Register("GICC_PMR", 0x004, 0, (Field("PRIORITY", 3, 5),), logged=False),
    Register("GICC_BPR", 0x008, 0x2, (Field("BINARY_POINT", 0, 3),), logged=False),
    Register("GICC_IAR", 0x00C, access=Access.RO, logged=False),
    Register("GICC_EOIR", 0x010, access=Access.PULSE, logged=False),
    Register("GICC_RPR", 0x014, access=Access.RO, logged=False),
    Register("GICC_HPPIR", 0x018, access=Access.RO, logged=False),
    Register("GICC_ABPR", 0x01C, 0x3, (Field("BINARY_POINT", 0, 3),), logged=False),
    Register("GICC_AIAR", 0x020, access=Access.RO, logged=False),
    Register("GICC_AEOIR", 0x024, access=Access.PULSE, logged=False),
    Register("GICC_AHPPIR", 0x028, access=Access.RO, logged=False),
    Register("GICC_IIDR", 0x0FC, 0x0202143B, access=Access.RO),
    Register("GICC_DIR", 0x1000, access=Access.PULSE, logged=False),
)  # fmt: skip


class GicCpuInterface(RegisterBlock):
    """The CPU interface of core 0: masks, acknowledges and ends interrupts."""

    registers: ClassVar[tuple[Register, ...]] = CPU_INTERFACE
    computed: ClassVar[frozenset[str] | None] = frozenset(
        {"GICC_IAR", "GICC_AIAR", "GICC_RPR", "GICC_HPPIR", "GICC_AHPPIR"}
    )

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
        if best is None:
            return SPURIOUS
        priority, number = best
        enabled = self.value("GICC_CTLR") & (_ENABLEGRP1 if self._shared.group_of(number) else _ENABLEGRP0)
        masked = priority >= self.value("GICC_PMR") or self._preempting(number) >= self.running_priority
        return number if enabled and not masked else SPURIOUS

    def signal(self) -> Signal:
        """The core's input that is asserted now."""
        number = self.signalled()
        if number == SPURIOUS:
            return Signal.NONE
        as_fiq = self.value("GICC_CTLR") & _FIQEN and not self._shared.group_of(number)
        return Signal.FIQ if as_fiq else Signal.IRQ

    def reset(self) -> None:
        """Back to the reset values."""
        super().reset()
        self._changed()

    def read_register(self, register: Register, initiator: Initiator) -> int:
        """IAR and AIAR acknowledge (a debugger only looks); RPR, HPPIR and AHPPIR are computed."""
        name = register.name
        if name in ("GICC_IAR", "GICC_AIAR"):
            number = self._seen(self.signalled(), alias=name == "GICC_AIAR")
            if number < OTHER_GROUP and initiator is not Initiator.DEBUG:
                self._acknowledge(number)
            return number
        if name == "GICC_RPR":
            return self.running_priority
        if name in ("GICC_HPPIR", "GICC_AHPPIR"):
            best = self._shared.best()
            return self._seen(SPURIOUS if best is None else best[1], alias=name == "GICC_AHPPIR")
        return super().read_register(register, initiator)

    def combine(self, register: Register, before: int, written: int, lanes: int) -> int:
        """As the table says; a binary point below the smallest one becomes that."""
        after = super().combine(register, before, written, lanes)
        return max(after, _LOWEST_BINARY_POINTS.get(register.name, 0))

    def written(self, register: Register, before: int, after: int, written: int, initiator: Initiator) -> None:  # noqa: ARG002
        """EOIR, AEOIR and DIR end an interrupt; the rest may change what is signalled."""
        number = written & 0x3FF
        separate = self.value("GICC_CTLR") & _EOIMODE
        if number < INTERRUPTS:
            if register.name in ("GICC_EOIR", "GICC_AEOIR"):
                self._drop_priority(number)
                if not separate:
                    self._shared.active &= ~(1 << number)
            elif register.name == "GICC_DIR" and separate:
                self._shared.active &= ~(1 << number)
        self._changed()

    def load_extra(self, extra: object) -> None:  # noqa: ARG002
        """The output follows the restored masks."""
        self._changed()

    def _seen(self, number: int, *, alias: bool) -> int:
        """What a register shows of interrupt `number`: the alias is for group 1 alone (IHI 0048B, 4.4.4 and 4.4.11)."""
        if number == SPURIOUS:
            return number
        if alias:
            return number if self._shared.group_of(number) else SPURIOUS
        hidden = self._shared.group_of(number) and not self.value("GICC_CTLR") & _ACKCTL
        return OTHER_GROUP if hidden else number

    def _preempting(self, number: int) -> int:
        """The part of an interrupt's priority that decides about preemption; the alias counts from the bit itself."""
        if self._shared.group_of(number) and not self.value("GICC_CTLR") & _CBPR:
            ignored = self.value("GICC_ABPR")
        else:
            ignored = self.value("GICC_BPR") + 1
        return self._shared.priorities[number] & (WORD << ignored) & 0xFF

    def _acknowledge(self, number: int) -> None:
        shared = self._shared
        shared.latched &= ~(1 << number)
        shared.active |= 1 << number
        shared.running.append((number, self._preempting(number)))
        self._changed()

    def _drop_priority(self, number: int) -> None:
        for position in range(len(self._shared.running) - 1, -1, -1):
            if self._shared.running[position][0] == number:
                del self._shared.running[position]
                return


class Gic:
    """The interrupt controller: one block for the bus, input lines, and the output to the core.

    The distributor's registers lie at offset 0, those of the CPU interface at 0x1000, as on silicon.
    """

    def __init__(self, base: int, log: EventLog, name: str = "gic") -> None:
        self.name = name
        #: The input of the core that is asserted.
        self.signal = Signal.NONE
        #: Whether any interrupt could be signalled: a group is enabled in the distributor and in the CPU interface.
        self.armed = False
        self._sink: Callable[[], None] | None = None
        self._shared = Interrupts()
        self._distributor = GicDistributor(base, log, name, self._shared, self._update)
        self._cpu_interface = GicCpuInterface(base + CPU_INTERFACE_OFFSET, log, name, self._shared, self._update)

    def connect(self, sink: Callable[[], None]) -> None:
        """Tell `sink` from now on that `signal` or `armed` changed."""
        self._sink = sink

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

    def asserted(self) -> tuple[int, int]:
        """Identifier and priority of the interrupt for which `signal` is asserted; 1023 and 0xFF when none is."""
        number = self._cpu_interface.signalled()
        return number, IDLE_PRIORITY if number == SPURIOUS else self._shared.priorities[number]

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
        enabled = self._shared.forwarded & self._cpu_interface.value("GICC_CTLR") & (_ENABLEGRP0 | _ENABLEGRP1)
        state = self._cpu_interface.signal(), bool(enabled)
        if state != (self.signal, self.armed):
            self.signal, self.armed = state
            if self._sink is not None:
                self._sink()
