"""Campaigns find what they look for, say so in one replayable line, and go on after an interrupt."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
from collections import Counter
from collections.abc import Callable
from multiprocessing.context import SpawnProcess
from multiprocessing.process import BaseProcess
from pathlib import Path
from xml.etree import ElementTree

import pytest

from cosim.campaign.model import SOFTWARE_KINDS, CampaignSpec, CaseId, CaseResult, Kind, Verdict
from cosim.campaign.run import CHUNK, Campaign, run_campaign
from cosim.cli import run
from cosim.errors import ImageError, UsageError
from cosim.resources import firmware_file
from cosim.testing import default_signer, flip
from ta.profile import FirewallProfile, Profile
from ta.signing import binding_tlvs

DEMO = str(firmware_file("demo_m4.elf"))


def demo_image() -> bytes:
    elf = firmware_file("demo_m4.elf").read_bytes()
    return default_signer().sign(elf, platform_tlvs=tuple(binding_tlvs([elf], 0, 1)))


def spec(*kinds: Kind, profile: Profile = Profile.HARDENED, limit: int | None = None) -> CampaignSpec:
    firewall = FirewallProfile.ISOLATED if profile is Profile.HARDENED else FirewallProfile.OPEN
    return CampaignSpec(demo_image(), profile, firewall, kinds, limit)


@pytest.fixture(scope="module")
def hardened() -> Campaign:
    return Campaign(spec(*SOFTWARE_KINDS))


@pytest.fixture(scope="module")
def upstream() -> Campaign:
    return Campaign(spec(*SOFTWARE_KINDS, profile=Profile.UPSTREAM))


def play(campaign: Campaign, kind: Kind, indices: range) -> list[CaseResult]:
    return [campaign.case(CaseId(kind, index, 0)) for index in indices]


def find(campaign: Campaign, kind: Kind, wanted: Callable[[CaseResult], bool], indices: range) -> CaseResult:
    """The first case among `indices` that is wanted."""
    return next(r for r in (campaign.case(CaseId(kind, index, 0)) for index in indices) if wanted(r))


def spread(campaign: Campaign, kind: Kind, cases: int) -> range:
    """Indices spread over the whole enumeration."""
    return range(0, campaign.exhaustive()[kind], max(1, campaign.exhaustive()[kind] // cases))


def test_the_enumeration_covers_every_bit_of_the_signed_part_and_every_cut(hardened: Campaign) -> None:
    image = demo_image()
    signed_size = 20 + int.from_bytes(image[8:12], "little") + 512

    assert hardened.exhaustive()[Kind.MUTATION] > 8 * signed_size + len(image)
    first = play(hardened, Kind.MUTATION, range(8))
    assert [result.what for result in first] == [f"bit {bit} of byte 0x0 (header)" for bit in range(8)]
    assert {result.verdict for result in first} == {Verdict.REFUSED}


def test_a_flipped_bit_of_the_signature_is_detected_by_the_signature_check(hardened: Campaign) -> None:
    image = demo_image()
    last = 8 * (20 + int.from_bytes(image[8:12], "little") + 512) - 1
    (result,) = play(hardened, Kind.MUTATION, range(last, last + 1))

    assert (result.verdict, "(signature)" in result.what) == (Verdict.DETECTED, True)
    assert "TEE_ERROR_SIGNATURE_INVALID" in result.evidence


@pytest.mark.parametrize("kind", SOFTWARE_KINDS)
def test_the_hardened_profile_lets_no_sampled_case_through(hardened: Campaign, kind: Kind) -> None:
    results = play(hardened, kind, spread(hardened, kind, 60))

    assert [str(r.case) for r in results if r.bypass] == []
    assert len(results) >= 20


def test_an_unsigned_program_header_lets_upstream_skip_a_signed_segment(upstream: Campaign) -> None:
    count = upstream.exhaustive()[Kind.MUTATION]

    result = find(upstream, Kind.MUTATION, lambda r: r.bypass and "program header" in r.what, range(7000, count))

    assert "the signed image has" in result.evidence


def test_upstream_is_bypassed_by_a_length_that_changes_between_two_reads(upstream: Campaign) -> None:
    results = play(upstream, Kind.DOUBLE_FETCH, spread(upstream, Kind.DOUBLE_FETCH, 150))

    assert Verdict.BYPASS in {result.verdict for result in results}


def test_an_aborted_ta_of_upstream_leaves_the_image_behind_and_the_hardened_one_does_not(
    hardened: Campaign, upstream: Campaign
) -> None:
    def left(campaign: Campaign) -> list[str]:
        results = play(campaign, Kind.INTERRUPTION, spread(campaign, Kind.INTERRUPTION, 80))
        return [r.evidence for r in results if "TA abort" in r.what and r.bypass]

    assert left(hardened) == []
    assert any(evidence.startswith("nothing-left") for evidence in left(upstream))


def test_a_bypass_is_replayed_from_its_line_with_the_same_evidence(upstream: Campaign) -> None:
    found = find(upstream, Kind.DOUBLE_FETCH, lambda r: r.bypass, spread(upstream, Kind.DOUBLE_FETCH, 150))

    assert Campaign(upstream.spec).case(CaseId.parse(str(found.case))) == found


def test_random_cases_depend_on_their_seed_alone(hardened: Campaign) -> None:
    index = hardened.exhaustive()[Kind.MUTATION] + 5
    one, again, other = (hardened.case(CaseId(Kind.MUTATION, index, seed)).what for seed in (1, 1, 2))

    assert one == again
    assert one != other


def test_the_verdict_of_a_case_does_not_depend_on_the_cases_before_it(hardened: Campaign) -> None:
    indices = spread(hardened, Kind.MUTATION, 25)
    forwards = play(hardened, Kind.MUTATION, indices)

    assert play(hardened, Kind.MUTATION, indices[::-1])[::-1] == forwards


def test_processes_give_the_results_of_one_process_in_its_order() -> None:
    small = spec(Kind.DOUBLE_FETCH, limit=CHUNK + 10)

    alone = [r for chunk in run_campaign(Campaign(small)) for r in chunk]

    assert [r for chunk in run_campaign(Campaign(small), jobs=2) for r in chunk] == alone
    assert len(alone) == CHUNK + 10


def test_ctrl_c_reaches_no_worker_not_even_one_that_just_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    begun = []

    def start(process: SpawnProcess) -> None:
        BaseProcess.start(process)
        assert process.pid is not None
        os.kill(process.pid, signal.SIGINT)
        begun.append(process.pid)

    monkeypatch.setattr(SpawnProcess, "start", start)
    campaign = Campaign(spec(Kind.MUTATION, limit=2 * CHUNK))

    assert sum(len(chunk) for chunk in run_campaign(campaign, jobs=2)) == 2 * CHUNK
    assert len(begun) == 2
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_an_interrupted_campaign_goes_on_with_nothing_lost_or_counted_twice(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    limited = spec(Kind.MUTATION, limit=3 * CHUNK)
    campaign = Campaign(limited)
    whole = [r for chunk in run_campaign(campaign) for r in chunk]
    first = next(run_campaign(campaign, journal=journal))
    with journal.open("ab") as stream:
        stream.write(b'{"chunk":1,"resul')  # what a crash in the middle of a line leaves

    rest = [r for chunk in run_campaign(campaign, journal=journal) for r in chunk]

    assert (first, rest) == (whole[:CHUNK], whole)
    assert len(journal.read_text(encoding="utf-8").splitlines()) == 4
    assert [r for chunk in run_campaign(campaign, journal=journal) for r in chunk] == whole


def test_a_campaign_that_is_stopped_ends_at_a_chunk() -> None:
    campaign = Campaign(spec(Kind.MUTATION, limit=3 * CHUNK))
    asked = iter([False, True])

    assert [len(chunk) for chunk in run_campaign(campaign, stopped=lambda: next(asked))] == [CHUNK]


@pytest.mark.parametrize(
    "content", [b"", b"x", b"x\n", b"[]\n", b'{"campaign":1}\n', b"[" * 5000 + b"\n", b"\xff\xfe\n"]
)
def test_a_foreign_journal_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    journal = tmp_path / "journal"
    journal.write_bytes(content)
    campaign = Campaign(spec(Kind.MUTATION, limit=2))

    if not content:  # an empty file is a new journal
        assert len(next(run_campaign(campaign, journal=journal))) == 2
        return
    with pytest.raises(UsageError, match="cannot go on"):
        list(run_campaign(campaign, journal=journal))
    assert journal.read_bytes() == content


def test_a_journal_that_was_cut_in_its_first_line_is_begun_anew(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    campaign = Campaign(spec(Kind.MUTATION, limit=2))
    whole = [r for chunk in run_campaign(campaign, journal=journal) for r in chunk]
    first = journal.read_bytes()
    journal.write_bytes(first[:20])

    assert [r for chunk in run_campaign(campaign, journal=journal) for r in chunk] == whole
    assert journal.read_bytes() == first


@pytest.mark.parametrize("image", [demo_image()[:-1], flip(demo_image(), 30), b"\x7f" * 100])
def test_an_image_that_does_not_boot_untouched_is_no_subject(image: bytes) -> None:
    with pytest.raises(ImageError, match="positive control"):
        Campaign(dataclasses.replace(spec(Kind.MUTATION), image=image))


@pytest.mark.parametrize(
    "line", ["", "mutation", "mutation:1", "x:1:1", "mutation:-1:0", "mutation:1:1:1", "fault:9999999999:0"]
)
def test_a_line_that_names_no_case_is_refused(line: str) -> None:
    with pytest.raises(UsageError):
        CaseId.parse(line)


def test_the_command_ends_with_1_and_a_replay_line_for_each_bypass(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = [DEMO, "--profile", "upstream", "--firewall", "open"]
    results, junit = tmp_path / "results.jsonl", tmp_path / "junit.xml"
    files = ["--results", str(results), "--junit", str(junit)]

    code = run(["campaign", *flags, "--kind", "interruption", "--limit", "60", *files])
    lines = capsys.readouterr().out.splitlines()
    bypasses = [line for line in lines if line.startswith("bypass ")]

    assert (code, len(bypasses) > 0) == (1, True)
    cases = [json.loads(line) for line in results.read_text(encoding="utf-8").splitlines()]
    assert Counter(case["verdict"] for case in cases)["bypass"] == len(bypasses)
    assert len(cases) == 60
    suite = ElementTree.parse(junit).getroot().find("testsuite")
    assert suite is not None
    assert suite.get("tests") == str(len(bypasses) + 1)
    replay = bypasses[0].rsplit("--replay ", 1)[1]
    assert run(["campaign", *flags, "--replay", replay, "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == next(case for case in cases if case["replay"] == replay)


def test_the_command_ends_with_0_where_nothing_gets_through(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["campaign", DEMO, "--kind", "mutation", "--limit", "20", "--json"]) == 0

    summary = json.loads(capsys.readouterr().out)
    assert (summary["complete"], summary["cases"], summary["bypasses"]) == (True, 20, 0)


def test_replay_takes_no_option_that_it_would_ignore(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["campaign", DEMO, "--replay", "mutation:0:0", "--limit", "3"]) == 2
    assert "--replay plays one case" in capsys.readouterr().err
