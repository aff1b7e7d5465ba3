"""The machine below the secure world of a target: memories that are watched, and a client that makes messages.

The bus holds what the secure world may touch. Any write elsewhere, and more work than the budget of one input allows,
is a broken invariant.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Sequence
from functools import cache

from cryptography.hazmat.primitives.asymmetric import rsa
from fuzz_target import VECTORS, BrokenInvariantError, require

from ta.errors import BusFault
from ta.events import TaEvent
from ta.keys import load_private_key
from ta.memory_map import RCC_TZCR, SHM_ADDRESS, SHM_SIZE, TAMP_SMCR
from ta.profile import FirewallProfile, Profile, Settings
from ta.remoteproc_ta import TA_UUID
from ta.results import TeeResult
from ta.secure_world import SecureWorld

RETRAM, SRAM, SRAM_ALIAS, DDR = 0x38000000, 0x10000000, 0x30000000, 0xC0000000
RETRAM_SIZE, SRAM_SIZE, DDR_SIZE = 0x10000, 0x60000, 0x10000
MESSAGE, IMAGE = SHM_ADDRESS, SHM_ADDRESS + 0x10000
CALL_WITH_ARG = 0x32000004
#: Bytes that the secure world may read and write to serve one input: a hundred times all memories of the M4.
BUDGET = 100 * (RETRAM_SIZE + SRAM_SIZE)
#: What the memories hold at power-on.
INITIAL = 0xA5
RETRAM_AT_FIRST, SRAM_AT_FIRST = bytes([INITIAL]) * RETRAM_SIZE, bytes([INITIAL]) * SRAM_SIZE
_REGISTERS = range(0x50000000, 0x60000000)
_RESULTS = {int(result) for result in TeeResult}
Words = tuple[int, int, int]


@cache
def signing_key() -> rsa.RSAPrivateKey:
    """The test key that the machine trusts; the smallest, because each input is signed with it again."""
    key = load_private_key(VECTORS / "keys" / "trusted2048.pem")
    if not isinstance(key, rsa.RSAPrivateKey):
        raise BrokenInvariantError("the test key is of another kind")
    return key


class WatchedBus:
    """RETRAM and MCU SRAM, the reserved shared memory, some DDR, and registers that remember what they hold."""

    def __init__(self) -> None:
        self.retram = bytearray(RETRAM_AT_FIRST)
        self.sram = bytearray(SRAM_AT_FIRST)
        self.shm = bytearray(SHM_SIZE)
        self.ddr = bytearray(DDR_SIZE)
        self.registers: dict[int, int] = {RCC_TZCR: 3, TAMP_SMCR: 0x80000000}
        self.dirty = False
        self.moved = 0
        self._known: frozenset[int] | None = None

    def settle(self, registers: frozenset[int]) -> None:
        """From now on no other register may be written."""
        self._known = registers

    def read(self, address: int, size: int) -> bytes:
        if address in _REGISTERS:
            return self.registers.get(address, 0).to_bytes(4, "little")
        self._spend(size)
        block, offset = self._find(address, size)
        return bytes(block[offset : offset + size])

    def write(self, address: int, data: bytes) -> None:
        if address in _REGISTERS:
            if self._known is not None and address not in self._known:
                raise BrokenInvariantError(f"the secure world wrote the register 0x{address:08x}")
            self.registers[address] = int.from_bytes(data, "little")
            return
        self._spend(len(data))
        block, offset = self._find(address, len(data))
        self.dirty = self.dirty or block is self.retram or block is self.sram
        block[offset : offset + len(data)] = data

    def holds(self, address: int, data: bytes) -> bool:
        return self.read(address, len(data)) == data

    def forget(self) -> None:
        """The M4's memories as at power-on, and a fresh budget."""
        self.moved = 0
        if self.dirty:
            self.retram[:] = RETRAM_AT_FIRST
            self.sram[:] = SRAM_AT_FIRST
            self.dirty = False

    def _spend(self, size: int) -> None:
        self.moved += size
        if self.moved > BUDGET:
            raise BrokenInvariantError(f"more than {BUDGET} bytes were read and written for one input")

    def _find(self, address: int, size: int) -> tuple[bytearray, int]:
        for base, block in (
            (RETRAM, self.retram),
            (SRAM, self.sram),
            (SRAM_ALIAS, self.sram),
            (SHM_ADDRESS, self.shm),
            (DDR, self.ddr),
        ):
            if base <= address and address + size <= base + len(block):
                return block, address - base
        raise BusFault("no memory", address=address, size=size)


