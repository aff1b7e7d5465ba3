"""The settings of the secure world: how the TA decides, what the PTA does to the firewall, how OP-TEE was built."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Profile(enum.Enum):
    """How the Trusted Application decides.

    `UPSTREAM` answers exactly as the reference TA does, weaknesses included. `HARDENED` closes them: it decides from
    signed bytes that it read once, loads all of them or nothing, and leaves nothing of an image behind when a load
    fails or the processor stops (docs/weaknesses.md).
    """

    UPSTREAM = "upstream"
    HARDENED = "hardened"


class FirewallProfile(enum.Enum):
    """What the PTA does to the memories of the remote processor.

    `OPEN`: nothing, as upstream OP-TEE on STM32MP15; they stay non-secure. `ISOLATED`: as the PTA of ST's vendor tree;
    RETRAM, SRAM1 and SRAM2 are secure while an image is loaded and belong to the MCU alone while it runs.
    """

    OPEN = "open"
    ISOLATED = "isolated"


class ShmBuild(enum.Enum):
    """Which shared memory OP-TEE was built to offer (CFG_CORE_RESERVED_SHM, CFG_CORE_DYN_SHM).

    `RESERVED`: a carve-out (capabilities 0x11). `DYNAMIC`: the normal world registers its own pages (capabilities
    0x54), as newer trees build for STM32MP15. `BOTH` (0x55): OP-TEE's general default, and what the trees build that
    lay the DDR of the 512 MiB boards out as this platform does.
    """

    RESERVED = "reserved"
    DYNAMIC = "dynamic"
    BOTH = "both"

    @property
    def reserved(self) -> bool:
        """Whether there is a carve-out."""
        return self is not ShmBuild.DYNAMIC

    @property
    def dynamic(self) -> bool:
        """Whether the normal world can register pages."""
        return self is not ShmBuild.RESERVED


class ClientApi(enum.Enum):
    """The command set of the TA.

    `CURRENT`: upstream. `VENDOR_2020`: the older tree of the vendor; a session opens without parameter, commands 1
    to 5 only, and a LOAD_FW in LOADED is refused.
    """

    CURRENT = "current"
    VENDOR_2020 = "vendor-2020"


class PlatformTlvs(enum.Enum):
    """Whether the hardened profile takes an image that does not name its processor, version and resource table."""

    OPTIONAL = "optional"
    REQUIRED = "required"


@dataclass(frozen=True)
class Settings:
    """How OP-TEE was built, and what the device demands; `lowest_version` is the rollback counter at power-on."""

    shm: ShmBuild = ShmBuild.BOTH
    api: ClientApi = ClientApi.CURRENT
    platform_tlvs: PlatformTlvs = PlatformTlvs.OPTIONAL
    lowest_version: int = 0
