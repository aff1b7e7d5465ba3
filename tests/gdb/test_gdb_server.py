"""GDB's remote serial protocol at a running boot: what GDB asks, what it gets, and what garbage does."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import threading
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from fuzz_gdb import FuzzCore, FuzzEngine
from gdb_client import TIMEOUT_S, GdbClient, boot_with_gdb

from cosim.access import Deny
from cosim.cli import run
from cosim.engine import CoreState, Watch
from cosim.errors import RunInterrupted, UsageError
from cosim.gdb import GdbServer
from cosim.resources import firmware_file
from cosim.soc import SocConfig

DEMO = firmware_file("demo_m4.elf")
PC, XPSR = 15, 16


def test_the_core_waits_before_its_first_instruction_and_the_run_ends_as_a_process_does() -> None:
    def client(gdb: GdbClient) -> bytes:
        assert gdb.ask(b"?") == b"T05hwbreak:;thread:1;"
        assert gdb.register(PC) == 0x10000000
        return gdb.ask(b"c")

    session = boot_with_gdb(DEMO, client)
    assert session.answers == b"W00"
    assert session.report.verdict.exit_code == 0
    assert "m4 stands before its first instruction, at 0x10000000" in session.told[0]
    assert re.search(r"target remote 127\.0\.0\.1:\d+", session.told[1])


@pytest.mark.parametrize(("core", "status", "feature"), [("m4", "xpsr", "m-profile"), ("a7", "cpsr", "core")])
def test_the_target_description_names_the_registers_that_g_returns(core: str, status: str, feature: str) -> None:
    def client(gdb: GdbClient) -> tuple[bytes, bytes]:
        text, more = b"", b"m"
        while more == b"m":
            answer = gdb.ask(b"qXfer:features:read:target.xml:%x,40" % len(text))
            more, text = answer[:1], text + answer[1:]
        values = gdb.ask(b"g")
        gdb.ask(b"D")
        return text, values

    text, values = boot_with_gdb(DEMO, client, core=core).answers  # type: ignore[misc]
    tree = ET.fromstring(text)
    registers = tree.findall(".//reg")
    assert registers[16].get("name") == status
    assert tree.findall("feature")[0].get("name") == f"org.gnu.gdb.arm.{feature}"
    assert len(values) == 2 * sum(int(r.get("bitsize", "0")) // 8 for r in registers)


def test_breakpoints_steps_and_watchpoints_stop_where_they_should() -> None:
    main = 0x10000144

    def client(gdb: GdbClient) -> list[object]:
        assert gdb.ask(b"Z0,%x,2" % main) == b"OK"
        seen: list[object] = [gdb.ask(b"vCont;c"), gdb.register(PC) == main]
        gdb.ask(b"z0,%x,2" % main)
        before = gdb.register(PC)
        seen += [gdb.ask(b"s"), gdb.register(PC) - before]
        assert gdb.ask(b"Z2,1002000c,4") == b"OK"
        seen += [gdb.ask(b"c"), gdb.ask(b"m1002000c,4")]
        assert gdb.ask(b"z2,1002000c,4") == b"OK"
        return [*seen, gdb.ask(b"c")]

    seen = boot_with_gdb(DEMO, client).answers
    assert seen == [
        b"T05hwbreak:;thread:1;", True,
        b"T05hwbreak:;thread:1;", 2,
        b"T05watch:1002000c;thread:1;", b"01000000",
        b"W00",
    ]  # fmt: skip


def test_registers_and_memory_can_be_read_and_written() -> None:
    def client(gdb: GdbClient) -> None:
        assert gdb.ask(b"P5=78563412") == b"OK"
        assert gdb.register(5) == 0x12345678
        everything = gdb.ask(b"g")
        assert everything[5 * 8 : 6 * 8] == b"78563412"
        assert gdb.ask(b"G" + everything) == b"OK"
        assert gdb.ask(b"M10030000,3:0a7d23") == b"OK"
        gdb.send(b"X10030003,2:\x01}\x5d")
        assert gdb.receive() == b"OK"
        assert gdb.ask(b"m10030000,5") == b"0a7d23017d"
        assert gdb.ask(b"me000ed00,4") == b"41c20f41"  # CPUID
        gdb.ask(b"D")

    session = boot_with_gdb(DEMO, client)
    assert session.report.ready


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        (b"m90000000,4", b"E0e"),  # nothing there
        (b"mfffffffc,8", b"E0e"),
        (b"m0,ffffffff", b"E0e"),
        (b"M90000000,1:00", b"E0e"),
        (b"m", b"E01"),
        (b"m-1,4", b"E01"),
        (b"m10000000,4,4", b"E01"),
        (b"M10030000,4:00", b"E01"),
        (b"M10030000,1:zz", b"E01"),
        (b"pff", b"E01"),
        (b"P5=00", b"E01"),
        (b"G00", b"E01"),
        (b"Z2,40004400,4", b"E01"),  # a block
        (b"Z7,10000000,2", b""),
        (b"Z0,10000000", b"E01"),
        (b"qRcmd,zz", b"E01"),
        (b"qXfer:features:read:target.xml:x,y", b"E01"),
        (b"vMustReplyEmpty", b""),
        (b"qUnknown", b""),
        (b"", b""),
        (b"\xff\x00\x80", b""),
    ],
)
def test_what_cannot_be_done_is_refused_and_the_run_goes_on(question: bytes, answer: bytes) -> None:
    def client(gdb: GdbClient) -> bytes:
        found = gdb.ask(question)
        gdb.ask(b"D")
        return found

    session = boot_with_gdb(DEMO, client)
    assert session.answers == answer
    assert session.report.verdict.exit_code == 0


def test_more_breakpoints_than_the_bound_are_refused() -> None:
    def client(gdb: GdbClient) -> list[bytes]:
        answers = [gdb.ask(b"Z0,%x,2" % (0x10030000 + 2 * n)) for n in range(257)]
        gdb.ask(b"D")
        return answers

    answers = boot_with_gdb(DEMO, client).answers
    assert answers == [b"OK"] * 256 + [b"E01"]


def test_monitor_commands_are_those_that_the_owner_gave() -> None:
    def client(gdb: GdbClient) -> tuple[bytes, ...]:
        answers = tuple(
            bytes.fromhex(gdb.ask(b"qRcmd," + line.hex().encode()).decode()) for line in (b"echo a b", b"no")
        )
        gdb.ask(b"D")
        return answers

    assert boot_with_gdb(DEMO, client).answers == (b"<a b>\n", b"there is no 'no'; there are: echo\n")


def test_a_damaged_packet_is_asked_for_again_and_noise_is_passed_over() -> None:
    def client(gdb: GdbClient) -> tuple[bytes, bytes]:
        gdb.socket.sendall(b"noise++$?#00")
        refused = gdb.socket.recv(1)
        gdb.socket.sendall(b"$" + b"A" * 100_000)  # longer than any packet: thrown away
        gdb.socket.sendall(b"$?#3f")
        accepted = gdb.receive()
        gdb.ask(b"D")
        return refused, accepted

    refused, accepted = boot_with_gdb(DEMO, client).answers  # type: ignore[misc]
    assert refused == b"-"
    assert accepted.startswith(b"T05")


def test_gdb_interrupts_a_running_core_and_kills_the_run() -> None:
    def client(gdb: GdbClient) -> bytes:
        gdb.send(b"c")
        gdb.socket.sendall(b"\x03")
        stopped = gdb.receive()
        gdb.send(b"k")
        return stopped

    session = boot_with_gdb(firmware_file("spin_m4.elf"), client, SocConfig(most_time_ps=10**13))
    assert session.answers == b"T02thread:1;"
    assert isinstance(session.report.ended, RunInterrupted)


def test_a_lockup_stops_the_core_with_a_signal() -> None:
    def client(gdb: GdbClient) -> list[bytes]:
        return [gdb.ask(b"c"), gdb.ask(b"c")]

    session = boot_with_gdb(firmware_file("probe_lockup.elf"), client, SocConfig(deny=Deny.ABORT))
    assert session.answers == [b"T0bthread:1;", b"W01"]
    assert session.soc.m4.state in (CoreState.LOCKED_UP, CoreState.HELD)


def test_when_gdb_hangs_up_the_run_goes_on_without_it() -> None:
    session = boot_with_gdb(DEMO, lambda gdb: gdb.ask(b"Z0,10000144,2"))
    assert session.report.verdict.exit_code == 0
    assert session.told[-1] == "GDB is gone; the run goes on without it"


def _boot_on(gdb: GdbClient) -> None:
    port = gdb.socket.getpeername()[1]
    try:
        GdbServer(FuzzEngine(), "m4", port=port, tell=print, ended=lambda: True, kill=lambda: None, commands={})
    finally:
        gdb.send(b"D")


def test_two_boots_cannot_have_the_same_port(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError, match="port"):
        boot_with_gdb(DEMO, _boot_on)
    assert capsys.readouterr().out == ""


def test_a_watch_is_told_as_what_gdb_calls_it() -> None:
    names = {Watch(0, 4, reads=r, writes=w): n for (r, w, n) in ((0, 1, "watch"), (1, 0, "rwatch"), (1, 1, "awatch"))}
    for watch, name in names.items():

        class Watched(FuzzCore):
            watched = watch

        server = GdbServer(
            FuzzEngine(), "m4", port=0, tell=lambda _: None, ended=lambda: False, kill=lambda: None, commands={}
        )
        answers: list[bytes] = []

        def client(server: GdbServer = server, answers: list[bytes] = answers) -> None:
            with GdbClient(server.port) as gdb:
                answers.append(gdb.ask(b"?"))
                gdb.ask(b"D")

        thread = threading.Thread(target=client)
        thread.start()
        with server:
            server.stopped(Watched())
        thread.join(TIMEOUT_S)
        assert answers == [f"T05{name}:0;thread:1;".encode()]


GDB = shutil.which("gdb-multiarch") or shutil.which("arm-none-eabi-gdb")


@pytest.mark.skipif(GDB is None, reason="neither gdb-multiarch nor arm-none-eabi-gdb is installed")
def test_gdb_itself_debugs_a_boot_of_the_command(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    script = tmp_path / "script.gdb"
    script.write_text(
        f"set confirm off\nset tcp auto-retry on\ntarget remote 127.0.0.1:{port}\nbreak main\ncontinue\n"
        "stepi\ninfo registers pc\nmonitor cores\nmonitor log 1\nmonitor time\ncontinue\n"
    )
    assert GDB is not None
    found: list[str] = []

    def debug() -> None:
        command = [GDB, "-q", "-nx", "-batch", "-x", str(script), str(DEMO)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
        found.append(done.stdout + done.stderr)

    thread = threading.Thread(target=debug)
    thread.start()
    code = run(["boot", str(DEMO), "--gdb", str(port)])
    thread.join(TIMEOUT_S)
    out, err = capfd.readouterr()
    assert code == 0
    assert "verdict: booted" in out
    assert "waits for GDB" in err
    (said,) = found
    for line in (
        r"Breakpoint 1, 0x\w+ in main \(\)",
        r"m4: running, pc 0x\w+, \d+ instructions",
        r"us of virtual time; m4: \d+ instructions",
        r"exited normally",
    ):
        assert re.search(line, said), said
