"""Talking RPMsg with a firmware: boot it as Linux does, wait for its channels, send, receive, measure.

What a command line and a test suite share. All waiting is in virtual time and bounded.
"""

from __future__ import annotations

from dataclasses import dataclass

from cosim.errors import UsageError
from cosim.linux.events import RingFinding
from cosim.linux.host import LinuxHost
from cosim.linux.remoteproc_core import RprocState
from cosim.linux.rpmsg import MOST_PAYLOAD, RpmsgBus, RpmsgChannel
from cosim.linux.stm32_rproc import SHUTDOWN_TIMEOUT_PS
from cosim.soc import Soc

MILLISECOND_PS = 10**9
#: Between two looks at the mailbox, which is the resolution of what is measured: about 50 M4 instructions.
SLICE_PS = 250_000
#: How long to wait for further announcements after the first.
SETTLE_PS = MILLISECOND_PS
DEFAULT_WAIT_PS = 100 * MILLISECOND_PS
_FILL = b"0123456789abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class Exchange:
    """What an echo run measured: M4 instructions and virtual time (picoseconds) from each send to its answer."""

    asked: int
    echoed: int
    wrong: int
    size: int
    instructions: tuple[int, ...]
    times_ps: tuple[int, ...]

    @property
    def ok(self) -> bool:
        """Whether every message came back as it was sent."""
        return self.echoed == self.asked and not self.wrong

    def as_dict(self) -> dict[str, object]:
        """JSON-ready; without figures when nothing came back."""
        facts: dict[str, object] = {
            "asked": self.asked,
            "echoed": self.echoed,
            "wrong": self.wrong,
            "message_bytes": self.size,
        }
        if self.times_ps:
            count, total = len(self.times_ps), max(sum(self.times_ps), 1)
            facts |= {
                "instructions_per_message": sum(self.instructions) // count,
                "instructions": _spread(self.instructions),
                "time_ps": _spread(self.times_ps),
                "messages_per_second": count * 10**12 // total,
                "bytes_per_second": 2 * self.size * count * 10**12 // total,
                "resolution_ps": SLICE_PS,
            }
        return facts


def _spread(values: tuple[int, ...]) -> dict[str, int]:
    ordered = sorted(values)
    middle = ordered[len(ordered) // 2]
    return {"least": ordered[0], "median": middle, "mean": sum(values) // len(values), "most": ordered[-1]}


class RpmsgSession:
    """A booted firmware with its RPMsg channels; `wait_ps` is how long each wait may last at most.

    Raises `KernelError` or `KernelOopsError` when it does not boot, `RunTimeout` when the SoC's bounds are used up.
    """

    def __init__(self, soc: Soc, image: bytes, *, wait_ps: int = DEFAULT_WAIT_PS) -> None:
        self.soc = soc
        shutdown = min(wait_ps, SHUTDOWN_TIMEOUT_PS)
        self.host = LinuxHost(soc, image, send_timeout_ps=wait_ps, slice_ps=SLICE_PS, shutdown_timeout_ps=shutdown)
        self._wait_ps = wait_ps

    def boot(self) -> None:
        """Boot, and wait for announcements; a firmware that makes none just has no channels."""
        self.host.boot()
        self._await_channels()

    def recover(self) -> None:
        """What the kernel does when the processor crashed, then wait for the channels of the firmware started anew.

        Raises `KernelError` when the recovery fails.
        """
        self.host.report_crash()
        if self.host.rproc.state is RprocState.RUNNING:
            self._await_channels()

    def _await_channels(self) -> None:
        if self.host.run(lambda: bool(self.channels), self._wait_ps):
            self.host.run(lambda: False, SETTLE_PS)

    @property
    def channels(self) -> tuple[RpmsgChannel, ...]:
        """The channels that exist now, in the order of their announcement."""
        return tuple(channel for bus in self.host.buses for channel in bus.channels)

    @property
    def findings(self) -> tuple[RingFinding, ...]:
        """What the firmware did against the rules of rings and messages."""
        return tuple(finding for bus in self.host.buses for finding in bus.findings)

    @property
    def trace(self) -> str:
        """What the firmware wrote into its trace buffers."""
        return "".join(trace.text for trace in self.host.traces)

    def channel(self, name: str | None = None, endpoint: int | None = None) -> RpmsgChannel:
        """The first channel of that name and remote address; without both, the first one announced.

        Raises `UsageError` (`channel`, `endpoint`) when there is none.
        """
        for channel in self.channels:
            if name in (None, channel.name) and endpoint in (None, channel.remote):
                return channel
        known = ", ".join(f"{c.name} at 0x{c.remote:x}" for c in self.channels[:8])
        raise UsageError(
            "the firmware announced no such channel",
            hint=f"It announced {known or 'none'}.",
            channel=name,
            endpoint=endpoint,
        )

    def send(self, data: bytes, channel: RpmsgChannel | None = None) -> None:
        """Send to a channel (None: the first). Raises `KernelError` for what the kernel would not send."""
        channel = channel or self.channel()
        self._bus(channel).send(channel.local, channel.remote, data)

    def receive(self, channel: RpmsgChannel | None = None, *, wait_ps: int | None = None) -> bytes | None:
        """The next message of a channel (None: the first), None when none comes within the wait."""
        channel = channel or self.channel()
        bus = self._bus(channel)
        self.host.run(lambda: bus.waiting(channel.local), self._wait_ps if wait_ps is None else wait_ps)
        message = bus.receive(channel.local)
        return None if message is None else message.data

    def ask(self, data: bytes, channel: RpmsgChannel | None = None) -> bytes | None:
        """Send, and wait for what comes back; None when nothing does."""
        self.send(data, channel)
        return self.receive(channel)

    def echo(self, count: int, channel: RpmsgChannel | None = None, *, size: int | None = None) -> Exchange:
        """Send `count` messages, of `size` bytes if given, each after the answer to the one before.

        Ends at the first that is not answered.
        """
        echoed = wrong = length = 0
        instructions, times = [], []
        for number in range(count):
            data = _message(number, size)
            length = max(length, len(data))
            start, before = self.host.now_ps, self.soc.m4.retired
            reply = self.ask(data, channel)
            if reply is None:
                break
            echoed += 1
            wrong += reply != data
            times.append(self.host.now_ps - start)
            instructions.append(self.soc.m4.retired - before)
        return Exchange(count, echoed, wrong, length, tuple(instructions), tuple(times))

    def _bus(self, channel: RpmsgChannel) -> RpmsgBus:
        for bus in self.host.buses:
            if channel in bus.channels:
                return bus
        raise UsageError(f"channel {channel.name!r} is gone", hint="the firmware destroyed it, or was started anew")


def _message(number: int, size: int | None) -> bytes:
    text = f"message {number}".encode()
    if size is None:
        return text
    size = min(size, MOST_PAYLOAD)
    return (text + _FILL * (size // len(_FILL) + 1))[:size]
