"""The next alarm, as models, engines and C code see it, whatever the order in which alarms are set and unset."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cosim.timers import NEVER_PS, Alarm, Timers

TIMES = st.none() | st.sampled_from([0, 1, 2, 3, 10**12, NEVER_PS + 5])


@given(st.lists(st.tuples(st.integers(0, 3), TIMES), max_size=30))
def test_next_alarm_is_the_earliest_one_that_is_set_and_of_equal_ones_the_first_made(
    settings: list[tuple[int, int | None]],
) -> None:
    timers, gone = Timers(), []
    alarms: list[Alarm] = [timers.alarm(lambda at_ps, n=n: gone.append((at_ps, n))) for n in range(4)]  # type: ignore[misc]
    for number, at_ps in settings:
        alarms[number].set(at_ps)
        due = min((alarm.at_ps for alarm in alarms if alarm.at_ps is not None), default=None)
        assert timers.next_at() == due
        assert timers.next_ps[0] == (NEVER_PS if due is None else min(due, NEVER_PS))

    expected = sorted((alarm.at_ps, n) for n, alarm in enumerate(alarms) if alarm.at_ps is not None)
    timers.run_due(NEVER_PS + 5)
    assert gone == expected
    assert timers.next_ps[0] == NEVER_PS


def test_restored_alarms_are_due_where_the_next_one_is_looked_up() -> None:
    timers = Timers()
    alarm, place = timers.alarm(lambda _at_ps: None), timers.next_ps.buffer_info()
    alarm.set(5)
    saved = timers.save()
    alarm.set(None)
    timers.load(saved)

    assert (timers.next_at(), timers.next_ps[0], timers.next_ps.buffer_info()) == (5, 5, place)
