"""One plain line per event, as a boot happens: time, core, instruction count, and what happened in words.

`describe` turns a record into a `Line`; how a `Style` looks is the business of whoever prints it. Text that comes from
firmware or images is escaped, so that it cannot drive a terminal.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass

from cosim import events as machine
from cosim.events import Payload, Record
from cosim.linux import events as linux
from ta import events as secure

#: RCC registers whose writes belong into the story of a boot; every other write is detail.
_BOOT_REGISTERS = ("TZCR", "MP_GCR", "MP_GRSTCSETR")
#: Memories whose firewall rights belong into the story of a boot; those of peripherals are detail.
_MEMORIES = ("retram", "sram1", "sram2", "sram3", "sram4", "sysram", "bkpsram", "ddr")
_SHOWN_DIGITS = 16
_LONGEST_RIGHTS = 40
#: OPTEE_SMC_RETURN_* (optee_smc.h); not from ta.message, so that a command line starts without the secure world.
_CALL_RESULTS = {
    0: "OK",
    1: "ETHREAD_LIMIT",
    2: "EBUSY",
    3: "ERESUME",
    4: "EBADADDR",
    5: "EBADCMD",
    6: "ENOMEM",
    7: "ENOTAVAIL",
    0xFFFFFFFF: "UNKNOWN_FUNCTION",
}


class Style(enum.Enum):
    """What a line is about, for colours."""

    PLAIN = "plain"
    DETAIL = "detail"
    SMC = "smc"
    GOOD = "good"
    BAD = "bad"
    FIREWALL = "firewall"
    CORE = "core"
    CONSOLE = "console"


@dataclass(frozen=True)
class Line:
    """One line of the timeline. `indent` is the depth inside an SMC; lines of style DETAIL may be left out.

    `text` has several lines, separated by newlines, where an event carries a list.
    """

    time_ps: int
    core: str
    instructions: int
    indent: int
    text: str
    style: Style

    def __str__(self) -> str:
        microseconds = f"{self.time_ps // 1_000_000}.{self.time_ps // 1000 % 1000:03d}"
        stamp = f"{microseconds:>14} us {self.core:>5} {self.instructions:>10}  "
        first, *more = self.text.split("\n")
        indent = "  " * self.indent
        return "\n".join((f"{stamp}{indent}{first}", *(f"{' ' * len(stamp)}{indent}  {line}" for line in more)))


def printable(text: str) -> str:
    r"""`text` with control and non-ASCII characters written as \xNN or \uNNNN."""
    return "".join(c if " " <= c <= "~" else c.encode("unicode_escape").decode() for c in text)


def describe(record: Record) -> Line:
    """The line for one record; every event has one."""
    payload = record.payload
    indent, words, style = _WRITERS.get(type(payload), _other)(payload)
    text = (words,) if isinstance(words, str) else words
    stamp = record.stamp
    safe = "\n".join(printable(line) for line in text)
    return Line(stamp.time_ps, stamp.core, stamp.instructions, indent, safe, style)


Described = tuple[int, str | tuple[str, ...], Style]


def _other(payload: Payload) -> Described:
    values = ", ".join(f"{name}={value!r}" for name, value in vars(payload).items())
    return 1, f"{type(payload).__name__}: {values}", Style.DETAIL


def _short(digest: str) -> str:
    return f"sha256 {digest[:_SHOWN_DIGITS]}..." if digest else "no hash"


def _smc_entered(p: secure.SmcEntered) -> Described:
    return 0, f"smc #0 {p.name} (0x{p.function_id:08x})", Style.SMC


def _smc_returned(p: secure.SmcReturned) -> Described:
    values = " ".join(f"0x{value:08x}" for value in p.results)
    known = _CALL_RESULTS.get(p.results[0] if p.results else 0, "values")
    return 0, f"smc #0 {p.name} returned {known}: {values}", Style.SMC


def _session_opened(p: secure.SessionOpened) -> Described:
    if p.result:
        return 1, f"OPEN_SESSION {p.uuid}: {p.result_name} (0x{p.result:08x}), origin {p.origin}", Style.BAD
    return 1, f"OPEN_SESSION {p.uuid}: session {p.session}", Style.GOOD


def _session_closed(p: secure.SessionClosed) -> Described:
    return 1, f"CLOSE_SESSION {p.session}: {p.result_name}", Style.BAD if p.result else Style.PLAIN


def _registration(p: secure.SharedMemoryRegistration) -> Described:
    if p.result:
        what = f"{p.size} bytes as cookie 0x{p.cookie:x}" if p.size else f"cookie 0x{p.cookie:x}"
        return 1, f"{p.command_name} {what}: {p.result_name} (0x{p.result:08x}): {p.reason}", Style.BAD
    where = f"{p.size} bytes at 0x{p.address:08x} in {p.pages} page(s)"
    return 1, f"{p.command_name} {where}, cookie 0x{p.cookie:x}", Style.PLAIN


def _command_invoked(p: secure.CommandInvoked) -> Described:
    return 1, f"{p.command_name} for processor {p.processor_id}", Style.PLAIN


def _command_returned(p: secure.CommandReturned) -> Described:
    if p.result:
        why = f": {p.reason}" if p.reason else ""
        return 1, f"{p.command_name}: {p.result_name} (0x{p.result:08x}), state {p.state}{why}", Style.BAD
    return 1, f"{p.command_name}: {p.result_name}, state {p.state}", Style.GOOD


def _authentication_step(p: secure.AuthenticationStep) -> Described:
    verdict = "ok" if p.passed else "FAILED"
    return (
        2,
        f"check {p.step}: {verdict}" + (f", {p.detail}" if p.detail else ""),
        Style.PLAIN if p.passed else Style.BAD,
    )


def _segment_loaded(p: secure.SegmentLoaded) -> Described:
    size = f"{p.filesz} bytes" + (f" + {p.memsz - p.filesz} zeroed" if p.memsz > p.filesz else "")
    return 2, f"segment {p.segment} at 0x{p.da:08x} (A7 0x{p.pa:08x}), {size}, {_short(p.sha256)} ok", Style.GOOD


def _segment_refused(p: secure.SegmentRefused) -> Described:
    hashes = f"; signed {_short(p.expected)}, loaded {_short(p.actual)}" if p.expected and p.actual else ""
    return 2, f"segment {p.segment} at 0x{p.da:08x}, {p.filesz} bytes, REFUSED: {p.reason}{hashes}", Style.BAD


def _table_located(p: secure.ResourceTableLocated) -> Described:
    if not p.size:
        return 2, "resource table: none in this image", Style.PLAIN
    where = f"0x{p.da:08x} (A7 0x{p.pa:08x})"
    return 2, f"resource table at {where}, {p.size} bytes, {_short(p.sha256)}", Style.PLAIN


def _authenticated(p: secure.ImageAuthenticated) -> Described:
    return 2, f"authenticated: {p.images} image(s), {p.segments} segment(s), header {_short(p.sha256)}", Style.GOOD


def _wiped(p: secure.MemoryWiped) -> Described:
    return 2, f"wiped {p.region} at 0x{p.pa:08x}, {p.size} bytes ({p.reason})", Style.PLAIN


def _started(p: secure.ProcessorStarted) -> Described:
    return 2, f"processor {p.processor_id} released from hold boot by the secure world", Style.CORE


def _stopped(p: secure.ProcessorStopped) -> Described:
    return 2, f"processor {p.processor_id} put into reset and held by the secure world", Style.CORE


def _ta_died(p: secure.TaDied) -> Described:
    weakness = f" [{p.weakness}]" if p.weakness else ""
    return 1, f"the TA died ({p.cause}){weakness}: {p.detail}", Style.BAD


def _core_released(p: machine.CoreReleased) -> Described:
    return 0, f"{p.core} leaves hold boot: MSP 0x{p.initial_sp:08x}, entry 0x{p.entry:08x}", Style.CORE


def _core_held(p: machine.CoreHeld) -> Described:
    cycles = "" if p.spent is None else f", {p.spent} cycles"
    return 0, f"{p.core} held in reset after {p.retired} instructions{cycles}", Style.CORE


def _cycles_unknown(p: machine.CyclesUnknown) -> Described:
    what = f"0x{p.code:08x} at 0x{p.address:08x}"
    return 0, f"{p.core} executed {what}, which has no cycle cost: one is charged, for all such code", Style.BAD


def _first_instruction(p: machine.FirstInstruction) -> Described:
    return 0, f"{p.core} executes its first instruction at 0x{p.address:08x}", Style.CORE


def _core_stopped(p: machine.CoreStopped) -> Described:
    return 0, f"{p.core} stopped: {p.reason}", Style.BAD if p.reason.startswith("lockup") else Style.CORE


def _watchdog(p: machine.WatchdogExpired) -> Described:
    return 0, f"{p.block} expired", Style.BAD


def _exception(p: machine.ExceptionTaken) -> Described:
    where = f"status 0x{p.status:08x}, address 0x{p.fault_address:08x}"
    return 0, f"{p.core} takes {p.exception}: {where}", Style.BAD


def _interrupt_pended(p: machine.InterruptPended) -> Described:
    return 0, f"{p.core}: {p.exception} pends{_times(p.count)}", Style.DETAIL


def _interrupt_taken(p: machine.InterruptTaken) -> Described:
    return 0, f"{p.core} takes {p.exception} in {p.interrupted}, priority {p.priority}{_times(p.count)}", Style.DETAIL


def _interrupt_returned(p: machine.InterruptReturned) -> Described:
    return 0, f"{p.core} returns from {p.exception}{_times(p.count)}", Style.DETAIL


def _times(count: int) -> str:
    return f" ({count} times so far)" if count > 1 else ""


def _denied(p: machine.AccessDenied) -> Described:
    value = f" of 0x{p.value:x}" if p.access == "write" else ""
    what = f"{p.initiator} {p.access}{value} at 0x{p.address:08x} ({p.size} bytes, {p.target})"
    return 0, f"DENIED {what} by {p.rule}: {p.response}", Style.BAD


def _foreign_write(p: machine.ForeignWrite) -> Described:
    where = f"0x{p.address:08x} ({p.size} bytes, {p.target})"
    return 0, f"{p.initiator} wrote 0x{p.value:x} into the other core's memory at {where}", Style.DETAIL


def _bus_error(p: machine.BusErrorRaised) -> Described:
    return 0, f"bus error: {p.initiator} {p.access} at 0x{p.address:08x} ({p.size} bytes) reached nothing", Style.BAD


def _firewall(p: machine.FirewallChanged) -> Described:
    shown = p.target in _MEMORIES
    before, after = (
        f"{text[:_LONGEST_RIGHTS]}..." if len(text) > _LONGEST_RIGHTS else text for text in (p.before, p.after)
    )
    return 2, f"firewall: {p.target} {before} -> {after}", Style.FIREWALL if shown else Style.DETAIL


def _register(p: machine.RegisterWritten) -> Described:
    text = f"{p.initiator} writes 0x{p.value:08x} to {p.block}.{p.register}: 0x{p.before:08x} -> 0x{p.after:08x}"
    shown = p.block == "rcc" and p.register.removeprefix("RCC_") in _BOOT_REGISTERS
    return 2, text, Style.PLAIN if shown else Style.DETAIL


def _table_read(p: machine.ResourceTableRead) -> Described:
    return 2, (f"resource table in memory at A7 0x{p.pa:08x}, {p.size} bytes:", *p.entries), Style.PLAIN


def _console(p: machine.ConsoleLine) -> Described:
    return 0, f"{p.source}| {p.text}", Style.CONSOLE


def _typed(p: machine.ConsoleInput) -> Described:
    return 0, f"{p.source}< {p.text}", Style.CONSOLE


def _broken(p: machine.MonitorBroken) -> Described:
    return 0, f"MONITOR {p.monitor} BROKEN: {p.detail}", Style.BAD


def _kernel(p: linux.KernelMessage) -> Described:
    return (
        0,
        f"linux| {p.function}: {p.text.removeprefix(f'{p.function}: ')}",
        Style.BAD if p.level == "err" else Style.PLAIN,
    )


def _rproc_state(p: linux.RprocStateChanged) -> Described:
    return 0, f"linux: the remote processor is {p.after}, was {p.before}", Style.CORE


def _ring_finding(p: linux.RingFinding) -> Described:
    return 0, f"the firmware broke a rule of virtqueue {p.queue}, {p.rule}: {p.detail}", Style.BAD


def _channel(p: linux.ChannelAnnounced) -> Described:
    what = "announced" if p.created else "destroyed"
    return 0, f"rpmsg channel {p.name} {what}, remote 0x{p.remote:x} local 0x{p.local:x}", Style.CORE


def _message_received(p: linux.MessageReceived) -> Described:
    return 0, f"rpmsg message from 0x{p.source:x} to 0x{p.destination:x}, {p.size} bytes, received", Style.DETAIL


def _message_sent(p: linux.MessageSent) -> Described:
    return 0, f"rpmsg message from 0x{p.source:x} to 0x{p.destination:x}, {p.size} bytes, sent", Style.DETAIL


_WRITERS: dict[type, Callable[..., Described]] = {
    secure.SmcEntered: _smc_entered,
    secure.SmcReturned: _smc_returned,
    secure.SessionOpened: _session_opened,
    secure.SessionClosed: _session_closed,
    secure.SharedMemoryRegistration: _registration,
    secure.CommandInvoked: _command_invoked,
    secure.CommandReturned: _command_returned,
    secure.AuthenticationStep: _authentication_step,
    secure.SegmentLoaded: _segment_loaded,
    secure.SegmentRefused: _segment_refused,
    secure.ResourceTableLocated: _table_located,
    secure.ImageAuthenticated: _authenticated,
    secure.MemoryWiped: _wiped,
    secure.ProcessorStarted: _started,
    secure.ProcessorStopped: _stopped,
    secure.TaDied: _ta_died,
    machine.CoreReleased: _core_released,
    machine.CoreHeld: _core_held,
    machine.CyclesUnknown: _cycles_unknown,
    machine.FirstInstruction: _first_instruction,
    machine.CoreStopped: _core_stopped,
    machine.WatchdogExpired: _watchdog,
    machine.ExceptionTaken: _exception,
    machine.InterruptPended: _interrupt_pended,
    machine.InterruptTaken: _interrupt_taken,
    machine.InterruptReturned: _interrupt_returned,
    machine.AccessDenied: _denied,
    machine.ForeignWrite: _foreign_write,
    machine.BusErrorRaised: _bus_error,
    machine.FirewallChanged: _firewall,
    machine.RegisterWritten: _register,
    machine.ResourceTableRead: _table_read,
    machine.ConsoleLine: _console,
    machine.ConsoleInput: _typed,
    machine.MonitorBroken: _broken,
    linux.KernelMessage: _kernel,
    linux.RprocStateChanged: _rproc_state,
    linux.RingFinding: _ring_finding,
    linux.ChannelAnnounced: _channel,
    linux.MessageReceived: _message_received,
    linux.MessageSent: _message_sent,
}
