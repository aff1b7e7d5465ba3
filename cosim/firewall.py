"""The firewall: one policy object that answers who may do what, from the registers of ETZPC and TZC-400.

`decide` answers one access, `grants` the rights over a whole target for engines that keep page tables, `listen` tells
when an answer changed. Targets are known by their name in the platform description, so a rule holds for every alias of
a bank. Blocks that protect single registers themselves (RCC, PWR, TAMP) are not decided here.

Sources: RM0436 (ETZPC, TZC) as quoted by ST's SVD, OP-TEE core/drivers/stm32_etzpc.c, ST's wiki page on ETZPC.
Fetches follow the right to read. ETZPC itself can be read by everybody (U-Boot and Linux look there for what they may
use) but is written by the secure world only; TZC and the secure monitor's doorbell are secure only.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Protocol

from cosim.access import RIGHT_OF, AccessKind, Grant, Initiator, Rights
from cosim.events import EventLog, FirewallChanged, Record, RegisterWritten
from cosim.peripherals.etzpc import DECPROT_IDS, Etzpc, Protection
from cosim.peripherals.tzc400 import Tzc400

_READ_ONLY = Rights.READ | Rights.FETCH
#: Rights by attribute and initiator (RM0436, ETZPC); the M4 is a non-secure master, MCU isolation shuts the A7 out.
RIGHTS: dict[Protection, dict[Initiator, Rights]] = {
    Protection.S_RW: {Initiator.A7_S: Rights.ALL, Initiator.A7_NS: Rights.NONE, Initiator.M4: Rights.NONE},
    Protection.NS_R_S_W: {Initiator.A7_S: Rights.ALL, Initiator.A7_NS: _READ_ONLY, Initiator.M4: _READ_ONLY},
    Protection.MCU_ISOLATION: {Initiator.A7_S: Rights.NONE, Initiator.A7_NS: Rights.NONE, Initiator.M4: Rights.ALL},
    Protection.NS_RW: {Initiator.A7_S: Rights.ALL, Initiator.A7_NS: Rights.ALL, Initiator.M4: Rights.ALL},
}
_NAMES = tuple(protection.name for protection in Protection)
_MASTERS = (Initiator.A7_S, Initiator.A7_NS, Initiator.M4)
#: TZMA number and size in bytes of the memories that are split by size.
_TZMA_TARGETS = {"rom": (0, 0x20000), "sysram": (1, 0x40000)}
#: Of how many sets of register values the answers are kept.
_MOST_STATES = 64


class _Rule(Protocol):
    """What decides about one target."""

    def pieces(self, initiator: Initiator, offset: int, size: int) -> Iterator[Grant]:
        """Constant rights, in order, over exactly the range."""
        ...

    def describe(self) -> str:
        """The current answer for all initiators in words; equal words mean equal answers."""
        ...


class _Fixed:
    """Rights that no register changes."""

    def __init__(self, non_secure: Rights, rule: str) -> None:
        self._non_secure = non_secure
        self._rule = rule

    def pieces(self, initiator: Initiator, offset: int, size: int) -> Iterator[Grant]:
        yield Grant(offset, size, Rights.ALL if initiator.secure else self._non_secure, self._rule)

    def describe(self) -> str:
        return self._rule


class _Decprot:
    """A whole bank or block under one two-bit attribute."""

    def __init__(self, etzpc: Etzpc, target: str) -> None:
        self._etzpc = etzpc
        self._id = DECPROT_IDS[target]
        field = f"ETZPC_DECPROT{self._id // 16}.{target.upper()}"
        self._names = {protection: f"{field}={protection.name}" for protection in Protection}

    def pieces(self, initiator: Initiator, offset: int, size: int) -> Iterator[Grant]:
        protection = self._etzpc.protection(self._id)
        yield Grant(offset, size, RIGHTS[protection][initiator], self._names[protection])

    def describe(self) -> str:
        return _NAMES[self._etzpc.protection(self._id)]


class _Tzma:
    """A memory whose first bytes are secure and whose rest is open to all."""

    def __init__(self, etzpc: Etzpc, number: int, bank_size: int) -> None:
        self._etzpc = etzpc
        self._number = number
        self._size = bank_size

    def pieces(self, initiator: Initiator, offset: int, size: int) -> Iterator[Grant]:
        rule = f"ETZPC_TZMA{self._number}_SIZE.R0SIZE"
        split = min(max(self._etzpc.secure_size(self._number), offset), offset + size)
        if split > offset:
            yield Grant(offset, split - offset, Rights.ALL if initiator.secure else Rights.NONE, rule)
        if split < offset + size:
            yield Grant(split, offset + size - split, Rights.ALL, rule)

    def describe(self) -> str:
        return f"SECURE_SIZE=0x{min(self._etzpc.secure_size(self._number), self._size):08x}"


class _Ddr:
    """The DDR behind the TZC-400."""

    def __init__(self, tzc: Tzc400, base: int) -> None:
        self._tzc = tzc
        self._base = base

    def pieces(self, initiator: Initiator, offset: int, size: int) -> Iterator[Grant]:
        for span in self._tzc.spans(initiator, self._base + offset, self._base + offset + size):
            yield Grant(span.start - self._base, span.end - span.start, span.rights, span.rule)

    def describe(self) -> str:
        if not self._tzc.open:
            return "CLOSED"
        parts = []
        for master in _MASTERS:
            spans = self._tzc.spans(master, self._base, 1 << 32)
            # Neighbours with the same rights by different regions are one answer.
            for rights, run in itertools.groupby(spans, key=lambda span: span.rights):
                found = list(run)
                if rights:
                    letters = ("r" if Rights.READ in rights else "") + ("w" if Rights.WRITE in rights else "")
                    parts.append(f"{master.value}:0x{found[0].start:08x}-0x{found[-1].end - 1:08x}:{letters}")
        return " ".join(parts) or "NONE"


def _deciding_registers() -> Iterator[tuple[str, str]]:
    """Each target that the ETZPC guards, with the register that holds what decides about it."""
    for target, number in DECPROT_IDS.items():
        yield target, f"DECPROT{number // 16}"
    for target, (number, _) in _TZMA_TARGETS.items():
        yield target, f"TZMA{number}_SIZE"


class Firewall:
    """The policy. `ddr_base` is the A7 physical address of the target `ddr`."""

    def __init__(self, etzpc: Etzpc, tzc: Tzc400, log: EventLog, ddr_base: int = 0xC0000000) -> None:
        self._tzc = tzc
        self._log = log
        self._ddr_base = ddr_base
        self._listeners: list[Callable[[str], None]] = []
        self._rule_listeners: list[Callable[[], None]] = []
        self._rules: dict[str, _Rule] = {
            **{target: _Decprot(etzpc, target) for target in DECPROT_IDS},
            **{target: _Tzma(etzpc, number, size) for target, (number, size) in _TZMA_TARGETS.items()},
            "ddr": _Ddr(tzc, ddr_base),
            "etzpc": _Fixed(_READ_ONLY, "ETZPC=SECURE_WRITE"),
            "tzc": _Fixed(Rights.NONE, "TZC=SECURE_ONLY"),
            "secureMonitor": _Fixed(Rights.NONE, "SECURE_MONITOR=SECURE_ONLY"),
        }
        #: The ranges of a target in which an access is allowed, by state, target, who makes it and what it does.
        self._allowed: dict[tuple[int, str, Initiator, AccessKind], tuple[tuple[int, int], ...]] = {}
        self._described = {target: rule.describe() for target, rule in self._rules.items()}
        # First of all listeners: what others do about the event already meets the registers as they are.
        log.listen(self._on_write, RegisterWritten)
        #: The targets about which a register of the ETZPC decides, and its value when the answers were last looked at.
        self._targets_of: dict[str, tuple[str, ...]] = {}
        for target, register in _deciding_registers():
            self._targets_of[register] = (*self._targets_of.get(register, ()), target)
        self._seen = dict.fromkeys(self._targets_of, -1)
        self._programmings = tzc.programmings
        self._etzpc = etzpc
        self._states: dict[tuple[int, ...], int] = {}
        self._numbers = itertools.count()
        #: Which registers the answers come from now: while it has a value that it had before, so have all answers.
        self.state = -1
        self._settle()
        etzpc.listen(lambda: self._update(self._changed_by_etzpc(), report=True))
        tzc.listen(lambda: self._update(self._changed_by_tzc(), report=True))

    def allows(self, initiator: Initiator, target: str, offset: int, size: int, kind: AccessKind) -> bool:
        """Whether an access of `size` bytes at `offset` of `target` is allowed as a whole."""
        ranges = self._allowed.get((self.state, target, initiator, kind))
        if ranges is None:
            self._settle()  # what is kept for a state must come from its registers, whoever changed them since
            ranges = self._allowed[self.state, target, initiator, kind] = self._ranges(initiator, target, kind)
        end = offset + size
        for first, last in ranges:  # noqa: SIM110 - asked at every access
            if first <= offset and end <= last:
                return True
        return False

    def _on_write(self, record: Record) -> None:
        payload = record.payload
        # The TZC counts a programming behind this event only, and tells then.
        if isinstance(payload, RegisterWritten) and payload.block == self._etzpc.name:
            self._settle()

    def _settle(self) -> None:
        """The registers may have changed: give their values the number that they had before, or a new one."""
        values = (*map(self._etzpc.value, self._targets_of), self._tzc.programmings)
        state = self._states.get(values)
        if state is None:
            if len(self._states) >= _MOST_STATES:
                self._states.clear()
                self._allowed.clear()
            state = self._states[values] = next(self._numbers)
        self.state = state

    def _changed_by_etzpc(self) -> tuple[str, ...]:
        before, self._seen = self._seen, {register: self._etzpc.value(register) for register in self._seen}
        changed = (register for register, value in self._seen.items() if value != before[register])
        return tuple(target for register in changed for target in self._targets_of[register])

    def _changed_by_tzc(self) -> tuple[str, ...]:
        before, self._programmings = self._programmings, self._tzc.programmings
        return ("ddr",) if self._programmings != before else ()

    def _ranges(self, initiator: Initiator, target: str, kind: AccessKind) -> tuple[tuple[int, int], ...]:
        found: list[tuple[int, int]] = []
        size = (1 << 32) - (self._ddr_base if target == "ddr" else 0)
        for grant in self.pieces(initiator, target, 0, size):
            if grant.rights & RIGHT_OF[kind]:
                first = found.pop()[0] if found and found[-1][1] == grant.offset else grant.offset
                found.append((first, grant.offset + grant.size))
        return tuple(found)

    def decide(self, initiator: Initiator, target: str, offset: int, size: int, kind: AccessKind) -> str | None:
        """The rule that denies an access of `size` bytes at `offset` of `target`, or None when it is allowed."""
        if self.allows(initiator, target, offset, size, kind):
            return None
        wanted = RIGHT_OF[kind]
        for grant in self.pieces(initiator, target, offset, size):
            if not grant.rights & wanted:
                return grant.rule
        return None

    def grants(self, initiator: Initiator, target: str, size: int) -> tuple[Grant, ...]:
        """The rights of `initiator` over the first `size` bytes of `target`, in order and without gaps."""
        return tuple(self.pieces(initiator, target, 0, size))

    def pieces(self, initiator: Initiator, target: str, offset: int, size: int) -> Iterator[Grant]:
        """The rights of `initiator` over `size` bytes at `offset` of `target`, in order and without gaps."""
        rule = self._rules.get(target)
        if rule is None or initiator is Initiator.DEBUG:
            return iter((Grant(offset, size, Rights.ALL, ""),))
        return rule.pieces(initiator, offset, size)

    def attribute(self, target: str) -> str:
        """What protects `target` now, in the words of `FirewallChanged`; "" for a target without a rule."""
        return self._described.get(target, "")

    def listen(self, callback: Callable[[str], None]) -> None:
        """Call `callback` with the name of each target for which the answer to some initiator changed."""
        self._listeners.append(callback)

    def listen_rules(self, callback: Callable[[], None]) -> None:
        """Call `callback` when an answer, or only the rule that is named for it, may have changed."""
        self._rule_listeners.append(callback)

    def record_denial(self, initiator: Initiator, target: str, offset: int, kind: AccessKind) -> None:
        """Let the hardware note an access that was denied: the TZC-400 keeps the first one (DDR only)."""
        if target == "ddr":
            self._tzc.record_failure(initiator, self._ddr_base + offset, kind is AccessKind.WRITE)

    def resync(self) -> None:
        """After the models were restored from a snapshot: tell the listeners what differs, log nothing."""
        self._update((*self._changed_by_etzpc(), *self._changed_by_tzc()), report=False)

    def _update(self, targets: tuple[str, ...], report: bool) -> None:
        self._settle()
        changed = []
        if targets:
            for told in self._rule_listeners:
                told()
        for target in targets:
            before, after = self._described[target], self._rules[target].describe()
            if before != after:
                self._described[target] = after
                changed.append((target, before, after))
        for target, before, after in changed:
            if report:
                self._log.emit(FirewallChanged(target, before, after))
            for listener in self._listeners:
                listener(target)
