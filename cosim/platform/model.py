"""The hardware description as data: what a set of `.repl` files says, after `using` was followed and entries merged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Reference:
    """The name of another entry, as in `nvic: nvic` or `cpu: m4`."""

    name: str


PropertyValue = int | str | bool | Reference


@dataclass(frozen=True)
class Registration:
    """Where an entry sits on the system bus, and which core sees it there (None: every core)."""

    address: int
    size: int | None = None
    cpu: str | None = None
    region: str | None = None


@dataclass(frozen=True)
class Interrupt:
    """One wire `source -> destination@line`; `source` is "" for the entry's default output.

    `local` is the core of a destination that has lines per core (`gic#0@30`).
    """

    source: str
    destination: str
    line: int
    local: int | None = None


@dataclass(frozen=True)
class Entry:
    """One entry of the description: a core, a memory or a block.

    `type` is the Renode class as written (`Memory.MappedMemory`). Python-modelled blocks have the type
    `Python.PythonPeripheral`; their model is found by the entry's name. `parent` names what it is registered at
    ("sysbus", a core), None when nowhere. An enum value among the properties is its dotted name.
    """

    name: str
    type: str
    registrations: tuple[Registration, ...]
    properties: Mapping[str, PropertyValue]
    interrupts: tuple[Interrupt, ...]
    file: Path
    line: int
    parent: str | None = None


@dataclass(frozen=True)
class Platform:
    """A whole machine description."""

    entries: Mapping[str, Entry]
    files: tuple[Path, ...] = field(default=())

    def of_type(self, type_name: str) -> tuple[Entry, ...]:
        """The entries of one Renode class, in the order of the description."""
        return tuple(e for e in self.entries.values() if e.type == type_name)
