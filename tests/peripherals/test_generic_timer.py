"""The generic timer: counting, the timer conditions of DDI 0406C chapter B8, alarms, PL0 access, the event stream."""

from __future__ import annotations

import pytest

from cosim.errors import EngineError
from cosim.peripherals.generic_timer import GenericTimer, TimerRegister
from cosim.timers import SECOND_PS, Timers

R = TimerRegister
HZ = 24_000_000
ENABLE, IMASK, ISTATUS = 1, 2, 4
TIMERS = [(R.CNTP_CTL, R.CNTP_CVAL, R.CNTP_TVAL, 0), (R.CNTV_CTL, R.CNTV_CVAL, R.CNTV_TVAL, 1)]


class Rig:
    def __init__(self, hz: int = HZ) -> None:
        self.timers = Timers()
        self.levels = [False, False]
        self.timer = GenericTimer(
            hz, self.timers, lambda level: self.drive(0, level), lambda level: self.drive(1, level)
        )

    def drive(self, index: int, level: bool) -> None:
        self.levels[index] = level


@pytest.fixture
def rig() -> Rig:
    return Rig()


@pytest.mark.parametrize(
    ("now_ps", "count"), [(0, 0), (41_666, 0), (41_667, 1), (SECOND_PS, HZ), (10**16, 24 * 10**10)]
)
@pytest.mark.parametrize("register", [R.CNTPCT, R.CNTVCT])
def test_both_counters_count_virtual_time(rig: Rig, register: TimerRegister, now_ps: int, count: int) -> None:
    assert rig.timer.read(register, now_ps) == count


def test_the_frequency_is_what_the_description_says(rig: Rig) -> None:
    assert rig.timer.read(R.CNTFRQ, 0) == HZ


@pytest.mark.parametrize(("control", "compare", "value", "index"), TIMERS)
def test_a_timer_asserts_its_own_interrupt_when_the_counter_reaches_the_compare_value(
    rig: Rig, control: TimerRegister, compare: TimerRegister, value: TimerRegister, index: int
) -> None:
    rig.timer.write(compare, 24, 0)
    rig.timer.write(control, ENABLE, 0)
    assert rig.timers.next_at() == 1_000_000
    assert rig.timer.read(control, 999_999) == ENABLE
    assert rig.timer.read(value, 500_000) == 12
    rig.timers.run_due(1_000_000)
    assert rig.levels == [index == 0, index == 1]
    assert rig.timer.read(control, 1_000_000) == ENABLE | ISTATUS
    assert rig.timers.next_at() is None


@pytest.mark.parametrize(("control", "compare", "value", "index"), TIMERS)
def test_the_timer_value_is_a_signed_distance_from_now(
    rig: Rig, control: TimerRegister, compare: TimerRegister, value: TimerRegister, index: int
) -> None:
    rig.timer.write(value, 10, SECOND_PS)
    assert rig.timer.read(compare, SECOND_PS) == HZ + 10
    rig.timer.write(value, 0xFFFFFFFF, SECOND_PS)
    assert rig.timer.read(compare, SECOND_PS) == HZ - 1
    assert rig.timer.read(value, SECOND_PS) == 0xFFFFFFFF
    rig.timer.write(control, ENABLE, SECOND_PS)
    assert rig.levels[index]


def test_a_masked_timer_shows_its_status_and_asserts_nothing(rig: Rig) -> None:
    rig.timer.write(R.CNTP_CTL, ENABLE | IMASK, 0)
    assert rig.timer.read(R.CNTP_CTL, 0) == ENABLE | IMASK | ISTATUS
    assert rig.levels == [False, False]
    rig.timer.write(R.CNTP_CTL, ENABLE, 0)
    assert rig.levels == [True, False]
    rig.timer.write(R.CNTP_CTL, ENABLE | IMASK, 0)
    rig.timer.write(R.CNTP_CVAL, 24, 0)
    assert rig.timers.next_at() is None


def test_a_disabled_timer_has_no_status_and_no_alarm(rig: Rig) -> None:
    rig.timer.write(R.CNTV_CVAL, 24, 0)
    rig.timer.write(R.CNTV_CTL, ENABLE, 0)
    rig.timer.write(R.CNTV_CTL, 0, 10)
    assert rig.timers.next_at() is None
    assert rig.timer.read(R.CNTV_CTL, SECOND_PS) == 0


