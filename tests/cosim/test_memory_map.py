"""The M4's view of its memories agrees with the regions that the TA loads to."""

from __future__ import annotations

import pytest

from cosim.memory_map import BANKS, WINDOWS, cell, da_to_pa, elsewhere, loadable, window_at, windows_of
from ta.memory_map import REGIONS


def test_mcu_sram_is_384_kib_and_seen_twice() -> None:
    assert sum(bank.size for bank in BANKS if bank.name.startswith("SRAM")) == 384 * 1024
    for window in WINDOWS:
        views = 1 if window.bank.name == "RETRAM" else 2
        assert sum(w.bank == window.bank for w in WINDOWS) == views


def test_every_region_of_the_ta_lies_in_one_view_with_the_same_physical_address() -> None:
    for region in REGIONS:
        assert da_to_pa(region.da) == region.pa
        last = region.da + region.size - 1
        assert da_to_pa(last) == region.pa + region.size - 1


@pytest.mark.parametrize(
    ("da", "bank", "pa"),
    [
        (0x00000000, "RETRAM", 0x38000000),
        (0x0000FFFF, "RETRAM", 0x3800FFFF),
        (0x1001FFFF, "SRAM1", 0x1001FFFF),
        (0x10020000, "SRAM2", 0x10020000),
        (0x30040000, "SRAM3", 0x30040000),
        (0x1005FFFF, "SRAM4", 0x1005FFFF),
    ],
)
def test_address_of_the_m4_belongs_to_a_bank(da: int, bank: str, pa: int) -> None:
    window = window_at(da)

    assert window is not None
    assert window.bank.name == bank
    assert da_to_pa(da) == pa


@pytest.mark.parametrize("da", [0x10000, 0x0FFFFFFF, 0x10060000, 0x30060000, 0x38000000, 0x20000000, -1, 1 << 32])
def test_other_addresses_are_no_memory_of_the_m4(da: int) -> None:
    assert window_at(da) is None
    assert da_to_pa(da) is None
    assert cell(da) is None


def test_aliases_are_the_same_cell() -> None:
    assert cell(0x10012345) == cell(0x30012345)
    assert cell(0x10000000) != cell(0x00000000)


def test_range_names_all_banks_that_it_touches() -> None:
    assert [w.bank.name for w in windows_of(0x1001FFFC, 8)] == ["SRAM1", "SRAM2"]
    assert windows_of(0x1001FFFC, 0) == ()


def test_only_ranges_inside_one_region_are_loadable() -> None:
    assert loadable(0x1001FFF0, 0x20)
    assert not loadable(0x1003FFF0, 0x20)
    assert not loadable(0x10050000, 4)


def test_address_of_another_part_is_explained() -> None:
    assert "STM32H7" in elsewhere(0x08100000)
    assert "A7 address" in elsewhere(0x38000000)
    assert elsewhere(0x50000) == ""
