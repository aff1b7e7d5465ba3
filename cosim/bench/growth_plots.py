"""`python -m cosim.bench.growth_plots FOLDER`: measure how cost grows and draw it, one SVG file per figure.

Needs the extra `plots`. The same numbers give the same bytes; the numbers themselves are also written, as growth.json,
and drawn again from there with `--from`.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import matplotlib as mpl
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure as Canvas

from cosim.bench.growth import Figure, Series, figures
from cosim.bench.machine import describe_machine
from cosim.bench.measurement import QUICK, Sizes
from cosim.cli._output import write_atomically
from cosim.errors import CosimError

_NUMBERS = "growth.json"
#: Nothing that changes from run to run: no date, no random identifiers; text stays text, so that the files are small.
_STYLE = {"svg.hashsalt": "cosim", "svg.fonttype": "none", "font.size": 9.0, "font.family": "sans-serif"}
_METADATA = {"Date": None, "Creator": None}


def draw(figure: Figure) -> bytes:
    """The SVG of one figure."""
    with mpl.rc_context({**mpl.rcParamsDefault, **_STYLE}):
        canvas = Canvas(figsize=(6, 3.2), layout="constrained")
        FigureCanvasSVG(canvas)
        axes = canvas.add_subplot()
        for line in figure.series:
            axes.plot(*zip(*line.points, strict=True), marker="o", markersize=3, label=line.name)
        axes.set(title=figure.title, xlabel=figure.x, ylabel=figure.y)
        axes.set_xlim(left=0)
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        axes.legend()
        out = io.BytesIO()
        canvas.savefig(out, format="svg", metadata=_METADATA)
    return out.getvalue()


def as_json(machine: Mapping[str, object], found: Sequence[Figure]) -> str:
    """The numbers behind the plots, with three significant digits, and where they were measured."""
    described = [
        {
            "key": figure.key,
            "title": figure.title,
            "x": figure.x,
            "y": figure.y,
            "series": [
                {"name": s.name, "unit": s.unit, "how": s.how, "points": [[_short(v) for v in p] for p in s.points]}
                for s in figure.series
            ],
        }
        for figure in found
    ]
    return json.dumps({"machine": machine, "figures": described}, indent=1) + "\n"


def from_json(text: str) -> list[Figure]:
    """The figures of what `as_json` wrote. Raises `ValueError`, `KeyError` or `TypeError` for anything else."""
    return [
        Figure(
            f["key"],
            f["title"],
            f["x"],
            f["y"],
            tuple(Series(s["name"], tuple((x, y) for x, y in s["points"]), s["unit"], s["how"]) for s in f["series"]),
        )
        for f in json.loads(text)["figures"]
    ]


def _short(value: float) -> float:
    return float(f"{value:.3g}")


def run(arguments: Sequence[str] | None = None) -> int:
    """Measure and draw into the folder that `arguments` name; exit code 0, or 1 when that could not be done."""
    parser = argparse.ArgumentParser(prog="python -m cosim.bench.growth_plots", description="Draw how cost grows.")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="where the SVG files and the numbers go")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: shows that it works, not how fast")
    parser.add_argument("--from", action="store_true", dest="again", help=f"draw FOLDER/{_NUMBERS}, measure nothing")
    options = parser.parse_args(arguments)
    numbers: Path = options.folder / _NUMBERS
    try:
        if not options.again:
            machine = describe_machine().as_dict()
            found = list(figures(QUICK if options.quick else Sizes()))
            write_atomically(numbers, [as_json(machine, found).encode()])
        # Drawn from the file in both cases: what is drawn is what is written there.
        for figure in from_json(numbers.read_text(encoding="utf-8")):
            write_atomically(options.folder / f"growth-{Path(figure.key).name}.svg", [draw(figure)])
    except CosimError as error:
        print(f"error: {error.message}", file=sys.stderr)  # noqa: T201
        return 1
    except (OSError, ValueError, KeyError, TypeError) as error:
        print(f"error: {numbers}: {type(error).__name__}: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


def main() -> NoReturn:
    """Entry point of the module."""
    sys.exit(run())


if __name__ == "__main__":
    main()
