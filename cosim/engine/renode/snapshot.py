"""Snapshots of what Renode owns of a machine, for the same machine: cores, interrupt controllers, timers, and time.

A core is tlib's state, a block of memory behind `TlibExportState` (Renode's TranslationCPU.PrepareState saves the
same), and Renode's object around it; everything else is objects (see memento.py). State goes back into the place that
it came from, so pointers in it stay right. Translations are dropped, because the memories change beneath them.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass

from cosim.engine.renode.host import Host, Net, private_field, private_method
from cosim.engine.renode.memento import Memento, MementoMaker
from cosim.errors import EngineError

#: How long threads of Renode that were told to end may take, in milliseconds.
_PATIENCE_MS = 10_000
#: tlib's own functions that tell where a core keeps its state and its windows, and their sizes.
_PARTS = (("TlibExportState", "TlibGetStateSize"), ("TlibExportExternalMmuState", "TlibGetExternalMmuStateSize"))


@dataclass(frozen=True)
class RenodeState:
    """What `RenodeSnapshots.save` found; fits only the object that made it."""

    maker: RenodeSnapshots
    memento: Memento
    native: tuple[bytes, ...]


class RenodeSnapshots:
    """Saves and restores what Renode owns. `cpus` are its cores, `controllers` their interrupt controllers."""

    def __init__(self, host: Host, cpus: Sequence[Net], controllers: Sequence[Net]) -> None:
        self._host = host
        self._cpus = tuple(cpus)
        self._reservations = private_field(host.machine, "atomicState")
        machine = host.machine
        roots = (*cpus, *controllers, machine.ClockSource, machine.LocalTimeSource, host.emulation.MasterTimeSource)
        self._maker = MementoMaker(roots, outer=(machine,))

    def save(self) -> RenodeState:
        """The state of now. Translated addresses are forgotten, so that going on is the same as after a restore."""
        self._stand_still()
        for cpu in self._cpus:
            cpu.FlushTlb()
        return RenodeState(self, self._maker.make(), tuple(ctypes.string_at(*part) for part in self._native()))

    def load(self, state: RenodeState) -> None:
        """Back to `state`. Raises `EngineError` for that of another machine."""
        if state.maker is not self:
            raise EngineError("not a snapshot of this SoC", hint="restore into the SoC that was saved", engine="renode")
        self._stand_still()
        state.memento.restore()
        for (address, _), block in zip(self._native(), state.native, strict=True):
            ctypes.memmove(address, block, len(block))
        for cpu in self._cpus:
            private_field(cpu, "hooks").Reactivate()
            private_method(cpu, "UpdateBlockBeginHookPresent").Invoke(cpu, None)
            cpu.FlushTlb()
            cpu.ClearTranslationCache()

    def _stand_still(self) -> None:
        """Wait for the threads of the last run: Renode tells cores to pause, and does not wait for those it told."""
        self._host.emulation.PauseAll()
        for cpu in self._cpus:
            thread = private_field(cpu, "cpuThread")
            if thread is not None and not thread.Join(_PATIENCE_MS):
                raise EngineError(
                    f"Renode's thread of a {cpu.GetType().Name} core does not end",
                    hint="something on Renode's bus does not return; begin again in a new process",
                    engine="renode",
                )

    def _native(self) -> list[tuple[int, int]]:
        """Address and size of what lies outside the CLR: the cores' states, their windows, and exclusive monitors.

        The array of windows is never too small for a snapshot: tlib only doubles it (512 entries, of which a core has
        some 370), and would have to do so twice after a restore before it gave back any of it.
        """
        parts = []
        for cpu in self._cpus:
            for pointer, size in _PARTS:
                parts.append((private_field(cpu, pointer)().ToInt64(), private_field(cpu, size)()))
        size = private_field(self._reservations, "AtomicMemoryStateSize")
        parts.append((self._reservations.AtomicMemoryStatePointer.ToInt64(), size))
        return parts
