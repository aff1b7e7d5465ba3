"""`--events` and `--vcd`: the files that a run leaves its event log in."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from cosim.cli._output import check_writable, write_atomically

if TYPE_CHECKING:
    from cosim.events import Record

F = TypeVar("F", bound=Callable[..., object])


@dataclass(frozen=True)
class LogFiles:
    """Where the user wants the event log. Raises `UsageError` at once where it could not be written later."""

    events: Path | None
    vcd: Path | None

    def __post_init__(self) -> None:
        for target in filter(None, (self.events, self.vcd)):
            check_writable(target)

    def save(self, records: Iterable[Record]) -> None:
        """Write each file, whole or not at all. Raises `UsageError`."""
        if self.events is not None:
            write_atomically(self.events, (record.as_json().encode() + b"\n" for record in records))
        if self.vcd is not None:
            from cosim.waveform import to_vcd

            write_atomically(self.vcd, [to_vcd(records).encode()])


def with_log_files(function: F) -> F:
    """Decorate a click command with both options; the paths arrive as `events` and `vcd`."""
    vcd = click.option(
        "--vcd", type=click.Path(path_type=Path), help="Write it as a waveform, for GTKWave and the like."
    )
    events = click.option("--events", type=click.Path(path_type=Path), help="Write the event log as JSON Lines.")
    return events(vcd(function))
