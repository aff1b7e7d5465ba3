"""`cosim boot` answers "why does my core not boot?" for each usual reason, and every bound ends a run."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from cosim.boot import attempt
from cosim.cli import run
from cosim.diagnosis import explain
from cosim.resources import firmware_file
from cosim.soc import Soc, SocConfig
from cosim.testing import default_signer, flip
from cosim.verdict import Outcome
from ta.keys import generate, write_key
from ta.profile import Settings, ShmBuild

STACK, CODE = 0x10040000, 0x10000000
UDF, LOOP, MASK, WFI, NOP = "00de", "fee7", "72b6", "30bf", "00bf"
SPI2_SR = 0x4000B014  # SPI2 has no model
#: ldr r0, =address; again: ldr r1, [r0]; cmp r1, #0; beq again
POLL = "0248" + "0168" + "0029" + "fcd0" + NOP + NOP + struct.pack("<I", SPI2_SR).hex()
#: the same for a register of the TZC, which is the secure world's
POLL_DENIED = POLL[:24] + struct.pack("<I", 0x5C006000).hex()
#: SysTick at its longest period, 80 ms, with its interrupt; then WFI for ever; TICKED is its handler, bx lr
TICK = "0348" + "0449" + "4160" + "8160" + "0721" + "0160" + WFI + "fde7" + "10e000e0" + "ffffff00" + "7047"
TICKED = CODE + 24 | 1


def elf(*parts: tuple[int, bytes]) -> bytes:
    """An ELF file with a PT_LOAD for each (address, bytes), and a function symbol `Reset_Handler` over the second."""
    at = 52 + 32 * len(parts)
    headers = body = b""
    for address, data in parts:
        padded = data.ljust(-(-len(data) // 4) * 4, b"\0")
        headers += struct.pack("<8I", 1, at, address, address, len(data), len(data), 7, 4)
        body += padded
        at += len(padded)
    start = parts[-1][0]
    symbols = bytes(16) + struct.pack("<IIIBBH", 1, start | 1, len(parts[-1][1]), 0x12, 0, 1)
    strings = b"\0Reset_Handler\0".ljust(16, b"\0")
    names = b"\0.text\0.symtab\0.strtab\0.shstrtab\0".ljust(36, b"\0")
    text_at = at - len(body) + sum(-(-len(data) // 4) * 4 for _, data in parts[:-1])
    sections = [
        bytes(40),
        struct.pack("<10I", 1, 1, 6, start, text_at, len(parts[-1][1]), 0, 0, 4, 0),
        struct.pack("<10I", 7, 2, 0, 0, at, len(symbols), 3, 1, 4, 16),
        struct.pack("<10I", 15, 3, 0, 0, at + len(symbols), len(strings), 0, 0, 1, 0),
        struct.pack("<10I", 23, 3, 0, 0, at + len(symbols) + len(strings), len(names), 0, 0, 1, 0),
    ]
    shoff = at + len(symbols) + len(strings) + len(names)
    counts = (52, 32, len(parts), 40, len(sections), 4)
    ident = b"\x7fELF\1\1\1" + bytes(9)
    header = struct.pack("<16sHHIIIIIHHHHHH", ident, 2, 40, 1, CODE | 1, 52, shoff, 0x05000000, *counts)
    return header + headers + body + symbols + strings + names + b"".join(sections)


def program(code: str, *, sp: int = STACK, reset: int = CODE | 1, handler: int = CODE | 1) -> bytes:
    """Vectors at 0 (every exception goes to `handler`) and code at 0x10000000."""
    return elf((0, struct.pack("<16I", sp, reset, *[handler] * 14)), (CODE, bytes.fromhex(code)))


def boot(path: Path, data: bytes, capsys: pytest.CaptureFixture[str], *options: str) -> dict[str, object]:
    path.write_bytes(data)
    code = run(["boot", str(path), "--json", *options])
    value: dict[str, object] = json.loads(capsys.readouterr().out)
    assert value["exit_code"] == code
    return value


def causes(value: dict[str, object]) -> list[str]:
    found = value["causes"]
    assert isinstance(found, list)
    assert all(cause["text"] and cause["hint"] for cause in found)
    return [cause["code"] for cause in found]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        pytest.param(program(LOOP, reset=CODE), "reset-thumb", id="reset-vector-without-bit-0"),
        pytest.param(program(LOOP, reset=0x20000001), "reset-vector", id="reset-vector-into-nowhere"),
        pytest.param(program("fff7feff", sp=0x20001000), "not-ready", id="a-stack-that-is-not-used-yet-does-no-harm"),
        pytest.param(elf((CODE, bytes.fromhex(LOOP))), "no-vectors", id="no-vectors"),
        pytest.param(program(UDF + LOOP, handler=(CODE + 2) | 1), "first-instruction", id="first-instruction-faults"),
        pytest.param(program(NOP + UDF + LOOP, handler=(CODE + 4) | 1), "fault", id="fault"),
        pytest.param(program(UDF), "lockup", id="fault-in-the-fault-handler"),
        pytest.param(program(MASK + LOOP), "masked-spin", id="spin-with-interrupts-off"),
        pytest.param(program(POLL), "waits-unmodelled", id="waits-for-something-unmodelled"),
        pytest.param(program(POLL_DENIED), "waits-denied", id="waits-for-something-denied"),
        pytest.param(program(WFI + LOOP), "sleeping", id="sleeps-for-good"),
        pytest.param(program(TICK, handler=TICKED), "idle", id="sleeps-until-its-timer"),
        pytest.param(program(LOOP), "not-ready", id="spin"),
    ],
)  # fmt: skip
def test_each_reason_why_a_core_does_not_get_ready_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], data: bytes, code: str
) -> None:
    value = boot(tmp_path / "fw.elf", data, capsys, "--timeout", "1")
    assert causes(value) == [code]
    assert value["ready"] is False


def test_a_cause_names_function_and_address_of_the_instruction(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "fw.elf"
    path.write_bytes(program(NOP + UDF + LOOP, handler=(CODE + 4) | 1))
    run(["boot", str(path), "--timeout", "1"])
    out = capsys.readouterr().out
    assert "why: the M4 took HardFault at 0x10000002 (Reset_Handler+0x2): an undefined instruction (UNDEFINSTR)" in out
    assert "it is still in the handler, at 0x10000004 (Reset_Handler+0x4) [fault]" in out


def test_an_idle_firmware_is_told_from_one_that_sleeps_for_good(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "fw.elf"
    enable_line_39 = "0148" + "8021" + "0160" + WFI + struct.pack("<I", 0xE000E104).hex()
    for code, wakes in ((TICK, "SysTick"), (enable_line_39, "interrupt 39 (usart3)")):
        path.write_bytes(program(code, handler=TICKED))
        run(["boot", str(path), "--timeout", "1"])
        assert f"why: the M4 sleeps (WFI or WFE) until it is woken by {wakes} at 0x" in capsys.readouterr().out


def test_an_elf_file_with_megabytes_of_debug_information_boots_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    demo = firmware_file("demo_m4.elf").read_bytes()
    values = [boot(tmp_path / "fw.elf", demo + bytes(size), capsys) for size in (0, 0x1F0000, 6 << 20)]
    assert [(value["outcome"], value["ready"], causes(value)) for value in values] == [("booted", True, [])] * 3
    assert len({value["m4_instructions"] for value in values}) == 1


def test_the_largest_elf_file_boots_and_one_byte_more_is_refused_before_anything_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, demo = tmp_path / "fw.elf", firmware_file("demo_m4.elf").read_bytes()
    assert boot(path, demo.ljust(16 << 20, b"\0"), capsys)["outcome"] == "booted"
    path.write_bytes(demo.ljust((16 << 20) + 1, b"\0"))
    assert run(["boot", str(path)]) == 2
    assert "strip -g" in capsys.readouterr().err


def test_an_image_too_large_for_an_op_tee_without_dynamic_memory_is_named_as_such() -> None:
    config = SocConfig(settings=Settings(shm=ShmBuild.RESERVED))
    image = default_signer().sign(program(LOOP) + bytes(0x1F0000))
    report = attempt(Soc(config), image)
    assert report.verdict.outcome is Outcome.NOT_STARTED
    assert [cause.code for cause in explain(report, image, "fw.elf").causes] == ["image-too-large"]


def test_every_build_of_op_tee_takes_an_image_of_its_size() -> None:
    image = default_signer().sign(firmware_file("demo_m4.elf").read_bytes())
    for shm in ShmBuild:
        assert attempt(Soc(SocConfig(settings=Settings(shm=shm))), image).exit_code == 0, shm


def test_a_function_whose_assembler_states_no_size_is_named_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = program(NOP + UDF + LOOP, handler=(CODE + 4) | 1)
    sized = struct.pack("<IIIBB", 1, CODE | 1, 6, 0x12, 0)
    assert data.count(sized) == 1
    path = tmp_path / "fw.elf"
    path.write_bytes(data.replace(sized, struct.pack("<IIIBB", 1, CODE | 1, 0, 0x12, 0)))
    run(["boot", str(path), "--timeout", "1"])
    assert "why: the M4 took HardFault at 0x10000002 (Reset_Handler+0x2)" in capsys.readouterr().out


def test_run_lets_the_firmware_run_that_long_ready_or_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ticks = program(TICK, handler=TICKED)
    short, long = (boot(tmp_path / "fw.elf", ticks, capsys, "--run", ms) for ms in ("79", "250"))
    assert (short["m4_instructions"], long["m4_instructions"]) == (7, 7 + 3 * 3)
    assert (long["ready"], long["exit_code"], long["ended"]) == (False, 0, None)
    demo = boot(tmp_path / "fw.elf", firmware_file("demo_m4.elf").read_bytes(), capsys, "--run", "1")
    assert (demo["ready"], causes(demo)) == (True, [])


def test_a_branch_into_nowhere_names_the_address_that_it_went_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = "0048" + "8047" + struct.pack("<I", 0x22460339).hex() + LOOP  # ldr r0, =address; blx r0
    value = boot(tmp_path / "fw.elf", program(call, handler=(CODE + 8) | 1), capsys, "--timeout", "1")
    assert causes(value) == ["fault"]
    assert "an instruction fetch got a bus error (IBUSERR), from 0x22460338" in str(value["causes"])
    assert "a function pointer that was never set" in str(value["causes"])


def test_a_fault_that_was_survived_is_told_from_one_that_was_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # nop; udf; b .; the handler: ldr r0, [sp, #24]; adds r0, #2; str r0, [sp, #24]; bx lr
    survived = NOP + UDF + LOOP + "0698" + "0230" + "0690" + "7047"
    value = boot(tmp_path / "fw.elf", program(survived, handler=(CODE + 6) | 1), capsys, "--timeout", "1")
    assert causes(value) == ["fault"]
    assert "; the handler came to an end, and it went on, at 0x10000004" in str(value["causes"])


def test_a_lockup_is_a_crash_that_tells_both_faults(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    value = boot(tmp_path / "fw.elf", program(NOP + UDF), capsys, "--timeout", "1")
    assert (value["outcome"], value["exit_code"]) == ("crashed", 1)
    assert "it was handling HardFault at 0x10000002" in str(value["causes"])


def test_a_refused_image_names_what_is_wrong_with_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    signed = default_signer().sign(firmware_file("demo_m4.elf"))
    other = tmp_path / "other.pem"
    write_key(other, generate("rsa2048"))
    path = tmp_path / "fw.sign"

    assert causes(boot(path, signed, capsys, "--pubkey", str(other))) == ["signature-key"]
    assert causes(boot(path, flip(signed, 0x60), capsys)) == ["signature-content"]
    assert causes(boot(path, flip(signed, 0x700), capsys)) == ["hash-mismatch"]
    assert causes(boot(path, b"HSTO" + bytes(64), capsys)) == ["unknown-format"]
    elsewhere = elf((0x08100000, struct.pack("<4I", 0x20020000, 0x08100009, 0, 0)))
    assert causes(boot(path, default_signer().sign(elsewhere), capsys)) == ["segment-outside"]


def test_a_firmware_that_reported_its_crash_is_believed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    value = boot(tmp_path / "fw.elf", firmware_file("probe_lockup.elf").read_bytes(), capsys)
    assert causes(value) == ["reported-crash"]


def test_a_boot_without_trouble_has_no_causes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    value = boot(tmp_path / "fw.elf", firmware_file("demo_m4.elf").read_bytes(), capsys)
    assert (value["causes"], value["unmodelled"], value["ended"], value["exit_code"]) == ([], [], None, 0)


# -- registers without a model -----------------------------------------------------------------------------------------


def test_the_registers_without_a_model_that_the_firmware_used_are_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    value = boot(tmp_path / "fw.elf", program(POLL), capsys, "--timeout", "1")
    assert value["unmodelled"] == [
        {"block": "spi2", "offset": 0x14, "address": SPI2_SR, "accesses": ["read"], "pc": CODE + 2,
         "symbol": "Reset_Handler+0x2"}
    ]  # fmt: skip
    run(["boot", str(tmp_path / "fw.elf"), "--timeout", "1"])
    assert "spi2+0x14 (0x4000b014)" in capsys.readouterr().out


def test_strict_ends_the_run_at_the_first_of_them_with_a_typed_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    value = boot(tmp_path / "fw.elf", program(POLL), capsys, "--strict")
    ended = value["ended"]
    assert isinstance(ended, dict)
    assert (ended["error"], ended["block"], ended["address"], ended["pc"]) == ("unmodelled", "spi2", SPI2_SR, CODE + 2)
    assert value["exit_code"] == 1
    assert boot(tmp_path / "fw.elf", firmware_file("demo_m4.elf").read_bytes(), capsys, "--strict")["exit_code"] == 0


# -- bounds ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["boot", "rpmsg"])
@pytest.mark.parametrize("bound", [("--timeout", "1"), ("--max-instructions", "5000")])
def test_a_bound_ends_a_firmware_that_runs_for_ever_with_a_typed_reason(
    command: str, bound: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([command, str(firmware_file("spin_m4.elf")), "--json", *bound]) == 1
    value = json.loads(capsys.readouterr().out)
    ended = value["ended"] if command == "boot" else value["error"]
    assert ended["error"] == "timeout"
    if bound[0] == "--timeout":
        assert 10**9 <= ended["time_ps"] < 2 * 10**9
    else:
        assert 5000 <= ended["instructions"] < 7000
    assert value["causes"][0]["code"] == "not-ready"


@pytest.mark.parametrize("quantum", [1, 100, 1000])
def test_a_run_ended_by_its_bound_has_the_same_log_in_every_run(quantum: int) -> None:
    from cosim.boot import attempt  # noqa: PLC0415
    from cosim.soc import Soc, SocConfig  # noqa: PLC0415

    image = default_signer().sign(firmware_file("demo_m4.elf"))
    logs = []
    for _ in range(2):
        report = attempt(Soc(SocConfig(quantum=quantum, most_instructions=3000)), image)
        assert report.ended is not None
        logs.append([record.as_json() for record in report.soc.log])
    assert logs[0] == logs[1]


@pytest.mark.parametrize("option", ["--timeout", "--max-instructions"])
def test_a_bound_that_is_no_positive_number_is_a_usage_error(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["boot", str(firmware_file("demo_m4.elf")), option, "0"]) == 2
    assert option in capsys.readouterr().err


# -- live traces -------------------------------------------------------------------------------------------------------


def test_trace_lines_appear_while_the_firmware_runs_and_survive_its_crash(capsys: pytest.CaptureFixture[str]) -> None:
    run(["boot", str(firmware_file("demo_m4.elf"))])
    lines = capsys.readouterr().err.splitlines()
    first = next(n for n, line in enumerate(lines) if "trace:m4_trace| m4: remoteproc-cosim" in line)
    stop = next(n for n, line in enumerate(lines) if "STOP_FW" in line)
    assert first < next(n for n, line in enumerate(lines) if "trace:m4_trace| m4: ready" in line) <= stop
    assert float(lines[first].split()[0]) < 200


@pytest.mark.parametrize("name", ["mpu_m4", "kernel_m4"])
def test_a_trace_line_is_told_once_however_often_the_firmware_sleeps(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run(["boot", str(firmware_file(f"{name}.elf"))])
    traced = [line.split("| ", 1)[1] for line in capsys.readouterr().err.splitlines() if " trace:" in line]
    assert traced
    assert len(traced) == len(set(traced))
