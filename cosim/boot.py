"""One authenticated boot from file to verdict: the kernel's remoteproc flow, played by the A7 client.

The steps are those of the kernel series "remoteproc: Add TEE support": open, LOAD and GET_RSC_TABLE (parse_fw), LOAD
and GET_RSC_TABLE again (load, find_loaded_rsc_table), START, then STOP, RELEASE, close. A failure on the way goes
straight to RELEASE, as rproc_fw_boot does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cosim import client
from cosim.client import Command, StepResult
from cosim.errors import BusFault, ImageError
from cosim.events import ConsoleLine, CoreStopped, Payload, Record, ResourceTableRead
from cosim.monitors import Monitors
from cosim.scripts import Script, kernel_flow
from cosim.soc import DEFAULT_BUDGET_PS, Soc, SocConfig
from cosim.verdict import Verdict, judge
from ta.events import CommandInvoked, CommandReturned, ResourceTableLocated
from ta.profile import FirewallProfile
from ta.resource_table import Memory, Resource, ResourceTable, Trace, Vdev, parse_resource_table

MOST_TRACE = 0x10000
_PAGE = 0x1000


@dataclass(frozen=True)
class BootReport:
    """What a boot came to. `table` is the resource table found at the reported address when the core was started."""

    verdict: Verdict
    steps: tuple[StepResult, ...]
    table: ResourceTable | None
    ready: bool
    soc: Soc


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
    when the script does not end within `budget_ps` of virtual time.
    """
    soc = Soc(config)
    if listen is not None:
        for record in soc.log:
            listen(record)
        soc.log.listen(listen)
    monitors = Monitors(soc.log, soc.debug_read, isolated=soc.config.firewall is FirewallProfile.ISOLATED)
    watch = _TableWatch(soc)
    soc.log.listen(watch.feed)
    steps = script(*_stage(soc, [image, *others]))
    try:
        results = soc.run_script(steps.steps, on_error=steps.on_error, budget_ps=budget_ps)
    finally:
        soc.flush_consoles()
    waited = next((r for r in results if r.step.op is client.Op.WAIT32), None)
    ready = waited is not None and waited.status is client.StepStatus.DONE
    return BootReport(judge(soc.log, monitors.results()), results, watch.table, ready, soc)


def _stage(soc: Soc, images: Sequence[bytes]) -> list[int]:
    """Put the images into the staging area, page by page; address and size of each."""
    places, offset = [], 0
    for image in images:
        places += [soc.stage(image, offset), len(image)]
        offset += -(-len(image) // _PAGE) * _PAGE
    return places


class _TableWatch:
    """Reads the resource table where the TA said it is, and the trace buffer that it announces."""

    def __init__(self, soc: Soc) -> None:
        self.table: ResourceTable | None = None
        self._soc = soc
        self._located: ResourceTableLocated | None = None

    def feed(self, record: Record) -> None:
        """Look at memory at the moments when it tells something."""
        payload = record.payload
        if isinstance(payload, ResourceTableLocated):
            self._located = payload
        elif isinstance(payload, CommandReturned) and payload.command == Command.LOAD_FW and payload.result == 0:
            self._read_table()
        elif _ends_the_firmware(payload, self._soc.m4.name):
            self._read_traces()

    def _read_table(self) -> None:
        """Decode what lies at the reported address; the second LOAD of the flow finds the same and says nothing."""
        if self._located is None or not self._located.size:
            return
        located, self._located = self._located, None
        try:
            self.table = parse_resource_table(self._soc.debug_read(located.pa, located.size))
            entries = tuple(describe_entry(entry) for entry in self.table.entries)
        except (ImageError, BusFault) as error:
            entries = (f"unreadable: {error.message}",)
        self._soc.log.emit(ResourceTableRead(located.pa, located.size, entries))

    def _read_traces(self) -> None:
        """What the firmware wrote into its trace buffers, before they are wiped."""
        for entry in self.table.entries if self.table else ():
            if not isinstance(entry, Trace):
                continue
            try:
                raw = self._soc.bus.debug_read("m4", entry.da, min(entry.size, MOST_TRACE))
            except BusFault:
                continue
            for line in raw.split(b"\0", 1)[0].decode("ascii", "replace").splitlines():
                self._soc.log.emit(ConsoleLine(f"trace:{entry.name}", line))


def _ends_the_firmware(payload: Payload, core: str) -> bool:
    if isinstance(payload, CommandInvoked):
        return payload.command == Command.STOP_FW
    return isinstance(payload, CoreStopped) and payload.core == core


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
