"""The error family of the project: every error carries fields a program can read and a hint a person can follow.

The base lives here because `ta` imports nothing of `cosim`; `cosim.errors` adds the kinds that need a simulated SoC.
"""

from __future__ import annotations

FieldValue = int | str | bool | None


class CosimError(Exception):
    """Base of all errors that the project raises on purpose.

    `fields` holds machine-readable facts (`file`, `offset`, `address`, …), `hint` one sentence on what to do.
    """

    #: Short stable name for machine output.
    kind = "error"

    def __init__(self, message: str, *, hint: str = "", **fields: FieldValue) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.fields: dict[str, FieldValue] = fields

    def as_dict(self) -> dict[str, FieldValue]:
        """The error as one flat JSON-ready object."""
        return {"error": self.kind, "message": self.message, "hint": self.hint, **self.fields}


class ImageError(CosimError):
    """An ELF file or a signed image cannot be read or built (`file`, `offset`, `field`)."""

    kind = "image"


class KeyFileError(CosimError):
    """A key file cannot be read, written or used (`file`)."""

    kind = "key"


class BusFault(CosimError):  # noqa: N818 - the architecture's own word for it
    """A secure-world access reached nothing, or was denied by the firewall (`address`, `size`)."""

    kind = "bus"
