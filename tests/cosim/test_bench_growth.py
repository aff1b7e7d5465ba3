"""How cost grows is measured on what really happens, and drawn the same way from the same numbers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from cosim.bench import growth
from cosim.bench.__main__ import SECTIONS
from cosim.bench.decisions import large_elf
from cosim.bench.growth import IMAGE_KIB, JOBS, Figure, Series
from cosim.bench.measurement import QUICK, Measurement
from cosim.campaign.model import Kind
from cosim.campaign.run import CHUNK
from cosim.errors import EngineError
from cosim.testing import flip
from ta.image_elf import read_elf

TINY = replace(QUICK, native_instructions=20_000, decisions=1, mutations=2 * CHUNK, races=2 * CHUNK)
TWO_LINES = Figure(
    "cases", "A title", "x", "y", (Series("one", ((1.0, 2.0), (3.0, 4.0)), "s"), Series("two", ((1.0, 1.5),), "s"))
)


def test_the_largest_image_has_300_kib_in_the_memories_that_the_secure_world_loads() -> None:
    loads = read_elf(large_elf(300 * 1024)).loads

    assert [(load.p_paddr, load.p_filesz) for load in loads] == [(0, 8), (0x10000000, 0x40000), (0x1000, 44 * 1024)]


def test_images_of_every_size_are_loaded_released_and_signed() -> None:
    lines = growth.by_size(TINY)

    assert [line.name for line in lines] == ["LOAD_FW", "LOAD_FW and RELEASE_FW", "signing"]
    assert all([x for x, _ in line.points] == list(IMAGE_KIB) for line in lines)
    load, both, _ = lines
    assert all(less[1] < more[1] for less, more in zip(load.points, both.points, strict=True))


def test_an_image_that_is_refused_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    signed = growth.bound_image
    monkeypatch.setattr(growth, "bound_image", lambda elf: flip(signed(elf), -1000))

    with pytest.raises(EngineError, match="not accepted"):
        growth.by_size(TINY)


def test_instructions_on_the_axis_are_those_that_the_cores_retired() -> None:
    line = growth.by_instructions("both", ("A7", "M4"), TINY)

    assert [round(x, 3) for x, _ in line.points] == pytest.approx([0.005, 0.01, 0.02, 0.05, 0.1], rel=0.05)
    assert all(y > 0 for _, y in line.points)


def test_a_campaign_is_timed_from_its_start_to_its_last_case() -> None:
    line = growth.by_cases("mutation", Kind.MUTATION, TINY)

    assert [x for x, _ in line.points] == [CHUNK, 2 * CHUNK]
    assert 0 < line.points[0][1] < line.points[1][1]


def test_processes_are_timed_by_wall_and_by_the_time_of_all_of_them() -> None:
    wall, processor = growth.by_jobs("mutation", Kind.MUTATION, TINY)

    assert [x for x, _ in wall.points] == [x for x, _ in processor.points] == list(JOBS)
    assert all(y > 0 for _, y in (*wall.points, *processor.points))


def test_growth_in_proportion_has_the_ratio_1() -> None:
    assert Series("line", ((2.0, 10.0), (4.0, 20.0)), "s").ratio().value == 1.0
    assert Series("flat", ((2.0, 10.0), (4.0, 10.0)), "s").ratio().value == 0.5


def test_every_point_is_a_measurement_of_the_section(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growth, "figures", lambda _sizes: iter([TWO_LINES]))

    found = [f for f in growth.measure_growth(TINY) if isinstance(f, Measurement)]

    assert [(f.name, f.value) for f in found] == [
        ("A title, one: 1 x", 2.0),
        ("A title, one: 3 x", 4.0),
        ("A title, two: 1 x", 1.5),
    ]
    assert [len(f.ratios) for f in found] == [0, 1, 0]
    assert "growth" in SECTIONS


def test_the_plots_are_the_same_bytes_for_the_same_numbers(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: the extra `plots`")
    from cosim.bench import growth_plots  # noqa: PLC0415

    (tmp_path / "growth.json").write_text(growth_plots.as_json({}, [TWO_LINES]), encoding="utf-8")

    assert growth_plots.run([str(tmp_path), "--from"]) == 0
    first = (tmp_path / "growth-cases.svg").read_bytes()
    assert growth_plots.run([str(tmp_path), "--from"]) == 0

    assert (tmp_path / "growth-cases.svg").read_bytes() == first
    text = "".join(ElementTree.fromstring(first).itertext())
    assert all(word in text for word in ("A title", "one", "two"))
    assert growth_plots.from_json(growth_plots.as_json({}, [TWO_LINES])) == [TWO_LINES]


@pytest.mark.parametrize("content", [None, "", "[]", '{"figures": [{}]}', json.dumps({"figures": [1]})])
def test_numbers_that_cannot_be_read_are_an_error_and_no_picture(
    content: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: the extra `plots`")
    from cosim.bench import growth_plots  # noqa: PLC0415

    if content is not None:
        (tmp_path / "growth.json").write_text(content, encoding="utf-8")

    assert growth_plots.run([str(tmp_path), "--from"]) == 1
    assert capsys.readouterr().err.startswith("error: ")
    assert list(tmp_path.glob("*.svg")) == []
