"""Every scenario on every engine that is there: what was promised, and on Renode the same as on the embedded engine."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from differences import DIFFERENCES, Difference, entries
from presence import ENGINES, need_engine
from scenarios import SCENARIOS, Scenario

from cosim.access import Initiator
from cosim.boot import BootReport
from cosim.client import Op, StepResult
from cosim.events import AccessDenied, ConsoleLine, CoreReleased, ExceptionTaken, FirstInstruction
from cosim.soc import SocConfig
from cosim.verdict import Outcome

BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}
ENGINES_DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "engines.md"
CORES = ("host", "a7", "m4")


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda s: s.name)
@pytest.mark.parametrize("engine", ENGINES)
def test_scenario_ends_as_promised_and_alike_on_every_engine(
    scenario: Scenario, engine: str, request: pytest.FixtureRequest
) -> None:
    need_engine(engine, request.config)
    report = scenario.play(engine)

    check_promise(scenario, report)
    if engine != ENGINES[0]:
        check_same(report, scenario.play(ENGINES[0]))


def check_promise(scenario: Scenario, report: BootReport) -> None:
    """What the scenario says must have come of it."""
    verdict, log = report.verdict, report.soc.log
    assert verdict.outcome is scenario.outcome, verdict.summary()
    assert (verdict.refusal.result if verdict.refusal else None) == scenario.refusal
    assert {m.name for m in verdict.monitors if m.held is False} == scenario.broken
    assert tuple((e.core, e.exception) for e in log.of(ExceptionTaken)) == scenario.exceptions
    rules = {denial.rule for denial in log.of(AccessDenied)}
    assert all(any(rule.startswith(wanted) for rule in rules) for wanted in scenario.denied), rules
    printed = [line.text for line in log.of(ConsoleLine) if line.source == "usart3"]
    assert all(any(line.startswith(wanted) for line in printed) for wanted in scenario.console), printed

    runs = scenario.outcome in (Outcome.BOOTED, Outcome.CRASHED)
    assert bool(log.of(FirstInstruction)) == bool(log.of(CoreReleased)) == runs
    assert (report.soc.m4.retired > 0) == runs
    if not scenario.denied:
        assert not rules


def check_same(theirs: BootReport, ours: BootReport) -> None:
    """Two engines came to the same, but for the differences that are expected."""
    for core in CORES:
        assert list(entries(theirs.soc.log.records, core)) == list(entries(ours.soc.log.records, core)), core
    assert [_comparable(step) for step in theirs.steps] == [_comparable(step) for step in ours.steps]
    assert (theirs.verdict.outcome, theirs.verdict.refusal) == (ours.verdict.outcome, ours.verdict.refusal)
    assert [(m.name, m.held) for m in theirs.verdict.monitors] == [(m.name, m.held) for m in ours.verdict.monitors]
    assert (theirs.table, theirs.ready) == (ours.table, ours.ready)
    for name, bank in ours.soc.banks.items():
        if name != "ddr":  # the client's stack and the steps' outcomes, which are compared above
            assert theirs.soc.banks[name].save() == bank.save(), name


def _comparable(step: StepResult) -> tuple[object, ...]:
    """What came of a step; how often a wait looked is time."""
    result = step.result[:1] if step.step.op is Op.WAIT32 else step.result
    return step.status, result, step.fault, step.fault_status, step.fault_address, step.fault_pc


@pytest.mark.parametrize("difference", [d for d in DIFFERENCES if d.example], ids=lambda d: d.what)
def test_difference_that_is_expected_is_there(difference: Difference, request: pytest.FixtureRequest) -> None:
    need_engine("renode", request.config)
    scenario = BY_NAME[difference.example or ""]
    theirs, ours = (scenario.play(engine).soc.log.records for engine in ("renode", "unicorn"))
    others = [d for d in DIFFERENCES if d is not difference]

    assert any(list(entries(theirs, core, others)) != list(entries(ours, core, others)) for core in CORES)


def test_differences_in_the_document_are_those_that_the_comparison_expects() -> None:
    assert list(_rows("embedded")) == [(d.what, d.embedded, d.renode) for d in DIFFERENCES]


def _rows(column: str) -> Iterator[tuple[str, ...]]:
    """The rows of the table whose second column has this title."""
    text = ENGINES_DOCUMENT.read_text(encoding="utf-8")
    found = re.search(rf"^\| [^|]+ \| {column} \|[^\n]+\n\|[-|]+\|\n((?:\|[^\n]+\n)+)", text, re.MULTILINE)
    assert found is not None
    for line in found[1].splitlines():
        yield tuple(cell.strip() for cell in line.strip("|").split("|"))


def test_refused_image_leaves_nothing_in_the_m4_memories(cosim_config: SocConfig) -> None:
    soc = BY_NAME["flipped-resource-table"].play(cosim_config.engine).soc

    for address, size in ((0x38000000, 0x10000), (0x10000000, 0x60000)):
        assert not any(soc.bus.read(Initiator.DEBUG, address, size))
