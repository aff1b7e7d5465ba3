"""SysTick, MPU and priorities of the M4 against the plainest models of what their sections of DDI 0403 say."""

from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from cosim.access import Rights
from cosim.engine.unicorn.mpu import CTRL, RASR, RBAR, Mpu
from cosim.engine.unicorn.nvic import LOWEST_PRIORITY, Masks, Nvic
from cosim.engine.unicorn.systick import COUNTFLAG, CSR, CVR, RVR, SysTick
from cosim.timers import Timers

MIPS = 209
NONE = Masks(False, False, 0)


def time_of(cycle: int) -> int:
    """The virtual time of a cycle in picoseconds, as the loops compute it."""
    return cycle * 10**6 // MIPS


class CountingSysTick:
    """B3.3.1, cycle by cycle: at zero, reload; from one to zero, COUNTFLAG and the exception."""

    def __init__(self) -> None:
        self.control = self.reload = self.value = self.flag = self.expired = 0

    def clock(self) -> None:
        if not self.control & 1:
            return
        if self.value == 0:
            self.value = self.reload
            return
        self.value -= 1
        if self.value == 0:
            self.flag = 1
            self.expired += bool(self.control & 2)


WRITES = st.one_of(
    st.tuples(st.just(CSR), st.sampled_from([4, 5, 6, 7])),
    st.tuples(st.just(RVR), st.integers(0, 12)),
    st.tuples(st.just(CVR), st.just(0)),
    st.tuples(st.just(None), st.just(0)),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 40), WRITES), max_size=12))
def test_systick_computes_what_counting_gives(steps: list[tuple[int, tuple[int | None, int]]]) -> None:
    timers, counting, expired = Timers(), CountingSysTick(), []
    computed = SysTick(timers, MIPS, lambda: expired.append(1))
    cycle = 0
    for wait, (offset, value) in steps:
        for _ in range(wait):
            cycle += 1
            counting.clock()
            timers.run_due(time_of(cycle))
        now = time_of(cycle)
        assert len(expired) == counting.expired
        assert computed.read(CVR, now) == counting.value
        assert bool(computed.read(CSR, now) & COUNTFLAG) == bool(counting.flag)
        counting.flag = 0
        if offset is None:
            continue
        computed.write(offset, value, now)
        if offset == CSR:
            counting.control = value
        elif offset == RVR:
            counting.reload = value
        else:
            counting.value = 0


REGION = st.tuples(
    st.integers(0, 0xFFFFFFFF), st.integers(4, 31), st.integers(0, 255), st.sampled_from(range(8)), st.booleans()
)


@settings(max_examples=100, deadline=None)
@given(st.lists(REGION, max_size=8), st.booleans(), st.booleans(), st.lists(st.integers(0, 0xFFFFFFFF), max_size=20))
def test_mpu_runs_say_the_same_as_the_rights_of_each_address(
    regions: list[tuple[int, int, int, int, bool]], background: bool, privileged: bool, probes: list[int]
) -> None:
    mpu = Mpu(lambda: None)
    for number, (base, size, parts, access, never) in enumerate(regions):
        mpu.write(RBAR, base & ~0x1F | 1 << 4 | number, 0)
        mpu.write(RASR, never << 28 | access << 24 | parts << 8 | size << 1 | 1, 0)
    mpu.write(CTRL, 1 | background << 2, 0)
    runs = list(mpu.runs(0, 1 << 32, privileged=privileged))

    assert runs[0][0] == 0
    assert runs[-1][1] == 1 << 32
    assert all(one[1] == other[0] and one[2] != other[2] for one, other in itertools.pairwise(runs))
    for address in probes + [edge for run in runs for edge in (run[0], run[1] - 1)]:
        (rights,) = [rights for base, end, rights in runs if base <= address < end]
        assert mpu.rights(address, privileged=privileged) == rights


def test_region_with_the_higher_number_decides_and_a_disabled_part_does_not() -> None:
    """B3.5.2 and B3.5.9: 256 bytes at 0x1000 with the upper half disabled, on top of a read-only region."""
    mpu = Mpu(lambda: None)
    mpu.write(RBAR, 0 | 1 << 4 | 0, 0)
    mpu.write(RASR, 6 << 24 | 15 << 1 | 1, 0)
    mpu.write(RBAR, 0x1000 | 1 << 4 | 3, 0)
    mpu.write(RASR, 1 << 28 | 1 << 24 | 0xF0 << 8 | 7 << 1 | 1, 0)
    mpu.write(CTRL, 1, 0)

    def rights(address: int, privileged: bool) -> Rights:
        return mpu.rights(address, privileged=privileged)

    assert rights(0x107F, True) == Rights.READ | Rights.WRITE
    assert rights(0x107F, False) == Rights.NONE
    assert rights(0x1080, True) == rights(0xFFF, False) == Rights.READ | Rights.FETCH
    assert rights(0x10000, True) == Rights.NONE


def test_mpu_is_off_for_hardfault_and_nmi_unless_hfnmiena_is_set() -> None:
    mpu = Mpu(lambda: None)
    mpu.write(CTRL, 1, 0)
    assert (mpu.applies(0), mpu.applies(-1)) == (True, False)
    mpu.write(CTRL, 3, 0)
    assert mpu.applies(-2)


def test_basepri_and_active_priorities_count_by_group() -> None:
    """B1.5.4: with PRIGROUP 5 the group is bits 7:6."""
    nvic = Nvic()
    nvic.prigroup = 5
    assert nvic.execution_priority(NONE) == LOWEST_PRIORITY
    assert nvic.execution_priority(Masks(False, False, 0x70)) == 0x40
    nvic.priorities[20] = 0xB0
    nvic.activate(20)
    assert nvic.execution_priority(NONE) == 0x80
    assert nvic.execution_priority(Masks(True, False, 0)) == 0
    assert nvic.execution_priority(Masks(False, True, 0)) == -1
