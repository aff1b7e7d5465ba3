"""A debugger stops cores exactly where it asked for, and what the machine does is the same with and without it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import cache

import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from cosim.boot import attempt
from cosim.engine import DebugCore, Watch, debuggable
from cosim.engine.unicorn.native import library_path
from cosim.errors import EngineError
from cosim.events import EventLog
from cosim.resources import firmware_file
from cosim.soc import Soc, SocConfig
from cosim.testing import default_signer

LOOPS = ["python", pytest.param("native", marks=pytest.mark.skipif(library_path() is None, reason="not built"))]
Seen = list[tuple[int, int]]


class Recorder:
    """Notes (PC, retired instructions) at each stop, and calls `act`."""

    def __init__(self, act: Callable[[DebugCore], None] = lambda _core: None) -> None:
        self.seen: Seen = []
        self._act = act

    def stopped(self, core: DebugCore) -> None:
        self.seen.append((core.pc, core.retired))
        self._act(core)

    def look(self) -> None:
        pass


def lines(log: EventLog) -> list[str]:
    return [record.as_json() for record in log]


@cache
def untouched(name: str, config: SocConfig) -> list[str]:
    soc = Soc(config)
    attempt(soc, default_signer().sign(firmware_file(name).read_bytes()))
    return lines(soc.log)


def stops(
    name: str,
    config: SocConfig,
    addresses: Collection[int] = (),
    *,
    every: bool = False,
    core: str = "m4",
    act: Callable[[DebugCore], None] = lambda _core: None,
) -> tuple[Seen, list[str]]:
    soc, recorder = Soc(config), Recorder(act)
    engine = debuggable(soc.engine)
    engine.attach(recorder)
    engine.debug_core(core).stop_at(addresses, every=every)
    attempt(soc, default_signer().sign(firmware_file(name).read_bytes()))
    return recorder.seen, lines(soc.log)


def address_of(name: str, symbol: str) -> int:
    with firmware_file(name).open("rb") as stream:
        table = ELFFile(stream).get_section_by_name(".symtab")
        assert isinstance(table, SymbolTableSection)
        (found,) = table.get_symbol_by_name(symbol)
        return int(found["st_value"]) & ~1


@pytest.mark.parametrize("timing", ["instructions", "cycles"])
@pytest.mark.parametrize("quantum", [1, 1000])
@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("name", ["probe_it.elf", "probe_faults.elf", "nvic_cases.elf"])
def test_stopping_at_every_instruction_changes_nothing(name: str, loop: str, quantum: int, timing: str) -> None:
    if loop == "python" and (name, quantum, timing) != ("probe_it.elf", 1000, "instructions"):
        pytest.skip("takes minutes on the Python loop")
    config = SocConfig(loop=loop, quantum=quantum, timing=timing)
    seen, log = stops(name, config, every=True)
    assert log == untouched(name, config)
    counts = [retired for _, retired in seen]
    assert counts[0] == 0
    assert counts == sorted(counts)
    # An instruction that an IT block skips retires without being announced; one that faults is announced and does not.
    assert 0.8 * (counts[-1] + 1) < len(set(counts)) <= counts[-1] + 1


@pytest.mark.parametrize("loop", LOOPS)
def test_every_execution_of_an_instruction_is_one_stop(loop: str) -> None:
    config = SocConfig(loop=loop)
    everything, _ = stops("probe_it.elf", config, every=True)
    executed = sorted({address for address, _ in everything})
    some = executed[::3]
    seen, log = stops("probe_it.elf", config, some)
    assert seen == [at for at in everything if at[0] in set(some)]
    assert log == untouched("probe_it.elf", config)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("quantum", [1, 1000])
def test_members_of_it_blocks_and_instructions_that_the_engine_serves_itself_stop_too(loop: str, quantum: int) -> None:
    start = address_of("nvic_cases.elf", "nvic_unmask_in_block")
    end = address_of("nvic_cases.elf", "nvic_unmask_in_block_at")
    cps = address_of("nvic_cases.elf", "nvic_unmask_cps_at") - 2
    seen, log = stops("nvic_cases.elf", SocConfig(loop=loop, quantum=quantum), [*range(start, end, 2), cps])
    addresses = [address for address, _ in seen]
    # CPSID, STR, DSB, MOVS, CMP, ITT, MSREQ; the member behind the MSR is executed with it, see docs/gdb.md.
    block = [start + offset for offset in (0, 2, 4, 8, 10, 12, 14)]
    assert [a for a in addresses if a != cps][: len(block)] == block
    assert cps in addresses
    assert log == untouched("nvic_cases.elf", SocConfig(loop=loop, quantum=quantum))


def test_the_application_core_stops_before_its_smc_and_nothing_else_changes() -> None:
    entry = address_of("a7_client.elf", "message_call")
    seen, log = stops("demo_m4.elf", SocConfig(), [entry], core="a7")
    assert [address for address, _ in seen] == [entry] * len(seen)
    # Open, two LOADs of a registered buffer each with two GET_RSC_TABLEs, START, STOP, RELEASE, close.
    assert len(seen) == 9 + 4
    assert log == untouched("demo_m4.elf", SocConfig())


def test_a_core_that_was_stopped_can_be_stopped_elsewhere_or_nowhere() -> None:
    entry = address_of("demo_m4.elf", "main")

    def go_on(core: DebugCore) -> None:
        core.stop_at((), every=False)

    seen, log = stops("demo_m4.elf", SocConfig(), [entry], act=go_on)
    assert [address for address, _ in seen] == [entry]
    assert log == untouched("demo_m4.elf", SocConfig())


@pytest.mark.parametrize(("reads", "writes", "count"), [(True, False, 1), (False, True, 2), (True, True, 3)])
def test_accesses_that_are_watched_stop_the_core_behind_the_instruction(reads: bool, writes: bool, count: int) -> None:
    # LDR, ADDS, STR, in a loop: cosim_counter is read and written once per round.
    counter = address_of("demo_m4.elf", "cosim_counter")
    watch = Watch(counter, 4, reads=reads, writes=writes)
    values: list[int] = []

    def note(core: DebugCore) -> None:
        if core.watched is None:
            core.stop_at((), {watch})
            return
        assert core.watched == watch
        values.append(int.from_bytes(core.debug_read(counter, 4), "little"))
        if len(values) == 3:
            core.stop_at(())

    _, log = stops("demo_m4.elf", SocConfig(), every=True, act=note)
    expected = {1: [0, 1, 2], 2: [0, 1, 2], 3: [0, 0, 1]}[count]
    assert values == expected
    assert log == untouched("demo_m4.elf", SocConfig())


def test_only_plain_memory_can_be_watched() -> None:
    core = debuggable(Soc().engine).debug_core("m4")
    with pytest.raises(EngineError, match="no plain memory"):
        core.stop_at((), {Watch(0x40004400, 4, reads=True, writes=True)})


def test_registers_and_memory_that_a_debugger_changes_are_what_the_core_goes_on_with() -> None:
    entry = address_of("demo_m4.elf", "main")
    code = firmware_file("demo_m4.elf")
    moved: list[int] = []

    def jump(core: DebugCore) -> None:
        if core.pc == entry:
            core.debug_write(0x10030000, bytes.fromhex("0120FEE7"))  # MOVS r0, #1; B .
            core.write_register("r0", 0xABCD)
            assert core.read_register("r0") == 0xABCD
            core.write_register("pc", 0x10030001)
            core.stop_at([0x10030002])
        else:
            moved.append(core.read_register("r0"))
            core.stop_at(())

    soc, recorder = Soc(SocConfig(most_time_ps=10**9)), Recorder(jump)
    engine = debuggable(soc.engine)
    engine.attach(recorder)
    engine.debug_core("m4").stop_at([entry])
    report = attempt(soc, default_signer().sign(code.read_bytes()))
    assert moved == [1]
    assert not report.ready


def test_an_engine_that_lets_no_debugger_in_says_so() -> None:
    class Other:
        name = "other"

    with pytest.raises(EngineError, match="the engine other lets no debugger in"):
        debuggable(Other())  # type: ignore[arg-type]


def test_private_peripherals_are_read_without_side_effects() -> None:
    found: list[tuple[int, ...]] = []

    def look(core: DebugCore) -> None:
        words = [int.from_bytes(core.debug_read(at, 4), "little") for at in (0xE000ED00, 0xE000E010, 0xE000E010)]
        found.append(tuple(words))

    entry = address_of("kernel_m4.elf", "tick")
    config = SocConfig(most_time_ps=3 * 10**9)
    _, log = stops("kernel_m4.elf", config, [entry], act=look)
    assert log == untouched("kernel_m4.elf", config)
    # CPUID; COUNTFLAG is set in the handler, and stays so for the firmware.
    assert found
    assert {(cpuid, first, second) for cpuid, first, second in found} == {(0x410FC241, 0x10007, 0x10007)}


def writers(shift: int, loop: str) -> tuple[set[int], list[str]]:
    """Where the M4 stops for writes of the byte `shift` behind the counter's start, at most 100 times; the log."""
    watch = Watch(address_of("demo_m4.elf", "cosim_counter") + shift, 1, reads=False, writes=True)
    stopped: list[int] = []

    def note(core: DebugCore) -> None:
        if core.watched is not None:
            stopped.append(core.pc)
        core.stop_at((), {watch} if len(stopped) < 100 else ())

    _, log = stops("demo_m4.elf", SocConfig(loop=loop), [address_of("demo_m4.elf", "main")], act=note)
    return set(stopped), log


@pytest.mark.parametrize("loop", LOOPS)
def test_only_accesses_that_touch_what_is_watched_stop_the_core(loop: str) -> None:
    exact, _ = writers(0, loop)
    assert exact
    for shift, touches in ((-1, False), (1, True), (3, True), (4, False)):
        seen, log = writers(shift, loop)
        assert bool(exact & seen) == touches
        assert log == untouched("demo_m4.elf", SocConfig(loop=loop))
