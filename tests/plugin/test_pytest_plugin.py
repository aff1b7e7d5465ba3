"""The pytest plugin, seen from a user's suite."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., pytest.RunResult]


def test_the_fixtures_boot_signed_firmware(run: Run) -> None:
    result = run(
        """
        from cosim.verdict import Outcome

        def test_boots(cosim_boot, signed_firmware):
            verdict = cosim_boot(signed_firmware).verdict
            assert verdict.outcome is Outcome.BOOTED and verdict.monitors_held

        def test_soc_and_log_belong_together(soc, event_log):
            assert soc.log is event_log and len(event_log) > 0
            assert soc.m4.retired == 0

        def test_socs_are_separate(make_soc, soc):
            assert make_soc() is not make_soc() is not soc

        def test_signer_takes_paths_and_bytes(signer):
            from cosim.resources import firmware_file
            path = firmware_file("demo_m4.elf")
            assert signer.sign(path) == signer.sign(path.read_bytes())
        """
    )
    result.assert_outcomes(passed=4)


def test_the_header_names_engine_versions_and_seed(run: Run) -> None:
    result = run("def test_nothing(): pass", "--cosim-seed=0x2a")
    result.stdout.fnmatch_lines(["cosim: engine unicorn *, cryptography *, remoteproc-cosim*, --cosim-seed=42"])


def test_markers_choose_the_kind_of_soc_and_the_nearest_one_wins(run: Run) -> None:
    result = run(
        """
        import pytest
        from cosim.access import Deny
        from ta.profile import FirewallProfile, Profile

        pytestmark = pytest.mark.cosim(profile="upstream", firewall="open")

        @pytest.mark.cosim(firewall="isolated", deny="abort")
        def test_config(cosim_config):
            assert cosim_config.profile is Profile.UPSTREAM
            assert cosim_config.firewall is FirewallProfile.ISOLATED
            assert cosim_config.deny is Deny.ABORT
            assert cosim_config.engine == "unicorn"
        """
    )
    result.assert_outcomes(passed=1)


@pytest.mark.parametrize("marker", ["profile='nonsense'", "nonsense=1", "'upstream'"])
def test_a_wrong_marker_is_an_error_and_not_silently_ignored(run: Run, marker: str) -> None:
    result = run(f"import pytest\n@pytest.mark.cosim({marker})\ndef test_it(cosim_config): pass")
    result.assert_outcomes(errors=1)


def test_a_failed_test_shows_the_event_log_and_the_m4_console(run: Run) -> None:
    result = run("def test_it(cosim_boot, signed_firmware):\n    cosim_boot(signed_firmware)\n    assert False")
    result.assert_outcomes(failed=1)
    result.stdout.re_match_lines(
        [
            r"-+ cosim SoC: last 1\d\d of 1\d\d events -+|-+ cosim SoC: last 200 of \d+ events -+",
            r".*m4 executes its first instruction.*",
            r"-+ cosim SoC: M4 console and traces -+",
            r"usart3\| m4: ready",
        ]
    )
    assert "uart4|" not in result.stdout.str().split("M4 console and traces")[1]


def test_a_passed_test_shows_nothing(run: Run) -> None:
    result = run("def test_it(soc): pass", "-rA")
    assert "cosim SoC" not in result.stdout.str()


def test_the_shown_log_is_bounded_and_the_artifact_holds_all_of_it(run: Run, pytester: pytest.Pytester) -> None:
    source = """
        import pytest
        from cosim.events import ConsoleLine

        @pytest.mark.parametrize("name", ["a/../b" * 100])
        def test_it(soc, name):
            for number in range(1000):
                soc.log.emit(ConsoleLine("usart3", f"line {number}"))
            assert False
        """
    result = run(source, "--cosim-artifacts=found")
    shown = re.findall(r"^ .*usart3\| line (\d+)$", result.stdout.str(), re.MULTILINE)
    assert len(shown) == 200
    (place,) = (pytester.path / "found").iterdir()
    lines = (place / "events-0.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["text"] == "line 999"
    assert [json.loads(line)["sequence"] for line in lines] == list(range(len(lines)))
    assert "\nsline\\x20999 " in (place / "events-0.vcd").read_text()


def test_no_artifacts_are_written_unless_asked_for(run: Run, pytester: pytest.Pytester) -> None:
    before = set(pytester.path.iterdir())
    run("def test_it(soc): assert False")
    assert {path.name for path in set(pytester.path.iterdir()) - before} <= {
        "test_no_artifacts_are_written_unless_asked_for.py",
        "__pycache__",
    }


SEEDS = "def test_a(cosim_seed): print('seed', cosim_seed)\ndef test_b(cosim_seed): print('seed', cosim_seed)"


def seeds(result: pytest.RunResult) -> list[str]:
    return re.findall(r"seed (\d+)", "\n".join(line for line in result.outlines if not line.startswith("cosim:")))


def test_seeds_differ_between_tests_and_repeat_between_runs(run: Run) -> None:
    first, again = (seeds(run(SEEDS, "-s", "--cosim-seed=7")) for _ in range(2))
    assert first == again
    assert len(set(first)) == 2
    assert seeds(run(SEEDS, "-s", "--cosim-seed=8")) != first


def test_a_random_seed_is_printed_so_that_it_can_be_repeated(run: Run) -> None:
    result = run(SEEDS, "-s", "--cosim-seed=random")
    match = re.search(r"--cosim-seed=(\d+)", result.stdout.str())
    assert match is not None
    assert seeds(run(SEEDS, "-s", f"--cosim-seed={match[1]}")) == seeds(result)


@pytest.mark.parametrize("option", ["--cosim-seed=many", "--cosim-seed=-1", "--cosim-engine=qemu"])
def test_a_wrong_option_is_a_usage_error(run: Run, option: str) -> None:
    assert run("def test_it(): pass", option).ret == pytest.ExitCode.USAGE_ERROR


def test_ini_keys_stand_in_for_flags_and_flags_win(run: Run, pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\ncosim_seed = 5\ncosim_engine = unicorn\n")
    run("def test_nothing(): pass").stdout.fnmatch_lines(["*--cosim-seed=5"])
    run("def test_nothing(): pass", "--cosim-seed=6").stdout.fnmatch_lines(["*--cosim-seed=6"])
    pytester.makeini("[pytest]\ncosim_engine = qemu\n")
    assert run("def test_it(): pass").ret == pytest.ExitCode.USAGE_ERROR


def test_the_marker_and_the_options_are_documented(run: Run) -> None:
    run("", "--markers").stdout.fnmatch_lines(["@pytest.mark.cosim(engine=unicorn*, profile=upstream|hardened, *"])
    run("", "--help").stdout.fnmatch_lines(["*--cosim-engine=*", "*--cosim-seed=N|random*", "*--cosim-artifacts=DIR*"])


def test_loading_the_plugin_does_not_load_the_simulator() -> None:
    code = (
        "import sys, cosim.pytest_plugin\nsys.exit(bool({'cosim.soc', 'unicorn', 'cryptography'} & set(sys.modules)))"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0
