"""What the Cortex-M4 may access: its MPU (ARMv7-M manual, B3.5) over the view of memory, and alignment (A3.2.1)."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable

from unicorn import UC_MEM_READ_PROT, UC_MEM_WRITE_PROT, Uc

from cosim.access import RIGHT_OF, AccessKind, Rights
from cosim.engine import Machine
from cosim.engine.unicorn.loop import Loop
from cosim.engine.unicorn.m4_exceptions import M4Exceptions
from cosim.engine.unicorn.memory_view import PAGE
from cosim.engine.unicorn.nvic_state import Steady
from cosim.memory import MemoryBank

PPB_BASE, PPB_SIZE = 0xE0000000, 0x100000
#: Where the default memory map has peripherals (B3.1): Device memory, and the private peripheral bus.
_DEVICES = (range(0x40000000, 0x60000000), range(PPB_BASE, PPB_BASE + PPB_SIZE))


#: An access to memory that is mapped, and whose kind the mapping does not grant.
_PROTECTED = (UC_MEM_READ_PROT, UC_MEM_WRITE_PROT)


class _MixedPage:
    """Memory in one page that the MPU allows in part: where it lies, and from where to where it may be accessed."""

    def __init__(self, host: int, runs: Iterable[tuple[int, int, Rights]]) -> None:
        self.host = host
        self.data = memoryview((ctypes.c_ubyte * PAGE).from_address(host)).cast("B")
        runs = tuple(runs)
        self.readable = tuple((first, last) for first, last, rights in runs if Rights.READ in rights)
        self.writable = tuple((first, last) for first, last, rights in runs if Rights.WRITE in rights)


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
        #: By number, the pages with mixed rights that were accessed since the view was made; None: the bus is asked.
        self._mixed_pages: dict[int, _MixedPage | None] = {}

    def relax_view(self) -> None:
        """The core is reset: the MPU is off."""
        self._relax, self._mpu_used = True, self._mpu_used or self.mpu.enabled
        self.mpu_follows()

    def _is_steady(self, steady: Steady) -> None:
        self.scs.nvic.state.steady = steady

    def renew_view(self) -> None:
        """The state is another one: make the view anew."""
        self._executed.clear()
        self._mpu_dirty = self._relax = True
        self.mpu_follows()

    def on_mpu_change(self) -> None:
        """A register of the MPU was written."""
        self._mpu_dirty = True
        self._is_steady(Steady.NEVER)
        self._executed.clear()
        self.alert()

    def mpu_follows(self) -> None:
        """See `M4Exceptions.mpu_follows`. While the MPU is off, the view stays as it is until that gets in the way."""
        self._follow()
        if not self.mpu.enabled:
            self._is_steady(Steady.NEVER if self._mpu_used and self._relax else Steady.ALWAYS)
        else:
            self._is_steady(Steady.PRIVILEGED if self._mpu_view else Steady.NEVER)

    def _follow(self) -> None:
        if not self._mpu_used and not self.mpu.enabled:
            return
        self._mpu_used = True
        applies = self.mpu.enabled and self.mpu.applies(self.scs.nvic.execution_priority(self.registers.masks()))
        before, self._mpu_view = self._mpu_view, self.registers.mode().privileged if applies else None
        if self._mpu_view != before or self._mpu_dirty:
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
                self._is_steady(Steady.NEVER)
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

    def remap(self, target: str | None = None) -> None:
        """See `MemoryView.remap`."""
        self._mixed_pages.clear()
        super().remap(target)

    def _on_invalid_access(self, access: int, address: int, size: int, value: int) -> bool:
        """See `Accesses._on_invalid_access`; memory of mixed rights is accessed here, if it is no special case.

        No translation can be of such a page: Unicorn drops those of what is unmapped, and nothing executes from it.
        """
        if access not in _PROTECTED or self._unaligned[2] or address % size or self.given_up():
            return super()._on_invalid_access(access, address, size, value)
        page = self._mixed_page(address)
        if page is None:
            return super()._on_invalid_access(access, address, size, value)
        write, end, offset = access == UC_MEM_WRITE_PROT, address + size, address % PAGE
        for first, last in page.writable if write else page.readable:
            if first <= address and end <= last:
                break
        else:
            return super()._on_invalid_access(access, address, size, value)
        if write:
            page.data[offset : offset + size] = (value & (1 << 8 * size) - 1).to_bytes(size, "little")
        else:
            cells = self.port.cells
            cells.value, cells.read_at = int.from_bytes(page.data[offset : offset + size], "little"), address
        if self.lane.it_left:
            self.forget_it_state()
        return True

    def host_address(self, address: int, size: int, *, write: bool) -> int | None:
        """See `MemoryView.host_address`; of mixed rights who calls this has asked."""
        found = super().host_address(address, size, write=write)
        if found is not None or address // PAGE != (address + size - 1) // PAGE:
            return found
        page = self._mixed_page(address)
        return None if page is None else page.host + address % PAGE

    def _mixed_page(self, address: int) -> _MixedPage | None:
        """The page of `address`, if its rights are mixed as they are mapped, and the firewall grants all of it."""
        number = address // PAGE
        if self._mpu_view is None or self._mpu_view != self._mapped_view or self._mpu_dirty:
            return None
        if number not in self._mixed_pages:
            self._mixed_pages[number] = self._make_mixed_page(number * PAGE)
        return self._mixed_pages[number]

    def _make_mixed_page(self, base: int) -> _MixedPage | None:
        window = self._window_at(base)
        if window is None or not isinstance(window.target, MemoryBank) or not self._is_home(base):
            return None
        first, privileged = window.offset + base - window.address, bool(self._mpu_view)
        granted = any(
            offset <= first and first + PAGE <= offset + size and Rights.ALL in rights
            for offset, size, rights in self._grants[window.target.name]
        )
        runs = tuple(self.mpu.runs(base, base + PAGE, privileged=privileged))
        if not granted or base + PAGE > window.end or base in self._executed or len(runs) == 1:
            return None
        return _MixedPage(window.target.host_address + first, runs)

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
