"""Where the cores' accesses leave Renode for the SoC's own bus: its blocks, and memory that must be asked about."""

from __future__ import annotations

from collections.abc import Sequence

from cosim.access import AccessKind
from cosim.bus import Window
from cosim.engine import Machine
from cosim.engine.renode import adapter, memory
from cosim.engine.renode.core import Core, Guard
from cosim.engine.renode.host import Host
from cosim.events import ForeignWrite
from cosim.interrupts import GIC_TYPE
from cosim.memory import MemoryBank

#: Where stand-ins for memories lie on Renode's bus, one behind the other; the STM32MP15 has nothing there.
SHADOWS = 0x60000000


class Port:
    """One window of the SoC's bus, as one core reaches it."""

    def __init__(self, machine: Machine, core: Core, window: Window, guard: Guard) -> None:
        self._machine, self._core, self._window, self._guard = machine, core, window, guard

    def read(self, offset: int, size: int) -> int:
        """See `adapter.Read`."""
        return self._access(AccessKind.READ, offset, size, 0)

    def write(self, offset: int, size: int, value: int) -> None:
        """See `adapter.Write`."""
        self._access(AccessKind.WRITE, offset, size, value)

    def _access(self, kind: AccessKind, offset: int, size: int, value: int) -> int:
        read: list[int] = []

        def work() -> None:
            if kind is AccessKind.WRITE:
                self._announce(offset, size, value)
            address = self._window.address + offset
            read.append(self._machine.bus.transact(self._core.initiator, kind, address, size, value).value)

        self._guard(self._core, work)
        return read[0] if read else 0

    def _announce(self, offset: int, size: int, value: int) -> None:
        """Report a write into the home of another core that the firewall allows."""
        bank, initiator, at = self._window.target, self._core.initiator, self._window.offset + offset
        if not isinstance(bank, MemoryBank):
            return
        if self._machine.firewall.decide(initiator, bank.name, at, size, AccessKind.WRITE) is None:
            address = self._window.address + offset
            self._machine.log.emit(ForeignWrite(initiator.value, address, size, value, bank.name))


def place_targets(host: Host, machine: Machine, cores: Sequence[Core], guard: Guard) -> None:
    """Share the memories with Renode, and put the SoC's blocks in the place of Renode's.

    The GIC stays Renode's own, because it belongs to the A7.
    """
    placed: set[str] = set()
    for window in machine.bus.windows:
        target = window.target
        entry = machine.platform.entries.get(target.name)
        if entry is not None and entry.type == GIC_TYPE:
            continue
        if entry is not None and target.name not in placed:
            placed.add(target.name)
            theirs = host.objects[target.name]
            if isinstance(target, MemoryBank):
                memory.share(theirs, target)
            else:
                host.bus.Unregister(theirs)
        if not isinstance(target, MemoryBank):
            for core in cores:
                if core.viewer.sees(window):
                    _register(host, Port(machine, core, window, guard), core, window, window.address)


def place_shadows(host: Host, machine: Machine, core: Core, guard: Guard) -> dict[Window, int]:
    """Stand-ins for the memories that a core sees, and where each begins."""
    shadows: dict[Window, int] = {}
    at = SHADOWS
    for window in machine.bus.windows:
        if isinstance(window.target, MemoryBank) and core.viewer.sees(window):
            shadows[window] = at
            _register(host, Port(machine, core, window, guard), core, window, at)
            at += window.size
    return shadows


def _register(host: Host, port: Port, core: Core, window: Window, at: int) -> None:
    adapter.register(host.bus, core.cpu, at, window.size, port)
