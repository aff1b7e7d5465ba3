"""Accesses of one core that its view of memory does not grant: made by the bus, inside Unicorn's hook.

Nearly all of them are aligned accesses to a register, and firmware makes the same ones again and again. How such an
access got through once is remembered by its address: which block it reaches, and that neither firewall nor the core's
own memory protection stood in the way. It is forgotten when one of these changes its mind, and nothing remembered
counts while an instruction is given up. Everything else goes the long way.

`access_port.py` is the hook itself.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from unicorn import (
    UC_MEM_FETCH_PROT,
    UC_MEM_FETCH_UNMAPPED,
    UC_MEM_READ_PROT,
    UC_MEM_WRITE_PROT,
    UC_MEM_WRITE_UNMAPPED,
    Uc,
)

from cosim.access import AccessKind, Deny, Initiator
from cosim.bus import Outcome
from cosim.engine import CoreState, Machine
from cosim.engine.unicorn.access_port import GIVEN_UP
from cosim.engine.unicorn.loop import Loop
from cosim.engine.unicorn.memory_view import PAGE, MemoryView
from cosim.events import ForeignWrite
from cosim.memory import MemoryBank
from cosim.registers import RegisterBlock

_KIND_OF = {
    UC_MEM_WRITE_UNMAPPED: AccessKind.WRITE,
    UC_MEM_WRITE_PROT: AccessKind.WRITE,
    UC_MEM_FETCH_UNMAPPED: AccessKind.FETCH,
    UC_MEM_FETCH_PROT: AccessKind.FETCH,
}
_RUNNING = CoreState.RUNNING
#: Accesses to memory that are counted, and which one of equal ones is remembered if it is denied.
_MOST_COUNTED, _REPEATED = 1024, 16


@dataclass(frozen=True)
class Fault:
    """An access that the core could not complete; the PC stands at the instruction (for a fetch: at its target)."""

    kind: AccessKind
    address: int
    size: int
    value: int
    reported: bool = False  # the bus already answered it with an error
    forbidden: bool = False  # the core's own memory protection stopped it


class Accesses(MemoryView, ABC):
    """The accesses of one core; `Core` says what becomes of the instruction that makes them."""

    state: CoreState

    def __init__(self, machine: Machine, uc: Uc, loop: Loop) -> None:
        super().__init__(machine, uc, loop)
        self.fault: Fault | None = None
        self.failure: BaseException | None = None
        #: Set by the engine: whether another core must first catch up with this one.
        self.must_wait: Callable[[], bool] = lambda: False
        #: Set by the engine: this core is at work now.
        self.at_work: Callable[[], None] = lambda: None
        self.waiting = False
        self._unaligned = (0, 0, 0)  # first byte and end of the unaligned write at work, and how many are to come
        self._made: dict[tuple[AccessKind, int, int], int] = {}  # how often, of accesses to memory by the bus
        machine.firewall.listen_rules(self.forget_accesses)
        self.port.serve(uc, self._must_wait, self._on_access, machine.timers.next_ps)

    @property
    @abstractmethod
    def time_ps(self) -> int:
        """See `CoreView.time_ps`."""

    @abstractmethod
    def given_up(self) -> bool:
        """Whether the instruction at work, or the IT block around it, has no effect any more."""

    @abstractmethod
    def freeze(self) -> None:
        """The instruction at work is given up at a store inside an IT block, which Unicorn runs to its end."""

    @abstractmethod
    def forget_it_state(self) -> None:
        """Unicorn stored ITSTATE for the hook, and would take it for the state behind the block."""

    def transact(self, kind: AccessKind, address: int, size: int, value: int) -> Outcome:
        """One access as the bus answers it; subclasses serve their private range before."""
        return self.machine.bus.transact(self.initiator, kind, address, size, value)

    def forget_accesses(self) -> None:
        """What was remembered of accesses may not hold any more."""
        self.port.forget()
        self._made.clear()

    def suspend_accesses(self) -> None:
        """Nothing that is remembered counts until `resume_accesses`."""
        self.port.cells.serves = 0

    def resume_accesses(self) -> None:
        """What is remembered counts again, and no write is at work."""
        self._unaligned = (0, 0, 0)
        self.port.cells.serves = 1

    # -- Unicorn's callbacks: nothing may escape them, and nothing heavy happens in them -----------------------------

    def ignores_bus_faults(self) -> bool:
        """Whether loads and stores that get an error from the bus go on now."""
        return False

    def _must_wait(self) -> bool:
        return self.must_wait()

    def _on_access(self, access: int, address: int, size: int, value: int) -> bool:
        try:
            return self._on_invalid_access(access, address, size, value)
        except BaseException as error:  # must not cross Unicorn's C frames; the engine raises it again
            self.failure = error
        return self._give_up(isolated=False)

    def _give_up(self, *, isolated: bool) -> bool:
        """The instruction at work has no effect; `isolated`: it is a store."""
        self.suspend_accesses()
        self.lane.busy = 0
        self.lane.attention = 1
        if isolated and self.lane.it_left:
            self.freeze()
        return False

    def _on_invalid_access(self, access: int, address: int, size: int, value: int) -> bool:
        """The long way."""
        if self.given_up():
            return False  # a later part of an instruction or IT block that is already given up
        kind = _KIND_OF.get(access, AccessKind.READ)
        value &= (1 << (8 * size)) - 1
        if access in (UC_MEM_READ_PROT, UC_MEM_WRITE_PROT):
            if self._is_part(kind, address, size) or self._access(kind, address, size, value):
                if self.lane.it_left:
                    self.forget_it_state()
                return True
            return self._give_up(isolated=kind is AccessKind.WRITE)
        if kind is not AccessKind.FETCH and self.ignores_bus_faults():
            self._map_mmio(address // PAGE * PAGE, PAGE, None)  # nothing lies there; Unicorn goes on only where it may
            return True
        self.suspend_accesses()
        forbidden = self.forbids(kind, address, size)
        self.fault = Fault(kind, address, size, value, reported=forbidden, forbidden=forbidden)
        self.lane.attention = 1
        if kind is AccessKind.WRITE and self.lane.it_left:
            self.freeze()
        return False

    def _is_part(self, kind: AccessKind, address: int, size: int) -> bool:
        """Unicorn repeats an unaligned write that was made, byte by byte."""
        first, end, left = self._unaligned
        if kind is AccessKind.WRITE and left and size == 1 and first <= address < end:
            self._unaligned = first, end, left - 1
            if left == 1:
                self.resume_accesses()
            return True
        self.resume_accesses()
        if kind is AccessKind.WRITE and address % size:
            self.suspend_accesses()
            self._unaligned = address, address + size, size
        return False

    def _access(self, kind: AccessKind, address: int, size: int, value: int) -> bool:
        """Make one access by the bus; False when the instruction must be repeated, faulted or dropped."""
        if self.forbids(kind, address, size):
            self.fault = Fault(kind, address, size, value, reported=True, forbidden=True)
            return False
        if self.must_wait():
            self.waiting = True
            return False
        if kind is AccessKind.WRITE:
            self._report_foreign(address, size, value)
        timers = self.machine.timers
        timers.run_due(self.time_ps)
        due = timers.next_at()
        outcome = self.transact(kind, address, size, value)
        if timers.next_at() != due:
            self._end_turn()
        self.port.cells.value, self.port.cells.read_at = outcome.value, address
        if outcome.error:
            self.fault = Fault(kind, address, size, value, reported=True)
        self._remember(kind, address, size)
        if outcome.error:
            return False
        # The access may have put this very core into reset.
        return self.state is CoreState.RUNNING

    def _end_turn(self) -> None:
        """No turn may pass the new alarm: end it behind this instruction."""
        self.lane.limit = 0
        self.lane.attention = 1

    def _remember(self, kind: AccessKind, address: int, size: int) -> None:
        """Remember an access that the bus has just made or denied, if the same would become of it again."""
        window = self._window_at(address)
        if window is None or size > 4 or address % size:
            return
        block, offset = window.target, window.offset + address - window.address
        if offset % size or address + size > window.end:
            return
        if isinstance(block, MemoryBank) and not self._is_repeated(kind, address, size):
            return
        if self._denied(block.name, offset, size, kind):
            self._remember_denied(kind, address, size)
        elif isinstance(block, MemoryBank):
            return
        elif kind is AccessKind.WRITE:
            write = _writer(block.write, offset, size, self.initiator)
            cell = block.cell_to_write(offset, size) if isinstance(block, RegisterBlock) else None
            self.port.remember_write(address, size, self._known(None, write), cell)
        elif isinstance(block, RegisterBlock):
            read = block.reader(offset, size, self.initiator)
            self.port.remember_read(address, size, self._known(read, None), block.cell_to_read(offset, size))
        else:
            self.port.remember_read(address, size, self._known(partial(block.read, offset, size, self.initiator), None))

    def _is_repeated(self, kind: AccessKind, address: int, size: int) -> bool:
        """Whether it is worth while to remember this access: guest code may walk over all of a memory."""
        times = self._made.get((kind, address, size), 0) + 1
        if times == 1 and len(self._made) == _MOST_COUNTED:
            self._made.clear()
        self._made[kind, address, size] = times
        return times == _REPEATED

    def _remember_denied(self, kind: AccessKind, address: int, size: int) -> None:
        report = self.machine.bus.denial(self.initiator, kind, address, size)
        if report is None:
            return
        fault = Fault(kind, address, size, 0, reported=True) if self.machine.bus.deny is Deny.ABORT else None
        if kind is AccessKind.WRITE:
            self.port.remember_write(address, size, self._known(None, report, fault))
        else:
            self.port.remember_read(address, size, self._known(_reader(report), None, fault))

    def _known(
        self, read: Callable[[], int] | None, write: Callable[[int], None] | None, fault: Fault | None = None
    ) -> Callable[..., int]:
        """What makes an access again that the bus has made once: see `KnownRead` and `KnownWrite`.

        With `fault` the bus answers it with that error.
        """
        timers, lane, next_at = self.machine.timers, self.lane, self.machine.timers.next_at

        def made(value: int = 0) -> int:
            try:
                self.at_work()
                due = next_at()
                if due is not None:
                    timers.run_due(self.time_ps)
                    due = next_at()
                if read is not None:
                    value = read()
                elif write is not None:
                    write(value)
                if next_at() != due:
                    self._end_turn()
                if fault is not None:
                    self.fault = fault
                elif self.state is _RUNNING:
                    if lane.it_left:
                        self.forget_it_state()
                    return value
            except BaseException as error:  # must not cross Unicorn's C frames; the engine raises it again
                self.failure = error
            self._give_up(isolated=write is not None)
            return GIVEN_UP

        return made

    def _denied(self, target: str, offset: int, size: int, kind: AccessKind) -> bool:
        return self.machine.firewall.decide(self.initiator, target, offset, size, kind) is not None

    def _report_foreign(self, address: int, size: int, value: int) -> None:
        """Tell about a write that is allowed, to a bank that is home to another core."""
        windows = [self._window_at(address), self._window_at(address + size - 1)]
        targets = [(w.target, w.offset - w.address) for w in windows if w and isinstance(w.target, MemoryBank)]
        foreign = len(targets) == 2 and self.machine.homes.get(targets[0][0].name) != self.name
        if foreign and not any(
            self._denied(bank.name, at + shift, 1, AccessKind.WRITE)
            for (bank, shift), at in zip(targets, (address, address + size - 1), strict=True)
        ):
            name = targets[0][0].name
            self.machine.log.emit(ForeignWrite(self.initiator.value, address, size, value, name))


def _reader(report: Callable[[int], None]) -> Callable[[], int]:
    def made() -> int:
        report(0)
        return 0

    return made


def _writer(
    write: Callable[[int, int, int, Initiator], None], offset: int, size: int, by: Initiator
) -> Callable[[int], None]:
    def made(value: int) -> None:
        write(offset, size, value, by)

    return made
