"""The same scenarios on Renode and on the embedded engine: what must be equal, and the differences that are expected.

Not compared, because Renode's cores exchange only at the ends of quanta: times, the order of events of different cores,
and the counts that depend on how long a core waited for the other one.
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Iterator

import pytest
from scenarios import SCENARIOS, Scenario

from cosim.boot import BootReport, boot
from cosim.events import (
    AccessDenied,
    CoreHeld,
    ExceptionTaken,
    FirstInstruction,
    Record,
    RegisterWritten,
)
from ta.events import ProcessorStarted

#: One of each kind: accepted, both answers of the firewall, faults of either core, restart, refusal, attacks.
NAMES = (
    "demo",
    "demo-abort",
    "m4-writes-secure-ddr-razwi",
    "m4-writes-secure-ddr-abort",
    "restart-without-release",
    "flipped-text",
    "wrong-key",
    "write-after-load-isolated",
    "write-after-start-open",
    "look-into-the-firmware",
)


def play(name: str, engine: str) -> BootReport:
    """A scenario on one engine."""
    scenario: Scenario = next(s for s in SCENARIOS if s.name == name)
    config = scenario.config(engine)
    return boot(scenario.image(), config, script=scenario.script, others=scenario.other_images())


def comparable(records: list[Record], core: str) -> Iterator[tuple[object, ...]]:
    """One core's events with their PC and their exact count, as far as they are known to be equal."""
    waited, starts = False, 0
    for record in records:
        stamp, payload = record.stamp, record.payload
        if stamp.core != core:
            continue
        if isinstance(payload, RegisterWritten) and payload.block == "nvic":
            continue  # Renode's NVIC is its own
        pc: int | None = stamp.pc
        if isinstance(payload, AccessDenied | ExceptionTaken) and _is_fetch(payload):
            pc = None  # Renode stands at the target, not at the branch
        if isinstance(payload, CoreHeld):
            payload = dataclasses.replace(payload, retired=0)
        if isinstance(payload, ProcessorStarted):
            waited = True  # from here on the A7 waits for the M4
        starts += isinstance(payload, FirstInstruction)
        waited |= starts > 1  # the counts go on over resets, and the A7's waiting decided when the M4 was stopped
        exact = not waited and not isinstance(payload, FirstInstruction)  # announced before it, not after it
        yield payload, pc, stamp.instructions if exact else None


def _is_fetch(payload: AccessDenied | ExceptionTaken) -> bool:
    if isinstance(payload, AccessDenied):
        return payload.access == "fetch"
    return payload.exception == "prefetch-abort" or (payload.exception == "MemManage" and payload.status == 1)


@pytest.mark.parametrize("name", NAMES)
def test_scenario_comes_to_the_same_on_both_engines(renode: None, name: str) -> None:  # noqa: ARG001
    theirs, ours = play(name, "renode"), play(name, "unicorn")

    assert theirs.verdict.outcome is ours.verdict.outcome
    assert theirs.verdict.refusal == ours.verdict.refusal
    assert [(m.name, m.held) for m in theirs.verdict.monitors] == [(m.name, m.held) for m in ours.verdict.monitors]
    assert theirs.table == ours.table
    assert [(r.status, r.fault, r.fault_status, r.fault_address, r.fault_pc) for r in theirs.steps] == [
        (r.status, r.fault, r.fault_status, r.fault_address, r.fault_pc) for r in ours.steps
    ]
    for core in ("host", "a7", "m4"):
        assert list(comparable(theirs.soc.log.records, core)) == list(comparable(ours.soc.log.records, core))
    for bank in ("retram", "sram1", "sram2", "sram3", "sram4", "sysram", "bkpsram"):
        assert theirs.soc.banks[bank].save() == ours.soc.banks[bank].save(), bank


def test_same_boot_twice_gives_the_same_log_byte_for_byte(renode: None) -> None:  # noqa: ARG001
    logs = []
    for _ in range(2):
        stream = io.StringIO()
        play("write-after-start-open", "renode").soc.log.write_jsonl(stream)
        logs.append(stream.getvalue())

    assert logs[0] == logs[1]
