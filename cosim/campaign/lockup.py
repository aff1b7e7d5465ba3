"""Lockup of the M4: every instruction that it comes to is undefined, until a fault of its fault handler stops it."""

from __future__ import annotations

from cosim.access import Initiator
from cosim.campaign.glitch import m4_code_address
from cosim.engine import CoreState
from cosim.soc import Soc

#: UDF #0, permanently undefined (ARMv7-M manual, A7.7.194).
_UNDEFINED = b"\x00\xde"
#: UsageFault at the most, then HardFault, then lockup; each step is one instruction and the entry of its handler.
_MOST_FAULTS = 8
_STEP_PS = 10_000


def lock_up(soc: Soc) -> None:
    """Bring a running M4 into lockup; its code is afterwards as it was. A core that does not run is left alone."""
    replaced: list[tuple[int, bytes]] = []
    try:
        while soc.m4.state is CoreState.RUNNING and len(replaced) < _MOST_FAULTS:
            address = m4_code_address(soc.m4.pc)
            replaced.append((address, soc.debug_read(address, len(_UNDEFINED))))
            soc.bus.write(Initiator.DEBUG, address, _UNDEFINED)
            soc.run(budget_ps=_STEP_PS)
    finally:
        for address, before in reversed(replaced):
            soc.bus.write(Initiator.DEBUG, address, before)
