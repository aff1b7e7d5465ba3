"""The benchmark programs at work: on a SoC through the engine, and on bare Unicorn in turns of a quantum.

Work is counted in rounds of the programs' own counters and turned into instructions by the exact number of retired
instructions per round, so that the engine and bare Unicorn are compared by the same work.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from cosim.bench.bare import BareCore
from cosim.bench.measurement import processor_seconds
from cosim.bench.programs import A7_SPIN, M4_SPIN, Program, read_program
from cosim.engine import CoreState
from cosim.errors import EngineError
from cosim.scripts import loading, start
from cosim.soc import Soc, SocConfig
from cosim.testing import default_signer

A7, M4 = "A7", "M4"
#: Instructions per microsecond of virtual time: PerformanceInMips of the cores in the platform file.
MIPS = {A7: 650, M4: 209}


class ComputingSoc:
    """A SoC on which the cores of `active` compute: the M4 an authenticated image, the A7 a program put there later."""

    def __init__(
        self,
        active: Sequence[str],
        quantum: int = 1000,
        loop: str = "auto",
        engine: str = "unicorn",
        *,
        timing: str = "instructions",
    ) -> None:
        self._soc = soc = Soc(SocConfig(engine=engine, quantum=quantum, loop=loop, timing=timing))
        self._active = active
        if M4 in active:
            image = default_signer().sign(read_program(M4_SPIN).elf)
            soc.run_script([*loading(soc.stage(image), len(image)), start()])
        if A7 in active:
            soc.engine.start(soc.a7.name, soc.load_elf(read_program(A7_SPIN).elf))
        running = {A7: soc.a7.state, M4: soc.m4.state}
        if {name for name, state in running.items() if state is CoreState.RUNNING} != set(active):
            raise EngineError(f"the benchmark wants {' and '.join(active)} to run, and nothing else")

    def retired(self, core: str) -> int:
        """Instructions that `core` has retired."""
        return self._soc.a7.retired if core == A7 else self._soc.m4.retired

    def read(self, core: str, address: int) -> int:
        """The word at `address` as `core` sees it."""
        return int.from_bytes(self._soc.bus.debug_read("a7" if core == A7 else "m4", address, 4), "little")

    def run(self, instructions: int) -> None:
        """Go on for that many instructions of all active cores together; with modelled cycles for as many of those."""
        self._soc.run(None, instructions * 10**6 // sum(MIPS[core] for core in self._active))


class Work:
    """What a round of each program is worth, counted by the engine over `instructions` instructions of both cores."""

    def __init__(self, instructions: int) -> None:
        self.programs: Mapping[str, Program] = {A7: read_program(A7_SPIN), M4: read_program(M4_SPIN)}
        soc = ComputingSoc((A7, M4))
        soc.run(max(instructions // 10, 100_000))
        before = {core: (soc.retired(core), self._rounds(soc, core)) for core in MIPS}
        soc.run(instructions)
        self._per_round = {
            core: (soc.retired(core) - retired) / (self._rounds(soc, core) - rounds)
            for core, (retired, rounds) in before.items()
        }

    def instructions(self, core: str, rounds: int) -> float:
        """How many instructions `rounds` rounds of the program of `core` are."""
        return rounds * self._per_round[core]

    def _rounds(self, soc: ComputingSoc, core: str) -> int:
        return soc.read(core, self.programs[core].counter)


def engine_rate(
    active: Sequence[str],
    quantum: int,
    loop: str,
    instructions: int,
    engine: str = "unicorn",
    *,
    timing: str = "instructions",
) -> Callable[[], float]:
    """A run of the engine that can be repeated; each returns million instructions per second of all active cores."""
    soc = ComputingSoc(active, quantum, loop, engine, timing=timing)
    soc.run(instructions // 10)

    def run() -> float:
        before = sum(soc.retired(core) for core in active)
        taken, _ = processor_seconds(lambda: soc.run(instructions))
        return (sum(soc.retired(core) for core in active) - before) / taken / 1e6

    return run


def bare_rate(work: Work, active: Sequence[str], quantum: int | None, instructions: int) -> Callable[[], float]:
    """A run of bare Unicorn, likewise: in turns of a quantum in M4 instructions, or without turns (None)."""
    cores = {core: BareCore(work.programs[core], thumb=core == M4) for core in active}
    turn = {core: (quantum * MIPS[core] // MIPS[M4] if quantum else instructions) for core in active}

    def go(wanted: int) -> None:
        for _ in range(max(wanted // sum(turn.values()), 1)):
            for core, bare in cores.items():
                bare.run(turn[core])

    def run() -> float:
        before = {core: bare.rounds for core, bare in cores.items()}
        taken, _ = processor_seconds(lambda: go(instructions))
        done = sum(work.instructions(core, bare.rounds - before[core]) for core, bare in cores.items())
        return done / taken / 1e6

    go(instructions // 10)
    return run
