"""What the secure world needs from the machine around it: a bus and a place to report to.

`ta` knows nothing of engines or peripherals. Whoever embeds it (the co-simulated SoC, a test) hands it a `SecureBus`
for every memory and register access, and a sink for its events.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from ta.events import TaEvent


class SecureBus(Protocol):
    """Physical-address accesses with the secure attribute (initiator `a7-s`), as OP-TEE makes them."""

    def read(self, address: int, size: int) -> bytes:
        """Read `size` bytes at the A7 physical `address`. Raises `ta.errors.BusFault`."""
        ...

    def write(self, address: int, data: bytes) -> None:
        """Write `data` at the A7 physical `address`. Raises `ta.errors.BusFault`."""
        ...

    def holds(self, address: int, data: bytes) -> bool:
        """Whether a read at the A7 physical `address` gives `data`. Raises `ta.errors.BusFault`."""
        ...


def read32(bus: SecureBus, address: int) -> int:
    """Read one little-endian 32-bit register or word."""
    return int.from_bytes(bus.read(address, 4), "little")


def write32(bus: SecureBus, address: int, value: int) -> None:
    """Write one little-endian 32-bit register or word."""
    bus.write(address, value.to_bytes(4, "little"))


#: Receives each event of the secure world as it happens; must not raise.
Sink = Callable[[TaEvent], None]
