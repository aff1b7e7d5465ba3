"""What every subcommand does with files and terminals: bounded reading, atomic writing, error lines, colours."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO

import click

from cosim.errors import CosimError, UsageError
from cosim.timeline import Style, printable

#: No file may be larger: the staging area of the normal world has twice that, and signing adds to a file.
MOST_INPUT = 16 * 1024 * 1024
#: Exit code after Ctrl-C, as shells count it.
INTERRUPTED = 130

_COLOURS: Mapping[Style, Mapping[str, object]] = {
    Style.SMC: {"fg": "cyan"},
    Style.GOOD: {"fg": "green"},
    Style.BAD: {"fg": "red", "bold": True},
    Style.FIREWALL: {"fg": "magenta"},
    Style.CORE: {"fg": "yellow"},
    Style.CONSOLE: {"fg": "blue"},
    Style.DETAIL: {"dim": True},
}


def coloured(stream: IO[str]) -> bool:
    """Whether `stream` is a terminal that wants colours (NO_COLOR unset or empty, TERM not dumb)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def paint(text: str, style: Style, stream: IO[str]) -> str:
    """`text` in the colours of `style` where `stream` wants them."""
    if not coloured(stream) or style not in _COLOURS:
        return text
    return click.style(text, **_COLOURS[style])  # type: ignore[arg-type]


def _safe(text: str) -> str:
    """`text` without anything that drives a terminal; file names and firmware may try."""
    return "\n".join(printable(line) for line in text.split("\n"))


def log(text: str, style: Style = Style.PLAIN) -> None:
    """Text on stderr."""
    click.echo(paint(_safe(text), style, sys.stderr), err=True, color=coloured(sys.stderr))


def out(text: str, style: Style = Style.PLAIN) -> None:
    """Data on stdout."""
    click.echo(paint(_safe(text), style, sys.stdout), color=coloured(sys.stdout))


def out_json(value: object) -> None:
    """One JSON document on stdout."""
    click.echo(json.dumps(value, indent=2))


def note_python_loop(engine: str) -> None:
    """Say on stderr when the embedded engine has to do without its native loop; commands that run cores do it once."""
    from cosim.engine.unicorn.native import library_path

    if engine == "unicorn" and library_path() is None:
        log("the native loop is not installed: the Python loop gives the same results, more slowly (`cosim doctor`)")


def error_line(error: CosimError) -> str:
    """`error: FILE: message (hint)` in one printable line."""
    file = error.fields.get("file")
    where = f"{file}: " if file and str(file) not in error.message else ""
    hint = f" ({error.hint})" if error.hint else ""
    return printable(f"error: {where}{error.message}{hint}")


@contextlib.contextmanager
def about(path: Path) -> Iterator[None]:
    """Errors raised inside are about `path` unless they name a file themselves."""
    try:
        yield
    except CosimError as error:
        if not error.fields.get("file"):
            error.fields["file"] = str(path)
        raise


def read_input(path: Path) -> bytes:
    """The bytes of `path`. Raises UsageError when it cannot be read, is empty, or has more than 16 MiB."""
    try:
        with path.open("rb") as stream:
            data = stream.read(MOST_INPUT + 1)
    except (OSError, ValueError) as error:
        raise unusable(path, "read", error) from None
    if not data:
        raise UsageError("the file is empty", hint="Give an ELF file or a signed image.", file=str(path))
    if len(data) > MOST_INPUT:
        raise UsageError(
            f"the file has more than {MOST_INPUT} bytes",
            hint="Strip debug information: `arm-none-eabi-strip -g`.",
            file=str(path),
        )
    return data


def unusable(path: Path, verb: str, error: Exception) -> UsageError:
    """The UsageError for a failed file operation (`verb`: read, write)."""
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return UsageError(f"cannot {verb} it: {reason}", hint="Check the path and its permissions.", file=str(path))


def _behind(path: Path) -> Path:
    """The file behind symbolic links; pipes and devices stay as named: /dev/stdout leads to a name that is no file."""
    return path if path.exists() and not path.is_file() and not path.is_dir() else Path(os.path.realpath(path))


def check_writable(path: Path) -> None:
    """Raise UsageError now if `path` could not be written later, so that no long run ends in vain."""
    target = _behind(path)
    if target.is_dir():
        raise unusable(path, "write", IsADirectoryError(0, "it is a directory"))
    place = target if target.exists() else target.parent
    if place is not target and place.exists() and not place.is_dir():
        raise unusable(path, "write", NotADirectoryError(0, f"{place} is not a directory"))
    if not os.access(place, os.W_OK):
        reason = "permission denied" if place.exists() else "no such directory"
        raise unusable(path, "write", OSError(0, reason))


def write_atomically(path: Path, chunks: Iterable[bytes]) -> None:
    """Write `chunks` to `path`: all of them or nothing. Raises UsageError when that is not possible."""
    target = _behind(path)
    try:
        if target.exists() and not target.is_file():
            # A pipe or device cannot be replaced by a file, and has no half-written state to hide.
            with target.open("wb") as stream:
                stream.writelines(chunks)
            return
        _replace(target, chunks)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise unusable(path, "write", error) from None


def _replace(target: Path, chunks: Iterable[bytes]) -> None:
    handle, name = tempfile.mkstemp(prefix=f".{target.name[:64]}.", suffix=".part", dir=target.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.writelines(chunks)
            os.fchmod(stream.fileno(), _usual_mode(target))
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def _usual_mode(target: Path) -> int:
    # mkstemp makes files private; the result shall have the rights that a plain open() would have given it.
    if target.exists():
        return target.stat().st_mode & 0o777
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask
