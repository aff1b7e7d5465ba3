"""What a boot came to, for people and as JSON: verdict, monitors, causes, findings, registers without a model."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from cosim.cli._output import error_line, out
from cosim.timeline import Style

if TYPE_CHECKING:
    from cosim.boot import BootReport
    from cosim.diagnosis import Explanation, UnmodelledRegisterUse
    from cosim.inspection import Finding
    from ta.resource_table import Resource

_HELD = {True: ("held", Style.GOOD), False: ("BROKEN", Style.BAD), None: ("not exercised", Style.PLAIN)}
FINDING_STYLES = {"error": Style.BAD, "warning": Style.CORE, "note": Style.PLAIN}
#: Registers without a model that are printed; JSON has all of them.
_MOST_REGISTERS = 20


def as_dict(report: BootReport, explanation: Explanation) -> dict[str, object]:
    """JSON-ready; beside the verdict's own keys."""
    core = report.core
    entries = [_entry(entry) for entry in (report.table.entries if report.table else ())]
    return {
        **report.verdict.as_dict(),
        "exit_code": report.exit_code,
        "ready": report.ready,
        "ended": None if report.ended is None else report.ended.as_dict(),
        "core": None if core is None else {**asdict(core), "state": core.state.value},
        "causes": [cause.as_dict() for cause in explanation.causes],
        "findings": [finding.as_dict() for finding in explanation.findings],
        "unmodelled": [asdict(use) for use in explanation.unmodelled],
        "resource_table_entries": entries,
    }


def _entry(entry: Resource) -> dict[str, object]:
    """A resource-table entry as it was read from memory, JSON-ready."""
    facts = {name: value.hex() if isinstance(value, bytes) else value for name, value in asdict(entry).items()}
    return {"type_name": entry.type_name, **facts}


def show(report: BootReport, explanation: Explanation) -> None:
    """Print the verdict of a boot, what explains it, what was loaded, and how the monitors stand."""
    verdict = report.verdict
    out(f"verdict: {verdict.summary()}", Style.GOOD if report.exit_code == 0 else Style.BAD)
    if report.ended is not None:
        out(f"  the run was ended: {error_line(report.ended).removeprefix('error: ')}", Style.BAD)
    for cause in explanation.causes:
        out(f"  why: {cause.text} [{cause.code}]", Style.BAD)
        out(f"       {cause.hint}")
    _show_core(report)
    out("  monitors:")
    for monitor in verdict.monitors:
        word, style = _HELD[monitor.held]
        out(f"    {word:<14} {monitor.description}", style)
        out(f"    {'':<14} {monitor.detail}")
    _show_unmodelled(explanation.unmodelled)
    if explanation.findings:
        out("  findings:")
    for finding in explanation.findings:
        show_finding(finding, indent="    ")


def _show_core(report: BootReport) -> None:
    from cosim.boot import describe_entry

    verdict = report.verdict
    if verdict.segment is not None:
        segment = verdict.segment
        where = f"segment {segment.segment} of image {segment.image} at 0x{segment.da:08x}"
        out(f"  {where}: {segment.filesz} bytes in the file, {segment.memsz} in memory")
        if segment.actual:
            out(f"    signed sha256 {segment.expected}")
            out(f"    loaded sha256 {segment.actual}")
    out(f"  M4 instructions: {verdict.m4_instructions}")
    if verdict.m4_cycles is not None:
        out(f"  M4 cycles: {verdict.m4_cycles}, modelled (docs/timing.md)")
    if verdict.entry is not None:
        out(f"  M4 vectors: MSP 0x{verdict.initial_sp:08x}, entry 0x{verdict.entry:08x}")
        out(f"  M4 reported that it is ready: {'yes' if report.ready else 'no'}")
    if verdict.table is not None:
        table = verdict.table
        out(f"  resource table: {table.size} bytes at 0x{table.da:08x} (A7 0x{table.pa:08x})")
        for entry in report.table.entries if report.table else ():
            out(f"    {describe_entry(entry)}")


def _show_unmodelled(uses: tuple[UnmodelledRegisterUse, ...]) -> None:
    if not uses:
        return
    out(f"  registers without a model that the firmware used: {len(uses)}", Style.CORE)
    for use in uses[:_MOST_REGISTERS]:
        where = f"{use.block}+0x{use.offset:x}" + ("" if use.address is None else f" (0x{use.address:08x})")
        place = f" ({use.symbol})" if use.symbol else ""
        out(f"    {where:<32} {'+'.join(use.accesses):<10} first at 0x{use.pc:08x}{place}")
    if len(uses) > _MOST_REGISTERS:
        out(f"    and {len(uses) - _MOST_REGISTERS} more")


def show_finding(finding: Finding, indent: str = "  ") -> None:
    """Print one finding: what, where, and what to do about it."""
    offset = "" if finding.offset is None else f" (offset 0x{finding.offset:08x})"
    text = f"{finding.severity.value}: {finding.message}{offset} [{finding.code}]"
    out(indent + text, FINDING_STYLES[finding.severity.value])
    out(f"{indent}  {finding.hint}")
    if finding.change is not None:
        section = "" if finding.section is None else f" ({finding.section})"
        out(f"{indent}  linker script{section}: {finding.change}")
