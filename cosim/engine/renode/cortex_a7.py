"""The Cortex-A7 in Renode: SMC at the sites found in its code, and external aborts.

Renode's ARMv7-A has no security extensions: `smc` does nothing in A32 and is undefined in T32. A hook before each site
asks the secure monitor and steps over the instruction.
"""

from __future__ import annotations

from collections.abc import Callable

from cosim.access import AccessKind
from cosim.engine import CoreState, Machine
from cosim.engine.renode.core import UNDEFINED, Core, Fault, Guard
from cosim.engine.renode.host import Net
from cosim.engine.renode.routes import Viewer
from cosim.engine.renode.smc_sites import SIZE, condition_holds, find_sites, is_smc
from cosim.errors import BusFault
from cosim.events import ExceptionTaken

CPSR_T, CPSR_IT = 1 << 5, 0x0600FC00
MODE_MASK, MODE_USER = 0x1F, 0x10
SVC_MASKED = 0x1D3  # Supervisor mode, A, I and F masked, ARM state

# Renode's numbers of exceptions (tlib's EXCP_*)
SUPERVISOR_CALL, PREFETCH_ABORT, DATA_ABORT = 2, 3, 4
_NAMES = {
    UNDEFINED: "undefined-instruction",
    SUPERVISOR_CALL: "supervisor-call",
    PREFETCH_ABORT: "prefetch-abort",
    DATA_ABORT: "data-abort",
}
SYNCHRONOUS_EXTERNAL_ABORT = 0x1008
WRITE_NOT_READ = 1 << 11

#: Exceptions without an instruction between them after which the core is taken to hang, as on the embedded engine.
MOST_ENTRIES = 8
#: Sites in one piece of loaded memory beyond which it is taken for data: a hostile image must not cost a hook per word.
MOST_SITES = 256


class CortexA7(Core):
    """One Cortex-A7 core; starts in Supervisor mode, ARM state, MMU off."""

    kept = (*Core.kept, "_entries")

    def __init__(self, machine: Machine, cpu: Net, viewer: Viewer, guard: Guard, serve_smc: Callable[[], None]) -> None:
        super().__init__(machine, cpu, viewer, guard)
        self._serve_smc = serve_smc
        self._sites: dict[int, Net] = {}
        self._entries: tuple[int, ...] = ()

    def start(self, entry: int) -> None:
        """Begin at `entry`, as the boot chain hands over to the normal world."""
        if self.state is CoreState.SLEEPING:
            self.reset()  # nothing else ends Renode's WFI
        self.cpu.IsHalted = True
        self.write_register("cpsr", SVC_MASKED)
        self.write_register("pc", entry)
        self.state = CoreState.RUNNING

    # -- secure monitor calls ----------------------------------------------------------------------------------

    def watch_code(self, code: bytes, address: int) -> None:
        """Hook every SMC in `code`, which was just written to `address`."""
        from Antmicro.Renode.Peripherals.CPU import CpuAddressHook

        sites = [site for site in find_sites(code, address) if site not in self._sites]
        for site in sites[:MOST_SITES]:
            self._sites[site] = hook = CpuAddressHook(self._on_site)
            self.cpu.AddHook(site, hook)

    def _on_site(self, _cpu: Net, address: int) -> None:
        self._guard(self, lambda: self._at_site(int(address)))

    def _at_site(self, site: int) -> None:
        cpsr = self.read_register("cpsr")
        thumb = bool(cpsr & CPSR_T)
        try:
            word = self.machine.bus.debug_read("a7", site, SIZE)
        except BusFault:
            return
        if not is_smc(word, thumb=thumb) or cpsr & MODE_MASK == MODE_USER:
            return
        state = (cpsr >> 8 & 0xFC) | (cpsr >> 25 & 3)
        condition = (state >> 4 if state else 14) if thumb else word[3] >> 4
        if condition_holds(condition, cpsr):
            self._serve_smc()
        # An SMC in an IT block is its last instruction, so the block ends here (A8.8.162).
        self.write_register("cpsr", self.read_register("cpsr") & ~(CPSR_IT if thumb else 0))
        self.write_register("pc", site + SIZE | int(thumb))

    def smc_arguments(self) -> tuple[int, ...]:
        """r0 to r7."""
        return tuple(self.read_register(f"r{n}") for n in range(8))

    def smc_results(self, results: tuple[int, int, int, int]) -> None:
        """Put the secure monitor's answer into r0 to r3; r4 to r12 stay as they are (OP-TEE's ARMv7 monitor)."""
        for number, value in enumerate(results):
            self.write_register(f"r{number}", value)

    # -- aborts ------------------------------------------------------------------------------------------------

    def raise_fault(self, fault: Fault) -> None:
        """See `Core.raise_fault`: an external abort of a data access or an instruction fetch."""
        prefix = "I" if fault.kind is AccessKind.FETCH else "D"
        self.cpu.SetSystemRegisterValue(f"{prefix}FSR", _status(fault))
        self.cpu.SetSystemRegisterValue(f"{prefix}FAR", fault.address)
        self.cpu.RaiseException(PREFETCH_ABORT if fault.kind is AccessKind.FETCH else DATA_ABORT)

    def charge(self, number: int, fault: Fault | None) -> None:
        """See `Core.charge`: the time of this core follows its instructions."""

    def enter(self, number: int, fault: Fault | None) -> None:
        """See `Core.enter`."""
        name = _NAMES.get(number)
        if name is None:
            return  # an interrupt
        if not self._makes_progress():
            self.lock_up(f"endless {name} at 0x{self.pc:08x}")
            return
        if fault is None:
            self.machine.log.emit(ExceptionTaken(self.name, name, 0, 0))
            return
        self.report(fault, thumb=bool(self.read_register("cpsr") & CPSR_T))
        self.machine.log.emit(ExceptionTaken(self.name, name, _status(fault), fault.address))

    def _makes_progress(self) -> bool:
        """Whether an instruction retired since one of the last few exceptions; vectors may raise them for ever."""
        self._entries = (*self._entries[1 - MOST_ENTRIES :], self.retired)
        return len(self._entries) < MOST_ENTRIES or self._entries[0] != self.retired


def _status(fault: Fault) -> int:
    return SYNCHRONOUS_EXTERNAL_ABORT | (WRITE_NOT_READ if fault.kind is AccessKind.WRITE else 0)
