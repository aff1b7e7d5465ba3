"""A user's suite in a page: run it with `pytest examples`, then put your own ELF file in place of the demo."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cosim.events import ConsoleLine
from cosim.pytest_plugin import Boot
from cosim.resources import firmware_file
from cosim.soc import SocConfig
from cosim.testing import Signer, flip
from cosim.verdict import Outcome
from ta.profile import Profile

FIRMWARE: Path = firmware_file("demo_m4.elf")


def test_my_firmware_boots_and_every_security_monitor_holds(cosim_boot: Boot, signer: Signer) -> None:
    verdict = cosim_boot(signer.sign(FIRMWARE)).verdict
    assert verdict.outcome is Outcome.BOOTED
    assert verdict.monitors_held


def test_my_firmware_greets_on_its_console(cosim_boot: Boot, signer: Signer) -> None:
    report = cosim_boot(signer.sign(FIRMWARE))
    assert any(line.source == "usart3" for line in report.soc.log.of(ConsoleLine))


def test_linux_finds_my_resource_table(cosim_boot: Boot, signer: Signer) -> None:
    report = cosim_boot(signer.sign(FIRMWARE))
    assert report.table is not None
    assert {entry.type_name for entry in report.table.entries} == {"VDEV", "TRACE"}


@pytest.mark.parametrize("profile", list(Profile))
def test_a_changed_byte_in_my_firmware_is_refused_and_nothing_runs(
    profile: Profile, cosim_boot: Boot, cosim_config: SocConfig, signer: Signer
) -> None:
    image = flip(signer.sign(FIRMWARE), 0x500)
    verdict = cosim_boot(image, replace(cosim_config, profile=profile)).verdict
    assert verdict.outcome is Outcome.REFUSED
    assert verdict.m4_instructions == 0


@pytest.mark.cosim(firewall="open", deny="abort")
def test_my_firmware_also_boots_where_nothing_isolates_it(cosim_boot: Boot, signer: Signer) -> None:
    assert cosim_boot(signer.sign(FIRMWARE)).verdict.outcome is Outcome.BOOTED
