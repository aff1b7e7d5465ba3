"""Faults: one decision of the TA, or one instruction of the client or the firmware, goes wrong."""

from __future__ import annotations

import pytest
from test_campaign import spec

from cosim.campaign.decisions import decisions
from cosim.campaign.fault import DecisionFaults
from cosim.campaign.glitch import InstructionGlitches, client_glitches, firmware_glitches
from cosim.campaign.interruption import Interruption
from cosim.campaign.model import DEFAULT_KINDS, CaseId, CaseResult, Kind, Verdict
from cosim.campaign.run import Campaign
from cosim.campaign.sequence import Sequences
from cosim.campaign.target import Target
from cosim.events import ExceptionTaken
from ta.events import CommandReturned
from ta.profile import Profile


@pytest.fixture(scope="module")
def hardened() -> Target:
    return Target(spec(Kind.FAULT))


@pytest.fixture(scope="module")
def upstream() -> Target:
    return Target(spec(Kind.FAULT, profile=Profile.UPSTREAM))


@pytest.fixture(scope="module")
def client(hardened: Target) -> InstructionGlitches:
    return client_glitches(hardened)


def sample(faults: DecisionFaults | InstructionGlitches, cases: int) -> list[tuple[Verdict, str]]:
    indices = range(0, faults.exhaustive, max(1, faults.exhaustive // cases))
    return [(judgement.verdict, what) for judgement, what in (faults.run(index) for index in indices)]


def test_every_campaign_tries_faults() -> None:
    assert set(DEFAULT_KINDS) == set(Kind)


def test_no_sampled_single_decision_carries_the_security_of_the_hardened_profile(hardened: Target) -> None:
    results = sample(DecisionFaults(hardened), 120)

    assert [what for verdict, what in results if verdict is Verdict.BYPASS] == []
    assert {Verdict.DETECTED, Verdict.REFUSED, Verdict.BENIGN} <= {verdict for verdict, _ in results}


def test_the_comparison_of_a_digest_carries_the_security_of_upstream(upstream: Target) -> None:
    faults = DecisionFaults(upstream)
    turned = "`if not hmac.compare_digest(actual, sha256):` not taken"
    runs = (faults.run(index) for index in range(faults.exhaustive // 2, faults.exhaustive))

    judgement, what = next((j, what) for j, what in runs if turned in what)

    assert what.startswith("first byte of segment 0 changed, old hash table")
    assert judgement.verdict is Verdict.BYPASS
    assert "the signed image has 0x" in judgement.evidence


def test_the_sources_of_the_ta_have_decisions_that_turn_both_ways_or_are_skipped() -> None:
    effects = {jump.effect for decision in decisions().values() for jump in decision.jumps}

    assert effects == {"taken", "not taken", "skipped"}
    assert not [place for place in decisions() if place[0].endswith(("heap.py", "errors.py"))]


def test_glitches_of_the_client_change_what_it_does_and_let_nothing_through(
    hardened: Target, client: InstructionGlitches
) -> None:
    refused = aborted = 0
    for index in range(0, client.exhaustive, client.exhaustive // 60):
        judgement, _ = client.run(index)
        assert judgement.verdict is not Verdict.BYPASS
        refused += any(answer.result for answer in hardened.soc.log.of(CommandReturned))
        aborted += bool(hardened.soc.log.of(ExceptionTaken))
    assert refused > 5
    assert aborted > 0


def test_a_glitch_is_for_one_execution_only(client: InstructionGlitches) -> None:
    first = [client.run(index) for index in (0, 1, 2, 3)]

    assert [client.run(index) for index in (0, 1, 2, 3)] == first
    assert "skipped" in first[0][1]
    assert "flipped" in first[2][1]


def test_glitches_of_the_firmware_are_the_firmwares_own_affair(hardened: Target) -> None:
    firmware = firmware_glitches(hardened)
    results = sample(firmware, 40)

    assert {verdict for verdict, _ in results} == {Verdict.BENIGN}
    assert all(what.startswith("M4: ") for _, what in results)


def test_random_faults_come_in_pairs_that_follow_from_the_line() -> None:
    campaign = Campaign(spec(Kind.FAULT, limit=1))
    index = campaign.exhaustive()[Kind.FAULT] + 3

    one, again = (campaign.case(CaseId(Kind.FAULT, index, 5)) for _ in range(2))

    assert one == again
    assert " and " in one.what


def test_a_ta_that_dies_while_the_m4_executes_takes_the_m4_with_it_in_hardened_only(
    hardened: Target, upstream: Target
) -> None:
    def died(target: Target) -> CaseResult:
        attack = Interruption(target)
        cases = (attack.run(CaseId(Kind.INTERRUPTION, index, 0)) for index in _aborts(attack))
        return next(result for result in cases if "(command_invoked)" in result.what)

    def _aborts(attack: Interruption) -> range:
        """From the middle on: the M4 is started by then."""
        return range(attack.exhaustive // 2, attack.exhaustive)

    assert died(hardened).verdict is Verdict.BENIGN
    assert died(upstream).verdict in (Verdict.HANG, Verdict.BYPASS)


def test_the_power_fails_and_the_m4_crashes_while_the_m4_executes(hardened: Target) -> None:
    attack = Interruption(hardened)
    middle = range(attack.exhaustive * 3 // 5, attack.exhaustive * 3 // 4)
    results = [attack.run(CaseId(Kind.INTERRUPTION, index, 0)) for index in middle]
    executing = [r for r in results if "(the M4 executes)" in r.what]

    assert len(executing) == 10
    assert [r for r in results if r.verdict is not Verdict.BENIGN] == []


def test_a_second_client_gets_neither_its_image_started_nor_the_first_ones_replaced(hardened: Target) -> None:
    attack = Sequences(hardened)

    def named(*acts: str) -> CaseResult:
        results = (attack.run(CaseId(Kind.SEQUENCE, index, 0)) for index in range(attack.exhaustive))
        return next(result for result in results if result.what == "; ".join(acts))

    load, start = "the second client: LOAD_FW", "the second client: START_FW"
    assert named(load, start).verdict is Verdict.DETECTED
    assert named("LOAD_FW", start).verdict is Verdict.BENIGN  # one session serves both: it is the first one's image
    assert named("LOAD_FW", load).verdict is Verdict.REFUSED
