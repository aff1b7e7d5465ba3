"""Where in a description something is wrong: makes the errors that name file, line, entry and type."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cosim.errors import PlatformError
from cosim.platform.model import Entry


@dataclass(frozen=True)
class Place:
    """An entry as written at `line` of `file`; `type` is its Renode class, "" while it is not known."""

    file: Path
    line: int
    entry: str
    type: str = ""

    @staticmethod
    def of(entry: Entry) -> Place:
        """The place where `entry` was created."""
        return Place(entry.file, entry.line, entry.name, entry.type)

    def error(self, message: str, hint: str, line: int | None = None) -> PlatformError:
        """The error to raise for `message`, at `line` of the entry when that is known better."""
        at = self.line if line is None else line
        text = f"{self.file}:{at}: entry '{self.entry}': {message}"
        return PlatformError(text, hint=hint, file=str(self.file), line=at, entry=self.entry, type=self.type)
