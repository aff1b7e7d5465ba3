"""Target `ring`: what a firmware writes into the rings and message buffers of RPMsg, between the kernel's own steps.

An input is a row of steps: bytes of the firmware anywhere in the shared memory, a well-formed message or announcement
of it, an interrupt, a message of the kernel, a look at what arrived. The kernel's side must stay inside that memory and
keep no more than its bounds.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import cast

from fuzz_tables import table_seeds
from fuzz_target import BrokenInvariantError, FuzzTarget, Play, require, take

from cosim.access import Initiator
from cosim.bus import Bus
from cosim.errors import CosimError
from cosim.events import EventLog
from cosim.linux.carveout import CMA_BASE, CMA_SIZE, Carveouts
from cosim.linux.memory import KernelMemory
from cosim.linux.remoteproc_core import Rproc, RprocOps, RprocState
from cosim.linux.resources import VdevSpec, vring_size
from cosim.linux.rpmsg import MOST_CHANNELS, MOST_PAYLOAD, MOST_WAITING, NS_ADDRESS, RpmsgBus
from cosim.linux.virtio import VirtioDevice

_BASE, _SIZE = 0x10040000, 0x10000  # vrings, buffers and the resource table of the demo
_VRINGS, _TABLE = (0x10040000, 0x10041000), 0x10048000
_NUM, _ALIGN = 16, 16
_USED = vring_size(_NUM, _ALIGN) - (6 + 8 * _NUM)
_MOST_STEPS = 64
#: Log entries that one step may make at most: a whole ring of messages, two for each, and some.
_MOST_EVENTS = 3 * _NUM + 4


class SharedRam:
    """The memory that both sides have; whatever leaves it is a broken invariant."""

    def __init__(self) -> None:
        self.data = bytearray(_SIZE)
        self._cma = bytearray(CMA_SIZE)

    def read(self, _initiator: Initiator, address: int, size: int) -> bytes:
        block, at = self._find(address, size)
        return bytes(block[at : at + size])

    def write(self, _initiator: Initiator, address: int, data: bytes) -> None:
        block, at = self._find(address, len(data))
        block[at : at + len(data)] = data

    def poke(self, address: int, data: bytes) -> None:
        """The firmware writes; what leaves the memory wraps, so that no input is wasted."""
        at = address % _SIZE
        self.data[at : at + len(data)] = data[: _SIZE - at]

    def word(self, address: int, size: int) -> int:
        """The firmware reads, likewise."""
        at = address % _SIZE
        return int.from_bytes(self.data[at : at + size], "little")

    def _find(self, address: int, size: int) -> tuple[bytearray, int]:
        """Where an access of the kernel goes: the shared memory, or what its allocator gives a device."""
        for base, block in ((_BASE, self.data), (CMA_BASE, self._cma)):
            if base <= address <= address + size <= base + len(block):
                return block, address - base
        raise BrokenInvariantError(f"the kernel accessed {size} bytes at 0x{address:08x}, which is not shared")


class _Board(RprocOps):
    """A processor that does nothing by itself; its firmware file is its resource table."""

    def sanity_check(self, firmware: bytes) -> None:
        """Anything goes."""

    def prepare(self, carveouts: Carveouts) -> None:
        carveouts.add_board_regions()

    def parse_fw(self, firmware: bytes) -> bytes:
        return firmware

    def load(self, firmware: bytes, carveouts: Carveouts) -> None:
        """There is nothing else in it."""

    def find_loaded_rsc_table(self, firmware: bytes, carveouts: Carveouts) -> int:  # noqa: ARG002 - the kernel's interface
        return _TABLE

    def get_boot_addr(self, firmware: bytes) -> int:  # noqa: ARG002 - the kernel's interface
        return 0

    def get_loaded_rsc_table(self) -> tuple[int, int]:
        return _TABLE, _BASE + _SIZE - _TABLE

    def start(self) -> None:
        """It runs when the input says so."""

    def attach(self) -> None:
        """It runs already."""

    def detach(self) -> None:
        """It runs on."""

    def stop(self, state: RprocState) -> None:
        """It runs no more."""

    def kick(self, notify_id: int) -> None:
        """It looks when the input says so."""

    def release_fw(self, state: RprocState) -> None:
        """Nothing was taken."""


class Game:
    """A booted processor with RPMsg, and both sides' moves."""

    def __init__(self) -> None:
        self.ram, self.log = SharedRam(), EventLog()
        self.buses: list[RpmsgBus] = []
        self.devices: list[VirtioDevice] = []
        memory = KernelMemory(cast(Bus, self.ram))
        self.rproc = Rproc(_Board(), memory, self.log, lambda: table_seeds()[0], self._device)
        self._used = [0, 0]
        self.rproc.boot()

    def _device(self, rproc: Rproc, spec: VdevSpec) -> VirtioDevice:
        bus = RpmsgBus(self.log, lambda until: until())
        device = VirtioDevice(rproc, spec, bus)
        self.buses.append(bus)
        self.devices.append(device)
        return device

    def give(self, queue: int, length: int) -> None:
        """The firmware gives the next buffer of a ring back."""
        ring, used = _VRINGS[queue], self._used[queue]
        head = self.ram.word(ring + 16 * _NUM + 4 + 2 * (used % _NUM), 2)
        self.ram.poke(ring + _USED + 4 + 8 * (used % _NUM), struct.pack("<2I", head, length))
        self._used[queue] = used + 1 & 0xFFFF
        self.ram.poke(ring + _USED + 2, struct.pack("<H", self._used[queue]))

    def message(self, source: int, destination: int, data: bytes) -> None:
        """The firmware sends a message."""
        head = self.ram.word(_VRINGS[0] + 16 * _NUM + 4 + 2 * (self._used[0] % _NUM), 2)
        buffer = self.ram.word(_VRINGS[0] + 16 * head, 4)
        self.ram.poke(buffer, struct.pack("<3I2H", source, destination, 0, len(data), 0) + data)
        self.give(0, 16 + len(data))

    def ring(self, queue: int) -> None:
        """The firmware rings."""
        for device in self.devices:
            device.interrupt(queue)


