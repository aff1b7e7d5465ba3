"""Memory that a core may read but not write, and memory that another core writes while this one executes it.

`NS_R_S_W` leaves the non-secure masters, the M4 among them, the right to read and fetch (RM0436, ETZPC DECPROT).
"""

from __future__ import annotations

import dataclasses
import struct

import pytest
from m4_probes import boot_probe, symbols_of
from presence import Configured

from cosim import client
from cosim.access import Deny
from cosim.client import StepStatus
from cosim.engine import CoreState
from cosim.engine.unicorn.native import library_path
from cosim.events import AccessDenied, ExceptionTaken, ForeignWrite
from cosim.resources import firmware_file
from cosim.scripts import ETZPC_DECPROT5, loading, start, until_ready
from cosim.soc import Soc, SocConfig
from cosim.testing import default_signer
from ta.profile import FirewallProfile, Profile

GO, SRAM1, ALIAS = 0x5C00A154, 0x10000000, 0x20000000
NS_R_S_W = 1
RULE = "ETZPC_DECPROT5.SRAM1=NS_R_S_W"
PATTERN = 0x11111111
A, B, C, D = 0x0BADC0D1, 0x0BADC0D2, 0x0BADC0D3, 0x0BADC0D4
#: Offset in probe_target, size and value of each access of the stores in probe_stores.S; one list per instruction.
STORES = [
    [(0, 4, A)],
    [(5, 1, 0xD1)],
    [(10, 2, 0xC0D1)],
    [(13, 4, A)],
    [(16, 4, A), (20, 4, B)],
    [(24, 4, A), (28, 4, B), (32, 4, C), (36, 4, D)],
    [(40, 4, A)],
    [(44, 4, B)],
    [(56, 4, A), (60, 4, B)],
]
LOOPS = ["python", pytest.param("native", marks=pytest.mark.skipif(library_path() is None, reason="not built"))]

ELF = firmware_file("probe_stores.elf").read_bytes()
SYMBOLS = symbols_of(ELF)
TARGET, PATCH = SYMBOLS["probe_target"], SYMBOLS["probe_patch"]


def words(soc: Soc, symbol: str, count: int) -> list[int]:
    """Words of the M4's memory."""
    return list(struct.unpack(f"<{count}I", soc.bus.debug_read("m4", SYMBOLS[symbol], 4 * count)))


def make_read_only(soc: Soc) -> None:
    """The secure world declares SRAM1 NS_R_S_W and leaves the other memories as they are."""
    view = soc.bus.secure_view()
    decprot = int.from_bytes(view.read(ETZPC_DECPROT5, 4), "little")
    view.write(ETZPC_DECPROT5, struct.pack("<I", decprot & ~3 | NS_R_S_W))
    assert soc.firewall.attribute("sram1") == "NS_R_S_W"


def run_stores(config: SocConfig) -> Soc:
    """Let the M4 store into SRAM1 while that is read-only."""
    soc = boot_probe(ELF, config)
    make_read_only(soc)
    soc.run_script([client.write32(GO, 1), client.spin(30_000)])
    return soc


@pytest.mark.usefixtures("unaligned_whole")
@pytest.mark.parametrize("loop", LOOPS)
def test_m4_stores_into_read_only_memory_are_dropped_and_each_access_is_reported(
    loop: str, configured: Configured
) -> None:
    soc = run_stores(configured(loop=loop))

    denied = [(e.address - TARGET, e.size, e.value) for e in soc.log.of(AccessDenied) if e.initiator == "m4"]
    assert denied == [access for store in STORES for access in store]
    assert {e.rule for e in soc.log.of(AccessDenied) if e.initiator == "m4"} == {RULE}
    assert words(soc, "probe_found", 16) == words(soc, "probe_target", 16) == [PATTERN] * 16
    assert [e for e in soc.log.of(ExceptionTaken) if e.core == "m4"] == []
    assert (soc.m4.state, words(soc, "probe_counter", 1)[0] > 1000) == (CoreState.RUNNING, True)


@pytest.mark.parametrize("loop", LOOPS)
def test_m4_stores_into_read_only_memory_fault_once_each_at_their_first_access(
    loop: str, configured: Configured
) -> None:
    soc = run_stores(configured(deny=Deny.ABORT, loop=loop))

    first = [TARGET + store[0][0] for store in STORES]
    count, *addresses = words(soc, "probe_faults", 16)
    assert (count, addresses[:count]) == (len(first), first)
    assert [e.address for e in soc.log.of(AccessDenied) if e.initiator == "m4"] == first
    assert words(soc, "probe_found", 16) == words(soc, "probe_target", 16) == [PATTERN] * 16
    assert (soc.m4.state, words(soc, "probe_counter", 1)[0] > 1000) == (CoreState.RUNNING, True)


def test_m4_stores_into_its_own_text_happen_while_it_may_write_it(configured: Configured) -> None:
    soc = boot_probe(ELF, configured())
    soc.run_script([client.write32(GO, 1), client.spin(30_000)])

    expected = bytearray(struct.pack("<16I", *[PATTERN] * 16))
    for offset, size, value in (access for store in STORES for access in store):
        expected[offset : offset + size] = value.to_bytes(size, "little")
    assert words(soc, "probe_found", 16) == list(struct.unpack("<16I", expected))
    assert soc.log.of(AccessDenied) == []


