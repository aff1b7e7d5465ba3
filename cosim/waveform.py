"""The event log as a waveform: a Value Change Dump (IEEE 1364, section 18) for GTKWave, Surfer and their like.

One time axis for both cores, the secure world, the firewall and the registers, in picoseconds of virtual time. A signal
changes where the log tells that it did, no oftener: what the log thins out (an interrupt taken for the hundredth time,
a core that sleeps again and again) has gaps here too.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from vcd import VCDWriter
from vcd.writer import VarValue

from cosim import events as machine
from cosim.events import Payload, Record, Stamp
from cosim.linux import events as linux
from cosim.monitors import (
    BootControlIsSecure,
    LoadedImageUntouched,
    NothingLeftBehind,
    NothingRunsUnauthenticated,
    TableAsAuthenticated,
)
from cosim.timeline import describe, printable
from ta import events as secure

_CORES = ("a7", "m4")
_IN_RESET = "in reset"
_MONITORS = (
    NothingRunsUnauthenticated,
    LoadedImageUntouched,
    TableAsAuthenticated,
    NothingLeftBehind,
    BootControlIsSecure,
)
#: Names may come from firmware (trace buffers); viewers take these characters.
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_]+")
_LONGEST_NAME = 64


class Signal(NamedTuple):
    """A variable of the dump in `scope` (dots separate its parts): `kind` is a VCD type, `size` in bits."""

    scope: str
    name: str
    kind: str
    size: int | None = None


class Change(NamedTuple):
    """What a record says about a signal: `before` counts for the first change; the value of an `event` is True."""

    signal: Signal
    value: VarValue
    before: VarValue = None


def to_vcd(records: Iterable[Record]) -> str:
    """The text of a VCD file that shows `records`: the same text for the same records.

    A core's turn is logged as a whole, so records are put in order of time first; those of one instant stay as logged.
    """
    changes = [(r.stamp.time_ps, change) for r in sorted(records, key=_time) for change in _changes(r)]
    initial: dict[Signal, VarValue] = {_monitor(monitor.name): 1 for monitor in _MONITORS}
    for _, change in changes:
        initial.setdefault(change.signal, change.before)
    stream = io.StringIO()
    with VCDWriter(stream, timescale="1 ps", date="", version="remoteproc-cosim", check_values=False) as writer:
        variables = {s: writer.register_var(*s, init) for s, init in sorted(initial.items(), key=_place)}
        for time_ps, change in changes:
            writer.change(variables[change.signal], time_ps, change.value)
    return stream.getvalue()


def _place(item: tuple[Signal, VarValue]) -> tuple[str, str]:
    return item[0].scope, item[0].name


def _time(record: Record) -> int:
    return record.stamp.time_ps


def _changes(record: Record) -> Iterator[Change]:
    stamp, payload = record.stamp, record.payload
    if stamp.core in _CORES:
        yield from _counters(stamp)
    if (says := _WRITERS.get(type(payload))) is not None:
        yield from says(payload)
    elif isinstance(payload, _TOLD_IN_WORDS):
        yield _text("trouble", "what", describe(record).text)
        yield _event("trouble", "event")


def _counters(stamp: Stamp) -> Iterator[Change]:
    yield Change(Signal(stamp.core, "instructions", "wire", 64), stamp.instructions, 0)
    yield Change(Signal(stamp.core, "pc", "wire", 32), stamp.pc)
    if stamp.cycles is not None:
        yield Change(Signal(stamp.core, "cycles", "wire", 64), stamp.cycles, 0)


def _name(text: str) -> str:
    return _NOT_IN_NAMES.sub("_", text)[:_LONGEST_NAME] or "_"


def _text(scope: str, name: str, value: str, before: str = "") -> Change:
    return Change(Signal(scope, _name(name), "string"), printable(value), before)


def _event(scope: str, name: str) -> Change:
    return Change(Signal(scope, name, "event"), True)


def _state(core: str, value: str) -> Change:
    return _text(core, "state", value, _IN_RESET if core == "m4" else "running")


def _monitor(name: str) -> Signal:
    return Signal("monitors", _name(name), "wire", 1)


def _smc(p: secure.SmcEntered) -> Iterator[Change]:
    yield _text("secure_world", "smc", p.name)
    yield _event("secure_world", "smc_event")


def _invoked(p: secure.CommandInvoked) -> Iterator[Change]:
    yield _text("secure_world", "command", p.command_name)


def _returned(p: secure.CommandReturned) -> Iterator[Change]:
    yield _text("secure_world", "result", p.result_name)
    yield _text("secure_world", "ta_state", p.state)


def _died(_: secure.TaDied) -> Iterator[Change]:
    yield _text("secure_world", "ta_state", "dead")


def _step(p: secure.AuthenticationStep) -> Iterator[Change]:
    yield _text("secure_world", "check", f"{p.step}: {'ok' if p.passed else 'FAILED'}")


def _released(p: machine.CoreReleased) -> Iterator[Change]:
    yield _state(p.core, "running")


def _held(p: machine.CoreHeld) -> Iterator[Change]:
    yield _state(p.core, _IN_RESET)


def _stopped(p: machine.CoreStopped) -> Iterator[Change]:
    yield _state(p.core, p.reason)


def _taken(p: machine.ExceptionTaken | machine.InterruptTaken) -> Iterator[Change]:
    yield _state(p.core, "running")
    yield _text(p.core, "exception", p.exception)
    yield _event(p.core, "exception_event")


def _firewall(p: machine.FirewallChanged) -> Iterator[Change]:
    yield _text("firewall", p.target, p.after, p.before)


def _register(p: machine.RegisterWritten) -> Iterator[Change]:
    yield Change(Signal(f"blocks.{_name(p.block)}", _name(p.register), "wire", 32), p.after, p.before)


def _console(p: machine.ConsoleLine) -> Iterator[Change]:
    yield _text("console", p.source, p.text)


def _typed(p: machine.ConsoleInput) -> Iterator[Change]:
    yield _text("console", f"{p.source}_input", p.text)


def _broken(p: machine.MonitorBroken) -> Iterator[Change]:
    yield Change(_monitor(p.monitor), 0, 1)


def _rproc(p: linux.RprocStateChanged) -> Iterator[Change]:
    yield _text("linux", "rproc_state", p.after, p.before)


def _message(p: linux.MessageReceived | linux.MessageSent) -> Iterator[Change]:
    name = "rpmsg_received" if isinstance(p, linux.MessageReceived) else "rpmsg_sent"
    yield Change(Signal("linux", f"{name}_bytes", "wire", 32), p.size, 0)
    yield _event("linux", f"{name}_event")


_TOLD_IN_WORDS = (machine.AccessDenied, machine.BusErrorRaised, machine.WatchdogExpired, linux.RingFinding)
_WRITERS: dict[type[Payload], Callable[..., Iterator[Change]]] = {
    secure.SmcEntered: _smc,
    secure.CommandInvoked: _invoked,
    secure.CommandReturned: _returned,
    secure.TaDied: _died,
    secure.AuthenticationStep: _step,
    machine.CoreReleased: _released,
    machine.CoreHeld: _held,
    machine.CoreStopped: _stopped,
    machine.ExceptionTaken: _taken,
    machine.InterruptTaken: _taken,
    machine.FirewallChanged: _firewall,
    machine.RegisterWritten: _register,
    machine.ConsoleLine: _console,
    machine.ConsoleInput: _typed,
    machine.MonitorBroken: _broken,
    linux.RprocStateChanged: _rproc,
    linux.MessageReceived: _message,
    linux.MessageSent: _message,
}
