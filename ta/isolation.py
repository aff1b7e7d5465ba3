"""Firewall of the remote processor's memories through the ETZPC, as the PTA of ST's vendor OP-TEE drives it.

RETRAM, SRAM1 and SRAM2 are secure while an image is loaded, belong to the MCU alone while it runs, and come back to
the secure world, zeroed, when it stops. SRAM3 and SRAM4 carry the data shared with Linux and stay non-secure.
"""

from __future__ import annotations

import enum

from ta.events import MemoryWiped
from ta.memory_map import ETZPC_DECPROT0, ISOLATED_BANKS
from ta.ports import SecureBus, Sink, read32, write32
from ta.profile import FirewallProfile
from ta.results import RefusedError, TeeResult


class DecprotAttribute(enum.IntEnum):
    """The two-bit attribute of an ETZPC DECPROT field (RM0436, ETZPC_DECPROTx)."""

    S_RW = 0
    NS_R_S_W = 1
    MCU_ISOLATION = 2
    NS_RW = 3


def decprot_fields(attributes: dict[int, DecprotAttribute]) -> dict[int, tuple[int, int]]:
    """Register address → (mask, value) for a set of DECPROT identifiers."""
    registers: dict[int, tuple[int, int]] = {}
    for identifier, attribute in attributes.items():
        address = ETZPC_DECPROT0 + 4 * (identifier // 16)
        shift = 2 * (identifier % 16)
        mask, value = registers.get(address, (0, 0))
        registers[address] = (mask | 3 << shift, value | attribute << shift)
    return registers


def write_fields(bus: SecureBus, fields: dict[int, tuple[int, int]]) -> None:
    """Set some fields, as `decprot_fields` gives them, and leave the others as they are."""
    for address, (mask, value) in fields.items():
        write32(bus, address, read32(bus, address) & ~mask | value)


#: The fields of the isolated banks when all of them have an attribute.
_FIELDS = {
    attribute: decprot_fields({bank.decprot_id: attribute for bank in ISOLATED_BANKS}) for attribute in DecprotAttribute
}


class Isolation:
    """Who owns the isolated banks; does nothing under `FirewallProfile.OPEN`.

    It keeps no state: what the banks have now is read from the registers, before and after each change.
    """

    def __init__(self, bus: SecureBus, firewall: FirewallProfile, sink: Sink) -> None:
        self._bus = bus
        self._enabled = firewall is FirewallProfile.ISOLATED
        self._sink = sink

    def secure(self) -> None:
        """Take the banks from everyone but the secure world, before the first byte of an image is written.

        Raises SECURITY when the registers do not take it.
        """
        self._set(DecprotAttribute.S_RW)

    def isolate(self) -> None:
        """Give the banks to the MCU alone, just before it starts. Raises SECURITY when the registers do not take it."""
        self._set(DecprotAttribute.MCU_ISOLATION)

    def require(self, attribute: DecprotAttribute) -> None:
        """Insist on what the registers say. Raises SECURITY."""
        if self._enabled and not self._is(attribute):
            raise RefusedError(
                TeeResult.SECURITY,
                f"the memories of the processor are not {attribute.name} although they should be",
                hint="a write to ETZPC_DECPROTx had no effect: the field is locked, or a fault hit the secure world",
            )

    def reclaim(self, reason: str) -> None:
        """Take the banks back from the MCU and zero them."""
        if not self._enabled:
            return
        self.secure()
        for bank in ISOLATED_BANKS:
            self._bus.write(bank.pa, bytes(bank.size))
            self._sink(MemoryWiped(bank.name, bank.pa, bank.size, reason))

    def _set(self, attribute: DecprotAttribute) -> None:
        if not self._enabled:
            return
        if not self._is(attribute):
            write_fields(self._bus, _FIELDS[attribute])
        self.require(attribute)

    def _is(self, attribute: DecprotAttribute) -> bool:
        fields = _FIELDS[attribute].items()
        return all(read32(self._bus, address) & mask == value for address, (mask, value) in fields)
