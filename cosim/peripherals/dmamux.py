"""DMAMUX1 of the STM32MP15: which peripheral's requests reach which DMA stream, as stored settings.

Source: RM0436 (DMAMUX) as quoted by ST's CMSIS header and SVD. No block here makes requests, so nothing is routed and
overruns do not happen.
"""

from __future__ import annotations

from typing import ClassVar

from cosim.events import EventLog
from cosim.registers import Access, Field, Register, RegisterBlock

CHANNELS, GENERATORS = 16, 8

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
    """The request multiplexer."""

    registers: ClassVar[tuple[Register, ...]] = REGISTERS

    def __init__(self, base: int, log: EventLog, name: str = "dmamux") -> None:
        super().__init__(name, base, log)
