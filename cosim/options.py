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
    """One option: `name` without leading dashes; `default` None means not set.

    `choices` lists what it takes, `numbers` the least and the greatest number, `switch` says that it takes nothing.
    """

    name: str
    help: str
    default: str | None = None
    choices: tuple[str, ...] = ()
    metavar: str = "TEXT"
    numbers: tuple[int, int] | None = None
    switch: bool = False

    @property
    def key(self) -> str:
        """The name as a Python keyword."""
        return self.name.replace("-", "_")

    @property
    def takes(self) -> str:
        """The values that it takes, in words."""
        if self.switch:
            return "True|False"
        return "N" if self.numbers is not None else "|".join(self.choices)

    def check(self, value: object) -> bool:
        """Whether the option takes `value`."""
        if self.switch:
            return isinstance(value, bool)
        if self.numbers is not None:
            least, most = self.numbers
            return value is None or (type(value) is int and least <= value <= most)
        return value in self.choices

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

STRICT = Option("strict", "Make a peripheral register without a model a bus error.", switch=True)
TIMEOUT = Option(
    "timeout",
    "End the run after MS milliseconds of virtual time.",
    metavar="MS",
    numbers=(1, 3_600_000),
)
MAX_INSTRUCTIONS = Option(
    "max-instructions",
    "End the run when the M4 has executed N instructions (up to a turn of the cores more).",
    metavar="N",
    numbers=(1, 1 << 40),
)

ALIGNMENT = Option(
    "alignment",
    "Let the M4 fault at unaligned LDM, LDRD, VLDR and their like, as silicon does; slower.",
    switch=True,
)
TIMING = Option(
    "timing",
    "What virtual time follows: retired instructions, or modelled cycles of both cores.",
    "instructions",
    ("instructions", "cycles"),
)

#: What `cosim boot` and the `cosim` marker take.
BOOT_OPTIONS = (ENGINE, TIMING, PROFILE, FIREWALL, DENY, STRICT, ALIGNMENT, TIMEOUT, MAX_INSTRUCTIONS)
#: What the pytest plugin takes.
PYTEST_OPTIONS = (ENGINE, SEED, ARTIFACTS)


def soc_config(settings: Mapping[str, object], public_key: PublicKey | None = None) -> SocConfig:
    """The `SocConfig` for values of `BOOT_OPTIONS` by key; missing ones have their defaults.

    Raises UsageError (`option`) for an unknown key and for a value that the option does not take.
    """
    # The simulator is loaded when it is wanted, not when a command line or pytest declares its options.
    from cosim.access import Deny  # noqa: PLC0415
    from cosim.errors import UsageError  # noqa: PLC0415
    from cosim.soc import SocConfig  # noqa: PLC0415
    from ta.profile import FirewallProfile, Profile  # noqa: PLC0415

    known = {option.key: option for option in BOOT_OPTIONS}
    for key, value in settings.items():
        if key not in known or not known[key].check(value):
            hint = f"Known are {', '.join(f'{key}={option.takes}' for key, option in known.items())}."
            raise UsageError(f"there is no option {key}={value!r}", hint=hint, option=key)
    values = {option.key: option.default for option in BOOT_OPTIONS} | dict(settings)
    timeout, instructions = values[TIMEOUT.key], values[MAX_INSTRUCTIONS.key]
    return SocConfig(
        engine=str(values[ENGINE.key]),
        timing=str(values[TIMING.key]),
        profile=Profile(values[PROFILE.key]),
        firewall=FirewallProfile(values[FIREWALL.key]),
        deny=Deny(values[DENY.key]),
        public_key=public_key,
        strict=bool(values[STRICT.key]),
        alignment=bool(values[ALIGNMENT.key]),
        most_time_ps=timeout * 10**9 if isinstance(timeout, int) else None,
        most_instructions=instructions if isinstance(instructions, int) else None,
    )
