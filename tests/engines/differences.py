"""In what a scenario may differ between Renode and the embedded engine: one line each, the same as in docs/engines.md.

An `Entry` is a record of the event log as a JSON object, without its place in the common order and without its time.
Its count is that of the core since it last left reset.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from cosim.events import CoreHeld, Record
from ta.events import ProcessorStarted

Entry = dict[str, object]


@dataclass(frozen=True)
class Difference:
    """One line of the table. What it is about is `hidden` in the comparison: these fields, or the whole entry (None).

    `example` is a scenario that shows it; a difference without one is about what no event log shows.
    """

    what: str
    embedded: str
    renode: str
    about: Callable[[Entry], bool] = lambda _entry: False
    hidden: tuple[str, ...] | None = None
    example: str | None = None


def _event(*names: str) -> Callable[[Entry], bool]:
    return lambda entry: entry["event"] in names


def _fetch(entry: Entry) -> bool:
    if entry["event"] == "exception_taken":
        return entry["exception"] == "prefetch-abort" or (entry["exception"] == "MemManage" and entry["status"] == 1)
    return entry["event"] == "access_denied" and entry["access"] == "fetch"


def _a7_waited(entry: Entry) -> bool:
    return entry["on"] == "a7" and bool(entry["waited"])


DIFFERENCES = (
    Difference(
        "order of the events of different cores",
        "that of virtual time",
        "that of the turns: by virtual time only as far as the quantum goes",
    ),
    Difference(
        "M4 sees what the A7 did through a block, and the A7 what the M4 did",
        "at the same virtual time",
        "when its next turn begins, so that the A7 polls a few times more or less",
        about=_a7_waited,
        hidden=("instructions",),
        example="demo",
    ),
    Difference(
        "instructions of the M4 when it is stopped",
        "follow from the time of the stop",
        "follow from the turn in which it is stopped",
        about=_event("core_held"),
        hidden=("retired", "instructions"),
        example="demo",
    ),
    Difference(
        "`FirstInstruction`",
        "stamped behind the instruction",
        "stamped before it",
        about=_event("first_instruction"),
        hidden=("instructions", "pc"),
        example="demo",
    ),
    Difference(
        "PC of a denied or impossible fetch",
        "that of the branch",
        "that of the target",
        about=_fetch,
        hidden=("pc",),
        example="look-into-the-firmware",
    ),
    Difference(
        "PC of an SVC",
        "that of the instruction",
        "behind it",
        about=lambda entry: entry["event"] == "exception_taken" and entry["exception"] == "SVCall",
        hidden=("pc",),
        example="it-blocks-and-their-exceptions",
    ),
    Difference(
        "sleep in WFI",
        "`CoreStopped` at once",
        "`CoreStopped` when the next turn of the core begins, none if it was woken before",
        about=lambda entry: entry["event"] == "core_stopped" and entry["reason"] == "wfi",
        example="interrupts",
    ),
    Difference(
        "writes to NVIC and system control block",
        "`RegisterWritten`",
        "no event",
        about=lambda entry: entry["event"] == "register_written" and entry["block"] in ("nvic", "scs"),
        example="demo",
    ),
    Difference(
        "interrupts in the log",
        "`InterruptPended`, `InterruptTaken`, `InterruptReturned`",
        "no event; interrupts of Renode's NVIC and GIC are taken all the same",
        about=_event("interrupt_pended", "interrupt_taken", "interrupt_returned"),
        example="interrupts",
    ),
    Difference(
        "alarms (timers, watchdogs)",
        "go off at their picosecond",
        "at the next whole microsecond; one that is set for a time within the turn at the end of that turn",
        about=lambda entry: entry["event"] == "watchdog_expired" or entry["on"] == "host",
        hidden=("instructions", "pc"),
    ),
    Difference("M4 leaves reset", "at once", "with its next turn"),
    Difference("M4 resets itself (SYSRESETREQ, MCURST)", "at once", "when its turn ends; it stops at once"),
    Difference(
        "reads of a bank that is home to the other core, writes allowed",
        "direct, announced",
        "direct; writes go through Python and are announced",
    ),
    Difference(
        "SMC in code that a guest itself wrote, or after the 256th in a piece",
        "delivered",
        "not seen: A32 does nothing, T32 is undefined",
    ),
    Difference("SMC in User mode", "undefined instruction", "A32 does nothing"),
    Difference(
        "UsageFault that is not enabled in SHCSR",
        "HardFault, HFSR.FORCED",
        "taken as UsageFault",
    ),
    Difference("WFE and SEV", "sleeps until an event", "WFE goes on at once, as the architecture allows"),
    Difference(
        "unaligned access that crosses a word, to denied memory or a block",
        "one access of its size",
        "the pieces that Renode makes of it",
    ),
    Difference(
        "MPU of the M4",
        "applies together with the firewall",
        "Renode's; a page that was once translated keeps the firewall's rights only",
    ),
    Difference(
        "T32 branch to itself in 16 bits (`b .`)",
        "runs until the budget ends",
        "taken for a WFI: the core sleeps until an interrupt",
    ),
    Difference("GIC and NVIC registers", "Python models", "Renode's"),
    Difference(
        "interrupt that an access of the M4 itself raises",
        "taken four instructions later",
        "taken where Renode looks for it next",
    ),
    Difference("SysTick", "follows the core's instructions", "Renode's, in its virtual time"),
    Difference(
        "generic timer of the A7",
        "follows the core's instructions",
        "Renode's; a run ends as idle although only this timer would wake the A7",
    ),
    Difference("several SoCs at a time", "yes", "one per process"),
)


def entries(records: Iterable[Record], core: str, differences: Iterable[Difference] = DIFFERENCES) -> Iterator[Entry]:
    """The events of one core (or `host`) in order, without what `differences` say."""
    chosen, waited, before_reset = tuple(differences), False, 0
    for record in records:
        payload = record.payload
        waited |= isinstance(payload, ProcessorStarted)  # from here on the A7 waits for the M4
        if record.stamp.core == core:
            entry = record.as_dict() | {"waited": waited, "instructions": record.stamp.instructions - before_reset}
            del entry["sequence"], entry["time_ps"]
            entry = _without(entry, chosen)
            if entry:
                yield entry
        if isinstance(payload, CoreHeld) and payload.core == core:
            before_reset = payload.retired


def _without(entry: Entry, differences: Iterable[Difference]) -> Entry:
    hidden: set[str] = set()
    for difference in differences:
        if difference.about(entry):
            hidden.update(entry if difference.hidden is None else difference.hidden)
    return {name: value for name, value in entry.items() if name not in hidden}
