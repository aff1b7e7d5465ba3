"""Which engines a run can use: a missing Renode is skipped with its reason, and a failure when the run asked for it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from cosim.engine.renode import find_renode
from cosim.errors import EngineError
from cosim.options import ENGINE
from cosim.soc import SocConfig

ENGINES = ("unicorn", "renode")
#: What the fixture `configured` is: makes a `SocConfig` for the engine of the run, changed as its arguments say.
Configured = Callable[..., SocConfig]


def need_engine(name: str, config: pytest.Config) -> None:
    """Skip the test that cannot have engine `name`, or fail it when `--cosim-engine` named that engine."""
    if name != "renode":
        return
    try:
        find_renode()
    except EngineError as error:
        reason = f"{error.message}; {error.hint}"
        if config.getoption(ENGINE.ini, None) == name:
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
