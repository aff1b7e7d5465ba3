"""A small machine for the secure world's tests: memories, the registers it writes, and a client's buffers."""

from __future__ import annotations

import functools
import json
import struct
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from ta.errors import BusFault
from ta.events import TaEvent
from ta.keys import load_private_key
from ta.profile import FirewallProfile, Profile, Settings
from ta.remoteproc_ta import TA_UUID
from ta.secure_world import SecureWorld
from ta.signing import sign_images

E = TypeVar("E", bound=TaEvent)

VECTORS = Path(__file__).parent.parent / "vectors"
PAGE = 0x1000
INITIAL = 0xA5

RETRAM, SRAM, SRAM_ALIAS = 0x38000000, 0x10000000, 0x30000000
RCC_TZCR, RCC_MP_GCR, RCC_MP_GRSTCSETR = 0x50000000, 0x5000010C, 0x50000404


class FakeBus:
    """RETRAM, the MCU SRAM at both its addresses, mappable RAM, and registers that remember every write."""

    def __init__(self) -> None:
        self.retram = bytearray([INITIAL]) * 0x10000
        self.sram = bytearray([INITIAL]) * 0x60000
        self.ram: dict[int, bytearray] = {}
        self.registers: dict[int, int] = {RCC_TZCR: 3, 0x5C00A020: 0x80000000}
        self.registers.update({0x5C007010 + 4 * n: 0xFFFFFFFF if n else 0 for n in range(6)})
        self.register_writes: list[tuple[int, int]] = []
        self.memory_writes: list[tuple[int, int]] = []

    def map(self, address: int, content: bytes) -> None:
        """Back `content` with whole RAM pages; the rest of its first and last page is zero."""
        start, end = address - address % PAGE, -(-(address + len(content)) // PAGE) * PAGE
        block = bytearray(end - start)
        block[address - start : address - start + len(content)] = content
        self.ram[start] = block

    def unmap_all(self) -> None:
        self.ram.clear()

    def read(self, address: int, size: int) -> bytes:
        if address in self.registers and size == 4:
            return self.registers[address].to_bytes(4, "little")
        block, offset = self._find(address, size)
        return bytes(block[offset : offset + size])

    def write(self, address: int, data: bytes) -> None:
        if 0x50000000 <= address < 0x60000000:
            self.register_writes.append((address, int.from_bytes(data, "little")))
            self.registers[address] = int.from_bytes(data, "little")
            return
        block, offset = self._find(address, len(data))
        block[offset : offset + len(data)] = data
        self.memory_writes.append((address, len(data)))

    def holds(self, address: int, data: bytes) -> bool:
        return self.read(address, len(data)) == data

    def _find(self, address: int, size: int) -> tuple[bytearray, int]:
        fixed = ((RETRAM, self.retram), (SRAM, self.sram), (SRAM_ALIAS, self.sram))
        for base, block in (*fixed, *self.ram.items()):
            if base <= address and address + size <= base + len(block):
                return block, address - base
        if 0x50000000 <= address < 0x60000000 and size == 4:
            return bytearray(4), 0
        raise BusFault("no memory", address=address, size=size)


def public_key(name: str) -> rsa.RSAPublicKey | ec.EllipticCurvePublicKey:
    key = load_pem_public_key((VECTORS / "keys" / f"{name}.pub.pem").read_bytes())
    assert isinstance(key, (rsa.RSAPublicKey, ec.EllipticCurvePublicKey))
    return key


def private_key(name: str) -> rsa.RSAPrivateKey:
    key = load_pem_private_key((VECTORS / "keys" / f"{name}.pem").read_bytes(), password=None)
    assert isinstance(key, rsa.RSAPrivateKey)
    return key


def image(name: str) -> bytes:
    """An image of the upstream tool, which does not say where its resource table is."""
    return (VECTORS / "images" / name).read_bytes()


@functools.cache
def resigned(*names: str, key: str = "trusted4096") -> bytes:
    """Images of the vectors as this project's signer signs them, with the place of the resource table."""
    elves = [(VECTORS / "elf" / f"{name}.elf").read_bytes() for name in names]
    return sign_images(elves, load_private_key(VECTORS / "keys" / f"{key}.pem"))


def vector_cases() -> Iterator[dict[str, object]]:
    with (VECTORS / "cases.jsonl").open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


SHM, STAGING, OTHER = 0xDFE00000, 0xDFE10000, 0xDFE80000
TA_OCTETS = uuid.UUID(TA_UUID).bytes
Words = tuple[int, int, int]


class World:
    """The secure world over the fake bus, and a normal-world client that talks to it by SMC."""

    def __init__(
        self,
        profile: Profile = Profile.HARDENED,
        firewall: FirewallProfile = FirewallProfile.ISOLATED,
        key: str = "trusted4096",
        settings: Settings | None = None,
    ) -> None:
        self.bus = FakeBus()
        self.bus.map(SHM, bytes(0x200000))
        self.events: list[TaEvent] = []
        self.powered_off = False
        self.secure = SecureWorld(
            self.bus,
            public_key(key),
            profile=profile,
            firewall=firewall,
            sink=self.events.append,
            power_off=self._power_off,
            settings=settings,
        )
        self.secure.boot()
        self.events.clear()
        self.bus.register_writes.clear()
        self.bus.memory_writes.clear()

    def _power_off(self) -> None:
        self.powered_off = True

    def smc(self, r0: int, r1: int = 0, r2: int = 0, r3: int = 0) -> tuple[int, int, int, int]:
        return self.secure.smc((r0, r1, r2, r3, 0, 0, 0, 0))

    def message(self, command: int, params: list[tuple[int, Words]], *, session: int = 0, function: int = 0) -> int:
        """Put a message into shared memory and call with it; returns r0."""
        head = struct.pack("<8I", command, function, session, 0, 0, 0xDEADDEAD, 0xDEADDEAD, len(params))
        body = b"".join(struct.pack("<4Q", attr, *words) for attr, words in params)
        self.bus.write(SHM, head + body)
        return self.smc(0x32000004, 0, SHM)[0]

    @property
    def answer(self) -> tuple[int, int]:
        """Result and origin in the last message."""
        result, origin = struct.unpack("<2I", self.bus.read(SHM + 20, 8))
        return result, origin

    def out(self, index: int) -> Words:
        """The three words of a parameter of the last message."""
        a, b, c = struct.unpack("<3Q", self.bus.read(SHM + 32 + 32 * index + 8, 24))
        return a, b, c

    def open(self, processor_id: int = 0, octets: bytes = TA_OCTETS, login: int = 0x80000000) -> int:
        """OPEN_SESSION; returns the session number."""
        first, second = struct.unpack("<2Q", octets)
        params = [(0x101, (first, second, 0)), (0x101, (0, 0, login)), (1, (processor_id, 0, 0))]
        assert self.message(0, params) == 0
        return int.from_bytes(self.bus.read(SHM + 8, 4), "little")

    def invoke(self, command: int, params: list[tuple[int, Words]], session: int = 1) -> int:
        """INVOKE_COMMAND; returns the TEE result."""
        assert self.message(1, params, session=session, function=command) == 0
        return self.answer[0]

    def load(self, data: bytes, processor_id: int = 0) -> int:
        """LOAD_FW with an image in shared memory."""
        self.bus.write(STAGING, data)
        return self.invoke(1, [(1, (processor_id, 0, 0)), (9, (STAGING, len(data), 0))])

    def simple(self, command: int, processor_id: int = 0) -> int:
        """START_FW, STOP_FW or RELEASE_FW."""
        return self.invoke(command, [(1, (processor_id, 0, 0))])

    def table(self) -> tuple[int, int, int]:
        """GET_RSC_TABLE: result, address and size."""
        result = self.invoke(4, [(1, (0, 0, 0)), (2, (0, 0, 0)), (2, (0, 0, 0))])
        return result, self.out(1)[0] | self.out(1)[1] << 32, self.out(2)[0] | self.out(2)[1] << 32

    def of(self, kind: type[E]) -> list[E]:
        """The events of one class so far."""
        return [event for event in self.events if isinstance(event, kind)]
