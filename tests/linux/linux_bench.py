"""What the tests of the Linux side share: images, hosts, tables, and the device side of a ring played by the test."""

from __future__ import annotations

import struct
from functools import cache

from cosim.access import Initiator
from cosim.linux.host import LinuxHost
from cosim.linux.vring import RingRule
from cosim.resources import firmware_file
from cosim.soc import Soc, SocConfig
from cosim.testing import default_signer
from ta.events import CommandInvoked

TABLE = 0x10048000  # of demo_m4 and rpmsg_echo
VDEV, STATUS, GFEATURES, VRINGS = TABLE + 24, TABLE + 48, TABLE + 40, TABLE + 52
VRING0, VRING1, BUFFERS = 0x10040000, 0x10041000, 0x10042000
NUM, ALIGN = 16, 16
AVAIL, USED = 16 * NUM, (16 * NUM + 2 * (3 + NUM) + ALIGN - 1) & ~(ALIGN - 1)
MILLISECOND_PS = 10**9


def elf(name: str) -> bytes:
    return firmware_file(f"{name}.elf").read_bytes()


@cache
def signed(name: str) -> bytes:
    return default_signer().sign(elf(name))


def host(name: str = "demo_m4", **config: object) -> LinuxHost:
    return LinuxHost(Soc(SocConfig(**config)), signed(name))  # type: ignore[arg-type]


def booted(name: str = "demo_m4", **config: object) -> LinuxHost:
    linux = host(name, **config)
    linux.boot()
    return linux


def commands(linux: LinuxHost) -> list[str]:
    return [event.command_name for event in linux.soc.log.of(CommandInvoked)]


def word(linux: LinuxHost, address: int, size: int = 4) -> int:
    return int.from_bytes(linux.soc.debug_read(address, size), "little")


class FirmwareSide:
    """A device that answers on ring 0 of a booted demo, which never touches its rings, and may answer nonsense."""

    def __init__(self, linux: LinuxHost) -> None:
        self.linux = linux
        self.bus = linux.buses[0]
        self._used = 0

    def poke(self, address: int, data: bytes) -> None:
        self.linux.soc.bus.write(Initiator.DEBUG, address, data)

    def descriptor(self, index: int) -> tuple[int, int, int, int]:
        found = struct.unpack("<QIHH", self.linux.soc.debug_read(VRING0 + 16 * index, 16))
        return found[0], found[1], found[2], found[3]

    def set_descriptor(self, index: int, address: int, size: int, flags: int, following: int) -> None:
        self.poke(VRING0 + 16 * index, struct.pack("<QIHH", address, size, flags, following))

    def use(self, head: int, length: int) -> None:
        """Give a buffer back."""
        self.poke(VRING0 + USED + 4 + 8 * (self._used % NUM), struct.pack("<II", head, length))
        self._used += 1
        self.poke(VRING0 + USED + 2, struct.pack("<H", self._used & 0xFFFF))

    def next_head(self) -> int:
        return int.from_bytes(self.linux.soc.debug_read(VRING0 + AVAIL + 4 + 2 * (self._used % NUM), 2), "little")

    def message(self, source: int, destination: int, data: bytes, claimed: int | None = None) -> None:
        head = self.next_head()
        size = len(data) if claimed is None else claimed
        self.poke(self.descriptor(head)[0], struct.pack("<3I2H", source, destination, 0, size, 0) + data)
        self.use(head, 16 + len(data))

    def announce(self, name: bytes, address: int, flags: int = 0) -> None:
        self.message(address, 53, struct.pack("<32s2I", name, address, flags))

    def rules(self) -> list[RingRule]:
        return [RingRule[finding.rule] for finding in self.bus.findings]