@pytest.mark.parametrize("loop", LOOPS)
def test_normal_world_may_read_a_read_only_bank_and_writes_of_many_words_change_nothing(
    loop: str, configured: Configured
) -> None:
    soc = boot_probe(ELF, configured(loop=loop))
    make_read_only(soc)
    source = soc.stage(bytes(range(1, 65)))
    before = soc.debug_read(SRAM1, 0x1000)
    read, written, byte = soc.run_script(
        [client.read32(TARGET), client.copy(TARGET, source, 64), client.copy(TARGET + 1, source, 3)]
    )

    assert (read.status, read.result[0]) == (StepStatus.DONE, PATTERN)
    assert (written.status, byte.status) == (StepStatus.DONE, StepStatus.DONE)
    assert soc.debug_read(SRAM1, 0x1000) == before
    denied = [(e.address - TARGET, e.size) for e in soc.log.of(AccessDenied) if e.initiator == "a7-ns"]
    assert denied == [(4 * n, 4) for n in range(16)] + [(n, 1) for n in (1, 2, 3)]
    assert soc.log.of(ForeignWrite) == []


# -- foreign writes ---------------------------------------------------------------------------------------------------


def open_soc(config: SocConfig) -> Soc:
    """The M4 counts in SRAM1, which the normal world may write."""
    soc = boot_probe(ELF, dataclasses.replace(config, profile=Profile.UPSTREAM, firewall=FirewallProfile.OPEN))
    soc.run_script([client.write32(GO, 1), client.spin(30_000)])
    assert words(soc, "probe_counter", 1)[0] > 1000
    return soc


#: `adds r1, #1; str r1, [r5]` in the loop becomes `movs r1, #77; str r1, [r5]`.
COUNT, STUCK = 0x60293101, 0x6029214D


@pytest.mark.parametrize("alias", [0, ALIAS])
@pytest.mark.parametrize("loop", LOOPS)
def test_m4_executes_what_the_normal_world_writes_into_its_code(loop: str, alias: int, configured: Configured) -> None:
    soc = open_soc(configured(loop=loop))
    place = PATCH + 2
    assert soc.debug_read(place, 4) == struct.pack("<I", COUNT)
    source = soc.stage(struct.pack("<I", STUCK))
    soc.run_script([client.copy(place + alias, source, 4), client.spin(3000)])

    assert words(soc, "probe_counter", 1) == [77]
    bytewise = place % 4 != 0
    events = [(e.initiator, e.address, e.size, e.value, e.target) for e in soc.log.of(ForeignWrite)]
    written = STUCK.to_bytes(4, "little")
    assert events == (
        [("a7-ns", place + alias + n, 1, written[n], "sram1") for n in range(4)]
        if bytewise
        else [("a7-ns", place + alias, 4, STUCK, "sram1")]
    )


def test_code_that_was_put_back_is_executed_again(configured: Configured) -> None:
    soc = open_soc(configured())
    place, original = soc.stage(struct.pack("<I", STUCK)), soc.stage(struct.pack("<I", COUNT), 0x100)
    soc.run_script([client.copy(PATCH + 2, place, 4), client.spin(3000)])
    assert words(soc, "probe_counter", 1) == [77]
    soc.run_script([client.copy(PATCH + 2, original, 4), client.spin(3000)])

    assert words(soc, "probe_counter", 1)[0] > 77


def test_each_word_of_a_store_of_many_words_into_foreign_memory_is_an_event(configured: Configured) -> None:
    soc = open_soc(configured())
    data = bytes(range(64))
    soc.run_script([client.copy(TARGET, soc.stage(data), 64)])

    events = [(e.address - TARGET, e.size, e.value) for e in soc.log.of(ForeignWrite)]
    assert events == [(4 * n, 4, int.from_bytes(data[4 * n : 4 * n + 4], "little")) for n in range(16)]
    assert soc.debug_read(TARGET, 64) == data


def test_normal_world_executes_code_that_it_wrote_into_foreign_memory_itself(configured: Configured) -> None:
    """Twice at the same address: the translation of the first code must not survive the second write."""
    soc = open_soc(configured())
    first, second = (soc.stage(struct.pack("<2I", 0xE3A00000 | n, 0xE12FFF1E), 16 * n) for n in (11, 22))
    place = TARGET  # mov r0, #n; bx lr
    one, two = (soc.run_script([client.copy(place, code, 8), client.call(place)])[1] for code in (first, second))
    [_, three, _, four] = soc.run_script(
        [client.copy(place, first, 8), client.call(place), client.copy(place, second, 8), client.call(place)]
    )

    assert [step.result[0] for step in (one, two, three, four)] == [11, 22, 11, 22]


@pytest.mark.usefixtures("exact_interleaving")
@pytest.mark.parametrize("quantum", [1, 100])
def test_foreign_writes_reach_a_running_m4_at_the_same_instruction_at_any_quantum(
    quantum: int, configured: Configured
) -> None:
    def play(quantum: int) -> tuple[list[tuple[int, int]], int]:
        """When the writes were made, and how far the M4 had counted when it lost the instructions that count."""
        soc = Soc(configured(profile=Profile.UPSTREAM, firewall=FirewallProfile.OPEN, quantum=quantum))
        image = default_signer().sign(ELF)
        code = soc.stage(struct.pack("<I", 0xBF00BF00), len(image) + 4096 & ~3)  # two NOPs: it counts no more
        go = [client.write32(GO, 1), client.spin(3000), client.copy(PATCH + 2, code, 4), client.spin(3000)]
        soc.run_script([*loading(soc.stage(image), len(image)), start(), until_ready(), *go])
        stamps = [(r.stamp.instructions, r.stamp.time_ps) for r in soc.log if isinstance(r.payload, ForeignWrite)]
        return stamps, words(soc, "probe_counter", 1)[0]

    stamps, counted = play(1000)
    assert stamps
    assert counted > 100
    assert play(quantum) == (stamps, counted)
