"""The system bus: routes every access to a memory or a block in the view of its initiator, and asks the firewall.

Two views exist: what the A7 sees (both worlds, and the debugger) and what the M4 sees. A denied access and an access to
nothing are events; what a denied access answers (zero, or an error response) is the platform's setting `deny`.
Accesses by `Initiator.DEBUG` pass the firewall and leave no event.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple, TypeVar

from cosim.access import RIGHT_OF, AccessKind, Deny, Initiator, Peripheral
from cosim.errors import BusFault, PlatformError
from cosim.events import AccessDenied, BusErrorRaised, EventLog
from cosim.firewall import Firewall
from cosim.memory import MemoryBank

Target = MemoryBank | Peripheral
View = Literal["a7", "m4"]
_T = TypeVar("_T")
#: Told about each write that the bus itself stored in a memory: bank, offset in it, size in bytes.
WriteListener = Callable[[MemoryBank, int, int], None]


@dataclass(frozen=True)
class Window:
    """`size` bytes at `address` that reach `target` from its `offset` on; `cpu` None: in both views."""

    address: int
    size: int
    target: Target
    offset: int
    cpu: View | None

    @property
    def end(self) -> int:
        """The first address behind the window."""
        return self.address + self.size


# Made for every access of every core, so these are tuples: a frozen dataclass takes several times as long to make.


class Outcome(NamedTuple):
    """What a core gets: the value read (0 for writes), and whether it must take an external abort."""

    value: int
    error: bool


class _Request(NamedTuple):
    """An access as its initiator made it; `data` is what a write writes."""

    initiator: Initiator
    kind: AccessKind
    address: int
    size: int
    data: bytes = b""


class _Piece(NamedTuple):
    """A part of an access that lies in one window: `offset` in the target, `start` in the access, both in bytes."""

    target: Target
    offset: int
    size: int
    start: int

    @property
    def end(self) -> int:
        """The byte of the access behind the piece."""
        return self.start + self.size


#: From this size in bytes on, a write first looks whether it changes anything.
_LARGE = 0x1000
#: How many ways of accesses are kept.
_MOST_WAYS = 4096
#: An access by its initiator, address and size, under the firewall's answers of the time.
_Way = tuple[int, Initiator, int, int]


class SecureView:
    """The bus as the secure world uses it; implements `ta.ports.SecureBus`."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    def read(self, address: int, size: int) -> bytes:
        """Read `size` bytes at the A7 physical `address`. Raises `BusFault`."""
        return self._bus.read(Initiator.A7_S, address, size)

    def write(self, address: int, data: bytes) -> None:
        """Write `data` at the A7 physical `address`. Raises `BusFault`."""
        self._bus.write(Initiator.A7_S, address, data)

    def holds(self, address: int, data: bytes) -> bool:
        """Whether a read at the A7 physical `address` gives `data`. Raises `BusFault`."""
        return self._bus.holds(Initiator.A7_S, address, data)


