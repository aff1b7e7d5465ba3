"""`cosim boot`: boot an image as the kernel does, show what happens, and judge it."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, TypeVar

import click

from cosim.cli._output import INTERRUPTED, about, check_writable, log, out, out_json, read_input, write_atomically
from cosim.errors import UsageError
from cosim.options import BOOT_OPTIONS, soc_config
from cosim.timeline import Style, describe

if TYPE_CHECKING:
    from cosim.boot import BootReport
    from cosim.events import Record
    from ta.resource_table import Resource

F = TypeVar("F", bound=Callable[..., object])
_ELF_MAGIC = b"\x7fELF"
_HELD = {True: ("held", Style.GOOD), False: ("BROKEN", Style.BAD), None: ("not exercised", Style.PLAIN)}


def _boot_options(function: F) -> F:
    for option in reversed(BOOT_OPTIONS):
        kind = click.Choice(option.choices)
        function = click.option(option.flag, type=kind, default=option.default, show_default=True, help=option.help)(
            function
        )
    return function


@click.command()
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--pubkey", type=click.Path(path_type=Path), help="Key (PEM) to verify with; default: the test key.")
@_boot_options
@click.option("--events", type=click.Path(path_type=Path), help="Write the event log as JSON Lines.")
@click.option("--json", "as_json", is_flag=True, help="Print the verdict as one JSON document, and no timeline.")
def boot(path: Path, pubkey: Path | None, events: Path | None, as_json: bool, **settings: str) -> int:
    """Boot FILE, a signed image or an ELF file, and print what happens and the verdict.

    An ELF file is signed with the project's test key first. Exit code 0: booted and every monitor held; 1: refused,
    crashed, or a monitor broke; 2: FILE or an option cannot be used.
    """
    from cosim.boot import boot as run_boot
    from ta.keys import load_public_key

    if events is not None:
        check_writable(events)
    config = soc_config(settings, None if pubkey is None else load_public_key(pubkey))
    image = signed_image(read_input(path), path, pubkey)
    records: list[Record] = []

    def listen(record: Record) -> None:
        records.append(record)
        line = describe(record)
        if not as_json and line.style is not Style.DETAIL:
            log(str(line), line.style)

    def save() -> None:
        if events is not None:
            write_atomically(events, (record.as_json().encode() + b"\n" for record in records))

    try:
        with about(path), _interruptible(save):
            report = run_boot(image, config, listen=listen)
    finally:
        # Whatever ended the run, what happened until then is what the user wants to see.
        save()
    verdict = report.verdict
    if as_json:
        entries = [_entry(entry) for entry in (report.table.entries if report.table else ())]
        facts = {"ready": report.ready, "resource_table_entries": entries}
        out_json({"file": str(path), **settings, **verdict.as_dict(), **facts})
    else:
        show(report)
        if verdict.refusal is not None:
            log(f"`cosim inspect {path}` shows what is in the file and what is wrong with it")
    return verdict.exit_code


@contextlib.contextmanager
def _interruptible(save: Callable[[], None]) -> Iterator[None]:
    """Let Ctrl-C end the process at once, after `save`."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        # A KeyboardInterrupt raised below the engine's C code would be lost there; nor may streams be used from here.
        save()
        os.write(sys.stderr.fileno(), b"interrupted\n")
        os._exit(INTERRUPTED)

    previous = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


def signed_image(data: bytes, path: Path, pubkey: Path | None) -> bytes:
    """The image to boot. An ELF file is signed here; anything else is for the TA to judge."""
    if not data.startswith(_ELF_MAGIC):
        return data
    if pubkey is not None:
        hint = f"Sign it with the matching private key: `cosim sign {path} --key KEY.pem --out FW.sign`."
        raise UsageError("--pubkey needs a signed image, this is a plain ELF file", hint=hint, file=str(path))
    from cosim.testing import default_signer
    from ta.image_elf import read_elf

    read_elf(data, file=str(path))
    log(f"{path} is not signed: signing it with the project's test key (for tests only)")
    with about(path):
        return default_signer().sign(data)


def _entry(entry: Resource) -> dict[str, object]:
    """A resource-table entry as it was read from memory, JSON-ready."""
    facts = {name: value.hex() if isinstance(value, bytes) else value for name, value in asdict(entry).items()}
    return {"type_name": entry.type_name, **facts}


def show(report: BootReport) -> None:
    """Print the verdict of a boot, what it loaded, and how the monitors stand."""
    from cosim.boot import describe_entry

    verdict = report.verdict
    out(f"verdict: {verdict.summary()}", Style.GOOD if verdict.exit_code == 0 else Style.BAD)
    if verdict.segment is not None:
        segment = verdict.segment
        where = f"segment {segment.segment} of image {segment.image} at 0x{segment.da:08x}"
        out(f"  {where}: {segment.filesz} bytes in the file, {segment.memsz} in memory")
        if segment.actual:
            out(f"    signed sha256 {segment.expected}")
            out(f"    loaded sha256 {segment.actual}")
    out(f"  M4 instructions: {verdict.m4_instructions}")
    if verdict.entry is not None:
        out(f"  M4 vectors: MSP 0x{verdict.initial_sp:08x}, entry 0x{verdict.entry:08x}")
        out(f"  M4 reported that it is ready: {'yes' if report.ready else 'no'}")
    if verdict.table is not None:
        table = verdict.table
        out(f"  resource table: {table.size} bytes at 0x{table.da:08x} (A7 0x{table.pa:08x})")
        for entry in report.table.entries if report.table else ():
            out(f"    {describe_entry(entry)}")
    out("  monitors:")
    for monitor in verdict.monitors:
        word, style = _HELD[monitor.held]
        out(f"    {word:<14} {monitor.description}", style)
        out(f"    {'':<14} {monitor.detail}")
