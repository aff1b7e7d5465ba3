"""`--gdb`: a GDB at one core while a command runs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeVar

import click

from cosim.cli._output import log
from cosim.timeline import describe

if TYPE_CHECKING:
    from cosim.soc import Soc

F = TypeVar("F", bound=Callable[..., object])
_SHOWN_LINES, _MOST_LINES = 20, 1000


def with_gdb(function: F) -> F:
    """Decorate a click command with `--gdb`; it arrives as `gdb`, a port or None."""
    return click.option(
        "--gdb", type=click.IntRange(0, 0xFFFF), metavar="PORT", help="Let GDB in at this TCP port; 0: a free one."
    )(function)


@contextlib.contextmanager
def debugged(soc: Soc, port: int | None, core: str = "m4") -> Iterator[Callable[[int], None]]:
    """While entered, GDB is let in at `port`. Yields what has to be called with the exit code at the end.

    Raises `EngineError` where the engine lets no debugger in, `UsageError` where the port cannot be had.
    """
    if port is None:
        yield lambda _code: None
        return
    from cosim.engine import debuggable
    from cosim.errors import RunInterrupted
    from cosim.gdb import GdbServer

    server = GdbServer(
        debuggable(soc.engine),
        core,
        port=port,
        tell=log,
        ended=lambda: soc.ending is not None,
        kill=lambda: soc.end_run(RunInterrupted("GDB killed the run")),
        commands={"time": lambda _: _time(soc), "log": lambda count: _log(soc, count), "cores": lambda _: _cores(soc)},
    )
    with server:
        yield server.finish


def _time(soc: Soc) -> str:
    stamp = soc.log.clock()
    cycles = "" if stamp.cycles is None else f", {stamp.cycles} cycles"
    return f"{stamp.time_ps / 1e6:.3f} us of virtual time; {stamp.core}: {stamp.instructions} instructions{cycles}\n"


def _log(soc: Soc, count: str) -> str:
    lines = int(count) if count.isdecimal() else _SHOWN_LINES
    return "".join(f"{describe(record)}\n" for record in soc.log.records[-min(max(lines, 1), _MOST_LINES) :])


def _cores(soc: Soc) -> str:
    cores = soc.engine.cores.values()
    return "".join(f"{c.name}: {c.state.value}, pc 0x{c.pc:08x}, {c.retired} instructions\n" for c in cores)
