"""Runs pytest inside pytest, with this plugin and no other."""

from __future__ import annotations

from collections.abc import Callable

import pytest

# An inner run forgets the modules that it loaded itself; cryptography does not survive being loaded a second time.
import cosim.boot
import cosim.testing  # noqa: F401

Run = Callable[..., pytest.RunResult]


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a suite, given as source text, with the plugin; further arguments go to pytest."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")

    def go(source: str, *arguments: str) -> pytest.RunResult:
        pytester.makepyfile(source)
        plugins = ("-p", "cosim.pytest_plugin", "-p", "no:cacheprovider")
        return pytester.runpytest_inprocess(*plugins, "--strict-markers", *arguments)

    return go
