"""Timers in virtual time: the counter on demand, update and compare events, and when their interrupts come."""

from __future__ import annotations

import pytest
from rig import Rig

from cosim.access import Initiator
from cosim.peripherals.tim import (
    AdvancedTimer,
    GeneralTimer,
    OneChannelTimer,
    RepeatingOneChannelTimer,
    RepeatingTwoChannelTimer,
    Timer,
    TwoChannelTimer,
    WideTimer,
)

M4, DEBUG = Initiator.M4, Initiator.DEBUG
CR1, DIER, SR, EGR, CCMR1, CNT, PSC, ARR, CCR1, CCR2 = 0x00, 0x0C, 0x10, 0x14, 0x18, 0x24, 0x28, 0x2C, 0x34, 0x38
CEN, UDIS, URS, OPM, ARPE = 1, 2, 4, 8, 0x80
UIF, CC1IF, CC2IF = 1, 2, 4
#: A clock of 1 MHz: one count without prescaler is a microsecond.
MHZ, US = 10**6, 10**6


@pytest.fixture
def rig() -> Rig:
    return Rig()


def make(rig: Rig, kind: type[Timer] = GeneralTimer) -> Timer:
    outputs = rig.outputs(kind.output_names)
    return kind(0x40001000, rig.log, outputs, "tim", now_ps=lambda: rig.now, timers=rig.timers, clock_hz=MHZ)


def put(timer: Timer, *writes: tuple[int, int]) -> None:
    for offset, value in writes:
        timer.write(offset, 4, value, M4)


@pytest.mark.parametrize(("kind", "top"), [(Timer, 0xFFFF), (GeneralTimer, 0xFFFF), (WideTimer, 0xFFFFFFFF)])
def test_the_reload_value_has_the_width_of_the_counter(rig: Rig, kind: type[Timer], top: int) -> None:
    timer = make(rig, kind)
    assert timer.read(ARR, 4, M4) == top
    put(timer, (CNT, 0xFFFFFFFF))
    assert timer.read(CNT, 4, M4) == top


def test_the_counter_follows_virtual_time_through_the_prescaler(rig: Rig) -> None:
    timer = make(rig)
    put(timer, (PSC, 9), (EGR, 1), (CR1, CEN))
    for us, count in ((9, 0), (10, 1), (99, 9), (100, 10), (12345, 1234)):
        rig.pass_to(us * US)
        assert timer.read(CNT, 4, M4) == count


def test_a_stopped_counter_stays(rig: Rig) -> None:
    timer = make(rig)
    put(timer, (CR1, CEN))
    rig.pass_to(5 * US)
    put(timer, (CR1, 0))
    rig.pass_to(50 * US)
    assert timer.read(CNT, 4, M4) == 5
    put(timer, (CR1, CEN))
    rig.pass_to(52 * US)
    assert timer.read(CNT, 4, M4) == 7


@pytest.mark.parametrize("us", [99, 100, 101, 199, 12345])
def test_the_counter_wraps_behind_the_reload_value_and_sets_the_update_flag(rig: Rig, us: int) -> None:
    timer = make(rig)
    put(timer, (ARR, 99), (CR1, CEN))
    rig.pass_to(us * US)
    assert (timer.read(CNT, 4, M4), timer.read(SR, 4, M4) & UIF) == (us % 100, int(us >= 100))


def test_the_update_interrupt_comes_at_each_period_to_the_picosecond(rig: Rig) -> None:
    timer = make(rig)
    put(timer, (ARR, 999), (DIER, UIF), (CR1, CEN))
    came = []
    for _ in range(3):
        due = rig.timers.next_at()
        assert due is not None
        rig.pass_to(due)
        assert rig.high() == {"Irq"}
        came.append(due)
        put(timer, (SR, 0))
        assert rig.high() == set()
    assert came == [1000 * US, 2000 * US, 3000 * US]


def test_a_clock_that_does_not_divide_a_second_does_not_drift(rig: Rig) -> None:
    outputs = rig.outputs(Timer.output_names)
    timer = Timer(0, rig.log, outputs, "tim", now_ps=lambda: rig.now, timers=rig.timers, clock_hz=209 * MHZ)
    put(timer, (ARR, 208), (DIER, UIF), (CR1, CEN))
    for period in range(1, 1001):
        due = rig.timers.next_at()
        assert due == period * US
        rig.pass_to(due)
        put(timer, (SR, 0))


def test_without_an_enabled_interrupt_no_alarm_is_set(rig: Rig) -> None:
    put(make(rig), (ARR, 9), (CR1, CEN))
    assert rig.timers.next_at() is None


def test_flags_are_cleared_by_writing_zero_to_them_alone(rig: Rig) -> None:
    timer = make(rig)
    put(timer, (EGR, UIF | CC1IF | CC2IF), (SR, 0xFFFFFFFF & ~CC1IF))
    assert timer.read(SR, 4, M4) == UIF | CC2IF


