"""`cosim rpmsg`: boot firmware through the Linux driver model, list its channels, exchange messages, measure."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cosim.cli._options import with_options
from cosim.cli._output import (
    INTERRUPTED,
    about,
    check_writable,
    error_line,
    log,
    out,
    out_json,
    read_input,
    write_atomically,
)
from cosim.cli._rpmsg_report import show
from cosim.cli.boot import signed_image
from cosim.errors import RunInterrupted, RunTimeout, UnmodelledAccess, UsageError
from cosim.options import soc_config
from cosim.timeline import Style, printable

if TYPE_CHECKING:
    from cosim.cli._interrupt import Interruptible
    from cosim.linux.rpmsg import RpmsgChannel
    from cosim.linux.session import RpmsgSession

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
@with_options()
@click.option("--events", type=click.Path(path_type=Path), help="Write the event log as JSON Lines.")
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
    events: Path | None,
    as_json: bool,
    **settings: object,
) -> int:
    """Boot FIRMWARE as the Linux kernel does, list the RPMsg channels that it announces, and exchange messages.

    An ELF file is signed with the project's test key first. Exit code 0: channels were announced and every message was
    answered; 1: refused, no channel, no answer, or the firmware broke a rule of the rings; 2: FIRMWARE or an option
    cannot be used; 130: interrupted.
    """
    from cosim.cli._interrupt import Interruptible
    from cosim.linux.session import MILLISECOND_PS, RpmsgSession
    from cosim.soc import Soc

    if events is not None:
        check_writable(events)
    if interactive is None:
        interactive = not (echo or texts or as_json) and sys.stdin.isatty()
    config = soc_config(settings)
    image = signed_image(read_input(path), path, None)
    report: dict[str, object] = {"file": str(path), **settings}
    wish = _Wish(echo, size, texts, channel, endpoint, interactive)
    with about(path):
        soc = Soc(config)

    def save() -> None:
        if events is not None:
            write_atomically(events, (record.as_json().encode() + b"\n" for record in soc.log))

    try:
        with about(path):
            session = RpmsgSession(soc, image, wait_ps=wait * MILLISECOND_PS)
            with Interruptible(soc, save) as interrupt:
                ok, interrupted = _run(session, wish, report, interrupt)
        _conclude(session, image, report)
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


def _run(session: RpmsgSession, wish: _Wish, report: dict[str, object], interrupt: Interruptible) -> tuple[bool, bool]:
    """Boot and talk; whether all went as it should, and whether someone interrupted it."""
    from cosim.linux.errno import KernelError, KernelOopsError

    try:
        session.boot()
        return _talk(session, wish, report, interrupt), False
    except (KernelError, KernelOopsError, RunTimeout, UnmodelledAccess) as error:
        report["error"] = error.as_dict()
        log(error_line(error), Style.BAD)
        return False, False
    except RunInterrupted as error:
        report["error"] = error.as_dict()
        return False, True


def _conclude(session: RpmsgSession, image: bytes, report: dict[str, object]) -> None:
    """What is to be told at the end of every run, and the end of the firmware."""
    from cosim.boot import BootReport
    from cosim.core_snapshot import snapshot
    from cosim.diagnosis import explain
    from cosim.linux.errno import KernelError, KernelOopsError
    from cosim.verdict import judge

    report["channels"] = [asdict(channel) for channel in session.channels]
    report["findings"] = [asdict(finding) for finding in session.findings]
    core = snapshot(session.soc)
    booted = BootReport(judge(session.soc.log, ()), (), None, bool(session.channels), session.soc, core, None)
    explanation = explain(booted, image, str(report["file"]))
    report["causes"] = [cause.as_dict() for cause in explanation.causes]
    report["unmodelled"] = [asdict(use) for use in explanation.unmodelled]
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
        report["crash"] = session.host.crash_reason()
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
    report["crash"] = session.host.crash_reason()
    return ok and None not in replies and report["crash"] is None


def _interact(session: RpmsgSession, channel: RpmsgChannel, interrupt: Interruptible) -> None:
    """Send line after line, and show what comes back; ends at the end of the input, an interrupt, or a crash."""
    terminal = sys.stdin.isatty()
    if terminal:
        log(f"channel {channel.name}: each line is sent; an empty one lets the firmware run; Ctrl-D ends")
    try:
        for line in iter(_line_reader("> " if terminal else "", interrupt), None):
            _exchange(session, channel, line)
            crash = session.host.crash_reason()
            if crash is not None:
                log(f"the firmware crashed: {crash}", Style.BAD)
                return
    except (KeyboardInterrupt, RunInterrupted):
        log("")


def _line_reader(prompt: str, interrupt: Interruptible) -> Callable[[], bytes | None]:
    def read() -> bytes | None:
        if prompt:
            click.echo(prompt, nl=False, err=True)
        interrupt.at_prompt = True
        try:
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
