"""A small machine for the secure world's tests: memories, the registers it writes, and a client's buffers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from ta.errors import BusFault

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
    return (VECTORS / "images" / name).read_bytes()


def vector_cases() -> Iterator[dict[str, object]]:
    with (VECTORS / "cases.jsonl").open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


@pytest.fixture
def bus() -> FakeBus:
    return FakeBus()
