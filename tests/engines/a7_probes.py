"""Runs a7_probe_irq.elf, whose entries bring interrupts about, and reads back what its handlers recorded."""

from __future__ import annotations

import functools
import io
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from elftools.elf.elffile import ELFFile
from m4_probes import symbols_of

from cosim import client
from cosim.client import Step
from cosim.events import InterruptTaken
from cosim.resources import firmware_file
from cosim.scripts import loading, start
from cosim.soc import Soc, SocConfig
from cosim.testing import default_signer

#: Identifiers that the handlers add to a record.
NESTING_OVER, AS_FIQ = 0x1000, 0x2000
_RECORD = struct.Struct("<4I")

#: ldr r0, =C2SCR; movs r2, #1; lsls r2, r2, #16; 1: movw r1, #1517; 2: subs r1, r1, #1; bne 2b; str r2, [r0]; b 1b
SENDS_FOR_EVER = bytes.fromhex("04480122120440f2ed510139fdd10260f9e700001810004c")


@dataclass(frozen=True)
class Record:
    """What a handler found: identifier acknowledged, address it returns to, SPSR, CPSR."""

    identifier: int
    returns_to: int
    spsr: int
    cpsr: int


@dataclass(frozen=True)
class Probe:
    """A probe that ran."""

    soc: Soc
    finished: bool
    value: int
    undefined: int
    ticks: tuple[int, ...]
    records: tuple[Record, ...]

    @property
    def identifiers(self) -> list[int]:
        """What was acknowledged, in order."""
        return [record.identifier for record in self.records]

    def at(self, label: str) -> int:
        """The address of the label at_<label>."""
        return symbols()[f"at_{label}"]


@functools.cache
def _elf() -> bytes:
    return firmware_file("a7_probe_irq.elf").read_bytes()


@functools.cache
def symbols() -> dict[str, int]:
    """The symbols of the probe program."""
    return symbols_of(_elf())


def load_probes(soc: Soc) -> None:
    """Put the program into memory, beside the client."""
    soc.load_elf(_elf())


def entry(name: str) -> int:
    """Where the probe `name` begins."""
    return symbols()[f"probe_{name}"]


def read_probe(soc: Soc) -> Probe:
    """What the probe that ran last left in memory."""

    def words(symbol: str, count: int = 1) -> tuple[int, ...]:
        return struct.unpack(f"<{count}I", soc.debug_read(symbols()[symbol], 4 * count))

    taken = words("probe_count")[0]
    raw = soc.debug_read(symbols()["probe_log"], _RECORD.size * taken)
    records = tuple(Record(*fields) for fields in _RECORD.iter_unpack(raw))
    [finished], [value], [undefined] = words("probe_done"), words("probe_value"), words("probe_undefined")
    return Probe(soc, finished == 1, value, undefined, words("probe_ticks", 5), records)


def run_probe(name: str, loop: str = "auto", quantum: int = 1000, budget_ps: int = 10**9) -> Probe:
    """Run one probe on a core that does nothing else."""
    soc = Soc(SocConfig(loop=loop, quantum=quantum))
    load_probes(soc)
    soc.engine.start(soc.a7.name, entry(name))
    soc.run(budget_ps=budget_ps)
    return read_probe(soc)


@functools.cache
def sending_image(program: bytes = SENDS_FOR_EVER) -> bytes:
    """The demo with another main: it sends a message over channel 1 of the IPCC every 14.5 microseconds."""
    elf = firmware_file("demo_m4.elf").read_bytes()
    main = symbols_of(elf)["main"]
    segments = ELFFile(io.BytesIO(elf)).iter_segments("PT_LOAD")
    text = next(s for s in segments if s["p_vaddr"] <= main < s["p_vaddr"] + s["p_filesz"])
    at = text["p_offset"] + main - text["p_vaddr"]
    return default_signer().sign(elf[:at] + program + elf[at + len(program) :])


def run_beside_sender(name: str, loop: str, quantum: int, before: Sequence[Step] = ()) -> Probe:
    """Run one probe while the M4 sends it messages; the client does the steps `before` first."""
    soc = Soc(SocConfig(loop=loop, quantum=quantum))
    load_probes(soc)
    image = sending_image()
    soc.run_script([*loading(soc.stage(image), len(image)), start(), *before, client.call(entry(name))])
    return read_probe(soc)


def irqs(soc: Soc) -> list[tuple[int, int]]:
    """When the A7 took interrupts: virtual time and instructions."""
    taken = (r for r in soc.log if isinstance(r.payload, InterruptTaken) and r.payload.core == soc.a7.name)
    return [(r.stamp.time_ps, r.stamp.instructions) for r in taken]


def jsonl(soc: Soc) -> str:
    """The whole event log."""
    stream = io.StringIO()
    soc.log.write_jsonl(stream)
    return stream.getvalue()
