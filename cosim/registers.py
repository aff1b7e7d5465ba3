"""Register blocks from tables: what every peripheral model shares.

A model states its registers as a table (`Register`, `Field`) and overrides hooks for what a table cannot say. The base
does storage, sub-word accesses, write-1-to-set/clear fields, reset, snapshots and the events. Access modes and their
names follow ST's reference manuals (rw, r, w, rc_w1, rs).

The values lie in memory that never moves while the block lives, so that an engine can make those accesses itself that
are nothing but a load or a store: `cell_to_read` and `cell_to_write` say which.
"""

from __future__ import annotations

import enum
from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import ClassVar, NamedTuple

from cosim.access import AccessKind, Deny, Initiator
from cosim.errors import EngineError
from cosim.events import AccessDenied, EventLog, RegisterWritten, UnmodelledRegister

WORD, WORD_SIZE = 0xFFFFFFFF, 4


class Access(enum.Enum):
    """What software may do with a field."""

    RW = "rw"
    RO = "r"
    W1C = "rc_w1"  # writing 1 clears the bit, 0 has no effect
    W1S = "rs"  # writing 1 sets the bit, 0 has no effect
    PULSE = "w"  # write-only: the write itself acts, nothing is stored and it reads as 0


@dataclass(frozen=True)
class Field:
    """A named run of `width` bits from bit `low`; `access` None takes the register's."""

    name: str
    low: int
    width: int = 1
    access: Access | None = None

    @property
    def mask(self) -> int:
        """The field's bits in place."""
        return ((1 << self.width) - 1) << self.low


@dataclass(frozen=True)
class Register:
    """One 32-bit register.

    Bits without a field are reserved and keep their reset value; a register without fields is one field of 32 bits.
    `stored_in` names the register that holds the value when two registers act on the same bits (SET/CLR pairs).
    `logged` registers report each write as `RegisterWritten`; data and status registers leave it off.
    """

    name: str
    offset: int
    reset: int = 0
    fields: tuple[Field, ...] = ()
    access: Access = Access.RW
    stored_in: str | None = None
    logged: bool = True

    @cached_property
    def masks(self) -> dict[Access, int]:
        """The bits of each access mode."""
        masks = dict.fromkeys(Access, 0)
        for part in self.fields or (Field(self.name, 0, 32),):
            masks[part.access or self.access] |= part.mask
        return masks

    @cached_property
    def holder(self) -> str:
        """The name of the register that stores the value."""
        return self.stored_in or self.name

    # Asked at every access: an enum as the key of `masks` takes as long as the rest of the access.

    @cached_property
    def readable(self) -> int:
        """The bits that do not always read as 0."""
        return WORD & ~self.masks[Access.PULSE]

    @cached_property
    def effects(self) -> tuple[int, int, int]:
        """The bits that a write stores, that it clears by 1, and that it sets by 1."""
        return self.masks[Access.RW], self.masks[Access.W1C], self.masks[Access.W1S]


def bits(names: dict[int, str]) -> tuple[Field, ...]:
    """One-bit fields from bit numbers and names."""
    return tuple(Field(name, low) for low, name in names.items())


def bank(
    prefix: str,
    offset: int,
    count: int,
    *,
    reset: int = 0,
    access: Access = Access.RW,
    logged: bool = True,
) -> tuple[Register, ...]:
    """`count` alike registers `prefix0`, `prefix1`, … one word apart from `offset`."""
    return tuple(Register(f"{prefix}{n}", offset + 4 * n, reset, (), access, None, logged) for n in range(count))


def set_clear_pair(name: str, offset: int, reset: int, fields: tuple[Field, ...]) -> tuple[Register, ...]:
    """The registers `<name>SETR` and `<name>CLRR` (4 bytes further): both read as the current value."""
    holder = f"{name}SETR"
    return (
        Register(holder, offset, reset, fields, Access.W1S),
        Register(f"{name}CLRR", offset + 4, reset, fields, Access.W1C, stored_in=holder),
    )


@dataclass(frozen=True)
class BlockState:
    """A snapshot of a block: register values, which unmodelled registers were reported, the model's extra.

    `registers` is the table of the block that it fits, and `values` the words in its order, as they lie in memory.
    """

    registers: tuple[Register, ...]
    values: bytes
    reported: frozenset[tuple[int, AccessKind]]
    extra: object


class Cell(NamedTuple):
    """All that an access to a register is about: the bits `mask` of the 32-bit word at `address` in host memory.

    A read gives them shifted down by `shift`, a write stores its value there, shifted up.
    """

    address: int
    mask: int
    shift: int


