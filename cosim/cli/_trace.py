"""`--trace`: every instruction that the M4 executed, into a file."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from cosim.cli._output import check_writable, log, write_atomically

if TYPE_CHECKING:
    from cosim.soc import Soc

F = TypeVar("F", bound=Callable[..., object])


def with_trace(function: F) -> F:
    """Decorate a click command with `--trace`; it arrives as `trace`, a path or None."""
    return click.option(
        "--trace",
        type=click.Path(path_type=Path),
        help="Write what the M4 executed, the last million instructions.",
    )(function)


@contextlib.contextmanager
def traced(soc: Soc, path: Path | None, image: bytes) -> Iterator[None]:
    """While entered, note what the M4 executes, and write it to `path` in the end, however the run ended.

    Raises `EngineError` where the engine does not tell of instructions, `UsageError` where nothing can be written.
    """
    if path is None:
        yield
        return
    from cosim.engine import debuggable
    from cosim.inspection import inspect
    from cosim.instruction_trace import InstructionTrace
    from cosim.symbols import Symbols

    check_writable(path)
    symbols = Symbols(part.elf for part in inspect(image, "").images if part.elf is not None)
    trace = InstructionTrace(debuggable(soc.engine).debug_core(soc.m4.name), symbols)
    try:
        yield
    finally:
        trace.close()
        write_atomically(path, (line.encode() for line in trace.lines()))
        log(f"wrote {path}")
