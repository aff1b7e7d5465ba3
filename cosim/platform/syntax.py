"""What one `.repl` file says, entry by entry, before files are joined and entries merged."""

from __future__ import annotations

from dataclasses import dataclass

from cosim.platform.model import Reference


@dataclass(frozen=True)
class Nothing:
    """The keyword `none` (a cancelled registration, property or interrupt) or `empty` (a type's default value)."""

    word: str


@dataclass(frozen=True)
class Range:
    """`<begin, end>` or `<begin, +size>`; Renode takes `end` as the first address behind the range."""

    begin: int
    size: int


@dataclass(frozen=True)
class InlineObject:
    """`new Type { … }`."""

    type: str
    attributes: tuple[Attribute, ...]


Value = int | str | bool | Reference | Range | InlineObject | Nothing


@dataclass(frozen=True)
class Property:
    """`name: value`."""

    name: str
    value: Value
    line: int


@dataclass(frozen=True)
class Destination:
    """`name@line`, `name#local@line` or `name@[lines]`; the lines are intervals, in order, perhaps falling."""

    name: str
    local: int | None
    lines: tuple[range, ...]


@dataclass(frozen=True)
class Wires:
    """`sources -> destination | destination`; without destinations (`-> none`) the sources are disconnected.

    A source is the name of an output or an interval of numbered ones; "" is the default output.
    """

    sources: tuple[str | range, ...]
    destinations: tuple[Destination, ...]


@dataclass(frozen=True)
class Commands:
    """An `init:`, `preinit:` or `reset:` section: commands for Renode's monitor."""

    section: str
    statements: tuple[str, ...]
    line: int


Attribute = Property | Wires | Commands


@dataclass(frozen=True)
class Point:
    """One place in a registration: `sysbus 0x50000000`."""

    register: str
    value: Value | None
    line: int


@dataclass(frozen=True)
class Using:
    """`using "path"`."""

    path: str
    line: int


@dataclass(frozen=True)
class SyntaxEntry:
    """One entry as written. `points` is None when the entry says nothing about its registration."""

    name: str
    type: str | None
    points: tuple[Point, ...] | None
    attributes: tuple[Attribute, ...]
    line: int


@dataclass(frozen=True)
class Description:
    """One file."""

    usings: tuple[Using, ...]
    entries: tuple[SyntaxEntry, ...]
