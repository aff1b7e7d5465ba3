"""Hardware semaphores: who locks and frees, in one step or two, and the interrupt when one is freed."""

from __future__ import annotations

import pytest
from rig import Rig

from cosim.access import Initiator
from cosim.peripherals.hsem import Hsem

NS, S, M4, DEBUG = Initiator.A7_NS, Initiator.A7_S, Initiator.M4, Initiator.DEBUG
LOCK = 1 << 31
A7, CM4 = 1, 2


def r(n: int) -> int:
    return 4 * n


def rlr(n: int) -> int:
    return 0x80 + 4 * n


def claim(core: int, process: int = 0) -> int:
    return LOCK | core << 8 | process


@pytest.fixture
def rig() -> Rig:
    return Rig()


@pytest.fixture
def hsem(rig: Rig) -> Hsem:
    return Hsem(0x4C000000, rig.log, rig.outputs(Hsem.output_names))


@pytest.mark.parametrize(("who", "core"), [(NS, A7), (S, A7), (M4, CM4)])
@pytest.mark.parametrize("n", [0, 31])
def test_reading_rlr_takes_a_free_semaphore_for_the_reading_core(hsem: Hsem, who: Initiator, core: int, n: int) -> None:
    assert hsem.read(rlr(n), 4, who) == claim(core)
    assert hsem.read(r(n), 4, DEBUG) == claim(core)


def test_a_taken_semaphore_answers_with_its_holder(hsem: Hsem) -> None:
    hsem.read(rlr(5), 4, NS)
    assert hsem.read(rlr(5), 4, M4) == claim(A7)


def test_the_debugger_takes_nothing(hsem: Hsem) -> None:
    assert hsem.read(rlr(3), 4, DEBUG) == 0
    assert hsem.read(rlr(3), 4, M4) == claim(CM4)


def test_two_step_lock_succeeds_for_the_first_and_only_for_ones_own_core(hsem: Hsem) -> None:
    hsem.write(r(7), 4, claim(A7, 9), M4)
    assert hsem.read(r(7), 4, M4) == 0
    hsem.write(r(7), 4, claim(CM4, 9), M4)
    hsem.write(r(7), 4, claim(A7, 1), NS)
    assert hsem.read(r(7), 4, NS) == claim(CM4, 9)


@pytest.mark.parametrize(
    ("who", "core", "process", "freed"),
    [(M4, CM4, 9, True), (M4, CM4, 8, False), (NS, A7, 9, False), (NS, CM4, 9, False)],
)
def test_only_the_holder_frees_with_its_process_number(
    hsem: Hsem, who: Initiator, core: int, process: int, freed: bool
) -> None:
    hsem.write(r(0), 4, claim(CM4, 9), M4)
    hsem.write(r(0), 4, core << 8 | process, who)
    assert (hsem.read(r(0), 4, M4) == 0) is freed


def test_freeing_raises_the_interrupt_of_each_core_that_enabled_it(rig: Rig, hsem: Hsem) -> None:
    hsem.write(0x100, 4, 1 << 4, NS)
    hsem.read(rlr(4), 4, M4)
    hsem.write(r(4), 4, CM4 << 8, M4)
    assert rig.high() == {"It1"}
    assert [hsem.read(offset, 4, NS) for offset in (0x108, 0x10C, 0x118, 0x11C)] == [1 << 4, 1 << 4, 1 << 4, 0]
    hsem.write(0x104, 4, 1 << 4, NS)
    assert (rig.high(), hsem.read(0x108, 4, NS), hsem.read(0x118, 4, M4)) == (set(), 0, 1 << 4)
    hsem.write(0x110, 4, 1 << 4, M4)
    assert rig.high() == {"It2"}


def test_the_clear_register_frees_all_of_a_core_with_the_right_key(hsem: Hsem) -> None:
    hsem.write(0x144, 4, 0xABCD0000, NS)
    for n in (1, 2):
        hsem.read(rlr(n), 4, M4)
    hsem.read(rlr(3), 4, NS)
    hsem.write(0x140, 4, 0x12340000 | CM4 << 8, NS)
    assert hsem.read(r(1), 4, NS) == claim(CM4)
    hsem.write(0x140, 4, 0xABCD0000 | CM4 << 8, NS)
    assert [hsem.read(r(n), 4, NS) for n in (1, 2, 3)] == [0, 0, claim(A7)]


def test_a_snapshot_keeps_holders_and_interrupts(rig: Rig, hsem: Hsem) -> None:
    hsem.write(0x110, 4, 1, M4)
    hsem.read(rlr(0), 4, NS)
    hsem.write(r(0), 4, A7 << 8, NS)
    hsem.read(rlr(1), 4, M4)
    saved = hsem.save()
    hsem.reset()
    assert (rig.high(), hsem.read(r(1), 4, M4)) == (set(), 0)
    hsem.load(saved)
    assert (rig.high(), hsem.read(r(1), 4, M4)) == ({"It2"}, claim(CM4))
