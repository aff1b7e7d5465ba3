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
    "UnmodelledAccess",
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


class UnmodelledAccess(CosimError):  # noqa: N818 - likewise
    """The M4 touched a register without a model (`block`, `offset`, `address` where known, `access`, `pc`)."""

    kind = "unmodelled"

    def __init__(self, block: str, offset: int, access: str, *, address: int | None, pc: int) -> None:
        where = f"{block}+0x{offset:x}" + ("" if address is None else f" (0x{address:08x})")
        super().__init__(
            f"the M4's {access} of {where} at PC 0x{pc:08x} reached a register without a model",
            hint="without --strict it reads as what was written, 0 before; docs/blocks.md says what is modelled",
            block=block,
            offset=offset,
            access=access,
            address=address,
            pc=pc,
        )
