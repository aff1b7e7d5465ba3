"""Registers of the A7 that the engine serves: decoding of their instructions, and the performance monitors (C12)."""

from __future__ import annotations

import pytest

from cosim.engine.unicorn.a7_pmu import PerformanceMonitors
from cosim.engine.unicorn.a7_traps import decode_timer

PMCR, PMCNTENSET, PMCNTENCLR, PMCCNTR, PMUSERENR, PMINTENSET = (12, 0), (12, 1), (12, 2), (13, 0), (14, 0), (14, 1)
ENABLE, CLEAR, DIVIDE, CYCLES = 1, 4, 8, 1 << 31

#: mrc p15, 0, Rt, c14, c2, 1 and mrrc p15, 1, Rt, Rt2, c14
READ_CTL, READ_VCT = 0xEE1E0F32, 0xEC500F1E


class Core:
    def __init__(self) -> None:
        self.retired = 0
        self.monitors = PerformanceMonitors(lambda: self.retired)
        self.monitors.write(PMCNTENSET, CYCLES)


@pytest.mark.parametrize(
    ("opcode", "thumb", "exists"),
    [
        (READ_CTL, False, True),
        (READ_CTL | 13 << 12, False, True),
        (READ_CTL | 13 << 12, True, False),
        (READ_CTL | 15 << 12, False, False),
        (READ_CTL | 0xF << 28, False, False),
        (READ_CTL | 1 << 21, False, False),
        (READ_VCT | 1 << 16, False, True),
        (READ_VCT, False, False),
        (READ_VCT | 15 << 16, False, False),
        (READ_VCT | 1 << 16 | 4 << 4, False, False),
    ],
)
def test_timer_instructions_that_are_unpredictable_or_none_are_undefined(
    opcode: int, thumb: bool, exists: bool
) -> None:
    assert (decode_timer(opcode, thumb=thumb) is not None) is exists


def test_cycle_counter_is_cleared_stopped_and_written() -> None:
    core = Core()
    core.monitors.write(PMCR, ENABLE)
    core.retired = 100
    assert core.monitors.read(PMCCNTR) == 100
    core.monitors.write(PMCR, ENABLE | CLEAR)
    core.retired = 130
    assert core.monitors.read(PMCCNTR) == 30
    core.monitors.write(PMCNTENCLR, CYCLES)
    core.retired = 200
    assert core.monitors.read(PMCCNTR) == 30
    core.monitors.write(PMCCNTR, 0xFFFFFFFF)
    core.monitors.write(PMCNTENSET, CYCLES)
    core.retired = 202
    assert core.monitors.read(PMCCNTR) == 1


def test_divided_cycle_counter_counts_every_64th_instruction() -> None:
    core = Core()
    core.monitors.write(PMCR, ENABLE | CLEAR | DIVIDE)
    core.retired = 640
    assert core.monitors.read(PMCCNTR) == 10


def test_monitors_restore_what_they_were() -> None:
    core = Core()
    core.monitors.write(PMCR, ENABLE)
    saved = core.monitors.save()
    core.monitors.write(PMCR, 0)
    core.monitors.load(saved)
    core.retired = 7
    assert core.monitors.read(PMCCNTR) == 7


def test_pl0_has_the_monitors_when_pmuserenr_says_so() -> None:
    core = Core()
    assert not core.monitors.permits(PMCCNTR, write=False, privileged=False)
    assert core.monitors.permits(PMUSERENR, write=False, privileged=False)
    assert not core.monitors.permits(PMUSERENR, write=True, privileged=False)
    core.monitors.write(PMUSERENR, 1)
    assert core.monitors.permits(PMCCNTR, write=True, privileged=False)
    assert not core.monitors.permits(PMINTENSET, write=True, privileged=False)
    assert not core.monitors.permits((12, 9), write=False, privileged=True)
