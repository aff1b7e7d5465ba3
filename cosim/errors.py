"""Errors of the co-simulation; the family's base and the image errors come from `ta.errors`."""

from __future__ import annotations

from ta.errors import BusFault, CosimError, ImageError, KeyFileError

__all__ = [
    "BusFault",
    "CosimError",
    "EngineError",
    "ImageError",
    "KeyFileError",
    "PlatformError",
    "RunInterrupted",
    "RunTimeout",
    "UsageError",
]


class UsageError(CosimError):
    """An option or argument makes no sense (`option`)."""

    kind = "usage"


class PlatformError(CosimError):
    """A platform description cannot be read or honoured (`file`, `line`, `entry`, `type`)."""

    kind = "platform"


class EngineError(CosimError):
    """The engine cannot go on, or is not present (`engine`, `core`, `pc`)."""

    kind = "engine"


class RunTimeout(CosimError):  # noqa: N818 - reads as what it is
    """A run used up its budget of virtual time or instructions (`time_ps`, `instructions`)."""

    kind = "timeout"


class RunInterrupted(CosimError):  # noqa: N818 - reads as what it is
    """A run ended because someone asked for it (`time_ps`)."""

    kind = "interrupted"
