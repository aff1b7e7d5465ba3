"""The benchmarks of decisions and campaigns do what they say and refuse to time something else. No number is judged."""

from __future__ import annotations

from collections.abc import Iterator
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


def test_a_campaign_has_rates_of_wall_and_of_processor_time() -> None:
    image = bound_image(firmware_file("demo_m4.elf").read_bytes())

    rates = campaigns.case_rates(CampaignSpec(image, kinds=(Kind.MUTATION,), limit=CHUNK + 1), 1)

    assert min(rates.wall, rates.processor) > 0


def test_a_campaign_of_a_single_chunk_has_no_rate() -> None:
    image = bound_image(firmware_file("demo_m4.elf").read_bytes())

    with pytest.raises(EngineError, match="too short"):
        campaigns.case_rates(CampaignSpec(image, kinds=(Kind.MUTATION,), limit=CHUNK), 1)


def test_a_rate_counts_what_came_after_the_first_chunk_over_the_time_since_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 100.0

    def chunks(*_arguments: object, **_options: object) -> Iterator[list[None]]:
        nonlocal now
        for seconds, cases in ((50, 64), (2, 64), (3, 11)):
            now += seconds
            yield [None] * cases

    monkeypatch.setattr(campaigns, "run_campaign", chunks)
    monkeypatch.setattr(campaigns, "Campaign", lambda _spec: None)
    monkeypatch.setattr("time.perf_counter", lambda: now)
    monkeypatch.setattr("time.process_time", lambda: now / 2)

    assert campaigns.case_rates(CampaignSpec(b""), 1) == campaigns.Rates((64 + 11) / 5, (64 + 11) / 2.5)


def test_rates_of_a_campaign_stand_beside_a_fresh_process_and_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(campaigns, "KINDS", {Kind.MUTATION: "mutation"})
    rates = {1: campaigns.Rates(100.0, 300.0), 2: campaigns.Rates(150.0, 1.0)}
    monkeypatch.setattr(campaigns, "case_rates", lambda _spec, jobs: rates[jobs])

    found = [f for f in campaigns.measure_campaigns(TINY) if isinstance(f, Measurement)]

    names = ["a fresh process each", "one process", "--jobs 1", "--jobs 2"]
    assert [f.name for f in found] == [f"mutation: {name}" for name in names]
    fresh, one, _, two = found
    assert [ratio.yardstick for ratio in one.ratios] == ["a fresh process each"]
    assert one.ratios[0].value == pytest.approx(300 / fresh.value)
    assert [(ratio.yardstick, ratio.value) for ratio in two.ratios] == [("--jobs 1", 1.5)]


def test_both_are_sections_of_the_benchmark() -> None:
    assert {"decisions", "campaigns"} <= set(SECTIONS)
