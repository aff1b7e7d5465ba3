"""Interrupt wires: from the outputs of blocks to the lines of NVIC and GIC, as the description has them."""

from __future__ import annotations

from pathlib import Path

import pytest

from cosim.errors import EngineError, PlatformError
from cosim.interrupts import Interrupts
from cosim.platform.reader import load_platform
from cosim.resources import platform_file

Change = tuple[int, bool]


def board(folder: Path, entries: str) -> Path:
    """A description of the SoC's own file and `entries`."""
    (folder / "soc.repl").write_bytes(platform_file("stm32mp157.repl").read_bytes())
    path = folder / "board.repl"
    path.write_text(f'using "./soc.repl"\n{entries}', encoding="ascii")
    return path


@pytest.fixture
def wires() -> Interrupts:
    return Interrupts(load_platform(platform_file("stm32mp157c-dk2.repl")))


@pytest.fixture
def nvic(wires: Interrupts) -> list[Change]:
    seen: list[Change] = []
    wires.nvic.connect(lambda line, level: seen.append((line, level)))
    return seen


@pytest.fixture
def gic(wires: Interrupts) -> list[Change]:
    seen: list[Change] = []
    wires.gic.connect(lambda line, level: seen.append((line, level)))
    return seen


def test_a_shared_peripheral_reaches_both_controllers(wires: Interrupts, nvic: list[Change], gic: list[Change]) -> None:
    wires.output("usart3")(True)
    wires.output("usart3")(False)
    assert nvic == gic == [(39, True), (39, False)]


@pytest.mark.parametrize(
    ("wire", "nvic_line", "gic_line"),
    [
        ("ipccRx0", 100, 100),
        ("ipccTx0", 101, 101),
        ("ipccRx1", 103, 103),
        ("ipccTx1", 104, 104),
        ("hsemIt1", None, 125),
        ("hsemIt2", 125, None),
        ("tim2Irq", 28, 28),
        ("tim7Irq", 55, 55),
        ("wwdg1Irq", 0, 0),
        ("iwdg1Irq", None, 150),
        ("iwdg2Irq", None, 151),
        ("rng1Irq", 133, 133),
        ("rng2Irq", 134, 134),
        ("dma1Stream7", 47, 47),
        ("dma2Stream5", 68, 68),
        ("extiCpu1Line13", None, 77),
        ("extiCpu2Line13", 77, None),
        ("extiCpu1Line68", None, 143),
        ("extiCpu2Line66", 144, None),
    ],
)
def test_each_output_has_the_lines_of_the_interrupt_tables(
    wires: Interrupts, wire: str, nvic_line: int | None, gic_line: int | None
) -> None:
    wires.output(wire)(True)
    assert wires.nvic.high() == (() if nvic_line is None else (nvic_line,))
    assert wires.gic.high() == (() if gic_line is None else (gic_line,))


def test_an_output_that_repeats_its_level_is_told_once(wires: Interrupts, nvic: list[Change]) -> None:
    for _ in range(3):
        wires.output("ipccRx1")(True)
    assert nvic == [(103, True)]


def test_a_line_is_high_while_any_of_its_wires_is(tmp_path: Path) -> None:
    names = ("oneIrq", "twoIrq")
    wired = board(
        tmp_path,
        "".join(f"{n}: Miscellaneous.CombinedInput @ none\n    numberOfInputs: 1\n    -> nvic@5\n" for n in names),
    )
    wires = Interrupts(load_platform(wired))
    seen: list[Change] = []
    wires.nvic.connect(lambda line, level: seen.append((line, level)))
    wires.output("oneIrq")(True)
    wires.output("twoIrq")(True)
    wires.output("oneIrq")(False)
    assert wires.nvic.level(5)
    wires.output("twoIrq")(False)
    assert not wires.nvic.level(5)
    assert seen == [(5, True), (5, False)]


def test_who_connects_late_hears_what_is_high(wires: Interrupts) -> None:
    wires.output("usart3")(True)
    seen: list[Change] = []
    wires.nvic.connect(lambda line, level: seen.append((line, level)))
    assert seen == [(39, True)]


def test_a_restored_snapshot_has_the_levels_and_tells_nobody(wires: Interrupts, nvic: list[Change]) -> None:
    wires.output("usart3")(True)
    saved = wires.save()
    wires.output("usart3")(False)
    wires.output("ipccRx1")(True)
    del nvic[:]
    wires.load(saved)
    assert (wires.nvic.high(), nvic) == ((39,), [])
    wires.output("usart3")(True)
    assert nvic == []


def test_something_else_than_a_snapshot_is_refused(wires: Interrupts) -> None:
    with pytest.raises(EngineError, match="snapshot"):
        wires.load({"usart3": True})


def test_a_wire_to_something_without_shared_lines_is_refused(tmp_path: Path) -> None:
    odd = board(tmp_path, "odd: Miscellaneous.CombinedInput @ none\n    numberOfInputs: 1\n    -> gic#0@27\n")
    with pytest.raises(PlatformError, match="odd is wired to gic") as caught:
        Interrupts(load_platform(odd))
    assert caught.value.hint
