"""The report of `cosim rpmsg` for people; `--json` prints the same dictionary."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from cosim.cli._output import out
from cosim.timeline import Style, printable

#: Lines of one kind that are printed; JSON has all of them.
_MOST_LINES = 50
Entry = Mapping[str, object]


def show(report: Entry) -> None:
    """Print channels, measurements, answers, what the firmware did wrong, and why."""
    channels = list(_entries(report, "channels"))
    none = "none" if "error" in report else f"none, {report['wait_ms']} ms after the start"
    out(f"channels: {len(channels) or none}")
    for channel in _capped(channels):
        name = printable(str(channel["name"]))
        out(f"  {name:<32} remote 0x{channel['remote']:08x} local 0x{channel['local']:08x}")
    _show_echo(report.get("echo"))
    replies = report.get("replies")
    for reply in replies if isinstance(replies, list) else ():
        out("no reply" if reply is None else f"reply: {printable(reply)}", Style.BAD if reply is None else Style.PLAIN)
    for finding in _capped(list(_entries(report, "findings"))):
        out(f"finding: vq{finding['queue']} {finding['rule']}: {finding['detail']}", Style.BAD)
    if report.get("crash"):
        out(f"the firmware crashed: {report['crash']}", Style.BAD)
    _show_recovery(report.get("recovery"))
    for finding in _entries(report, "table"):
        out(f"why: {finding['message']} [{finding['code']}]", Style.BAD)
        out(f"     {finding['hint']}")
    for cause in _entries(report, "causes"):
        out(f"why: {cause['text']} [{cause['code']}]", Style.BAD)
        out(f"     {cause['hint']}")
    for use in _capped(list(_entries(report, "unmodelled"))):
        out(f"register without a model: {use['block']}+0x{use['offset']:x}", Style.CORE)


def _show_recovery(recovery: object) -> None:
    if not isinstance(recovery, dict):
        return
    if recovery["crash"] is not None:
        out(f"recovered once, and it crashed again: {recovery['crash']}", Style.BAD)
    else:
        out(f"recovered: the firmware was started anew, and announced {recovery['channels'] or 'no'} channel(s)")


def _show_echo(echo: object) -> None:
    if not isinstance(echo, dict):
        return
    style = Style.GOOD if echo["echoed"] == echo["asked"] and not echo["wrong"] else Style.BAD
    out(f"echo: {echo['echoed']} of {echo['asked']} messages came back, {echo['wrong']} of them changed", style)
    if "time_ps" not in echo:
        return
    times = {key: f"{value / 10**6:.2f}" for key, value in echo["time_ps"].items()}
    count = echo["instructions"]
    out(f"  latency: {times['mean']} us of virtual time per message ({times['least']} to {times['most']}, "
        f"median {times['median']}), looked at every {echo['resolution_ps'] / 10**6:.2f} us")  # fmt: skip
    out(f"           {count['mean']} M4 instructions ({count['least']} to {count['most']}), running or polling")
    out(f"  throughput: {echo['messages_per_second']} messages per second of virtual time, one at a time, "
        f"{echo['bytes_per_second']} payload bytes per second there and back")  # fmt: skip


def _entries(report: Entry, key: str) -> Iterator[Entry]:
    value = report.get(key)
    yield from (entry for entry in (value if isinstance(value, list) else ()) if isinstance(entry, dict))


def _capped(entries: list[Entry]) -> Iterator[Entry]:
    yield from entries[:_MOST_LINES]
    if len(entries) > _MOST_LINES:
        out(f"  and {len(entries) - _MOST_LINES} more, see --json")
