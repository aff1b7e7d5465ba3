"""Images bound to a processor and a version, on the whole SoC: an old one is refused once a newer one ran."""

from __future__ import annotations

import dataclasses

import pytest

from cosim import client
from cosim.boot import boot
from cosim.client import Command
from cosim.resources import firmware_file
from cosim.scripts import SESSION
from cosim.soc import Soc, SocConfig
from cosim.testing import default_signer
from cosim.verdict import Outcome
from ta.profile import PlatformTlvs, Settings
from ta.signing import binding_tlvs

DEMO = firmware_file("demo_m4.elf").read_bytes()
SECURITY = 0xFFFF000F


def bound(version: int, processor: int = 0) -> bytes:
    """The demo, signed for one processor with a rollback version."""
    return default_signer().sign(DEMO, platform_tlvs=tuple(binding_tlvs([DEMO], processor, version)))


@pytest.mark.parametrize(("version", "outcome"), [(6, Outcome.REFUSED), (7, Outcome.BOOTED), (8, Outcome.BOOTED)])
def test_image_older_than_the_device_demands_never_runs(
    version: int, outcome: Outcome, cosim_config: SocConfig
) -> None:
    settings = Settings(platform_tlvs=PlatformTlvs.REQUIRED, lowest_version=7)
    verdict = boot(bound(version), dataclasses.replace(cosim_config, settings=settings)).verdict

    assert verdict.outcome is outcome
    assert (verdict.m4_instructions > 0) == (outcome is Outcome.BOOTED)


def test_image_without_binding_is_refused_where_binding_is_required(cosim_config: SocConfig) -> None:
    settings = Settings(platform_tlvs=PlatformTlvs.REQUIRED)
    verdict = boot(default_signer().sign(DEMO), dataclasses.replace(cosim_config, settings=settings)).verdict

    assert verdict.outcome is Outcome.REFUSED
    assert verdict.m4_instructions == 0


def test_image_for_another_processor_is_refused(cosim_config: SocConfig) -> None:
    assert boot(bound(1, processor=1), cosim_config).verdict.outcome is Outcome.REFUSED


def test_older_image_is_refused_after_a_newer_one_was_started(soc: Soc) -> None:
    new, old = bound(2), bound(1)
    soc.run_script(
        [
            client.open_session(),
            client.load(SESSION, soc.stage(new), len(new)),
            client.command(SESSION, Command.START_FW),
            client.command(SESSION, Command.STOP_FW),
            client.command(SESSION, Command.RELEASE_FW),
        ]
    )
    refused = soc.run_step(client.load(SESSION, soc.stage(old), len(old)))

    assert refused.tee_result == SECURITY
    assert soc.run_step(client.load(SESSION, soc.stage(new), len(new))).ok
