"""Fixtures of the secure world's tests; the machine they use is in `ta_bench`."""

from __future__ import annotations

import pytest
from ta_bench import FakeBus, World


@pytest.fixture
def bus() -> FakeBus:
    return FakeBus()


@pytest.fixture
def world() -> World:
    """A booted secure world with the hardened profile and isolated memories, and a client."""
    return World()
