"""A core's cost table as data: which instruction takes how many cycles, what a pair of neighbours adds, and why.

One JSON file per core lies beside this module; every row names the section of the manual, or the measurement, that it
rests on. Reading a file checks it whole, so that a wrong row is an error with its name and never a wrong number.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum, IntEnum
from fnmatch import fnmatchcase
from functools import cached_property
from importlib.resources import files
from typing import Any, TypeVar

from cosim.errors import PlatformError

#: The cores that a table comes with.
CORES = ("cortex-a7", "cortex-m4")
_MOST_CYCLES = 127  # a packed cost is one byte, a pair's one signed byte


class Dynamic(IntEnum):
    """What of a cost is known only when the instruction executes, beside branches and wait states."""

    NONE = 0
    DIVIDE = 1  # by the operands
    FPU_DIVIDE = 2  # the FPU is busy, other instructions go on
    WAIT = 3  # WFI, WFE: what the engine lets pass


class When(Enum):
    """A condition on operands that picks between rows for one mnemonic."""

    ALWAYS = ""
    WRITES_PC = "writes-pc"
    REGISTER_OFFSET = "register-offset"
    DOUBLE = "double"
    CORE_REGISTER = "core-register"  # one beside a whole FPU register, or two
    IMMEDIATE = "immediate"  # the last operand is no register


class Condition(Enum):
    """What must hold between two neighbours for a pair rule."""

    ALWAYS = "always"
    ADDRESS_DEPENDENT = "address-dependent"  # the second's address needs a register that the first writes
    ADDRESS_INDEPENDENT = "address-independent"
    CONSUMES = "consumes"  # the second reads a register that the first writes, other than as an addend
    INDEPENDENT = "independent"  # the second neither reads nor writes what the first writes
    NARROW_FIRST = "narrow-first"  # the first has 16 bits


@dataclass(frozen=True)
class Row:
    """One class of instructions. Cycles at zero wait states.

    `cycles` + ceil(registers / `registers_per_cycle`) when that is not 0; `refill` is P, added when control goes
    elsewhere than to the next instruction (or always, with `always_leaves`). `mnemonics` are capstone's, with `*`.
    """

    name: str
    mnemonics: tuple[str, ...]
    when: When
    cycles: int
    registers_per_cycle: int
    dynamic: Dynamic
    refill: int
    always_leaves: bool
    tags: frozenset[str]
    section: str
    note: str


@dataclass(frozen=True)
class PairRule:
    """What the second of two instructions takes more (or less) directly behind the first; tags or `any` pick both."""

    name: str
    first: frozenset[str]
    second: frozenset[str]
    condition: Condition
    cycles: int
    section: str
    note: str


@dataclass(frozen=True)
class Event:
    """Cycles of something that is no instruction: exception entry, return, tail-chaining."""

    name: str
    cycles: int
    section: str
    note: str


@dataclass(frozen=True)
class Divide:
    """Bounds of a divide with early termination."""

    minimum: int
    maximum: int

    def cycles(self, dividend: int, divisor: int, *, signed: bool) -> int:
        """Cycles of one divide of 32-bit register values.

        The minimum when there is no quotient bit to find or the divisor is 0, else linear in the number of quotient
        bits that the operands' leading zeros (of their magnitudes, when `signed`) leave possible, rounded up.
        """
        if signed:
            dividend, divisor = _magnitude(dividend), _magnitude(divisor)
        bits = dividend.bit_length() - divisor.bit_length() + 1
        if not divisor or bits <= 0:
            return self.minimum
        return self.minimum + -(-(self.maximum - self.minimum) * bits // 32)


@dataclass(frozen=True)
class Unaligned:
    """Further cycles of a data access that is not aligned to its size."""

    halfword: int
    word_odd: int
    word_even: int

    def cycles(self, address: int, size: int) -> int:
        """Further cycles of an access of `size` bytes at `address`; 0 when aligned."""
        if size == 2:
            return self.halfword if address & 1 else 0
        if size < 4 or not address & 3:
            return 0
        return self.word_odd if address & 1 else self.word_even


@dataclass(frozen=True)
class CostTable:
    """All that is known of one core's timing. `estimate` says that no manual gives these figures."""

    core: str
    estimate: bool
    source: str
    rows: tuple[Row, ...]
    pairs: tuple[PairRule, ...]
    events: Mapping[str, Event]
    divide: Divide
    unaligned: Unaligned
    unknown_cycles: int
    skipped_cycles: int
    unaligned_wide_target: int
    refill_limit: int

    @classmethod
    def load(cls, core: str) -> CostTable:
        """The table of `core` (`CORES`) that comes with the project. Raises `PlatformError` when there is none."""
        if core not in CORES:
            raise PlatformError(f"no cycle table for {core!r}", hint=f"there are {', '.join(CORES)}", type=core)
        return cls.parse(files("cosim.timing").joinpath(f"{core}.json").read_text(encoding="utf-8"), f"{core}.json")

    @classmethod
    def parse(cls, text: str, file: str) -> CostTable:
        """A table from the text of a JSON file. Raises `PlatformError` with `file` and the row in `entry`."""
        try:
            return _Reader(file).table(json.loads(text))
        except (json.JSONDecodeError, RecursionError) as error:
            raise PlatformError(f"{file}: not JSON: {error}", hint="see docs/timing.md", file=file) from error

    @cached_property
    def unlisted(self) -> Row:
        """The row of what the table does not list."""
        return Row("unknown", (), When.ALWAYS, self.unknown_cycles, 0, Dynamic.NONE, 0, False, frozenset(), "-", "")

    def rows_for(self, mnemonic: str) -> tuple[Row, ...]:
        """The rows whose patterns match capstone's `mnemonic`, in the file's order, most special first."""
        return tuple(row for row in self.rows if any(fnmatchcase(mnemonic, pattern) for pattern in row.mnemonics))

    def event_cycles(self, name: str) -> int:
        """Cycles of the event `name`."""
        return self.events[name].cycles


