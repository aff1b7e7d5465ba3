"""What the secure world reports while it works: small frozen facts, one class per kind.

The co-simulation stamps them with time and puts them in its one event log; tests may collect them in a list.
Addresses named `da` are device addresses (as the Cortex-M4 sees them), those named `pa` are A7 physical addresses.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TaEvent:
    """Base of all secure-world events."""


@dataclass(frozen=True)
class SmcEntered(TaEvent):
    """An SMC reached the secure monitor. `name` is the OP-TEE or SMCCC name, or "UNKNOWN"."""

    function_id: int
    name: str
    arguments: tuple[int, ...]  # r1..r7


@dataclass(frozen=True)
class SmcReturned(TaEvent):
    """The secure monitor returned `results` (r0..r3) to the normal world."""

    function_id: int
    name: str
    results: tuple[int, ...]


@dataclass(frozen=True)
class SessionOpened(TaEvent):
    """OPEN_SESSION was answered; `session` is 0 when refused."""

    uuid: str
    session: int
    result: int
    result_name: str
    origin: int


@dataclass(frozen=True)
class SessionClosed(TaEvent):
    """CLOSE_SESSION was answered."""

    session: int
    result: int
    result_name: str


@dataclass(frozen=True)
class SharedMemoryRegistration(TaEvent):
    """REGISTER_SHM or UNREGISTER_SHM (`command_name`) was answered; `reason` says why it was refused ("" on success).

    `size` in bytes and `address` (A7 physical, of the first byte) are those of the buffer behind `cookie`, which lies
    in `pages` pages of 4 KiB; a refused command has the size that it asked for, and 0 for what is not known.
    """

    command_name: str
    cookie: int
    address: int
    size: int
    pages: int
    result: int
    result_name: str
    reason: str


@dataclass(frozen=True)
class CommandInvoked(TaEvent):
    """The TA is about to serve a command (`command_name` LOAD_FW, START_FW, …)."""

    session: int
    command: int
    command_name: str
    processor_id: int


@dataclass(frozen=True)
class CommandReturned(TaEvent):
    """The TA answered a command; `reason` says in words why it was refused ("" on success)."""

    session: int
    command: int
    command_name: str
    result: int
    result_name: str
    origin: int
    reason: str
    state: str  # TA state after the command: NOCTX, OFF, LOADED, STARTED


@dataclass(frozen=True)
class AuthenticationStep(TaEvent):
    """One step of the authentication of an image: `step` names it, `passed` says how it ended."""

    step: str  # "header", "tlv", "signature", "elf-header", "hash-table", "resource-table", …
    passed: bool
    detail: str


@dataclass(frozen=True)
class SegmentLoaded(TaEvent):
    """A PT_LOAD segment was copied and its SHA-256 (hex), taken over the copy, matched the signed one.

    `flags` are the p_flags of the signed record (1 execute, 2 write, 4 read); 0 when the reporter does not know them.
    """

    image: int
    segment: int
    da: int
    pa: int
    filesz: int
    memsz: int
    sha256: str
    flags: int = 0


@dataclass(frozen=True)
class SegmentRefused(TaEvent):
    """A PT_LOAD segment was refused; `reason` says why. `expected`/`actual` are SHA-256 hex, or ""."""

    image: int
    segment: int
    da: int
    filesz: int
    memsz: int
    reason: str
    expected: str
    actual: str


@dataclass(frozen=True)
class ResourceTableLocated(TaEvent):
    """The address and size that GET_RSC_TABLE will report; both 0 when the image has no table.

    `sha256` is over the `size` table bytes in the image file that was authenticated.
    """

    da: int
    pa: int
    size: int
    sha256: str


@dataclass(frozen=True)
class ImageAuthenticated(TaEvent):
    """LOAD_FW succeeded: everything that will run was authenticated. `sha256` is over the signed header and TLVs."""

    images: int
    segments: int
    sha256: str


@dataclass(frozen=True)
class MemoryWiped(TaEvent):
    """The secure world zeroed a range of the remote processor's memory."""

    region: str
    pa: int
    size: int
    reason: str


@dataclass(frozen=True)
class ProcessorStarted(TaEvent):
    """The PTA released the processor from hold boot."""

    processor_id: int


@dataclass(frozen=True)
class ProcessorStopped(TaEvent):
    """The PTA put the processor back into reset with hold boot."""

    processor_id: int


@dataclass(frozen=True)
class TaDied(TaEvent):
    """The TA instance panicked or made an access outside its memory; `weakness` names the item of the facts (A2, …)."""

    cause: str  # "SIGSEGV" or "PANIC"
    weakness: str
    detail: str
