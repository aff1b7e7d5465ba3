"""Instruction counts are exact: IT blocks of every kind, exceptions inside them, at any quantum, in both inner loops.

What an instruction counts is the architecture's (ARMv7-M manual): a member that its IT block skips is executed as NOP
(A7.3.2), an instruction that faults is not executed (B1.5.6), SVC is.
"""

from __future__ import annotations

import itertools

import pytest
from presence import Configured

from cosim.engine import CoreState
from cosim.engine.unicorn.native import library_path
from cosim.events import ExceptionTaken, RegisterWritten
from cosim.resources import firmware_file
from cosim.scripts import loading, start, until_ready
from cosim.soc import Soc, SocConfig
from cosim.testing import Signer

#: Instructions behind each marker of probe_it.S, without the two that make the next marker. Its handler takes nine for
#: an SVC and ten for a fault.
CASES = {
    0: ("nothing", 0),
    1: ("straight line", 4),
    2: ("one member, taken", 3),
    3: ("one member, skipped", 3),
    4: ("two members, both taken", 4),
    5: ("two members, both skipped", 4),
    6: ("two members, first taken", 4),
    7: ("two members, second taken", 4),
    8: ("three members, mixed", 5),
    9: ("four members, all taken", 6),
    10: ("four members, all skipped", 6),
    11: ("four members, every other one", 6),
    12: ("32-bit members, taken", 5),
    13: ("32-bit members, skipped", 5),
    14: ("branch as last member, taken", 4),
    15: ("branch as last member, skipped", 4),
    16: ("skipped block before a branch", 5),
    17: ("two blocks in a row", 7),
    18: ("return as last member", 6),
    19: ("skipped return, then a return", 7),
    20: ("loads and stores as members", 6),
    21: ("push and pop as members", 4),
    22: ("up to a marker that is a member", 2),
    23: ("behind a marker that is a member", 1),
    24: ("loop of 100 rounds with a block", 1 + 100 * 6),
    25: ("SVC in the middle of a block", 5 + 9),
    26: ("SVC as last member", 4 + 9),
    27: ("faulting load in a block", 7 + 10),
    28: ("faulting store in a block", 7 + 10),
    29: ("VFP members", 5),
    30: ("skipped undefined instruction", 3),
    31: ("block across a page boundary", 7),
}
END = 63

LOOPS = ["python", pytest.param("native", marks=pytest.mark.skipif(library_path() is None, reason="not built"))]


def run_probe(signer: Signer, config: SocConfig) -> Soc:
    """Boot probe_it.elf and let it run to its WFI."""
    soc = Soc(config)
    image = signer.sign(firmware_file("probe_it.elf"))
    soc.run_script([*loading(soc.stage(image), len(image)), start(), until_ready()])
    soc.run(lambda: soc.m4.state is not CoreState.RUNNING, 10**9)
    return soc


def marks(soc: Soc) -> list[tuple[int, int]]:
    """Number and instruction count of each marker write."""
    return [
        (record.payload.after, record.stamp.instructions)
        for record in soc.log
        if isinstance(record.payload, RegisterWritten) and record.payload.register == "BKP20R"
    ]


@pytest.mark.parametrize("quantum", [1, 2, 3, 7, 100, 1000])
@pytest.mark.parametrize("loop", LOOPS)
def test_every_piece_of_code_counts_what_it_executes(
    signer: Signer, loop: str, quantum: int, configured: Configured
) -> None:
    soc = run_probe(signer, configured(loop=loop, quantum=quantum))
    found = marks(soc)

    assert [number for number, _ in found] == [*CASES, END]
    counted = {CASES[number][0]: after - before - 2 for (number, before), (_, after) in itertools.pairwise(found)}
    assert counted == dict(CASES.values())
    assert len([e for e in soc.log.of(ExceptionTaken) if e.core == "m4"]) == 4
    assert soc.m4.state is CoreState.SLEEPING
    assert soc.m4.retired == found[-1][1] + 2  # the last marker, and WFI


@pytest.mark.parametrize("loop", LOOPS)
def test_exceptions_carry_the_count_of_what_retired_before_them(
    signer: Signer, loop: str, configured: Configured
) -> None:
    """SVC retires before its exception, a faulting instruction does not retire; skipped members before it do."""
    soc = run_probe(signer, configured(loop=loop))
    begin = dict(marks(soc))
    taken = [r.stamp.instructions for r in soc.log if isinstance(r.payload, ExceptionTaken)]

    # Behind the marker's STR: CMP, IT, ADD, SVC, twice; then LDR, CMP, IT, ADD and, in the last one, a skipped ADD.
    assert taken == [begin[25] + 5, begin[26] + 5, begin[27] + 5, begin[28] + 6]


def test_register_writes_in_a_block_happen_at_the_same_time_as_outside(signer: Signer, cosim_config: SocConfig) -> None:
    """The marker that is a member (23) carries the PC of its store, and the time that its count gives."""
    soc = run_probe(signer, cosim_config)
    stamps = {
        r.payload.after: r.stamp
        for r in soc.log
        if isinstance(r.payload, RegisterWritten) and r.payload.register == "BKP20R"
    }
    before, inside = stamps[22], stamps[23]

    assert inside.pc == before.pc + 2 + 2 + 2 + 2  # STR, MOVS, CMP, ITT
    assert inside.instructions == before.instructions + 4
    assert inside.time_ps - before.time_ps in (4 * 10**6 // 209, 4 * 10**6 // 209 + 1)