class Bus:
    """Routing, firewall and fault answers. Raises `PlatformError` for windows that overlap or exceed their bank."""

    def __init__(self, windows: Sequence[Window], firewall: Firewall, log: EventLog, deny: Deny = Deny.RAZWI) -> None:
        self.windows = tuple(windows)
        self.deny = deny
        self._firewall = firewall
        self._log = log
        self._views: dict[View, list[Window]] = {"a7": _in_view(windows, "a7"), "m4": _in_view(windows, "m4")}
        self._starts = {view: [window.address for window in found] for view, found in self._views.items()}
        self._write_listeners: list[WriteListener] = []
        # How accesses were made that are allowed as a whole: the next one goes there without asking.
        self._loads: dict[_Way, Callable[[], bytes]] = {}
        self._stores: dict[_Way, Callable[[bytes], None]] = {}
        self._compares: dict[_Way, Callable[[bytes], bool]] = {}

    def listen_writes(self, listener: WriteListener) -> None:
        """Call `listener` after each write that changed a memory bank through the bus (stale translated code)."""
        self._write_listeners.append(listener)

    def secure_view(self) -> SecureView:
        """The bus with every access made as `a7-s`."""
        return SecureView(self)

    def window_at(self, view: View, address: int) -> Window | None:
        """What lies at `address` in a view."""
        index = bisect.bisect_right(self._starts[view], address) - 1
        window = self._views[view][index] if index >= 0 else None
        return window if window is not None and address < window.address + window.size else None

    # Accesses of cores

    def transact(self, initiator: Initiator, kind: AccessKind, address: int, size: int, value: int = 0) -> Outcome:
        """One access of 1, 2 or 4 bytes by a core; `value` is what a write writes.

        A fetch reaches memories only. An access that is not aligned, or spans two windows, is made in aligned parts
        after all of them were found allowed.
        """
        data = (value & ((1 << (8 * size)) - 1)).to_bytes(size, "little") if kind is AccessKind.WRITE else b""
        request = _Request(initiator, kind, address, size, data)
        pieces = self._pieces(_view_of(initiator), address, size)
        fetches_block = kind is AccessKind.FETCH and not all(isinstance(p.target, MemoryBank) for p in pieces)
        if not pieces or fetches_block:
            self._report_nothing(request)
            return Outcome(0, True)
        for piece in pieces:
            rule = self._firewall.decide(initiator, piece.target.name, piece.offset, piece.size, kind)
            if rule is not None:
                self._report_denied(request, piece, rule, whole=True)
                return Outcome(0, self.deny is Deny.ABORT)
        if kind is AccessKind.WRITE:
            for piece in pieces:
                self._storing(piece, initiator)(data)
            return Outcome(0, False)
        data = b"".join([_loading(piece, initiator)() for piece in pieces])
        return Outcome(int.from_bytes(data, "little"), False)

    def denial(self, initiator: Initiator, kind: AccessKind, address: int, size: int) -> Callable[[int], None] | None:
        """What reports such a read or write of an aligned value as `transact` does, if one rule denies all of it.

        It is told the value that is written, 0 for a read, and holds until the firewall's `listen_rules` tells.
        """
        pieces = self._pieces(_view_of(initiator), address, size)
        if len(pieces) != 1:
            return None
        name, offset, firewall, emit = pieces[0].target.name, pieces[0].offset, self._firewall, self._log.emit
        grants = tuple(firewall.pieces(initiator, name, offset, size))
        if len(grants) != 1 or grants[0].rights & RIGHT_OF[kind]:
            return None

        def event(value: int) -> AccessDenied:
            return AccessDenied(
                initiator.value, kind.value, address, size, value, name, grants[0].rule, self.deny.value
            )

        always = None if kind is AccessKind.WRITE else event(0)

        def report(value: int) -> None:
            firewall.record_denial(initiator, name, offset, kind)
            emit(always or event(value))

        return report

    # Accesses of the secure world and the debugger

    def read(self, initiator: Initiator, address: int, size: int) -> bytes:
        """`size` bytes at `address`, across windows if need be; denied parts read as zero.

        Raises `BusFault` when a part reaches nothing, or is denied and the platform answers with an abort.
        """
        load = self._loads.get((self._firewall.state, initiator, address, size))
        if load is not None:
            return load()
        pieces = self._allowed(initiator, AccessKind.READ, address, size)
        if not pieces:
            return self._read(_view_of(initiator), _Request(initiator, AccessKind.READ, address, size))
        load = _one_or_all(_joined, [_loading(piece, initiator) for piece in pieces])
        _keep(self._loads, (self._firewall.state, initiator, address, size), load)
        return load()

    def holds(self, initiator: Initiator, address: int, data: bytes) -> bool:
        """Whether `read` gives `data`; of memory nothing is copied. Raises `BusFault` like `read`."""
        holds = self._compares.get((self._firewall.state, initiator, address, len(data)))
        if holds is not None:
            return holds(data)
        pieces = self._allowed(initiator, AccessKind.READ, address, len(data))
        if not pieces or not all(isinstance(piece.target, MemoryBank) for piece in pieces):
            return self.read(initiator, address, len(data)) == data
        holds = _one_or_all(_all_hold, [_comparing(piece) for piece in pieces])
        _keep(self._compares, (self._firewall.state, initiator, address, len(data)), holds)
        return holds(data)

    def _allowed(self, initiator: Initiator, kind: AccessKind, address: int, size: int) -> list[_Piece]:
        """The parts of an access if all of it is allowed, as nearly always; else, or if it reaches nothing, none."""
        pieces = self._pieces(_view_of(initiator), address, size)
        allows = self._firewall.allows
        return pieces if all(allows(initiator, p.target.name, p.offset, p.size, kind) for p in pieces) else []

    def debug_read(self, core_view: View, address: int, size: int) -> bytes:
        """`size` bytes as the given core's address map shows them, past the firewall. Raises `BusFault`."""
        return self._read(core_view, _Request(Initiator.DEBUG, AccessKind.READ, address, size))

    def debug_write(self, core_view: View, address: int, data: bytes) -> None:
        """Write `data` where the given core's address map shows it, past the firewall. Raises `BusFault`."""
        request = _Request(Initiator.DEBUG, AccessKind.WRITE, address, len(data), data)
        for piece, _ in self._decided(core_view, request):
            self._storing(piece, Initiator.DEBUG)(data)

    def write(self, initiator: Initiator, address: int, data: bytes) -> None:
        """Write `data` at `address`, across windows if need be; denied parts are ignored.

        Raises `BusFault` like `read`, in which case nothing was written.
        """
        data = bytes(data)
        store = self._stores.get((self._firewall.state, initiator, address, len(data)))
        if store is not None:
            store(data)
            return
        pieces = self._allowed(initiator, AccessKind.WRITE, address, len(data))
        if pieces:
            store = _one_or_all(_each, [self._storing(piece, initiator) for piece in pieces])
            _keep(self._stores, (self._firewall.state, initiator, address, len(data)), store)
            store(data)
            return
        request = _Request(initiator, AccessKind.WRITE, address, len(data), data)
        for piece, allowed in self._decided(_view_of(initiator), request):
            if allowed:
                self._storing(piece, initiator)(data)

    def _read(self, view: View, request: _Request) -> bytes:
        decided = self._decided(view, request)
        return b"".join(_loading(p, request.initiator)() if allowed else bytes(p.size) for p, allowed in decided)

    def _decided(self, view: View, request: _Request) -> list[tuple[_Piece, bool]]:
        """The request cut where the rights change, each part with whether it is allowed; denied parts are reported."""
        pieces = self._pieces(view, request.address, request.size)
        if not pieces and request.size:
            self._report_nothing(request)
            raise _fault(
                request, request.address, "reaches no memory and no block", "look at the platform's memory map"
            )
        decided: list[tuple[_Piece, bool]] = []
        for piece in pieces:
            if self._firewall.allows(request.initiator, piece.target.name, piece.offset, piece.size, request.kind):
                decided.append((piece, True))
                continue
            for grant in self._firewall.pieces(request.initiator, piece.target.name, piece.offset, piece.size):
                part = _Piece(piece.target, grant.offset, grant.size, piece.start + grant.offset - piece.offset)
                allowed = bool(grant.rights & RIGHT_OF[request.kind])
                decided.append((part, allowed))
                if not allowed:
                    self._report_denied(request, part, grant.rule, whole=False)
                    if self.deny is Deny.ABORT:
                        reason = f"is denied by {grant.rule}"
                        raise _fault(
                            request, request.address + part.start, reason, "the rule names the register to look at"
                        )
        return decided

    # Routing and storage

    def _pieces(self, view: View, address: int, size: int) -> list[_Piece]:
        """The parts of an access window by window; empty when one of its bytes reaches nothing."""
        pieces: list[_Piece] = []
        start = 0
        while start < size:
            at = address + start
            window = self.window_at(view, at)
            if window is None:
                return []
            part = min(size - start, window.end - at)
            pieces.append(_Piece(window.target, window.offset + at - window.address, part, start))
            start += part
        return pieces

    def _storing(self, piece: _Piece, initiator: Initiator) -> Callable[[bytes], None]:
        """What stores a piece of the data of an access."""
        if isinstance(piece.target, MemoryBank):
            return partial(self._store_in_bank, piece.target, piece.offset, piece.start, piece.size)
        parts = tuple((piece.offset + at, piece.start + at, size) for at, size in _aligned_parts(piece))
        return partial(_store_in_block, piece.target, parts, initiator)

    def _store_in_bank(self, bank: MemoryBank, offset: int, start: int, size: int, data: bytes) -> None:
        if size >= _LARGE and bank.holds(offset, data, start, size):
            return  # wiping what is zero already; to drop translated code for it would cost far more than to look
        bank.write(offset, data[start : start + size])
        for listener in self._write_listeners:
            listener(bank, offset, size)

    # Reports

    def _report_nothing(self, request: _Request) -> None:
        if request.initiator is not Initiator.DEBUG:
            self._log.emit(BusErrorRaised(request.initiator.value, request.kind.value, request.address, request.size))

    def _report_denied(self, request: _Request, piece: _Piece, rule: str, whole: bool) -> None:
        """Report the `whole` access, or only the denied piece of it with the first bytes that it would have written."""
        self._firewall.record_denial(request.initiator, piece.target.name, piece.offset, request.kind)
        start, size = (0, request.size) if whole else (piece.start, piece.size)
        value = int.from_bytes(request.data[start : start + min(4, size)], "little")
        self._log.emit(
            AccessDenied(
                request.initiator.value,
                request.kind.value,
                request.address + start,
                size,
                value,
                piece.target.name,
                rule,
                self.deny.value,
            )
        )


