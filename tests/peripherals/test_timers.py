"""Alarms in virtual time: their order, and what a snapshot keeps."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from cosim.errors import EngineError
from cosim.timers import Timers

Fired = list[tuple[str, int]]


@pytest.fixture
def fired() -> Fired:
    return []


def note(fired: Fired, name: str) -> Callable[[int], None]:
    return lambda at_ps: fired.append((name, at_ps))


def test_alarms_go_off_in_the_order_of_their_times(fired: Fired) -> None:
    timers = Timers()
    late, early = timers.alarm(note(fired, "late")), timers.alarm(note(fired, "early"))
    late.set(20)
    early.set(10)
    assert timers.next_at() == 10
    timers.run_due(25)
    assert fired == [("early", 10), ("late", 20)]
    assert timers.next_at() is None


def test_what_is_not_due_waits(fired: Fired) -> None:
    timers = Timers()
    timers.alarm(note(fired, "a")).set(11)
    timers.run_due(10)
    assert (fired, timers.next_at()) == ([], 11)


def test_alarms_of_one_time_keep_the_order_of_their_creation(fired: Fired) -> None:
    timers = Timers()
    first, second = timers.alarm(note(fired, "first")), timers.alarm(note(fired, "second"))
    second.set(5)
    first.set(5)
    timers.run_due(5)
    assert [name for name, _ in fired] == ["first", "second"]


def test_an_alarm_has_one_setting_and_can_be_unset(fired: Fired) -> None:
    timers = Timers()
    moved, dropped = timers.alarm(note(fired, "moved")), timers.alarm(note(fired, "dropped"))
    moved.set(5)
    moved.set(8)
    dropped.set(6)
    dropped.set(None)
    timers.run_due(100)
    assert fired == [("moved", 8)]


def test_an_alarm_may_set_itself_anew_while_time_passes(fired: Fired) -> None:
    timers = Timers()

    def again(at_ps: int) -> None:
        fired.append(("tick", at_ps))
        alarm.set(at_ps + 10)

    alarm = timers.alarm(again)
    alarm.set(10)
    timers.run_due(35)
    assert fired == [("tick", 10), ("tick", 20), ("tick", 30)]
    assert timers.next_at() == 40


def test_a_snapshot_keeps_what_is_set(fired: Fired) -> None:
    timers = Timers()
    one, two = timers.alarm(note(fired, "one")), timers.alarm(note(fired, "two"))
    one.set(7)
    saved = timers.save()
    one.set(None)
    two.set(3)
    timers.load(saved)
    timers.run_due(100)
    assert fired == [("one", 7)]


def test_the_snapshot_of_another_machine_is_refused() -> None:
    with pytest.raises(EngineError, match="snapshot"):
        Timers().load((None,))
