"""The secure monitor as a block: a doorbell for hosts whose A cores do not deliver `smc` by themselves.

Not silicon. Whoever intercepts the SMC writes r0..r7 to R0..R7, then anything to CALL, and finds r0..r3 of the answer
in R0..R3. Only secure accesses and the debugger reach it; the normal world's way is the instruction.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from cosim.access import Initiator
from cosim.events import EventLog
from cosim.registers import Access, Register, RegisterBlock, bank

REGISTERS: tuple[Register, ...] = (
    *bank("R", 0x00, 8, logged=False),
    Register("CALL", 0x20, access=Access.PULSE, logged=False),
)


class SecureMonitor(RegisterBlock):
    """The doorbell; `smc` serves one call."""

    registers: ClassVar[tuple[Register, ...]] = REGISTERS

    def __init__(
        self,
        base: int,
        log: EventLog,
        smc: Callable[[tuple[int, ...]], tuple[int, int, int, int]],
        name: str = "secureMonitor",
    ) -> None:
        super().__init__(name, base, log)
        self._smc = smc

    def written(self, register: Register, before: int, after: int, written: int, initiator: Initiator) -> None:  # noqa: ARG002
        """A write to CALL makes the call."""
        if register.name != "CALL":
            return
        results = self._smc(tuple(self.value(f"R{n}") for n in range(8)))
        for n, value in enumerate(results):
            self.poke(f"R{n}", value)
