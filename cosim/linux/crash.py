"""When the remote processor counts as crashed, and the coredump of a boot that the A7 client plays.

The client's steps are fixed before it starts, so it cannot dump memories by itself; its side of the bus is the same.
"""

from __future__ import annotations

import contextlib

from cosim.client import Command
from cosim.core_snapshot import STATE_CRASHED
from cosim.engine import CoreState
from cosim.errors import BusFault, ImageError
from cosim.events import Record, WatchdogExpired
from cosim.linux.carveout import Carveouts
from cosim.linux.coredump import Coredump, DumpConf
from cosim.linux.errno import KernelOopsError
from cosim.linux.events import KernelMessage
from cosim.linux.memory import KernelMemory
from cosim.linux.remoteproc_core import dump_regions
from cosim.scripts import READY_ADDRESS
from cosim.soc import Soc
from ta.events import CommandInvoked, CommandReturned, ResourceTableLocated
from ta.resource_table import Trace, parse_resource_table

#: The watchdog whose reset of the M4 the board routes to Linux (EXTI line 68).
M4_WATCHDOG = "wwdg1"


def crash_reason(soc: Soc, expired: str | None) -> str | None:
    """Why the processor does not do its work any more, None while it does; `expired` names a watchdog that expired."""
    if expired is not None:
        return f"{expired} expired"
    state = soc.m4.state
    if state in (CoreState.LOCKED_UP, CoreState.HELD, CoreState.OFF):
        return f"the core is {state.value}"
    if int.from_bytes(soc.debug_read(READY_ADDRESS, 4), "little") == STATE_CRASHED:
        return "the firmware reported a crash in TAMP BKP19R"
    return None


class CrashDump:
    """The coredump of one boot: taken behind STOP_FW, as the kernel does, if the M4 had crashed by then.

    `reason` says why it counts as crashed, `data` is the ELF core; both None without a crash.
    """

    def __init__(self, soc: Soc) -> None:
        self.reason: str | None = None
        self.data: bytes | None = None
        self._soc = soc
        self._memory = KernelMemory(soc.bus)
        self._expired: str | None = None
        self._traces: tuple[Trace, ...] = ()
        soc.log.listen(self._feed)

    def _feed(self, record: Record) -> None:
        payload = record.payload
        if isinstance(payload, WatchdogExpired) and payload.block == M4_WATCHDOG:
            self._expired = payload.block
        elif isinstance(payload, ResourceTableLocated) and payload.size:
            with contextlib.suppress(ImageError, BusFault):
                table = parse_resource_table(self._soc.debug_read(payload.pa, payload.size))
                self._traces = tuple(entry for entry in table.entries if isinstance(entry, Trace))
        elif isinstance(payload, CommandInvoked) and payload.command == Command.STOP_FW:
            self.reason = crash_reason(self._soc, self._expired)
        elif isinstance(payload, CommandReturned) and payload.command == Command.STOP_FW and self.reason is not None:
            with contextlib.suppress(KernelOopsError):
                self._take()

    def _take(self) -> None:
        carveouts, dump = Carveouts(), Coredump(self._printk)
        dump.conf = DumpConf.ENABLED
        carveouts.add_board_regions()
        carveouts.allocate()
        for region in dump_regions(carveouts):
            dump.add(region.da, region.size)
        for trace in self._traces:
            dump.add_trace(trace.da, trace.size)

        def read(da: int, size: int) -> bytes | None:
            pa = carveouts.da_to_pa(da, size)
            return None if pa is None else self._memory.read(pa, size, "rproc_copy_segment")

        dump.generate(0, read)
        self.data = dump.take()

    def _printk(self, level: str, function: str, text: str) -> None:
        self._soc.log.emit(KernelMessage(level, function, text))
