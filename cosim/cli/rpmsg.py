"""`cosim rpmsg`: boot firmware through the Linux driver model, list its channels, exchange messages, measure."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
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
    error_line,
    log,
    note_python_loop,
    out,
    out_json,
    read_input,
    write_atomically,
)
from cosim.cli._rpmsg_report import show
from cosim.cli._trace import traced, with_trace
from cosim.cli.boot import signed_image
from cosim.errors import RunInterrupted, RunTimeout, UnmodelledAccess, UsageError
from cosim.options import soc_config
from cosim.timeline import Style, describe, printable

if TYPE_CHECKING:
    from cosim.cli._interrupt import Interruptible
    from cosim.events import Record
    from cosim.linux.rpmsg import RpmsgChannel
    from cosim.linux.session import RpmsgSession

#: Findings of `cosim inspect` that explain why Linux finds no channels.
_ABOUT_THE_TABLE = (
    "table-run-address",
    "table-not-loaded",
    "table-outside",
    "table-empty",
    "no-table",
    "isolated-bank",
)
_MOST_MESSAGES = 1_000_000
_MOST_PAYLOAD = 496
#: Longer lines are cut there; the kernel refuses them anyway.
_LONGEST_LINE = 4096
#: Replies to one line that are shown.
_MOST_REPLIES = 1000


class _Address(click.ParamType):  # type: ignore[type-arg]  # generic in some versions of click only
    """A 32-bit endpoint address, decimal or 0x..."""

    name = "address"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            number = int(str(value), 0)
        except ValueError:
            number = -1
        if not 0 <= number < 0xFFFFFFFF:
            self.fail(f"{value!r} is no endpoint address", param, ctx)
        return number


@dataclass(frozen=True)
class _Wish:
    """What the user wants to have done."""

    echo: int
    size: int | None
    texts: tuple[str, ...]
    channel: str | None
    endpoint: int | None
    interactive: bool
    coredump: Path | None
    recovery: bool


@click.command()
@click.argument("path", metavar="FIRMWARE", type=click.Path(path_type=Path))
@click.option("--echo", type=click.IntRange(0, _MOST_MESSAGES), default=0, help="Send N messages, expect each back.")
@click.option("--size", type=click.IntRange(0, _MOST_PAYLOAD), metavar="BYTES", help="Of the messages of --echo.")
@click.option("--send", "texts", multiple=True, metavar="TEXT", help="Send TEXT and print what comes back.")
@click.option("--channel", metavar="NAME", help="The channel to use; default: the first one announced.")
@click.option("--endpoint", type=_Address(), metavar="ADDR", help="The firmware's address of the channel to use.")
@click.option(
    "--interactive/--no-interactive",
    default=None,
    help="Send each line of standard input. Default: on a terminal, without --echo, --send and --json.",
)
@click.option(
    "--wait",
    type=click.IntRange(1, 60_000),
    default=100,
    show_default=True,
    metavar="MS",
    help="How long to wait for an announcement, a buffer or an answer, in virtual milliseconds.",
)
@click.option("--coredump", type=click.Path(path_type=Path), help="When the firmware crashes: write the kernel's dump.")
@click.option("--recovery/--no-recovery", default=True, show_default=True, help="Start a crashed firmware anew, once.")
@with_options()
@with_log_files
@with_trace
@with_gdb
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def rpmsg(
    *,
    path: Path,
    echo: int,
    size: int | None,
    texts: tuple[str, ...],
    channel: str | None,
    endpoint: int | None,
    interactive: bool | None,
    wait: int,
    coredump: Path | None,
    recovery: bool,
    events: Path | None,
    vcd: Path | None,
    trace: Path | None,
    trace_kind: str,
    gdb: int | None,
    as_json: bool,
    **settings: object,
) -> int:
    """Boot FIRMWARE as the Linux kernel does, list the RPMsg channels that it announces, and exchange messages.

    What happens is shown as it happens, consoles and trace buffers among it; firmware that crashes is recovered once.
    An ELF file is signed with the project's test key first. Exit code 0: channels were announced and every message was
    answered; 1: refused, no channel, no answer, a crash, or the firmware broke a rule of the rings; 2: FIRMWARE or an
    option cannot be used; 130: interrupted.
    """
    from cosim.cli._interrupt import Interruptible
    from cosim.linux.session import MILLISECOND_PS, RpmsgSession
    from cosim.soc import Soc

    files = LogFiles(events, vcd)
    if coredump is not None:
        check_writable(coredump)
    if interactive is None:
        interactive = not (echo or texts or as_json) and sys.stdin.isatty()
    config = soc_config(settings)
    if not as_json:
        note_python_loop(config.engine)
    image = signed_image(read_input(path), path, None)
    report: dict[str, object] = {"file": str(path), "wait_ms": wait, **settings}
    wish = _Wish(echo, size, texts, channel, endpoint, interactive, coredump, recovery)
    with about(path):
        soc = Soc(config)
    if not as_json:
        soc.log.listen(_tell)

    def save() -> None:
        files.save(soc.log)

    try:
        with about(path):
            session = RpmsgSession(soc, image, wait_ps=wait * MILLISECOND_PS)
            tracing = traced(soc, trace, image, trace_kind)
            with Interruptible(soc, save) as interrupt, tracing, debugged(soc, gdb) as finish:
                ok, interrupted = _run(session, wish, report, interrupt)
                finish(0 if ok else 1)
        _conclude(session, report)
    finally:
        save()
    ok = ok and not report["findings"] and "error" not in report
    report["ok"] = ok
    if as_json:
        out_json(report)
    else:
        show(report)
    if interrupted:
        log("interrupted")
        return INTERRUPTED
    return 0 if ok else 1


def _tell(record: Record) -> None:
    """Show what concerns cores, firmware and kernel; of the secure world only what it refuses."""
    line = describe(record)
    shown = line.indent == 0 and line.style not in (Style.DETAIL, Style.SMC)
    if shown or line.style is Style.BAD:
        log(str(line), line.style)


def _run(session: RpmsgSession, wish: _Wish, report: dict[str, object], interrupt: Interruptible) -> tuple[bool, bool]:
    """Boot, talk, and recover; whether all went as it should, and whether someone interrupted it."""
    from cosim.linux.coredump import DumpConf
    from cosim.linux.errno import KernelError, KernelOopsError

    rproc = session.host.rproc
    rproc.recovery_disabled = not wish.recovery
    rproc.coredump.conf = DumpConf.DISABLED if wish.coredump is None else DumpConf.ENABLED
    try:
        session.boot()
        ok = _talk(session, wish, report, interrupt)
        report["crash"] = session.host.crash_reason()
        if report["crash"] is not None:
            _handle_crash(session, wish, report)
        return ok and report["crash"] is None, False
    except (KernelError, KernelOopsError, RunTimeout, UnmodelledAccess) as error:
        report["error"] = error.as_dict()
        log(error_line(error), Style.BAD)
        return False, False
    except RunInterrupted as error:
        report["error"] = error.as_dict()
        return False, True


def _handle_crash(session: RpmsgSession, wish: _Wish, report: dict[str, object]) -> None:
    """Report the crash to the kernel, which dumps the memories and starts the firmware anew, if that was asked for."""
    _explain(session, report)
    log(f"the firmware crashed: {report['crash']}", Style.BAD)
    try:
        session.recover()
    finally:
        dump = session.host.rproc.coredump.take()
        report["coredump_bytes"] = None if dump is None else len(dump)
        if wish.coredump is not None and dump is not None:
            write_atomically(wish.coredump, [dump])
            log(f"wrote {wish.coredump}: coredump, {len(dump)} bytes")
        elif wish.coredump is not None:
            log("no coredump: the kernel dumps when it recovers, and at most 16 MiB", Style.BAD)
    if wish.recovery:
        again = session.host.crash_reason()
        report["recovery"] = {"channels": len(session.channels), "crash": again}


def _explain(session: RpmsgSession, report: dict[str, object]) -> None:
    """Why the firmware does not do what was expected of it, and what it leaned on, as it stands now."""
    from cosim.boot import BootReport
    from cosim.core_snapshot import snapshot
    from cosim.diagnosis import explain
    from cosim.scripts import READY_STATE
    from cosim.verdict import judge
    from ta.profile import FirewallProfile

    core = snapshot(session.soc)
    ready = bool(session.channels) or core.reported == READY_STATE
    booted = BootReport(judge(session.soc.log, ()), (), None, ready, session.soc, core, None)
    explanation = explain(booted, session.host.firmware, str(report["file"]))
    report["causes"] = [cause.as_dict() for cause in explanation.causes]
    report["unmodelled"] = [asdict(use) for use in explanation.unmodelled]
    # Without a table that Linux can read there are no channels, whatever else is wrong.
    codes = _ABOUT_THE_TABLE[: -1 if session.soc.config.firewall is FirewallProfile.OPEN else None]
    of_table = () if session.channels else (f for f in explanation.findings if f.code in codes)
    report["table"] = [finding.as_dict() for finding in of_table]


def _conclude(session: RpmsgSession, report: dict[str, object]) -> None:
    """What is to be told at the end of every run, and the end of the firmware."""
    from cosim.linux.errno import KernelError, KernelOopsError

    report["channels"] = [asdict(channel) for channel in session.channels]
    report["findings"] = [asdict(finding) for finding in session.findings]
    if "causes" not in report:
        _explain(session, report)
    if "error" not in report:
        try:
            session.host.close()
        except (KernelError, KernelOopsError, RunTimeout) as error:
            report["error"] = error.as_dict()
    report["trace"] = session.trace.splitlines()


def _talk(session: RpmsgSession, wish: _Wish, report: dict[str, object], interrupt: Interruptible) -> bool:
    """Use one of the channels as the user wishes; fills `report`, and returns whether all went as it should."""
    try:
        channel = session.channel(wish.channel, wish.endpoint)
    except UsageError as error:
        if session.channels:
            log(error_line(error), Style.BAD)
        return False
    report["used"] = channel.name
    ok = True
    if wish.echo:
        exchange = session.echo(wish.echo, channel, size=wish.size)
        report["echo"] = exchange.as_dict()
        ok = exchange.ok
    replies = [session.ask(text.encode(), channel) for text in wish.texts]
    if wish.texts:
        report["replies"] = [None if reply is None else reply.decode("utf-8", "backslashreplace") for reply in replies]
    if wish.interactive:
        _interact(session, channel, interrupt)
    return ok and None not in replies


def _interact(session: RpmsgSession, channel: RpmsgChannel, interrupt: Interruptible) -> None:
    """Send line after line, and show what comes back; ends at the end of the input, an interrupt, or a crash."""
    terminal = sys.stdin.isatty()
    if terminal:
        log(f"channel {channel.name}: each line is sent; an empty one lets the firmware run; Ctrl-D ends")
    try:
        for line in iter(_line_reader("> " if terminal else "", interrupt), None):
            _exchange(session, channel, line)
            if session.host.crash_reason() is not None:
                return
    except (KeyboardInterrupt, RunInterrupted):
        log("")


def _line_reader(prompt: str, interrupt: Interruptible) -> Callable[[], bytes | None]:
    def read() -> bytes | None:
        interrupt.at_prompt = True
        try:
            if prompt:
                click.echo(prompt, nl=False, err=True)
            line = sys.stdin.buffer.readline(_LONGEST_LINE)
        finally:
            interrupt.at_prompt = False
        return line.rstrip(b"\r\n") if line else None

    return read


def _exchange(session: RpmsgSession, channel: RpmsgChannel, line: bytes) -> None:
    from cosim.linux.errno import KernelError

    try:
        if line:
            session.send(line, channel)
        for number in range(_MOST_REPLIES):
            reply = session.receive(channel, wait_ps=None if line and not number else 0)
            if reply is None:
                if line and not number:
                    log("no reply", Style.BAD)
                return
            out(f"{channel.name}: {printable(reply.decode('utf-8', 'backslashreplace'))}")
    except (KernelError, UsageError) as error:
        log(error_line(error), Style.BAD)
