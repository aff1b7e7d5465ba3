"""A Linux on a SoC: the drivers put together, and the loop that lets the SoC run while the kernel waits.

The A7 client does not run meanwhile; the model takes its place.
"""

from __future__ import annotations

from collections.abc import Callable

from cosim.engine import StopReason
from cosim.events import Record, WatchdogExpired
from cosim.linux.crash import M4_WATCHDOG, crash_reason
from cosim.linux.mailbox import Channel, Mailbox
from cosim.linux.memory import KernelMemory
from cosim.linux.optee import Optee
from cosim.linux.remoteproc_core import CrashType, Rproc, RprocState
from cosim.linux.remoteproc_tee import RemoteprocTee
from cosim.linux.resources import VdevSpec
from cosim.linux.rpmsg import MOST_FINDINGS, VIRTIO_ID_RPMSG, RpmsgBus
from cosim.linux.stm32_rproc import SHUTDOWN_TIMEOUT_PS, Board, Stm32Rproc, Stm32RprocTee
from cosim.linux.trace import TraceReader
from cosim.linux.virtio import VirtioDevice
from cosim.soc import Soc

#: How long the SoC runs between two looks of the kernel, virtual time: about a thousand M4 instructions. After
#: `PATIENCE` slices in which nothing happened they grow up to a millisecond.
SLICE_PS = 5 * 10**6
PATIENCE = 200
LONGEST_SLICE_PS = 10**9
#: From a look that finds a doorbell to its acknowledgement: no A7 answers before the M4 that rang has taken its own
#: interrupt for the busy channel, which drivers on the M4 rely on.
REACTION_PS = 250_000
#: Looks of one wait after which slices grow although messages keep coming.
EAGER_LOOKS = 4000
#: Virtual time between two looks at the trace buffers while the SoC runs: from the first up to the second while the
#: firmware writes nothing.
TRACE_EVERY_PS, TRACE_SELDOM_PS = 10**8, 10**10
#: Looks in a row that find a doorbell and no message, after which nothing is waited for any more.
MOST_EMPTY_DOORBELLS = 2000
#: How long rpmsg_send waits for a buffer in the kernel: 15 s.
SEND_TIMEOUT_PS = 15 * 10**12
_CHANNEL_OF_QUEUE = {Channel.VQ0: 0, Channel.VQ1: 1}


