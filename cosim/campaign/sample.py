"""A campaign as part of a test suite: some cases of each kind, spread over all of them, and a failure that replays."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from cosim.campaign.model import MOST_SEED, SOFTWARE_KINDS, CampaignSpec, CaseId, Kind
from cosim.campaign.report import Tally
from cosim.campaign.run import Campaign
from cosim.errors import UsageError

#: Bypasses that a failure lists; all of them count.
MOST_LISTED = 40


@dataclass(frozen=True)
class Sampling:
    """Which cases to play: kinds, how many of each (None: all), and the seed of random ones."""

    kinds: tuple[Kind, ...]
    cases: int | None
    seed: int


def sampling(settings: Mapping[str, object], seed: int) -> Sampling:
    """The sampling for `kinds` (a name or several), `cases` and `seed` (default: the one given).

    Raises UsageError (`option`) for an unknown setting or value.
    """
    names = {kind.value: kind for kind in Kind}
    kinds = settings.get("kinds", [kind.value for kind in SOFTWARE_KINDS])
    wanted = [kinds] if isinstance(kinds, str) else kinds
    if not isinstance(wanted, (list, tuple)) or not wanted or any(name not in names for name in wanted):
        raise _unknown("kinds", kinds, f"a list of {', '.join(names)}")
    cases, seed_given = settings.get("cases"), settings.get("seed", seed)
    if cases is not None and (type(cases) is not int or cases < 1):
        raise _unknown("cases", cases, "a number from 1 on")
    if type(seed_given) is not int or not 0 <= seed_given < MOST_SEED:
        raise _unknown("seed", seed_given, "a number of up to 64 bits")
    for name in settings.keys() - {"kinds", "cases", "seed"}:
        raise _unknown(name, settings[name], "left out; there are kinds, cases and seed")
    return Sampling(tuple(dict.fromkeys(names[name] for name in wanted)), cases, seed_given)


def _unknown(option: str, value: object, wanted: str) -> UsageError:
    return UsageError(f"a campaign has no {option}={value!r}", hint=f"{option} is to be {wanted}", option=option)


def spread(campaign: Campaign, cases: int | None) -> Iterator[CaseId]:
    """The cases to play: `cases` of each kind at equal distances from the first on, or all of them (None)."""
    exhaustive = campaign.exhaustive()
    for kind, size in campaign.sizes().items():
        wanted = size if cases is None else min(cases, size)
        for number in range(wanted):
            index = number * size // wanted
            yield CaseId(kind, index, 0 if index < exhaustive[kind] else campaign.spec.seed)


def replay_command(spec: CampaignSpec, file: str, case: CaseId) -> str:
    """The command that plays one case of a campaign over the image in `file` again."""
    settings = f"--profile {spec.profile.value} --firewall {spec.firewall.value}"
    return f"cosim campaign {shlex.quote(file)} {settings} --replay {case}"


def failure(spec: CampaignSpec, file: str, tally: Tally) -> str:
    """What a failed test says: how many cases got through, and the first of them with evidence and replay command."""
    count, settings = tally.bypassed, f"{spec.profile.value} and {spec.firewall.value}"
    lines = [f"{count} of {tally.total} cases got through under {settings}:"]
    for result in tally.bypasses[:MOST_LISTED]:
        lines.append(f"  {result.case}: {result.what}: {result.evidence}")
        lines.append(f"    replay: {replay_command(spec, file, result.case)}")
    if count > MOST_LISTED:
        lines.append(f"  and {count - MOST_LISTED} more")
    return "\n".join(lines)
