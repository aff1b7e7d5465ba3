"""What the prebuilt programs promise: layout, resource table, symbols, and a size that keeps a boot short."""

from __future__ import annotations

import itertools
import struct

import pytest
from firmware_files import A7_PROGRAMS, DEMOS, M4_PROGRAMS, PREBUILT, PROGRAMS, Program, read_program

#: Device-address ranges that the M4 programs may be loaded to (RETRAM, SRAM1, SRAM2, ipc_shmem in SRAM3).
M4_REGIONS = ((0x00000000, 0x00010000), (0x10000000, 0x10040000), (0x10048000, 0x10050000))
SRAM1 = range(0x10000000, 0x10020000)
STACK_TOP = 0x10040000
VECTORS = 166

TABLE_ADDRESS = {
    "demo_m4": 0x10048000,
    "demo_m4_ddr": 0x10048000,
    "demo_m4_v2": 0x10048000,
    "demo_m4_retram": 0x00000400,
}
WITH_TABLE = (*TABLE_ADDRESS, "demo_m4_lma")


@pytest.fixture
def program(request: pytest.FixtureRequest) -> Program:
    return read_program(request.param)


def for_each(*names: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("program", names, indirect=True)


def inside(start: int, size: int, regions: tuple[tuple[int, int], ...]) -> bool:
    return any(low <= start and start + size <= high for low, high in regions)


@for_each(*M4_PROGRAMS)
def test_every_segment_loads_into_one_region_of_the_m4(program: Program) -> None:
    assert [s.paddr for s in program.segments if not inside(s.paddr, s.memsz, M4_REGIONS)] == []


@for_each(*PROGRAMS)
def test_segments_are_few_load_something_and_are_disjoint_in_load_and_run_addresses(program: Program) -> None:
    assert {s.kind for s in program.segments} == {"PT_LOAD"}
    assert 1 <= len(program.segments) <= 4
    assert all(s.data for s in program.segments)
    for key in ("paddr", "vaddr"):
        ordered = sorted((getattr(s, key), s.memsz) for s in program.segments)
        assert all(a + n <= b for (a, n), (b, _) in itertools.pairwise(ordered)), key


@for_each(*PROGRAMS)
def test_segments_lie_word_aligned_in_the_file_and_in_memory(program: Program) -> None:
    assert [s for s in program.segments if (s.offset | s.paddr | s.vaddr) & 3] == []


@for_each(*M4_PROGRAMS)
def test_the_vector_table_is_complete_at_address_0_and_points_into_the_text(program: Program) -> None:
    first = program.segments[0]
    vectors = struct.unpack(f"<{VECTORS}I", first.data)
    assert (first.vaddr, first.paddr, first.memsz) == (0, 0, 4 * VECTORS)
    assert vectors[0] == STACK_TOP
    assert vectors[1] == program.entry == program.symbols["Reset_Handler"]
    assert all(v & 1 and v in SRAM1 for v in vectors[1:] if v)
    assert [n for n, v in enumerate(vectors) if not v] == [7, 8, 9, 10, 13]  # reserved by ARMv7-M


@for_each(*M4_PROGRAMS)
def test_initialised_data_is_loaded_behind_the_text_and_runs_in_sram2(program: Program) -> None:
    text, data = program.sections[".text"], program.sections[".data"]
    assert text.address == text.load_address == SRAM1.start
    assert data.address == 0x10020000
    assert data.load_address == text.address + text.size == program.symbols["__data_load"]


@for_each(*WITH_TABLE)
def test_the_resource_table_has_one_vdev_with_two_vrings_and_one_trace(program: Program) -> None:
    table = program.sections[".resource_table"].data
    version, count, reserved0, reserved1, vdev, trace = struct.unpack_from("<6I", table)
    assert (version, count, reserved0, reserved1, vdev, trace) == (1, 2, 0, 0, 24, 92)
    assert struct.unpack_from("<6I4B", table, vdev) == (3, 7, 0, 1, 0, 0, 0, 2, 0, 0)
    assert struct.unpack_from("<5I", table, vdev + 28) == (0xFFFFFFFF, 16, 16, 0, 0)
    assert struct.unpack_from("<5I", table, vdev + 48) == (0xFFFFFFFF, 16, 16, 1, 0)
    kind, da, length, reserved, name = struct.unpack_from("<4I32s", table, trace)
    assert (kind, length, reserved, name.rstrip(b"\0")) == (2, 2048, 0, b"m4_trace")
    assert da == program.symbols["cosim_trace"]
    assert len(table) == trace + 48


@for_each(*TABLE_ADDRESS)
def test_the_table_is_loaded_where_it_is_used_in_a_segment_of_its_own(program: Program) -> None:
    table = program.sections[".resource_table"]
    assert table.address == table.load_address == TABLE_ADDRESS[program.name]
    [segment] = [s for s in program.segments if s.paddr == table.address]
    assert segment.data == table.data


@for_each("demo_m4", "demo_m4_ddr", "demo_m4_v2")
def test_table_and_trace_of_the_signed_layout_are_in_the_shared_part_of_sram3(program: Program) -> None:
    assert inside(program.sections[".resource_table"].address, 140, ((0x10048000, 0x10050000),))
    assert inside(program.symbols["cosim_trace"], 2048, ((0x10048000, 0x10050000),))


@for_each("demo_m4")
def test_the_trace_buffer_is_zero_filled_by_the_loader(program: Program) -> None:
    [segment] = [s for s in program.segments if s.paddr == 0x10048000]
    trace = program.symbols["cosim_trace"]
    assert segment.paddr + len(segment.data) <= trace
    assert trace + 2048 == segment.paddr + segment.memsz


@for_each("demo_m4_lma")
def test_the_lma_variant_loads_its_table_elsewhere_than_where_it_is_used(program: Program) -> None:
    table = program.sections[".resource_table"]
    assert table.address in range(0x10020000, 0x10040000)
    assert table.load_address is not None
    assert table.load_address in SRAM1
    assert table.address >= program.symbols["__data_end"]  # start-up code does not copy it


@for_each("demo_m4_notable", "spin_m4")
def test_programs_without_a_resource_table_have_no_such_section(program: Program) -> None:
    assert ".resource_table" not in program.sections


@for_each(*DEMOS)
def test_the_demos_export_what_monitors_and_tests_look_at(program: Program) -> None:
    faults = {f"cosim_fault_{name}" for name in ("count", "number", "cfsr", "hfsr", "mmfar", "bfar", "pc")}
    expected = {"cosim_counter", "cosim_trace", "__text_start", "__text_end", "main"} | faults
    assert expected <= program.symbols.keys()


@for_each("spin_m4", "a7_spin")
def test_the_benchmark_programs_export_counter_and_digest(program: Program) -> None:
    assert {"cosim_counter", "cosim_digest"} <= program.symbols.keys()


@for_each(*A7_PROGRAMS)
def test_the_a7_programs_are_one_segment_at_the_entry_in_arm_state(program: Program) -> None:
    [segment] = program.segments
    assert program.entry == segment.paddr == segment.vaddr == 0xC0000000
    assert program.symbols["__bss_end"] <= program.symbols["__stack_fiq"] - 0x1000 < 0xC0100000


def test_the_second_image_differs_from_the_first_in_text_and_version_only_where_it_should() -> None:
    first, second = read_program("demo_m4"), read_program("demo_m4_v2")
    assert b"1.0.0" in first.sections[".text"].data
    assert b"2.0.0" in second.sections[".text"].data
    assert first.sections[".resource_table"] == second.sections[".resource_table"]


@pytest.mark.parametrize("name", PROGRAMS)
def test_files_are_small_and_name_no_place_of_the_machine_that_built_them(name: str) -> None:
    data = (PREBUILT / f"{name}.elf").read_bytes()
    assert len(data) < 16384
    assert [p for p in (b"/home", b"/tmp", b"/usr", b"/work", b"/root") if p in data] == []
