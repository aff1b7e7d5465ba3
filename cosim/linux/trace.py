"""Trace buffers of the firmware, read while it runs (remoteproc_debugfs.c); what was read survives the core's crash."""

from __future__ import annotations

from cosim.events import ConsoleLine, EventLog
from cosim.linux.carveout import Carveouts
from cosim.linux.memory import KernelMemory
from cosim.linux.resources import TraceSpec

MOST_TRACE = 0x10000


class TraceText:
    """The text of one trace buffer. Each new line goes to the event log as a `ConsoleLine` of `trace:<name>`."""

    def __init__(self, name: str, log: EventLog) -> None:
        self.name = name
        self._log = log
        self._text = b""
        self._reported = 0

    @property
    def text(self) -> str:
        """All that was read so far, also after the buffer was wiped."""
        return self._text.decode("ascii", "replace")

    def feed(self, raw: bytes) -> None:
        """What the buffer holds now. One that is empty or was wiped tells nothing new."""
        now = raw.split(b"\0", 1)[0]
        if not now:
            return
        if not now.startswith(self._text):
            # The firmware began again, or its buffer went round.
            self._reported = 0
        self._text = now
        self._report(now.rfind(b"\n") + 1)

    def flush(self) -> None:
        """Report the unfinished rest."""
        self._report(len(self._text))

    def _report(self, end: int) -> None:
        if end <= self._reported:
            return
        for line in self._text[self._reported : end].decode("ascii", "replace").splitlines():
            self._log.emit(ConsoleLine(f"trace:{self.name}", line))
        self._reported = end


class TraceReader(TraceText):
    """A trace buffer as the kernel reaches it."""

    def __init__(self, spec: TraceSpec, memory: KernelMemory, carveouts: Carveouts, log: EventLog) -> None:
        super().__init__(spec.name, log)
        self._spec = spec
        self._memory = memory
        self._carveouts = carveouts

    def poll(self) -> None:
        """rproc_trace_read: look at the buffer and report what is new; one that cannot be reached has nothing new."""
        size = min(self._spec.size, MOST_TRACE)
        pa = self._carveouts.da_to_pa(self._spec.da, self._spec.size)
        if pa is not None and size:
            self.feed(self._memory.read(pa, size, "rproc_trace_read"))
