"""`--uart-input`: what to type into the firmware's UART, from the command line or from a file."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from cosim.cli._output import log, unusable
from cosim.errors import UsageError
from cosim.timeline import Style

if TYPE_CHECKING:
    from cosim.soc import Soc
    from cosim.uart_input import UartInput

F = TypeVar("F", bound=Callable[..., object])

_ESCAPE = re.compile(rb"\\(?:x([0-9A-Fa-f]{2})|(.?))", re.DOTALL)
_NAMED = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"\\": b"\\"}


def with_uart_input(function: F) -> F:
    """Decorate a click command with `--uart-input`; it arrives as `uart_input`, a text or None."""
    return click.option(
        "--uart-input",
        metavar="TEXT|@FILE",
        help=r"Type TEXT (with \n, \r, \t, \\, \xNN), or what FILE holds, into the UART whose receiver the M4 switches"
        " on first, from then on and at its baud rate; combine with --run.",
    )(function)


def uart_bytes(given: str | None) -> bytes | None:
    r"""The bytes that `--uart-input` means: a file after @, else text with escapes, in UTF-8; None without it.

    Raises UsageError for another escape, a file that cannot be read, and more than 1 MiB.
    """
    from cosim.uart_input import MOST_UART_INPUT, check_size

    if given is None:
        return None
    if given.startswith("@"):
        path = Path(given[1:])
        try:
            with path.open("rb") as stream:
                data = stream.read(MOST_UART_INPUT + 1)
        except (OSError, ValueError) as error:
            raise unusable(path, "read", error) from None
    else:
        data = _ESCAPE.sub(_unescaped, os.fsencode(given))
    check_size(len(data))
    return data


def type_into(soc: Soc, data: bytes | None) -> UartInput | None:
    """Type `data` into the UART of `soc` when it runs, if there is any."""
    from cosim.uart_input import UartInput

    return None if data is None else UartInput(soc, data)


def what_arrived(typed: UartInput | None) -> dict[str, object]:
    """What the JSON document says of the input; the user is told when not all of it arrived."""
    if typed is None:
        return {}
    if typed.port is None:
        log("nothing of --uart-input arrived: the M4 switched no receiver on", Style.BAD)
    elif typed.arrived < typed.size:
        what = f"{typed.arrived} of {typed.size} bytes of --uart-input arrived at {typed.port}"
        log(f"{what}: let the firmware run longer with --run MS", Style.BAD)
    return {"uart_input": typed.as_dict()}


def _unescaped(match: re.Match[bytes]) -> bytes:
    digits, name = match.groups()
    if digits is not None:
        return bytes.fromhex(digits.decode())
    if name not in _NAMED:
        hint = r"Known are \n, \r, \t, \\ and \xNN with two hexadecimal digits; a first @ is \x40."
        raise UsageError(
            f"--uart-input has an escape that is not known at byte {match.start()}", hint=hint, offset=match.start()
        )
    return _NAMED[name]
