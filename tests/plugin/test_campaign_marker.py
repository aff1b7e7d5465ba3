"""The fixture and the marker `cosim_campaign`, seen from a user's suite."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from cosim.cli import run as cosim

Run = Callable[..., pytest.RunResult]

HEAD = """
import pytest
from cosim.campaign.model import Kind
from cosim.resources import firmware_file

DEMO = firmware_file("demo_m4.elf")
"""
WEAK = '@pytest.mark.cosim(profile="upstream", firewall="open")\n'


def test_a_secure_world_that_holds_passes_and_the_counts_are_returned(run: Run) -> None:
    result = run(
        HEAD
        + """
@pytest.mark.cosim_campaign(kinds=["mutation", "sequence"], cases=12)
@pytest.mark.parametrize("path", [True, False])
def test_it(cosim_campaign, path):
    tally = cosim_campaign(DEMO if path else DEMO.read_bytes())
    assert (tally.total, tally.bypassed) == (24, 0)
    assert set(tally.counts) == {Kind.MUTATION, Kind.SEQUENCE}
"""
    )
    result.assert_outcomes(passed=2)


def test_each_bypass_is_a_line_of_the_failure_with_a_command_that_plays_it_again(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    marker = WEAK + '@pytest.mark.cosim_campaign(kinds="interruption", cases=40)\n'
    result = run(HEAD + marker + "def test_it(cosim_campaign):\n    cosim_campaign(DEMO)\n")
    text = result.stdout.str()

    result.assert_outcomes(failed=1)
    count = re.search(r"(\d+) of 40 cases got through under upstream and open:", text)
    assert count is not None
    text = text.split("short test summary info")[0]  # which repeats all of it where CI is set
    commands = re.findall(r"^    replay: cosim (campaign .*)$", text, re.MULTILINE)
    assert len(commands) == int(count[1]) > 0
    assert "Traceback" not in text
    capsys.readouterr()
    assert cosim(commands[0].split()) == 1
    case = commands[0].rsplit(" ", 1)[1]
    assert f"case:     {case}\n" in capsys.readouterr().out
    assert re.search(rf"^  {case}: .*: .*$", text, re.MULTILINE)


def test_the_cases_are_spread_over_the_whole_enumeration_and_random_ones_follow_the_seed(run: Run) -> None:
    result = run(
        HEAD
        + """
from cosim.campaign.model import CampaignSpec
from cosim.campaign.run import Campaign
from cosim.campaign.sample import spread
from cosim.testing import bound_image

def test_it():
    campaign = Campaign(CampaignSpec(bound_image(DEMO.read_bytes()), kinds=(Kind.SEQUENCE,), seed=9))
    size, few = campaign.sizes()[Kind.SEQUENCE], list(spread(campaign, 10))
    assert [case.index for case in few] == [size * n // 10 for n in range(10)]
    assert {case.seed for case in few if case.index < campaign.exhaustive()[Kind.SEQUENCE]} == {0}
    assert {case.seed for case in few if case.index >= campaign.exhaustive()[Kind.SEQUENCE]} == {9}
    assert [case.index for case in spread(campaign, None)] == list(range(size))
    assert len(list(spread(campaign, 10 * size))) == size
"""
    )
    result.assert_outcomes(passed=1)


def test_the_nearest_marker_wins_and_the_rest_is_kept(run: Run) -> None:
    result = run(
        HEAD
        + """
pytestmark = pytest.mark.cosim_campaign(kinds="mutation", cases=5)

@pytest.mark.cosim_campaign(cases=3)
def test_it(cosim_campaign):
    tally = cosim_campaign(DEMO)
    assert {kind: counter.total() for kind, counter in tally.counts.items()} == {Kind.MUTATION: 3}
"""
    )
    result.assert_outcomes(passed=1)


@pytest.mark.parametrize(
    "arguments", ["'mutation'", "kinds='nonsense'", "kinds=[]", "kinds=3", "cases=0", "cases=True", "seed=-1", "jobs=2"]
)
def test_a_wrong_setting_is_an_error_that_says_what_there_is(run: Run, arguments: str) -> None:
    result = run(HEAD + f"@pytest.mark.cosim_campaign({arguments})\ndef test_it(cosim_campaign): pass\n")

    result.assert_outcomes(errors=1)
    result.stdout.re_match_lines([r".*(takes keyword arguments only|a campaign has no \w+=)"])


def test_an_image_that_does_not_boot_is_no_pass(run: Run) -> None:
    source = "def test_it(cosim_campaign):\n    cosim_campaign(b'no firmware')\n"
    result = run(HEAD + source)

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*positive control failed*"])


def test_the_marker_is_documented(run: Run) -> None:
    run("", "--markers").stdout.fnmatch_lines(["@pytest.mark.cosim_campaign(kinds=*mutation*, cases=N, seed=N): *"])
