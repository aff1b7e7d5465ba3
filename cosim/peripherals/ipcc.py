"""IPCC of the STM32MP15: the mailbox between the Cortex-A7 (processor 1) and the Cortex-M4 (processor 2), six channels.

Sources: RM0436 (IPCC) as quoted by ST's CMSIS header and SVD, Linux drivers/mailbox/stm32-ipcc.c. Where the SVD and the
header differ (C2CR.TXFIE, reset of C2SCR) the header and the driver are followed.
Each channel has one flag per direction: the sender sets it (CHnS in its own SCR), the receiver clears it (CHnC in its
own SCR). The receiver's interrupt is high while an unmasked flag is set, the sender's while an unmasked one is clear.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from cosim.access import Initiator
from cosim.events import EventLog
from cosim.interrupts import Output
from cosim.registers import Access, Field, Register, RegisterBlock

CHANNELS = 6
_ALL = (1 << CHANNELS) - 1
_RXOIE, _TXFIE = 1 << 0, 1 << 16


def _processor(number: int, other: int) -> tuple[Register, ...]:
    base = 0x10 * (number - 1)
    set_clear = (Field("CHC", 0, CHANNELS), Field("CHS", 16, CHANNELS))
    return (
        Register(f"C{number}CR", base, 0, (Field("RXOIE", 0), Field("TXFIE", 16)), logged=False),
        Register(
            f"C{number}MR",
            base + 0x4,
            0xFFFFFFFF,
            (Field("CHOM", 0, CHANNELS), Field("CHFM", 16, CHANNELS)),
            logged=False,
        ),
        Register(f"C{number}SCR", base + 0x8, 0, set_clear, Access.PULSE, logged=False),
        Register(f"C{number}TOC{other}SR", base + 0xC, 0, (Field("CHF", 0, CHANNELS),), Access.RO, logged=False),
    )


REGISTERS: tuple[Register, ...] = (
    *_processor(1, 2),
    *_processor(2, 1),
    Register("HWCFGR", 0x3F0, CHANNELS, access=Access.RO),
    Register("VER", 0x3F4, 0x10, access=Access.RO),
    Register("ID", 0x3F8, 0x00100071, access=Access.RO),
    Register("SID", 0x3FC, 0xA3C5DD01, access=Access.RO),
)


class Ipcc(RegisterBlock):
    """The mailbox; `outputs` has its four interrupts by name: Rx0, Tx0 (Cortex-A7), Rx1, Tx1 (Cortex-M4)."""

    registers: ClassVar[tuple[Register, ...]] = REGISTERS
    output_names: ClassVar[tuple[str, ...]] = ("Rx0", "Tx0", "Rx1", "Tx1")

    def __init__(self, base: int, log: EventLog, outputs: Mapping[str, Output], name: str = "ipcc") -> None:
        super().__init__(name, base, log)
        self._outputs = outputs

    def written(self, register: Register, before: int, after: int, written: int, initiator: Initiator) -> None:  # noqa: ARG002
        """SCR sets the writer's own flags and clears the other's; everything may move the interrupts."""
        for number, other in ((1, 2), (2, 1)):
            if register.name == f"C{number}SCR":
                own, theirs = f"C{number}TOC{other}SR", f"C{other}TOC{number}SR"
                self.poke(own, self.value(own) | (written >> 16 & _ALL))
                self.poke(theirs, self.value(theirs) & ~(written & _ALL))
        self._update()

    def reset(self) -> None:
        """Back to the reset values: all channels free, all masked."""
        super().reset()
        self._update()

    def load_extra(self, extra: object) -> None:  # noqa: ARG002
        """The interrupts follow the restored registers."""
        self._update()

    def _update(self) -> None:
        for number, other in ((1, 2), (2, 1)):
            control, mask = self.value(f"C{number}CR"), self.value(f"C{number}MR")
            occupied = self.value(f"C{other}TOC{number}SR") & ~mask & _ALL
            free = ~self.value(f"C{number}TOC{other}SR") & ~(mask >> 16) & _ALL
            self._outputs[f"Rx{number - 1}"](bool(control & _RXOIE and occupied))
            self._outputs[f"Tx{number - 1}"](bool(control & _TXFIE and free))
