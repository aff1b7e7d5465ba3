"""What single things cost: an access by kind and answer, an SMC, a snapshot and its restoring.

Each access is made by a short loop on the A7 with the M4 held; two more instructions of the loop are in the number.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from cosim.access import Deny, Initiator
from cosim.bench.measurement import Finding, Measurement, Sizes, processor_seconds
from cosim.bench.programs import LOOP_BASE, VECTORS, read_loop, smc_loop, vectors, write_loop
from cosim.bench.warm import demo_image
from cosim.boot import boot
from cosim.engine import CoreState, StopReason
from cosim.errors import EngineError
from cosim.scripts import READY_ADDRESS, SRAM1
from cosim.soc import Soc, SocConfig
from ta.profile import FirewallProfile
from ta.smc import FunctionId

_SECTION = "costs"
_OWN_RAM = LOOP_BASE + 0x4000
SECURE_RAM = 0xDE000000
_UART4_ISR, _UART4_RDR = 0x4001001C, 0x40010024
#: Virtual time within which every loop ends: 650,000 instructions of the A7.
_BUDGET_PS = 10**9


@dataclass(frozen=True)
class Case:
    """A loop to time on a fresh SoC; `events` is how many log entries each pass makes."""

    name: str
    loop: Callable[[int], bytes]
    config: SocConfig = field(default_factory=SocConfig)
    events: int = 0


CASES = (
    Case("A7 read of its own RAM", lambda n: read_loop(_OWN_RAM, n)),
    Case("A7 read of a register that is only stored (UART4_ISR)", lambda n: read_loop(_UART4_ISR, n)),
    Case("A7 read of a register that its model works out (UART4_RDR)", lambda n: read_loop(_UART4_RDR, n)),
    Case("A7 write to a block, logged (TAMP_BKP19R)", lambda n: write_loop(READY_ADDRESS, n), events=1),
    Case("A7 read denied, razwi (secure DDR)", lambda n: read_loop(SECURE_RAM, n), events=1),
    Case(
        "A7 read denied, abort taken and returned from",
        lambda n: read_loop(SECURE_RAM, n),
        SocConfig(deny=Deny.ABORT),
        events=2,
    ),
    Case(
        "A7 write to the M4's RAM, allowed (firewall open)",
        lambda n: write_loop(SRAM1, n),
        SocConfig(firewall=FirewallProfile.OPEN),
        events=1,
    ),
    Case("A7 smc #0, fast call (CALLS_UID)", lambda n: smc_loop(FunctionId.CALLS_UID, n), events=2),
)


def measure_costs(sizes: Sizes) -> Iterator[Finding]:
    """Microseconds per access, SMC round trip, snapshot and restoring."""
    for case in CASES:
        best = min(time_loop(case, sizes.accesses) for _ in range(sizes.repeats))
        yield Measurement(
            _SECTION, case.name, best / sizes.accesses * 1e6, "us", f"best of {sizes.repeats}, {sizes.accesses} each"
        )
    yield from _snapshots(sizes)


def time_loop(case: Case, times: int) -> float:
    """Seconds for one loop. Raises `EngineError` when it did not do what the case says."""
    soc = Soc(case.config)
    # The first pass translates the code; neither the events nor the time of it count.
    run_loop(soc, case.loop(1))
    before = len(soc.log)
    taken, _ = processor_seconds(lambda: run_loop(soc, case.loop(times)))
    # The core going to sleep is one event more.
    made = len(soc.log) - before - 1
    if made != case.events * times:
        raise EngineError(f"benchmark {case.name!r} made {made} events, expected {case.events * times}")
    return taken


def run_loop(soc: Soc, code: bytes) -> None:
    """Let the A7 of `soc` run `code` until it sleeps. Raises `EngineError` when it does not come to that."""
    soc.bus.write(Initiator.DEBUG, VECTORS, vectors())
    soc.bus.write(Initiator.DEBUG, LOOP_BASE, code)
    soc.engine.start(soc.a7.name, LOOP_BASE)
    if soc.run(lambda: soc.a7.state is not CoreState.RUNNING, _BUDGET_PS) is StopReason.TIME:
        raise EngineError("a loop of the benchmark does not end", core=soc.a7.name, pc=soc.a7.pc)


def _snapshots(sizes: Sizes) -> Iterator[Finding]:
    soc = boot(demo_image()).soc
    saves, loads = [], []
    for _ in range(max(sizes.repeats, 3)):
        taken, snapshot = processor_seconds(soc.snapshot)
        saves.append(taken)
        loads.append(processor_seconds(lambda state=snapshot: soc.restore(state))[0])  # type: ignore[misc]
    how = f"median of {len(saves)}"
    yield Measurement(_SECTION, "snapshot of a booted SoC", statistics.median(saves) * 1e3, "ms", how)
    yield Measurement(_SECTION, "restoring it", statistics.median(loads) * 1e3, "ms", how)
