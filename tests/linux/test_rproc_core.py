"""The order of the remoteproc core's calls, seen by operations and devices that only write down what they are asked."""

# ruff: noqa: ARG002 - the signatures are those of RprocOps

from __future__ import annotations

import struct
from dataclasses import dataclass, field

import pytest

from cosim.access import Initiator
from cosim.linux.carveout import Carveouts
from cosim.linux.errno import Errno, KernelError
from cosim.linux.memory import KernelMemory
from cosim.linux.remoteproc_core import CrashType, Rproc, RprocOps, RprocState
from cosim.linux.resources import VdevSpec
from cosim.soc import Soc

VRING = struct.pack("<5I", 0xFFFFFFFF, 16, 16, 0, 0)
VDEV = struct.pack("<6I4B", 3, 7, 0, 0, 0, 0, 0, 2, 0, 0) + 2 * VRING
LOADED_AT = 0x10048000
TABLE = struct.pack("<6I", 1, 2, 0, 0, 24, 24 + len(VDEV)) + 2 * VDEV


@dataclass
class Recorder(RprocOps):
    calls: list[str] = field(default_factory=list)
    failing: str = ""

    def did(self, what: str) -> None:
        self.calls.append(what)
        if what == self.failing:
            raise KernelError(what, Errno.EIO, "asked to fail")

    def sanity_check(self, firmware: bytes) -> None:
        self.did("sanity_check")

    def prepare(self, carveouts: Carveouts) -> None:
        self.did("prepare")

    def parse_fw(self, firmware: bytes) -> bytes | None:
        self.did("parse_fw")
        return TABLE

    def load(self, firmware: bytes, carveouts: Carveouts) -> None:
        self.did("load")

    def find_loaded_rsc_table(self, firmware: bytes, carveouts: Carveouts) -> int | None:
        self.did("find_loaded_rsc_table")
        return None

    def get_boot_addr(self, firmware: bytes) -> int:
        return 0

    def get_loaded_rsc_table(self) -> tuple[int, int]:
        self.did("get_loaded_rsc_table")
        return LOADED_AT, len(TABLE)

    def attach(self) -> None:
        self.did("attach")

    def detach(self) -> None:
        self.did("detach")

    def start(self) -> None:
        self.did("start")

    def stop(self, state: RprocState) -> None:
        self.did(f"stop {state.name}")

    def kick(self, notify_id: int) -> None:
        self.did("kick")

    def release_fw(self, state: RprocState) -> None:
        self.did(f"release_fw {state.name}")


class Device:
    def __init__(self, ops: Recorder, index: int) -> None:
        self._ops, self._index = ops, index

    def start(self) -> None:
        self._ops.did(f"device {self._index} start")

    def stop(self) -> None:
        self._ops.did(f"device {self._index} stop")


def make(failing: str = "") -> tuple[Rproc, Recorder]:
    ops, soc = Recorder(failing=failing), Soc()

    def device(_rproc: Rproc, spec: VdevSpec) -> Device:
        return Device(ops, spec.index)

    soc.bus.write(Initiator.DEBUG, LOADED_AT, TABLE)
    return Rproc(ops, KernelMemory(soc.bus), soc.log, lambda: b"firmware", device), ops


LOADED = ["sanity_check", "prepare", "parse_fw", "load", "find_loaded_rsc_table"]
BOOTED = [*LOADED, "start", "device 0 start", "device 1 start"]


def test_a_life_has_the_order_of_the_kernel() -> None:
    rproc, ops = make()
    rproc.boot()
    assert ops.calls == BOOTED
    rproc.shutdown()
    assert ops.calls[len(BOOTED) :] == ["device 1 stop", "device 0 stop", "stop RUNNING", "release_fw OFFLINE"]


@pytest.mark.parametrize(
    ("failing", "after"),
    [
        ("parse_fw", ["release_fw OFFLINE"]),
        ("load", ["release_fw OFFLINE"]),
        ("find_loaded_rsc_table", ["release_fw OFFLINE"]),
        ("start", ["release_fw OFFLINE"]),
        ("device 1 start", ["device 0 stop", "stop OFFLINE", "release_fw OFFLINE"]),
    ],
)
def test_a_failure_on_the_way_is_undone_in_reverse(failing: str, after: list[str]) -> None:
    rproc, ops = make(failing)
    with pytest.raises(KernelError):
        rproc.boot()
    assert ops.calls[ops.calls.index(failing) + 1 :] == after
    assert rproc.state is RprocState.OFFLINE
    ops.failing = ""
    ops.calls.clear()
    rproc.boot()
    assert ops.calls == BOOTED


def test_a_file_that_fails_the_first_look_touches_nothing() -> None:
    rproc, ops = make("sanity_check")
    with pytest.raises(KernelError):
        rproc.boot()
    assert ops.calls == ["sanity_check"]


def test_a_processor_that_cannot_be_stopped_keeps_running_for_the_kernel() -> None:
    rproc, ops = make("stop RUNNING")
    rproc.boot()
    with pytest.raises(KernelError):
        rproc.shutdown()
    assert rproc.state is RprocState.RUNNING
    ops.failing = ""
    rproc.shutdown()
    assert rproc.state is RprocState.OFFLINE


ATTACHED = ["prepare", "get_loaded_rsc_table", "attach", "device 0 start", "device 1 start"]


def test_a_processor_that_someone_else_started_is_attached_to_and_detached_from_in_the_order_of_the_kernel() -> None:
    rproc, ops = make()
    rproc.found_running()
    rproc.boot()
    assert (ops.calls, rproc.state) == (ATTACHED, RprocState.ATTACHED)
    rproc.detach()
    assert ops.calls[len(ATTACHED) :] == ["device 1 stop", "device 0 stop", "detach"]
    assert rproc.state is RprocState.DETACHED
    ops.calls.clear()
    rproc.boot()
    assert ops.calls == ATTACHED


def test_an_attached_processor_is_shut_down_like_a_booted_one() -> None:
    rproc, ops = make()
    rproc.found_running()
    rproc.boot()
    rproc.shutdown()
    assert ops.calls[len(ATTACHED) :] == ["device 1 stop", "device 0 stop", "stop ATTACHED", "release_fw OFFLINE"]
    assert rproc.state is RprocState.OFFLINE


@pytest.mark.parametrize(
    ("failing", "after"),
    [("get_loaded_rsc_table", []), ("attach", []), ("device 1 start", ["device 0 stop", "stop DETACHED"])],
)
def test_an_attach_that_fails_leaves_the_processor_detached(failing: str, after: list[str]) -> None:
    rproc, ops = make(failing)
    rproc.found_running()
    with pytest.raises(KernelError):
        rproc.boot()
    assert ops.calls[ops.calls.index(failing) + 1 :] == after
    assert rproc.state is RprocState.DETACHED


def test_a_processor_that_was_booted_cannot_be_detached_from() -> None:
    rproc, _ = make()
    rproc.boot()
    with pytest.raises(KernelError) as caught:
        rproc.detach()
    assert (caught.value.errno, caught.value.function) == (Errno.EINVAL, "rproc_detach")


def test_a_crash_of_an_attached_processor_is_recovered_from_by_a_boot() -> None:
    rproc, ops = make()
    rproc.found_running()
    rproc.boot()
    rproc.report_crash(CrashType.WATCHDOG)
    stopped = ["device 1 stop", "device 0 stop", "stop CRASHED"]
    started = ["load", "find_loaded_rsc_table", "start", "device 0 start", "device 1 start"]
    assert ops.calls[len(ATTACHED) :] == [*stopped, *started]
    assert rproc.state is RprocState.RUNNING
