"""Carries the routes of one core out with Renode's external MMU windows.

A range that is to be asked about is moved by its window to a *shadow* range of the bus where an adapter stands in for
it; a range that faults has a window without privileges.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from cosim.access import Deny, Rights
from cosim.bus import Window
from cosim.engine.renode.host import Net
from cosim.engine.renode.routes import Route, Span, Viewer, gap_spans, window_spans
from cosim.firewall import Firewall
from cosim.memory import MemoryBank

#: Bits of Renode's ExternalMmuBase.Privilege.
_PRIVILEGES = ((Rights.READ, 1), (Rights.WRITE, 2), (Rights.FETCH, 4))
#: For each bus window what was made of it, and the numbers of Renode's windows for that.
Made = dict[Window, tuple[tuple[Span, ...], list[int]]]


class CoreWindows:
    """The windows of one core. `shadows` says where the stand-in of each bank's bus window begins."""

    def __init__(
        self, cpu: Net, viewer: Viewer, windows: Iterable[Window], shadows: Mapping[Window, int], firewall: Firewall
    ) -> None:
        from Antmicro.Renode.Peripherals.CPU import ExternalMmuPosition
        from Antmicro.Renode.Peripherals.Miscellaneous import ExternalMmuBase

        self._cpu = cpu
        self._viewer = viewer
        self._firewall = firewall
        self._shadows = shadows
        self._privilege: Callable[[int], Net] = ExternalMmuBase.Privilege
        self._seen = tuple(window for window in windows if viewer.sees(window))
        self._made: Made = {}
        cpu.EnableExternalWindowMmu(ExternalMmuPosition.BeforeInternal)
        for span in gap_spans(self._seen, viewer):
            self._make(span, 0)

    def update(self, deny: Deny, target: str | None = None) -> None:
        """Bring the windows of one target (None: of all) to what the firewall answers now."""
        changed = False
        for window in self._seen:
            if target is not None and window.target.name != target:
                continue
            spans = tuple(window_spans(window, self._viewer, self._firewall, deny))
            before, numbers = self._made.get(window, ((), []))
            if spans == before:
                continue
            for number in numbers:
                self._cpu.ResetMmuWindow(number)
            addend = self._shadows[window] - window.address if isinstance(window.target, MemoryBank) else 0
            self._made[window] = spans, [self._make(span, addend) for span in spans]
            changed = True
        if changed:
            self._cpu.FlushTlb()

    def save(self) -> Made:
        """Which windows there are, for `load`; Renode's snapshot has the windows themselves."""
        return dict(self._made)

    def load(self, saved: Made) -> None:
        """Restore what `save` returned."""
        self._made = dict(saved)

    def _make(self, span: Span, addend: int) -> int:
        cpu = self._cpu
        kinds = self._privilege(sum(bit for right, bit in _PRIVILEGES if right in span.kinds))
        number: int = cpu.AcquireExternalMmuWindow(kinds)
        cpu.SetMmuWindowStart(number, span.start)
        cpu.SetMmuWindowEnd(number, span.end)
        cpu.SetMmuWindowAddend(number, addend % (1 << 64) if span.route is Route.ASK else 0)
        cpu.SetMmuWindowPrivileges(number, self._privilege(0) if span.route is Route.FAULT else kinds)
        return number
