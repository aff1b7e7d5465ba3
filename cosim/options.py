"""The one table of options: command-line flags, pytest flags, pytest ini keys and help texts come from here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cosim.soc import SocConfig
    from ta.keys import PublicKey


@dataclass(frozen=True)
class Option:
    """One option: `name` without dashes; no `choices` means free text; `default` None means not set."""

    name: str
    help: str
    default: str | None = None
    choices: tuple[str, ...] = ()
    metavar: str = "TEXT"

    @property
    def flag(self) -> str:
        """The flag of the command `cosim`."""
        return f"--{self.name}"

    @property
    def pytest_flag(self) -> str:
        """The flag of the pytest plugin."""
        return f"--cosim-{self.name}"

    @property
    def ini(self) -> str:
        """The key in a pytest configuration file."""
        return f"cosim_{self.name}"


ENGINE = Option("engine", "What runs the cores.", "unicorn", ("unicorn", "renode"))
PROFILE = Option(
    "profile",
    "How the TA decides: as the reference implementation does, or with its weaknesses closed.",
    "hardened",
    ("upstream", "hardened"),
)
FIREWALL = Option(
    "firewall",
    "Whether the M4's memories are isolated while an image is in them, or stay open to the normal world.",
    "isolated",
    ("open", "isolated"),
)
DENY = Option(
    "deny",
    "What a denied access does: read as zero and write ignored, or a bus error.",
    "razwi",
    ("razwi", "abort"),
)
SEED = Option(
    "seed",
    "Seed that the cosim_seed fixture derives each test's seed from: a number, or 'random' to have one picked.",
    "0",
    metavar="N|random",
)
ARTIFACTS = Option(
    "artifacts",
    "Directory for the event logs and consoles of failed tests.",
    metavar="DIR",
)

#: What `cosim boot` and the `cosim` marker take.
BOOT_OPTIONS = (ENGINE, PROFILE, FIREWALL, DENY)
#: What the pytest plugin takes.
PYTEST_OPTIONS = (ENGINE, SEED, ARTIFACTS)


def soc_config(settings: Mapping[str, str], public_key: PublicKey | None = None) -> SocConfig:
    """The `SocConfig` for values of `BOOT_OPTIONS` by name; missing ones have their defaults.

    Raises UsageError (`option`) for an unknown name and for a value that is not among the choices.
    """
    # The simulator is loaded when it is wanted, not when a command line or pytest declares its options.
    from cosim.access import Deny  # noqa: PLC0415
    from cosim.errors import UsageError  # noqa: PLC0415
    from cosim.soc import SocConfig  # noqa: PLC0415
    from ta.profile import FirewallProfile, Profile  # noqa: PLC0415

    choices = {option.name: option.choices for option in BOOT_OPTIONS}
    for name, value in settings.items():
        if value not in choices.get(name, ()):
            known = ", ".join(f"{name}: {' or '.join(values)}" for name, values in choices.items())
            raise UsageError(f"there is no option {name}={value!r}", hint=f"Known are {known}.", option=name)
    values = {option.name: str(option.default) for option in BOOT_OPTIONS} | dict(settings)
    return SocConfig(
        engine=values[ENGINE.name],
        profile=Profile(values[PROFILE.name]),
        firewall=FirewallProfile(values[FIREWALL.name]),
        deny=Deny(values[DENY.name]),
        public_key=public_key,
    )
