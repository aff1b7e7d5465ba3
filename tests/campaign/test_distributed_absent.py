"""Without Dask the option says what to install, and nothing else needs it."""

from __future__ import annotations

import sys

import pytest

from cosim.cli import run
from cosim.resources import firmware_file

DEMO = str(firmware_file("demo_m4.elf"))


def test_the_option_names_the_extra_where_dask_is_not_installed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(sys.modules, "cosim.campaign.dask_workers", raising=False)
    monkeypatch.setitem(sys.modules, "distributed", None)

    assert run(["campaign", DEMO, "--dask", "local"]) == 2
    assert "pip install 'remoteproc-cosim[dask]'" in capsys.readouterr().err
