"""What the Linux side adds to the event log."""

from __future__ import annotations

from dataclasses import dataclass

from cosim.events import MachineEvent


@dataclass(frozen=True)
class KernelMessage(MachineEvent):
    """A line of the kernel log; `level` is info, warn or err, `function` the kernel function that printed it."""

    level: str
    function: str
    text: str


@dataclass(frozen=True)
class RprocStateChanged(MachineEvent):
    """The remoteproc core moved to another state (names of enum rproc_state)."""

    before: str
    after: str


@dataclass(frozen=True)
class RingFinding(MachineEvent):
    """The device side of a virtqueue broke the rules; `rule` names which, `queue` is its notify id."""

    queue: int
    rule: str
    detail: str


@dataclass(frozen=True)
class ChannelAnnounced(MachineEvent):
    """The name service created (or, with `created` False, removed) an RPMsg channel."""

    name: str
    remote: int
    local: int
    created: bool


@dataclass(frozen=True)
class MessageReceived(MachineEvent):
    """An RPMsg message arrived from `source` for `destination`; `size` is its payload in bytes."""

    source: int
    destination: int
    size: int


@dataclass(frozen=True)
class MessageSent(MachineEvent):
    """An RPMsg message was put into the ring."""

    source: int
    destination: int
    size: int
