"""Exceptions that were taken often already, which the C helper enters and leaves by itself, are taken just the same.

The log tells of the first ones of each number only, and those are left to Python. So the counts are set before the
firmware begins.
"""

from __future__ import annotations

import struct
from array import array

import pytest
from m4_probes import symbols_of
from test_m4_hostile_interrupts import FASTEST_TICK, LEVEL_STAYS_HIGH, PENDS_ITSELF
from test_m4_lockup import place_of

from cosim.access import Deny, Initiator
from cosim.engine import CoreState
from cosim.engine.unicorn.cortex_m4 import CortexM4
from cosim.engine.unicorn.native import library_path
from cosim.engine.unicorn.nvic import PENDSV, SVCALL, SYSTICK
from cosim.resources import firmware_file
from cosim.scripts import loading, start
from cosim.soc import Soc, SocConfig
from cosim.testing import default_signer
from ta.profile import FirewallProfile

pytestmark = pytest.mark.skipif(library_path() is None, reason="the native loop is not built")

REGISTERS = ("r0", "r1", "r2", "r3", "r4", "r7", "r12", "sp", "lr", "pc", "xpsr", "msp", "psp", "control", "basepri")
LOOPS = ("native", "python")
MEMORIES = (("retram", 0x00000000, 0x10000), ("sram", 0x10000000, 0x60000))
#: Behind the first ones that the log tells of, and far from the next.
OFTEN = 100
MILLISECOND_PS = 10**9


def started(elf: bytes, often: int, **config: str | int) -> Soc:
    """The firmware at its first instruction, as if each exception had been taken `often` times."""
    soc = Soc(SocConfig(deny=Deny.ABORT, **config))  # type: ignore[arg-type]
    image = default_signer().sign(elf)
    soc.run_script([*loading(soc.stage(image), len(image)), start()])
    assert soc.m4.retired < 1000
    nvic = core(soc).scs.nvic
    nvic.taken[:] = array("Q", [often] * len(nvic.taken))
    return soc


def core(soc: Soc) -> CortexM4:
    """The M4 of the embedded engine."""
    assert isinstance(soc.m4, CortexM4)
    return soc.m4


def taken(soc: Soc) -> tuple[int, ...]:
    """How often each exception was taken."""
    return tuple(core(soc).scs.nvic.taken)


def state(soc: Soc) -> dict[str, object]:
    """All that tells two machines apart."""
    memories = {name: soc.bus.debug_read("m4", base, size) for name, base, size in MEMORIES}
    registers = {name: soc.m4.read_register(name) for name in REGISTERS}
    counts = soc.m4.retired, soc.m4.cycles, soc.m4.time_ps, taken(soc)
    return {**memories, **registers, "counts": counts, "log": [record.as_json() for record in soc.log]}


@pytest.mark.parametrize("timing", ["instructions", "cycles"])
def test_the_cases_of_the_manual_end_as_they_do_the_first_time(timing: str) -> None:
    elf = firmware_file("nvic_cases.elf").read_bytes()
    ends = {}
    for loop, often in (("native", 0), ("native", OFTEN), ("python", OFTEN)):
        soc = started(elf, often, loop=loop, timing=timing)
        soc.run(lambda soc=soc: soc.m4.state is not CoreState.RUNNING, 50 * MILLISECOND_PS)
        ends[loop, often] = soc

    first, native, python = (state(soc) for soc in ends.values())
    assert native == python
    del first["log"], native["log"]
    first["counts"], native["counts"] = (s["counts"][:3] for s in (first, native))  # type: ignore[index]
    assert native == first
    assert [n - OFTEN for n in taken(ends["native", OFTEN])] == list(taken(ends["native", 0]))