class _Place(NamedTuple):
    """A register, which word holds its value, which bits of that can be read, and whether that is all about a read."""

    register: Register
    word: int
    readable: int
    plain: bool


class _Layout(NamedTuple):
    """Of a class: the word of each register that stores, the place of each register by its offset, reset values."""

    index_of: Mapping[str, int]
    place_at: Mapping[int, _Place]
    resets: array[int]


class RegisterBlock:
    """Base of the models; implements `cosim.access.Peripheral`.

    `base` is the block's bus address, used in the events only.
    """

    registers: ClassVar[tuple[Register, ...]] = ()
    #: The names of the registers of which `read_register` is asked; None: all of them, if the model has its own.
    computed: ClassVar[frozenset[str] | None] = None

    _layout: ClassVar[_Layout]

    def __init_subclass__(cls) -> None:
        cls._layout = _layout(cls)

    def __init__(self, name: str, base: int, log: EventLog) -> None:
        self.name = name
        self.base = base
        self._log = log
        self._index_of, self._place_at, self._resets = self._layout
        self._words = array("I", self._resets)
        self._reported: set[tuple[int, AccessKind]] = set()

    # The seam of the buses

    def read(self, offset: int, size: int, initiator: Initiator) -> int:
        """The value of `size` bytes at `offset`; an unmodelled register reads as 0 and is reported once."""
        place = self._place_at.get(offset & ~3)
        if place is None:
            self._report_unmodelled(offset, AccessKind.READ, initiator)
            return 0
        register, index, readable, plain = place
        rule = None if initiator is Initiator.DEBUG else self.refuses_read(register, initiator)
        if rule is not None:
            self.deny(AccessKind.READ, initiator, offset, size, value=0, rule=rule)
            return 0
        word = self._words[index] & readable if plain else self.read_register(register, initiator)
        return (word >> (8 * (offset & 3))) & ((1 << (8 * size)) - 1)

    def reader(self, offset: int, size: int, initiator: Initiator) -> Callable[[], int]:
        """What gives the same as `read` with these arguments does, now and later, without what the model leaves out."""
        place = self._place_at.get(offset & ~3)
        if place is None or size != WORD_SIZE or not self._reads_as_table():
            return partial(self.read, offset, size, initiator)
        register, index, readable, plain = place
        if not plain:
            return partial(self.read_register, register, initiator)
        words = self._words
        return lambda: words[index] & readable

    def cell_to_read(self, offset: int, size: int) -> Cell | None:
        """Where a read of `size` bytes at `offset` by anybody gets its value, if it does no more, now and later."""
        place = self._place_at.get(offset & ~3)
        if place is None or not place.plain or not self._reads_as_table():
            return None
        return self._cell(place.word, offset, size, place.readable)

    def cell_to_write(self, offset: int, size: int) -> Cell | None:
        """Where a write of `size` bytes at `offset` by anybody stores its value, if it does no more, now and later."""
        kind, place = type(self), self._place_at.get(offset & ~3)
        if (
            place is None
            or place.register.logged
            or any(getattr(kind, hook) is not getattr(RegisterBlock, hook) for hook in _HOOKS_OF_WRITES)
        ):
            return None
        plain, cleared, set_ = place.register.effects
        cell = self._cell(place.word, offset, size, plain)
        return None if (cleared | set_) & _lanes(offset, size) else cell

    def _reads_as_table(self) -> bool:
        kind = type(self)
        return kind.read is RegisterBlock.read and kind.refuses_read is RegisterBlock.refuses_read

    def _cell(self, index: int, offset: int, size: int, bits: int) -> Cell:
        address, _ = self._words.buffer_info()
        return Cell(address + index * self._words.itemsize, bits & _lanes(offset, size), 8 * (offset & 3))

    def write(self, offset: int, size: int, value: int, initiator: Initiator) -> None:
        """Write `size` bytes at `offset`; a write that the model refuses changes nothing and is reported as denied."""
        place = self._place_at.get(offset & ~3)
        if place is None:
            self._report_unmodelled(offset, AccessKind.WRITE, initiator)
            return
        register, index, _, _ = place
        shift = 8 * (offset & 3)
        lanes = ((1 << (8 * size)) - 1) << shift
        written = (value << shift) & lanes
        if initiator is not Initiator.DEBUG:
            rule, permitted = self.refuses_write(register, written, initiator)
            if rule is not None:
                self.deny(AccessKind.WRITE, initiator, offset, size, value=value, rule=rule)
            lanes &= permitted
            written &= permitted
            if not lanes:
                return
        before = self._words[index]
        after = self.combine(register, before, written, lanes)
        self._words[index] = after
        if register.logged:
            self._log.emit(RegisterWritten(self.name, register.name, initiator.value, written, before, after))
        self.written(register, before, after, written, initiator)

    def reset(self) -> None:
        """Back to the documented reset values."""
        self._words[:] = self._resets

    def save(self) -> BlockState:
        """The complete state, as an immutable value for `load`."""
        return BlockState(self.registers, self._words.tobytes(), frozenset(self._reported), self.save_extra())

    def load(self, state: object) -> None:
        """Restore what `save` of the same kind of block returned. Raises `EngineError` for anything else."""
        if not isinstance(state, BlockState) or state.registers is not self.registers:
            raise EngineError(f"not a snapshot of block {self.name}", hint="restore into the SoC that was saved")
        if self._reported != state.reported:
            self._reported = set(state.reported)
        if self._words.tobytes() == state.values and self.save_extra() == state.extra:
            return  # as nearly all blocks between two cases of a campaign: to look costs a fraction of what follows
        self._words[:] = array("I", state.values)  # in their place, which engines know
        self.load_extra(state.extra)

    # Hooks of the models

    def read_register(self, register: Register, initiator: Initiator) -> int:  # noqa: ARG002
        """The word that a read of a `computed` register returns. Must not change anything for `Initiator.DEBUG`."""
        return self._words[self._index_of[register.holder]] & register.readable

    def refuses_read(self, register: Register, initiator: Initiator) -> str | None:  # noqa: ARG002
        """The rule that makes this read return 0, or None."""
        return None

    def refuses_write(self, register: Register, written: int, initiator: Initiator) -> tuple[str | None, int]:  # noqa: ARG002
        """The rule that refuses this write or a part of it (None: no rule), and the bits that remain writable."""
        return None, WORD

    def combine(self, register: Register, before: int, written: int, lanes: int) -> int:
        """The stored value after a write of `written` to the bits `lanes`; override for locks."""
        plain, cleared, set_ = register.effects
        plain &= lanes
        after = (before & ~plain) | (written & plain)
        return (after & ~(written & cleared)) | (written & set_)

    def written(self, register: Register, before: int, after: int, written: int, initiator: Initiator) -> None:
        """Act on a write that was stored."""

    def save_extra(self) -> object:
        """State beyond the register values, immutable."""
        return None

    def load_extra(self, extra: object) -> None:
        """Restore what `save_extra` returned."""

    # For the models and their neighbours

    def value(self, name: str) -> int:
        """The stored value of the register `name`, without any effect. Raises `KeyError` for an unknown name."""
        return self._words[self._index_of[name]]

    def poke(self, name: str, value: int) -> None:
        """Hardware's own change of the register `name`: no access rule, no event."""
        self._words[self._index_of[name]] = value & WORD

    def deny(self, kind: AccessKind, initiator: Initiator, offset: int, size: int, *, value: int, rule: str) -> None:
        """Report an access that the block itself ignored; such blocks answer it as read-as-zero, write-ignored."""
        self._log.emit(
            AccessDenied(
                initiator.value, kind.value, self.base + offset, size, value, self.name, rule, Deny.RAZWI.value
            )
        )

    def _report_unmodelled(self, offset: int, kind: AccessKind, initiator: Initiator) -> None:
        key = (offset & ~3, kind)
        if initiator is Initiator.DEBUG or key in self._reported:
            return
        self._reported.add(key)
        self._log.emit(UnmodelledRegister(self.name, offset & ~3, kind.value, initiator.value))


def _layout(kind: type[RegisterBlock]) -> _Layout:
    holders = [register for register in kind.registers if register.stored_in is None]
    index_of = {register.name: index for index, register in enumerate(holders)}
    computed = frozenset() if kind.read_register is RegisterBlock.read_register else kind.computed
    return _Layout(
        index_of,
        {
            r.offset: _Place(r, index_of[r.holder], r.readable, computed is not None and r.name not in computed)
            for r in kind.registers
        },
        array("I", [register.reset for register in holders]),
    )


_HOOKS_OF_WRITES = ("write", "refuses_write", "combine", "written")


def _lanes(offset: int, size: int) -> int:
    """The bits of a register's word that an access of `size` bytes at `offset` is about."""
    return ((1 << 8 * size) - 1) << 8 * (offset & 3) & WORD
