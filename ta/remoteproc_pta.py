"""The remoteproc pseudo TA with its stm32 driver: the part of the secure world that touches memories and registers.

Modelled on `core/pta/stm32mp/remoteproc_pta.c` and `core/drivers/remoteproc/stm32_remoteproc.c` of OP-TEE. Protection
of the memories (`FirewallProfile.ISOLATED`) follows the PTA of ST's vendor tree, see `ta.isolation`.
"""

from __future__ import annotations

import enum
import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import rsa

from ta.errors import BusFault
from ta.events import MemoryWiped, ProcessorStarted, ProcessorStopped
from ta.image_format import SignType
from ta.isolation import DecprotAttribute, Isolation
from ta.memory_map import (
    RCC_MP_GCR,
    RCC_MP_GCR_BOOT_MCU,
    RCC_MP_GRSTCSETR,
    RCC_MP_GRSTCSETR_MCURST,
    RCC_TZCR,
    RCC_TZCR_MCKPROT,
    RCC_TZCR_TZEN,
    REGIONS,
    Region,
    find_region,
)
from ta.ports import SecureBus, Sink, read32, write32
from ta.profile import FirewallProfile, Profile
from ta.results import RefusedError, TeeResult
from ta.signature import PublicKey, confirm, verify_strict, verify_upstream

PTA_UUID = "54af4a68-19be-40d7-bbe6-8950350a8744"
M4_PROCESSOR_ID = 0
#: What a region holds when it holds nothing, by its size; to make that takes longer than to store it.
_ZEROS = {region.size: bytes(region.size) for region in REGIONS}


class PtaState(enum.Enum):
    """Whether the PTA released the processor; one state for all processor ids, as in the reference."""

    OFF = "OFF"
    ON = "ON"


@dataclass(frozen=True)
class PtaSnapshot:
    """The complete state of the PTA: processor state, writes, rollback counter, and what it knows of the signature.

    `verified` and `confirmed` are the signed digests that the first and the second verification accepted last.
    """

    state: PtaState
    writes: int
    lowest_version: int
    verified: bytes
    confirmed: bytes


