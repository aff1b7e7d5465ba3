"""The benchmarks of decisions and campaigns do what they say and refuse to time something else. No number is judged."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cosim.bench import campaigns, decisions
from cosim.bench.__main__ import SECTIONS
from cosim.bench.measurement import QUICK, Measurement
from cosim.campaign.model import CampaignSpec, Kind
from cosim.campaign.run import CHUNK
from cosim.errors import EngineError
from cosim.resources import TEST_KEY, firmware_file, key_file
from cosim.testing import bound_image
from ta.image_elf import read_elf
from ta.keys import load_private_key
from ta.profile import Profile

TINY = replace(QUICK, decisions=1, mutations=CHUNK + 1, races=CHUNK + 1)


def test_the_timed_image_has_thirty_kibibytes_to_load() -> None:
    loads = read_elf(decisions.large_elf()).loads

    assert [(load.p_paddr, load.p_filesz) for load in loads] == [(0, 8), (0x10000000, 30 * 1024)]


@pytest.mark.parametrize("profile", Profile)
def test_accepted_and_refused_images_are_timed_for_each_profile(profile: Profile) -> None:
    rates = decisions.decision_rates(load_private_key(key_file(TEST_KEY)), profile, TINY)

    assert list(rates) == ["accepted", "refused"]
    assert all(rate > 0 for rate in rates.values())


def test_a_decision_that_goes_the_other_way_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    # Without damage to it, what shall be refused is accepted.
    monkeypatch.setattr(decisions, "flip", lambda image, _offset: image)

    with pytest.raises(EngineError, match="did not decide"):
        decisions.decision_rates(load_private_key(key_file(TEST_KEY)), Profile.HARDENED, TINY)


def test_a_campaign_of_a_single_chunk_has_no_rate() -> None:
    image = bound_image(firmware_file("demo_m4.elf").read_bytes())

    with pytest.raises(EngineError, match="too short"):
        campaigns.case_rate(CampaignSpec(image, kinds=(Kind.MUTATION,), limit=CHUNK), 1)


def test_rates_of_a_campaign_stand_beside_a_fresh_process_and_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(campaigns, "KINDS", {Kind.MUTATION: "mutation"})
    monkeypatch.setattr(campaigns, "JOBS", (1, 1))  # starting processes takes seconds, and they have tests of their own

    found = [f for f in campaigns.measure_campaigns(TINY) if isinstance(f, Measurement)]

    assert [f.name for f in found] == ["mutation: a fresh process each", "mutation: --jobs 1", "mutation: --jobs 1"]
    fresh, one, again = found
    assert one.ratios[0].value == pytest.approx(one.value / fresh.value)
    assert [ratio.yardstick for ratio in again.ratios] == ["a fresh process each", "one process"]
    assert again.ratios[1].value == pytest.approx(again.value / one.value)


def test_both_are_sections_of_the_benchmark() -> None:
    assert {"decisions", "campaigns"} <= set(SECTIONS)
