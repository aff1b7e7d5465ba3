"""`--trace`: what a core executed, into a file, by instructions or by blocks."""

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
    """Decorate a click command with `--trace` (`trace`, a path or None) and `--trace-kind` (`trace_kind`, a text)."""
    kind = click.option(
        "--trace-kind",
        type=click.Choice(["instructions", "blocks"]),
        default="instructions",
        show_default=True,
        help="A line for each instruction, or for each run of them in sequence.",
    )
    return click.option(
        "--trace",
        type=click.Path(path_type=Path),
        help="Write what the core executed, the last million lines.",
    )(kind(function))


@contextlib.contextmanager
def traced(soc: Soc, path: Path | None, image: bytes, kind: str, core: str = "m4") -> Iterator[None]:
    """While entered, note what `core` (m4, a7) executes, and write it to `path` in the end, however the run ended.

    Raises `EngineError` where the engine does not tell of instructions, `UsageError` where nothing can be written.
    """
    if path is None:
        yield
        return
    from cosim.engine import debuggable
    from cosim.inspection import inspect
    from cosim.instruction_trace import BlockTrace, InstructionTrace
    from cosim.resources import firmware_file
    from cosim.symbols import Symbols
    from ta.image_elf import read_elf

    check_writable(path)
    is_m4 = core == "m4"
    if is_m4:
        symbols = Symbols(part.elf for part in inspect(image, "").images if part.elf is not None)
    else:
        symbols = Symbols([read_elf(firmware_file("a7_client.elf").read_bytes())])
    debugged = debuggable(soc.engine).debug_core((soc.m4 if is_m4 else soc.a7).name)
    trace = BlockTrace(debugged, symbols) if kind == "blocks" else InstructionTrace(debugged, symbols, m_profile=is_m4)
    try:
        yield
    finally:
        trace.close()
        write_atomically(path, (line.encode() for line in trace.lines()))
        log(f"wrote {path}")