class LinuxHost:
    """The kernel side of one SoC with `firmware` as its firmware file; with `tee` False the M4 is loaded without a TEE.

    Raises KernelError when the drivers do not probe. `send_timeout_ps` bounds how long a send waits for a buffer;
    `slice_ps` is how long the SoC runs between two looks of the kernel, `shutdown_timeout_ps` how long the firmware may
    take to acknowledge the shutdown.
    """

    def __init__(
        self,
        soc: Soc,
        firmware: bytes,
        *,
        tee: bool = True,
        send_timeout_ps: int = SEND_TIMEOUT_PS,
        slice_ps: int = SLICE_PS,
        shutdown_timeout_ps: int = SHUTDOWN_TIMEOUT_PS,
    ) -> None:
        self.soc = soc
        self.firmware = firmware
        self.traces: list[TraceReader] = []
        self.buses: list[RpmsgBus] = []
        self._send_timeout_ps = send_timeout_ps
        self._slice_ps = slice_ps
        self._memory = memory = KernelMemory(soc.bus)
        self._mailbox = Mailbox(memory) if "ipcc" in soc.blocks else None
        self._devices: list[VirtioDevice] = []
        self._expired: str | None = None
        self._empty_doorbells, self._flooded = 0, False
        self._trace_at, self._trace_every = 0, TRACE_EVERY_PS
        smc = soc.secure_world.smc
        board = Board(memory, smc, self._mailbox, self.run, self._printk, shutdown_timeout_ps)
        self._tee: RemoteprocTee | None = None
        if tee:
            optee = Optee(memory, smc)
            optee.probe()
            self._tee = RemoteprocTee(optee, memory)
            ops: Stm32Rproc = Stm32RprocTee(board, self._tee)
        else:
            ops = Stm32Rproc(board)
        self.rproc = Rproc(ops, memory, soc.log, lambda: self.firmware, self._make_device)
        if ops.probe() is RprocState.DETACHED:
            self.rproc.found_running()
        soc.log.listen(self._watch)

    # -- life of the processor -------------------------------------------------------------------------------------

    def boot(self) -> None:
        """`echo start > state`: boot, or attach to a DETACHED processor.

        Raises KernelError; the state is as before then.
        """
        self.buses, self._devices = [], []
        self._expired, self._empty_doorbells, self._flooded = None, 0, False
        self.rproc.boot()
        self.traces = [
            TraceReader(spec, self._memory, self.rproc.carveouts, self.soc.log) for spec in self.rproc.resources.traces
        ]

    def shutdown(self) -> None:
        """`echo stop > state`. Raises KernelError."""
        self._read_traces()
        self.rproc.shutdown()

    def detach(self) -> None:
        """`echo detach > state`. Raises KernelError."""
        self._read_traces()
        self.rproc.detach()

    def crash_reason(self) -> str | None:
        """Why the processor does not do its work any more, None while it does.

        Stands for the watchdog interrupt of the board: a watchdog that expired, a core that locked up or was reset, or
        firmware that said itself that it crashed (TAMP BKP19R).
        """
        return crash_reason(self.soc, self._expired)

    def report_crash(self, kind: CrashType = CrashType.WATCHDOG) -> None:
        """What the watchdog interrupt does: save the trace, then recover. Raises KernelError."""
        self._read_traces()
        self._expired = None
        self.rproc.report_crash(kind)

    def close(self) -> None:
        """Unbind the driver: stop the processor if it runs, close the session."""
        self._read_traces()
        self.rproc.delete()
        if self._tee is not None:
            self._tee.unregister()

    # -- time --------------------------------------------------------------------------------------------------------

    @property
    def now_ps(self) -> int:
        """The machine's virtual time in picoseconds."""
        return self.soc.log.clock().time_ps

    def run(self, until: Callable[[], bool], budget_ps: int) -> bool:
        """Let the SoC run, and the kernel serve what comes, until the condition holds; whether it held.

        The condition is looked at after every slice of virtual time; slices get longer while nothing happens. Ends
        early when no core can go on, and when the firmware only breaks rules. Reads the trace buffers meanwhile and at
        the end.
        """
        held = self._run(until, self.now_ps + budget_ps)
        self.read_traces()
        return held

    def _run(self, until: Callable[[], bool], end_ps: int) -> bool:
        idle, looks, slice_ps = 0, 0, self._slice_ps
        self.service()
        while not until():
            left = end_ps - self.now_ps
            if left <= 0 or self._hopeless():
                return False
            reason = self.soc.run(None, min(slice_ps, left))
            self._look_at_traces()
            looks += 1
            if self.service() and looks < EAGER_LOOKS:
                idle, slice_ps = 0, self._slice_ps
                continue
            if reason is not StopReason.TIME:
                return until()
            idle += 1
            if idle > PATIENCE and not self._empty_doorbells:
                slice_ps = min(2 * slice_ps, max(LONGEST_SLICE_PS, self._slice_ps))
        return True

    def service(self) -> bool:
        """The kernel's interrupt handlers, mailbox and virtqueues; whether there was anything to do."""
        if self._mailbox is None:
            return any(tuple(bus.poll() for bus in self.buses))
        if self._mailbox.rung():
            self.soc.run(None, REACTION_PS)
        rung, found = self._mailbox.take(), False
        for channel in sorted(rung):
            if channel in _CHANNEL_OF_QUEUE:
                for device in self._devices:
                    found |= device.interrupt(_CHANNEL_OF_QUEUE[channel])
        self._count_doorbells(empty=bool(rung) and not found)
        return self._mailbox.pump() or found

    def _hopeless(self) -> bool:
        """Whether the firmware does nothing but break rules, so that waiting for it would only cost time."""
        broken = any(len(bus.findings) >= MOST_FINDINGS for bus in self.buses)
        return broken or self._flooded

    def _count_doorbells(self, *, empty: bool) -> None:
        self._empty_doorbells = self._empty_doorbells + 1 if empty else 0
        if self._empty_doorbells >= MOST_EMPTY_DOORBELLS and not self._flooded:
            self._flooded = True
            for bus in self.buses:
                bus.flooded()

    def read_traces(self) -> None:
        """Report what the firmware wrote into its trace buffers since the last look."""
        for trace in self.traces:
            trace.poll()

    def _look_at_traces(self) -> None:
        """Read the trace buffers now and then: more seldom the longer the firmware writes nothing."""
        if self.now_ps < self._trace_at:
            return
        before = [trace.text for trace in self.traces]
        self.read_traces()
        written = before != [trace.text for trace in self.traces]
        self._trace_every = TRACE_EVERY_PS if written else min(2 * self._trace_every, TRACE_SELDOM_PS)
        self._trace_at = self.now_ps + self._trace_every

    # -- inside ------------------------------------------------------------------------------------------------------

    def _watch(self, record: Record) -> None:
        if isinstance(record.payload, WatchdogExpired) and record.payload.block == M4_WATCHDOG:
            self._expired = record.payload.block

    def _read_traces(self) -> None:
        if self.rproc.state in (RprocState.RUNNING, RprocState.ATTACHED):
            self.read_traces()
            for trace in self.traces:
                trace.flush()

    def _printk(self, level: str, function: str, text: str) -> None:
        self.rproc.printk(level, function, text)

    def _make_device(self, rproc: Rproc, spec: VdevSpec) -> VirtioDevice:
        driver = None
        if spec.id == VIRTIO_ID_RPMSG:
            driver = RpmsgBus(self.soc.log, lambda until: self.run(until, self._send_timeout_ps))
            self.buses.append(driver)
        device = VirtioDevice(rproc, spec, driver)
        self._devices.append(device)
        return device