class RemoteprocPta:
    """Serves the remoteproc TA. Every refusal is a `RefusedError` with the TEE result of the reference."""

    def __init__(
        self,
        *,
        bus: SecureBus,
        key: PublicKey,
        profile: Profile,
        firewall: FirewallProfile,
        sink: Sink,
        lowest_version: int = 0,
    ) -> None:
        self._bus = bus
        self._key = key
        self._profile = profile
        self._sink = sink
        self.isolation = Isolation(bus, firewall, sink)
        self.state = PtaState.OFF
        #: How many times bytes of an image, or their zero fill, were written to the processor's regions.
        self.writes = 0
        #: The rollback counter of the hardened profile: no image of a lower version is loaded.
        self.lowest_version = lowest_version
        self._verified = self._confirmed = b""

    def probe(self) -> None:
        """What the driver does at start: hold the processor, insist on a secure RCC, protect the MCU clocks and resets.

        Raises BAD_STATE where the reference panics.
        """
        self._hold(M4_PROCESSOR_ID)
        control = read32(self._bus, RCC_TZCR)
        if not control & RCC_TZCR_TZEN:
            raise RefusedError(
                TeeResult.BAD_STATE,
                "RCC_TZCR.TZEN is 0: the normal world controls the reset of the processor",
                hint="OP-TEE panics here unless it is built with CFG_INSECURE; set TZEN before the PTA starts",
            )
        write32(self._bus, RCC_TZCR, control | RCC_TZCR_MCKPROT)

    def capabilities(self, processor_id: int) -> None:
        """HW_CAPABILITIES: ELF images protected by a hash table, for the M4 only. Raises NOT_SUPPORTED."""
        if processor_id != M4_PROCESSOR_ID:
            raise RefusedError(
                TeeResult.NOT_SUPPORTED,
                f"remote processor 0x{processor_id:x} does not exist",
                hint="the Cortex-M4 is processor 0",
            )

    def verify_digest(self, processor_id: int, sign_type: SignType, digest: bytes, signature: bytes) -> None:
        """VERIFY_DIGEST. Raises NOT_SUPPORTED, BAD_STATE, SIGNATURE_INVALID or GENERIC."""
        self.capabilities(processor_id)
        self._require(PtaState.OFF)
        if self._profile is Profile.HARDENED:
            self._verified = self._confirmed = b""
            verify_strict(self._key, digest, signature, sign_type)
            self._verified = digest
            return
        if sign_type is not SignType.RSASSA_PKCS1_V1_5_SHA256 or not isinstance(self._key, rsa.RSAPublicKey):
            raise RefusedError(
                TeeResult.NOT_SUPPORTED,
                f"the PTA of STM32MP1 verifies RSA signatures with an RSA key only, not {sign_type.name}",
                hint="sign with an RSA key",
            )
        verify_upstream(self._key, digest, signature)

    def confirm_digest(self, sign_type: SignType, digest: bytes, signature: bytes) -> None:
        """The second decision over a signature, by other code than the first (A19). Raises SECURITY."""
        if not confirm(self._key, digest, signature, sign_type):
            raise RefusedError(
                TeeResult.SECURITY,
                "the second verification of the signature disagrees with the first: a check was skipped",
                hint="a fault hit the secure world, or someone made one",
            )
        self._confirmed = digest

    def da_to_pa(self, processor_id: int, da: int, size: int) -> int:
        """The A7 physical address of a device address range. Raises ACCESS_DENIED when no one region holds it."""
        region = self._region_of(processor_id, da, size)
        return region.pa + da - region.da

    def load_segment(self, processor_id: int, fetch: Callable[[], bytes], size: int, da: int, sha256: bytes) -> int:
        """LOAD_SEGMENT_SHA256: copy what `fetch` reads, then hash the copy where it lies; returns its physical address.

        On a mismatch the copy is zeroed. Raises BAD_STATE, ACCESS_DENIED or SECURITY.
        """
        self._require(PtaState.OFF)
        region = self._region_of(processor_id, da, size)
        pa = region.pa + da - region.da
        self.isolation.secure()
        self.writes += 1
        try:
            self._bus.write(pa, fetch())
            actual = hashlib.sha256(self._bus.read(pa, size)).digest()
        except BusFault as fault:
            raise _unmapped(fault) from fault
        if not hmac.compare_digest(actual, sha256):
            self._wipe(region.name, pa, size, "the SHA-256 of the loaded bytes is not the signed one")
            raise RefusedError(
                TeeResult.SECURITY,
                "SHA-256 of the loaded bytes does not match the signed hash table",
                hint="the segment was changed after signing, or while it was loaded",
                expected=sha256.hex(),
                actual=actual.hex(),
            )
        return pa

    def set_memory(self, processor_id: int, da: int, size: int, value: int) -> None:
        """SET_MEMORY; the reference turns every non-zero `value` into 1 (A11). Raises BAD_STATE or ACCESS_DENIED."""
        self._require(PtaState.OFF)
        pa = self.da_to_pa(processor_id, da, size)
        self.isolation.secure()
        self.writes += 1
        fill = value & 0xFF if self._profile is Profile.HARDENED else int(value != 0)
        try:
            self._bus.write(pa, bytes([fill]) * size)
        except BusFault as fault:
            raise _unmapped(fault) from fault

    def start(self, processor_id: int, digest: bytes = b"", version: int = 0) -> None:
        """FIRMWARE_START: hand the memories to the MCU, then set and clear BOOT_MCU. Raises BAD_STATE or GENERIC.

        BOOT_MCU is cleared at once so that a crashed processor is held instead of starting again by itself. Hardened
        insists that the signature over the image's `digest` was verified twice (SECURITY), whatever the TA believes,
        and counts its `version`.
        """
        self._require(PtaState.OFF)
        if processor_id != M4_PROCESSOR_ID:
            raise RefusedError(TeeResult.GENERIC, f"remote processor 0x{processor_id:x} does not exist")
        if self._profile is Profile.HARDENED:
            self._require_accepted(digest)
            self.raise_version(version)
        self.isolation.isolate()
        self.isolation.require(DecprotAttribute.MCU_ISOLATION)
        control = read32(self._bus, RCC_MP_GCR)
        write32(self._bus, RCC_MP_GCR, control | RCC_MP_GCR_BOOT_MCU)
        write32(self._bus, RCC_MP_GCR, control & ~RCC_MP_GCR_BOOT_MCU)
        self.state = PtaState.ON
        self._sink(ProcessorStarted(processor_id))

    def stop(self, processor_id: int) -> None:
        """FIRMWARE_STOP: hold and reset; isolated memories go back to secure and are zeroed. Raises BAD_STATE."""
        self._require(PtaState.ON)
        if processor_id != M4_PROCESSOR_ID:
            raise RefusedError(TeeResult.BAD_PARAMETERS, f"remote processor 0x{processor_id:x} does not exist")
        self._stopped("the processor was stopped")

    def release(self, processor_id: int, reason: str = "the firmware was released") -> None:
        """RELEASE: zero every region. Isolated banks stay secure afterwards, so nothing can be placed there meanwhile.

        Raises BAD_STATE while the processor runs, BAD_PARAMETERS for an unknown processor.
        """
        self._require(PtaState.OFF)
        if processor_id != M4_PROCESSOR_ID:
            raise RefusedError(TeeResult.BAD_PARAMETERS, f"remote processor 0x{processor_id:x} does not exist")
        self.wipe(reason)

    def wipe(self, reason: str) -> None:
        """Zero every region; isolated banks are secure from then on."""
        self.isolation.secure()
        for region in REGIONS:
            self._wipe(region.name, region.pa, region.size, reason)

    def prepare(self) -> None:
        """Before a load: the processor is held, whatever happened to it, and its memories hold nothing."""
        self._hold(M4_PROCESSOR_ID)
        self.wipe("before the load")

    def require_clean(self, reason: str) -> None:
        """Look whether anything is left in the regions, and if so zero them (again). Raises BAD_STATE in ON."""
        self._require(PtaState.OFF)
        self.isolation.secure()
        if not all(self._empty(region) for region in REGIONS):
            self.wipe(reason)

    def loaded(self, pa: int, size: int) -> bytes:
        """Bytes of the processor's memory as they lie there. Raises GENERIC."""
        try:
            return self._bus.read(pa, size)
        except BusFault as fault:
            raise _unmapped(fault) from fault

    def _empty(self, region: Region) -> bool:
        try:
            return self._bus.holds(region.pa, _ZEROS[region.size])
        except BusFault as fault:
            raise _unmapped(fault) from fault

    def raise_version(self, version: int) -> None:
        """Let no image older than `version` in from now on."""
        self.lowest_version = max(self.lowest_version, version)

    def forget(self) -> None:
        """The TA died: stop the processor and leave nothing of an image, whatever state it was in (A14)."""
        self._stopped("the TA died")

    def save(self) -> PtaSnapshot:
        """The complete state as an immutable value."""
        return PtaSnapshot(self.state, self.writes, self.lowest_version, self._verified, self._confirmed)

    def load(self, snapshot: PtaSnapshot) -> None:
        """Restore what `save` returned; the registers come back with the machine's own snapshot."""
        self.state, self.writes, self.lowest_version = snapshot.state, snapshot.writes, snapshot.lowest_version
        self._verified, self._confirmed = snapshot.verified, snapshot.confirmed

    def _stopped(self, reason: str) -> None:
        """Hold the processor and take its memories back; hardened zeroes all of them, upstream the isolated banks."""
        self._hold(M4_PROCESSOR_ID)
        self.state = PtaState.OFF
        if self._profile is Profile.HARDENED:
            self.wipe(reason)
        else:
            self.isolation.reclaim(reason)

    def _region_of(self, processor_id: int, da: int, size: int) -> Region:
        if processor_id != M4_PROCESSOR_ID:
            raise RefusedError(TeeResult.BAD_PARAMETERS, f"remote processor 0x{processor_id:x} does not exist")
        region = find_region(da, size)
        if region is None:
            raise RefusedError(
                TeeResult.ACCESS_DENIED,
                f"0x{da:08x}..0x{da + size:08x} is not inside one memory region of the Cortex-M4",
                hint="link for " + ", ".join(f"{r.name} 0x{r.da:08x}+0x{r.size:x}" for r in REGIONS),
                address=da,
            )
        return region

    def _require_accepted(self, digest: bytes) -> None:
        """Both verifications accepted the signature over this digest. Raises SECURITY."""
        for accepted in (self._verified, self._confirmed):
            if not digest or not hmac.compare_digest(digest, accepted):
                raise RefusedError(
                    TeeResult.SECURITY,
                    "no complete verification stands behind the image that is to be started",
                    hint="a fault hit the secure world, or someone made one",
                )

    def _require(self, state: PtaState) -> None:
        if self.state is not state:
            now = "running" if self.state is PtaState.ON else "not running"
            raise RefusedError(TeeResult.BAD_STATE, f"the processor is {now}")

    def _hold(self, processor_id: int) -> None:
        control = read32(self._bus, RCC_MP_GCR)
        write32(self._bus, RCC_MP_GCR, control & ~RCC_MP_GCR_BOOT_MCU)
        write32(self._bus, RCC_MP_GRSTCSETR, RCC_MP_GRSTCSETR_MCURST)
        self._sink(ProcessorStopped(processor_id))

    def _wipe(self, name: str, pa: int, size: int, reason: str) -> None:
        self._bus.write(pa, _ZEROS.get(size) or bytes(size))
        self._sink(MemoryWiped(name, pa, size, reason))


def _unmapped(fault: BusFault) -> RefusedError:
    return RefusedError(
        TeeResult.GENERIC, f"the PTA cannot reach the memory: {fault.message}", address=fault.fields.get("address")
    )
