"""CRC calculation unit of the STM32MP15: any polynomial of 7, 8, 16 or 32 bits, with bit reversal.

Source: RM0436 (CRC) as quoted by ST's CMSIS header. Bytes of a write go in from the most significant one down, as wide
as the write was. A result is there at once.
"""

from __future__ import annotations

from typing import ClassVar

from cosim.access import Initiator
from cosim.events import EventLog
from cosim.registers import Access, Field, Register, RegisterBlock

_RESET, _REV_OUT = 1 << 0, 1 << 7
_WIDTHS = (32, 16, 8, 7)
#: Bits within which REV_IN reverses (0: not at all); a narrower write is reversed as a whole.
_REVERSED = (0, 8, 16, 32)

REGISTERS: tuple[Register, ...] = (
    Register("DR", 0x00, 0xFFFFFFFF, logged=False),
    Register("IDR", 0x04, logged=False),
    Register(
        "CR",
        0x08,
        0,
        (
            Field("RESET", 0, access=Access.PULSE),
            Field("POLYSIZE", 3, 2),
            Field("REV_IN", 5, 2),
            Field("REV_OUT", 7),
        ),
        logged=False,
    ),
    Register("INIT", 0x10, 0xFFFFFFFF, logged=False),
    Register("POL", 0x14, 0x04C11DB7, logged=False),
)


def reverse(value: int, width: int) -> int:
    """The lowest `width` bits of `value` in the opposite order."""
    return int(f"{value & ((1 << width) - 1):0{width}b}"[::-1], 2)


class Crc(RegisterBlock):
    """One calculation unit."""

    registers: ClassVar[tuple[Register, ...]] = REGISTERS
    computed: ClassVar[frozenset[str] | None] = frozenset({"DR"})

    def __init__(self, base: int, log: EventLog, name: str) -> None:
        super().__init__(name, base, log)

    def write(self, offset: int, size: int, value: int, initiator: Initiator) -> None:
        """A write to DR feeds exactly the bytes written."""
        if offset & ~3 == 0:
            self._feed(value & ((1 << 8 * size) - 1), 8 * size)
        else:
            super().write(offset, size, value, initiator)

    def read_register(self, register: Register, initiator: Initiator) -> int:
        """DR gives the result, reversed on demand."""
        value = super().read_register(register, initiator)
        if register.name == "DR" and self.value("CR") & _REV_OUT:
            return reverse(value, self._width())
        return value

    def written(self, register: Register, before: int, after: int, written: int, initiator: Initiator) -> None:  # noqa: ARG002
        """RESET and a new INIT load the initial value."""
        if register.name == "INIT" or (register.name == "CR" and written & _RESET):
            self.poke("DR", self.value("INIT") & ((1 << self._width()) - 1))

    def _width(self) -> int:
        return _WIDTHS[self.value("CR") >> 3 & 3]

    def _feed(self, value: int, size: int) -> None:
        unit = min(_REVERSED[self.value("CR") >> 5 & 3], size)
        if unit:
            parts = [reverse(value >> at, unit) << at for at in range(0, size, unit)]
            value = sum(parts)
        width, polynomial, remainder = self._width(), self.value("POL"), self.value("DR")
        top, mask = 1 << (width - 1), (1 << width) - 1
        for at in range(size - 1, -1, -1):
            carry = bool(remainder & top) ^ (value >> at & 1)
            remainder = ((remainder << 1) ^ (polynomial if carry else 0)) & mask
        self.poke("DR", remainder)
