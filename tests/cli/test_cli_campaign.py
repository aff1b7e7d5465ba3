"""`cosim campaign` as a user runs it: exit codes, outputs, Ctrl-C and going on, and options that make no sense."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import pytest

from cosim.cli import run
from cosim.resources import firmware_file
from cosim.testing import default_signer, flip

ROOT = Path(__file__).resolve().parents[2]
COSIM = [sys.executable, "-m", "cosim.cli", "campaign"]
DEMO = str(firmware_file("demo_m4.elf"))
WEAK = ["--profile", "upstream", "--firewall", "open"]
CHUNK = 64
#: Enough results to fill a pipe several times.
CASES = 20 * CHUNK
ATTACK = [DEMO, "--kind", "mutation", "--limit", str(CASES)]
PATIENCE_S = 120


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1"}


def interrupted(results: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Start a campaign whose results go into a pipe, press Ctrl-C as a terminal does once some came, and read the rest.

    A full pipe holds the campaign up, so it cannot end before the interrupt; the results replace the pipe.
    """
    os.mkfifo(results)
    pipe = os.open(results, os.O_RDONLY | os.O_NONBLOCK)
    command = [*COSIM, *arguments, "--results", str(results)]
    with (
        os.fdopen(pipe, "rb") as stream,
        subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(),
            text=True,
            start_new_session=True,
        ) as process,
    ):
        assert select.select([pipe], [], [], PATIENCE_S)[0], "no result came"
        os.killpg(process.pid, signal.SIGINT)
        os.set_blocking(pipe, True)
        content = stream.read()
        out, err = process.communicate()
    results.unlink()
    results.write_bytes(content)
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, object]]:
    """Every case of a run that nothing disturbed."""
    results = tmp_path_factory.mktemp("whole") / "results"
    assert run(["campaign", *ATTACK, "--json", "--results", str(results)]) == 0
    return lines(results)


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_after_ctrl_c_a_campaign_goes_on_with_nothing_lost_or_counted_twice(
    jobs: str, tmp_path: Path, whole: list[dict[str, object]], capsys: pytest.CaptureFixture[str]
) -> None:
    journal, results, junit = tmp_path / "journal", tmp_path / "results", tmp_path / "junit"
    files = ["--resume", str(journal), "--junit", str(junit)]

    stopped = interrupted(results, *ATTACK, "--jobs", jobs, *files)

    done = lines(results)
    assert stopped.returncode == 130
    assert f"interrupted after {len(done)} of {CASES} cases; go on with --resume {journal}" in stopped.stderr
    assert "Traceback" not in stopped.stderr
    assert CHUNK <= len(done) < CASES
    assert done == whole[: len(done)]
    assert len(journal.read_text(encoding="utf-8").splitlines()) == 1 + len(done) // CHUNK
    assert sorted(path.name for path in tmp_path.iterdir()) == ["journal", "junit", "results"]

    assert run(["campaign", *ATTACK, "--json", *files, "--results", str(results)]) == 0
    document = json.loads(capsys.readouterr().out)
    assert lines(results) == whole
    assert (document["complete"], document["cases"]) == (True, CASES)
    verdicts = Counter(case["verdict"] for case in whole)
    assert {name: count for name, count in document["kinds"]["mutation"].items() if count} == verdicts
    assert len(journal.read_text(encoding="utf-8").splitlines()) == 1 + CASES // CHUNK


def test_a_finished_journal_plays_nothing_again_and_says_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["campaign", DEMO, "--kind", "mutation", "--limit", "70", "--resume", str(tmp_path / "journal")]
    assert run(arguments) == 0
    first, content = capsys.readouterr().out, (tmp_path / "journal").read_bytes()
    monkeypatch.setattr("cosim.campaign.run.Campaign.chunk", lambda *_arguments: pytest.fail("a case was played again"))

    assert run(arguments) == 0
    assert capsys.readouterr().out == first
    assert (tmp_path / "journal").read_bytes() == content


@pytest.mark.parametrize("other", [["--seed", "1"], ["--limit", "65"], [*WEAK], ["--kind", "sequence"]])
def test_a_journal_of_another_campaign_is_refused_and_stays_as_it_is(
    other: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    journal = tmp_path / "journal"
    usual = ["--kind", "mutation", "--limit", "64"]
    assert run(["campaign", DEMO, *usual, "--resume", str(journal)]) == 0
    content = journal.read_bytes()
    capsys.readouterr()

    assert run(["campaign", DEMO, *usual, *other, "--resume", str(journal)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"error: {DEMO}: ") or str(journal) in err
    assert journal.read_bytes() == content


def test_json_is_one_document_and_bypasses_carry_what_replays_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["campaign", DEMO, *WEAK, "--kind", "interruption", "--limit", "40", "--json"]) == 1
    document = json.loads(capsys.readouterr().out)

    assert document["bypasses"] == len(document["evidence"]) > 0
    for case in (document["evidence"][0], document["evidence"][-1]):
        assert run(["campaign", DEMO, *WEAK, "--replay", case["replay"], "--json"]) == 1
        assert json.loads(capsys.readouterr().out) == case


def test_a_replayed_case_that_holds_ends_with_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["campaign", DEMO, "--replay", "mutation:0:0"]) == 0
    out = capsys.readouterr().out
    assert re.fullmatch(r"case:     mutation:0:0\nattack:   .+\nverdict:  refused\nevidence: .+\n", out)


