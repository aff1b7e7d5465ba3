"""One authenticated boot from file to verdict: the kernel's remoteproc flow, played by the A7 client.

The steps are those of the kernel series "remoteproc: Add TEE support": open, LOAD and GET_RSC_TABLE (parse_fw), LOAD
and GET_RSC_TABLE again (load, find_loaded_rsc_table), START, then STOP, RELEASE, close. A failure on the way goes
straight to RELEASE, as rproc_fw_boot does.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cosim import client
from cosim.client import Command, StepResult
from cosim.core_snapshot import CoreSnapshot, CoreWatch
from cosim.engine import CoreState
from cosim.errors import BusFault, CosimError, ImageError, RunInterrupted, RunTimeout, UnmodelledAccess
from cosim.events import CoreStopped, FirstInstruction, Payload, Record, ResourceTableRead
from cosim.linux.trace import MOST_TRACE, TraceText
from cosim.monitors import Monitors
from cosim.scripts import READY_STATE, Script, kernel_flow
from cosim.soc import DEFAULT_BUDGET_PS, Soc, SocConfig
from cosim.verdict import Verdict, judge
from ta.events import CommandInvoked, CommandReturned, ResourceTableLocated
from ta.profile import FirewallProfile
from ta.resource_table import Memory, Resource, ResourceTable, Trace, Vdev, parse_resource_table

#: How often the trace buffers are read while the firmware runs, virtual time: 100 us.
TRACE_EVERY_PS = 100 * 10**6
_ALIVE = (CoreState.RUNNING, CoreState.SLEEPING)
_PAGE = 0x1000


@dataclass(frozen=True)
class BootReport:
    """What a boot came to. `table` is the resource table found at the reported address when the core was started.

    `core` is the M4 as it stood before it was stopped, None when it never ran. `ended` is what ended the run before
    its script did; `steps` is empty then.
    """

    verdict: Verdict
    steps: tuple[StepResult, ...]
    table: ResourceTable | None
    ready: bool
    soc: Soc
    core: CoreSnapshot | None
    ended: CosimError | None

    @property
    def exit_code(self) -> int:
        """That of the verdict, and 1 when the run was ended."""
        return self.verdict.exit_code if self.ended is None else 1


def boot(
    image: bytes,
    config: SocConfig | None = None,
    *,
    script: Callable[..., Script] = kernel_flow,
    others: Sequence[bytes] = (),
    listen: Callable[[Record], None] | None = None,
    budget_ps: int = DEFAULT_BUDGET_PS,
) -> BootReport:
    """Boot the signed `image` on a fresh SoC; `listen` is told every event as it happens.

    `script` makes the normal world's steps; it is called with address and size of the image, then of each of `others`,
    which are put into the staging area behind it. Raises `ImageError` for images that do not fit there and `RunTimeout`
    when the script does not end within `budget_ps` of virtual time or the bounds of `config`; with a strict `config`
    also `UnmodelledAccess`.
    """
    report = attempt(Soc(config), image, script=script, others=others, listen=listen, budget_ps=budget_ps)
    if report.ended is not None:
        raise report.ended
    return report


def attempt(
    soc: Soc,
    image: bytes,
    *,
    script: Callable[..., Script] = kernel_flow,
    others: Sequence[bytes] = (),
    listen: Callable[[Record], None] | None = None,
    budget_ps: int = DEFAULT_BUDGET_PS,
) -> BootReport:
    """As `boot`, on a fresh `soc`; a run that was ended from outside is reported with what it had reached by then."""
    if listen is not None:
        for record in soc.log:
            listen(record)
        soc.log.listen(listen)
    monitors = Monitors(soc.log, soc.debug_read, isolated=soc.config.firewall is FirewallProfile.ISOLATED)
    watch, core = _TableWatch(soc), CoreWatch(soc)
    soc.log.listen(core.feed)
    soc.log.listen(watch.feed)
    steps = script(*_stage(soc, [image, *others]))
    results: tuple[StepResult, ...] = ()
    ended: CosimError | None = None
    try:
        results = soc.run_script(steps.steps, on_error=steps.on_error, budget_ps=budget_ps)
    except (RunTimeout, RunInterrupted, UnmodelledAccess) as error:
        ended = error
        watch.close()
    finally:
        soc.flush_consoles()
    waited = next((r for r in results if r.step.op is client.Op.WAIT32), None)
    seen = core.close()
    ready = waited is not None and waited.status is client.StepStatus.DONE
    if ended is not None:
        ready = seen is not None and seen.reported == READY_STATE
    return BootReport(judge(soc.log, monitors.results()), results, watch.table, ready, soc, seen, ended)


def _stage(soc: Soc, images: Sequence[bytes]) -> list[int]:
    """Put the images into the staging area, page by page; address and size of each."""
    places, offset = [], 0
    for image in images:
        places += [soc.stage(image, offset), len(image)]
        offset += -(-len(image) // _PAGE) * _PAGE
    return places


class _TableWatch:
    """Reads the resource table where the TA said it is, and the trace buffers that it announces while the M4 runs."""

    def __init__(self, soc: Soc) -> None:
        self.table: ResourceTable | None = None
        self._soc = soc
        self._located: ResourceTableLocated | None = None
        self._traces: tuple[Trace, ...] = ()
        self._texts: dict[int, TraceText] = {}
        self._alarm = soc.timers.alarm(self._look)

    def feed(self, record: Record) -> None:
        """Look at memory at the moments when it tells something."""
        payload = record.payload
        if isinstance(payload, ResourceTableLocated):
            self._located = payload
        elif isinstance(payload, CommandReturned) and payload.command == Command.LOAD_FW and payload.result == 0:
            self._read_table()
        elif isinstance(payload, FirstInstruction) and payload.core == self._soc.m4.name and self._traces:
            self._alarm.set(record.stamp.time_ps + TRACE_EVERY_PS)
        elif _ends_the_firmware(payload, self._soc.m4.name):
            self.close()

    def _read_table(self) -> None:
        """Decode what lies at the reported address; the second LOAD of the flow finds the same and says nothing."""
        if self._located is None or not self._located.size:
            return
        located, self._located = self._located, None
        try:
            self.table = parse_resource_table(self._soc.debug_read(located.pa, located.size))
            self._traces = tuple(entry for entry in self.table.entries if isinstance(entry, Trace))
            entries = tuple(describe_entry(entry) for entry in self.table.entries)
        except (ImageError, BusFault) as error:
            entries = (f"unreadable: {error.message}",)
        self._soc.log.emit(ResourceTableRead(located.pa, located.size, entries))

    def _look(self, at_ps: int) -> None:
        """Read the trace buffers, and again a while later as long as the firmware may write into them."""
        self._read_traces()
        if self._soc.m4.state in _ALIVE and self._soc.a7.state in _ALIVE:
            self._alarm.set(at_ps + TRACE_EVERY_PS)

    def _read_traces(self) -> None:
        """What the firmware wrote into its trace buffers since the last look."""
        for entry in self._traces:
            with contextlib.suppress(BusFault):
                raw = self._soc.bus.debug_read("m4", entry.da, min(entry.size, MOST_TRACE))
                self._texts.setdefault(entry.offset, TraceText(entry.name, self._soc.log)).feed(raw)

    def close(self) -> None:
        """The firmware has ended: read the rest before it is wiped."""
        self._read_traces()
        for text in self._texts.values():
            text.flush()
        self._texts.clear()


def _ends_the_firmware(payload: Payload, core: str) -> bool:
    if isinstance(payload, CommandInvoked):
        return payload.command == Command.STOP_FW
    return isinstance(payload, CoreStopped) and payload.core == core and payload.reason not in ("wfi", "wfe")


def describe_entry(entry: Resource) -> str:
    """One entry of a resource table in words."""
    if isinstance(entry, Vdev):
        rings = ", ".join(f"da 0x{v.da:08x} align {v.align} num {v.num} id {v.notify_id}" for v in entry.vrings)
        return f"VDEV id {entry.id} features 0x{entry.dfeatures:08x}, vrings: {rings or 'none'}"
    if isinstance(entry, Trace):
        return f"TRACE {entry.name!r} da 0x{entry.da:08x} size 0x{entry.size:x}"
    if isinstance(entry, Memory):
        kind = "CARVEOUT" if entry.type == 0 else "DEVMEM"
        return f"{kind} {entry.name!r} da 0x{entry.da:08x} pa 0x{entry.pa:08x} size 0x{entry.size:x}"
    return f"type {entry.type} at offset 0x{entry.offset:x}"