@pytest.mark.parametrize("timing", ["instructions", "cycles"])
@pytest.mark.parametrize("quantum", [7, 1000])
@pytest.mark.parametrize("mode", [FASTEST_TICK, LEVEL_STAYS_HIGH, PENDS_ITSELF])
def test_both_loops_are_in_the_same_state_anywhere_in_a_storm(mode: int, quantum: int, timing: str) -> None:
    elf = bytearray(firmware_file("nvic_hostile.elf").read_bytes())
    place = place_of(bytes(elf), symbols_of(bytes(elf))["nvic_mode"])
    elf[place : place + 4] = struct.pack("<I", mode)
    native, python = (started(bytes(elf), OFTEN, loop=loop, quantum=quantum, timing=timing) for loop in LOOPS)

    for budget_ps in (MILLISECOND_PS // 100, 1_000_003, 777_777, MILLISECOND_PS // 77):
        native.run(budget_ps=budget_ps)
        python.run(budget_ps=budget_ps)
        assert state(native) == state(python)
    assert max(taken(native)) > OFTEN + 100


def test_a_preemptive_kernel_runs_the_same_on_both_loops() -> None:
    """Two stacks, PendSV, SVC, SysTick, tasks with and without floating point."""
    elf = firmware_file("kernel_m4.elf").read_bytes()
    native, python = (started(elf, OFTEN, loop=loop) for loop in LOOPS)

    for _ in range(4):
        native.run(budget_ps=MILLISECOND_PS)
        python.run(budget_ps=MILLISECOND_PS)
        assert state(native) == state(python)
    assert min(taken(native)[number] for number in (SVCALL, PENDSV, SYSTICK)) > OFTEN


def test_a_snapshot_goes_on_with_the_counts_it_was_taken_with() -> None:
    soc = started(firmware_file("kernel_m4.elf").read_bytes(), OFTEN)
    soc.run(budget_ps=MILLISECOND_PS)
    snapshot = soc.snapshot()
    soc.run(budget_ps=MILLISECOND_PS)
    first = state(soc)

    soc.restore(snapshot)
    soc.run(budget_ps=MILLISECOND_PS)

    assert state(soc) == first


#: Each: code, where its handler begins, what it stores at RESULT and how many instructions retire until it sleeps.
#: r4 = 0, PendSV. Its handler has it return into an IT block with two members left, whose condition fails:
#: ADDS r4,#1; ADDS r4,#2. Behind the block: ADDS r4,#4; store r4 at RESULT.
INTO_A_BLOCK = (
    "0a48 4ff08051 0a4a 0024 012c 0160 00bf fee7 0134 0234 0434 1460 30bf"
    "aff20e03 0693 079b 43f48063 0793 7047 04ed00e0 00010010",
    0x1C,
    (4, 17),
)
#: Executes ADDS r4,#1; BX lr from below the stack, where then a frame comes to lie with r0 = ADDS r4,#8; BX lr.
OVER_CODE = (
    "084d 094e 6f1e 3e60 0024 a847 0748 0849 4ff08052 0a60 00bf a847 064a 1460 30bf 00bf"
    "7047 e1ff0110 01347047 08347047 04ed00e0 00010010",
    0x22,
    (1 + 8, 20),
)
RETRAM, CODE, STACK, RESULT, BOOT_MCU = 0x38000000, 0x10000000, 0x10020000, 0x10000100, 0x5000010C


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("program", [INTO_A_BLOCK, OVER_CODE], ids=["into-a-block", "over-code"])
def test_frame_is_what_the_handler_returns_by(program: tuple[str, int, tuple[int, int]], loop: str) -> None:
    code, handler, end = program
    soc = Soc(SocConfig(firewall=FirewallProfile.OPEN, loop=loop))
    soc.bus.write(Initiator.DEBUG, RETRAM, struct.pack("<2I", STACK, CODE | 1))
    soc.bus.write(Initiator.DEBUG, RETRAM + 4 * PENDSV, struct.pack("<I", CODE + handler | 1))
    soc.bus.write(Initiator.DEBUG, CODE, bytes.fromhex(code))
    soc.bus.write(Initiator.A7_S, BOOT_MCU, bytes([1, 0, 0, 0]))
    soc.run(budget_ps=5_000)  # the first instruction
    core(soc).scs.nvic.taken[PENDSV] = OFTEN
    assert soc.m4.retired <= 2

    soc.run(budget_ps=10**6)

    assert taken(soc)[PENDSV] == OFTEN + 1
    assert soc.m4.state is CoreState.SLEEPING
    assert (int.from_bytes(soc.debug_read(RESULT, 4), "little"), soc.m4.retired) == end
