"""The benchmarks' results as a table on a terminal, as plain lines elsewhere, or as JSON."""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Sequence
from typing import TextIO

from rich.console import Console
from rich.table import Table

from cosim.bench.machine import Machine
from cosim.bench.measurement import Finding, Measurement


def write_json(machine: Machine, findings: Sequence[Finding], stream: TextIO) -> None:
    """One JSON document: the machine, the measurements, and what was skipped and why."""
    measured = [f.as_dict() for f in findings if isinstance(f, Measurement)]
    skipped = [f.as_dict() for f in findings if not isinstance(f, Measurement)]
    json.dump({"machine": machine.as_dict(), "measurements": measured, "skipped": skipped}, stream, indent=2)
    stream.write("\n")


def write_table(machine: Machine, findings: Sequence[Finding], stream: TextIO) -> None:
    """A table per section, with rules and colours if `stream` is a terminal."""
    terminal = stream.isatty()
    text = io.StringIO()
    console = Console(file=stream if terminal else text, highlight=False, width=None if terminal else 160)
    load = "unknown" if machine.load is None else f"{machine.load:.2f}"
    console.print(f"{machine.cpu}, {machine.cpus} CPUs, {machine.memory_mib} MiB, {machine.system}")
    console.print(f"{machine.python}, unicorn {machine.unicorn}, load average at the start {load}")
    for section, group in itertools.groupby(findings, key=lambda finding: finding.section):
        console.print()
        console.print(_table(section, list(group), terminal))
    if not terminal:
        # rich fills up the last column with spaces.
        stream.write("".join(line.rstrip() + "\n" for line in text.getvalue().splitlines()))


def _table(section: str, findings: Sequence[Finding], terminal: bool) -> Table:
    table = Table(title=section, title_justify="left", title_style="bold" if terminal else "", box=None, pad_edge=False)
    for name, align in (("what", "left"), ("value", "right"), ("unit", "left"), ("taken", "left"), ("ratio", "left")):
        table.add_column(name, justify="right" if align == "right" else "left", header_style="dim" if terminal else "")
    for finding in findings:
        if isinstance(finding, Measurement):
            ratios = "; ".join(f"{ratio.value:.2f} of {ratio.yardstick}" for ratio in finding.ratios)
            table.add_row(finding.name, _digits(finding.value), finding.unit, finding.how, ratios)
        else:
            table.add_row(finding.name, "-", "", f"skipped: {finding.reason}", "")
    return table


def _digits(value: float) -> str:
    """Three significant digits; more would be noise."""
    decimals = 2 if abs(value) < 10 else 1 if abs(value) < 100 else 0
    return f"{value:.{3 if abs(value) < 1 else decimals}f}"
