"""Two drivers, a driver that goes away, several processors: every outcome is defined."""

from __future__ import annotations

import pytest
from ta_bench import World, resigned

from ta.events import ProcessorStarted, ProcessorStopped
from ta.profile import Profile
from ta.results import Origin, TeeResult

START, STOP, RELEASE = 2, 3, 6
BOTH = pytest.mark.parametrize("profile", Profile)


def running(profile: Profile) -> World:
    world = World(profile)
    world.open()
    assert world.load(resigned("a")) == TeeResult.SUCCESS
    assert world.simple(START) == TeeResult.SUCCESS
    return world


@BOTH
def test_a_second_driver_is_told_that_the_ta_is_busy_until_the_first_closes(profile: Profile) -> None:
    world = running(profile)
    assert world.open() == 0
    assert world.answer == (TeeResult.BUSY, Origin.TEE)
    world.message(2, [], session=1)
    assert world.open() == 1


@BOTH
def test_a_driver_that_goes_away_leaves_the_processor_running_and_the_next_one_stops_it(profile: Profile) -> None:
    world = running(profile)
    stopped = len(world.of(ProcessorStopped))
    world.message(2, [], session=1)
    assert len(world.of(ProcessorStopped)) == stopped
    assert world.open() == 1
    assert world.simple(START) == TeeResult.SUCCESS  # it runs: nothing to do
    assert len(world.of(ProcessorStarted)) == 1
    assert world.load(resigned("a")) == TeeResult.BAD_STATE
    assert [world.simple(command) for command in (STOP, RELEASE)] == [TeeResult.SUCCESS] * 2


@BOTH
def test_a_session_number_serves_whoever_names_it(profile: Profile) -> None:
    world = running(profile)
    assert world.open() == 0
    assert world.simple(STOP) == TeeResult.SUCCESS  # the second driver, with the number of the first


@BOTH
def test_another_processor_gets_neither_session_nor_firmware(profile: Profile) -> None:
    world = World(profile)
    assert world.open(processor_id=1) == 0
    assert world.answer == (TeeResult.NOT_SUPPORTED, Origin.TRUSTED_APP)
    world.open()
    assert world.load(resigned("a"), processor_id=1) == TeeResult.NOT_SUPPORTED
    assert world.load(resigned("a")) == TeeResult.SUCCESS
