"""Where the M4 stands: its state and registers at the moment that tells most about it, for reports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from cosim.client import Command
from cosim.engine import CoreState
from cosim.errors import BusFault, EngineError
from cosim.events import Record
from cosim.scripts import READY_ADDRESS
from cosim.soc import Soc
from ta.events import CommandInvoked

#: What firmware built on ST's CoproSync writes into TAMP_BKP19R when it has crashed.
STATE_CRASHED = 5
#: SYST_CSR and NVIC_ISER0 to 4 (ARMv7-M manual, B3.3.3 and B3.4.4).
_SYST_CSR, _TICKS = 0xE000E010, 0b11
_NVIC_ISER, _ISER_WORDS = 0xE000E100, 5


@runtime_checkable
class _SeesPrivate(Protocol):
    """A core whose private peripherals can be looked at without side effects."""

    def debug_read(self, address: int, size: int) -> bytes: ...


@dataclass(frozen=True)
class CoreSnapshot:
    """The M4 when the normal world was about to stop it, or at the end of the run.

    `ipsr` is the exception at work, 0 in Thread mode; registers that the engine does not show are None.
    `reported` is the word of TAMP_BKP19R. `wakes` names what may end a sleep: SysTick when it counts and interrupts,
    and the interrupts that are enabled in the NVIC; None where the engine does not show them.
    """

    state: CoreState
    retired: int
    pc: int
    lr: int | None
    sp: int | None
    ipsr: int | None
    primask: int | None
    reported: int
    wakes: tuple[str, ...] | None = None

    @property
    def masked(self) -> bool:
        """Whether PRIMASK keeps interrupts away."""
        return bool(self.primask)


def snapshot(soc: Soc) -> CoreSnapshot:
    """The M4 now."""
    try:
        reported = int.from_bytes(soc.debug_read(READY_ADDRESS, 4), "little")
    except BusFault:
        reported = 0
    core, lr, sp = soc.m4, _register(soc, "lr"), _register(soc, "sp")
    ipsr, primask = _register(soc, "ipsr"), _register(soc, "primask")
    return CoreSnapshot(core.state, core.retired, core.pc, lr, sp, ipsr, primask, reported, _wakes(soc))


def _wakes(soc: Soc) -> tuple[str, ...] | None:
    if not isinstance(soc.m4, _SeesPrivate):
        return None
    control = int.from_bytes(soc.m4.debug_read(_SYST_CSR, 4), "little")
    enabled = int.from_bytes(soc.m4.debug_read(_NVIC_ISER, 4 * _ISER_WORDS), "little")
    sources: dict[int, str] = {}
    for entry in soc.platform.entries.values():
        sources.update((wire.line, entry.name) for wire in entry.interrupts if wire.destination == "nvic")
    lines = (line for line in range(enabled.bit_length()) if enabled >> line & 1)
    names = (f"interrupt {line}" + (f" ({sources[line]})" if line in sources else "") for line in lines)
    return (*(("SysTick",) if control & _TICKS == _TICKS else ()), *names)


def _register(soc: Soc, name: str) -> int | None:
    try:
        return soc.m4.read_register(name)
    except EngineError:
        return None


class CoreWatch:
    """Takes the snapshot just before STOP_FW; register `feed` with the log."""

    def __init__(self, soc: Soc) -> None:
        self._soc = soc
        self._seen: CoreSnapshot | None = None

    def feed(self, record: Record) -> None:
        """Look at the core when the secure world is asked to stop it."""
        payload = record.payload
        stop = isinstance(payload, CommandInvoked) and payload.command == Command.STOP_FW
        if stop and self._soc.m4.state is not CoreState.HELD:
            self._seen = snapshot(self._soc)

    def close(self) -> CoreSnapshot | None:
        """The M4 where the run ended if it is not held, else as it was last seen; None when it never ran."""
        return self._seen if self._soc.m4.state is CoreState.HELD else snapshot(self._soc)
