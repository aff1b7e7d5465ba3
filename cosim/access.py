"""Who accesses what and how: initiators, kinds of access, and the seam that every register model implements."""

from __future__ import annotations

import enum
from typing import NamedTuple, Protocol


class Initiator(enum.Enum):
    """Who makes an access. Guest code on the A7 is always the normal world; the host-side TA is `A7_S`.

    `DEBUG` is the simulator's own view (tests, monitors, reports): it passes the firewall and has no side effects.
    """

    A7_NS = "a7-ns"
    A7_S = "a7-s"
    M4 = "m4"
    DEBUG = "debug"

    # Accesses are looked up by initiator and kind; an enum's own hash is a call into Python.
    __hash__ = object.__hash__

    @property
    def secure(self) -> bool:
        """Whether the access carries the secure attribute on the bus."""
        return self is Initiator.A7_S


class AccessKind(enum.Enum):
    """What an access does."""

    READ = "read"
    WRITE = "write"
    FETCH = "fetch"

    __hash__ = object.__hash__


class Rights(enum.Flag):
    """What an initiator may do with a range of addresses."""

    NONE = 0
    READ = enum.auto()
    WRITE = enum.auto()
    FETCH = enum.auto()
    ALL = READ | WRITE | FETCH


RIGHT_OF = {AccessKind.READ: Rights.READ, AccessKind.WRITE: Rights.WRITE, AccessKind.FETCH: Rights.FETCH}


class Deny(enum.Enum):
    """What a denied access does: read as zero and write ignored, or an error response on the bus."""

    RAZWI = "razwi"
    ABORT = "abort"


class Grant(NamedTuple):
    """Constant rights of one initiator over `size` bytes from `offset` of a target, and the rule behind them."""

    offset: int
    size: int
    rights: Rights
    rule: str


class Peripheral(Protocol):
    """A register block as the buses see it. Offsets and sizes are in bytes, values unsigned.

    Accesses are already routed and passed the firewall; they lie within the block, have a size of 1, 2 or 4 and do not
    cross a 32-bit word. A read by `Initiator.DEBUG` must not change anything.
    """

    name: str

    def read(self, offset: int, size: int, initiator: Initiator) -> int:
        """The value read at `offset`."""
        ...

    def write(self, offset: int, size: int, value: int, initiator: Initiator) -> None:
        """Write `value` at `offset`."""
        ...

    def reset(self) -> None:
        """Back to the documented reset values."""
        ...

    def save(self) -> object:
        """The complete state, as an immutable value for `load` (snapshots)."""
        ...

    def load(self, state: object) -> None:
        """Restore what `save` returned."""
        ...
