"""Target `message`: sequences of SMCs with any registers and any bytes in shared memory, for both builds and profiles.

An input is a row of calls. Each is a byte that chooses what r0 to r7 are, the registers that it takes from the input,
a length, and that many bytes for the message. Only the TA's own commands may change the M4's memories, and an image
that nobody signed must not start.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Iterator, Sequence

from fuzz_images import image_seeds
from fuzz_machine import CALL_WITH_ARG, DDR, DDR_SIZE, IMAGE, FuzzMachine
from fuzz_target import FuzzTarget, Play, require, take

from ta.device_enumeration import ENUMERATION_UUID
from ta.events import ImageAuthenticated, ProcessorStarted, TaDied
from ta.memory_map import SHM_ADDRESS
from ta.profile import Profile, Settings, ShmBuild
from ta.remoteproc_pta import PTA_UUID
from ta.remoteproc_ta import TA_UUID
from ta.smc import FunctionId

_MOST_CALLS = 12
_MOST_MESSAGE = 1024
_RAW, _WITH_ARG, _IN_DDR, _RPC_ARG, _REGISTERED = range(5)
_LIST = DDR + 0x2000  # a page list that a message can point at


class Session:
    """One build of the secure world under one profile."""

    def __init__(self, profile: Profile, shm: ShmBuild, good: bytes, registers: frozenset[int]) -> None:
        self.machine = FuzzMachine(profile, Settings(shm=shm))
        self.machine.bus.settle(registers)
        self._hardened = profile is Profile.HARDENED
        self._good = good
        pages = [DDR + 0x1000 * number for number in (3, 4, 5)]
        self._list = struct.pack("<512Q", *pages, *(0,) * 509)

    def play(self, data: bytes) -> None:
        """Make all calls of an input."""
        machine = self.machine
        machine.reset()
        machine.bus.shm[: 0x10000 + 2 * _MOST_MESSAGE] = bytes(0x10000 + 2 * _MOST_MESSAGE)
        machine.bus.ddr[:] = bytes(DDR_SIZE)
        machine.bus.ddr[_LIST - DDR : _LIST - DDR + len(self._list)] = self._list
        for place, (start, block) in {
            IMAGE: (SHM_ADDRESS, machine.bus.shm),
            DDR + 0x3000: (DDR, machine.bus.ddr),
        }.items():
            block[place - start : place - start + len(self._good)] = self._good
        for registers, message in _calls(data):
            start, block = (SHM_ADDRESS, machine.bus.shm)
            if registers[2] // DDR_SIZE == DDR // DDR_SIZE:
                start, block = (DDR, machine.bus.ddr)
            at = (registers[2] - start) % 0x10000
            block[at : at + len(message)] = message[: len(block) - at]
            machine.smc(registers)
        self._judge()

    def _judge(self) -> None:
        seen = [type(event) for event in self.machine.events]
        if ProcessorStarted in seen:
            require(ImageAuthenticated in seen[: seen.index(ProcessorStarted)], "started without authentication")
        elif ImageAuthenticated not in seen and self._hardened:
            bus = self.machine.bus
            require(not bus.registers.get(0x5000010C, 0) & 1, "BOOT_MCU is set without START_FW")
        require(not self._hardened or TaDied not in seen, "the hardened TA died")


def _calls(data: bytes) -> Iterator[tuple[tuple[int, ...], bytes]]:
    """r0 to r7 and the bytes of the message of each call."""
    for _ in range(_MOST_CALLS):
        if not data:
            return
        kind, data = data[0] % 5, data[1:]
        if kind == _RAW:
            raw, data = take(data, 32)
            registers = struct.unpack("<8I", raw)
        else:
            raw, data = take(data, 2)
            place = SHM_ADDRESS + raw[0] * 8 if kind == _WITH_ARG else DDR + (raw[0] & 15) * 0x1000
            function = (CALL_WITH_ARG, CALL_WITH_ARG, FunctionId.CALL_WITH_RPC_ARG, FunctionId.CALL_WITH_REGD_ARG)[
                kind - 1
            ]
            registers = (int(function), 0, place, raw[1] * 8, 0, 0, 0, 0)
        size, data = take(data, 2)
        message, data = (
            data[: int.from_bytes(size, "little") % _MOST_MESSAGE],
            data[int.from_bytes(size, "little") % _MOST_MESSAGE :],
        )
        yield registers, message


# -- inputs --------------------------------------------------------------------------------------------------------


def call(kind: int, message: bytes, place: int = 0, registers: Sequence[int] = ()) -> bytes:
    """One call of an input; `place` is in units of 8 bytes of shared memory, or in pages of DDR."""
    head = struct.pack("<8I", *registers, *(0,) * (8 - len(registers))) if kind == _RAW else bytes([place, 0])
    return bytes([kind]) + head + len(message).to_bytes(2, "little") + message


def message(command: int, *params: tuple[int, int, int, int], session: int = 0, function: int = 0) -> bytes:
    """A message of the OP-TEE ABI."""
    head = struct.pack("<8I", command, function, session, 0, 0, 0, 0, len(params))
    return head + b"".join(struct.pack("<4Q", *param) for param in params)


def _open(name: str, *params: tuple[int, int, int, int]) -> bytes:
    first, second = struct.unpack("<2Q", uuid.UUID(name).bytes)
    return message(0, (0x101, first, second, 0), (0x101, 0, 0, 0x80000000), *params)


def message_seeds() -> Sequence[bytes]:
    """The life of an image in both builds, all TAs, shared memory registered and used, and bare SMCs."""
    processor = (1, 0, 0, 0)
    size = len(_good_image())
    opened = _open(TA_UUID, processor)
    load = message(1, processor, (9, IMAGE, size, 0), session=1, function=1)
    rest = [message(1, processor, session=1, function=number) for number in (2, 3, 6)]
    table = message(1, processor, (2, 0, 0, 0), (2, 0, 0, 0), session=1, function=4)
    life = [opened, load, table, *rest, message(2, session=1)]
    register = message(4, (0x20A, _LIST, size, 7))
    registered = message(1, processor, (5, 0, size, 7), session=1, function=1)
    listed = message(1, processor, (0x209, _LIST, size, 0), session=1, function=1)
    dynamic = [opened, register, registered, rest[0], rest[1], rest[2], listed, table, message(5, (0, 0, 0, 7))]
    enumerate_first = message(1, (0xA, IMAGE, 0, 0), session=1)
    others = [_open(ENUMERATION_UUID), enumerate_first, _open(PTA_UUID, processor), message(3, session=1)]
    fast = [call(_RAW, b"", registers=(int(function), 1)) for function in FunctionId]
    return [
        b"".join(call(_WITH_ARG, each) for each in life),
        b"".join(call(_IN_DDR, each) for each in dynamic),
        b"".join(call(_RPC_ARG, each) for each in dynamic[:5]),
        call(_IN_DDR, register) + call(_REGISTERED, opened, 3) + call(_RAW, opened, registers=(0x32000013, 0, 7, 0)),
        b"".join(call(_WITH_ARG, each, 3) for each in others),
        b"".join(fast[:_MOST_CALLS]),
        b"".join(fast[_MOST_CALLS:]),
    ]


def _good_image() -> bytes:
    return image_seeds()[3]


def _make() -> Play:
    good = _good_image()
    learner = FuzzMachine(Profile.HARDENED)
    known = learner.learn(good)
    sessions = [Session(profile, shm, good, known) for profile in Profile for shm in ShmBuild]

    def play(data: bytes) -> None:
        for session in sessions:
            session.play(data)

    return play


MESSAGE_ABI = FuzzTarget("message", message_seeds, _make, 4096)
