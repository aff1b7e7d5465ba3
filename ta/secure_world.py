"""The secure world as the machine around it sees it: boot it, hand it SMCs, save and restore it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ta.message import MessageServer
from ta.ports import SecureBus, Sink
from ta.profile import FirewallProfile, Profile, Settings
from ta.registered_memory import Registration
from ta.remoteproc_pta import PtaSnapshot, RemoteprocPta
from ta.remoteproc_ta import FirmwareState
from ta.secure_boot import configure_machine
from ta.shared_memory import SharedMemory
from ta.signature import PublicKey
from ta.smc import Registers, SecureMonitor
from ta.tee_core import CoreState, TeeCore


@dataclass(frozen=True)
class SecureWorldState:
    """A snapshot of the secure world; memories and registers belong to the machine's own snapshot."""

    core: CoreState
    pta: PtaSnapshot
    shared_reads: int
    registered: tuple[Registration, ...]


def _ignore_power_off() -> None:
    """For machines that notice SYSTEM_OFF by its event."""


class SecureWorld:
    """Secure monitor, TEE core, Trusted Application and PTA over one bus.

    `public_key` is the device's verification key; `power_off` is called when the normal world asks for SYSTEM_OFF.
    """

    def __init__(
        self,
        bus: SecureBus,
        public_key: PublicKey,
        *,
        profile: Profile,
        firewall: FirewallProfile,
        sink: Sink,
        power_off: Callable[[], None] = _ignore_power_off,
        settings: Settings | None = None,
    ) -> None:
        settings = settings or Settings()
        self.shared_memory = SharedMemory(bus)
        self._bus = bus
        self._pta = RemoteprocPta(
            bus=bus,
            key=public_key,
            profile=profile,
            firewall=firewall,
            sink=sink,
            lowest_version=settings.lowest_version,
        )
        self.core = TeeCore(self._pta, self.shared_memory, profile, sink, settings)
        self._messages = MessageServer(self.shared_memory, self.core, settings.shm, sink)
        self._monitor = SecureMonitor(self._messages, settings.shm, power_off, sink)

    def boot(self) -> None:
        """What BL2 and OP-TEE do before the normal world runs. Raises `BusFault`, or `RefusedError` without TZEN."""
        configure_machine(self._bus)
        self._pta.probe()

    def smc(self, registers: tuple[int, ...]) -> Registers:
        """Serve one `smc #0` of the normal world: r0..r7 in, r0..r3 out; the others keep their values."""
        return self._monitor.call(registers)

    def firmware_state(self, processor_id: int = 0) -> FirmwareState:
        """The state of the remote processor's firmware in the TA."""
        return self.core.firmware_state(processor_id)

    def save(self) -> SecureWorldState:
        """The complete state as an immutable value."""
        return SecureWorldState(
            self.core.save(), self._pta.save(), self.shared_memory.reads, self._messages.registered.save()
        )

    def load(self, state: SecureWorldState) -> None:
        """Restore what `save` returned."""
        self.core.load(state.core)
        self._pta.load(state.pta)
        self.shared_memory.reads = state.shared_reads
        self._messages.registered.load(state.registered)
