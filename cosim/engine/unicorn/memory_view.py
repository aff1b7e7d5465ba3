"""What one core on Unicorn sees of memory.

RAM is mapped at the address of the bank's own buffer, so all cores and aliases share one copy. Everything else, and
every RAM range that the firewall forbids to this core, is an MMIO mapping that grants no right. RAM that the core may
only read, and every bank that is home to another core, is mapped without the right to write. So the hook of invalid
accesses sees each access that is not plain RAM, and makes it by the bus. Unicorn then reads what the bus gave, and
discards the write. Translations of code that was written behind a core's back are dropped (Unicorn would go on
executing the old bytes).
"""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Iterable
from dataclasses import dataclass

from unicorn import UC_PROT_ALL, UC_PROT_EXEC, UC_PROT_NONE, UC_PROT_READ, UC_PROT_WRITE, Uc
from unicorn.unicorn_py3.unicorn import uclib

from cosim.access import AccessKind, Initiator, Rights
from cosim.bus import View, Window
from cosim.engine import Machine
from cosim.engine.unicorn.batch import remove_cache
from cosim.engine.unicorn.loop import CodeRange, Lane, Loop
from cosim.errors import EngineError
from cosim.memory import MemoryBank

PAGE = 0x1000


@dataclass(frozen=True)
class _Piece:
    """One mapping in Unicorn; `offset` is where it begins in `window`'s target (None for pages of blocks)."""

    base: int
    size: int
    permissions: int
    window: Window | None


