"""DMAMUX1 of the STM32MP15: which peripheral's requests reach which DMA stream.

Source: RM0436 (DMAMUX) as quoted by ST's CMSIS header and SVD. Channels 0 to 7 go to the streams of DMA1, 8 to 15 to
those of DMA2. Synchronization and request generators are stored without effect, and overruns do not happen.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from cosim.access import Initiator
from cosim.errors import EngineError
from cosim.events import EventLog
from cosim.interrupts import Output
from cosim.registers import Access, Field, Register, RegisterBlock

CHANNELS, GENERATORS = 16, 8
_REQUEST_ID = 0xFF
_CHANNEL_NAMES = tuple(f"C{n}CR" for n in range(CHANNELS))

_CHANNEL = (
    Field("DMAREQ_ID", 0, 8),
    Field("SOIE", 8),
    Field("EGE", 9),
    Field("SE", 16),
    Field("SPOL", 17, 2),
    Field("NBREQ", 19, 5),
    Field("SYNC_ID", 24, 5),
)
_GENERATOR = (Field("SIG_ID", 0, 5), Field("OIE", 8), Field("GE", 16), Field("GPOL", 17, 2), Field("GNBREQ", 19, 5))

REGISTERS: tuple[Register, ...] = (
    *(Register(f"C{n}CR", 4 * n, 0, _CHANNEL, logged=False) for n in range(CHANNELS)),
    Register("CSR", 0x080, access=Access.RO, logged=False),
    Register("CFR", 0x084, access=Access.PULSE, logged=False),
    *(Register(f"RG{n}CR", 0x100 + 4 * n, 0, _GENERATOR, logged=False) for n in range(GENERATORS)),
    Register("RGSR", 0x140, access=Access.RO, logged=False),
    Register("RGCFR", 0x144, access=Access.PULSE, logged=False),
    Register("HWCFGR2", 0x3EC, 0x8, access=Access.RO),
    Register("HWCFGR1", 0x3F0, 0x08086C10, access=Access.RO),
    Register("VERR", 0x3F4, 0x11, access=Access.RO),
    Register("IPIDR", 0x3F8, 0x00100011, access=Access.RO),
    Register("SIDR", 0x3FC, 0xA3C5DD01, access=Access.RO),
)


class Dmamux(RegisterBlock):
    """The request multiplexer; `streams` are told the level of the request that is routed to them, by channel."""

    registers: ClassVar[tuple[Register, ...]] = REGISTERS

    def __init__(self, base: int, log: EventLog, streams: Sequence[Output], name: str = "dmamux") -> None:
        super().__init__(name, base, log)
        self._streams = streams
        self._high: set[int] = set()

    def request(self, identity: int) -> Output:
        """The input with the number `identity` (DMAREQ_ID)."""
        return lambda level: self._set(identity, level)

    def written(self, register: Register, before: int, after: int, written: int, initiator: Initiator) -> None:  # noqa: ARG002
        """Another request may be routed now."""
        self._route()

    def reset(self) -> None:
        """Back to the reset values: nothing is routed."""
        super().reset()
        self._route()

    def save_extra(self) -> tuple[int, ...]:
        """The requests that are high."""
        return tuple(sorted(self._high))

    def load_extra(self, extra: object) -> None:
        """Restore them; the streams have their own snapshot."""
        if not isinstance(extra, tuple) or not all(isinstance(identity, int) for identity in extra):
            raise EngineError(f"not a snapshot of block {self.name}", hint="restore into the SoC that was saved")
        self._high = set(extra)

    def _set(self, identity: int, level: bool) -> None:
        self._high.add(identity) if level else self._high.discard(identity)
        self._route()

    def _route(self) -> None:
        for name, stream in zip(_CHANNEL_NAMES, self._streams, strict=True):
            stream(self.value(name) & _REQUEST_ID in self._high)
