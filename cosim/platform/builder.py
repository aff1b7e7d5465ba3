"""Turns productions of the grammar into syntax nodes while the parser reduces them, so that no tree is built or walked.

Method names are the rules of `cosim.platform.grammar`. Nothing here keeps state: one builder serves all parses.
"""

from __future__ import annotations

from lark import Token, Transformer, v_args

from cosim.platform.model import Reference
from cosim.platform.syntax import (
    Attribute,
    Commands,
    Description,
    Destination,
    InlineObject,
    Nothing,
    Point,
    Property,
    Range,
    SyntaxEntry,
    Using,
    Value,
    Wires,
)

Sources = tuple[str | range, ...]

#: No address, size, frequency or interrupt needs more than 64 bits; some underscores on top.
_MAX_DIGITS = 40


class RefusedError(Exception):
    """A construct that parses and makes no sense; `cosim.platform.grammar.parse` adds the file."""

    def __init__(self, line: int | None, column: int | None, message: str, hint: str) -> None:
        super().__init__(message)
        self.line, self.column = line or 1, column or 1
        self.message, self.hint = message, hint


def _number(token: Token) -> int:
    value = int(token.replace("_", ""), 16 if "x" in token else 10) if len(token) <= _MAX_DIGITS else 1 << 64
    if abs(value) >> 64:
        raise RefusedError(
            token.line, token.column, "a number of more than 64 bits", "write a number that fits 64 bits"
        )
    return value


@v_args(inline=True)
class Builder(Transformer[Token, Description]):
    """The callbacks of the parser; each says which text it stands for."""

    def start(self, *elements: Using | SyntaxEntry | None) -> Description:
        """A whole file."""
        usings: list[Using] = []
        entries: list[SyntaxEntry] = []
        for element in elements:
            if isinstance(element, SyntaxEntry):
                entries.append(element)
            elif element is not None:
                if entries:
                    raise RefusedError(element.line, 1, "'using' behind an entry", "put it at the top of the file")
                usings.append(element)
        return Description(tuple(usings), tuple(entries))

    def using(self, path: Token) -> Using:
        """`using "path"`."""
        return Using(self.string(path), path.line or 1)

    def entry(
        self,
        name: Token,
        type_name: str | None,
        points: tuple[Point, ...] | None,
        attributes: tuple[Attribute, ...] | None,
    ) -> SyntaxEntry:
        """`name: type @ registration { attributes }`, where at least one of the three is there."""
        if type_name is None and points is None and attributes is None:
            hint = "give it a type, a registration or properties"
            raise RefusedError(name.line, name.column, f"the entry '{name}' says nothing", hint)
        return SyntaxEntry(str(name), type_name, points, attributes or (), name.line or 1)

    def type_name(self, name: Token) -> str:
        """`Memory.MappedMemory`."""
        return str(name)

    def registration(self, *points: Point | Token) -> tuple[Point, ...]:
        """`@ none`, `@ point` or `@ { point; … }`."""
        return tuple(point for point in points if isinstance(point, Point))

    def point(self, register: Token, value: Value | None) -> Point:
        """`sysbus 0x50000000`."""
        return Point(str(register), value, register.line or 1)

    def attributes(self, *attributes: Attribute | None) -> tuple[Attribute, ...]:
        """`{ attribute; … }`, also the lines indented below an entry."""
        return tuple(attribute for attribute in attributes if attribute is not None)

    def property(self, name: Token, value: Value | Token) -> Property:
        """`name: value`."""
        return Property(str(name), Nothing(str(value)) if isinstance(value, Token) else value, name.line or 1)

    def reference(self, name: Token) -> Reference:
        """`nvic`."""
        return Reference(str(name))

    def enum(self, name: Token) -> str:
        """`Namespace.Type.Value`."""
        return str(name)

    def string(self, token: Token) -> str:
        """A string in double quotes."""
        return token[1:-1].replace('\\"', '"')

    def long_string(self, token: Token) -> str:
        """A string in triple single quotes."""
        return token[3:-3].replace("\\'''", "'''")

    def true(self, _token: Token) -> bool:
        """`true`."""
        return True

    def false(self, _token: Token) -> bool:
        """`false`."""
        return False

    def number(self, token: Token) -> int:
        """A number in decimal or hexadecimal, perhaps negative, perhaps with underscores."""
        return _number(token)

    def interval_to(self, begin: Token, end: Token) -> Range:
        """`<begin, end>`."""
        size = _number(end) - _number(begin)
        if size <= 0:
            hint = "the second number is the first address behind the range"
            raise RefusedError(begin.line, begin.column, f"the range <{begin}, {end}> is empty", hint)
        return Range(_number(begin), size)

    def interval_of(self, begin: Token, size: Token) -> Range:
        """`<begin, +size>`."""
        if not _number(size):
            raise RefusedError(begin.line, begin.column, f"the range <{begin}, +{size}> is empty", "give it a size")
        return Range(_number(begin), _number(size))

    def inline_object(self, type_name: str, attributes: tuple[Attribute, ...]) -> InlineObject:
        """`new Type { … }`."""
        return InlineObject(type_name, attributes)

    def wires(self, sources: Sources | None, *destinations: Destination | Token) -> Wires:
        """`sources -> destination | destination` or `sources -> none`."""
        reached = tuple(d for d in destinations if isinstance(d, Destination))
        return Wires(sources or ("",), reached)

    def sources(self, *sources: Token | range) -> Sources:
        """`IRQ`, `0` or `[0-3, IRQ]`."""
        return tuple(s if isinstance(s, range) else str(_number(s) if s.type == "UINT" else s) for s in sources)

    def lines(self, first: Token, last: Token | None) -> range:
        """`7` or `0-7`, counted in the order written."""
        begin, end = _number(first), _number(first if last is None else last)
        return range(begin, end + 1) if begin <= end else range(begin, end - 1, -1)

    def destination(self, name: Token, local: Token | None, *lines: Token | range) -> Destination:
        """`nvic@52`, `gic#0@30` or `nvic@[1-4]`."""
        spans = tuple(span if isinstance(span, range) else self.lines(span, None) for span in lines)
        return Destination(str(name), None if local is None else _number(local), spans)

    def commands(self, section: Token, *statements: Token) -> Commands:
        """`init: { command; … }`."""
        return Commands(str(section), tuple(s.strip() for s in statements), section.line or 1)
