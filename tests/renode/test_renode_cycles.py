"""Cycle time of the M4 on Renode, held to the embedded engine: the same count at the same event, to the cycle."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import pytest
from m4_probes import boot_probe
from test_timing import figures

from cosim.boot import attempt
from cosim.engine.renode.charging import SLACK
from cosim.events import CoreHeld, CyclesUnknown
from cosim.resources import firmware_file
from cosim.scripts import loading, start, until_ready
from cosim.soc import Soc, SocConfig
from cosim.testing import default_signer

pytestmark = pytest.mark.usefixtures("renode")

CYCLES = SocConfig(timing="cycles")
ON_RENODE = replace(CYCLES, engine="renode")
MICROSECOND = 10**6
StartM4 = Callable[..., None]
LDR_BRANCH = bytes.fromhex("0048fde7")  # ldr r0, [pc]; b back to it: 2, and 1 with a refill of 1
UNKNOWN = bytes.fromhex("aff3f080")  # dbg #0


@pytest.fixture
def soc() -> Soc:
    """For `start_m4`."""
    return Soc(ON_RENODE)


def booted(name: str, config: SocConfig) -> Soc:
    soc = Soc(config)
    attempt(soc, default_signer().sign(firmware_file(f"{name}.elf").read_bytes()))
    return soc


@cache
def counts(name: str, engine: str) -> dict[tuple[str, int], int | None]:
    """Cycles at each event of the M4, by the event's name and the instructions that had retired."""
    log = booted(name, replace(CYCLES, engine=engine)).log
    return {(type(r.payload).__name__, r.stamp.instructions): r.stamp.cycles for r in log if r.stamp.core == "m4"}


def test_firmware_measures_what_it_measures_on_the_embedded_engine() -> None:
    image = firmware_file("dwt_probe.elf").read_bytes()

    assert figures(boot_probe(image, ON_RENODE)) == figures(boot_probe(image, CYCLES))


def test_in_instruction_time_it_measures_instructions() -> None:
    measured = figures(boot_probe(firmware_file("dwt_probe.elf").read_bytes(), SocConfig(engine="renode")))

    assert (measured["loop_of_ten"], measured["divide_most"], measured["supervisor_call"]) == (20, 1, 2)


#: Firmware, and how many of its events both engines have at the same instruction.
@pytest.mark.parametrize(
    ("name", "least"), [("irq_probe", 17), ("probe_it", 40), ("probe_faults", 13), ("probe_lockup", 4)]
)
def test_events_at_the_same_instruction_have_the_same_cycles(name: str, least: int) -> None:
    embedded, renode = counts(name, "unicorn"), counts(name, "renode")
    common = embedded.keys() & renode.keys()

    assert len(common) >= least
    assert {key: renode[key] for key in common} == {key: embedded[key] for key in common}


def test_time_of_the_m4_follows_its_cycles(soc: Soc, start_m4: StartM4) -> None:
    start_m4(LDR_BRANCH, {1: 0x10000001})
    soc.run(budget_ps=100 * MICROSECOND)
    soc.engine.hold("m4")
    (held,) = soc.log.of(CoreHeld)

    assert held.spent is not None
    assert 0 <= held.spent - 100 * 209 <= SLACK + 4
    assert abs(held.retired - held.spent // 2) <= 2
    assert 0 <= soc.m4.time_ps - 100 * MICROSECOND <= (SLACK + 4) * MICROSECOND // 209


def test_code_without_a_known_cost_is_told_once(soc: Soc, start_m4: StartM4) -> None:
    start_m4(UNKNOWN + UNKNOWN + LDR_BRANCH, {1: 0x10000001})

    soc.run(budget_ps=MICROSECOND)

    assert soc.log.of(CyclesUnknown) == [CyclesUnknown("m4", 0x10000000, int.from_bytes(UNKNOWN, "little"))]


def test_same_inputs_give_the_same_log() -> None:
    logs = []
    for _ in range(2):
        text = io.StringIO()
        booted("irq_probe", ON_RENODE).log.write_jsonl(text)
        logs.append(text.getvalue())

    assert logs[0] == logs[1]


def test_a_snapshot_restores_the_count() -> None:
    soc = Soc(ON_RENODE)
    image = default_signer().sign(firmware_file("probe_it.elf").read_bytes())
    soc.run_script([])
    steps = [*loading(soc.stage(image), len(image)), start(), until_ready()]
    snapshot = soc.snapshot()
    ends = []
    for _ in range(2):
        soc.run_script(steps)
        ends.append([(r.stamp.time_ps, r.stamp.cycles) for r in soc.log])
        soc.restore(snapshot)

    assert ends[0] == ends[1]
    assert ends[0][-1] != ends[0][0]
