"""Reads Renode platform descriptions: follows `using`, merges entries, and makes the `Platform` every engine assembles.

The part of Renode's language that is understood is the one that says something an engine can honour: registrations on
the system bus (per core, in ranges, in regions) or at a core, properties, interrupt wires. Everything else is refused
by file, line and entry. Semantic checks over the whole description are in `cosim.platform.validate`.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

from cosim.errors import PlatformError
from cosim.platform.grammar import parse
from cosim.platform.model import Entry, Interrupt, Platform, PropertyValue, Registration
from cosim.platform.place import Place
from cosim.platform.registration import registrations
from cosim.platform.syntax import Commands, InlineObject, Nothing, Property, Range, SyntaxEntry, Using, Wires
from cosim.platform.validate import validate

#: Bounds of a whole description, all files together.
MAX_BYTES = 1 << 20
MAX_ENTRIES = 4096
MAX_INTERRUPT_ENDS = 16384
#: `using` chains.
MAX_USING_DEPTH = 16

SYSTEM_BUS = "sysbus"

#: Monitor commands that only name address ranges in Renode's log.
_LABELS = re.compile(r'(Tag|SilenceRange)\s+<[^<>]*>(\s+"[^"]*")?')


@dataclass
class _Draft:
    """What the entries of one name have said so far."""

    place: Place
    created: bool = False
    parent: str | None = None
    registrations: tuple[Registration, ...] = ()
    properties: dict[str, PropertyValue] = field(default_factory=dict)
    interrupts: dict[str, list[Interrupt]] = field(default_factory=dict)


class _Sources:
    """Reads one description and the files it uses, each once: their names, and their texts with the used ones first."""

    def __init__(self, path: Path) -> None:
        self._bytes = 0
        self._files: dict[Path, Path] = {}
        self.texts: list[tuple[Path, str]] = []
        self._file(path, ())

    @property
    def files(self) -> tuple[Path, ...]:
        return tuple(self._files.values())

    def _file(self, path: Path, chain: tuple[Path, ...], at: tuple[Path, int] | None = None) -> None:
        try:
            key = path.resolve()
        except (OSError, RuntimeError, ValueError) as error:
            raise _unreadable(path, at, str(error)) from error
        if key in chain:
            raise _unreadable(path, at, "the file uses itself, directly or through others")
        if key in self._files:
            return
        if len(chain) >= MAX_USING_DEPTH:
            raise _unreadable(path, at, f"more than {MAX_USING_DEPTH} files use one another")
        self._files[key] = path
        text = self._text(path, at)
        for using in parse(text, str(path)).usings:
            self._file(_used(path, using), (*chain, key), (path, using.line))
        self.texts.append((path, text))

    def _text(self, path: Path, at: tuple[Path, int] | None) -> str:
        try:
            if not path.is_file():
                raise _unreadable(path, at, "no such file" if not path.exists() else "not a regular file")
            with path.open("rb") as stream:
                data = stream.read(MAX_BYTES + 1 - self._bytes)
        except (OSError, ValueError) as error:
            raise _unreadable(path, at, getattr(error, "strerror", None) or str(error)) from error
        self._bytes += len(data)
        if self._bytes > MAX_BYTES:
            raise _unreadable(path, at, f"the description has more than {MAX_BYTES} bytes")
        try:
            return data.decode("utf-8").replace("\r\n", "\n")
        except UnicodeDecodeError as error:
            raise _unreadable(path, at, f"not UTF-8 text at offset {error.start}") from error


class _Reader:
    """Merges the entries of the files of one description."""

    def __init__(self) -> None:
        self._interrupt_ends = 0
        self._drafts: dict[str, _Draft] = {}

    def platform(self, files: tuple[Path, ...], texts: tuple[tuple[Path, str], ...]) -> Platform:
        for path, text in texts:
            for entry in parse(text, str(path)).entries:
                self._entry(path, entry)
        entries: dict[str, Entry] = {}
        for name, draft in self._drafts.items():
            if name == SYSTEM_BUS:
                continue
            place = draft.place
            if not draft.created:
                hint = "give it a type, as in 'ram: Memory.MappedMemory @ sysbus 0x0', or correct the name"
                raise place.error("updated but never created", hint)
            wires = tuple(wire for group in draft.interrupts.values() for wire in group)
            properties = MappingProxyType(draft.properties)
            entries[name] = Entry(
                name, place.type, draft.registrations, properties, wires, place.file, place.line, draft.parent
            )
        return Platform(MappingProxyType(entries), files)

    def _entry(self, path: Path, entry: SyntaxEntry) -> None:
        here = Place(path, entry.line, entry.name, entry.type or "")
        draft = self._drafts.setdefault(entry.name, _Draft(here))
        if len(self._drafts) > MAX_ENTRIES:
            raise here.error(f"more than {MAX_ENTRIES} entries", "split the machine")
        if entry.type is not None:
            if entry.name == SYSTEM_BUS:
                raise here.error("the system bus is always there", "leave out the type")
            if draft.created:
                hint = f"it was created in {draft.place.file}:{draft.place.line}; leave out the type to update it"
                raise here.error("created twice", hint)
            draft.place, draft.created = here, True
        if entry.points is not None:
            draft.parent, draft.registrations = registrations(entry.points, here)
        for attribute in entry.attributes:
            if isinstance(attribute, Commands):
                _check_commands(attribute, here)
            elif entry.name == SYSTEM_BUS:
                raise here.error("only labels can be set on the system bus", "use 'init:' with Tag lines")
            elif isinstance(attribute, Property):
                _set_property(draft.properties, attribute, here)
            else:
                self._connect(draft.interrupts, attribute, here)

    def _connect(self, interrupts: dict[str, list[Interrupt]], wires: Wires, here: Place) -> None:
        sources = self._expanded(wires.sources, here)
        for source in sources:
            interrupts.pop(source, None)
        for destination in wires.destinations:
            lines = self._expanded(destination.lines, here)
            if len(lines) != len(sources):
                message = f"{len(sources)} interrupt sources wired to {len(lines)} lines of {destination.name}"
                raise here.error(message, "give each source one line")
            for source, line in zip(sources, lines, strict=True):
                wire = Interrupt(source, destination.name, int(line), destination.local)
                interrupts.setdefault(source, []).append(wire)

    def _expanded(self, ends: tuple[str | range, ...], here: Place) -> list[str]:
        self._interrupt_ends += sum(1 if isinstance(end, str) else len(end) for end in ends)
        if self._interrupt_ends > MAX_INTERRUPT_ENDS:
            message = f"more than {MAX_INTERRUPT_ENDS} interrupt sources and lines"
            raise here.error(message, "leave some out")
        return [name for end in ends for name in ([end] if isinstance(end, str) else map(str, end))]


def _unreadable(path: Path, at: tuple[Path, int] | None, why: str) -> PlatformError:
    if at is None:
        return PlatformError(f"{path}: {why}", hint="name a readable .repl file", file=str(path))
    used_in, line = at
    message = f"{used_in}:{line}: using {path}: {why}"
    return PlatformError(message, hint="correct the 'using' line", file=str(used_in), line=line)


def _used(path: Path, using: Using) -> Path:
    if not using.path.startswith(("./", "../")) or not using.path.isprintable():
        raise PlatformError(
            f"{path}:{using.line}: using {using.path!r} is looked for in Renode's own files, which are not here",
            hint="copy the file beside this one and write ./ before its name",
            file=str(path),
            line=using.line,
        )
    return path.parent / using.path


def _set_property(properties: dict[str, PropertyValue], attribute: Property, here: Place) -> None:
    value = attribute.value
    if isinstance(value, Nothing) and value.word == "none":
        properties.pop(attribute.name, None)
    elif isinstance(value, (Range, InlineObject, Nothing)):
        raise here.error(
            f"the value of '{attribute.name}' is of a kind that is not understood",
            "numbers, strings, true, false, enum values and names of entries are understood",
            attribute.line,
        )
    else:
        properties[attribute.name] = value


def _check_commands(commands: Commands, here: Place) -> None:
    """Let through what only labels addresses; anything else would make the engines differ."""
    for statement in commands.statements:
        if here.entry != SYSTEM_BUS or commands.section != "init" or not _LABELS.fullmatch(statement):
            raise here.error(
                f"the '{commands.section}:' section has a monitor command that only Renode can run",
                "put it into the .resc script; only Tag (without a value) and SilenceRange of sysbus may stand here",
                commands.line,
            )


def load_platform(path: Path) -> Platform:
    """Read the machine description in `path` and all files it uses, merged and checked.

    Bounded by `MAX_BYTES`, `MAX_ENTRIES`, `MAX_INTERRUPT_ENDS`, `MAX_USING_DEPTH`. Raises `PlatformError` for what is
    unreadable, not understood or wrong, with `file` and, where there is one, `line`, `column`, `entry` and `type`.
    """
    sources = _Sources(path)
    return _platform(sources.files, tuple(sources.texts))


@lru_cache(maxsize=4)
def _platform(files: tuple[Path, ...], texts: tuple[tuple[Path, str], ...]) -> Platform:
    """What the texts say. Processes that make many SoCs make them of one description, and a platform never changes."""
    platform = _Reader().platform(files, texts)
    validate(platform)
    return platform


def require_types(platform: Platform, known: Collection[str]) -> None:
    """Refuse the first entry whose Renode class is not in `known`, the classes an engine can honour.

    Raises `PlatformError` (`file`, `line`, `entry`, `type`).
    """
    for entry in platform.entries.values():
        if entry.type not in known:
            hint = f"modelled are {', '.join(sorted(known))}"
            raise Place.of(entry).error(f"the type {entry.type} is not modelled", hint)
