"""Everything a platform description may get wrong, and the line, words and hint of the refusal."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cosim.errors import PlatformError
from cosim.platform.reader import load_platform, require_types

RAM = "Memory.MappedMemory"

# text, line of the error, a part of the message, a part of the hint
SYNTAX = [
    ("block", 1, "unexpected end of the file", "':'"),
    ("block:", 1, "the entry 'block' says nothing", "type"),
    ("block: Any.Block @", 1, "unexpected end of the file", "a name"),
    ("block: Any.Block\n    x", 2, "unexpected end of the indentation", "'->', ':'"),
    ("block: Any.Block\n    x\n    y: 1", 2, "unexpected end of the line", "':'"),
    ("block: Any.Block\n    x: $\n", 2, "unexpected '$'", "a number"),
    ("block: Any.Block\n\n    x: \x1b\n", 3, "unexpected character U+001B", "a number"),
    ("block: Any.Block { x: 1;; y: 2 }", 1, "unexpected ';'", "a name"),
    ("block: Any.Block { x: 1", 1, "unexpected end of the file", "'}'"),
    ("block: Any.Block }", 1, "closed that was never opened", ""),
    ("block: Any.Block\n        x: 1\n", 1, "unexpected indented line below", ""),
    ("block: Any.Block\n    x: 1\n      y: 2\n", 3, "6 spaces of indentation", "multiples of 4"),
    ("block: Any.Block\n\tx: 1\n", 2, "other than spaces", "4 spaces"),
    ("\n    block: Any.Block\n", 2, "the first entry is indented", "column 1"),
    ('block: Any.Block\n    x: "abc\n    y: 1\n', 2, "does not end in its line", '"'),
    ("block: Any.Block\n    x: '''abc\n    y: 1\n", 2, "never ends", "close it"),
    ("a: B\nblock: Any.Block /* abc\n\n", 2, "the comment /* that begins here never ends", "close it"),
    ("a: B /* abc\n*/ b: C\n", 2, "behind the end of a comment", "own line"),
    ("a: B// abc\n", 1, "unexpected '/'", ""),
    ("a: B\n    x: 1.5\n", 2, "unexpected '.'", ""),
    ("a: B\n    x: [1, 2]\n", 2, "unexpected '['", "a number"),
    ("local a: B\n", 1, "unexpected 'a'", "':'"),
    ('a: B @ sysbus 0x1 as "other"\n', 1, "unexpected 'as'", ""),
    ("a: B\n    x: 0x1_0000_0000_0000_0000\n", 2, "more than 64 bits", "64 bits"),
    ("a: B @ sysbus <0x10, 0x10>\n", 1, "is empty", "first address behind"),
    ("a: B @ sysbus <0x10, +0>\n", 1, "is empty", "size"),
    ('a: B\nusing "./b.repl"\n', 2, "'using' behind an entry", "top of the file"),
]

MEANING = [
    ("a: B\n\na: C\n", 3, "created twice", ":1; leave out the type"),
    ("a: B\n\nb:\n    x: 1\n", 3, "updated but never created", "give it a type"),
    ("sysbus: Any.Bus\n", 1, "the system bus is always there", "leave out"),
    ("sysbus:\n    x: 1\n", 1, "only labels", "Tag"),
    ("a: B\n    x: empty\n", 2, "the value of 'x'", "numbers, strings"),
    ("a: B\n    x: <0, +1>\n", 2, "the value of 'x'", "numbers, strings"),
    ("a: B\n    x: new Any.Thing { y: 1 }\n", 2, "the value of 'x'", "numbers, strings"),
    ("a: B\n    init:\n        DoSomething\n", 2, "only Renode can run", ".resc"),
    ('sysbus:\n    init:\n        Tag <0x0, 0x4> "ID" 0x500\n', 2, "only Renode can run", "without a value"),
    ('sysbus:\n    init add:\n        LoadELF "x.elf"\n', 2, "only Renode can run", ".resc"),
    ('sysbus:\n    preinit:\n        Tag <0x0, 0x4> "ID"\n', 2, "only Renode can run", ".resc"),
    ("a: B\n    reset:\n        Tag\n", 2, "only Renode can run", ".resc"),
    ("a: B\n    [0-3] -> a@[0-2]\n", 1, "4 interrupt sources wired to 3 lines of a", "one line"),
    ("a: B\n    [0-99999] -> a@[0-99999]\n", 1, "more than 16384 interrupt sources and lines", ""),
    ("a: B @ { sysbus 0x1; other 0x2 }\n", 1, "registered at sysbus and other", "one of them"),
    ("a: B @ { sysbus 0x1; sysbus }\n", 1, "without address", "address"),
    ("b: C\na: B @ b 0x10\n", 2, "an address at b", "only sysbus"),
    ('a: B @ sysbus "text"\n', 1, "not understood", "BusPointRegistration"),
    ("a: B @ sysbus true\n", 1, "not understood", "BusPointRegistration"),
    ("a: B @ sysbus new Bus.OtherRegistration { address: 1 }\n", 1, "not understood", "BusPointRegistration"),
    ("a: B @ sysbus new Bus.BusPointRegistration { cpu: a }\n", 1, "without address", "add it"),
    ("a: B @ sysbus new Bus.BusRangeRegistration { address: 1 }\n", 1, "without size", "add it"),
    ("a: B @ sysbus new Bus.BusPointRegistration { address: 1; cluster: a }\n", 1, "'cluster' in a", "address, cpu"),
    ('a: B @ sysbus new Bus.BusPointRegistration { address: "1" }\n', 1, "'address' in a", ""),
    ("a: B @ sysbus new Bus.BusPointRegistration { address: true }\n", 1, "'address' in a", ""),
    ("a: B @ sysbus new Bus.BusPointRegistration { -> a@1 }\n", 1, "an interrupt or section in a", "address, cpu"),
    (f"a: {RAM} @ sysbus 0x0\n", 1, "without a size", "size: 0x1000"),
    (f"a: {RAM} @ sysbus 0x0\n    size: true\n", 1, "without a size", "size: 0x1000"),
    ("a: Python.PythonPeripheral @ sysbus 0x0\n    size: -4\n", 1, "without a size", "size: 0x1000"),
    (f"a: {RAM} @ sysbus 0x100\n    size: 0x1000\n", 1, "no whole pages", "multiples of 0x1000"),
    (f"a: {RAM} @ sysbus 0x1000\n    size: 0x1001\n", 1, "no whole pages", "multiples of 0x1000"),
    (f"a: {RAM} @ sysbus 0xFFFFF000\n    size: 0x2000\n", 1, "outside the 32-bit address space", ""),
    ("a: B @ sysbus -4\n", 1, "outside the 32-bit address space", ""),
    ("a: B @ sysbus 0x1_0000_0000\n", 1, "outside the 32-bit address space", ""),
    ("a: B @ sysbus <0, +0x1_0000_0001>\n", 1, "outside the 32-bit address space", ""),
    ("a: B @ somewhere\n", 1, "'somewhere' does not exist", "correct the name"),
    ("a: B\n    nvic: nvic\n", 1, "'nvic' does not exist", "correct the name"),
    ("a: B\n    IRQ -> nvic@1\n", 1, "the interrupt destination 'nvic' does not exist", ""),
    ("a: B @ sysbus new Bus.BusPointRegistration { address: 1; cpu: m4 }\n", 1, "the core 'm4' does not exist", ""),
    ("b: C\na: B @ sysbus new Bus.BusPointRegistration { address: 1; cpu: b }\n", 2, "'b' is not a core", "CPU type"),
    ("a: B @ sysbus <0x10, +0x10>\nb: C @ sysbus 0x1F\n", 2, "0x0000001f is taken by 'a'", "ends at 0x0000001f"),
    ("a: B @ { sysbus <0x10, +0x10>; sysbus 0x10 }\n", 1, "is taken by 'a'", ""),
]


def refusal(path: Path, text: str) -> PlatformError:
    path.write_text(text, encoding="utf-8")
    with pytest.raises(PlatformError) as caught:
        load_platform(path)
    return caught.value


@pytest.mark.parametrize(("text", "line", "message", "hint"), SYNTAX)
def test_what_is_not_in_the_language_is_refused_at_its_place(
    tmp_path: Path, text: str, line: int, message: str, hint: str
) -> None:
    path = tmp_path / "bad.repl"
    error = refusal(path, text)

    assert message in error.message
    assert hint in error.hint
    assert error.fields["file"] == str(path)
    assert error.fields["line"] == line
    assert error.message.startswith(f"{path}:{line}:{error.fields['column']}: ")


@pytest.mark.parametrize(("text", "line", "message", "hint"), MEANING)
def test_what_makes_no_sense_is_refused_with_file_line_and_entry(
    tmp_path: Path, text: str, line: int, message: str, hint: str
) -> None:
    path = tmp_path / "bad.repl"
    error = refusal(path, text)

    assert message in error.message
    assert hint in error.hint
    assert error.fields["file"] == str(path)
    assert error.fields["line"] == line
    assert error.message.startswith(f"{path}:{line}: entry '{error.fields['entry']}': ")


def test_messages_are_one_printable_line(tmp_path: Path) -> None:
    for text, *_ in SYNTAX + MEANING:
        error = refusal(tmp_path / "bad.repl", text)
        assert error.message.isprintable()
        assert error.hint
        assert error.hint.isprintable()


CORES = "a7: CPU.ARMv7A @ sysbus\nm4: CPU.CortexM @ sysbus\n"


def seen_by(core: str, address: int) -> str:
    return f"sysbus new Bus.BusPointRegistration {{ address: {address:#x}; cpu: {core} }}"


def test_two_cores_may_see_different_blocks_at_one_address(tmp_path: Path) -> None:
    path = tmp_path / "machine.repl"
    path.write_text(f"{CORES}a: B @ {seen_by('a7', 0x0)}\nb: B @ {seen_by('m4', 0x0)}\n")

    assert len(load_platform(path).entries) == 4


def test_one_core_may_not_see_two_blocks_at_one_address(tmp_path: Path) -> None:
    error = refusal(
        tmp_path / "bad.repl",
        f"{CORES}a: {RAM} @ {seen_by('m4', 0x1000)}\n    size: 0x2000\nb: B @ {seen_by('m4', 0x2000)}\n",
    )

    assert "0x00002000 is taken by 'a' in the view of m4" in error.message


def test_a_block_for_all_cores_may_not_lie_on_one_of_a_single_core(tmp_path: Path) -> None:
    error = refusal(tmp_path / "bad.repl", f"{CORES}a: B @ {seen_by('m4', 0x10)}\nb: B @ sysbus <0x0, +0x20>\n")

    assert "in the view of m4" in error.message


def test_the_size_that_a_renode_class_has_built_in_counts(tmp_path: Path) -> None:
    error = refusal(tmp_path / "bad.repl", "u: UART.STM32F7_USART @ sysbus 0x1000\nb: B @ sysbus 0x13FF\n")

    assert "0x000013ff is taken by 'u'" in error.message


def test_an_unknown_type_is_refused_with_the_types_that_are_known(tmp_path: Path) -> None:
    path = tmp_path / "machine.repl"
    path.write_text("a: Any.Block\n\nb: Any.Other\n    x: 1\n")

    with pytest.raises(PlatformError, match=r"entry 'b': the type Any\.Other is not modelled") as caught:
        require_types(load_platform(path), ["Any.Block", "A.Thing"])

    assert caught.value.fields == {"file": str(path), "line": 3, "entry": "b", "type": "Any.Other"}
    assert "A.Thing, Any.Block" in caught.value.hint


def test_a_missing_file_a_folder_and_a_pipe_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.repl")

    for name, why in (("none.repl", "no such file"), (".", "not a regular file"), ("pipe.repl", "not a regular file")):
        with pytest.raises(PlatformError, match=why):
            load_platform(tmp_path / name)


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("platforms/cpus/other.repl", "Renode's own files"),
        ("/etc/passwd", "Renode's own files"),
        ("./none.repl", "no such file"),
        ("./bad.repl", "uses itself"),
        ("./" + "x" * 5000, "name too long"),
        ("./a\x00b", "Renode's own files"),
    ],
)
def test_a_using_that_leads_nowhere_is_refused_at_its_line(tmp_path: Path, path: str, why: str) -> None:
    error = refusal(tmp_path / "bad.repl", f'\nusing "{path}"\n')

    assert why.lower() in error.message.lower()
    assert error.fields["line"] == 2
    assert error.fields["file"] == str(tmp_path / "bad.repl")


def test_files_that_use_each_other_in_a_circle_are_refused(tmp_path: Path) -> None:
    (tmp_path / "other.repl").write_text('using "./bad.repl"\n')

    assert "uses itself" in refusal(tmp_path / "bad.repl", 'using "./other.repl"\n').message


def test_a_chain_of_using_has_an_end(tmp_path: Path) -> None:
    for number in range(20):
        (tmp_path / f"{number}.repl").write_text(f'using "./{number + 1}.repl"\n')
    (tmp_path / "20.repl").write_text("a: B\n")

    with pytest.raises(PlatformError, match="more than 16 files use one another"):
        load_platform(tmp_path / "0.repl")
    assert load_platform(tmp_path / "6.repl").entries


def test_an_error_in_a_used_file_names_that_file(tmp_path: Path) -> None:
    (tmp_path / "soc.repl").write_text("a: B\n    x\n")

    error = refusal(tmp_path / "board.repl", 'using "./soc.repl"\n')

    assert error.fields["file"] == str(tmp_path / "soc.repl")


def test_text_that_is_not_utf8_is_refused_with_its_offset(tmp_path: Path) -> None:
    path = tmp_path / "bad.repl"
    path.write_bytes(b"a: B\n\xff\xfe")

    with pytest.raises(PlatformError, match="not UTF-8 text at offset 5"):
        load_platform(path)


BOUNDED = [
    ("a: B\n" + " " * (1 << 20), "more than 1048576 bytes"),
    ("".join(f"e{n}: B\n" for n in range(4097)), "more than 4096 entries"),
    ("a: B\n    " + "x: 1\n    " * 40000 + "x: 1", "more than 32768 lines and list elements"),
    ("a: B { " + "x: 1;" * 40000 + "x: 1 }", "more than 32768 lines and list elements"),
    ("a: B { -> a@1" + "|a@1" * 20000 + " }", "more than 16384 interrupt sources and lines"),
    ("a: B @ {" + "sysbus 1;" * 20000 + "sysbus 1}", "more than 16384 registrations"),
    ("".join(f"c{n}: CPU.Any\n" for n in range(17)), "more than 16 cores"),
    ("a: B " + "{" * 100000, "more than 16 levels of braces"),
    ("a: B " + "{ x: new C " * 20000, "more than 16 levels of braces"),
    ("a: B\n" + "".join("    " * n + "x: new C\n" for n in range(1, 30)), "more than 16 levels of indentation"),
    ("a: B { x: " + "9" * 100000 + " }", "more than 64 bits"),
]


@pytest.mark.parametrize(("text", "message"), BOUNDED, ids=[message for _, message in BOUNDED])
def test_every_size_is_bounded(tmp_path: Path, text: str, message: str) -> None:
    assert message in refusal(tmp_path / "bad.repl", text).message


def test_the_bound_of_bytes_holds_for_all_files_together(tmp_path: Path) -> None:
    (tmp_path / "half.repl").write_text("b: C\n" + " " * (600 << 10))

    error = refusal(tmp_path / "bad.repl", 'using "./half.repl"\n' + " " * (600 << 10))

    assert "more than 1048576 bytes" in error.message


def test_a_file_of_the_largest_size_is_read(tmp_path: Path) -> None:
    path = tmp_path / "machine.repl"
    path.write_text("a: B\n    x: '''" + "y" * ((1 << 20) - 30) + "'''\n")

    assert len(str(load_platform(path).entries["a"].properties["x"])) == (1 << 20) - 30
