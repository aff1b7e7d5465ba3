"""What the Cortex-M4 may access: its MPU (ARMv7-M manual, B3.5) over the view of memory, and alignment (A3.2.1)."""

from __future__ import annotations

from collections.abc import Iterable

from unicorn import Uc

from cosim.access import RIGHT_OF, AccessKind, Rights
from cosim.engine import Machine
from cosim.engine.unicorn.loop import Loop
from cosim.engine.unicorn.m4_exceptions import M4Exceptions
from cosim.engine.unicorn.memory_view import PAGE
from cosim.memory import MemoryBank

PPB_BASE, PPB_SIZE = 0xE0000000, 0x100000
#: Where the default memory map has peripherals (B3.1): Device memory, and the private peripheral bus.
_DEVICES = (range(0x40000000, 0x60000000), range(PPB_BASE, PPB_BASE + PPB_SIZE))


class M4Protection(M4Exceptions):
    """A core whose view of memory follows its MPU."""

    def __init__(self, machine: Machine, uc: Uc, loop: Loop, mips: int) -> None:
        super().__init__(machine, uc, loop, mips)
        #: Whether software is privileged, while the MPU decides: now, and when the view of memory was made last.
        self._mpu_view: bool | None = None
        self._mapped_view: bool | None = None
        self._mpu_dirty = self._relax = False
        self._mpu_used = False
        self._executed: set[int] = set()  # pages with mixed rights that had to be made executable

    def relax_view(self) -> None:
        """The core is reset: the MPU is off."""
        self._relax, self._mpu_used = True, self._mpu_used or self.mpu.enabled
        self.mpu_follows()

    def renew_view(self) -> None:
        """The state is another one: make the view anew."""
        self._executed.clear()
        self._mpu_dirty = self._relax = True
        self.mpu_follows()

    def on_mpu_change(self) -> None:
        """A register of the MPU was written."""
        self._mpu_dirty = True
        self._executed.clear()
        self.alert()

    def mpu_follows(self) -> None:
        """See `M4Exceptions.mpu_follows`. While the MPU is off, the view stays as it is until that gets in the way."""
        if not self._mpu_used and not self.mpu.enabled:
            return
        self._mpu_used = True
        applies = self.mpu.enabled and self.mpu.applies(self.scs.nvic.execution_priority(self.registers.masks()))
        self._mpu_view = self.registers.mode().privileged if applies else None
        if applies:
            self.forget_accesses()
        if self._mpu_view is None and not self._relax:
            return
        if self._mpu_view != self._mapped_view or self._mpu_dirty:
            self._mapped_view, self._mpu_dirty = self._mpu_view, False
            self.remap()
        self._relax = False

    def forbids(self, kind: AccessKind, address: int, size: int) -> bool:
        """See `Core.forbids`; the private peripheral bus is not the MPU's business (B3.5.1)."""
        if kind is not AccessKind.FETCH and self.is_misplaced(address, size):
            return True
        if self._mpu_view is None:
            if self._mapped_view is not None and self._is_home(address):
                self._relax = True
                self.alert()
            return False
        if PPB_BASE <= address < PPB_BASE + PPB_SIZE:
            return False
        return not self.mpu.allows(address, size, RIGHT_OF[kind], privileged=self._mpu_view)

    @property
    def checks_alignment(self) -> bool:
        """Whether every access that has to be aligned faults where it is not."""
        return self.machine.alignment or self.scs.traps_unaligned

    def is_misplaced(self, address: int, size: int) -> bool:
        """Whether an access to a peripheral is not aligned, which the architecture leaves unpredictable (A3.2.1)."""
        return address % size != 0 and any(address in place for place in _DEVICES) and self.checks_alignment

    @property
    def asks_always(self) -> bool:
        """See `Accesses.asks_always`: while the MPU decides."""
        return self._mpu_view is not None

    def _is_home(self, address: int) -> bool:
        window = self._window_at(address)
        return window is not None and self.machine.homes.get(window.target.name) == self.name

    def carve(self, bank: MemoryBank, base: int, end: int) -> Iterable[tuple[int, int, Rights]]:
        """See `Core.carve`. Memory that is home to the other core is left to `forbids`: mapping it anew is slow."""
        home = self.machine.homes.get(bank.name) == self.name
        if self._mapped_view is None or not home:
            yield base, end, Rights.ALL if home or not self._mpu_used else Rights.NONE
            return
        done = base
        for first, last, rights in self.mpu.runs(base, end, privileged=self._mapped_view):
            inner, outer = -(-max(first, done) // PAGE) * PAGE, last // PAGE * PAGE if last != end else end
            if inner > done:
                yield from self._mixed(done, inner)
                done = inner
            if outer > done and first <= done:
                yield done, outer, rights
                done = outer
        if done < end:
            yield from self._mixed(done, end)

    def _mixed(self, base: int, end: int) -> Iterable[tuple[int, int, Rights]]:
        """Pages with more than one answer: each access is asked about, until one of them had to be executed."""
        for page in range(base, end, PAGE):
            yield page, page + PAGE, Rights.READ | Rights.FETCH if page in self._executed else Rights.NONE

    def make_executable(self, address: int) -> bool:
        """Let a page be executed from, if mixed rights or an MPU that was on before are why the fetch failed."""
        page = address & ~(PAGE - 1)
        window = self._window_at(address)
        if self._mapped_view is None or window is None or not self._is_home(address) or page in self._executed:
            return False
        offset = window.offset + address - window.address
        if self.machine.firewall.decide(self.initiator, window.target.name, offset, 2, AccessKind.FETCH) is not None:
            return False
        if self._mpu_view is None:
            self._relax = True
            self.mpu_follows()
            return True
        self._executed.add(page)
        self.remap()
        return True