class MemoryView:
    """The mappings of one Unicorn instance; `Core` makes the accesses that they do not grant."""

    name = ""
    initiator = Initiator.DEBUG
    view: View = "a7"
    #: Base and size of a range that only this core sees and serves itself.
    private_range: tuple[int, int] | None = None

    def __init__(self, machine: Machine, uc: Uc, loop: Loop) -> None:
        self.machine = machine
        self.uc = uc
        self.lane: Lane = loop.add(uc._uch.value, timed=machine.timing == "cycles")
        self._loop = loop
        self._pieces: list[_Piece] = []
        self._code: list[CodeRange] = []
        self._piece_at: dict[int, _Piece] = {}  # of host_address, by page
        self._windows = tuple(w for w in machine.bus.windows if w.cpu in (None, self.view))
        self._windows_of: dict[str, tuple[tuple[Window, MemoryBank], ...]] = {
            bank: tuple(
                (w, w.target) for w in self._windows if isinstance(w.target, MemoryBank) and w.target.name == bank
            )
            for bank in {w.target.name for w in self._windows if isinstance(w.target, MemoryBank)}
        }
        #: Nothing is translated while the core has not run since: stopped for the engine, or retired an instruction.
        self._has_run, self._flushed_at = False, 0
        self._grants: dict[str, tuple[tuple[int, int, Rights], ...]] = {}
        self.port = loop.port(self.lane)

    def map_all(self) -> None:
        """Build the view for the first time."""
        for window in self._windows:
            if isinstance(window.target, MemoryBank):
                self._grants[window.target.name] = self._ask_grants(window.target)
                self._map_pieces(self._plan(window, window.target))
        for base, size in _page_runs(w for w in self._windows if not isinstance(w.target, MemoryBank)):
            self._map_mmio(base, size, None)
        if self.private_range is not None:
            self._map_mmio(*self.private_range, None)
        self._publish_code()

    def remap(self, target: str | None = None) -> None:
        """Map the windows of one bank, or all, anew where the answer of firewall or memory protection changed."""
        changed = False
        for window, bank in itertools.chain(
            *([self._windows_of.get(target, ())] if target is not None else self._windows_of.values())
        ):
            self._grants[bank.name] = self._ask_grants(bank)
            present = [piece for piece in self._pieces if piece.window is window]
            planned = self._plan(window, bank)
            if planned == present:
                continue
            for piece in present:
                self.uc.mem_unmap(piece.base, piece.size)
            self._pieces = [piece for piece in self._pieces if piece.window is not window]
            self._piece_at.clear()
            self._map_pieces(planned)
            changed = True
        if changed:
            self._publish_code()

    def carve(self, bank: MemoryBank, base: int, end: int) -> Iterable[tuple[int, int, Rights]]:  # noqa: ARG002
        """What the core's own memory protection leaves of a range, in whole pages: (base, end, rights).

        What may not be read there is mapped without any right, so that `forbids` is asked about each access.
        """
        return ((base, end, Rights.ALL),)

    def forbids(self, kind: AccessKind, address: int, size: int) -> bool:  # noqa: ARG002
        """Whether the core's own memory protection stops an access."""
        return False

    def forget_code(self, bank: MemoryBank, offset: int, size: int) -> None:
        """Drop the translations of bytes that were written behind this core's back."""
        if not self._has_run and self.lane.retired == self._flushed_at:
            return
        for window, _ in self._windows_of.get(bank.name, ()):
            if window.offset < offset + size and offset < window.offset + window.size:
                first = max(offset, window.offset) - window.offset + window.address
                last = min(offset + size, window.offset + window.size) - window.offset + window.address
                remove_cache(self.uc, first, last)

    def forget_all_code(self) -> None:
        """Drop all translations."""
        self.uc.ctl_flush_tb()
        self._has_run, self._flushed_at = False, self.lane.retired

    def host_address(self, address: int, size: int, *, write: bool) -> int | None:
        """Where `size` bytes of memory lie in the host, if all that this core may do there needs no asking."""
        right = UC_PROT_WRITE if write else UC_PROT_READ
        piece = self._piece_at.get(address >> 12)
        if piece is None:
            piece = next((p for p in self._pieces if p.base <= address < p.base + p.size), None)
            if piece is None:
                return None
            self._piece_at[address >> 12] = piece
        if not piece.permissions & right or not piece.base <= address <= piece.base + piece.size - size:
            return None
        window = piece.window
        if window is None or not isinstance(window.target, MemoryBank):
            return None
        return window.target.host_address + window.offset + address - window.address

    def _window_at(self, address: int) -> Window | None:
        return self.machine.bus.window_at(self.view, address)

    def _ask_grants(self, bank: MemoryBank) -> tuple[tuple[int, int, Rights], ...]:
        grants = self.machine.firewall.grants(self.initiator, bank.name, bank.size)
        return tuple((grant.offset, grant.size, grant.rights) for grant in grants)

    def _plan(self, window: Window, bank: MemoryBank) -> list[_Piece]:
        home = self.machine.homes.get(bank.name) == self.name
        pieces = []
        for offset, size, granted in self._grants[bank.name]:
            first = max(offset, window.offset)
            last = min(offset + size, window.offset + window.size)
            if first >= last:
                continue
            shift = window.address - window.offset
            allowed = Rights.READ | Rights.FETCH in granted
            for base, end, rights in self.carve(bank, first + shift, last + shift) if allowed else ():
                permissions = _permissions(granted & rights if home else granted & rights & ~Rights.WRITE)
                pieces.append(_Piece(base, end - base, permissions, window))
            if not allowed:
                pieces.append(_Piece(first + shift, last - first, UC_PROT_NONE, window))
        return pieces

    def _map_pieces(self, pieces: Iterable[_Piece]) -> None:
        for piece in pieces:
            window = piece.window
            if piece.permissions == UC_PROT_NONE or window is None or not isinstance(window.target, MemoryBank):
                self._map_mmio(piece.base, piece.size, window)
                continue
            offset = window.offset + piece.base - window.address
            self.uc.mem_map_ptr(piece.base, piece.size, UC_PROT_ALL, window.target.host_address + offset)
            if piece.permissions != UC_PROT_ALL:  # only taking the right away makes Unicorn discard writes
                self.uc.mem_protect(piece.base, piece.size, piece.permissions)
            self._pieces.append(piece)

    def _map_mmio(self, base: int, size: int, window: Window | None) -> None:
        # Without the right to write there either: the hook of invalid accesses makes writes, and nothing follows.
        error = uclib.uc_mmio_map(self.uc._uch, base, size, *self.port.mmio(base), None, None)
        if error:
            raise EngineError(f"0x{base:08x} cannot be mapped (Unicorn error {error})", engine="unicorn", address=base)
        self.uc.mem_protect(base, size, UC_PROT_NONE)
        self._pieces.append(_Piece(base, size, UC_PROT_NONE, window))

    def _publish_code(self) -> None:
        self._code = []
        for piece in self._pieces:
            if piece.window is not None and isinstance(piece.window.target, MemoryBank):
                offset = piece.window.offset + piece.base - piece.window.address
                host = piece.window.target.host_address + offset
                self._code.append(CodeRange(piece.base, piece.size, host, piece.permissions))
        self._loop.set_code(self.lane, self._code)

    def read_code(self, address: int, size: int) -> bytes:
        """Up to `size` bytes of code, fewer where the memory that it lies in ends."""
        for found in self._code:
            offset = address - found.base
            if 0 <= offset < found.size:
                return ctypes.string_at(found.host + offset, min(size, found.size - offset))
        return b""

    def protect_all(self, *, frozen: bool) -> None:
        """Take the right to write away everywhere, or give it back."""
        for piece in self._pieces:
            if piece.permissions & UC_PROT_WRITE:
                left = piece.permissions & ~UC_PROT_WRITE if frozen else piece.permissions
                self.uc.mem_protect(piece.base, piece.size, left)


def _permissions(rights: Rights) -> int:
    """Unicorn's permissions for rights over memory; none at all where it may not be read."""
    if Rights.READ not in rights:
        return int(UC_PROT_NONE)
    write, fetch = Rights.WRITE in rights, Rights.FETCH in rights
    return int(UC_PROT_READ | (UC_PROT_WRITE if write else 0) | (UC_PROT_EXEC if fetch else 0))


def _page_runs(windows: Iterable[Window]) -> list[tuple[int, int]]:
    """The 4 KiB pages that the windows touch, as maximal runs (base, size)."""
    pages = sorted({page for w in windows for page in range(w.address // PAGE, (w.address + w.size - 1) // PAGE + 1)})
    runs: list[tuple[int, int]] = []
    for page in pages:
        if runs and runs[-1][0] + runs[-1][1] == page * PAGE:
            runs[-1] = (runs[-1][0], runs[-1][1] + PAGE)
        else:
            runs.append((page * PAGE, PAGE))
    return runs
