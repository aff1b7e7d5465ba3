"""The two settings of the secure world: how the TA decides, and what the PTA does to the firewall."""

from __future__ import annotations

import enum


class Profile(enum.Enum):
    """How the Trusted Application decides.

    `UPSTREAM` answers exactly as the reference TA does, weaknesses included. `HARDENED` reads every untrusted field
    once, checks every length before it uses it, refuses where upstream dies, and leaves nothing of an image behind
    when its load fails.
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
