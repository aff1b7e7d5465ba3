"""RNG of the STM32MP15: random words that follow from a seed, so that every run of a machine gets the same ones.

Source: RM0436 (RNG) as quoted by ST's CMSIS header. Words are SHA-256 of seed, block name and a counter. A word is
ready at once while RNGEN is set; clock and seed errors do not happen. Not for cryptography.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import ClassVar

from cosim.access import Initiator
from cosim.errors import EngineError
from cosim.events import EventLog
from cosim.interrupts import Output
from cosim.registers import Access, Field, Register, RegisterBlock, bits

_RNGEN, _IE, _DRDY = 1 << 2, 1 << 3, 1 << 0

REGISTERS: tuple[Register, ...] = (
    Register("CR", 0x0, 0, bits({2: "RNGEN", 3: "IE", 5: "CED"}), logged=False),
    Register(
        "SR",
        0x4,
        0,
        (
            *(Field(name, low, access=Access.RO) for low, name in enumerate(("DRDY", "CECS", "SECS"))),
            Field("CEIS", 5, access=Access.RO),
            Field("SEIS", 6, access=Access.RO),
        ),
        logged=False,
    ),
    Register("DR", 0x8, access=Access.RO, logged=False),
    Register("HWCFGR", 0x3F0, 0x6, access=Access.RO),
    Register("VERR", 0x3F4, 0x21, access=Access.RO),
    Register("IPIDR", 0x3F8, 0x00170041, access=Access.RO),
    Register("SIDR", 0x3FC, 0xA3C5DD01, access=Access.RO),
)


class Rng(RegisterBlock):
    """One generator; `outputs` has its interrupt by name: Irq."""

    registers: ClassVar[tuple[Register, ...]] = REGISTERS
    computed: ClassVar[frozenset[str] | None] = frozenset({"DR", "SR"})
    output_names: ClassVar[tuple[str, ...]] = ("Irq",)

    def __init__(self, base: int, log: EventLog, outputs: Mapping[str, Output], name: str, seed: int = 0) -> None:
        super().__init__(name, base, log)
        self._outputs = outputs
        self._seed = seed
        self._drawn = 0

    def read_register(self, register: Register, initiator: Initiator) -> int:
        """DR gives the next word while the generator is enabled, else 0; a debugger only looks."""
        enabled = bool(self.value("CR") & _RNGEN)
        if register.name == "SR":
            return _DRDY if enabled else 0
        if register.name != "DR" or not enabled:
            return super().read_register(register, initiator)
        text = f"{self._seed}/{self.name}/{self._drawn}".encode()
        self._drawn += initiator is not Initiator.DEBUG
        return int.from_bytes(hashlib.sha256(text).digest()[:4], "little")

    def written(self, register: Register, before: int, after: int, written: int, initiator: Initiator) -> None:  # noqa: ARG002
        """The interrupt is high while enabled, as a word is always ready."""
        self._update()

    def reset(self) -> None:
        """Back to the reset values; the sequence goes on."""
        super().reset()
        self._update()

    def save_extra(self) -> int:
        """How many words were drawn."""
        return self._drawn

    def load_extra(self, extra: object) -> None:
        """Restore it."""
        if not isinstance(extra, int):
            raise EngineError(f"not a snapshot of block {self.name}", hint="restore into the SoC that was saved")
        self._drawn = extra
        self._update()

    def _update(self) -> None:
        control = self.value("CR")
        self._outputs["Irq"](bool(control & _RNGEN and control & _IE))
