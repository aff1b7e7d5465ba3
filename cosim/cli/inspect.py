"""`cosim inspect`: what a firmware file is, what is in it, and every problem it has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cosim.cli._output import out, out_json, read_input
from cosim.cli._report import show_finding

if TYPE_CHECKING:
    from cosim.inspection import ImageView, Inspection
    from ta.image_scan import ImageScan

FINE, PROBLEMS, UNREADABLE = 0, 1, 2
_SHORT_HASH = 16


@click.command()
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def inspect(path: Path, as_json: bool) -> int:
    """Show what FILE, an ELF file or a signed image, contains and what is wrong with it.

    Exit code 0: no errors; 1: errors were found; 2: FILE is neither an ELF file nor a signed image.
    """
    from cosim.inspection import Kind, Severity
    from cosim.inspection import inspect as inspect_data

    inspection = inspect_data(read_input(path), str(path))
    if as_json:
        out_json(inspection.as_dict())
    else:
        _show(inspection)
    if inspection.kind is Kind.UNKNOWN:
        return UNREADABLE
    return PROBLEMS if inspection.count(Severity.ERROR) else FINE


def _show(inspection: Inspection) -> None:
    kinds = {"signed-image": "signed image", "elf": "ELF file, not signed", "unknown": "unknown kind of file"}
    out(f"{inspection.name}: {kinds[inspection.kind.value]}, {inspection.size} bytes, sha256 {inspection.sha256}")
    if inspection.scan is not None:
        _show_signed(inspection.scan)
    for image in inspection.images:
        _show_image(image)
    out("")
    out(f"findings: {_counts(inspection)}")
    for finding in inspection.findings:
        show_finding(finding)


def _counts(inspection: Inspection) -> str:
    from cosim.inspection import Severity

    counts = [f"{n} {severity.value}{'s' * (n > 1)}" for severity in Severity if (n := inspection.count(severity))]
    return ", ".join(counts) or "none"


def _show_signed(scan: ImageScan) -> None:
    header = scan.header
    if header is None:
        return
    out(
        f"  header: magic 0x{header.magic:08x}, version {header.version}, tlv_len {header.tlv_len}, "
        f"sign_len {header.sign_len}, img_len {header.img_len}"
    )
    kind = "of unknown type" if scan.sign_type is None else scan.sign_type.name
    out(f"  signature: {kind}, {header.sign_len} bytes at offset 0x{header.sign_offset:08x}")
    rows = [
        (f"0x{tlv.offset:08x}", f"0x{tlv.type:05x}", tlv.name, str(len(tlv.value)), _value(tlv.value))
        for tlv in scan.tlvs
    ]
    _table("TLVs", ("offset", "type", "name", "length", "value"), rows)
    rows = [
        (
            f"0x{r.p_paddr:08x}",
            f"0x{r.p_type:08x}",
            str(r.p_filesz),
            str(r.p_memsz),
            r.sha256.hex()[:_SHORT_HASH] + "...",
        )
        for r in scan.hash_records
    ]
    _table("hash table", ("paddr", "type", "filesz", "memsz", "sha256"), rows)


def _value(value: bytes) -> str:
    return value.hex() if len(value) <= _SHORT_HASH else value[:_SHORT_HASH].hex() + "..."


def _show_image(image: ImageView) -> None:
    out("")
    elf = "no readable ELF file" if image.elf is None else f"ELF for machine {image.elf.e_machine}"
    out(f"image {image.index}: {elf}, {image.size} bytes at offset 0x{image.offset:08x}")
    if image.vectors is not None:
        out(f"  vectors: initial SP 0x{image.vectors.initial_sp:08x}, reset 0x{image.vectors.reset:08x}")
    rows = []
    for view in image.segments:
        s = view.segment
        place = "+".join(view.banks) or "outside"
        flags = "".join(letter if s.p_flags & bit else "-" for letter, bit in (("R", 4), ("W", 2), ("X", 1)))
        addresses = (f"0x{s.p_paddr:08x}", f"0x{s.p_vaddr:08x}", "-" if view.pa is None else f"0x{view.pa:08x}")
        sizes = (str(s.p_filesz), str(s.p_memsz))
        check = (view.sha256[:_SHORT_HASH] + "...", view.hash_check.value)
        rows.append((str(s.index), s.type_name, *addresses, *sizes, flags, place, *check))
    _table(
        "segments",
        ("#", "type", "paddr", "vaddr", "A7 address", "filesz", "memsz", "flags", "memory", "sha256", "hash"),
        rows,
    )
    if image.table is not None:
        table = image.table
        loaded = "not loaded" if table.load_address is None else f"loaded at 0x{table.load_address:08x}"
        out(f"  resource table: {table.size} bytes, reported at 0x{table.run_address:08x}, {loaded}")
        for line in _table_lines(table.as_dict()["entries"]):
            out(f"    {line}")


def _table_lines(entries: object) -> Iterator[str]:
    """A decoded resource table, one line per entry and vring; `entries` as in `TableView.as_dict`."""
    for entry in entries if isinstance(entries, Sequence) else ():
        facts = [f"{key} {_number(value)}" for key, value in entry.items() if key not in _NOT_FACTS]
        yield f"{entry['type_name']} at +0x{entry['offset']:02x}: {', '.join(facts)}"
        for ring in entry.get("vrings", ()):
            yield "  vring: " + ", ".join(f"{key} {_number(value)}" for key, value in ring.items())


_NOT_FACTS = ("type", "type_name", "offset", "vrings", "config")
_ANY = 0xFFFFFFFF


def _number(value: object) -> str:
    if not isinstance(value, int):
        return str(value)
    return "any" if value == _ANY else f"0x{value:08x}" if value > 0xFFFF else str(value)


def _table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    if not rows:
        return
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    out(f"  {title}:")
    for row in (head, *rows):
        out("    " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
