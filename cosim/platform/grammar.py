"""The grammar of Renode's platform language, as far as it is understood here, and the parser for one file.

The text comes from `cosim.platform.layout`, so its structure is braces and semicolons only. Sections of monitor
commands, `none` and `empty` are recognised wherever Renode allows them; what they may say is decided by the reader.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import cast

from lark import Lark
from lark.exceptions import UnexpectedCharacters, UnexpectedInput, UnexpectedToken

from cosim.errors import PlatformError
from cosim.platform.builder import Builder, RefusedError
from cosim.platform.layout import with_braces
from cosim.platform.syntax import Description

GRAMMAR = r"""
start: [_element (";" _element)*]
_element: using | entry
using: "using" STRING
entry: NAME ":" [type_name] [registration] [attributes]
type_name: NAME | DOTTED

registration: "@" (point | "{" point (";" point)* "}" | NONE)
point: NAME [value]

attributes: "{" [_attribute (";" _attribute)*] "}"
_attribute: property | wires | commands
property: NAME ":" (value | NONE | EMPTY)
?value: NAME -> reference
      | DOTTED -> enum
      | STRING -> string
      | LONG_STRING -> long_string
      | TRUE -> true
      | FALSE -> false
      | (UINT | NEGATIVE) -> number
      | "<" UINT "," UINT ">" -> interval_to
      | "<" UINT "," "+" UINT ">" -> interval_of
      | "new" type_name attributes -> inline_object

wires: [sources] _ARROW (NONE | destination ("|" destination)*)
sources: NAME | UINT | "[" _source ("," _source)* "]"
_source: NAME | lines
destination: NAME ["#" UINT] "@" (_line | "[" lines ("," lines)* "]")
_line: UINT
lines: UINT ["-" UINT]

commands: SECTION ["add"] ":" "{" COMMAND (";" COMMAND)* "}"

SECTION.2: /(init|preinit|reset)\b/
_ARROW: "->"
NONE: "none"
EMPTY: "empty"
TRUE: "true"
FALSE: "false"
NAME: /[A-Za-z][A-Za-z0-9_]*/
DOTTED.2: /[A-Za-z][A-Za-z0-9_]*(\.[A-Za-z][A-Za-z0-9_]*)+/
UINT: /0x[0-9A-Fa-f][0-9A-Fa-f_]*|[0-9][0-9_]*/
NEGATIVE: /-(0x[0-9A-Fa-f][0-9A-Fa-f_]*|[0-9][0-9_]*)/
STRING: /"([\\]["]|[^"\\\n])*"/
LONG_STRING: /'''(\\'''|'(?!'')|[^'])*'''/
COMMAND: /[^\s;{}"]([^;{}"]|"([\\]["]|[^"\\\n])*")*/
%ignore /[ \t\n]+/
"""

#: Terminals in words, for the hint of a syntax error; a terminal that is not here stands for itself.
WORDS = {
    "ADD": "'add'",
    "AT": "'@'",
    "_ARROW": "'->'",
    "COLON": "':'",
    "COMMA": "','",
    "COMMAND": "a monitor command",
    "DOTTED": "a type or enum value with dots",
    "EMPTY": "'empty'",
    "FALSE": "'false'",
    "HASH": "'#'",
    "LBRACE": "'{' or an indented line",
    "LESSTHAN": "'<'",
    "LONG_STRING": "a string in '''",
    "LSQB": "'['",
    "MINUS": "'-'",
    "MORETHAN": "'>'",
    "NAME": "a name",
    "NEGATIVE": "a negative number",
    "NEW": "'new'",
    "NONE": "'none'",
    "PLUS": "'+'",
    "RBRACE": "'}' or the end of the indentation",
    "RSQB": "']'",
    "SECTION": "'init', 'preinit' or 'reset'",
    "SEMICOLON": "';' or a new line",
    "STRING": "a string in double quotes",
    "TRUE": "'true'",
    "UINT": "a number",
    "USING": "'using'",
    "VBAR": "'|'",
    "$END": "end of the file",
}


@lru_cache(maxsize=1)
def _parser() -> Lark:
    """The parser, built at the first use; it keeps no state between parses."""
    return Lark(GRAMMAR, parser="lalr", transformer=Builder(), maybe_placeholders=True)


#: What the layout writes behind a line, in words.
_INSERTED = {"{": "indented line below", "}": "end of the indentation", ";": "end of the line"}


def _unexpected(text: str, laid_out: str, error: UnexpectedInput) -> str:
    """The word at the place of the error."""
    if isinstance(error, UnexpectedToken) and error.token.type == "$END":
        return "end of the file"
    line, at = error.line - 1, error.column - 1
    written, read = text.split("\n")[line], laid_out.split("\n")[line]
    if at >= len(written):
        return _INSERTED.get(read[at], "end of the line")
    word = re.compile(r"\w{1,24}|.").match(read, at)
    found = word.group() if word else read[at]
    return f"'{found}'" if found.isprintable() else f"character U+{ord(found[0]):04X}"


def _expected(error: UnexpectedInput) -> str:
    """What could have stood at the place of the error, in words."""
    names: set[str] = set()
    if isinstance(error, UnexpectedToken):
        names = set(error.expected)
    elif isinstance(error, UnexpectedCharacters):
        names = set(error.allowed)
    words = sorted(WORDS.get(name, name) for name in names)
    return f"expected here: {', '.join(words)}"


# The same files describe every SoC of a process, and parsing them takes longer than building one. A description cannot
# be changed and depends on the text alone, and what is refused is not kept.
@lru_cache(maxsize=16)
def parse(text: str, file: str) -> Description:
    """The entries of one `.repl` file; `file` names it in errors.

    Raises `PlatformError` with `file`, `line` and `column` for anything that is not in the grammar.
    """
    laid_out = with_braces(text, file)
    try:
        return cast("Description", _parser().parse(laid_out))
    except UnexpectedInput as error:
        line, column = max(error.line, 1), max(error.column, 1)
        message, hint = f"unexpected {_unexpected(text, laid_out, error)}", _expected(error)
    except RefusedError as error:
        line, column, message, hint = error.line, error.column, error.message, error.hint
    raise PlatformError(f"{file}:{line}:{column}: {message}", hint=hint, file=file, line=line, column=column)
