"""Attacks on the secure boot of your image, as tests: run it with `pytest examples`, then put in your own ELF file.

Each test plays 25 cases of each kind of attack, spread over all of them; without `cases` it plays them all, which takes
minutes. A test fails with a line for every attack that got through, and the command that plays it again.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from cosim.pytest_plugin import Attack
from cosim.resources import firmware_file

FIRMWARE: Path = firmware_file("demo_m4.elf")


@pytest.mark.cosim_campaign(cases=25)
def test_no_attack_from_linux_gets_through(cosim_campaign: Attack) -> None:
    tally = cosim_campaign(FIRMWARE)
    assert tally.total == 100


@pytest.mark.cosim(profile="upstream", firewall="open")
@pytest.mark.cosim_campaign(kinds="mutation", cases=25)
def test_the_attacks_are_real(cosim_campaign: Attack) -> None:
    with pytest.raises(pytest.fail.Exception, match="got through under upstream and open"):
        cosim_campaign(FIRMWARE)