def _poke(game: Game, data: bytes) -> bytes:
    head, data = take(data, 3)
    game.ram.poke(int.from_bytes(head[:2], "little"), data[: head[2]])
    return data[head[2] :]


def _give(game: Game, data: bytes) -> bytes:
    head, data = take(data, 3)
    game.give(head[0] & 1, int.from_bytes(head[1:], "little"))
    return data


def _message(game: Game, data: bytes) -> bytes:
    head, data = take(data, 4)
    game.message(head[0], 1024 + head[1] if head[1] < 128 else NS_ADDRESS, data[: head[3]])
    return data[head[3] :]


def _announce(game: Game, data: bytes) -> bytes:
    head, data = take(data, 3)
    game.message(head[0], NS_ADDRESS, struct.pack("<32s2I", b"channel-%d" % head[1], head[0], head[2]))
    return data


def _ring(game: Game, data: bytes) -> bytes:
    head, data = take(data, 1)
    game.ring(head[0] & 1)
    return data


def _send(game: Game, data: bytes) -> bytes:
    head, data = take(data, 4)
    game.buses[-1].send(head[0], head[1], bytes(int.from_bytes(head[2:], "little") % (2 * MOST_PAYLOAD)))
    return data


def _receive(game: Game, data: bytes) -> bytes:
    message = game.buses[-1].receive()
    require(message is None or len(message.data) <= MOST_PAYLOAD, "a message is longer than its buffer")
    return data


def _restart(game: Game, data: bytes) -> bytes:
    game.rproc.shutdown()
    game.rproc.boot()
    return data


def _leave(game: Game, data: bytes) -> bytes:
    """The kernel leaves the processor, finds it running, and takes the table from where it lies now."""
    if game.rproc.state is RprocState.ATTACHED:
        game.rproc.detach()
    else:
        game.rproc.shutdown()
        game.rproc.found_running()
    game.rproc.boot()
    return data


_STEPS: tuple[Callable[[Game, bytes], bytes], ...] = (
    _poke, _give, _message, _announce, _ring, _send, _receive, _restart, _leave,
)  # fmt: skip


def ring_seeds() -> Sequence[bytes]:
    """An announced channel with messages both ways; more messages than a ring has; a restart; wild writes."""
    announce, ring, look = bytes([3, 30, 1, 0, 4, 0]), bytes([4, 0]), bytes([6])
    hello = bytes([2, 30, 0, 0, 5]) + b"hello"
    send = bytes([5, 100, 30, 16, 0])
    return [
        announce + hello + ring + look + send + bytes([1, 1, 20, 0]) + bytes([4, 1]) + send,
        announce + hello * 20 + ring + look * 20,
        send * 40,
        announce + bytes([7]) + announce + hello + ring,
        announce + bytes([8]) + hello + ring,
        bytes([0, 0, 0x80, 16]) + struct.pack("<4I", 1, 64, 0, 0) + bytes([8]) + announce,
        bytes([0, 0, 0, 16]) + bytes(range(16)) + bytes([1, 0, 255, 255]) + ring,
        bytes([3, 30, 1, 1, 4, 0, 3, 30, 1, 0, 3, 30, 1, 0, 4, 0]),
    ]


def _make() -> Play:
    def play(data: bytes) -> None:
        game = Game()
        for _ in range(_MOST_STEPS):
            if not data:
                return
            before = len(game.log)
            step, data = _STEPS[data[0] % len(_STEPS)], data[1:]
            try:
                data = step(game, data)
            except CosimError as refusal:
                require(bool(refusal.message), "a refusal that says nothing")
                if game.rproc.state not in (RprocState.RUNNING, RprocState.ATTACHED):
                    return
            require(len(game.log) - before <= _MOST_EVENTS, f"{len(game.log) - before} log entries for one step")
            require(len(game.buses[-1].channels) <= MOST_CHANNELS, "too many channels are kept")
            require(len(game.buses[-1].findings) <= MOST_WAITING, "too many findings are kept")

    return play


RING = FuzzTarget("ring", ring_seeds, _make, 2048)
