"""The machine that our own platform files describe, held against the memory map of the STM32MP15."""

from __future__ import annotations

import pytest

from cosim.platform.model import Interrupt, Platform, Reference
from cosim.platform.reader import load_platform
from cosim.platform.validate import cores, extent
from cosim.resources import platform_file

KIB = 1024
MIB = 1024 * KIB

# name: (size, addresses seen by the A7, addresses seen by the M4)
MEMORIES = {
    "retram": (64 * KIB, {0x38000000}, {0x00000000, 0x38000000}),
    "sram1": (128 * KIB, {0x10000000, 0x30000000}, {0x10000000, 0x30000000}),
    "sram2": (128 * KIB, {0x10020000, 0x30020000}, {0x10020000, 0x30020000}),
    "sram3": (64 * KIB, {0x10040000, 0x30040000}, {0x10040000, 0x30040000}),
    "sram4": (64 * KIB, {0x10050000, 0x30050000}, {0x10050000, 0x30050000}),
    "sysram": (256 * KIB, {0x2FFC0000}, {0x2FFC0000}),
    "bkpsram": (4 * KIB, {0x54000000}, {0x54000000}),
    "ddr": (512 * MIB, {0xC0000000}, {0xC0000000}),
}

PYTHON_BLOCKS = {
    "secureMonitor": (0x4FFFF000, 0x1000),
    "rcc": (0x50000000, 0x1000),
    "pwr": (0x50001000, 0x400),
    "tzc": (0x5C006000, 0x1000),
    "etzpc": (0x5C007000, 0x400),
    "tamp": (0x5C00A000, 0x400),
    "hsem": (0x4C000000, 0x400),
    "ipcc": (0x4C001000, 0x400),
    "exti": (0x5000D000, 0x400),
    **{f"gpio{port}": (0x50002000 + 0x1000 * n, 0x400) for n, port in enumerate("ABCDEFGHIJK")},
    "gpioZ": (0x54004000, 0x400),
    **{f"tim{t}": (0x40000000 + 0x1000 * n, 0x400) for n, t in enumerate((2, 3, 4, 5, 6, 7, 12, 13, 14))},
    **{f"tim{t}": (0x44000000 + 0x1000 * n, 0x400) for t, n in ((1, 0), (8, 1), (15, 6), (16, 7), (17, 8))},
    "wwdg1": (0x4000A000, 0x400),
    "iwdg1": (0x5C003000, 0x400),
    "iwdg2": (0x5A002000, 0x400),
    "rng1": (0x54003000, 0x400),
    "rng2": (0x4C003000, 0x400),
    "crc1": (0x58009000, 0x400),
    "crc2": (0x4C004000, 0x400),
    "dma1": (0x48000000, 0x400),
    "dma2": (0x48001000, 0x400),
    "dmamux": (0x48002000, 0x400),
    "syscfg": (0x50020000, 0x400),
    "dbgmcu": (0x50081000, 0x400),
}


SERIAL_PORTS = [
    ("usart1", 0x5C000000, 37),
    ("usart2", 0x4000E000, 38),
    ("usart3", 0x4000F000, 39),
    ("uart4", 0x40010000, 52),
    ("uart5", 0x40011000, 53),
    ("usart6", 0x44003000, 71),
    ("uart7", 0x40018000, 82),
    ("uart8", 0x40019000, 83),
]


@pytest.fixture(scope="module")
def board() -> Platform:
    return load_platform(platform_file("stm32mp157c-dk2.repl"))


def addresses(platform: Platform, name: str, core: str) -> set[int]:
    return {r.address for r in platform.entries[name].registrations if r.cpu in (None, core)}


def test_the_machine_has_these_memories_and_no_others(board: Platform) -> None:
    assert {entry.name for entry in board.of_type("Memory.MappedMemory")} == set(MEMORIES)


@pytest.mark.parametrize("name", MEMORIES)
def test_each_bank_is_at_its_addresses_in_the_view_of_each_core(board: Platform, name: str) -> None:
    size, a7, m4 = MEMORIES[name]

    assert board.entries[name].properties["size"] == size
    assert addresses(board, name, "a7") == a7
    assert addresses(board, name, "m4") == m4


@pytest.mark.parametrize("name", MEMORIES)
def test_each_bank_is_registered_per_core_so_that_one_core_can_lose_it(board: Platform, name: str) -> None:
    assert all(r.cpu in ("a7", "m4") for r in board.entries[name].registrations)


