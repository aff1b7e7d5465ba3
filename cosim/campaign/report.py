"""Counts and evidence of a campaign, and their forms: table rows, one JSON document, JSON Lines, JUnit XML."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from xml.etree import ElementTree

from cosim.campaign.model import CaseResult, Kind, Verdict
from cosim.timeline import printable

#: Bypasses that are kept with their evidence; further ones are counted only, so that memory stays flat.
MOST_EVIDENCE = 10_000


class Tally:
    """Counts by kind and verdict, and the bypasses."""

    def __init__(self) -> None:
        self.counts: dict[Kind, Counter[Verdict]] = {}
        self.bypasses: list[CaseResult] = []

    def add(self, results: Iterable[CaseResult]) -> None:
        """Count finished cases."""
        for result in results:
            self.counts.setdefault(result.case.kind, Counter())[result.verdict] += 1
            if result.verdict is Verdict.BYPASS and len(self.bypasses) < MOST_EVIDENCE:
                self.bypasses.append(result)

    @property
    def total(self) -> int:
        """All cases so far."""
        return sum(counter.total() for counter in self.counts.values())

    @property
    def bypassed(self) -> int:
        """All bypasses so far, with and without kept evidence."""
        return sum(counter[Verdict.BYPASS] for counter in self.counts.values())

    def rows(self) -> list[str]:
        """The table: kinds down, verdicts across."""
        names = [verdict.value for verdict in Verdict]
        rows = [f"{'kind':<14}{'cases':>9}" + "".join(f"{name:>10}" for name in names)]
        for kind, counter in self.counts.items():
            cells = "".join(f"{counter[verdict]:>10}" for verdict in Verdict)
            rows.append(f"{kind.value:<14}{counter.total():>9}{cells}")
        return rows

    def as_dict(self) -> dict[str, object]:
        """The tally as a JSON-ready object."""
        return {
            "cases": self.total,
            "bypasses": self.bypassed,
            "kinds": {
                kind.value: {verdict.value: counter[verdict] for verdict in Verdict}
                for kind, counter in self.counts.items()
            },
            "evidence": [result.as_dict() for result in self.bypasses],
        }


def json_line(result: CaseResult) -> bytes:
    """One case as a line of JSON."""
    return json.dumps(result.as_dict(), separators=(",", ":")).encode() + b"\n"


def junit(tally: Tally) -> bytes:
    """JUnit XML: a suite for each kind, in it one test for the kind as a whole and a failed one for each bypass."""
    root = ElementTree.Element("testsuites", name="cosim campaign")
    for kind, counter in tally.counts.items():
        found = [result for result in tally.bypasses if result.case.kind is kind]
        failures = str(len(found) + bool(counter[Verdict.BYPASS]))
        suite = ElementTree.SubElement(root, "testsuite", name=kind.value, tests=str(len(found) + 1), failures=failures)
        whole = ElementTree.SubElement(suite, "testcase", classname=kind.value, name=f"{counter.total()} cases")
        if counter[Verdict.BYPASS]:
            ElementTree.SubElement(whole, "failure", message=f"{counter[Verdict.BYPASS]} bypasses")
        for result in found:
            name = printable(f"{result.case} {result.what}")
            case = ElementTree.SubElement(suite, "testcase", classname=kind.value, name=name)
            ElementTree.SubElement(case, "failure", message=printable(result.evidence))
    return bytes(ElementTree.tostring(root, encoding="utf-8", xml_declaration=True))
