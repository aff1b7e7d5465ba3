"""One thing that is wrong with a file: what the lenient readers collect and the strict ones raise."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass

from ta.errors import ImageError


class Severity(enum.Enum):
    """How bad it is: an error makes the file unusable, a warning is legal but suspicious, a note is for information."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem at byte `offset` of the file, in the field named `field`; `code` is a stable name for programs."""

    code: str
    message: str
    hint: str
    offset: int
    field: str
    severity: Severity = Severity.ERROR

    def as_error(self, file: str) -> ImageError:
        """The problem as the typed error of the strict readers."""
        where = f"{file}: " if file else ""
        text = f"{where}{self.message} (offset 0x{self.offset:08x}, {self.field})"
        return ImageError(text, hint=self.hint, file=file, offset=self.offset, field=self.field, code=self.code)


def raise_first(problems: Iterable[Problem], file: str) -> None:
    """Raise the first error among `problems` as ImageError; warnings and notes pass."""
    for problem in problems:
        if problem.severity is Severity.ERROR:
            raise problem.as_error(file)
