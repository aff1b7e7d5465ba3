"""Every verdict of the reference TA holds for the upstream profile: results, states, reset lines, memories, deaths."""

from __future__ import annotations

import functools
import hashlib
import struct
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.hashes import SHA256
from ta_bench import INITIAL, FakeBus, image, private_key, public_key, vector_cases

from ta.events import TaDied, TaEvent
from ta.params import MemRef, Param, Params, Value
from ta.profile import FirewallProfile, Profile
from ta.remoteproc_pta import RemoteprocPta
from ta.remoteproc_ta import TA_UUID, FirmwareState
from ta.shared_memory import SharedMemory
from ta.tee_core import Answer, TeeCore

CASES: dict[str, Any] = {str(case["id"]): case for case in vector_cases()}
#: Cases in which the TA reads a word behind the image; the page behind it may be missing.
PAGE_TIGHT = {name: case for name, case in CASES.items() if "reads_past_end" in case.get("flags", ())}
BUFFER = 0xDFE10000
REGIONS = {
    "retram": ("retram", 0, 0x10000),
    "mcuram": ("sram", 0, 0x40000),
    "vring0": ("sram", 0x40000, 0x1000),
    "vring1": ("sram", 0x41000, 0x1000),
    "vdev0buffer": ("sram", 0x42000, 0x4000),
    "ipc_shmem": ("sram", 0x48000, 0x8000),
}
COMMANDS = {"load": 1, "start": 2, "stop": 3, "get_rsc": 4, "coredump": 5, "release": 6}
TYPES = {"load": 0x51, "get_rsc": 0x221, "coredump": 0x61}


def _resign(data: bytes, key: str) -> bytes:
    tlv_len = struct.unpack_from("<I", data, 8)[0]
    end = 20 + (tlv_len + 7) // 8 * 8
    return _put(data, end, _signature(key, data[:end]))


@functools.cache
def _signature(key: str, message: bytes) -> bytes:
    return _key(key).sign(message, padding.PKCS1v15(), SHA256())


@functools.cache
def _key(name: str) -> Any:
    return private_key(name)


@functools.cache
def _public(name: str) -> Any:
    return public_key(name)


