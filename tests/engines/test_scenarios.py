"""Every scenario on the engine that the run asks for: the mission's promises, one by one."""

from __future__ import annotations

import dataclasses

import pytest
from scenarios import SCENARIOS, Scenario

from cosim.access import Initiator
from cosim.boot import BootReport, boot
from cosim.events import AccessDenied, ConsoleLine, CoreReleased, ExceptionTaken, FirstInstruction
from cosim.soc import SocConfig
from cosim.verdict import Outcome


def play(scenario: Scenario, config: SocConfig) -> BootReport:
    """The scenario on the engine of `config`."""
    engine = dataclasses.replace(scenario.config(config.engine), loop=config.loop)
    return boot(scenario.image(), engine, script=scenario.script, others=scenario.other_images())


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda s: s.name)
def test_scenario_ends_as_promised(scenario: Scenario, cosim_config: SocConfig) -> None:
    report = play(scenario, cosim_config)
    verdict, log = report.verdict, report.soc.log

    assert verdict.outcome is scenario.outcome, verdict.summary()
    assert (verdict.refusal.result if verdict.refusal else None) == scenario.refusal
    assert {m.name for m in verdict.monitors if m.held is False} == scenario.broken
    assert tuple((e.core, e.exception) for e in log.of(ExceptionTaken)) == scenario.exceptions
    rules = {denial.rule for denial in log.of(AccessDenied)}
    assert all(any(rule.startswith(wanted) for rule in rules) for wanted in scenario.denied), rules
    printed = [line.text for line in log.of(ConsoleLine) if line.source == "usart3"]
    assert all(any(line.startswith(wanted) for line in printed) for wanted in scenario.console), printed

    runs = scenario.outcome is Outcome.BOOTED
    assert bool(log.of(FirstInstruction)) == bool(log.of(CoreReleased)) == runs
    assert (report.soc.m4.retired > 0) == runs
    if not scenario.denied:
        assert not rules


def test_refused_image_leaves_nothing_in_the_m4_memories(cosim_config: SocConfig) -> None:
    scenario = next(s for s in SCENARIOS if s.name == "flipped-resource-table")
    soc = play(scenario, cosim_config).soc

    for address, size in ((0x38000000, 0x10000), (0x10000000, 0x60000)):
        assert not any(soc.bus.read(Initiator.DEBUG, address, size))
