"""The Cortex-M4 in Renode: release and hold, BusFaults, and the fault registers that Renode's NVIC does not have.

Renode delivers a denied access as MemManage; here it becomes the BusFault that the bus's error response is on silicon,
by pending the exception at the NVIC. BFAR and HFSR are kept here and shown in the place of the NVIC's. The debug
components, which Renode has in no such machine, are those of the embedded engine.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from cosim.access import AccessKind
from cosim.engine import CoreState, Machine
from cosim.engine.debug_blocks import DebugBlocks
from cosim.engine.renode import adapter
from cosim.engine.renode.charging import ChargerState, M4Charger
from cosim.engine.renode.core import PICOSECONDS, Core, Fault, Guard
from cosim.engine.renode.host import Net
from cosim.engine.renode.routes import DEBUG_BLOCK_SIZE, DEBUG_BLOCKS, Viewer, execute_never
from cosim.events import CyclesUnknown, ExceptionTaken, FirstInstruction
from cosim.memory import MemoryBank

NMI, HARD_FAULT, MEM_MANAGE, BUS_FAULT = 2, 3, 4, 5
FAULT_NAMES = {HARD_FAULT: "HardFault", MEM_MANAGE: "MemManage", BUS_FAULT: "BusFault"}
IACCVIOL, IBUSERR, PRECISERR, BFARVALID = 1 << 0, 1 << 8, 1 << 9, 1 << 15
HFSR_FORCED = 1 << 30
#: SHCSR's enables: MEMFAULTENA, BUSFAULTENA.
ENABLES = {MEM_MANAGE: 1 << 16, BUS_FAULT: 1 << 17}
M4_R0P1 = 0x410FC241  # Renode's NVIC says r0p0
SYST_CSR, CPUID, AIRCR, SHCSR, HFSR, BFAR, DEMCR = 0x10, 0xD00, 0xD0C, 0xD24, 0xD2C, 0xD38, 0xDFC
TRCENA = 1 << 24
SYST_ENABLE, SYST_TICKINT = 1 << 0, 1 << 1
AIRCR_KEY, SYSRESETREQ = 0x05FA, 1 << 2
PPB_BASE, PPB_SIZE = 0xE0000000, 0x100000
IPSR = 0x1FF

#: What `DebugBlocks.save` returns.
DebugState = tuple[tuple[tuple[int, int], ...], int]

# Renode's numbers of exceptions (tlib's EXCP_*); 5 is any exception that the NVIC has pending
_NAMES = {1: "UsageFault", 2: "SVCall", 3: "MemManage", 4: "MemManage"}
_SVC, _PENDING = 2, 5


class _DebugPort:
    """One of the debug components on the bus of the core; see `adapter.Served`."""

    def __init__(self, core: CortexM4, base: int) -> None:
        self._core, self._base = core, base

    def read(self, offset: int, size: int) -> int:
        return self._core.debug.read(self._base + offset, size)

    def write(self, offset: int, _size: int, value: int) -> None:
        self._core.debug.write(self._base + offset, value)


class CortexM4(Core):
    """One Cortex-M4F core; held until released."""

    kept = (*Core.kept, "_bfar", "_hfsr", "_syst_csr", "_demcr", "_raised")

    def __init__(self, machine: Machine, cpu: Net, viewer: Viewer, guard: Guard, *, nvic: Net, bus: Net) -> None:
        super().__init__(machine, cpu, viewer, guard)
        self._nvic = nvic
        self._bfar = self._hfsr = self._syst_csr = self._demcr = 0
        self._code = [
            (window.address, window, window.target)
            for window in machine.bus.windows
            if viewer.sees(window) and isinstance(window.target, MemoryBank)
        ]
        self._charger = (
            M4Charger(self, self._read_code, self._fail, self._tell_unknown) if machine.timing == "cycles" else None
        )
        self.debug = DebugBlocks(lambda: self.clock, lambda: bool(self._demcr & TRCENA))
        for base in DEBUG_BLOCKS:
            adapter.register(bus, cpu, base, DEBUG_BLOCK_SIZE, _DebugPort(self, base))
        self._raised = 0
        self._entry: int | None = None
        self._entry_hook: Net = None  # the CLR's delegate does not keep it alive
        self._nvic_hooks = self._watch_nvic(bus)

    def vectors(self) -> tuple[int, int] | None:
        """MSP and entry as the core would fetch them at reset; None when the bus answers with an error."""
        found = []
        for address in (0, 4):
            outcome = self.machine.bus.transact(self.initiator, AccessKind.READ, address, 4)
            if outcome.error:
                return None
            found.append(outcome.value)
        return found[0], found[1]

    def release(self, vectors: tuple[int, int]) -> None:
        """Leave reset; runs from the next quantum on."""
        self.cpu.VectorTableOffset = 0  # otherwise Renode guesses it from what was loaded
        self.write_register("sp", vectors[0] & ~3)
        self.write_register("pc", vectors[1])

    def watch_entry(self, entry: int | None) -> None:
        """Report the first instruction after a release; None: it was already, or there is none."""
        from Antmicro.Renode.Peripherals.CPU import CpuAddressHook

        if self._entry is not None:
            self.cpu.RemoveHooksAt(self._entry)
        self._entry = entry
        if entry is not None:
            self._entry_hook = CpuAddressHook(lambda _cpu, _address: self._reached(entry))
            self.cpu.AddHook(entry, self._entry_hook)

    def _reached(self, entry: int) -> None:
        # A hook costs time at each hit, and the entry may lie in a loop.
        self.cpu.RemoveHooksAt(entry)
        self._entry = None
        self._guard(self, lambda: self.machine.log.emit(FirstInstruction(self.name, entry)))

    def save(self) -> Mapping[str, object]:
        """See `Core.save`."""
        charger = None if self._charger is None else self._charger.save()
        return {**super().save(), "entry": self._entry, "debug": self.debug.save(), "charger": charger}

    def load(self, saved: Mapping[str, object]) -> None:
        """See `Core.load`."""
        super().load({name: saved[name] for name in self.kept})
        self.debug.load(cast("DebugState", saved["debug"]))
        if self._charger is not None:
            self._charger.load(cast("ChargerState", saved["charger"]))
        entry = saved["entry"]
        self.watch_entry(entry if isinstance(entry, int) else None)

    def reset(self) -> None:
        """See `Core.reset`; the NVIC is part of the core."""
        if self._charger is not None:
            self._charger.reset()
        super().reset()
        self._nvic.Reset()
        self._bfar = self._hfsr = self._syst_csr = self._demcr = 0
        self.debug.reset()
        for line in self.machine.interrupts.nvic.high():
            self.drive_line(line, True)

    # -- cycles --------------------------------------------------------------------------------------------------

    @property
    def cycles(self) -> int | None:
        """See `Core.cycles`."""
        return None if self._charger is None else self._charger.cycles

    @property
    def lag_ps(self) -> int:
        """See `Core.lag_ps`."""
        return 0 if self._charger is None else -(-self._charger.debt * PICOSECONDS // self.mips)

    def charge(self, number: int, fault: Fault | None) -> None:
        """See `Core.charge`."""
        if self._charger is None:
            return
        if number == _SVC:
            self._charger.retire()
        elif number != _PENDING or (fault is not None and fault.kind is not AccessKind.FETCH):
            self._charger.abandon()
        if number == _PENDING:
            self._charger.enter()

    def _sleep(self, asleep: bool) -> None:
        if asleep and self._charger is not None:
            self._charger.sleep()
        super()._sleep(asleep)

    def _read_code(self, address: int, size: int) -> bytes:
        """Up to `size` bytes of code, fewer where the memory that it lies in ends."""
        for base, window, bank in self._code:
            offset = address - base
            if 0 <= offset < window.size:
                return bank.read(window.offset + offset, min(size, window.size - offset))
        return b""

    def _fail(self, error: BaseException) -> None:
        """End the run with what went wrong in a hook."""

        def raise_again() -> None:
            raise error

        self._guard(self, raise_again)

    def _tell_unknown(self, address: int) -> None:
        code = int.from_bytes(self._read_code(address, 4), "little")
        self._guard(self, lambda: self.machine.log.emit(CyclesUnknown(self.name, address, code)))

    # -- interrupts ----------------------------------------------------------------------------------------------

    def drive_line(self, line: int, level: bool) -> None:
        """Carry the level of an interrupt line to the NVIC."""
        self._nvic.OnGPIO(line, level)
        if level and not self._syst_csr & SYST_ENABLE:
            # Renode takes an interrupt for the end of a deep sleep, and starts a SysTick that software never started.
            # Its register only acts when the bit changes.
            self._nvic.WriteDoubleWord(SYST_CSR, self._syst_csr | SYST_ENABLE)
            self._nvic.WriteDoubleWord(SYST_CSR, self._syst_csr)

    @property
    def wakes_itself(self) -> bool:
        """See `Core.wakes_itself`: SysTick counts and interrupts."""
        counts = self._syst_csr & (SYST_ENABLE | SYST_TICKINT) == SYST_ENABLE | SYST_TICKINT
        return self.state is CoreState.SLEEPING and counts

    # -- faults ------------------------------------------------------------------------------------------------

    def raise_fault(self, fault: Fault) -> None:
        """See `Core.raise_fault`: which exception is taken follows ARMv7-M, B1.5.12, as far as Renode knows it."""
        number = cause = self._record(fault)
        active = int(self.cpu.XProgramStatusRegister) & IPSR
        if not int(self._nvic.ReadDoubleWord(SHCSR)) & ENABLES[number] or active == number:
            number = HARD_FAULT
            self._hfsr |= HFSR_FORCED
        self._raised = number
        if active in (NMI, HARD_FAULT):
            self._report(fault)
            self.lock_up(f"lockup: {FAULT_NAMES[cause]} at priority -1 or above")
            return
        self._nvic.SetPendingIRQ(number)
        self.cpu.RaiseException(_PENDING)

    def _record(self, fault: Fault) -> int:
        """Set the fault's status; returns its exception."""
        if _never_executes(fault):
            self.cpu.FaultStatus |= IACCVIOL
            return MEM_MANAGE
        if fault.kind is AccessKind.FETCH:
            self.cpu.FaultStatus |= IBUSERR
        else:
            self.cpu.FaultStatus |= PRECISERR | BFARVALID
            self._bfar = fault.address
        return BUS_FAULT

    def enter(self, number: int, fault: Fault | None) -> None:
        """See `Core.enter`."""
        if fault is not None:
            self._report(fault)
            status, address = int(self.cpu.FaultStatus), 0 if fault.kind is AccessKind.FETCH else fault.address
            self.machine.log.emit(ExceptionTaken(self.name, FAULT_NAMES[self._raised], status, address))
        elif number in _NAMES:
            self.machine.log.emit(ExceptionTaken(self.name, _NAMES[number], int(self.cpu.FaultStatus), 0))

    def _report(self, fault: Fault) -> None:
        """Neither the core's own registers nor a fetch that the core refuses by itself is an access on the bus."""
        if not _never_executes(fault) and not PPB_BASE <= fault.address < PPB_BASE + PPB_SIZE:
            self.report(fault, thumb=True)

    # -- registers of the system control space -----------------------------------------------------------------------

    def _watch_nvic(self, bus: Net) -> tuple[Net, ...]:
        from System import Func, Int64, UInt32

        read = Func[UInt32, Int64, UInt32](self._after_read)
        write = Func[UInt32, Int64, UInt32](self._before_write)
        bus.SetHookAfterPeripheralRead[UInt32](self._nvic, read)
        bus.SetHookBeforePeripheralWrite[UInt32](self._nvic, write)
        return read, write

    def _after_read(self, value: int, offset: int) -> int:
        kept = {CPUID: M4_R0P1, BFAR: self._bfar, HFSR: self._hfsr, DEMCR: self._demcr}
        return kept.get(int(offset), int(value))

    def _before_write(self, value: int, offset: int) -> int:
        value, offset = int(value), int(offset)
        if offset == SYST_CSR:
            self._syst_csr = value
        elif offset == HFSR:
            self._hfsr &= ~value
        elif offset == DEMCR:
            resume = self.debug.hold()
            self._demcr = value
            resume()
        elif offset == AIRCR and value >> 16 == AIRCR_KEY and value & SYSRESETREQ:
            # Renode would reset the whole machine; the reset controller decides.
            self._guard(self, lambda: self.machine.reset_request(self.name))
            value &= ~SYSRESETREQ
        return value


def _never_executes(fault: Fault) -> bool:
    return fault.kind is AccessKind.FETCH and execute_never(fault.address)