def test_one_pulse_mode_stops_at_the_update(rig: Rig) -> None:
    timer = make(rig)
    put(timer, (ARR, 9), (CR1, CEN | OPM))
    rig.pass_to(35 * US)
    assert (timer.read(CR1, 4, M4) & CEN, timer.read(CNT, 4, M4), timer.read(SR, 4, M4) & UIF) == (0, 0, UIF)


@pytest.mark.parametrize(("control", "flag"), [(0, UIF), (URS, 0), (UDIS, 0)])
def test_a_software_update_restarts_and_sets_the_flag_unless_told_not_to(rig: Rig, control: int, flag: int) -> None:
    timer = make(rig)
    put(timer, (CR1, CEN | control))
    rig.pass_to(7 * US)
    put(timer, (EGR, 1))
    assert (timer.read(CNT, 4, M4), timer.read(SR, 4, M4) & UIF) == (0, flag)


def test_the_prescaler_takes_effect_at_the_next_update_only(rig: Rig) -> None:
    timer = make(rig)
    put(timer, (ARR, 9), (CR1, CEN), (PSC, 1))
    rig.pass_to(9 * US)
    assert timer.read(CNT, 4, M4) == 9
    rig.pass_to(16 * US)
    assert timer.read(CNT, 4, M4) == 3


@pytest.mark.parametrize(("control", "count"), [(0, 15 % 20), (ARPE, 5)])
def test_a_preloaded_reload_value_takes_effect_at_the_next_update(rig: Rig, control: int, count: int) -> None:
    timer = make(rig)
    put(timer, (ARR, 9), (CR1, CEN | control))
    put(timer, (ARR, 19))
    rig.pass_to(15 * US)
    assert timer.read(CNT, 4, M4) == count


def test_channels_flag_their_compare_value_and_interrupt_there(rig: Rig) -> None:
    timer = make(rig)
    put(timer, (ARR, 99), (CCR1, 30), (CCR2, 70), (DIER, CC2IF), (CR1, CEN))
    rig.pass_to(40 * US)
    assert timer.read(SR, 4, M4) & (CC1IF | CC2IF) == CC1IF
    assert rig.timers.next_at() == 70 * US
    rig.pass_to(70 * US)
    assert rig.high() == {"Irq"}


def test_a_compare_flag_that_was_cleared_rises_again_in_the_next_period_only(rig: Rig) -> None:
    timer = make(rig)
    put(timer, (ARR, 99), (CCR1, 30), (CR1, CEN))
    rig.pass_to(30 * US)
    put(timer, (SR, 0))
    rig.pass_to(99 * US)
    assert timer.read(SR, 4, M4) & CC1IF == 0
    rig.pass_to(130 * US)
    assert timer.read(SR, 4, M4) & CC1IF == CC1IF


def test_a_compare_value_behind_the_wrap_is_reached_in_the_next_period(rig: Rig) -> None:
    timer = make(rig)
    put(timer, (ARR, 99), (CNT, 50), (CCR1, 30), (DIER, CC1IF), (CR1, CEN))
    rig.pass_to(79 * US)
    assert rig.high() == set()
    rig.pass_to(80 * US)
    assert rig.high() == {"Irq"}


def test_a_channel_in_input_mode_compares_nothing(rig: Rig) -> None:
    timer = make(rig)
    put(timer, (CCMR1, 1), (CCR1, 3), (CCR2, 3), (CR1, CEN))
    rig.pass_to(10 * US)
    assert timer.read(SR, 4, M4) & (CC1IF | CC2IF) == CC2IF


def test_a_reload_value_of_zero_stops_the_counter(rig: Rig) -> None:
    timer = make(rig)
    put(timer, (ARR, 0), (DIER, UIF), (CR1, CEN))
    rig.pass_to(1000 * US)
    assert (timer.read(CNT, 4, M4), timer.read(SR, 4, M4), rig.timers.next_at()) == (0, 0, None)


def test_a_counter_beyond_a_lowered_reload_value_runs_to_its_end_first(rig: Rig) -> None:
    timer = make(rig)
    put(timer, (CNT, 0xFFF0), (ARR, 9), (DIER, UIF), (CR1, CEN))
    assert rig.timers.next_at() == 16 * US
    rig.pass_to(18 * US)
    assert timer.read(CNT, 4, M4) == 2


def test_a_look_from_a_core_whose_clock_is_behind_changes_nothing(rig: Rig) -> None:
    timer = make(rig)
    put(timer, (CR1, CEN))
    rig.now = 10 * US
    assert timer.read(CNT, 4, M4) == 10
    rig.now = 4 * US
    assert timer.read(CNT, 4, M4) == 10
    rig.now = 12 * US
    assert timer.read(CNT, 4, M4) == 12


def test_a_snapshot_goes_on_where_it_was_taken(rig: Rig) -> None:
    timer = make(rig)
    put(timer, (ARR, 99), (DIER, UIF), (CR1, CEN))
    rig.pass_to(30 * US)
    saved, alarms = timer.save(), rig.timers.save()
    rig.pass_to(150 * US)
    assert rig.high() == {"Irq"}
    rig.now = 30 * US
    timer.load(saved)
    rig.timers.load(alarms)
    assert (timer.read(CNT, 4, M4), rig.high()) == (30, set())
    rig.pass_to(100 * US)
    assert rig.high() == {"Irq"}


