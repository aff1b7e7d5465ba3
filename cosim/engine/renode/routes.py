"""Which way the accesses of one core take, range by range: straight to memory, through the bus model, or into a fault.

Renode's external MMU windows carry this out (`windows.py`). A window serves some kinds of access, so that a range can
let fetches pass while its writes are asked about. The bus model is asked where an access is an event: a denied one that
reads as zero, and a write into a bank that is home to another core.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cosim.access import Deny, Initiator, Rights
from cosim.bus import View, Window
from cosim.engine.debug_blocks import DebugBlocks
from cosim.firewall import Firewall
from cosim.memory import MemoryBank

ADDRESS_SPACE = 1 << 32
#: Exception returns of the M4 are branches to the last page; Renode translates them like a fetch.
EXC_RETURN_PAGE = 0xFFFFFC00
SCS_BASE, SCS_SIZE = 0xE000E000, 0x1000
#: The debug components of the M4.
DEBUG_BLOCK_SIZE = 0x1000
DEBUG_BLOCKS = tuple(filter(DebugBlocks.holds, range(0xE0000000, 0xE0100000, DEBUG_BLOCK_SIZE)))


class Route(enum.Enum):
    """Where an access goes."""

    DIRECT = "direct"  # to what the platform file has there
    ASK = "ask"  # to the bus model
    FAULT = "fault"  # to the fault handler


@dataclass(frozen=True)
class Span:
    """The addresses from `start` to `end` take `route` for the given kinds of access."""

    start: int
    end: int
    kinds: Rights
    route: Route


@dataclass(frozen=True)
class Viewer:
    """Who looks at the bus: a core's name, initiator and view, and which target names are home to it."""

    core: str
    initiator: Initiator
    view: View
    homes: frozenset[str]

    def sees(self, window: Window) -> bool:
        """Whether the window is in this core's view."""
        return window.cpu in (None, self.view)


def window_spans(window: Window, viewer: Viewer, firewall: Firewall, deny: Deny) -> list[Span]:
    """The ways into one window as the firewall answers now."""
    target = window.target
    is_bank = isinstance(target, MemoryBank)
    end = window.offset + window.size
    spans: list[Span] = []
    for grant in firewall.grants(viewer.initiator, target.name, end):
        first, last = max(grant.offset, window.offset), min(grant.offset + grant.size, end)
        if first >= last:
            continue
        start = window.address + first - window.offset
        if is_bank:
            rights = grant.rights & ~Rights.FETCH if viewer.view == "m4" and execute_never(start) else grant.rights
            routes = _bank_routes(rights, deny, home=target.name in viewer.homes)
        else:
            routes = _block_routes(grant.rights, deny)
        spans += _grouped(start, start + last - first, routes)
    return spans


def gap_spans(windows: Sequence[Window], viewer: Viewer) -> list[Span]:
    """The ways into everything that no window covers: faults, but for what a Cortex-M4 has in every machine."""
    taken = sorted((window.address, window.end) for window in windows if viewer.sees(window))
    fixed: list[Span] = []
    if viewer.view == "m4":
        taken += [(EXC_RETURN_PAGE, ADDRESS_SPACE)]
        for base, size in ((SCS_BASE, SCS_SIZE), *((base, DEBUG_BLOCK_SIZE) for base in DEBUG_BLOCKS)):
            taken.append((base, base + size))
            fixed += _grouped(base, base + size, _block_routes(Rights.ALL, Deny.ABORT))
        routes = {Rights.READ: Route.FAULT, Rights.WRITE: Route.FAULT, Rights.FETCH: Route.DIRECT}
        fixed += _grouped(EXC_RETURN_PAGE, ADDRESS_SPACE, routes)
    return [*fixed, *(Span(start, end, Rights.ALL, Route.FAULT) for start, end in _gaps(sorted(taken)))]


def execute_never(address: int) -> bool:
    """Whether a Cortex-M4 refuses to execute at `address` by itself (ARMv7-M manual, B3.1: the default memory map)."""
    return 0x40000000 <= address < 0x60000000 or address >= 0xA0000000


def _bank_routes(rights: Rights, deny: Deny, *, home: bool) -> dict[Rights, Route]:
    denied = Route.FAULT if deny is Deny.ABORT else Route.ASK
    written = Route.DIRECT if home else Route.ASK
    return {
        Rights.READ: Route.DIRECT if Rights.READ in rights else denied,
        Rights.WRITE: written if Rights.WRITE in rights else denied,
        Rights.FETCH: Route.DIRECT if Rights.FETCH in rights else Route.FAULT,
    }


def _block_routes(rights: Rights, deny: Deny) -> dict[Rights, Route]:
    """Accesses to blocks are asked about anyway, because the bus model serves them; only aborts need the fault."""
    denied = Route.FAULT if deny is Deny.ABORT else Route.DIRECT
    return {
        Rights.READ: Route.DIRECT if Rights.READ in rights else denied,
        Rights.WRITE: Route.DIRECT if Rights.WRITE in rights else denied,
        Rights.FETCH: Route.FAULT,
    }


def _grouped(start: int, end: int, routes: dict[Rights, Route]) -> list[Span]:
    spans = []
    for route in Route:
        kinds = Rights.NONE
        for kind, taken in routes.items():
            kinds |= kind if taken is route else Rights.NONE
        if kinds:
            spans.append(Span(start, end, kinds, route))
    return spans


def _gaps(taken: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    at = 0
    for start, end in taken:
        if at < start:
            yield at, start
        at = max(at, end)
    if at < ADDRESS_SPACE:
        yield at, ADDRESS_SPACE
