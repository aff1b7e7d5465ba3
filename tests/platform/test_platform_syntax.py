"""Each form of Renode's platform language that is understood, and what it means."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cosim.platform.model import Entry, Interrupt, Platform, Reference, Registration
from cosim.platform.reader import load_platform, require_types

Read = Callable[[str], Platform]

CORES = "a7: CPU.ARMv7A @ sysbus\nm4: CPU.CortexM @ sysbus\n"


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def read_text(text: str) -> Platform:
        path = tmp_path / "machine.repl"
        path.write_text(text, encoding="utf-8")
        return load_platform(path)

    return read_text


def only(platform: Platform) -> Entry:
    (entry,) = platform.entries.values()
    return entry


def test_an_empty_file_is_an_empty_machine(read: Read) -> None:
    assert read("").entries == {}
    assert read("\n  // nothing\n\n").entries == {}


@pytest.mark.parametrize(
    ("registration", "expected"),
    [
        ("@ sysbus 0x1000", [Registration(0x1000)]),
        ("@ sysbus 4096", [Registration(0x1000)]),
        ("@ sysbus <0x1000, +0x400>", [Registration(0x1000, 0x400)]),
        ("@ sysbus <0x1000, 0x1400>", [Registration(0x1000, 0x400)]),
        ("@ { sysbus 0x1000; sysbus 0x3000 }", [Registration(0x1000), Registration(0x3000)]),
        ("@ sysbus new Bus.BusPointRegistration { address: 0x10 }", [Registration(0x10)]),
        ("@ sysbus new Bus.BusPointRegistration { address: 0x10; cpu: m4 }", [Registration(0x10, cpu="m4")]),
        ("@ sysbus new Bus.BusRangeRegistration { address: 0x10; size: 0x20 }", [Registration(0x10, 0x20)]),
        (
            '@ sysbus new Bus.BusMultiRegistration { address: 0x10; size: 0x20; region: "control"; cpu: a7 }',
            [Registration(0x10, 0x20, "a7", "control")],
        ),
        (
            "@ {\n"
            "        sysbus new Bus.BusPointRegistration { address: 0x0; cpu: m4 };\n"
            "    sysbus new Bus.BusPointRegistration\n"
            "{ address: 0x38000000; cpu: a7 } }",
            [Registration(0, cpu="m4"), Registration(0x38000000, cpu="a7")],
        ),
    ],
)
def test_a_registration_says_address_size_region_and_core(
    read: Read, registration: str, expected: list[Registration]
) -> None:
    block = read(f"{CORES}block: Any.Block {registration}\n    property: 1\n").entries["block"]

    assert block.registrations == tuple(expected)
    assert block.parent == "sysbus"
    assert block.properties == {"property": 1}


def test_an_entry_can_be_registered_nowhere_at_the_bus_itself_or_at_a_core(read: Read) -> None:
    platform = read(CORES + "loose: Any.Gate\ncancelled: Any.Gate @ none\ntimer: Any.Timer @ a7\n")

    parents = {name: entry.parent for name, entry in platform.entries.items()}
    assert parents == {"a7": "sysbus", "m4": "sysbus", "loose": None, "cancelled": None, "timer": "a7"}
    assert all(entry.registrations == () for entry in platform.entries.values())


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("0x10", 16),
        ("0xDEADbeef", 0xDEADBEEF),
        ("100_000_000", 100_000_000),
        ("0x1000_0000", 0x10000000),
        ("-5", -5),
        ("true", True),
        ("false", False),
        ('"text"', "text"),
        ('"a \\"quoted\\" { // /* word"', 'a "quoted" { // /* word'),
        ('"one \\" {"', 'one " {'),
        ('""', ""),
        ("'''one line'''", "one line"),
        ("'''it's two\n  lines: { \"'''", "it's two\n  lines: { \""),
        ("'''escaped \\''' quotes'''", "escaped ''' quotes"),
        ("other", Reference("other")),
        ("Some.Enum.Value", "Some.Enum.Value"),
    ],
)
def test_a_property_has_a_value(read: Read, written: str, value: object) -> None:
    platform = read(f"block: Any.Block\n    first: {written}\n    Second: {written}\nother: Any.Block\n")

    assert platform.entries["block"].properties == {"first": value, "Second": value}
    assert type(platform.entries["block"].properties["first"]) is type(value)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("-> nvic@3", [Interrupt("", "nvic", 3)]),
        ("IRQ -> nvic@52", [Interrupt("IRQ", "nvic", 52)]),
        ("IRQ -> nvic@52 | gic@0x34", [Interrupt("IRQ", "nvic", 52), Interrupt("IRQ", "gic", 52)]),
        ("7 -> nvic@1", [Interrupt("7", "nvic", 1)]),
        ("IRQ -> gic#0@30", [Interrupt("IRQ", "gic", 30, 0)]),
        ("[0-1] -> nvic@[5-6]", [Interrupt("0", "nvic", 5), Interrupt("1", "nvic", 6)]),
        ("[0-1] -> nvic@[6-5]", [Interrupt("0", "nvic", 6), Interrupt("1", "nvic", 5)]),
        ("[RX, 0x4] -> nvic@[1, 9]", [Interrupt("RX", "nvic", 1), Interrupt("4", "nvic", 9)]),
        (
            "[0-1] -> nvic@[5-6] | gic@[7, 8]",
            [
                Interrupt("0", "nvic", 5),
                Interrupt("0", "gic", 7),
                Interrupt("1", "nvic", 6),
                Interrupt("1", "gic", 8),
            ],
        ),
    ],
)
def test_an_interrupt_goes_from_sources_to_lines(read: Read, written: str, expected: list[Interrupt]) -> None:
    platform = read(f"block: Any.Block\n    {written}\nnvic: Any.Nvic\ngic: Any.Gic\n")

    assert platform.entries["block"].interrupts == tuple(expected)


SAME = [
    "block: Any.Block @ sysbus 0x10\n    one: 1\n    two: 2\n    -> block@0\n",
    "block: Any.Block @ sysbus 0x10 { one: 1; two: 2; -> block@0 }",
    "block: Any.Block @ sysbus 0x10 {\n  one: 1;\n\n          two: 2; -> block\n@\n0\n}\n",
    "\n// before\nblock: Any.Block @ sysbus 0x10 // behind\n\n    // between\n    one: 1\n\n    two: 2\n    -> block@0",
    "block: /* why */ Any.Block @ sysbus 0x10 /* some\nlines\n    of it */\n    one: 1\n    two: 2\n    -> block@0\n",
    "block: Any.Block @ sysbus 0x10\r\n    one: 1\r\n    two: 2\r\n    -> block@0\r\n",
    "block:\n    one: 1\nblock: Any.Block @ sysbus 0x10\n    two: 2\n    -> block@0\n",
]


@pytest.mark.parametrize("text", SAME)
def test_indentation_braces_comments_and_updates_say_the_same(read: Read, text: str) -> None:
    entry = only(read(text))

    assert entry.registrations == (Registration(0x10),)
    assert entry.properties == {"one": 1, "two": 2}
    assert entry.interrupts == (Interrupt("", "block", 0),)


def test_two_slashes_begin_a_comment_only_behind_a_space_as_in_renode(read: Read) -> None:
    entry = only(read('block: Any.Block\n    address: "http://host" // a comment\n'))

    assert entry.properties == {"address": "http://host"}


def test_a_later_entry_overrides_what_it_mentions_and_nothing_else(read: Read) -> None:
    platform = read(
        "block: Any.Block @ sysbus 0x10\n    kept: 1\n    changed: 2\n    gone: 3\n"
        "    A -> block@1\n    B -> block@2\n    C -> block@3\n"
        "block: @ sysbus 0x20\n    changed: 4\n    gone: none\n    B -> block@7\n    C -> none\n"
    )

    entry = only(platform)
    assert entry.registrations == (Registration(0x20),)
    assert entry.properties == {"kept": 1, "changed": 4}
    assert entry.interrupts == (Interrupt("A", "block", 1), Interrupt("B", "block", 7))
    assert entry.line == 1


def test_a_registration_can_be_cancelled(read: Read) -> None:
    entry = only(read("block: Any.Block @ sysbus 0x10\nblock: @ none\n"))

    assert (entry.parent, entry.registrations) == (None, ())


def test_labels_on_the_system_bus_are_read_and_mean_nothing(read: Read) -> None:
    platform = read(
        "block: Any.Block\nsysbus:\n    init:\n"
        '        Tag <0x50002000, 0x500023FF> "GPIOA"\n        SilenceRange <0x1000 0x2000>\n'
    )

    assert list(platform.entries) == ["block"]


def test_using_is_relative_to_the_file_that_says_it(tmp_path: Path) -> None:
    (tmp_path / "soc").mkdir()
    (tmp_path / "soc" / "memory.repl").write_text("ram: Memory.MappedMemory @ sysbus 0x0\n    size: 0x1000\n")
    (tmp_path / "soc" / "soc.repl").write_text('using "./memory.repl"\n\nblock: Any.Block\n    x: 1\n')
    (tmp_path / "board.repl").write_text('using "./soc/soc.repl"\nusing "./soc/memory.repl"\nblock:\n    x: 2\n')

    platform = load_platform(tmp_path / "board.repl")

    assert list(platform.entries) == ["ram", "block"]
    assert platform.entries["block"].properties == {"x": 2}
    assert platform.entries["block"].file == tmp_path / "soc" / "soc.repl"
    assert platform.entries["ram"].line == 1
    assert len(platform.files) == 3


def test_all_entries_of_a_type_come_in_the_order_of_the_description(read: Read) -> None:
    platform = read("b: Any.Block\nx: Any.Other\na: Any.Block\n")

    assert [entry.name for entry in platform.of_type("Any.Block")] == ["b", "a"]


def test_require_types_accepts_a_machine_of_known_types(read: Read) -> None:
    require_types(read("b: Any.Block\nx: Any.Other\n"), {"Any.Block", "Any.Other", "Any.Third"})


def test_a_used_file_that_changed_is_read_anew(tmp_path: Path, read: Read) -> None:
    used = tmp_path / "used.repl"
    used.write_text("ram: Memory.MappedMemory @ sysbus 0x0 { size: 0x1000 }\n", encoding="utf-8")
    before = read('using "./used.repl"\n')
    used.write_text("ram: Memory.MappedMemory @ sysbus 0x0 { size: 0x2000 }\n", encoding="utf-8")
    after = read('using "./used.repl"\n')

    assert [only(platform).properties["size"] for platform in (before, after)] == [0x1000, 0x2000]


def test_nobody_can_change_a_description_that_others_may_have_too(read: Read) -> None:
    platform = read("b: Any.Block { x: 1 }\n")

    assert read("b: Any.Block { x: 1 }\n") == platform
    with pytest.raises(TypeError):
        platform.entries["c"] = only(platform)  # type: ignore[index]
    with pytest.raises(TypeError):
        only(platform).properties["x"] = 2  # type: ignore[index]
