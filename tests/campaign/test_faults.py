"""Faults: one decision of the TA, or one instruction of the client or the firmware, goes wrong."""

from __future__ import annotations

import pytest
from test_campaign import spec

from cosim.campaign.decisions import decisions
from cosim.campaign.fault import DecisionFaults
from cosim.campaign.glitch import InstructionGlitches, client_glitches, firmware_glitches
from cosim.campaign.interruption import ABORT, Interruption
from cosim.campaign.model import DEFAULT_KINDS, CaseId, CaseResult, Kind, Verdict
from cosim.campaign.run import Campaign
from cosim.campaign.sequence import Sequences
from cosim.campaign.target import Target
from cosim.events import CoreStopped, ExceptionTaken
from ta.events import CommandReturned, ProcessorStarted
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


def test_every_campaign_tries_single_faults_and_no_pairs_of_them() -> None:
    assert set(DEFAULT_KINDS) == set(Kind) - {Kind.FAULT_PAIR}


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


def test_a_random_fault_is_two_glitches_outside_the_secure_world() -> None:
    campaign = Campaign(spec(Kind.FAULT, limit=1))
    first = campaign.exhaustive()[Kind.FAULT]

    told = [campaign.case(CaseId(Kind.FAULT, first + number, 1)).what for number in range(6)]

    assert all(what.startswith(("A7 client: ", "M4: ")) for what in told)


def test_pairs_of_forced_decisions_are_a_kind_of_their_own() -> None:
    campaign = Campaign(spec(Kind.FAULT_PAIR))
    results = [campaign.case(CaseId(Kind.FAULT_PAIR, index, 3)) for index in range(8)]

    assert (campaign.exhaustive(), campaign.sizes()) == ({Kind.FAULT_PAIR: 0}, {Kind.FAULT_PAIR: 1000})
    assert all(result.what.count("ta/") == 2 for result in results)
    assert campaign.case(results[5].case) == results[5]


def test_every_bit_of_an_instruction_is_flipped_in_client_and_firmware(
    hardened: Target, client: InstructionGlitches
) -> None:
    for glitches in (client, firmware_glitches(hardened)):
        told = [glitches.run(index)[1] for index in range(18)]
        assert all(what.endswith(" skipped") for what in told[:2])
        assert [f"bit {bit} of" in what for bit, what in enumerate(told[2:])] == [True] * 16


def test_a_firmware_that_locks_up_is_still_stopped_wiped_and_booted_again(hardened: Target) -> None:
    attack = Interruption(hardened)
    results = []
    for index in range(attack.exhaustive // 2, attack.exhaustive):
        result = attack.run(CaseId(Kind.INTERRUPTION, index, 0))
        if "M4 lockup" not in result.what:
            continue
        results.append(result)
        stopped = [s.reason for s in hardened.soc.log.of(CoreStopped)]
        assert [reason for reason in stopped if reason.startswith("lockup")]
        assert len(hardened.soc.log.of(ProcessorStarted)) == 2

    assert [r.verdict for r in results] == [Verdict.BENIGN] * 5


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
    middle = range(attack.exhaustive // 2, attack.exhaustive * 9 // 10)
    results = [attack.run(CaseId(Kind.INTERRUPTION, index, 0)) for index in middle]
    executing = [r for r in results if "(the M4 executes)" in r.what]

    assert {action: sum(action in r.what for r in executing) for action in ("power cut", "M4 reset")} == {
        "power cut": 5,
        "M4 reset": 5,
    }
    assert [r for r in results if r.verdict is not Verdict.BENIGN] == []


def test_a_ta_that_is_to_abort_again_while_the_tee_core_cleans_up_after_it_is_aborted_once(hardened: Target) -> None:
    attack, first = Interruption(hardened), 29

    verdicts = {attack.interrupt({first: ABORT, first + later: ABORT}).verdict for later in range(1, 15)}

    assert verdicts == {Verdict.BENIGN}


def test_a_second_client_gets_neither_its_image_started_nor_the_first_ones_replaced(hardened: Target) -> None:
    attack = Sequences(hardened)

    def named(*acts: str) -> CaseResult:
        results = (attack.run(CaseId(Kind.SEQUENCE, index, 0)) for index in range(attack.exhaustive))
        return next(result for result in results if result.what == "; ".join(acts))

    load, start = "the second client: LOAD_FW", "the second client: START_FW"
    assert named(load, start).verdict is Verdict.DETECTED
    assert named("LOAD_FW", start).verdict is Verdict.BENIGN  # one session serves both: it is the first one's image
    assert named("LOAD_FW", load).verdict is Verdict.REFUSED
