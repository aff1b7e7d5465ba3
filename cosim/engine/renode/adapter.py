"""Stands in for the SoC's blocks on Renode's bus: a CLR peripheral that passes each access on to Python."""

from __future__ import annotations

import functools
from typing import Protocol

from cosim.engine.renode.host import Net


class Served(Protocol):
    """What an adapter passes accesses to: offsets and sizes in bytes. Nothing may be raised."""

    def read(self, offset: int, size: int) -> int:
        """The value read."""
        ...

    def write(self, offset: int, size: int, value: int) -> None:
        """Write `value`."""
        ...


def register(bus: Net, cpu: Net, address: int, size: int, served: Served) -> None:
    """Put a stand-in of `size` bytes at `address` into the view of one core."""
    from Antmicro.Renode.Core import Range
    from Antmicro.Renode.Peripherals.Bus import BusRangeRegistration

    bus.Register(_adapter_class()(size, served), BusRangeRegistration(Range(address, size), 0, cpu))


@functools.cache
def _adapter_class() -> Net:
    """The CLR class, which can be made only once in a process and only after the CLR was loaded."""
    import clr
    from Antmicro.Renode.Peripherals import IKnownSize
    from Antmicro.Renode.Peripherals.Bus import (
        IBytePeripheral,
        IDoubleWordPeripheral,
        IQuadWordPeripheral,
        IWordPeripheral,
    )
    from System import Byte, Int64, UInt16, UInt32, UInt64

    class BusAdapter(IBytePeripheral, IWordPeripheral, IDoubleWordPeripheral, IQuadWordPeripheral, IKnownSize):  # type: ignore[misc]
        """One range of the bus."""

        __namespace__ = "Cosim"

        def __init__(self, size: int, served: Served) -> None:
            self._bytes, self._served = size, served

        @clr.clrproperty(Int64)  # type: ignore[untyped-decorator]
        def Size(self) -> int:  # noqa: N802
            return self._bytes

        @clr.clrmethod(None, [])  # type: ignore[untyped-decorator]
        def Reset(self) -> None:  # noqa: N802
            """The blocks are reset by the SoC."""

        @clr.clrmethod(Byte, [Int64])  # type: ignore[untyped-decorator]
        def ReadByte(self, offset: int) -> int:  # noqa: N802
            return self._served.read(int(offset), 1)

        @clr.clrmethod(UInt16, [Int64])  # type: ignore[untyped-decorator]
        def ReadWord(self, offset: int) -> int:  # noqa: N802
            return self._served.read(int(offset), 2)

        @clr.clrmethod(UInt32, [Int64])  # type: ignore[untyped-decorator]
        def ReadDoubleWord(self, offset: int) -> int:  # noqa: N802
            return self._served.read(int(offset), 4)

        @clr.clrmethod(UInt64, [Int64])  # type: ignore[untyped-decorator]
        def ReadQuadWord(self, offset: int) -> int:  # noqa: N802
            return self._served.read(int(offset), 8)

        @clr.clrmethod(None, [Int64, Byte])  # type: ignore[untyped-decorator]
        def WriteByte(self, offset: int, value: int) -> None:  # noqa: N802
            self._served.write(int(offset), 1, int(value))

        @clr.clrmethod(None, [Int64, UInt16])  # type: ignore[untyped-decorator]
        def WriteWord(self, offset: int, value: int) -> None:  # noqa: N802
            self._served.write(int(offset), 2, int(value))

        @clr.clrmethod(None, [Int64, UInt32])  # type: ignore[untyped-decorator]
        def WriteDoubleWord(self, offset: int, value: int) -> None:  # noqa: N802
            self._served.write(int(offset), 4, int(value))

        @clr.clrmethod(None, [Int64, UInt64])  # type: ignore[untyped-decorator]
        def WriteQuadWord(self, offset: int, value: int) -> None:  # noqa: N802
            self._served.write(int(offset), 8, int(value))

    return BusAdapter
