"""`cosim rpmsg`: boot firmware through the Linux driver model, list its channels, exchange messages, measure."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cosim.cli._output import about, error_line, log, out, out_json, read_input
from cosim.cli.boot import _boot_options, signed_image
from cosim.options import soc_config
from cosim.timeline import Style, printable

if TYPE_CHECKING:
    from cosim.linux.host import LinuxHost
    from cosim.linux.rpmsg import RpmsgBus, RpmsgChannel

#: Between two looks at the mailbox, which is the resolution of the times shown: about 50 M4 instructions.
_SLICE_PS = 250_000
_MILLISECOND_PS = 10**9
#: How long to wait for further announcements after the first.
_SETTLE_PS = _MILLISECOND_PS
_MOST_MESSAGES = 1_000_000


@dataclass(frozen=True)
class _Wish:
    """What the user wants to have done."""

    echo: int
    texts: tuple[str, ...]
    channel: str | None
    patience_ps: int


@dataclass(frozen=True)
class _Exchange:
    """What an echo run measured: M4 instructions and virtual time from sending to receiving."""

    asked: int
    echoed: int
    wrong: int
    instructions: tuple[int, ...]
    times_ps: tuple[int, ...]

    @property
    def ok(self) -> bool:
        return self.echoed == self.asked and not self.wrong

    def as_dict(self) -> dict[str, object]:
        facts: dict[str, object] = {"asked": self.asked, "echoed": self.echoed, "wrong": self.wrong}
        if self.times_ps:
            count, total = len(self.times_ps), sum(self.times_ps)
            facts |= {
                "instructions_per_message": sum(self.instructions) // count,
                "time_ps": {"least": min(self.times_ps), "mean": total // count, "most": max(self.times_ps)},
                "messages_per_second": count * 10**12 // max(total, 1),
                "resolution_ps": _SLICE_PS,
            }
        return facts


@click.command()
@click.argument("path", metavar="FIRMWARE", type=click.Path(path_type=Path))
@click.option("--echo", type=click.IntRange(0, _MOST_MESSAGES), default=0, help="Send N messages, expect each back.")
@click.option("--send", "texts", multiple=True, metavar="TEXT", help="Send TEXT and print what comes back.")
@click.option("--channel", metavar="NAME", help="The channel to use; default: the first one announced.")
@click.option(
    "--timeout",
    type=click.IntRange(1, 60_000),
    default=100,
    show_default=True,
    metavar="MS",
    help="How long to wait for an announcement, a buffer or an answer, in virtual milliseconds.",
)
@_boot_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def rpmsg(
    *,
    path: Path,
    echo: int,
    texts: tuple[str, ...],
    channel: str | None,
    timeout: int,
    as_json: bool,
    **settings: str,
) -> int:
    """Boot FIRMWARE as the Linux kernel does, list the RPMsg channels that it announces, and exchange messages.

    An ELF file is signed with the project's test key first. Exit code 0: channels were announced and every message was
    answered; 1: refused, no channel, no answer, or the firmware broke a rule of the rings; 2: FIRMWARE or an option
    cannot be used.
    """
    from cosim.linux.errno import KernelError, KernelOopsError
    from cosim.linux.host import LinuxHost
    from cosim.soc import Soc

    image = signed_image(read_input(path), path, None)
    patience = timeout * _MILLISECOND_PS
    report: dict[str, object] = {"file": str(path), **settings}
    with about(path):
        host = LinuxHost(Soc(soc_config(settings)), image, send_timeout_ps=patience, slice_ps=_SLICE_PS)
        try:
            host.boot()
            ok = _talk(host, _Wish(echo, texts, channel, patience), report)
            host.close()
        except (KernelError, KernelOopsError) as error:
            ok = False
            report["error"] = error.as_dict()
            log(error_line(error), Style.BAD)
    report["findings"] = [asdict(finding) for bus in host.buses for finding in bus.findings]
    report["trace"] = [line for trace in host.traces for line in trace.text.splitlines()]
    ok = ok and not report["findings"]
    report["ok"] = ok
    if as_json:
        out_json(report)
    else:
        _show(report)
    return 0 if ok else 1


def _talk(host: LinuxHost, wish: _Wish, report: dict[str, object]) -> bool:
    """Wait for channels and use one of them; fills `report`, and returns whether all went as it should."""
    found = host.run(lambda: any(bus.channels for bus in host.buses), wish.patience_ps)
    if found:
        host.run(lambda: False, _SETTLE_PS)
    report["channels"] = [asdict(channel) for bus in host.buses for channel in bus.channels]
    places = [(bus, c) for bus in host.buses for c in bus.channels if wish.channel in (None, c.name)]
    if not places:
        report["crash"] = host.crash_reason()
        return False
    bus, channel = places[0]
    report["used"] = channel.name
    ok = True
    if wish.echo:
        exchange = _echo(host, bus, channel, wish.echo, wish.patience_ps)
        report["echo"] = exchange.as_dict()
        ok = exchange.ok
    replies = [_ask(host, bus, channel, text.encode(), wish.patience_ps) for text in wish.texts]
    if wish.texts:
        report["replies"] = [None if reply is None else reply.decode("utf-8", "backslashreplace") for reply in replies]
    report["crash"] = host.crash_reason()
    return ok and None not in replies and report["crash"] is None


def _ask(host: LinuxHost, bus: RpmsgBus, channel: RpmsgChannel, data: bytes, patience: int) -> bytes | None:
    """Send, and wait for what comes back; None when nothing does."""
    bus.send(channel.local, channel.remote, data)
    host.run(lambda: bus.waiting(channel.local), patience)
    message = bus.receive(channel.local)
    return None if message is None else message.data


def _echo(host: LinuxHost, bus: RpmsgBus, channel: RpmsgChannel, count: int, patience: int) -> _Exchange:
    echoed = wrong = 0
    instructions, times = [], []
    for number in range(count):
        data = f"message {number}".encode()
        start, before = host.now_ps, host.soc.m4.retired
        reply = _ask(host, bus, channel, data, patience)
        if reply is None:
            break
        echoed += 1
        wrong += reply != data
        times.append(host.now_ps - start)
        instructions.append(host.soc.m4.retired - before)
    return _Exchange(count, echoed, wrong, tuple(instructions), tuple(times))


def _show(report: dict[str, object]) -> None:
    channels = report.get("channels")
    if isinstance(channels, list):
        out(f"channels: {len(channels) or 'none'}")
        for channel in channels:
            out(f"  {printable(channel['name']):<32} remote 0x{channel['remote']:08x} local 0x{channel['local']:08x}")
    echo = report.get("echo")
    if isinstance(echo, dict):
        style = Style.GOOD if echo["echoed"] == echo["asked"] and not echo["wrong"] else Style.BAD
        out(f"echo: {echo['echoed']} of {echo['asked']} messages came back, {echo['wrong']} of them changed", style)
        if "time_ps" in echo:
            times = {key: f"{value / 10**6:.2f}" for key, value in echo["time_ps"].items()}
            out(f"  {echo['instructions_per_message']} M4 instructions per message, running or polling")
            out(f"  {times['mean']} us of virtual time per message ({times['least']} to {times['most']}), "
                f"looked at every {_SLICE_PS / 10**6:.2f} us")  # fmt: skip
            out(f"  {echo['messages_per_second']} messages per second of virtual time, one at a time")
    replies = report.get("replies")
    for reply in replies if isinstance(replies, list) else ():
        out("no reply" if reply is None else f"reply: {printable(reply)}", Style.BAD if reply is None else Style.PLAIN)
    findings = report.get("findings")
    for finding in findings if isinstance(findings, list) else ():
        out(f"finding: vq{finding['queue']} {finding['rule']}: {finding['detail']}", Style.BAD)
    if report.get("crash"):
        out(f"the firmware crashed: {report['crash']}", Style.BAD)
    trace = report.get("trace")
    for line in trace if isinstance(trace, list) else ():
        out(f"trace: {printable(line)}", Style.CONSOLE)
