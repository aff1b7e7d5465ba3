"""Indentation and comments of `.repl` files: turns them into braces, semicolons and blanks.

Renode's rules (its platform description format, "Indentation" and "Comments"): outside braces a line is an element,
four spaces of indentation open a brace, and going back closes it; inside braces only `;` separates. Everything is
written behind the end of a line, so line and column of what follows stay those of the file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise

from cosim.errors import PlatformError

INDENT = 4
#: More levels of braces and indentation than any description needs.
MAX_DEPTH = 16
#: Lines and separators outside strings; every list in the grammar needs one of them per element.
MAX_ELEMENTS = 32768

#: Text without strings, comments and structure.
_PLAIN = re.compile(r"""[^"'/{};,|]+""")


@dataclass
class _Element:
    """A line outside braces with what belongs to it: the last physical line of that, and the indentation."""

    last: int
    level: int


class _Layout:
    """One pass over a text: blanks comments, follows strings and braces, collects the elements."""

    def __init__(self, text: str, file: str) -> None:
        self._file = file
        self._lines = text.split("\n")
        self._out: list[str] = []
        self._elements: list[_Element] = []
        self._depth = 0
        self._open: str = ""  # "", "'''" or "/*": what the line began inside of
        self._opened_at = (0, 0)
        self._count = 0

    def result(self) -> str:
        for number, line in enumerate(self._lines):
            self._line(number, line)
        if self._open:
            what = "string '''" if self._open == "'''" else "comment /*"
            raise self._error(*self._opened_at, f"the {what} that begins here never ends", "close it")
        return self._joined()

    def _error(self, line: int, column: int, message: str, hint: str) -> PlatformError:
        where = f"{self._file}:{line + 1}:{column + 1}"
        return PlatformError(f"{where}: {message}", hint=hint, file=self._file, line=line + 1, column=column + 1)

    def _line(self, number: int, line: str) -> None:
        began_inside = bool(self._open)
        began_in_braces = self._depth > 0
        text = self._scan(number, line)
        self._out.append(text)
        if not text.strip():
            return
        if began_inside or began_in_braces:
            if self._elements:
                self._elements[-1].last = number
        else:
            self._counted(number, 0)
            self._elements.append(_Element(number, self._level(number, text)))

    def _level(self, number: int, text: str) -> int:
        content = text.lstrip()
        indentation = text[: len(text) - len(content)]
        if indentation.strip(" "):
            raise self._error(number, 0, "indentation with something other than spaces", f"indent by {INDENT} spaces")
        level, rest = divmod(len(indentation), INDENT)
        if rest:
            raise self._error(
                number,
                len(indentation),
                f"{len(indentation)} spaces of indentation",
                f"indent by multiples of {INDENT}",
            )
        if level and not self._elements:
            raise self._error(number, 0, "the first entry is indented", "begin it in column 1")
        if level > MAX_DEPTH:
            raise self._error(number, 0, f"more than {MAX_DEPTH} levels of indentation", "flatten the description")
        return level

    def _scan(self, number: int, line: str) -> str:
        """The line with its comments blanked; follows strings and braces."""
        out: list[str] = []
        at = 0
        while at < len(line):
            plain = None if self._open else _PLAIN.match(line, at)
            if self._open:
                at = self._continue(number, line, at, out)
            elif plain:
                out.append(plain.group())
                at = plain.end()
            elif line.startswith("'''", at) or line.startswith("/*", at):
                mark = "'''" if line[at] == "'" else "/*"
                out.append(mark if mark == "'''" else "  ")
                self._open, self._opened_at = mark, (number, at)
                at += len(mark)
            elif line[at] == '"':
                end = self._string_end(number, line, at)
                out.append(line[at:end])
                at = end
            elif line.startswith("//", at) and (at == 0 or line[at - 1] == " "):
                break
            else:
                self._structure(number, at, line[at])
                out.append(line[at])
                at += 1
        return "".join(out)

    def _continue(self, number: int, line: str, at: int, out: list[str]) -> int:
        """Go on inside a comment or a multi-line string from `at`; returns where it ends in this line."""
        comment = self._open == "/*"
        closing = "*/" if comment else "'''"
        end = line.find(closing, at)
        while not comment and end > 0 and line[end - 1] == "\\":
            end = line.find(closing, end + 3)
        if end < 0:
            out.append("" if comment else line[at:])
            return len(line)
        end += len(closing)
        if comment and self._opened_at[0] != number and not self._depth and line[end:].strip():
            raise self._error(
                number, end, "text behind the end of a comment of several lines", "put it on its own line"
            )
        out.append(" " * (end - at) if comment else line[at:end])
        self._open = ""
        return end

    def _string_end(self, number: int, line: str, at: int) -> int:
        end = line.find('"', at + 1)
        while end > 0 and line[end - 1] == "\\":
            end = line.find('"', end + 1)
        if end < 0:
            raise self._error(number, at, "the string that begins here does not end in its line", 'close it with "')
        return end + 1

    def _counted(self, number: int, at: int) -> None:
        self._count += 1
        if self._count > MAX_ELEMENTS:
            raise self._error(number, at, f"more than {MAX_ELEMENTS} lines and list elements", "split the machine")

    def _structure(self, number: int, at: int, character: str) -> None:
        if character in ";,|":
            self._counted(number, at)
        self._depth += {"{": 1, "}": -1}.get(character, 0)
        if self._depth < 0:
            raise self._error(number, at, "a brace is closed that was never opened", "remove it or open it before")
        if self._depth > MAX_DEPTH:
            raise self._error(number, at, f"more than {MAX_DEPTH} levels of braces", "flatten the description")

    def _joined(self) -> str:
        for this, following in pairwise(self._elements):
            change = following.level - this.level
            self._out[this.last] += "{" * change if change > 0 else "}" * -change + ";"
        if self._elements:
            self._out[self._elements[-1].last] += "}" * self._elements[-1].level
        return "\n".join(self._out)


def with_braces(text: str, file: str) -> str:
    """`text` with comments blanked and indentation written as braces and semicolons; lines and columns unchanged.

    `file` names the text in errors. Raises `PlatformError` for a wrong indentation, an open string, comment or brace
    level, and more than `MAX_DEPTH` levels.
    """
    return _Layout(text, file).result()