def _magnitude(value: int) -> int:
    return 0x1_0000_0000 - value if value & 0x8000_0000 else value


_E = TypeVar("_E", bound=Enum)


class _Reader:
    """Turns parsed JSON into a table, checking types, names and ranges."""

    def __init__(self, file: str) -> None:
        self.file = file

    def fail(self, entry: str, message: str) -> PlatformError:
        return PlatformError(f"{self.file}: {entry}: {message}", hint="see docs/timing.md", file=self.file, entry=entry)

    def number(self, row: Any, entry: str, key: str, default: int | None = None, low: int = 0) -> int:
        value = row.get(key, default) if isinstance(row, dict) else None
        if type(value) is not int or not low <= value <= _MOST_CYCLES:
            raise self.fail(entry, f"{key} must be a whole number from {low} to {_MOST_CYCLES}")
        return value

    def text(self, row: Any, entry: str, key: str, default: str | None = None) -> str:
        value = row.get(key, default) if isinstance(row, dict) else None
        if not isinstance(value, str):
            raise self.fail(entry, f"{key} must be a text")
        return value

    def flag(self, row: Any, entry: str, key: str) -> bool:
        value = row.get(key, False)
        if not isinstance(value, bool):
            raise self.fail(entry, f"{key} must be true or false")
        return value

    def choice(self, row: Any, entry: str, key: str, kind: type[_E]) -> _E:
        value = self.text(row, entry, key, "")
        for member in kind:
            name = member.name.lower().replace("_", "-") if kind is Dynamic else member.value
            if value == name:
                return member
        raise self.fail(entry, f"{key} {value!r} is not known")

    def listed(self, data: Any, key: str) -> Iterable[tuple[dict[str, Any], str]]:
        rows = data.get(key) if isinstance(data, dict) else None
        if not isinstance(rows, list):
            raise self.fail(key, "must be a list")
        seen: set[str] = set()
        for row in rows:
            name = self.text(row, key, "name")
            if name in seen:
                raise self.fail(name, "there are two of this name")
            seen.add(name)
            yield row, name

    def row(self, row: dict[str, Any], name: str) -> Row:
        dynamic = self.choice(row, name, "dynamic", Dynamic) if "dynamic" in row else Dynamic.NONE
        return Row(
            name=name,
            mnemonics=tuple(self.text(row, name, "mnemonics").split()),
            when=self.choice(row, name, "when", When),
            cycles=self.number(row, name, "cycles", low=1),
            registers_per_cycle=self.number(row, name, "registers_per_cycle", 0),
            dynamic=dynamic,
            refill=self.number(row, name, "refill", 0),
            always_leaves=self.flag(row, name, "always_leaves"),
            tags=frozenset(self.text(row, name, "tags").split()),
            section=self.text(row, name, "section"),
            note=self.text(row, name, "note"),
        )

    def pair(self, row: dict[str, Any], name: str, tags: frozenset[str]) -> PairRule:
        first, second = (frozenset(self.text(row, name, key).split()) for key in ("first", "second"))
        if unknown := (first | second) - tags:
            raise self.fail(name, f"no row has the tag {min(unknown)!r}")
        return PairRule(
            name=name,
            first=first,
            second=second,
            condition=self.choice(row, name, "condition", Condition),
            cycles=self.number(row, name, "cycles", low=-1),
            section=self.text(row, name, "section"),
            note=self.text(row, name, "note"),
        )

    def table(self, data: Any) -> CostTable:
        rows = tuple(self.row(row, name) for row, name in self.listed(data, "instructions"))
        tags = frozenset({"any"}.union(*(row.tags for row in rows)))
        divide, unaligned = data.get("divide"), data.get("unaligned_access")
        events = {
            name: Event(
                name, self.number(row, name, "cycles"), self.text(row, name, "section"), self.text(row, name, "note")
            )
            for row, name in self.listed(data, "events")
        }
        return CostTable(
            core=self.text(data, "core", "core"),
            estimate=self.flag(data, "estimate", "estimate"),
            source=self.text(data, "source", "source"),
            rows=rows,
            pairs=tuple(self.pair(row, name, tags) for row, name in self.listed(data, "pairs")),
            events=events,
            divide=Divide(*(self.number(divide, "divide", key, low=1) for key in ("minimum", "maximum"))),
            unaligned=Unaligned(
                *(self.number(unaligned, "unaligned_access", key) for key in ("halfword", "word_odd", "word_even"))
            ),
            unknown_cycles=self.number(data.get("unknown"), "unknown", "cycles", low=1),
            skipped_cycles=self.number(data.get("skipped"), "skipped", "cycles"),
            unaligned_wide_target=self.number(data.get("unaligned_wide_target"), "unaligned_wide_target", "cycles"),
            refill_limit=self.number(data, "refill_limit", "refill_limit"),
        )