def _put(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


def build(base: str, ops: list[dict[str, Any]]) -> bytes:
    """Apply the operations of a case to its base image."""
    data = image(base)
    for op in ops:
        ((name, value),) = op.items()
        if name == "set":
            data = _put(data, value[0], bytes.fromhex(value[1]))
        elif name == "xor":
            mask = bytes.fromhex(value[1])
            data = _put(data, value[0], bytes(a ^ b for a, b in zip(data[value[0] :], mask, strict=False)))
        elif name == "insert":
            data = data[: value[0]] + bytes.fromhex(value[1]) + data[value[0] :]
        elif name == "delete":
            data = data[: value[0]] + data[value[0] + value[1] :]
        elif name == "truncate":
            data = data[:value]
        elif name == "append":
            data += bytes.fromhex(value)
        elif name == "fill":
            data += bytes([value[0]]) * value[1]
        else:
            assert name == "resign"
            data = _resign(data, value)
    return data


class Bench:
    """One case under way: the secure world at the level of sessions, and the client's buffer."""

    def __init__(self, case: dict[str, Any], profile: Profile) -> None:
        self.bus = FakeBus()
        self.events: list[TaEvent] = []
        memory = SharedMemory(self.bus)
        key = _public(case["key"])
        self.pta = RemoteprocPta(
            bus=self.bus,
            key=key,
            profile=profile,
            firewall=FirewallProfile.OPEN,
            sink=self.events.append,
        )
        self.core = TeeCore(self.pta, memory, profile, self.events.append)
        self.images = [build(case["base"], case["ops"])]
        if "image2" in case:
            self.images.append(build(case["image2"]["base"], case["image2"]["ops"]))
        self.reported = self.hashes()

    def map_image(self, number: int = 0, offset: int = 0) -> MemRef:
        self.bus.unmap_all()
        self.bus.map(BUFFER, bytes(offset) + self.images[number])
        return MemRef(BUFFER + offset, len(self.images[number]))

    def tight(self, step: list[Any]) -> list[Any]:
        """The same load with the buffer ending at the end of its last mapped page."""
        return [*step, {"offset": -len(self.images[0]) % 0x1000}]

    def call(self, step: list[Any]) -> dict[str, Any]:
        """Make one client call and describe what came of it, in the words of the vectors."""
        self.events.clear()
        self.bus.register_writes.clear()
        answer = self._answer(step)
        seen: dict[str, Any] = {"result": f"0x{answer.result:08x}", "origin": int(answer.origin)}
        if answer.session:
            seen["session"] = answer.session
        types = int(step[2], 16) if step[0] == "invoke" else TYPES.get(step[0], 1)
        out = [
            [n, f"0x{param.a:08x}", f"0x{param.b:08x}"]
            for n, param in enumerate(answer.params)
            if (types >> (4 * n)) & 0xF in (2, 3) and isinstance(param, Value)
        ]
        if out and answer.result == 0 and step[0] not in ("open", "close"):
            seen["out"] = out
        seen["ta"] = self._ta_state()
        seen["pta"] = self.pta.state.value
        if self.core.firmware_state() in (FirmwareState.LOADED, FirmwareState.STARTED):
            table = self.core.resource_table()
            seen["table"] = [f"0x{table.pa:08x}", table.size]
        if self.bus.register_writes:
            seen["reset"] = [_reset_line(*write) for write in self.bus.register_writes]
        for event in self.events:
            if isinstance(event, TaDied):
                seen["dead"] = event.cause
        if self.bus.memory_writes and self.hashes() != self.reported:
            self.reported = seen["memory"] = self.hashes()
        self.bus.memory_writes.clear()
        return seen

    def hashes(self) -> dict[str, str]:
        """Regions that are not in their initial state, as the vectors describe them."""
        found = {}
        for name, (block, start, size) in REGIONS.items():
            content = bytes(getattr(self.bus, block)[start : start + size])
            if content == bytes(size):
                found[name] = "zero"
            elif content != bytes([INITIAL]) * size:
                found[name] = hashlib.sha256(content).hexdigest()
        return found

    def _answer(self, step: list[Any]) -> Answer:
        options = step[-1] if isinstance(step[-1], dict) else {}
        session = options.get("session", 1)
        if step[0] == "open":
            types = int(options.get("types", "0x1"), 16)
            first = Value(step[1]) if types & 0xF in (1, 3) else Value()
            return self.core.open_session(TA_UUID, types, (first, Value(), Value(), Value()))
        if step[0] == "close":
            return self.core.close_session(step[1] if len(step) > 1 else 1)
        if step[0] == "invoke":
            given: list[Param] = [self.map_image() if p == "image" else Value(*p) for p in step[3]]
            return self.core.invoke(session, step[1], int(step[2], 16), (given[0], given[1], given[2], given[3]))
        second: Param = Value()
        if step[0] == "load":
            second = self._buffer(options)
        elif step[0] == "coredump":
            second = MemRef(0, 0)
        params: Params = (Value(options.get("id", 0)), second, Value(), Value())
        return self.core.invoke(session, COMMANDS[step[0]], TYPES.get(step[0], 0x1), params)

    def _buffer(self, options: dict[str, Any]) -> MemRef:
        if options.get("buffer") == "null":
            return MemRef(0, 0)
        whole = self.map_image(options.get("image", 1) - 1, options.get("offset", 0))
        return MemRef(whole.address, 0) if options.get("buffer") == "empty" else whole

    def _ta_state(self) -> str:
        if self.core.alive:
            return self.core.firmware_state().value
        return "DEAD" if self.core.instances else "ABSENT"


def _reset_line(address: int, value: int) -> str:
    if address == 0x5000010C:
        return "hold_boot=0" if value & 1 else "hold_boot=1"
    assert (address, value) == (0x50000404, 2)
    return "mcu_rst=1"


@pytest.mark.parametrize("case_id", CASES)
def test_upstream_decides_as_the_reference_did(case_id: str) -> None:
    case = CASES[case_id]
    bench = Bench(case, Profile.UPSTREAM)
    seen = [bench.call(step) for step in case["sequence"]]
    allowed = [case[name] for name in case if name == "expect" or name.startswith("expect_")]
    assert seen in allowed, case["why"]
    if seen == case["expect"]:
        assert bench.hashes() == case["memory"]