class FuzzMachine:
    """A booted secure world over a `WatchedBus`, put back for each input, and the messages of its client."""

    def __init__(self, profile: Profile, settings: Settings | None = None) -> None:
        self.bus = WatchedBus()
        self.events: list[TaEvent] = []
        self.secure = SecureWorld(
            self.bus,
            signing_key().public_key(),
            profile=profile,
            firewall=FirewallProfile.ISOLATED,
            sink=self.events.append,
            settings=settings,
        )
        self.secure.boot()
        self._base = self.secure.save()

    def learn(self, image: bytes) -> frozenset[int]:
        """Run a good image through its whole life; the registers written until then are all there are."""
        self.reset()
        session = self.open()
        require(self.load(session, image) == 0, "the seed image is refused")
        for command in (2, 3, 6):
            require(self.command(session, command) == 0, f"command {command} of the seed image is refused")
        self.bus.settle(frozenset(self.bus.registers))
        return frozenset(self.bus.registers)

    def reset(self) -> None:
        """Back to the state after the secure boot; shared memory is the input's to fill."""
        self.secure.load(self._base)
        self.bus.forget()
        self.events.clear()

    def smc(self, registers: Sequence[int]) -> tuple[int, ...]:
        """A bare SMC; what comes back are four 32-bit words."""
        answer = self.secure.smc((*registers, *(0,) * (8 - len(registers))))
        require(len(answer) == 4 and all(0 <= word < 1 << 32 for word in answer), f"an SMC answered {answer}")
        return answer

    def call(self, command: int, params: Sequence[tuple[int, Words]], *, session: int = 0, function: int = 0) -> int:
        """Put a message into shared memory and call with it; the TEE result, which must be a known one."""
        head = struct.pack("<8I", command, function, session, 0, 0, 0xDEADDEAD, 0xDEADDEAD, len(params))
        body = b"".join(struct.pack("<4Q", attr, *words) for attr, words in params)
        self.bus.shm[: len(head) + len(body)] = head + body
        require(self.smc((CALL_WITH_ARG, 0, MESSAGE))[0] == 0, "a well-formed message was refused by its transport")
        result = int.from_bytes(self.bus.shm[20:24], "little")
        require(result in _RESULTS, f"the TEE answered 0x{result:08x}")
        return result

    def open(self) -> int:
        """OPEN_SESSION to the TA for processor 0; the session."""
        first, second = struct.unpack("<2Q", uuid.UUID(TA_UUID).bytes)
        self.call(0, [(0x101, (first, second, 0)), (0x101, (0, 0, 0x80000000)), (1, (0, 0, 0))])
        return int.from_bytes(self.bus.shm[8:12], "little")

    def load(self, session: int, image: bytes) -> int:
        """LOAD_FW; what lies behind the image up to the end of its page is zero."""
        at = IMAGE - SHM_ADDRESS
        self.bus.shm[at : at + len(image) + 0x1000] = image + bytes(0x1000)
        return self.call(1, [(1, (0, 0, 0)), (9, (IMAGE, len(image), 0))], session=session, function=1)

    def command(self, session: int, command: int) -> int:
        """START_FW (2), STOP_FW (3) or RELEASE_FW (6)."""
        return self.call(1, [(1, (0, 0, 0))], session=session, function=command)

    def table(self, session: int) -> tuple[int, int, int]:
        """GET_RSC_TABLE: result, physical address and size."""
        params: list[tuple[int, Words]] = [(1, (0, 0, 0)), (2, (0, 0, 0)), (2, (0, 0, 0))]
        result = self.call(1, params, session=session, function=4)
        address, size = (struct.unpack_from("<2Q", self.bus.shm, 40 + 32 * index) for index in (1, 2))
        return result, address[0] | address[1] << 32, size[0] | size[1] << 32
