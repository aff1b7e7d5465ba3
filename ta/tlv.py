"""Search of the TLV area in the TA's copy: as the reference walks it, pointer arithmetic included, and bounded.

A record is a little-endian type, a length and the value, padded to 8 bytes (`remoteproc_get_tlv` in OP-TEE).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from ta.heap import HeapBlock
from ta.image_format import TLV_HEAD_SIZE, TlvType

_WRAP = 1 << 32


@dataclass(frozen=True)
class TlvArea:
    """The TLV area of a copied header: its heap block, user address and length in bytes."""

    block: HeapBlock
    address: int
    length: int
    bounded: bool

    def find(self, wanted: TlvType) -> bytes | None:
        """The value of the first record of a type: None when there is none, b"" when it is empty.

        Raises `TaDeathError` (A1, A4) unless `bounded`.
        """
        return self._find_bounded(wanted) if self.bounded else self._find_upstream(wanted)

    def _find_upstream(self, wanted: TlvType) -> bytes | None:
        end = (self.address + self.length) % _WRAP
        at = self.address
        while (at + TLV_HEAD_SIZE) % _WRAP <= end:
            wrapped = at < self.address or at + TLV_HEAD_SIZE > _WRAP
            kind, length = struct.unpack("<II", self.block.read(at, TLV_HEAD_SIZE, "A4" if wrapped else "A1"))
            value = (at + TLV_HEAD_SIZE) % _WRAP
            if value + length >= _WRAP:
                return None
            if value + length <= end and kind == wanted:
                return self.block.read(value, length, "A1")
            at = (value + round_up_8(length)) % _WRAP
        return None

    def _find_bounded(self, wanted: TlvType) -> bytes | None:
        start = self.address - self.block.address
        area = self.block.data[start : start + self.length]
        at = 0
        while at + TLV_HEAD_SIZE <= len(area):
            kind, length = struct.unpack_from("<II", area, at)
            value = at + TLV_HEAD_SIZE
            if kind == wanted and value + length <= len(area):
                return area[value : value + length]
            at = value + length + (-length % 8)
        return None


def round_up_8(length: int) -> int:
    """`length` rounded up to 8 in 32-bit arithmetic: 0xFFFFFFF9 and above give 0 (weakness A2)."""
    return ((length + 7) & ~7) % _WRAP
