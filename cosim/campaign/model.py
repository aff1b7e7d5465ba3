"""The vocabulary of a campaign: kinds of attack, verdicts, the name of a case, and what came of it."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from cosim.errors import UsageError
from ta.profile import FirewallProfile, Profile

#: No campaign counts further; bounds what a replay line may ask for.
MOST_CASES = 1 << 32
MOST_SEED = 1 << 64


class Kind(enum.Enum):
    """What is attacked."""

    MUTATION = "mutation"
    DOUBLE_FETCH = "double-fetch"
    INTERRUPTION = "interruption"
    FAULT = "fault"
    SEQUENCE = "sequence"
    FAULT_PAIR = "fault-pair"


#: What software in the normal world can do; a fault needs hardware.
SOFTWARE_KINDS = (Kind.MUTATION, Kind.DOUBLE_FETCH, Kind.INTERRUPTION, Kind.SEQUENCE)
#: What a campaign tries unless told otherwise. Pairs of faults are not among it: no profile promises to hold out.
DEFAULT_KINDS = (*SOFTWARE_KINDS, Kind.FAULT)


class Verdict(enum.Enum):
    """What became of one case; `docs/campaign.md` defines each."""

    DETECTED = "detected"
    REFUSED = "refused"
    BENIGN = "benign"
    HANG = "hang"
    BYPASS = "bypass"


@dataclass(frozen=True)
class CaseId:
    """The name of one case. Exhaustive cases do not depend on the seed, random ones do."""

    kind: Kind
    index: int
    seed: int

    def __str__(self) -> str:
        return f"{self.kind.value}:{self.index}:{self.seed}"

    @classmethod
    def parse(cls, line: str) -> CaseId:
        """The case that a replay line names. Raises `UsageError`."""
        parts = line.strip().split(":")
        kinds = {kind.value: kind for kind in Kind}
        if (
            len(parts) == 3
            and parts[0] in kinds
            and all(p.isascii() and p.isdigit() and len(p) < 21 for p in parts[1:])
        ):
            index, seed = int(parts[1]), int(parts[2])
            if index < MOST_CASES and seed < MOST_SEED:
                return cls(kinds[parts[0]], index, seed)
        raise UsageError(
            f"{line[:80]!r} names no case", hint="write kind:index:seed as the campaign printed it", option="replay"
        )


@dataclass(frozen=True)
class CaseResult:
    """One case: `what` was done, and the `evidence` for the verdict in words."""

    case: CaseId
    verdict: Verdict
    what: str
    evidence: str

    @property
    def bypass(self) -> bool:
        """Whether the attack got through."""
        return self.verdict is Verdict.BYPASS

    def as_dict(self) -> dict[str, object]:
        """The result as a JSON-ready object."""
        return {
            "replay": str(self.case),
            "kind": self.case.kind.value,
            "index": self.case.index,
            "seed": self.case.seed,
            "verdict": self.verdict.value,
            "what": self.what,
            "evidence": self.evidence,
        }

    @classmethod
    def from_dict(cls, value: Mapping[str, object]) -> CaseResult:
        """Read what `as_dict` wrote. Raises `KeyError`, `ValueError` or `UsageError` for anything else."""
        case = CaseId.parse(str(value["replay"]))
        return cls(case, Verdict(value["verdict"]), str(value["what"]), str(value["evidence"]))


@dataclass(frozen=True)
class CampaignSpec:
    """What is attacked and how. `limit` is the number of cases of each kind; None: each kind's own."""

    image: bytes
    profile: Profile = Profile.HARDENED
    firewall: FirewallProfile = FirewallProfile.ISOLATED
    kinds: tuple[Kind, ...] = DEFAULT_KINDS
    limit: int | None = None
    seed: int = 0


class Attack(Protocol):
    """One kind of attack on one target. Indices below `exhaustive` are enumerated, those behind are random."""

    kind: Kind

    @property
    def exhaustive(self) -> int:
        """How many cases the enumeration has."""
        ...

    @property
    def usual(self) -> int:
        """How many cases a campaign without limit runs: the enumeration and some random ones."""
        ...

    def run(self, case: CaseId) -> CaseResult:
        """Play one case and judge it. Raises `UsageError` for an index that this kind does not have."""
        ...