# Timers with a repetition counter, and with several interrupts

RCR, CC1IE, CC2IE = 0x30, 2, 4


def test_the_update_event_comes_with_the_wrap_behind_the_repetitions(rig: Rig) -> None:
    """RM0436, advanced-control timers, repetition counter: RCR + 1 overflows make one update event."""
    timer = make(rig, AdvancedTimer)
    put(timer, (ARR, 99), (RCR, 2), (EGR, 1), (SR, 0), (DIER, UIF), (CR1, CEN))
    came = []
    for _ in range(3):
        due = rig.timers.next_at()
        assert due is not None
        rig.pass_to(due)
        assert rig.high() == {"Up"}
        came.append(due // US)
        put(timer, (SR, 0))
    assert came == [300, 600, 900]


@pytest.mark.parametrize(("us", "up"), [(299, 0), (300, 1)])
def test_repetitions_are_counted_by_a_late_look_too(rig: Rig, us: int, up: int) -> None:
    timer = make(rig, RepeatingOneChannelTimer)
    put(timer, (ARR, 99), (RCR, 2), (EGR, 1), (SR, 0), (CR1, CEN))
    rig.pass_to(us * US)
    assert timer.read(SR, 4, M4) & UIF == up
    put(timer, (SR, 0))
    rig.pass_to(599 * US)
    assert timer.read(SR, 4, M4) & UIF == 1 - up
    rig.pass_to(600 * US)
    assert timer.read(SR, 4, M4) & UIF == UIF


def test_an_advanced_timer_tells_updates_and_compares_apart(rig: Rig) -> None:
    timer = make(rig, AdvancedTimer)
    put(timer, (ARR, 99), (CCR1, 10), (DIER, UIF | CC1IE), (CR1, CEN))
    rig.pass_to(10 * US)
    assert rig.high() == {"Cc"}
    rig.pass_to(100 * US)
    assert rig.high() == {"Cc", "Up"}
    put(timer, (SR, ~UIF & 0xFFFFFFFF))
    assert rig.high() == {"Cc"}


@pytest.mark.parametrize(
    ("kind", "enables"),
    [
        (Timer, 0x7F01),
        (OneChannelTimer, 0x7F03),
        (TwoChannelTimer, 0x7F47),
        (RepeatingOneChannelTimer, 0x7FA3),
        (RepeatingTwoChannelTimer, 0x7FE7),
        (GeneralTimer, 0x7F5F),
        (AdvancedTimer, 0x7FFF),
    ],
)
def test_a_timer_has_the_interrupts_of_its_kind(rig: Rig, kind: type[Timer], enables: int) -> None:
    timer = make(rig, kind)
    put(timer, (DIER, 0xFFFFFFFF))
    assert timer.read(DIER, 4, M4) == enables


@pytest.mark.parametrize(("kind", "flags"), [(OneChannelTimer, CC1IF), (TwoChannelTimer, CC1IF | CC2IF)])
def test_small_timers_compare_their_channels_only(rig: Rig, kind: type[Timer], flags: int) -> None:
    timer = make(rig, kind)
    put(timer, (ARR, 99), (CCR1, 10), (CCR2, 20), (CR1, CEN))
    rig.pass_to(50 * US)
    assert timer.read(SR, 4, M4) == flags


def test_a_channel_of_a_small_timer_can_be_an_input(rig: Rig) -> None:
    timer = make(rig, TwoChannelTimer)
    put(timer, (ARR, 99), (CCMR1, 1 << 8), (CCR1, 10), (CCR2, 20), (CR1, CEN))
    rig.pass_to(50 * US)
    assert timer.read(SR, 4, M4) == CC1IF


def test_channels_three_and_four_have_their_modes_in_ccmr2(rig: Rig) -> None:
    timer = make(rig)
    put(timer, (ARR, 99), (0x1C, 1), (0x3C, 10), (0x40, 20), (CR1, CEN))
    rig.pass_to(50 * US)
    assert timer.read(SR, 4, M4) & 0x18 == 0x10


def test_a_snapshot_keeps_the_repetitions_that_are_left(rig: Rig) -> None:
    timer = make(rig, AdvancedTimer)
    put(timer, (ARR, 99), (RCR, 2), (EGR, 1), (SR, 0), (DIER, UIF), (CR1, CEN))
    rig.pass_to(150 * US)
    timer.read(CNT, 4, M4)
    saved, alarms = timer.save(), rig.timers.save()
    rig.pass_to(250 * US)
    timer.read(CNT, 4, M4)
    rig.now = 150 * US
    timer.load(saved)
    rig.timers.load(alarms)
    assert rig.high() == set()
    assert rig.timers.next_at() == 300 * US
    timer.write(SR, 4, 0, M4)
    assert rig.timers.next_at() == 300 * US
