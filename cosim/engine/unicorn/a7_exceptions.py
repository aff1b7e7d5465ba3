"""The Cortex-A7, normal world: entry into exceptions, and what the synchronous ones leave in CP15.

Unicorn stops at an exception but never vectors; this module does what the architecture does (ARMv7-A manual, B1.8):
bank the return address and CPSR, record status and address, branch to the vector. The non-secure banks are used
throughout, because guest code on this core is always the normal world.

Status registers, short-descriptor format (B4.1.52, B4.1.96): 0x008 synchronous external abort, with ExT (bit 12) set
and WnR (bit 11) for writes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from unicorn import UC_MODE_ARM
from unicorn.arm_const import (
    UC_ARM_REG_CPSR,
    UC_ARM_REG_LR,
    UC_ARM_REG_PC,
    UC_ARM_REG_SPSR,
    UC_CPU_ARM_CORTEX_A7,
)

from cosim.access import AccessKind, Initiator
from cosim.engine import CoreState, Machine
from cosim.engine.unicorn.accesses import Fault
from cosim.engine.unicorn.batch import Batch, CoprocessorRegister
from cosim.engine.unicorn.core import Core
from cosim.engine.unicorn.instance import make_unicorn
from cosim.engine.unicorn.loop import Loop
from cosim.events import CoreStopped, ExceptionTaken
from cosim.timing.state import ExceptionEvent

# Unicorn's numbers of exceptions (QEMU's EXCP_*)
EXCP_SWI = 2
EXCP_PREFETCH_ABORT = 3
EXCP_BKPT = 7

CPSR_T, CPSR_F, CPSR_I, CPSR_A, CPSR_E = 1 << 5, 1 << 6, 1 << 7, 1 << 8, 1 << 9
CPSR_IT_J = 0x0700FC00
MODE_MASK, MODE_USER, MODE_FIQ, MODE_IRQ = 0x1F, 0x10, 0x11, 0x12
MODE_SVC, MODE_ABORT, MODE_UNDEFINED = 0x13, 0x17, 0x1B
MODE_NAMES = {
    MODE_USER: "user", MODE_FIQ: "fiq", MODE_IRQ: "irq", MODE_SVC: "supervisor", MODE_ABORT: "abort",
    MODE_UNDEFINED: "undefined", 0x1F: "system",
}  # fmt: skip
SCTLR_V, SCTLR_EE, SCTLR_TE = 1 << 13, 1 << 25, 1 << 30

# (coprocessor, 64 bit, secure bank, CRn, CRm, opc1, opc2)
SCTLR = (15, 0, 0, 1, 0, 0, 0)
DFSR = (15, 0, 0, 5, 0, 0, 0)
IFSR = (15, 0, 0, 5, 0, 0, 1)
DFAR = (15, 0, 0, 6, 0, 0, 0)
IFAR = (15, 0, 0, 6, 0, 0, 2)
VBAR = (15, 0, 0, 12, 0, 0, 0)

#: That many exceptions without an instruction between them mean that there will never be one.
MOST_ENTRIES = 8
SYNCHRONOUS_EXTERNAL_ABORT = 0x1008
WRITE_NOT_READ = 1 << 11
DEBUG_EVENT = 0x2


@dataclass(frozen=True, eq=False)  # each is one of those below, or made of one
class A7Exception:
    """Name, mode, vector offset, what is added to the PC for the link register (Table B1-7), masks beside CPSR.I."""

    name: str
    mode: int
    vector: int
    link: int
    masks: int = 0


UNDEFINED = A7Exception("undefined-instruction", MODE_UNDEFINED, 0x04, 4)
SUPERVISOR_CALL = A7Exception("supervisor-call", MODE_SVC, 0x08, 0)
PREFETCH_ABORT = A7Exception("prefetch-abort", MODE_ABORT, 0x0C, 4, CPSR_A)
DATA_ABORT = A7Exception("data-abort", MODE_ABORT, 0x10, 8, CPSR_A)
IRQ = A7Exception("irq", MODE_IRQ, 0x18, 4, CPSR_A)
FIQ = A7Exception("fiq", MODE_FIQ, 0x1C, 4, CPSR_A | CPSR_F)


class A7Exceptions(Core):
    """The part of a Cortex-A7 core that enters exceptions."""

    initiator = Initiator.A7_NS
    cost_table = "cortex-a7"

    def __init__(self, machine: Machine, name: str, loop: Loop, mips: int) -> None:
        uc = make_unicorn(UC_MODE_ARM, UC_CPU_ARM_CORTEX_A7)
        super().__init__(machine, uc, loop, mips)
        self.name = name
        self._dfsr, self._ifsr, self._dfar, self._ifar, self._sctlr, self._vbar = (
            CoprocessorRegister(uc, place) for place in (DFSR, IFSR, DFAR, IFAR, SCTLR, VBAR)
        )
        self._interrupted = Batch(uc, (UC_ARM_REG_CPSR, UC_ARM_REG_PC))
        # CPSR first: it selects the bank of the next two.
        self._entered = Batch(uc, (UC_ARM_REG_CPSR, UC_ARM_REG_SPSR, UC_ARM_REG_LR, UC_ARM_REG_PC))
        self._entries: tuple[int, ...] = ()  # instruction counts at the last exceptions

    def take_fault(self, fault: Fault) -> None:
        """Deliver an external abort of a data access or an instruction fetch."""
        status = SYNCHRONOUS_EXTERNAL_ABORT
        if fault.kind is AccessKind.FETCH:
            self._ifsr.write(status)
            self._ifar.write(fault.address)
            self.enter(PREFETCH_ABORT, status, fault.address)
            return
        if fault.kind is AccessKind.WRITE:
            status |= WRITE_NOT_READ
        self._dfsr.write(status)
        self._dfar.write(fault.address)
        self.enter(DATA_ABORT, status, fault.address)

    def take_interrupt(self, number: int) -> None:
        """Deliver an exception that Unicorn reported by number, SMC excepted."""
        if number == EXCP_SWI:
            self.complete()
            self.enter(SUPERVISOR_CALL)
        elif number in (EXCP_BKPT, EXCP_PREFETCH_ABORT):
            self.lane.busy = 0
            self._ifsr.write(DEBUG_EVENT)
            self.enter(PREFETCH_ABORT, DEBUG_EVENT, self.pc)
        else:
            # A translation fault of the guest's own MMU (4) and anything newer: Unicorn does not tell the address.
            self.lane.busy = 0
            self.set_state(CoreState.LOCKED_UP)
            self.machine.log.emit(CoreStopped(self.name, f"unsupported exception {number}"))

    def take_undefined(self) -> None:
        """Deliver an undefined instruction."""
        thumb = self.uc.reg_read(UC_ARM_REG_CPSR) & CPSR_T
        self.enter(replace(UNDEFINED, link=2) if thumb else UNDEFINED)

    def enter(self, exception: A7Exception, status: int = 0, address: int = 0) -> None:
        """Branch to the vector of `exception`, with its mode, masks and banked registers (B1.8.3)."""
        if not self._makes_progress():
            self.set_state(CoreState.LOCKED_UP)
            self.machine.log.emit(CoreStopped(self.name, f"endless {exception.name} at 0x{self.pc:08x}"))
            return
        self.report(exception, status, address)
        sctlr = self._sctlr.read()
        cpsr, pc = self._interrupted.read()
        entered = cpsr & ~(MODE_MASK | CPSR_IT_J | CPSR_T | CPSR_E) | exception.mode
        entered |= CPSR_I | exception.masks
        entered |= CPSR_T if sctlr & SCTLR_TE else 0
        entered |= CPSR_E if sctlr & SCTLR_EE else 0
        base = 0xFFFF0000 if sctlr & SCTLR_V else self._vbar.read()
        # A write of the PC changes the T bit in Unicorn, to bit 0 of what is written.
        vector = (base + exception.vector) & 0xFFFFFFFF | bool(entered & CPSR_T)
        self._entered.write(entered, cpsr, (pc + exception.link) & 0xFFFFFFFF, vector)
        self.lane.it_left = 0
        self.charge(ExceptionEvent.ENTRY)

    def report(self, exception: A7Exception, status: int, address: int) -> None:
        """Put an exception that is being entered into the log."""
        self.machine.log.emit(ExceptionTaken(self.name, exception.name, status, address))

    def _makes_progress(self) -> bool:
        """Whether an instruction retired since one of the last few exceptions.

        Vectors that cannot be fetched or executed raise exceptions for ever. Silicon would hang there; here no virtual
        time would pass, and no budget would end the run.
        """
        retired = self.lane.retired
        self._entries = (*self._entries[1 - MOST_ENTRIES :], retired)
        return len(self._entries) < MOST_ENTRIES or self._entries[0] != retired