def test_junit_counts_what_the_json_document_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    junit = tmp_path / "junit.xml"
    arguments = ["--kind", "interruption", "--kind", "mutation", "--limit", "64", "--json", "--junit", str(junit)]
    assert run(["campaign", DEMO, *WEAK, *arguments]) == 1

    document = json.loads(capsys.readouterr().out)
    suites = {suite.get("name"): suite for suite in ElementTree.parse(junit).getroot()}
    assert set(suites) == set(document["kinds"]) == {"interruption", "mutation"}
    for kind, verdicts in document["kinds"].items():
        cases = suites[kind].findall("testcase")
        failed = [case for case in cases if case.find("failure") is not None]
        assert suites[kind].get("tests") == str(len(cases))
        assert suites[kind].get("failures") == str(len(failed))
        assert len(failed) == verdicts["bypass"] + bool(verdicts["bypass"])


def test_the_table_has_every_kind_once_however_often_it_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["campaign", DEMO, "--kind", "sequence", "--kind", "sequence", "--limit", "5"]) == 0
    assert re.findall(r"^sequence +(\d+) ", capsys.readouterr().out, re.MULTILINE) == ["5"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--jobs", "0"],
        ["--limit", "0"],
        ["--seed", "-1"],
        ["--kind", "nonsense"],
        ["--profile", "nonsense"],
        ["--replay", "mutation"],
        ["--replay", "mutation:99999999999999999999:0"],
        ["--replay", "interruption:4294967296:0"],
        ["--replay", "mutation:0:0", "--kind", "mutation"],
        ["--replay", "mutation:0:0", "--results", "x"],
        ["--results", "no/such/folder"],
        ["--junit", "."],
        ["--resume", "/dev/null/journal"],
        ["--results", "/dev/null/results"],
    ],
    ids=" ".join,
)
def test_an_option_that_makes_no_sense_ends_with_2_and_no_file(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    assert run(["campaign", DEMO, *arguments]) == 2
    out, err = capsys.readouterr()
    assert (out, list(tmp_path.iterdir())) == ("", [])
    assert "Traceback" not in err
    assert err


def test_an_output_below_a_file_is_refused_before_a_case_is_played(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr("cosim.campaign.run.Campaign.chunk", lambda *_arguments: pytest.fail("a case was played"))

    assert run(["campaign", DEMO, "--limit", "1", "--junit", str(tmp_path / "file" / "junit.xml")]) == 2
    assert "file is not a directory" in capsys.readouterr().err


@pytest.mark.parametrize("what", ["missing", "empty", "garbage", "cut", "damaged"])
def test_a_file_that_does_not_boot_ends_with_2_and_says_why(
    what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = default_signer().sign(Path(DEMO))
    contents = {"empty": b"", "garbage": bytes(range(256)), "cut": image[:-9], "damaged": flip(image, 40)}
    path = tmp_path / "FW.sign"
    if what in contents:
        path.write_bytes(contents[what])

    results = tmp_path / "results"
    assert run(["campaign", str(path), "--limit", "1", "--results", str(results)]) == 2
    out, err = capsys.readouterr()
    assert (out, results.exists()) == ("", False)
    assert err.startswith(f"error: {path}: ")
    assert err.count("\n") == 1


def test_results_can_go_down_the_pipe_of_stdout() -> None:
    command = [*COSIM, DEMO, "--kind", "mutation", "--limit", "3", "--results", "/dev/stdout"]

    result = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)

    assert (result.returncode, result.stderr) == (0, "")
    cases = [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]
    assert [case["replay"] for case in cases] == ["mutation:0:0", "mutation:1:0", "mutation:2:0"]


def test_a_full_disk_ends_a_campaign_with_one_line_and_a_journal_that_is_good_to_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    journal = tmp_path / "journal"
    limited = "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
    limited += "resource.setrlimit(resource.RLIMIT_FSIZE, (30000, 30000)); "
    limited += "from cosim.cli import run; sys.exit(run(sys.argv[1:]))"
    attack = ["campaign", DEMO, "--kind", "mutation", "--limit", str(3 * CHUNK), "--resume", str(journal)]
    command = [sys.executable, "-c", limited, *attack]

    result = subprocess.run(
        command,
        env={**environment(), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.count("\n") == 1
    assert str(journal) in result.stderr
    assert journal.stat().st_size == 30000
    assert run([*attack, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["cases"] == 3 * CHUNK


def test_a_reader_that_goes_away_ends_a_campaign_quietly(tmp_path: Path) -> None:
    with subprocess.Popen(
        [*COSIM, DEMO, *WEAK, "--kind", "interruption", "--results", str(tmp_path / "results")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith("bypass ")
        process.stdout.close()
        err = process.stderr.read()

    assert process.returncode == 141
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []
