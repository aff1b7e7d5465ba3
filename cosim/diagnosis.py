"""Why a core does not boot, or does not do its work: the evidence of one run in words, with what to do about it.

Reads the event log, where the M4 stood, and what inspection found in the file. An empty answer means that nothing
stands out. Every cause that is guessed from circumstances says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace

from cosim.boot import BootReport
from cosim.client import StepStatus
from cosim.core_snapshot import STATE_CRASHED, CoreSnapshot
from cosim.engine import CoreState
from cosim.events import AccessDenied, BusErrorRaised, CoreReleased, CoreStopped, ExceptionTaken, Record
from cosim.events import UnmodelledRegister as Unmodelled
from cosim.inspection import Finding, Inspection, Severity, inspect
from cosim.memory_map import elsewhere, window_at
from cosim.resources import TEST_KEY, key_file
from cosim.symbols import Symbols
from cosim.verdict import Outcome
from ta.keys import load_public_key
from ta.memory_map import SHM_SIZE
from ta.results import TeeResult

_M4 = "m4"
_FAULTS = ("NMI", "HardFault", "MemManage", "BusFault", "UsageFault")
#: What fits the reserved shared memory of a build that has no other: all but the room for messages (`SHM_BUFFERS`).
_MOST_HANDED_OVER = SHM_SIZE - 0x10000
#: How near the access and the core's last place must be for the one to explain the other, without symbols.
_NEAR = 64
#: Of what may wake the core, how many are named.
_MOST_WAKES = 6
#: CFSR (ARMv7-M manual, B3.2.15): what a set bit says.
_CFSR = {
    0: "an instruction was fetched where nothing may be executed (IACCVIOL)",
    1: "a data access was not permitted by the MPU (DACCVIOL)",
    3: "the MPU refused to unstack a frame (MUNSTKERR)",
    4: "the MPU refused to stack a frame (MSTKERR)",
    8: "an instruction fetch got a bus error (IBUSERR)",
    9: "a data access got a bus error (PRECISERR)",
    10: "an earlier data access got a bus error (IMPRECISERR)",
    11: "a bus error while unstacking a frame (UNSTKERR)",
    12: "a bus error while stacking a frame: check the stack pointer (STKERR)",
    16: "an undefined instruction (UNDEFINSTR)",
    17: "bit 0 of a branch target or vector is clear, which asks for Arm state (INVSTATE)",
    18: "an invalid EXC_RETURN (INVPC)",
    19: "an FPU instruction while CPACR keeps the FPU off (NOCP)",
    24: "an unaligned access (UNALIGNED)",
    25: "a division by zero (DIVBYZERO)",
}
_IBUSERR, _BFARVALID, _MMARVALID = 1 << 8, 1 << 15, 1 << 7
#: Errors that most TAs do not look at; a board shows them only later.
_NOT_REFUSED = ("table-run-address", "no-vectors", "stack-pointer", "reset-vector", "reset-thumb")


@dataclass(frozen=True)
class Cause:
    """One thing that explains the outcome; `pc` and `symbol` say where the M4 was, None where that says nothing."""

    code: str
    text: str
    hint: str
    pc: int | None = None
    symbol: str | None = None

    def as_dict(self) -> dict[str, object]:
        """JSON-ready."""
        return asdict(self)


@dataclass(frozen=True)
class UnmodelledRegisterUse:
    """A register without a model that the firmware touched: how, and where first; `address` None where unknown."""

    block: str
    offset: int
    address: int | None
    accesses: tuple[str, ...]
    pc: int
    symbol: str | None


@dataclass(frozen=True)
class Explanation:
    """What explains a boot: causes, the most telling first; findings about the file; registers without a model."""

    causes: tuple[Cause, ...]
    findings: tuple[Finding, ...]
    unmodelled: tuple[UnmodelledRegisterUse, ...]


def explain(report: BootReport, image: bytes, name: str) -> Explanation:
    """Explain the boot of `image`, a signed image or what was offered as one; `name` is what the file is called."""
    key = report.soc.config.public_key or load_public_key(key_file(TEST_KEY))
    inspection = inspect(image, name, key)
    case = _Case(report, inspection)
    if any(step.status is StepStatus.SMC_ERROR for step in report.steps) and len(image) > _MOST_HANDED_OVER:
        hint = "Strip it of its debug information, `arm-none-eabi-strip -g`, or build OP-TEE with CFG_CORE_DYN_SHM."
        text = f"{len(image)} bytes do not fit the shared memory that OP-TEE reserves, of which {_MOST_HANDED_OVER} are"
        causes: tuple[Cause, ...] = (Cause("image-too-large", f"{text} for the image", hint),)
    else:
        causes = tuple(case.refused() if report.verdict.outcome is Outcome.REFUSED else case.after_start())
    return Explanation(causes, inspection.findings, case.unmodelled())


class _Case:
    """The evidence of one boot."""

    def __init__(self, report: BootReport, inspection: Inspection) -> None:
        self._report = report
        self._inspection = inspection
        self._symbols = Symbols(image.elf for image in inspection.images if image.elf is not None)
        self._records = [r for r in report.soc.log if _concerns_m4(r)]

    def unmodelled(self) -> tuple[UnmodelledRegisterUse, ...]:
        """Each register without a model that the M4 touched, in the order of the first time."""
        uses: dict[tuple[str, int], UnmodelledRegisterUse] = {}
        for record in self._records:
            payload, pc = record.payload, record.stamp.pc
            if not isinstance(payload, Unmodelled):
                continue
            key = payload.block, payload.offset
            if key in uses:
                uses[key] = replace(uses[key], accesses=(*uses[key].accesses, payload.access))
                continue
            base = getattr(self._report.soc.blocks.get(payload.block), "base", None)
            address = None if base is None else base + payload.offset
            uses[key] = UnmodelledRegisterUse(*key, address, (payload.access,), pc, self._symbols.at(pc))
        return tuple(uses.values())

    # -- refused -------------------------------------------------------------------------------------------------

    def refused(self) -> Iterator[Cause]:
        refusal = self._report.verdict.refusal
        if refusal is not None and refusal.result == TeeResult.SIGNATURE_INVALID:
            yield self._signature()
            return
        found = self._refused_for()
        yield from (Cause(f.code, f.message, f.hint) for f in found[:3])
        if not found:
            hint = "docs/weaknesses.md and the reason of the TA above say which rule it broke."
            yield Cause("refused", "the file looks right by itself; the TA refused it for the reason above", hint)

    def _refused_for(self) -> list[Finding]:
        """Findings about the segment that was refused; without one, all errors that a TA could refuse for."""
        segment = self._report.verdict.segment
        if segment is not None:
            place = segment.image, segment.segment
            return [f for f in self._inspection.findings if (f.image, f.segment) == place]
        errors = [f for f in self._inspection.findings if f.severity is Severity.ERROR]
        return [f for f in errors if f.code not in _NOT_REFUSED] or errors

    def _signature(self) -> Cause:
        found = next((f for f in self._inspection.findings if f.code.startswith("signature-")), None)
        if found is None:
            hint = "Sign the ELF file again with `cosim sign`, and give its public half with --pubkey."
            return Cause("signature", "the signature does not verify with the key of this SoC", hint)
        return Cause(found.code, found.message, found.hint)

    # -- started -------------------------------------------------------------------------------------------------

    def after_start(self) -> Iterator[Cause]:
        causes = list(self._vectors()) or list(self._lockup()) or list(self._fault())
        core = self._report.core
        if not causes and core is not None and core.reported == STATE_CRASHED:
            hint = "Its own fault handler said so; break there, or look at its console and trace buffer."
            causes.append(self._at(core.pc, "reported-crash", "the firmware reported a crash in TAMP BKP19R", hint))
        if not causes and core is not None and not self._report.ready:
            causes += self._not_ready(core)
        yield from causes

    def _vectors(self) -> Iterator[Cause]:
        release = next((r.payload for r in self._records if isinstance(r.payload, CoreReleased)), None)
        if release is None or (core := self._report.core) is None:
            return
        first = next(self._faults(), None)
        if core.retired > 1 and (first is None or first.stamp.instructions > 1):
            return  # it went on from its vectors
        sp, entry = release.initial_sp, release.entry
        if not sp and not entry:
            hint = "Put the vector table at 0x00000000 (RETRAM) in a loaded segment; e_entry is not used."
            yield Cause("no-vectors", "the words at 0x00000000 are zero: no vector table was loaded there", hint)
        elif window_at(entry & ~1) is None:
            hint = "Word 1 of the vector table must be the address of the reset handler, in memory of the M4."
            yield Cause("reset-vector", f"the reset vector 0x{entry:08x} is no memory of the M4{_there(entry)}", hint)
        elif not entry & 1:
            hint = "Declare the handler as a function (.thumb_func, or .type Reset_Handler, %function)."
            yield Cause("reset-thumb", f"the reset vector 0x{entry:08x} has bit 0 clear", hint)
        elif window_at(sp - 1) is None:
            hint = "Word 0 of the vector table must be the end of the stack in memory of the M4, such as 0x10040000."
            text = f"the initial stack pointer 0x{sp:08x} is no memory of the M4{_there(sp)}"
            yield Cause("stack-pointer", text, hint)

    def _lockup(self) -> Iterator[Cause]:
        stop = next((r for r in self._records if _is_lockup(r)), None)
        if stop is None or not isinstance(stop.payload, CoreStopped):
            return
        first = next(self._faults(), None)
        text = f"the M4 locked up: {stop.payload.reason.removeprefix('lockup').lstrip(': ') or 'a fault in a fault'}"
        if first is not None:
            text += f"; it was handling {self._fault_text(first)}"
        hint = "The handler of the first fault faulted itself: give it a valid stack and touch only memory of the M4."
        yield self._at(stop.stamp.pc, "lockup", text, hint)

    def _faults(self) -> Iterator[Record]:
        return (r for r in self._records if isinstance(r.payload, ExceptionTaken) and r.payload.exception in _FAULTS)

    def _fault(self) -> Iterator[Cause]:
        core = self._report.core
        faults = list(self._faults())
        if not faults or (self._report.ready and (core is None or core.reported != STATE_CRASHED)):
            return  # a firmware that went on after its fault meant it
        record = faults[-1]
        first = any(
            isinstance(r.payload, CoreReleased) and r.payload.entry & ~1 == record.stamp.pc for r in self._records
        )
        text = f"the M4 took {self._fault_text(record)}"
        if first:
            text = f"the very first instruction faulted: {text}"
        if core is not None and core.ipsr is not None:
            where = self._symbols.at(core.pc)
            text += "; it is still in the handler" if core.ipsr else "; the handler came to an end, and it went on"
            text += f", at 0x{core.pc:08x}" + (f" ({where})" if where else "")
        yield self._at(record.stamp.pc, "first-instruction" if first else "fault", text, self._fault_hint(record))

    def _fault_text(self, record: Record) -> str:
        payload = record.payload
        name = payload.exception if isinstance(payload, ExceptionTaken) else ""
        status = payload.status if isinstance(payload, ExceptionTaken) else 0
        words = [text for bit, text in _CFSR.items() if status >> bit & 1]
        place = self._symbols.at(record.stamp.pc)
        text = f"{name} at 0x{record.stamp.pc:08x}" + (f" ({place})" if place else "")
        if words:
            text += ": " + ", ".join(words)
        if isinstance(payload, ExceptionTaken) and status & (_BFARVALID | _MMARVALID):
            text += f", address 0x{payload.fault_address:08x}{_there(payload.fault_address)}"
        target = self._fetched(record)
        if target is not None:
            text += f", from 0x{target:08x}{_there(target)}"
        return text

    def _fetched(self, fault: Record) -> int | None:
        """The address of a fetch that got a bus error, which BFAR does not tell."""
        if not (isinstance(fault.payload, ExceptionTaken) and fault.payload.status & _IBUSERR):
            return None
        for record in reversed(self._records):
            payload = record.payload
            if record.sequence < fault.sequence and isinstance(payload, (AccessDenied, BusErrorRaised)):
                return payload.address if payload.access == "fetch" else None
        return None

    def _fault_hint(self, record: Record) -> str:
        payload = record.payload
        address = payload.fault_address if isinstance(payload, ExceptionTaken) else 0
        for other in self._records:
            denied = other.payload
            if isinstance(denied, AccessDenied) and address and denied.address == address:
                return (
                    f"The firewall denied it by {denied.rule}: OP-TEE gives this to the M4, or the firmware must not."
                )
        if (target := self._fetched(record)) is not None and window_at(target) is None:
            return (
                "It branched there: by a function pointer that was never set, or a return address that was overwritten."
            )
        if isinstance(payload, ExceptionTaken) and payload.status >> 19 & 1:
            return "Enable CP10 and CP11 in CPACR before the first floating-point instruction."
        return "Look at that instruction: `arm-none-eabi-objdump -d` of the ELF file, or break there with GDB."

    # -- never ready -----------------------------------------------------------------------------------------------

    def _not_ready(self, core: CoreSnapshot) -> Iterator[Cause]:
        waited = self._waited_for(core)
        if waited is not None:
            yield waited
        elif core.state is CoreState.SLEEPING and core.wakes:
            hint = "An RTOS idles between two events: let it run longer (`cosim boot --run`), or see what should come."
            text = f"the M4 sleeps (WFI or WFE) until it is woken by {_some(core.wakes)}"
            yield self._at(core.pc, "idle", text, hint)
        elif core.state is CoreState.SLEEPING:
            hint = "Unmask the interrupt it waits for in NVIC, EXTI and the peripheral."
            yield self._at(core.pc, "sleeping", "the M4 sleeps (WFI or WFE) and nothing that it enabled wakes it", hint)
        elif core.state is CoreState.RUNNING and core.ipsr:
            hint = "It never returned from that handler; a default handler that loops is the usual reason."
            yield self._at(core.pc, "in-handler", f"the M4 runs in the handler of exception {core.ipsr}", hint)
        elif core.state is CoreState.RUNNING and core.masked:
            hint = (
                "Interrupts are masked (PRIMASK): what it waits for in an interrupt handler can never come. `cpsie i`."
            )
            yield self._at(core.pc, "masked-spin", "the M4 runs with interrupts off and never reported ready", hint)
        elif core.state is CoreState.RUNNING:
            hint = (
                "Fine for firmware that does not write 2 to TAMP BKP19R (ST's CoproSync); else see where it is, "
                "or give it more time."
            )
            yield self._at(
                core.pc, "not-ready", "the M4 runs, and did not report in TAMP BKP19R that it is ready", hint
            )

    def _waited_for(self, core: CoreSnapshot) -> Cause | None:
        """The last register near the core's place that could not answer as hardware would."""
        for record in reversed(self._records):
            payload = record.payload
            if not self._near(record.stamp.pc, core.pc):
                continue
            if isinstance(payload, Unmodelled) and payload.access == "read":
                text = f"the M4 seems to wait for {payload.block}+0x{payload.offset:x}, a register without a model"
                hint = "It reads as what was written, 0 before. Skip the wait in a build for simulation, or model it."
                return self._at(core.pc, "waits-unmodelled", text, hint)
            if isinstance(payload, AccessDenied):
                where = f"0x{payload.address:08x} ({payload.target})"
                text = f"the M4 seems to wait for {where}, which the firewall denies it by {payload.rule}"
                hint = "Denied reads give zero. Let OP-TEE assign the peripheral to the M4, or do not use it."
                return self._at(core.pc, "waits-denied", text, hint)
        return None

    def _near(self, then: int, now: int) -> bool:
        function = self._symbols.function(now)
        return abs(then - now) <= _NEAR or (function is not None and function == self._symbols.function(then))

    def _at(self, pc: int, code: str, text: str, hint: str) -> Cause:
        symbol = self._symbols.at(pc)
        where = f" at 0x{pc:08x}" + (f" ({symbol})" if symbol else "")
        return Cause(code, text if f"0x{pc:08x}" in text else text + where, hint, pc, symbol)


def _concerns_m4(record: Record) -> bool:
    payload = record.payload
    if isinstance(payload, (ExceptionTaken, CoreStopped, CoreReleased)):
        return payload.core == _M4
    return isinstance(payload, (AccessDenied, BusErrorRaised, Unmodelled)) and payload.initiator == _M4


def _is_lockup(record: Record) -> bool:
    return isinstance(record.payload, CoreStopped) and record.payload.reason.startswith("lockup")


def _some(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:_MOST_WAKES])
    return shown + (f" and {len(names) - _MOST_WAKES} more" if len(names) > _MOST_WAKES else "")


def _there(address: int) -> str:
    text = elsewhere(address)
    return f" ({text})" if text else ""
