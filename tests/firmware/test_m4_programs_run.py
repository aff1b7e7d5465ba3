"""The M4 programs do on the simulated SoC what they promise: signed, authenticated, started, and then observed."""

from __future__ import annotations

import struct
import zlib

import pytest
from firmware_files import PREBUILT, read_program

from cosim.access import Deny
from cosim.boot import BootReport, boot
from cosim.events import (
    AccessDenied,
    BusErrorRaised,
    ConsoleLine,
    ExceptionTaken,
    RegisterWritten,
    UnmodelledRegister,
)
from cosim.scripts import READY_ADDRESS
from cosim.soc import SocConfig
from cosim.testing import default_signer
from ta.profile import Profile

#: ARMv7-M UDF #254, an undefined instruction for good.
UDF = struct.pack("<H", 0xDEFE)
STATE_CRASH = 5


def run(elf: bytes, deny: Deny = Deny.RAZWI) -> BootReport:
    return boot(default_signer().sign(elf), SocConfig(profile=Profile.UPSTREAM, deny=deny))


def elf_of(name: str) -> bytes:
    return (PREBUILT / f"{name}.elf").read_bytes()


def lines(report: BootReport, source: str = "usart3") -> list[str]:
    return [e.text for e in report.soc.log.of(ConsoleLine) if e.source == source]


@pytest.mark.parametrize(
    ("name", "version", "table"),
    [
        ("demo_m4", "1.0.0", "resource table at 0x10048000"),
        ("demo_m4_retram", "1.0.0", "resource table at 0x00000400"),
        ("demo_m4_lma", "1.0.0", "resource table at 0x10020008"),
        ("demo_m4_notable", "1.0.0", "no resource table"),
        ("demo_m4_v2", "2.0.0", "resource table at 0x10048000"),
    ],
)
def test_a_demo_checks_itself_and_reports_the_crc_of_the_text_in_its_file(name: str, version: str, table: str) -> None:
    text = read_program(name).sections[".text"]
    report = run(elf_of(name))
    assert report.ready
    assert lines(report) == [
        f"m4: remoteproc-cosim demo {version} on CPUID 0x410fc241",
        "m4: data and bss ok",
        "m4: FPU square root of 2 = 0x3fb504f3 ok",
        f"m4: text at 0x10000000 size 0x{text.size:08x} CRC-32 0x{zlib.crc32(text.data):08x}",
        f"m4: {table}",
        "m4: ready",
    ]


@pytest.mark.parametrize("name", ["demo_m4", "demo_m4_retram"])
def test_the_trace_buffer_repeats_the_console_and_then_counts(name: str) -> None:
    report = run(elf_of(name))
    console, trace = lines(report), lines(report, "trace:m4_trace")
    assert trace[: len(console)] == console
    assert trace[len(console) :] == [f"m4: count 0x{4096 * (n + 1):08x}" for n in range(len(trace) - len(console))]
    assert len(trace) > len(console)


def test_the_ddr_demo_sees_zeros_and_a_refused_fetch_where_denial_is_silent() -> None:
    report = run(elf_of("demo_m4_ddr"), Deny.RAZWI)
    assert [line for line in lines(report) if "DDR" in line] == [
        "m4: secure DDR write at 0xde000000: no fault",
        "m4: secure DDR read at 0xde000000: no fault, value 0x00000000",
        "m4: secure DDR fetch at 0xde000000: fault, CFSR 0x00000001 PC 0xde000000",
    ]
    assert report.ready


def test_the_ddr_demo_steps_over_each_fault_where_denial_aborts() -> None:
    report = run(elf_of("demo_m4_ddr"), Deny.ABORT)
    write, read, fetch = (line for line in lines(report) if "DDR" in line)
    assert write.startswith("m4: secure DDR write at 0xde000000: fault, CFSR 0x00008200 BFAR 0xde000000 PC 0x1000")
    assert read.startswith("m4: secure DDR read at 0xde000000: fault, CFSR 0x00008200 BFAR 0xde000000 PC 0x1000")
    assert fetch == "m4: secure DDR fetch at 0xde000000: fault, CFSR 0x00000001 PC 0xde000000"
    assert len([e for e in report.soc.log.of(ExceptionTaken) if e.core == "m4"]) == 3
    assert report.ready


def test_an_unexpected_fault_is_reported_as_a_crash() -> None:
    program, elf = read_program("demo_m4"), bytearray(elf_of("demo_m4"))
    [text] = [s for s in program.segments if s.vaddr == 0x10000000]
    at = text.offset + (program.symbols["main"] & ~1) - text.vaddr
    elf[at : at + 2] = UDF
    report = run(bytes(elf))
    assert not report.ready
    assert struct.unpack("<I", report.soc.debug_read(READY_ADDRESS, 4)) == (STATE_CRASH,)


def test_the_spin_program_runs_and_touches_nothing_but_ram() -> None:
    report = run(elf_of("spin_m4"))
    assert report.verdict.m4_instructions > 1_000_000
    log = report.soc.log
    touched = [
        e
        for e in (r.payload for r in log)
        if isinstance(e, (AccessDenied, BusErrorRaised, RegisterWritten, UnmodelledRegister)) and e.initiator == "m4"
    ]
    assert (touched, lines(report), log.of(ExceptionTaken)) == ([], [], [])