def _view_of(initiator: Initiator) -> View:
    return "m4" if initiator is Initiator.M4 else "a7"


def _in_view(windows: Sequence[Window], view: View) -> list[Window]:
    """The windows of one view by address, checked."""
    found = sorted((w for w in windows if w.cpu in (None, view)), key=lambda window: window.address)
    for window in found:
        name = window.target.name
        too_long = isinstance(window.target, MemoryBank) and window.offset + window.size > window.target.size
        if window.size <= 0 or window.address < 0 or window.end > 1 << 32 or window.offset < 0 or too_long:
            raise PlatformError(
                f"window of {name} at 0x{window.address:08x} with 0x{window.size:x} bytes does not fit",
                hint="keep it inside the 32-bit address space and inside its memory",
                entry=name,
                address=window.address,
            )
    for before, after in itertools.pairwise(found):
        if after.address < before.end:
            raise PlatformError(
                f"{before.target.name} and {after.target.name} overlap at 0x{after.address:08x} in the view of {view}",
                hint="move one of them, or register it for the other core only",
                entry=after.target.name,
                address=after.address,
            )
    return found


def _aligned_parts(piece: _Piece) -> Iterable[tuple[int, int]]:
    """Start in the piece and size of the largest naturally aligned accesses that make it up."""
    whole = _WHOLE.get(piece.size)
    return whole if whole and piece.offset % piece.size == 0 else _cut(piece)


