"""What the project wants to be at least as fast as, beside what was measured in the same run."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from cosim.bench.measurement import Finding, Measurement, Ratio, Skipped

_SECTION = "aims"


@dataclass(frozen=True)
class Aim:
    """A bound on a measurement, or on its first ratio with `ratio`; a measured `unit` may be `converted` before.

    `name` is the end of the measurement's name in `section`; `most` turns the bound from least to most.
    """

    what: str
    section: str
    name: str
    bound: float
    unit: str
    ratio: bool = False
    converted: Callable[[float], float] = float
    most: bool = False


def _inverted(value: float) -> float:
    return 1 / value


AIMS = (
    Aim("both cores, quantum 1,000, against bare Unicorn with `count`", "instruction rates",
        "both in turns, quantum 1,000: native loop", 1.0, "", ratio=True),
    Aim("the same with `--timing cycles`", "instruction rates",
        "both in turns, quantum 1,000: native loop, cycles", 0.6, "", ratio=True),
    *(
        Aim(f"against Renode, both cores, quantum {quantum}", "embedded engine and Renode",
            f"both in turns, quantum {quantum}: renode", 1.0, "", ratio=True, converted=_inverted)
        for quantum in ("100 us", "10 us")
    ),
    Aim("M4 with a SysTick of 1 kHz, against none", "ticks", "M4 alone, SysTick of 1 kHz", 0.95, "", ratio=True),
    Aim("1,000 RPMsg echoes, wall", "RPMsg", "1,000 echoes", 5.0, "s", most=True),
    Aim("register reads of a Python model by the A7", "costs",
        "A7 read of a register that its model works out (UART4_RDR)", 1.0, "M/s", converted=_inverted),
    Aim("boots of the demo, warm, from a snapshot", "warm boots", "from a snapshot behind the secure boot", 50.0,
        "boots/s"),
    Aim("boots of the demo, warm, on a SoC of its own", "warm boots", "whole SoC per boot", 50.0, "boots/s"),
    Aim("campaign cases of the whole SoC (double fetch)", "campaigns",
        "double fetch, the whole SoC put back after each: one process", 1000.0, "1/s"),
    Aim("TA decisions, RSA-4096, 30 KiB, accepted", "decisions of the TA", "RSA-4096, hardened, accepted", 5000.0,
        "1/s"),
    Aim("TA decisions, RSA-4096, 30 KiB, refused", "decisions of the TA", "RSA-4096, hardened, refused", 5000.0,
        "1/s"),
    Aim("cold `cosim boot` of the demo, wall", "cold boot", "`cosim boot` of the demo, wall", 1.0, "s", most=True),
)  # fmt: skip


def judge(findings: Sequence[Finding], aims: Iterable[Aim] = AIMS) -> Iterator[Finding]:
    """Each aim with what was measured and whether that meets it; aims whose section did not run are left out."""
    measured = {(f.section, f.name): f for f in findings if isinstance(f, Measurement)}
    sections = {section for section, _ in measured}
    for aim in aims:
        found = measured.get((aim.section, aim.name))
        if found is not None:
            value = aim.converted(found.ratios[0].value if aim.ratio else found.value)
            met = (operator.le if aim.most else operator.ge)(value, aim.bound)
            how = f"{'at most' if aim.most else 'at least'} {aim.bound:g}: {'met' if met else 'missed'}"
            yield Measurement(_SECTION, aim.what, value, aim.unit, how, (Ratio(value / aim.bound, "the aim"),))
        elif aim.section in sections:
            yield Skipped(_SECTION, aim.what, "not measured here")
