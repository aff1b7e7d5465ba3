"""`cosim boot`: boot an image as the kernel does, show what happens, and judge it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from cosim.cli._gdb import debugged, with_gdb
from cosim.cli._log_files import LogFiles, with_log_files
from cosim.cli._options import with_options
from cosim.cli._output import (
    INTERRUPTED,
    about,
    check_writable,
    log,
    note_python_loop,
    out_json,
    read_input,
    write_atomically,
)
from cosim.cli._report import as_dict, show
from cosim.cli._trace import traced, with_trace
from cosim.cli._uart_input import type_into, uart_bytes, what_arrived, with_uart_input
from cosim.errors import RunInterrupted, UsageError
from cosim.options import soc_config
from cosim.timeline import Style, describe

if TYPE_CHECKING:
    from cosim.events import Record
    from cosim.linux.crash import CrashDump

_ELF_MAGIC = b"\x7fELF"
_LONGEST_RUN_MS = 600_000


@click.command()
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--pubkey", type=click.Path(path_type=Path), help="Key (PEM) to verify with; default: the test key.")
@with_options()
@click.option(
    "--run",
    "run_ms",
    type=click.IntRange(1, _LONGEST_RUN_MS),
    metavar="MS",
    help="Let the firmware run that long from START on, in virtual time. Default: until it reports in TAMP BKP19R that"
    " it is ready, or 20 ms.",
)
@with_uart_input
@click.option("--coredump", type=click.Path(path_type=Path), help="When the firmware crashes: write the kernel's dump.")
@with_log_files
@with_trace
@click.option("--trace-core", type=click.Choice(["m4", "a7"]), default="m4", show_default=True, help="What is traced.")
@with_gdb
@click.option("--gdb-core", type=click.Choice(["m4", "a7"]), default="m4", show_default=True, help="What GDB gets.")
@click.option("--json", "as_json", is_flag=True, help="Print the verdict as one JSON document, and no timeline.")
def boot(
    *,
    path: Path,
    pubkey: Path | None,
    run_ms: int | None,
    uart_input: str | None,
    coredump: Path | None,
    events: Path | None,
    vcd: Path | None,
    trace: Path | None,
    trace_kind: str,
    trace_core: str,
    gdb: int | None,
    gdb_core: str,
    as_json: bool,
    **settings: object,
) -> int:
    """Boot FILE, a signed image or an ELF file, and print what happens, the verdict, and what explains it.

    An ELF file is signed with the project's test key first. Exit code 0: booted and every monitor held; 1: refused,
    crashed, ended by --timeout, --max-instructions or --strict, or a monitor broke; 2: FILE or an option cannot be
    used; 130: interrupted.
    """
    from cosim.boot import attempt
    from cosim.cli._interrupt import Interruptible
    from cosim.diagnosis import explain
    from cosim.linux.crash import CrashDump
    from cosim.scripts import kernel_flow, timed_flow
    from cosim.soc import DEFAULT_BUDGET_PS, Soc
    from ta.keys import load_public_key

    files = LogFiles(events, vcd)
    if coredump is not None:
        check_writable(coredump)
    config = soc_config(settings, None if pubkey is None else load_public_key(pubkey))
    if not as_json:
        note_python_loop(config.engine)
    keys = uart_bytes(uart_input)
    image = signed_image(read_input(path), path, pubkey)
    records: list[Record] = []

    def listen(record: Record) -> None:
        records.append(record)
        line = describe(record)
        if not as_json and line.style is not Style.DETAIL:
            log(str(line), line.style)

    def save() -> None:
        files.save(records)

    try:
        with about(path):
            soc = Soc(config)
            dump = None if coredump is None else CrashDump(soc)
            typed = type_into(soc, keys)
            tracing = traced(soc, trace, image, trace_kind, trace_core)
            with Interruptible(soc, save), tracing, debugged(soc, gdb, gdb_core) as finish:
                script = kernel_flow if run_ms is None else timed_flow(run_ms)
                budget_ps = DEFAULT_BUDGET_PS + (run_ms or 0) * 10**9
                report = attempt(soc, image, script=script, listen=listen, budget_ps=budget_ps)
                finish(report.exit_code)
    finally:
        # Whatever ended the run, what happened until then is what the user wants to see.
        save()
    if coredump is not None and dump is not None:
        _write_dump(coredump, dump)
    explanation = explain(report, image, str(path))
    told = what_arrived(typed)
    if as_json:
        out_json({"file": str(path), **settings, **told, **as_dict(report, explanation)})
    else:
        show(report, explanation)
        if report.verdict.refusal is not None:
            log(f"`cosim inspect {path}` shows what is in the file and what is wrong with it")
    if isinstance(report.ended, RunInterrupted):
        log("interrupted")
        return INTERRUPTED
    return report.exit_code


def _write_dump(path: Path, dump: CrashDump) -> None:
    if dump.data is not None:
        write_atomically(path, [dump.data])
        log(f"wrote {path}: coredump, {len(dump.data)} bytes: {dump.reason}")
    elif dump.reason is None:
        log("no coredump: the M4 had not crashed when it was stopped")
    else:
        log(f"no coredump, although {dump.reason}: its memories cannot be read, or are more than 16 MiB", Style.BAD)


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
