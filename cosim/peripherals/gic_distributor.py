"""The distributor of the GIC-400, and the state of the interrupts that it shares with the CPU interface.

Sources: Arm IHI 0048B (GICv2 architecture), Arm DDI 0471 (GIC-400 TRM). See `cosim.peripherals.gic` for the whole.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from cosim.access import Initiator
from cosim.errors import EngineError
from cosim.events import EventLog
from cosim.registers import WORD, Access, Field, Register, RegisterBlock, bank

SPIS = 256
INTERRUPTS = 32 + SPIS
#: GIC-400 implements the five upper bits of a priority.
PRIORITY_MASK = 0xF8

_WORDS = INTERRUPTS // 32
_SGIS = 0xFFFF

DISTRIBUTOR: tuple[Register, ...] = (
    Register("GICD_CTLR", 0x000, 0, (Field("ENABLEGRP0", 0), Field("ENABLEGRP1", 1))),
    Register("GICD_TYPER", 0x004, _WORDS - 1, access=Access.RO),
    Register("GICD_IIDR", 0x008, 0x0200143B, access=Access.RO),
    *bank("GICD_IGROUPR", 0x080, _WORDS, logged=False),
    *bank("GICD_ISENABLER", 0x100, _WORDS, logged=False),
    *bank("GICD_ICENABLER", 0x180, _WORDS, logged=False),
    *bank("GICD_ISPENDR", 0x200, _WORDS, logged=False),
    *bank("GICD_ICPENDR", 0x280, _WORDS, logged=False),
    *bank("GICD_ISACTIVER", 0x300, _WORDS, logged=False),
    *bank("GICD_ICACTIVER", 0x380, _WORDS, logged=False),
    *bank("GICD_IPRIORITYR", 0x400, INTERRUPTS // 4, logged=False),
    *bank("GICD_ITARGETSR", 0x800, INTERRUPTS // 4, logged=False),
    *bank("GICD_ICFGR", 0xC00, INTERRUPTS // 16, logged=False),
    Register("GICD_SGIR", 0xF00, access=Access.PULSE, logged=False),
    *bank("GICD_CPENDSGIR", 0xF10, 4, logged=False),
    *bank("GICD_SPENDSGIR", 0xF20, 4, logged=False),
    Register("GICD_PIDR2", 0xFE8, 0x2B, access=Access.RO),
)

#: Bank and index of each banked register.
_BANKS = {
    register.name: (match[1], int(match[2]))
    for register in DISTRIBUTOR
    if (match := re.fullmatch(r"(GICD_(?:I\w+R|[CS]PENDSGIR))(\d+)", register.name))
}


@dataclass(frozen=True)
class GicState:
    """A snapshot of the interrupts: one bit per identifier, priorities and targets by identifier, the active stack."""

    enabled: int
    latched: int
    lines: int
    active: int
    edge: int
    group1: int
    priorities: bytes
    targets: bytes
    running: tuple[tuple[int, int], ...]


class Interrupts:
    """The state that distributor and CPU interface share. Sets of identifiers are integers, bit n for identifier n."""

    def __init__(self) -> None:
        self.lines = 0  # input levels; they belong to the wires, so a reset of the GIC does not change them
        self.reset()

    def reset(self) -> None:
        """Nothing enabled, pending or active."""
        self.forwarded = 0  # the enabled groups as in GICD_CTLR: bit 0 for group 0, bit 1 for group 1
        self.enabled = _SGIS  # always enabled on GIC-400
        self.latched = 0  # edges seen and pending bits set by software
        self.active = 0
        self.edge = _SGIS  # always edge-triggered
        self.group1 = 0  # GICD_IGROUPR
        self.priorities = bytearray(INTERRUPTS)
        self.targets = bytearray(b"\x01" * 32 + bytes(SPIS))
        self.running: list[tuple[int, int]] = []  # identifier and group priority, innermost last

    @property
    def pending(self) -> int:
        """What waits: latched interrupts, and lines of level-sensitive ones that are high."""
        return self.latched | (self.lines & ~self.edge)

    def save(self) -> GicState:
        """The state as an immutable value."""
        return GicState(
            self.enabled,
            self.latched,
            self.lines,
            self.active,
            self.edge,
            self.group1,
            bytes(self.priorities),
            bytes(self.targets),
            tuple(self.running),
        )

    def load(self, state: GicState) -> None:
        """Restore what `save` returned."""
        self.enabled, self.latched, self.lines = state.enabled, state.latched, state.lines
        self.active, self.edge, self.group1 = state.active, state.edge, state.group1
        self.priorities, self.targets = bytearray(state.priorities), bytearray(state.targets)
        self.running = list(state.running)

    def set_level(self, number: int, level: bool) -> None:
        """The input of interrupt `number` has the given level now; a rising edge of an edge-triggered one is kept."""
        bit = 1 << number
        if level and not self.lines & bit:
            self.latched |= bit & self.edge
        self.lines = self.lines | bit if level else self.lines & ~bit

    def latch(self, numbers: int, pending: bool) -> None:
        """Software makes the interrupts of a set pending, or takes that back."""
        self.latched = self.latched | numbers if pending else self.latched & ~numbers

    def group_of(self, number: int) -> int:
        """The group of an interrupt: 0 or 1."""
        return self.group1 >> number & 1

    def best(self) -> tuple[int, int] | None:
        """Priority and identifier of the most urgent forwarded interrupt for core 0, not looking at its masks."""
        waiting = self.pending & self.enabled & ~self.active
        waiting &= (self.group1 if self.forwarded & 2 else 0) | (~self.group1 if self.forwarded & 1 else 0)
        found: tuple[int, int] | None = None
        while waiting:
            number = (waiting & -waiting).bit_length() - 1
            waiting &= waiting - 1
            if self.targets[number] & 1 and (found is None or self.priorities[number] < found[0]):
                found = (self.priorities[number], number)
        return found


class GicDistributor(RegisterBlock):
    """The distributor's registers over the shared interrupt state."""

    registers: ClassVar[tuple[Register, ...]] = DISTRIBUTOR

    def __init__(self, base: int, log: EventLog, name: str, shared: Interrupts, changed: Callable[[], None]) -> None:
        super().__init__(name, base, log)
        self._shared = shared
        self._changed = changed

    def reset(self) -> None:
        """Back to the reset values; the input lines keep their levels."""
        super().reset()
        self._shared.reset()
        self._changed()

    def read_register(self, register: Register, initiator: Initiator) -> int:
        """Bit banks, priorities and targets come from the shared state."""
        kind, index = _BANKS.get(register.name, ("", -1))
        shared = self._shared
        sets = {
            "GICD_IGROUPR": shared.group1,
            "GICD_ISENABLER": shared.enabled,
            "GICD_ICENABLER": shared.enabled,
            "GICD_ISPENDR": shared.pending,
            "GICD_ICPENDR": shared.pending,
            "GICD_ISACTIVER": shared.active,
            "GICD_ICACTIVER": shared.active,
        }
        if kind in sets:
            return (sets[kind] >> (32 * index)) & WORD
        if kind == "GICD_IPRIORITYR":
            return int.from_bytes(shared.priorities[4 * index : 4 * index + 4], "little")
        if kind == "GICD_ITARGETSR":
            return int.from_bytes(shared.targets[4 * index : 4 * index + 4], "little")
        if kind == "GICD_ICFGR":
            return sum((shared.edge >> (16 * index + n) & 1) << (2 * n + 1) for n in range(16))
        if kind in ("GICD_CPENDSGIR", "GICD_SPENDSGIR"):
            return sum((shared.latched >> (4 * index + n) & 1) << (8 * n) for n in range(4))
        return super().read_register(register, initiator)

    def combine(self, register: Register, before: int, written: int, lanes: int) -> int:
        """Banks that live in the shared state are changed there, byte lanes respected; nothing is stored here."""
        kind, index = _BANKS.get(register.name, ("", -1))
        if kind in ("GICD_IPRIORITYR", "GICD_ITARGETSR"):
            self._write_bytes(kind, index, written, lanes)
        elif kind == "GICD_ICFGR":
            self._write_config(index, written, lanes)
        elif kind in ("GICD_CPENDSGIR", "GICD_SPENDSGIR"):
            numbers = sum(1 << (4 * index + n) for n in range(4) if written >> (8 * n) & 1)
            self._shared.latch(numbers, kind == "GICD_SPENDSGIR")
        elif register.name == "GICD_SGIR":
            self._send_sgi(written)
        elif kind == "GICD_IGROUPR":
            lanes_at = lanes << (32 * index)
            self._shared.group1 = (self._shared.group1 & ~lanes_at) | (written << (32 * index))
        elif index >= 0:
            self._write_set(kind, written << (32 * index))
        else:
            return super().combine(register, before, written, lanes)
        return 0

    def written(self, register: Register, before: int, after: int, written: int, initiator: Initiator) -> None:  # noqa: ARG002
        """Any write may change what is delivered."""
        self._shared.forwarded = self.value("GICD_CTLR")
        self._changed()

    def save_extra(self) -> GicState:
        """The shared interrupt state."""
        return self._shared.save()

    def load_extra(self, extra: object) -> None:
        """Restore the shared interrupt state."""
        if not isinstance(extra, GicState):
            raise EngineError(f"not a snapshot of block {self.name}", hint="restore into the SoC that was saved")
        self._shared.load(extra)
        self._shared.forwarded = self.value("GICD_CTLR")
        self._changed()

    def _write_set(self, kind: str, numbers: int) -> None:
        shared = self._shared
        if kind == "GICD_ISENABLER":
            shared.enabled |= numbers
        elif kind == "GICD_ICENABLER":
            shared.enabled = (shared.enabled & ~numbers) | _SGIS
        elif kind == "GICD_ISPENDR":
            self._shared.latch(numbers & ~_SGIS, True)
        elif kind == "GICD_ICPENDR":
            self._shared.latch(numbers & ~_SGIS, False)
        elif kind == "GICD_ISACTIVER":
            shared.active |= numbers
        elif kind == "GICD_ICACTIVER":
            shared.active &= ~numbers

    def _write_bytes(self, kind: str, index: int, written: int, lanes: int) -> None:
        array, mask = self._shared.priorities, PRIORITY_MASK
        if kind == "GICD_ITARGETSR":
            array, mask = self._shared.targets, 0x01
            if index < 8:  # SGIs and PPIs belong to the core that reads
                return
        for n in range(4):
            if lanes >> (8 * n) & 0xFF:
                array[4 * index + n] = written >> (8 * n) & mask

    def _write_config(self, index: int, written: int, lanes: int) -> None:
        if index == 0:  # SGIs are fixed
            return
        for n in range(16):
            if lanes >> (2 * n + 1) & 1:
                number = 1 << (16 * index + n)
                edge = written >> (2 * n + 1) & 1
                self._shared.edge = self._shared.edge | number if edge else self._shared.edge & ~number

    def _send_sgi(self, written: int) -> None:
        target_filter, targets = written >> 24 & 3, written >> 16 & 0xFF
        # 0: the listed cores, 1: all others (there are none), 2: this core.
        if target_filter == 2 or (target_filter == 0 and targets & 1):
            self._shared.latch(1 << (written & 0xF), True)
