"""TZC-400: the region filter in front of the DDR.

Sources: Arm DDI 0504 (TZC-400 TRM) as quoted by ST's SVD, TF-A drivers/arm/tzc/tzc400.c, OP-TEE core/drivers/tzc400.c.

How an access is decided: a closed gate keeper lets nothing pass (on silicon the access stalls, which a simulation
cannot show: it is denied). With the gates open, all enabled regions 1..8 that contain the address must allow it, or
region 0 when none contains it. Two filters, one per DDR port, are always programmed alike by boot software; which port
serves which master is not documented, so an access has to pass both. Overlapping regions are a programming error on
silicon; here the stricter one wins. ACTION drives the interrupt only: what a denied access answers is the platform's
setting.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from cosim.access import Initiator, Rights
from cosim.events import EventLog
from cosim.registers import Access, Field, Register, RegisterBlock

FILTERS = 2
REGIONS = 9
#: NSAID of each non-secure initiator.
NSAID = {Initiator.A7_NS: 0, Initiator.M4: 1}

_BOTH = 0x3
_OVERRUN = _BOTH << 8  # of both filters: nothing more can be noted
_S_RD = 1 << 30
_S_WR = 1 << 31
_WRITE = 1 << 24
_NON_SECURE = 1 << 21
_PRIVILEGED = 1 << 20


def _region(n: int) -> tuple[Register, ...]:
    base = 0x100 + 0x20 * n
    fixed = n == 0  # the background region covers everything and its filters are always enabled
    address = Access.RO if fixed else Access.RW
    low_ones = Field("TOP_GRANULE", 0, 12, Access.RO)
    return (
        Register(f"REGION_BASE_LOW_{n}", base, 0, (Field("BASE_ADDRESS_LOW", 12, 20, address),)),
        Register(f"REGION_BASE_HIGH_{n}", base + 0x4, access=Access.RO),
        Register(
            f"REGION_TOP_LOW_{n}",
            base + 0x8,
            0xFFFFFFFF if fixed else 0xFFF,
            (low_ones, Field("TOP_ADDRESS_LOW", 12, 20, address)),
        ),
        Register(f"REGION_TOP_HIGH_{n}", base + 0xC, access=Access.RO),
        Register(
            f"REGION_ATTRIBUTES_{n}",
            base + 0x10,
            _BOTH if fixed else 0,
            (Field("FILTER_EN", 0, 2, address), Field("S_RD_EN", 30), Field("S_WR_EN", 31)),
        ),
        Register(f"REGION_ID_ACCESS_{n}", base + 0x14, 0, (Field("NSAID_RD_EN", 0, 16), Field("NSAID_WR_EN", 16, 16))),
    )


def _fail(f: int) -> tuple[Register, ...]:
    base = 0x20 + 0x10 * f
    return (
        Register(f"FAIL_ADDRESS_LOW_{f}", base, access=Access.RO),
        Register(f"FAIL_ADDRESS_HIGH_{f}", base + 0x4, access=Access.RO),
        Register(f"FAIL_CONTROL_{f}", base + 0x8, access=Access.RO),
        Register(f"FAIL_ID_{f}", base + 0xC, access=Access.RO),
    )


REGISTERS: tuple[Register, ...] = (
    Register("BUILD_CONFIG", 0x000, 0x01001F08, access=Access.RO),
    Register("ACTION", 0x004, 0, (Field("REACTION_VALUE", 0, 2),)),
    Register("GATE_KEEPER", 0x008, 0, (Field("OPENREQ", 0, 2), Field("OPENSTAT", 16, 2, Access.RO))),
    Register("SPECULATION_CTRL", 0x00C, 0, (Field("READSPEC_DISABLE", 0), Field("WRITESPEC_DISABLE", 1))),
    Register("INT_STATUS", 0x010, access=Access.RO),
    Register("INT_CLEAR", 0x014, 0, (Field("CLEAR", 0, 2),), Access.PULSE),
    *(register for f in range(FILTERS) for register in _fail(f)),
    *(register for n in range(REGIONS) for register in _region(n)),
    Register("PIDR4", 0xFD0, 0x04, access=Access.RO),
    Register("PIDR0", 0xFE0, 0x60, access=Access.RO),
    Register("PIDR1", 0xFE4, 0xB4, access=Access.RO),
    Register("PIDR2", 0xFE8, 0x0B, access=Access.RO),
    Register("PIDR3", 0xFEC, 0x00, access=Access.RO),
    Register("CIDR0", 0xFF0, 0x0D, access=Access.RO),
    Register("CIDR1", 0xFF4, 0xF0, access=Access.RO),
    Register("CIDR2", 0xFF8, 0x05, access=Access.RO),
    Register("CIDR3", 0xFFC, 0xB1, access=Access.RO),
)


@dataclass(frozen=True)
class Span:
    """Constant rights of one initiator from `start` up to, not including, `end`; `rule` names what decides."""

    start: int
    end: int
    rights: Rights
    rule: str


class Tzc400(RegisterBlock):
    """The address space controller; `irq` is told the level of TZCINT whenever it changes."""

    registers: ClassVar[tuple[Register, ...]] = REGISTERS

    def __init__(self, base: int, log: EventLog, irq: Callable[[bool], None] | None = None, name: str = "tzc") -> None:
        super().__init__(name, base, log)
        self._irq = irq
        self._level = False
        self._listeners: list[Callable[[], None]] = []
        self._maps: dict[Initiator, tuple[Span, ...]] = {}  # decided once per programming
        #: How often the answers may have changed.
        self.programmings = 0

    def listen(self, listener: Callable[[], None]) -> None:
        """Call `listener` after each write that changed gates or regions, and after a reset; not after `load`."""
        self._listeners.append(listener)

    @property
    def open(self) -> bool:
        """Whether both gate keepers are open."""
        return (self.value("GATE_KEEPER") >> 16) & _BOTH == _BOTH

    def spans(self, initiator: Initiator, start: int, end: int) -> tuple[Span, ...]:
        """The rights of `initiator` over the addresses from `start` up to `end`, in order and without gaps."""
        if initiator not in self._maps:
            self._maps[initiator] = self._map(initiator)
        return tuple(
            Span(max(span.start, start), min(span.end, end), span.rights, span.rule)
            for span in self._maps[initiator]
            if span.start < end and start < span.end
        )

    def record_failure(self, initiator: Initiator, address: int, write: bool) -> None:
        """Fill the fail registers of the filters that denied an access; the first failure stays until it is cleared."""
        status = self.value("INT_STATUS")
        if status & _OVERRUN == _OVERRUN:
            return
        for f in range(FILTERS):
            if status & (1 << f):
                status |= 1 << (8 + f)  # overrun: the details of this one are lost
                continue
            status |= 1 << f
            control = _PRIVILEGED | (0 if initiator.secure else _NON_SECURE) | (_WRITE if write else 0)
            self.poke(f"FAIL_ADDRESS_LOW_{f}", address)
            self.poke(f"FAIL_CONTROL_{f}", control)
            self.poke(f"FAIL_ID_{f}", NSAID.get(initiator, 0) << 24)
        self.poke("INT_STATUS", status)
        self._update_irq()

    def reset(self) -> None:
        """Back to the reset values: gates closed, only region 0."""
        super().reset()
        self._forget()
        self._update_irq()
        self._tell()

    def written(self, register: Register, before: int, after: int, written: int, initiator: Initiator) -> None:  # noqa: ARG002
        """Mirror the gate requests, clear failures, and tell the firewall about regions and gates."""
        if register.name == "GATE_KEEPER":
            self.poke("GATE_KEEPER", (after & _BOTH) | (after & _BOTH) << 16)
        elif register.name == "INT_CLEAR":
            self._clear(written)
        self._update_irq()
        if before != after:
            self._forget()
            self._tell()

    def load_extra(self, extra: object) -> None:  # noqa: ARG002
        """Bring what follows from the registers in line with the restored ones."""
        self._forget()
        self._update_irq()

    def _forget(self) -> None:
        self._maps.clear()
        self.programmings += 1

    def _clear(self, filters: int) -> None:
        status = self.value("INT_STATUS")
        for f in range(FILTERS):
            if filters & (1 << f):
                status &= ~(0x010101 << f)
        self.poke("INT_STATUS", status)

    def _update_irq(self) -> None:
        level = bool(self.value("ACTION") & 2 and self.value("INT_STATUS") & _BOTH)
        if level != self._level:
            self._level = level
            if self._irq is not None:
                self._irq(level)

    def _tell(self) -> None:
        for listener in self._listeners:
            listener()

    def _map(self, initiator: Initiator) -> tuple[Span, ...]:
        """The rights of `initiator` over all 32-bit addresses."""
        if not self.open:
            return (Span(0, 1 << 32, Rights.NONE, "TZC_GATE_KEEPER.OPENSTAT"),)
        enabled = [self._bounds(n) for n in range(1, REGIONS) if self._filters(n)]
        edges = sorted({0, 1 << 32, *itertools.chain.from_iterable(enabled)})
        merged: list[Span] = []
        for start, end in itertools.pairwise(edges):
            span = Span(start, end, *self._decide(initiator, start))
            if merged and (merged[-1].rights, merged[-1].rule) == (span.rights, span.rule):
                span = Span(merged.pop().start, end, span.rights, span.rule)
            merged.append(span)
        return tuple(merged)

    def _filters(self, n: int) -> int:
        return self.value(f"REGION_ATTRIBUTES_{n}") & _BOTH

    def _bounds(self, n: int) -> tuple[int, int]:
        """First address of region `n` and the first behind it; an upside-down region is empty."""
        base = self.value(f"REGION_BASE_LOW_{n}")
        return base, max(base, self.value(f"REGION_TOP_LOW_{n}") + 1)

    def _decide(self, initiator: Initiator, address: int) -> tuple[Rights, str]:
        verdicts: list[tuple[Rights, str]] = []
        for f in range(FILTERS):
            hits = [n for n in range(1, REGIONS) if self._filters(n) >> f & 1 and self._contains(n, address)]
            verdicts.extend(self._rights(initiator, n) for n in hits or [0])
        rights = Rights.ALL
        for verdict, _ in verdicts:
            rights &= verdict
        # The rule reported is that of the strictest region.
        rule = min(verdicts, key=lambda verdict: (verdict[0].value.bit_count(), verdict[1]))[1]
        return rights, rule

    def _contains(self, n: int, address: int) -> bool:
        base, top = self._bounds(n)
        return base <= address < top

    def _rights(self, initiator: Initiator, n: int) -> tuple[Rights, str]:
        if initiator.secure:
            attributes = self.value(f"REGION_ATTRIBUTES_{n}")
            read, write, rule = attributes & _S_RD, attributes & _S_WR, f"TZC_REGION_ATTRIBUTES_{n}.S"
        else:
            nsaid = NSAID[initiator]
            access = self.value(f"REGION_ID_ACCESS_{n}")
            read, write = access >> nsaid & 1, access >> (16 + nsaid) & 1
            rule = f"TZC_REGION_ID_ACCESS_{n}.NSAID{nsaid}"
        return (Rights.READ | Rights.FETCH if read else Rights.NONE) | (Rights.WRITE if write else Rights.NONE), rule
