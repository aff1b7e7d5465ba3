"""The mailbox client and stm32-ipcc driver: doorbells to the M4 and back, by register accesses.

The four channels are those of the m4_rproc node: vq0, vq1, shutdown, detach. Flags are polled; interrupts stay masked.
"""

from __future__ import annotations

import enum
from collections import deque

from cosim.linux.memory import KernelMemory

IPCC_BASE = 0x4C001000
_SCR, _TO_M4, _TO_A7 = 0x08, 0x0C, 0x1C
_SET_SHIFT = 16
#: MBOX_TX_QUEUE_LEN: what the framework keeps of a channel that is not free.
QUEUE_LENGTH = 20


class Channel(enum.IntEnum):
    """IPCC channels of the remote processor."""

    VQ0 = 0
    VQ1 = 1
    SHUTDOWN = 2
    DETACH = 3


class Mailbox:
    """The processor-1 side of the IPCC at `base`."""

    def __init__(self, memory: KernelMemory, base: int = IPCC_BASE) -> None:
        self._memory = memory
        self._base = base
        self._queues: dict[Channel, deque[None]] = {channel: deque() for channel in Channel}

    def send(self, channel: Channel) -> bool:
        """mbox_send_message: ring now or when the channel gets free; False when the queue is full."""
        if len(self._queues[channel]) >= QUEUE_LENGTH:
            return False
        self._queues[channel].append(None)
        self.pump()
        return True

    def pump(self) -> bool:
        """Ring what waits and whose channel the M4 has freed; whether there was any."""
        waiting = [channel for channel, queue in self._queues.items() if queue]
        if not waiting:
            return False
        busy, rung = self._memory.read_word(self._base + _TO_M4), False
        for channel in waiting:
            if not busy & 1 << channel:
                self._queues[channel].popleft()
                self._memory.write_word(self._base + _SCR, 1 << _SET_SHIFT + channel)
                rung = True
        return rung

    def acknowledged(self, channel: Channel) -> bool:
        """Whether the M4 has taken everything that was sent on a channel."""
        return not self._queues[channel] and not self._memory.read_word(self._base + _TO_M4) & 1 << channel

    def rung(self) -> bool:
        """Whether the M4 has rung, and nobody took that."""
        return bool(self._memory.read_word(self._base + _TO_A7))

    def take(self) -> set[Channel]:
        """The channels on which the M4 has rung, which is thereby acknowledged."""
        flags = self._memory.read_word(self._base + _TO_A7)
        if flags:
            self._memory.write_word(self._base + _SCR, flags)
        return {channel for channel in Channel if flags & 1 << channel}

    def reset(self) -> None:
        """Forget what waits, and take what the stopped M4 had still rung."""
        for queue in self._queues.values():
            queue.clear()
        self.take()