def test_only_the_m4_sees_memory_at_address_zero(board: Platform) -> None:
    at_zero = [(e.name, r.cpu) for e in board.entries.values() for r in e.registrations if r.address == 0]

    assert at_zero == [("retram", "m4")]


def test_the_srams_are_contiguous_behind_sysram(board: Platform) -> None:
    end = 0x2FFC0000
    for name in ("sysram", "sram1", "sram2", "sram3", "sram4"):
        assert end in addresses(board, name, "a7")
        size = board.entries[name].properties["size"]
        assert isinstance(size, int)
        end += size
    assert end == 0x30060000


@pytest.mark.parametrize("name", PYTHON_BLOCKS)
def test_python_blocks_are_where_the_reference_manual_has_them(board: Platform, name: str) -> None:
    entry = board.entries[name]
    (registration,) = entry.registrations

    assert entry.type == "Python.PythonPeripheral"
    assert (registration.address, extent(entry, registration)) == PYTHON_BLOCKS[name]
    assert registration.cpu is None
    assert entry.properties["initable"] is True


def test_the_python_blocks_are_these_and_no_others(board: Platform) -> None:
    assert {entry.name for entry in board.of_type("Python.PythonPeripheral")} == set(PYTHON_BLOCKS)


def test_the_cores_are_an_a7_that_runs_and_an_m4_that_is_held(board: Platform) -> None:
    a7, m4 = cores(board)

    assert (a7.name, a7.type) == ("a7", "CPU.ARMv7A")
    assert a7.properties["PerformanceInMips"] == 650
    assert a7.properties["genericInterruptController"] == Reference("gic")
    assert "IsHalted" not in a7.properties
    assert (m4.name, m4.type) == ("m4", "CPU.CortexM")
    assert m4.properties["cpuType"] == "cortex-m4"
    assert m4.properties["PerformanceInMips"] == 209
    assert m4.properties["nvic"] == Reference("nvic")
    assert m4.properties["IsHalted"] is True


def test_the_nvic_belongs_to_the_m4_alone(board: Platform) -> None:
    nvic = board.entries["nvic"]

    assert [(r.address, r.cpu) for r in nvic.registrations] == [(0xE000E000, "m4")]
    assert nvic.interrupts == (Interrupt("", "m4", 0),)


def test_the_gic_belongs_to_the_a7_alone(board: Platform) -> None:
    regions = {(r.region, r.address, r.size, r.cpu) for r in board.entries["gic"].registrations}

    assert regions == {
        ("distributor", 0xA0021000, 0x1000, "a7"),
        ("cpuInterface", 0xA0022000, 0x2000, "a7"),
    }


def test_the_generic_timer_is_part_of_the_a7_and_wired_to_its_private_interrupts(board: Platform) -> None:
    timer = board.entries["genericTimer"]

    assert timer.parent == "a7"
    assert timer.properties["frequency"] == 24_000_000
    assert {(i.source, i.line) for i in timer.interrupts} == {
        ("NonSecureEL2PhysicalTimerIRQ", 26),
        ("EL1VirtualTimerIRQ", 27),
        ("EL3PhysicalTimerIRQ", 29),
        ("EL1PhysicalTimerIRQ", 30),
    }
    assert {(i.destination, i.local) for i in timer.interrupts} == {("gic", 0)}


@pytest.mark.parametrize(("name", "address", "line"), SERIAL_PORTS)
def test_both_cores_see_the_consoles_and_get_their_interrupts(
    board: Platform, name: str, address: int, line: int
) -> None:
    uart = board.entries[name]

    assert uart.type == "UART.STM32F7_USART"
    assert addresses(board, name, "a7") == addresses(board, name, "m4") == {address}
    assert uart.interrupts == (Interrupt("IRQ", "nvic", line), Interrupt("IRQ", "gic", line))


def test_the_soc_file_alone_has_no_python_blocks() -> None:
    soc = load_platform(platform_file("stm32mp157.repl"))

    assert not soc.of_type("Python.PythonPeripheral")
    assert {"a7", "m4", "nvic", "gic", "genericTimer", "usart3", "uart4", *MEMORIES} == set(soc.entries)


def test_the_files_of_the_board_are_known_in_the_order_they_were_read(board: Platform) -> None:
    assert [path.name for path in board.files] == [
        "stm32mp157c-dk2.repl",
        "stm32mp157-blocks.repl",
        "stm32mp157-secure.repl",
        "stm32mp157.repl",
    ]
