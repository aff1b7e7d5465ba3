"""The register machinery shared by all models, through a block that exists only here."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import pytest

from cosim.access import Initiator
from cosim.errors import EngineError
from cosim.events import EventLog, RegisterWritten, UnmodelledRegister
from cosim.registers import Access, Cell, Field, Register, RegisterBlock, bits, set_clear_pair

NS = Initiator.A7_NS


class Block(RegisterBlock):
    registers = (
        Register("CTRL", 0x00, 0x80000001, (Field("LOW", 0, 16), Field("READY", 31, access=Access.RO))),
        Register("FLAGS", 0x04, 0xFF, bits({0: "A", 1: "B", 2: "C"}), Access.W1C),
        Register("START", 0x08, 0, bits({0: "GO"}), Access.PULSE),
        *set_clear_pair("EN", 0x10, 0x4, bits({0: "X", 1: "Y", 2: "Z"})),
        Register("DATA", 0x20, logged=False),
    )


@pytest.fixture
def log() -> EventLog:
    return EventLog()


@pytest.fixture
def block(log: EventLog) -> Block:
    return Block("block", 0x1000, log)


def read(block: Block, offset: int, size: int = 4) -> int:
    return block.read(offset, size, NS)


def write(block: Block, offset: int, value: int, size: int = 4) -> None:
    block.write(offset, size, value, NS)


def test_registers_come_up_with_their_reset_values(block: Block) -> None:
    assert [read(block, offset) for offset in (0x00, 0x04, 0x08, 0x10, 0x14)] == [0x80000001, 0xFF, 0, 4, 4]


def test_read_only_and_reserved_bits_ignore_writes(block: Block) -> None:
    write(block, 0x00, 0x7FFF1234)
    assert read(block, 0x00) == 0x80001234


def test_byte_and_halfword_writes_change_their_lanes_only(block: Block) -> None:
    write(block, 0x20, 0x11223344)
    write(block, 0x21, 0xAA, size=1)
    write(block, 0x22, 0xBBCC, size=2)
    assert read(block, 0x20) == 0xBBCCAA44
    assert read(block, 0x21, size=1) == 0xAA
    assert read(block, 0x22, size=2) == 0xBBCC


def test_writing_one_clears_a_flag_and_zero_leaves_it(block: Block) -> None:
    write(block, 0x04, 0b010)
    assert read(block, 0x04) == 0xFD


def test_a_byte_write_cannot_clear_flags_in_other_lanes(block: Block) -> None:
    write(block, 0x05, 0xFF, size=1)
    assert read(block, 0x04) == 0xFF


def test_a_pulse_register_reads_as_zero_and_is_reported(block: Block, log: EventLog) -> None:
    write(block, 0x08, 1)
    assert read(block, 0x08) == 0
    assert log.of(RegisterWritten) == [RegisterWritten("block", "START", "a7-ns", 1, 0, 0)]


def test_set_and_clear_registers_act_on_one_value_and_both_read_it(block: Block) -> None:
    write(block, 0x10, 0b001)
    assert (read(block, 0x10), read(block, 0x14)) == (0b101, 0b101)
    write(block, 0x14, 0b100)
    assert (read(block, 0x10), read(block, 0x14)) == (0b001, 0b001)


def test_writes_to_control_registers_are_events_and_to_data_registers_are_not(block: Block, log: EventLog) -> None:
    write(block, 0x14, 0b100)
    write(block, 0x20, 5)
    assert log.of(RegisterWritten) == [RegisterWritten("block", "ENCLRR", "a7-ns", 4, 4, 0)]


def test_an_unmodelled_register_reads_zero_and_is_reported_once_per_direction(block: Block, log: EventLog) -> None:
    for _ in range(3):
        assert read(block, 0x30) == 0
        write(block, 0x32, 1, size=1)
    assert log.of(UnmodelledRegister) == [
        UnmodelledRegister("block", 0x30, "read", "a7-ns"),
        UnmodelledRegister("block", 0x30, "write", "a7-ns"),
    ]


def test_the_debugger_looking_at_unmodelled_registers_leaves_no_event(block: Block, log: EventLog) -> None:
    assert block.read(0x30, 4, Initiator.DEBUG) == 0
    assert len(log) == 0


def test_reset_restores_values_but_does_not_repeat_reports(block: Block, log: EventLog) -> None:
    write(block, 0x10, 3)
    read(block, 0x30)
    block.reset()
    read(block, 0x30)
    assert read(block, 0x10) == 4
    assert len(log.of(UnmodelledRegister)) == 1


def test_a_snapshot_restores_values_and_what_was_reported(log: EventLog, block: Block) -> None:
    write(block, 0x00, 0x42)
    saved = block.save()
    write(block, 0x00, 0)
    read(block, 0x30)
    block.load(saved)
    read(block, 0x30)
    assert read(block, 0x00) == 0x80000042
    assert len(log.of(UnmodelledRegister)) == 2
    assert block.save() != saved  # the report above is part of the state


def test_a_foreign_snapshot_is_refused(block: Block) -> None:
    with pytest.raises(EngineError, match="block"):
        block.load("nonsense")


class Ticking(RegisterBlock):
    registers = (Register("PLAIN", 0x00, 7), Register("TICKS", 0x04), Register("NEXT", 0x08))
    computed = frozenset({"TICKS"})
    asked = 0

    def read_register(self, register: Register, initiator: Initiator) -> int:  # noqa: ARG002
        self.asked += 1
        return 0x1234


class Locked(Block):
    def refuses_write(self, register: Register, written: int, initiator: Initiator) -> tuple[str | None, int]:  # noqa: ARG002
        return "LOCK", 0


class Hidden(Block):
    def refuses_read(self, register: Register, initiator: Initiator) -> str | None:  # noqa: ARG002
        return "HIDDEN"


def test_model_is_asked_for_the_registers_that_it_names_as_computed_only(log: EventLog) -> None:
    ticking = Ticking("ticking", 0x1000, log)

    assert [ticking.read(offset, 4, NS) for offset in (0x00, 0x04, 0x08)] == [7, 0x1234, 0]
    assert [ticking.reader(offset, 4, NS)() for offset in (0x00, 0x04, 0x08)] == [7, 0x1234, 0]
    assert ticking.asked == 2
    assert [ticking.cell_to_read(offset, 4) is None for offset in (0x00, 0x04, 0x08)] == [False, True, False]


def cell_value(cell: Cell | None) -> int:
    assert cell is not None
    return (ctypes.c_uint32.from_address(cell.address).value & cell.mask) >> cell.shift


def test_cell_of_a_read_holds_what_the_read_gives_also_after_writes_a_reset_and_a_restored_snapshot(
    block: Block,
) -> None:
    places = [(0x00, 4), (0x02, 2), (0x04, 1), (0x08, 4), (0x10, 4), (0x14, 4), (0x20, 4), (0x21, 1), (0x22, 2)]
    cells = [block.cell_to_read(*place) for place in places]
    saved = block.save()
    changes: list[Callable[[], object]] = [
        lambda: write(block, 0x20, 0xA1B2C3D4),
        lambda: write(block, 0x14, 4),
        lambda: block.poke("CTRL", 0x12345678),
        block.reset,
        lambda: write(block, 0x00, 0xFFFF),
        lambda: block.load(saved),
    ]
    for change in changes:
        change()
        assert [cell_value(cell) for cell in cells] == [read(block, *place) for place in places]


def test_write_has_a_cell_only_where_it_does_nothing_but_store(log: EventLog, block: Block) -> None:
    assert block.cell_to_write(0x20, 4) == block.cell_to_read(0x20, 4)
    assert block.cell_to_write(0x22, 1) == block.cell_to_read(0x22, 1)
    assert [block.cell_to_write(offset, 4) for offset in (0x00, 0x04, 0x08, 0x10, 0x14, 0x40)] == [None] * 6
    assert Locked("locked", 0, log).cell_to_write(0x20, 4) is None
    assert Hidden("hidden", 0, log).cell_to_read(0x20, 4) is None