#: The parts of an access that is aligned as it is, by its size; nearly all of a core's accesses to blocks are.
_WHOLE = {size: ((0, size),) for size in (1, 2, 4)}


def _cut(piece: _Piece) -> Iterator[tuple[int, int]]:
    at = 0
    while at < piece.size:
        size = next(n for n in (4, 2, 1) if (piece.offset + at) % n == 0 and at + n <= piece.size)
        yield at, size
        at += size


def _loading(piece: _Piece, initiator: Initiator) -> Callable[[], bytes]:
    """What loads a piece."""
    if isinstance(piece.target, MemoryBank):
        return partial(piece.target.read, piece.offset, piece.size)
    parts = tuple((piece.offset + at, size) for at, size in _aligned_parts(piece))
    return partial(_load_from_block, piece.target, parts, initiator)


def _load_from_block(block: Peripheral, parts: Sequence[tuple[int, int]], initiator: Initiator) -> bytes:
    return b"".join([block.read(offset, size, initiator).to_bytes(size, "little") for offset, size in parts])


def _store_in_block(
    block: Peripheral, parts: Sequence[tuple[int, int, int]], initiator: Initiator, data: bytes
) -> None:
    for offset, start, size in parts:
        block.write(offset, size, int.from_bytes(data[start : start + size], "little"), initiator)


def _comparing(piece: _Piece) -> Callable[[bytes], bool]:
    """What compares a piece of memory with its part of some data."""
    bank = piece.target
    assert isinstance(bank, MemoryBank)
    return lambda data: bank.holds(piece.offset, data, piece.start, piece.size)


def _joined(loads: Sequence[Callable[[], bytes]]) -> bytes:
    return b"".join([load() for load in loads])


def _each(stores: Sequence[Callable[[bytes], None]], data: bytes) -> None:
    for store in stores:
        store(data)


def _all_hold(compares: Sequence[Callable[[bytes], bool]], data: bytes) -> bool:
    return all(holds(data) for holds in compares)


def _one_or_all(all_of: Callable[..., _T], ways: list[Callable[..., _T]]) -> Callable[..., _T]:
    return ways[0] if len(ways) == 1 else partial(all_of, ways)


def _keep(ways: dict[_Way, _T], way: _Way, access: _T) -> None:
    if len(ways) >= _MOST_WAYS:
        ways.clear()
    ways[way] = access


def _fault(request: _Request, address: int, reason: str, hint: str) -> BusFault:
    return BusFault(
        f"{request.initiator.value} {request.kind.value} of 0x{request.size:x} bytes at 0x{address:08x} {reason}",
        hint=hint,
        address=address,
        size=request.size,
        initiator=request.initiator.value,
    )
