"""Every fuzz target plays its seeds, its corpus and what hypothesis makes of them, also where atheris is missing.

And the targets see what they are for: each is shown a fault in what it watches.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import fuzz_messages
import pytest
from fuzz_all import TARGETS
from fuzz_images import Loader, image_seeds, sign_again
from fuzz_machine import BUDGET, IMAGE, FuzzMachine
from fuzz_target import BrokenInvariantError, FuzzTarget, Play
from hypothesis import given, settings
from hypothesis import strategies as st
from run_fuzzer import NAMES

from cosim.testing import flip
from ta.events import ProcessorStarted
from ta.hardened_loader import HardenedLoader
from ta.profile import Profile
from ta.remoteproc_pta import RemoteprocPta
from ta.results import TeeResult

#: Targets whose inputs take milliseconds get fewer of them.
_EXAMPLES = {"repl": 15, "image": 40, "elf": 40, "inspect": 40}
_WORDS = (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFF9, 0xFFFFFFFF)

#: What is done to an input: at a place, drop some bytes and put others there.
Edit = tuple[int, int, bytes]
words = st.sampled_from(_WORDS).map(lambda word: word.to_bytes(4, "little"))
edits = st.lists(
    st.tuples(st.integers(0, 1 << 16), st.integers(0, 8), st.one_of(st.binary(max_size=8), words)), max_size=4
)


@cache
def player(name: str) -> Play:
    return TARGETS[name].make()


def edited(data: bytes, changes: list[Edit], most: int) -> bytes:
    for place, drop, put in changes:
        at = place % (len(data) + 1)
        data = data[:at] + put + data[at + drop :]
    return data[:most]


@pytest.mark.parametrize("target", TARGETS.values(), ids=list(TARGETS))
def test_every_seed_and_every_input_of_the_corpus_holds_the_invariants(target: FuzzTarget) -> None:
    inputs = target.inputs()

    assert len(inputs) >= 3
    for data in inputs:
        assert len(data) <= target.most
        player(target.name)(data)


@pytest.mark.parametrize("target", TARGETS.values(), ids=list(TARGETS))
def test_changed_seeds_and_noise_hold_the_invariants(target: FuzzTarget) -> None:
    @settings(max_examples=_EXAMPLES.get(target.name, 80), deadline=None, derandomize=True, database=None)
    @given(seed=st.one_of(st.sampled_from(list(target.seeds())), st.binary(max_size=200)), changes=edits)
    def play(seed: bytes, changes: list[Edit]) -> None:
        player(target.name)(edited(seed, changes, target.most))

    play()


def test_the_runner_and_the_table_name_the_same_targets_and_every_corpus_has_its_target() -> None:
    assert set(NAMES) == set(TARGETS)
    assert {folder.name for folder in (Path(__file__).parent / "corpus").iterdir()} <= set(TARGETS)


# -- the targets are not blind -------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", range(6))
def test_good_images_reach_start_under_both_profiles(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    image, started = image_seeds()[number], []
    monkeypatch.setattr("fuzz_images._memory_is_signed", lambda machine, _image: started.append(machine))

    Loader().play(image)

    assert len(started) == 1


def test_a_changed_image_that_is_signed_again_passes_the_signature_check() -> None:
    changed = flip(image_seeds()[3], 40)
    machine = FuzzMachine(Profile.HARDENED)
    results = []
    for image in (changed, sign_again(changed)):
        machine.reset()
        results.append(machine.load(machine.open(), image))

    assert results[0] == TeeResult.SIGNATURE_INVALID
    assert results[1] != results[0]


def test_bytes_that_nobody_signed_in_a_started_image_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    good = image_seeds()[3]
    load = HardenedLoader.load

    def load_and_corrupt(self: HardenedLoader) -> object:
        loaded = load(self)
        self._pta.set_memory(0, 0x10000000, 4, 0x41)
        return loaded

    monkeypatch.setattr(HardenedLoader, "load", load_and_corrupt)

    with pytest.raises(BrokenInvariantError, match="0x10000000 does not hold what was signed"):
        Loader().play(good)


def test_an_image_that_stays_after_a_refusal_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    target = player("image")
    bad = flip(image_seeds()[3], -1, 0xFF)
    monkeypatch.setattr(RemoteprocPta, "_wipe", lambda *_arguments: None)

    with pytest.raises(BrokenInvariantError, match="was left in"):
        target(bad)


def test_the_messages_of_the_seeds_start_the_image_in_both_builds(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[type] = []
    judge = fuzz_messages.Session._judge

    def note(self: fuzz_messages.Session) -> None:
        seen.extend({type(event) for event in self.machine.events} & {ProcessorStarted})
        judge(self)

    monkeypatch.setattr(fuzz_messages.Session, "_judge", note)
    for data in fuzz_messages.message_seeds():
        player("message")(data)

    assert seen.count(ProcessorStarted) >= 4


def test_a_secure_world_that_writes_where_a_message_tells_it_to_is_seen() -> None:
    machine = FuzzMachine(Profile.UPSTREAM)
    machine.learn(image_seeds()[3])
    with pytest.raises(BrokenInvariantError, match="wrote the register"):
        machine.bus.write(0x5C001000, bytes(4))
    machine.bus.moved = BUDGET
    with pytest.raises(BrokenInvariantError, match="bytes were read and written"):
        machine.bus.read(IMAGE, 1)


# -- the runner ----------------------------------------------------------------------------------------------------


def runner(*arguments: str) -> subprocess.CompletedProcess[str]:
    script = Path(__file__).parent / "run_fuzzer.py"
    # A package of that name without libFuzzer must not decide what this test sees.
    command = [sys.executable, str(script), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": ""})


def test_the_runner_refuses_a_target_that_does_not_exist_and_names_those_that_do() -> None:
    result = runner("nonsense")

    assert result.returncode == 2
    assert all(re.search(rf"\b{name}\b", result.stderr) for name in NAMES)
    assert "Traceback" not in result.stderr
