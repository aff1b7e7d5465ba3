"""RPMsg over virtio from the kernel's side (drivers/rpmsg/virtio_rpmsg_bus.c, rpmsg_ns.c): channels and messages.

Queue 0 brings messages of the firmware, queue 1 takes messages to it. Nothing here waits for more than it is told to;
what the firmware does wrong becomes a `RingFinding` in the event log and in `findings`.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from cosim.events import EventLog
from cosim.linux.errno import Errno, KernelError
from cosim.linux.events import ChannelAnnounced, MessageReceived, MessageSent, RingFinding
from cosim.linux.virtio import VirtioDevice
from cosim.linux.vring import Buffer, RingError, RingRule, Virtqueue

VIRTIO_ID_RPMSG = 7
VIRTIO_RPMSG_F_NS = 1 << 0
NS_ADDRESS = 53
ADDR_ANY = 0xFFFFFFFF
#: RPMSG_RESERVED_ADDRESSES: dynamic addresses start here.
FIRST_DYNAMIC = 1024
BUFFER_SIZE = 512
MOST_BUFFERS = 512
HEADER = struct.Struct("<3I2H")
MOST_PAYLOAD = BUFFER_SIZE - HEADER.size
_NAME_SERVICE = struct.Struct("<32s2I")
_NS_DESTROY = 1
#: Bounds of what a firmware can make the model keep; the kernel has neither.
MOST_CHANNELS = 256
MOST_WAITING = 4096
MOST_FINDINGS = 1000

#: Lets the SoC run until the condition holds; whether it held. The kernel waits 15 s at most.
WaitForBuffer = Callable[[Callable[[], bool]], bool]


@dataclass(frozen=True)
class RpmsgChannel:
    """A channel that the firmware announced: `remote` is the firmware's address, `local` the one given here."""

    name: str
    remote: int
    local: int


@dataclass(frozen=True)
class Message:
    """A received message."""

    source: int
    destination: int
    data: bytes


