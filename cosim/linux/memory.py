"""The kernel's hands on the bus: every access is non-secure and attributed to the A7."""

from __future__ import annotations

from cosim.access import Initiator
from cosim.bus import Bus
from cosim.errors import BusFault
from cosim.linux.errno import KernelOopsError


class KernelMemory:
    """Physical memory and registers as the kernel's mappings reach them.

    What the firewall denies reads as zero and ignores writes, or ends the kernel, as the platform is set up. Raises
    `KernelOopsError` (`function`, `address`).
    """

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    def read(self, address: int, size: int, function: str = "memcpy_fromio") -> bytes:
        """`size` bytes at the physical `address`."""
        try:
            return self._bus.read(Initiator.A7_NS, address, size)
        except BusFault as fault:
            raise _oops(function, fault) from fault

    def write(self, address: int, data: bytes, function: str = "memcpy_toio") -> None:
        """Write `data` at the physical `address`."""
        try:
            self._bus.write(Initiator.A7_NS, address, data)
        except BusFault as fault:
            raise _oops(function, fault) from fault

    def read_word(self, address: int, size: int = 4, function: str = "readl") -> int:
        """The little-endian word of `size` bytes at `address`."""
        return int.from_bytes(self.read(address, size, function), "little")

    def write_word(self, address: int, value: int, size: int = 4, function: str = "writel") -> None:
        """Write a little-endian word of `size` bytes."""
        self.write(address, value.to_bytes(size, "little"), function)


def _oops(function: str, fault: BusFault) -> KernelOopsError:
    return KernelOopsError(
        f"{function}: external abort, {fault.message}",
        hint=fault.hint,
        function=function,
        address=fault.fields.get("address"),
    )
