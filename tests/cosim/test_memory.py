"""Memory banks: bytes in one host buffer, bounds, and snapshots that hold only what was used."""

from __future__ import annotations

import ctypes
from pathlib import Path

import pytest

from cosim import memory
from cosim.errors import BusFault, EngineError
from cosim.memory import CHUNK, MemoryBank

SIZE = 16 * CHUNK


@pytest.fixture
def bank() -> MemoryBank:
    return MemoryBank("sram1", SIZE)


@pytest.fixture
def other_system(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What macOS on Apple silicon has instead: pages of 16 KiB, no page map, and an madvise that zeroes nothing."""
    monkeypatch.setattr(memory, "_PAGE", 0x4000)
    monkeypatch.setattr(memory, "_PAGEMAP", tmp_path / "absent")
    monkeypatch.setattr(memory, "_MADVISE_ZEROES", False)


def test_memory_is_zero_at_first_and_keeps_what_is_written(bank: MemoryBank) -> None:
    assert bank.read(0, SIZE) == bytes(SIZE)
    bank.write(SIZE - 4, b"\x01\x02\x03\x04")
    assert bank.read(SIZE - 4, 4) == b"\x01\x02\x03\x04"


def test_the_host_address_shows_the_same_bytes_both_ways(bank: MemoryBank) -> None:
    bank.write(8, b"abcd")
    assert ctypes.string_at(bank.host_address + 8, 4) == b"abcd"
    ctypes.memmove(bank.host_address + 8, b"wxyz", 4)
    assert bank.read(8, 4) == b"wxyz"


def test_bytes_are_compared_with_a_part_of_others_and_never_beyond_them(bank: MemoryBank) -> None:
    bank.write(8, b"abcd")
    assert bank.holds(8, b"abcd")
    assert bank.holds(8, b"--abcd--", 2, 4)
    assert not bank.holds(8, b"--abcd--", 1, 4)
    assert bank.holds(8, b"", 0, 0)
    for start, size in ((5, 4), (-1, 4), (0, 9), (8, 1)):
        with pytest.raises(BusFault):
            bank.holds(8, b"--abcd--", start, size)


def test_fill_sets_exactly_its_range(bank: MemoryBank) -> None:
    bank.fill(CHUNK - 1, CHUNK + 2, 0x5A)
    assert bank.read(CHUNK - 2, 2) == b"\x00\x5a"
    assert bank.read(2 * CHUNK, 2) == b"\x5a\x00"
    assert bank.read(CHUNK, CHUNK) == b"\x5a" * CHUNK


@pytest.mark.parametrize(("offset", "size"), [(SIZE, 1), (SIZE - 1, 2), (-1, 1), (0, SIZE + 1), (4, -1)])
def test_accesses_outside_the_bank_are_refused(bank: MemoryBank, offset: int, size: int) -> None:
    with pytest.raises(BusFault):
        bank.read(offset, size)
    with pytest.raises(BusFault):
        bank.fill(offset, size)


def test_a_write_outside_the_bank_is_refused_whole(bank: MemoryBank) -> None:
    with pytest.raises(BusFault):
        bank.write(SIZE - 2, b"abcd")
    assert bank.read(SIZE - 2, 2) == bytes(2)


@pytest.mark.parametrize("size", [0, -4096, 100, 1 << 56, 1 << 70])
def test_sizes_that_cannot_be_mapped_are_refused(size: int) -> None:
    with pytest.raises(EngineError) as refused:
        MemoryBank("odd", size)
    assert refused.value.hint


def test_a_snapshot_holds_used_chunks_only_and_restores_everything(bank: MemoryBank) -> None:
    bank.write(3 * CHUNK + 5, b"keep")
    state = bank.save()
    assert [offset for offset, _ in state.chunks] == [3 * CHUNK]
    bank.write(3 * CHUNK + 5, b"lost")
    bank.write(9 * CHUNK, b"new")
    bank.load(state)
    assert bank.read(3 * CHUNK + 5, 4) == b"keep"
    assert bank.read(9 * CHUNK, 3) == bytes(3)
    assert bank.save() == state


def test_a_chunk_that_was_written_back_to_zero_is_not_kept(bank: MemoryBank) -> None:
    bank.write(0, b"x")
    bank.fill(0, 1)
    assert bank.save().chunks == ()


def test_writes_through_the_host_address_are_in_the_snapshot(bank: MemoryBank) -> None:
    ctypes.memmove(bank.host_address + 5 * CHUNK, b"guest", 5)
    assert [offset for offset, _ in bank.save().chunks] == [5 * CHUNK]


def test_a_restored_bank_keeps_its_host_address(bank: MemoryBank) -> None:
    before = bank.host_address
    bank.write(0, b"x")
    bank.load(bank.save())
    assert bank.host_address == before
    assert ctypes.string_at(before, 1) == b"x"


def test_a_bank_smaller_than_a_chunk_is_saved_whole() -> None:
    bank = MemoryBank("bkpsram", 0x1000)
    bank.write(0xFFF, b"z")
    state = bank.save()
    bank.reset()
    assert bank.read(0xFFF, 1) == b"\0"
    bank.load(state)
    assert bank.read(0xFFF, 1) == b"z"


def test_the_snapshot_of_another_bank_is_refused(bank: MemoryBank) -> None:
    with pytest.raises(EngineError):
        bank.load(MemoryBank("small", CHUNK).save())
    with pytest.raises(EngineError):
        bank.load(None)


@pytest.mark.usefixtures("other_system")
@pytest.mark.parametrize("size", [0x1000, CHUNK + 0x1000, SIZE])
def test_on_another_system_a_bank_is_saved_and_restored_all_the_same(size: int) -> None:
    bank = MemoryBank("bkpsram", size)
    before = bank.host_address
    bank.write(size - 1, b"z")
    state = bank.save()
    assert sum(len(data) for _, data in state.chunks) <= size
    bank.fill(0, size, 0x5A)
    bank.load(state)
    assert bank.read(0, size) == bytes(size - 1) + b"z"
    assert ctypes.string_at(before + size - 1, 1) == b"z"
    bank.reset()
    assert bank.read(0, size) == bytes(size)
    assert bank.host_address == before


@pytest.mark.parametrize("other", [False, True])
@pytest.mark.parametrize("chunks", [1, 16, 17, 40])
def test_a_restore_brings_back_every_chunk_whoever_wrote_it(
    chunks: int, other: bool, request: pytest.FixtureRequest
) -> None:
    if other:
        request.getfixturevalue("other_system")
    size = chunks * CHUNK - 0x1000
    bank = MemoryBank("ddr", size)
    kept = chunks // 3 * CHUNK
    ctypes.memmove(bank.host_address + kept, b"kept", 4)
    before, state = bank.read(0, size), bank.save()
    for chunk in range(0, chunks, 3):
        bank.write(chunk * CHUNK + 7, b"by the bus")
    for chunk in range(0, chunks, 4):
        ctypes.memmove(bank.host_address + chunk * CHUNK + 0x800, b"by a core", 9)
    ctypes.memmove(bank.host_address + size - 1, b"e", 1)
    bank.load(state)
    assert bank.read(0, size) == before
    assert bank.save() == state


def test_a_bank_tells_whether_it_holds_bytes(bank: MemoryBank) -> None:
    bank.write(CHUNK - 2, b"abcd")
    assert bank.holds(CHUNK - 2, b"abcd")
    assert bank.holds(SIZE, b"")
    assert not bank.holds(CHUNK - 2, b"abce")
    assert not bank.holds(CHUNK - 1, b"abcd")
    with pytest.raises(BusFault):
        bank.holds(SIZE - 1, b"ab")
