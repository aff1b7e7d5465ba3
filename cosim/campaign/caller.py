"""The normal world of a campaign: it talks to the secure world by OP-TEE messages, without running an A7 program.

The messages are those of `struct optee_msg_arg` in the reserved shared memory; the boot that opens a campaign makes the
same calls with real A7 code.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from cosim.access import Initiator
from cosim.client import LOGIN_REE_KERNEL, TA_UUID, Command
from cosim.soc import Soc
from ta.memory_map import SHM_ADDRESS

MESSAGE, IMAGE = SHM_ADDRESS, SHM_ADDRESS + 0x10000
#: Bytes behind IMAGE in the reserved shared memory; a larger image cannot be handed over.
IMAGE_ROOM = 0x1F0000
CALL_WITH_ARG = 0x32000004
_VALUE_IN, _VALUE_OUT, _MEMORY_IN, _META = 1, 2, 9, 0x101
_OPEN, _INVOKE, _CLOSE = 0, 1, 2

Words = tuple[int, int, int]


@dataclass(frozen=True)
class Answer:
    """What a call gave: r0 of the SMC, the TEE result, and the session after OPEN_SESSION."""

    smc: int
    result: int
    session: int

    @property
    def ok(self) -> bool:
        """Transport and TEE both said success."""
        return self.smc == 0 and self.result == 0


class Caller:
    """One client in the normal world."""

    def __init__(self, soc: Soc) -> None:
        self._soc = soc

    def write(self, address: int, data: bytes) -> None:
        """Store as the normal world; the firewall may ignore it. Raises `BusFault` where nothing is."""
        self._soc.bus.write(Initiator.A7_NS, address, data)

    def read(self, address: int, size: int) -> bytes:
        """Load as the normal world. Raises `BusFault` where nothing is."""
        return self._soc.bus.read(Initiator.A7_NS, address, size)

    def smc(self, *registers: int) -> tuple[int, int, int, int]:
        """A bare SMC with r0 to r7."""
        padded = (*registers, *(0,) * (8 - len(registers)))
        return self._soc.secure_world.smc(padded)

    def call(self, command: int, params: Sequence[tuple[int, Words]], *, session: int = 0, function: int = 0) -> Answer:
        """Put a message into shared memory and call with it."""
        head = struct.pack("<8I", command, function, session, 0, 0, 0, 0, len(params))
        self.write(MESSAGE, head + b"".join(struct.pack("<4Q", attr, *words) for attr, words in params))
        answered = self.smc(CALL_WITH_ARG, 0, MESSAGE)[0]
        if answered:
            return Answer(answered, 0, 0)
        found, _, _, result = struct.unpack("<4I", self.read(MESSAGE + 8, 16))
        return Answer(answered, result, found)

    def open(self, processor: int = 0) -> Answer:
        """OPEN_SESSION to the remoteproc TA as the kernel's driver."""
        first, second = struct.unpack("<2Q", TA_UUID.bytes)
        meta = [(_META, (first, second, 0)), (_META, (0, 0, LOGIN_REE_KERNEL))]
        return self.call(_OPEN, [*meta, (_VALUE_IN, (processor, 0, 0))])

    def close(self, session: int) -> Answer:
        """CLOSE_SESSION."""
        return self.call(_CLOSE, [], session=session)

    def invoke(self, session: int, command: int, params: Sequence[tuple[int, Words]]) -> Answer:
        """INVOKE_COMMAND."""
        return self.call(_INVOKE, params, session=session, function=command)

    def load(self, session: int, size: int, processor: int = 0, address: int = IMAGE) -> Answer:
        """LOAD_FW of the `size` bytes at `address` of the shared memory."""
        return self.invoke(session, Command.LOAD_FW, [(_VALUE_IN, (processor, 0, 0)), (_MEMORY_IN, (address, size, 0))])

    def command(self, session: int, command: int, processor: int = 0) -> Answer:
        """START_FW, STOP_FW or RELEASE_FW."""
        return self.invoke(session, command, [(_VALUE_IN, (processor, 0, 0))])

    def table(self, session: int) -> Answer:
        """GET_RSC_TABLE."""
        empty = (0, 0, 0)
        params = [(_VALUE_IN, empty), (_VALUE_OUT, empty), (_VALUE_OUT, empty)]
        return self.invoke(session, Command.GET_RSC_TABLE, params)