class RpmsgBus:
    """The virtio driver for device id 7, and the channels that live on it.

    `findings` lists what the firmware did wrong, in order.
    """

    features = VIRTIO_RPMSG_F_NS

    def __init__(self, log: EventLog, wait: WaitForBuffer) -> None:
        self.findings: list[RingFinding] = []
        self._log = log
        self._wait = wait
        self._device: VirtioDevice | None = None
        self._receive: Virtqueue | None = None
        self._send: Virtqueue | None = None
        self._send_buffers: deque[Buffer] = deque()
        self._channels: dict[tuple[str, int], RpmsgChannel] = {}
        self._inbox: deque[Message] = deque()
        self._next_address = FIRST_DYNAMIC
        self._named = False
        self._overran = False

    @property
    def channels(self) -> tuple[RpmsgChannel, ...]:
        """The channels that exist now, in the order of their announcement."""
        return tuple(self._channels.values())

    # -- virtio driver -------------------------------------------------------------------------------------------

    def probe(self, device: VirtioDevice) -> None:
        """rpmsg_probe. Raises KernelError (-EINVAL, -ENOMEM)."""
        receive, send = device.find_vq(0), device.find_vq(1)
        if receive.num != send.num:
            text = f"rings of {receive.num} and {send.num} buffers, symmetric ones are expected"
            device.rproc.printk("warn", "rpmsg_probe", text)
        count = min(2 * receive.num, MOST_BUFFERS)
        buffers = [Buffer(at, BUFFER_SIZE) for at in _buffer_addresses(device, count)]
        for buffer in buffers[: count // 2]:
            receive.add(buffer, writable=True)
        self._send_buffers = deque(buffers[count // 2 :])
        send.disable_callbacks()
        self._device, self._receive, self._send = device, receive, send
        self._named = bool(device.features & VIRTIO_RPMSG_F_NS)
        kick = receive.wants_kick()
        device.ready()
        if kick:
            device.notify(receive)

    def interrupt(self, number: int) -> bool:
        """rpmsg_recv_done for queue 0; queue 1 only tells that buffers are free again."""
        if number:
            return self._send is not None and self._send.has_used()
        return self._receive_all()

    def remove(self) -> None:
        """rpmsg_remove: every channel goes; messages that arrived can still be read."""
        for channel in list(self._channels.values()):
            self._drop(channel)
        self._device = self._receive = self._send = None
        self._send_buffers.clear()

    # -- for users -----------------------------------------------------------------------------------------------

    def send(self, source: int, destination: int, data: bytes) -> None:
        """rpmsg_send_offchannel.

        Raises KernelError (-EINVAL, -EMSGSIZE, -ENOSPC, or -ERESTARTSYS when no buffer gets free).
        """
        function = "rpmsg_send_offchannel_raw"
        if self._device is None or self._send is None:
            raise KernelError(function, Errno.EINVAL, "there is no rpmsg device", hint="boot a firmware with a vdev")
        if not 0 <= source < ADDR_ANY or not 0 <= destination < ADDR_ANY:
            raise KernelError(function, Errno.EINVAL, f"invalid addr (src 0x{source:x}, dst 0x{destination:x})")
        if len(data) > MOST_PAYLOAD:
            raise KernelError(function, Errno.EMSGSIZE, f"message is too big ({len(data)})", size=len(data))
        buffer = self._send_buffer()
        if not self._send.free:
            self._send_buffers.append(buffer)
            raise KernelError(function, Errno.ENOSPC, "virtqueue_add_outbuf failed: the send ring is full")
        message = HEADER.pack(source, destination, 0, len(data), 0) + data
        self._device.rproc.memory.write(buffer.address, message, function)
        self._send.add(Buffer(buffer.address, len(message)), writable=False)
        self._log.emit(MessageSent(source, destination, len(data)))
        if self._send.wants_kick():
            self._device.notify(self._send)

    def receive(self, local: int | None = None) -> Message | None:
        """The oldest message for the address `local` (None: for any), which is thereby taken; None when there is none.

        A user who reads only one address leaves the others' messages waiting, 4,096 at most.
        """
        for message in self._inbox:
            if local is None or message.destination == local:
                self._inbox.remove(message)
                return message
        return None

    def waiting(self, local: int) -> bool:
        """Whether there is a message for the address `local`."""
        return any(message.destination == local for message in self._inbox)

    def flooded(self) -> None:
        """The host saw doorbells without end and without a message."""
        queue = 0 if self._receive is None else self._receive.queue
        self._find(RingRule.DOORBELLS, queue, "the host does not wait for this firmware any more")

    def poll(self) -> bool:
        """Look at the receive ring without having been rung; whether it had anything."""
        return self._receive_all()

    # -- receiving -----------------------------------------------------------------------------------------------

    def _receive_all(self) -> bool:
        """rpmsg_recv_done: at most one ring full of messages, then one kick for the buffers given back."""
        if self._receive is None or self._device is None:
            return False
        taken = 0
        try:
            while taken < self._receive.num:
                used = self._receive.take()
                if used is None:
                    break
                taken += 1
                self._receive_one(used.buffer, used.length)
                self._receive.add(used.buffer, writable=True)
        except RingError as error:
            self._find(error.rule, error.queue, error.detail)
        if taken and self._receive.wants_kick():
            self._device.notify(self._receive)
        return taken > 0

    def _receive_one(self, buffer: Buffer, length: int) -> None:
        """rpmsg_recv_single: a message that claims more than its buffer holds is dropped."""
        if self._device is None or self._receive is None:
            return
        raw = self._device.rproc.memory.read(buffer.address, buffer.size, "rpmsg_recv_single")
        source, destination, _, size, _ = HEADER.unpack_from(raw)
        if size > length - HEADER.size:
            detail = f"inbound msg too big: ({length}, {size})"
            self._find(RingRule.MESSAGE_LENGTH, self._receive.queue, detail)
            return
        data = raw[HEADER.size : HEADER.size + size]
        if destination == NS_ADDRESS and self._named:
            self._announcement(data)
            return
        self._log.emit(MessageReceived(source, destination, size))
        if not any(channel.local == destination for channel in self._channels.values()):
            self._device.rproc.printk("warn", "rpmsg_recv_single", "msg received with no recipient")
            return
        if len(self._inbox) >= MOST_WAITING:
            self._inbox.popleft()
            if not self._overran:
                self._overran = True
                self._find(RingRule.UNREAD, self._receive.queue, f"the oldest of {MOST_WAITING} is dropped for each")
        self._inbox.append(Message(source, destination, data))

    def _announcement(self, data: bytes) -> None:
        """rpmsg_ns_cb."""
        queue = 0 if self._receive is None else self._receive.queue
        if len(data) != _NAME_SERVICE.size:
            self._find(RingRule.NAME_SERVICE, queue, f"malformed ns msg ({len(data)})")
            return
        raw, address, flags = _NAME_SERVICE.unpack(data)
        name = raw[:31].split(b"\0", 1)[0].decode("ascii", "backslashreplace")
        known = self._channels.get((name, address))
        if flags & _NS_DESTROY:
            if known is not None:
                self._drop(known)
            return
        if known is not None:
            self._find(RingRule.NAME_SERVICE, queue, f"channel {name}:{address:x} already exists")
        elif len(self._channels) >= MOST_CHANNELS:
            self._find(RingRule.CHANNELS, queue, f"{name}:{address:x} is one too many, {MOST_CHANNELS} are kept")
        else:
            channel = RpmsgChannel(name, address, self._next_address)
            self._next_address += 1
            self._channels[name, address] = channel
            self._log.emit(ChannelAnnounced(name, address, channel.local, True))

    def _drop(self, channel: RpmsgChannel) -> None:
        del self._channels[channel.name, channel.remote]
        self._log.emit(ChannelAnnounced(channel.name, channel.remote, channel.local, False))

    def _find(self, rule: RingRule, queue: int, detail: str) -> None:
        finding = RingFinding(queue, rule.name, detail)
        self._log.emit(finding)
        if len(self.findings) < MOST_FINDINGS:
            self.findings.append(finding)

    # -- sending -------------------------------------------------------------------------------------------------

    def _send_buffer(self) -> Buffer:
        """get_a_tx_buf: a fresh buffer, or one that the firmware gave back, or wait for one."""
        if not self._send_buffers:
            self._reclaim()
        if not self._send_buffers:
            self._wait(lambda: self._send is None or self._send.has_used())
            self._reclaim()
        if not self._send_buffers:
            raise KernelError(
                "rpmsg_send_offchannel_raw",
                Errno.ERESTARTSYS,
                "timeout waiting for a tx buffer",
                hint="the firmware does not give buffers back, or its ring is broken",
            )
        return self._send_buffers.popleft()

    def _reclaim(self) -> None:
        while self._send is not None:
            try:
                used = self._send.take()
            except RingError as error:
                self._find(error.rule, error.queue, error.detail)
                return
            if used is None:
                return
            self._send_buffers.append(Buffer(used.buffer.address, BUFFER_SIZE))


def _buffer_addresses(device: VirtioDevice, count: int) -> range:
    """The message buffers: in the carveout vdev<n>buffer, or in DDR without one. Raises KernelError (-ENOMEM)."""
    total, name = count * BUFFER_SIZE, f"vdev{device.spec.index}buffer"
    mem = device.rproc.carveouts.by_name(name)
    if mem is None or mem.pa is None:
        start = device.rproc.carveouts.dma_alloc(total, "rpmsg_probe", name)
    elif total > mem.size:
        raise KernelError("rpmsg_probe", Errno.ENOMEM, f"{total} bytes of buffers do not fit {name} ({mem.size})")
    else:
        start = mem.pa
    return range(start, start + total, BUFFER_SIZE)
