"""The examples run as they are."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True).stdout


def test_the_one_page_suite_passes() -> None:
    assert "13 passed" in run("-m", "pytest", "-p", "cosim.pytest_plugin", "-p", "no:cacheprovider", "examples")


def test_the_attack_is_seen_under_open_and_stopped_under_isolated() -> None:
    opened, isolated = run("examples/attack_from_linux.py").split("firewall isolated")
    assert "BROKEN image-untouched" in opened
    assert "BROKEN" not in isolated
    assert "1 non-secure write(s) refused" in isolated
