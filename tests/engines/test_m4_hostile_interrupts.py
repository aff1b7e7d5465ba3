"""Interrupts that never end well: virtual time goes on, the budget ends the run, and the log stays bounded."""

from __future__ import annotations

import struct

import pytest
from m4_probes import boot_probe, symbols_of
from test_m4_lockup import place_of

from cosim.access import Deny
from cosim.engine import CoreState, StopReason
from cosim.engine.unicorn.native import library_path
from cosim.events import CoreStopped, ExceptionTaken, InterruptTaken
from cosim.resources import firmware_file
from cosim.soc import Soc, SocConfig

(
    FASTEST_TICK, LEVEL_STAYS_HIGH, HANDLER_FAULTS, HANDLER_IS_NOWHERE, NO_VECTORS, STACK_RUNS_OUT, PENDS_ITSELF, CALLS,
) = range(8)  # fmt: skip
LOOPS = ["python", pytest.param("native", marks=pytest.mark.skipif(library_path() is None, reason="not built"))]
#: 10,000 instructions of the M4.
BUDGET_PS = 10_000 * 10**6 // 209


def hostile(mode: int, loop: str = "auto", quantum: int = 1000) -> tuple[Soc, dict[str, int]]:
    """nvic_hostile.elf in one of its modes, up to its ready word."""
    elf = bytearray(firmware_file("nvic_hostile.elf").read_bytes())
    symbols = symbols_of(bytes(elf))
    place = place_of(bytes(elf), symbols["nvic_mode"])
    elf[place : place + 4] = struct.pack("<I", mode)
    return boot_probe(bytes(elf), SocConfig(deny=Deny.ABORT, loop=loop, quantum=quantum)), symbols


def word(soc: Soc, address: int) -> int:
    """A word of the M4's memory."""
    return int.from_bytes(soc.bus.debug_read("m4", address, 4), "little")


def stopped(soc: Soc) -> list[str]:
    """Why the M4 stopped."""
    return [e.reason for e in soc.log.of(CoreStopped) if e.core == "m4"]


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("mode", [FASTEST_TICK, LEVEL_STAYS_HIGH, PENDS_ITSELF])
def test_endless_interrupts_use_up_the_budget_and_little_of_the_log(mode: int, loop: str) -> None:
    soc, symbols = hostile(mode, loop)
    soc.run(budget_ps=BUDGET_PS // 10)
    rounds, handled, events = word(soc, symbols["nvic_rounds"]), word(soc, symbols["nvic_handled"]), len(soc.log)

    assert soc.run(budget_ps=BUDGET_PS) is StopReason.TIME
    assert soc.m4.state is CoreState.RUNNING
    assert word(soc, symbols["nvic_handled"]) > handled + 300
    assert word(soc, symbols["nvic_rounds"]) == rounds  # the handlers follow one another
    assert len(soc.log) - events < 100


def test_supervisor_calls_without_end_do_not_fill_the_log() -> None:
    soc, symbols = hostile(CALLS)
    soc.run(budget_ps=BUDGET_PS)
    handled, events = word(soc, symbols["nvic_handled"]), len(soc.log)

    assert soc.run(budget_ps=BUDGET_PS) is StopReason.TIME
    assert word(soc, symbols["nvic_handled"]) > handled + 300
    assert len(soc.log) - events < 3
    assert len([e for e in soc.log.of(ExceptionTaken) if e.exception == "SVCall"]) >= 32


@pytest.mark.parametrize(
    ("mode", "reason", "exceptions"),
    [
        (HANDLER_FAULTS, "lockup: BusFault at priority -1 or above", ["HardFault"]),
        (HANDLER_IS_NOWHERE, "lockup: BusFault at priority -1 or above", ["HardFault"]),
        (NO_VECTORS, "lockup: the vector table cannot be read", []),
        (STACK_RUNS_OUT, "lockup: BusFault at priority -1 or above", []),
    ],
)
def test_interrupt_that_cannot_be_handled_ends_in_lockup(mode: int, reason: str, exceptions: list[str]) -> None:
    soc, _ = hostile(mode)
    soc.run(budget_ps=BUDGET_PS)

    assert soc.m4.state is CoreState.LOCKED_UP
    assert stopped(soc) == [reason]
    assert [e.exception for e in soc.log.of(ExceptionTaken) if e.core == "m4"][: len(exceptions)] == exceptions
    assert soc.run(budget_ps=BUDGET_PS) is StopReason.IDLE  # no tick keeps a core alive that has locked up


@pytest.mark.parametrize("mode", [FASTEST_TICK, LEVEL_STAYS_HIGH])
@pytest.mark.parametrize("quantum", [1, 7, 100, 10_000])
def test_interrupt_storm_is_the_same_at_every_quantum(mode: int, quantum: int) -> None:
    def taken(quantum: int) -> list[tuple[int, object]]:
        soc, _ = hostile(mode, quantum=quantum)
        soc.run(budget_ps=BUDGET_PS // 10)
        return [(r.stamp.instructions, r.payload) for r in soc.log if isinstance(r.payload, InterruptTaken)][:30]

    usual = taken(1000)
    assert len(usual) == 30
    assert taken(quantum) == usual


def test_restored_snapshot_goes_on_with_the_same_interrupts() -> None:
    soc, symbols = hostile(FASTEST_TICK)
    soc.run(budget_ps=BUDGET_PS // 10)
    snapshot = soc.snapshot()
    soc.run(budget_ps=BUDGET_PS)
    first = soc.m4.retired, word(soc, symbols["nvic_handled"]), soc.m4.pc, [r.as_json() for r in soc.log]

    soc.restore(snapshot)
    soc.run(budget_ps=BUDGET_PS)

    assert (soc.m4.retired, word(soc, symbols["nvic_handled"]), soc.m4.pc, [r.as_json() for r in soc.log]) == first