def test_a_later_compare_value_takes_the_interrupt_back(rig: Rig) -> None:
    rig.timer.write(R.CNTV_CTL, ENABLE, 0)
    assert rig.levels == [False, True]
    rig.timer.write(R.CNTV_TVAL, 24, 0)
    assert rig.levels == [False, False]
    assert rig.timers.next_at() == 1_000_000


def test_a_compare_value_out_of_reach_is_kept_in_full(rig: Rig) -> None:
    rig.timer.write(R.CNTP_CVAL, (1 << 64) - 1, 0)
    rig.timer.write(R.CNTP_CTL, ENABLE, 0)
    assert rig.timer.read(R.CNTP_CVAL, 0) == (1 << 64) - 1
    assert rig.levels == [False, False]


PL0 = [
    (R.CNTFRQ, 1 << 0 | 1 << 1),
    (R.CNTPCT, 1 << 0),
    (R.CNTVCT, 1 << 1),
    (R.CNTV_CTL, 1 << 8),
    (R.CNTV_TVAL, 1 << 8),
    (R.CNTP_CTL, 1 << 9),
    (R.CNTP_CVAL, 1 << 9),
    (R.CNTKCTL, 0),
]


@pytest.mark.parametrize(("register", "bits"), PL0)
def test_pl0_has_a_register_when_cntkctl_says_so(rig: Rig, register: TimerRegister, bits: int) -> None:
    for bit in range(10):
        rig.timer.write(R.CNTKCTL, 1 << bit, 0)
        assert rig.timer.permits(register, write=False, privileged=False) is bool(bits >> bit & 1)
        assert rig.timer.permits(register, write=False, privileged=True)


@pytest.mark.parametrize("register", [R.CNTFRQ, R.CNTPCT, R.CNTVCT])
def test_counters_and_frequency_cannot_be_written(rig: Rig, register: TimerRegister) -> None:
    assert not rig.timer.permits(register, write=True, privileged=True)


@pytest.mark.parametrize(
    ("cntkctl", "now_ticks", "event_ticks"),
    [(0x04, 0, 1), (0x04, 1, 3), (0x0C, 0, 2), (0x0C, 2, 4), (0x34, 0, 8), (0x34, 7, 8), (0x34, 8, 24), (0x3C, 8, 16)],
)
def test_the_event_stream_follows_the_selected_bit_and_edge(
    rig: Rig, cntkctl: int, now_ticks: int, event_ticks: int
) -> None:
    rig.timer.write(R.CNTKCTL, cntkctl, 0)
    at_ps = rig.timer.next_event(-(-now_ticks * SECOND_PS // HZ))
    assert at_ps is not None
    assert rig.timer.count(at_ps) == event_ticks
    assert rig.timer.count(at_ps - 1) == event_ticks - 1


def test_there_is_no_event_stream_while_it_is_off(rig: Rig) -> None:
    rig.timer.write(R.CNTKCTL, 0x30, 0)
    assert rig.timer.next_event(0) is None


def test_a_snapshot_restores_the_registers(rig: Rig) -> None:
    rig.timer.write(R.CNTKCTL, 3, 0)
    rig.timer.write(R.CNTP_CVAL, 24, 0)
    rig.timer.write(R.CNTP_CTL, ENABLE, 0)
    saved, alarms = rig.timer.save(), rig.timers.save()
    rig.timer.write(R.CNTKCTL, 0, 0)
    rig.timer.write(R.CNTP_CTL, 0, 0)
    rig.timer.write(R.CNTP_CVAL, 0, 0)
    rig.timer.load(saved)
    rig.timers.load(alarms)
    rig.timers.run_due(1_000_000)
    assert rig.levels == [True, False]
    assert rig.timer.read(R.CNTKCTL, 0) == 3


@pytest.mark.parametrize("hz", [0, -1, SECOND_PS + 1])
def test_an_impossible_frequency_is_refused(hz: int) -> None:
    with pytest.raises(EngineError):
        Rig(hz)
