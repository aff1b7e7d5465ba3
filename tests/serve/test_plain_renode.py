"""The real thing: `renode` with the project's .resc beside a server. Skipped where there is no Renode.

COSIM_RENODE names the command, with options, of a Renode that is not on the PATH as `renode`; it must use the terminal.
"""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from cosim import scripts
from cosim.boot import BootReport
from cosim.errors import CosimError
from cosim.events import ConsoleLine, FirewallChanged, Record
from cosim.resources import firmware_file, platform_file
from cosim.serve.listener import Connection, admit, listen_on_port
from cosim.serve.server import serve_boot
from cosim.serve.token import obtain_token
from cosim.soc import SocConfig
from cosim.testing import default_signer, flip
from cosim.verdict import Outcome
from ta.events import SmcEntered
from ta.profile import FirewallProfile

RESC = platform_file("stm32mp157c-dk2.resc")
SECONDS = 180


@pytest.fixture(scope="session")
def command() -> list[str]:
    """The command that starts Renode without windows and without colours."""
    named = os.environ.get("COSIM_RENODE")
    if named:
        return shlex.split(named)
    if not shutil.which("renode"):
        pytest.skip("no Renode: `renode` is not on the PATH and COSIM_RENODE is not set")
    return ["renode", "--disable-xwt", "--console", "--plain"]


@pytest.fixture(scope="session")
def image() -> bytes:
    return default_signer().sign(firmware_file("demo_m4.elf"))


@dataclass
class Run:
    """What one Renode and the server beside it came to."""

    result: BootReport | CosimError | None = None
    admitted: bool = False
    refused: list[str] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    output: str = ""

    @property
    def report(self) -> BootReport:
        assert isinstance(self.result, BootReport), f"{self.result}\n{self.output}"
        return self.result

    def events(self, kind: type[Any]) -> list[Any]:
        return [record.payload for record in self.records if isinstance(record.payload, kind)]


class Bench:
    """A server for one boot, and the monitor commands that connect a Renode to it."""

    def __init__(self, image: bytes, folder: Path, config: SocConfig, **options: Any) -> None:
        self.run = Run()
        self.on_record: Callable[[Connection, Record], None] = lambda _connection, _record: None
        self._image, self._config, self._options = image, config, options
        self._token_file = folder / "token"

    @contextmanager
    def serving(self) -> Iterator[str]:
        """Serve one client meanwhile; gives the commands that set the variables and include the script."""
        token = obtain_token(self._token_file)
        with listen_on_port("127.0.0.1", 0) as listener:
            thread = threading.Thread(target=self._serve, args=(listener, token), daemon=True)
            thread.start()
            port = listener.getsockname()[1]
            yield f'$cosim="127.0.0.1:{port}"; $token="{self._token_file}"; include @{RESC}'
            if not self.run.admitted:
                listener.shutdown(socket.SHUT_RDWR)
            thread.join(SECONDS)

    def _serve(self, listener: socket.socket, token: bytes) -> None:
        try:
            connection = admit(listener, token, self.run.refused.append)
        except OSError:
            return
        self.run.admitted = True

        def listen(record: Record) -> None:
            self.run.records.append(record)
            self.on_record(connection, record)

        try:
            self.run.result = serve_boot(connection, self._image, self._config, listen=listen, **self._options)
        except CosimError as error:
            self.run.result = error


@pytest.fixture
def boot_in_renode(command: list[str], tmp_path: Path) -> Callable[..., Run]:
    """Boot an image in a Renode that quits when it is over."""

    def boot(image: bytes, *, firewall: FirewallProfile = FirewallProfile.ISOLATED, **options: Any) -> Run:
        on_record = options.pop("on_record", None)
        bench = Bench(image, tmp_path, SocConfig(firewall=firewall), **options)
        bench.on_record = on_record or bench.on_record
        with bench.serving() as include:
            done = subprocess.run(
                [*command, "-e", f"{include}; start; cosim_wait; quit"],
                stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS, check=False,
            )  # fmt: skip
        bench.run.output = done.stdout + done.stderr
        return bench.run

    return boot


def test_the_demo_boots_to_its_verdict_and_a_second_run_gives_the_same_log(
    boot_in_renode: Callable[..., Run], image: bytes
) -> None:
    run = boot_in_renode(image)

    assert run.report.verdict.outcome is Outcome.BOOTED
    assert [m.name for m in run.report.verdict.monitors if not m.held] == []
    assert run.report.ready
    assert run.report.table is not None
    lines = [line.text for line in run.events(ConsoleLine) if line.source == "usart3"]
    assert lines[0].startswith("m4: remoteproc-cosim demo")
    assert "m4: ready" in lines
    assert "cosim: verdict: booted: authenticated, loaded and started" in run.output
    assert boot_in_renode(image).records == run.records


def test_a_tampered_image_is_refused_and_the_m4_executes_nothing(
    boot_in_renode: Callable[..., Run], image: bytes
) -> None:
    run = boot_in_renode(flip(image, 0x700))

    assert run.report.verdict.outcome is Outcome.REFUSED
    assert run.report.verdict.m4_instructions == 0
    assert "cosim: verdict: refused: LOAD_FW -> TEE_ERROR_SECURITY" in run.output


@pytest.mark.parametrize(("firewall", "untouched"), [(FirewallProfile.ISOLATED, True), (FirewallProfile.OPEN, False)])
def test_a_write_after_load_reaches_the_image_only_where_the_firewall_is_open(
    boot_in_renode: Callable[..., Run], image: bytes, firewall: FirewallProfile, untouched: bool
) -> None:
    def script(address: int, size: int) -> scripts.Script:
        return scripts.write_after_load(address, size, scripts.SRAM1 + 0x400)

    run = boot_in_renode(image, firewall=firewall, script=script)

    held = {monitor.name: monitor.held for monitor in run.report.verdict.monitors}
    assert held["image-untouched"] is untouched
    isolated = [change.target for change in run.events(FirewallChanged) if change.after == "MCU_ISOLATION"]
    assert ("sram1" in isolated) is (firewall is FirewallProfile.ISOLATED)


def test_the_same_firmware_is_stopped_loaded_and_started_again(
    boot_in_renode: Callable[..., Run], image: bytes
) -> None:
    run = boot_in_renode(image, script=scripts.restart)

    assert run.report.verdict.outcome is Outcome.BOOTED
    assert run.report.verdict.monitors_held
    assert [line.text for line in run.events(ConsoleLine) if line.source == "usart3"].count("m4: ready") == 2


def test_renode_survives_a_server_that_dies_and_says_so(boot_in_renode: Callable[..., Run], image: bytes) -> None:
    def die(connection: Connection, record: Record) -> None:
        if isinstance(record.payload, SmcEntered):
            connection.close()

    run = boot_in_renode(image, on_record=die)

    assert isinstance(run.result, CosimError)
    assert run.output.count("blocks read as zero from now on") == 1
    assert "Renode is quitting" in run.output


def test_without_a_server_renode_says_what_to_start_and_goes_on(command: list[str], tmp_path: Path) -> None:
    token_file = tmp_path / "token"
    obtain_token(token_file)
    with listen_on_port("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
    include = f'$cosim="127.0.0.1:{port}"; $token="{token_file}"; include @{RESC}'

    done = subprocess.run(
        [*command, "-e", f"{include}; start; sysbus ReadDoubleWord 0x50000000; quit"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS, check=False,
    )  # fmt: skip

    assert "start `cosim serve IMAGE` first" in done.stdout + done.stderr
    assert "Renode is quitting" in done.stdout


def test_a_users_script_includes_ours_and_gdb_stops_the_m4_at_its_first_instruction(
    command: list[str], tmp_path: Path, image: bytes
) -> None:
    bench = Bench(image, tmp_path, SocConfig())
    with listen_on_port("127.0.0.1", 0) as one, listen_on_port("127.0.0.1", 0) as other:
        ports = [listener.getsockname()[1] for listener in (one, other)]
    with bench.serving() as include:
        mine = tmp_path / "mine.resc"
        mine.write_text(
            include.replace("; ", "\n")
            + "\nmachine LoadPlatformDescriptionFromString"
            + ' "scratch: Memory.MappedMemory @ sysbus 0x70000000 { size: 0x1000 }"'
            + f"\nmachine StartGdbServer {ports[0]} true sysbus.a7\nmachine StartGdbServer {ports[1]} true sysbus.m4"
            + '\nsysbus WriteDoubleWord 0x70000000 0x12345678\nsysbus ReadDoubleWord 0x70000000\necho "gdb ready"\n'
        )
        with subprocess.Popen(
            [*command, "-e", f"include @{mine}"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        ) as renode:  # fmt: skip
            try:
                assert renode.stdout is not None
                heard = ""
                while "gdb ready\n" not in heard.replace("\r", ""):
                    heard += renode.stdout.readline()
                assert "0x12345678" in heard
                with Gdb(ports[0]) as a7, Gdb(ports[1]) as m4:
                    assert a7.register(15) == 0xC0000000
                    assert m4.ask("Z1,10000000,2") == "OK"
                    m4.send("c")
                    a7.send("c")
                    assert m4.stop().startswith("T05hwbreak")
                    assert m4.register(15) == 0x10000000
                    assert m4.register(13) == 0x10040000
            finally:
                renode.kill()
    assert bench.run.admitted


class Gdb:
    """Just enough of GDB's remote protocol."""

    def __init__(self, port: int) -> None:
        self._stream = socket.create_connection(("127.0.0.1", port), SECONDS)
        self._heard = b""
        # Renode greets with the reason of the stop, before or after the first answer.
        self.send("?")
        self._packet()
        self._packet()

    def __enter__(self) -> Gdb:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def send(self, text: str) -> None:
        self._stream.sendall(f"${text}#{sum(text.encode()) & 0xFF:02x}".encode())

    def ask(self, text: str) -> str:
        self.send(text)
        return self._packet()

    def register(self, number: int) -> int:
        answer = self.ask(f"p{number:x}")
        while answer.startswith("T"):  # Renode tells about a stop more than once
            answer = self._packet()
        return int.from_bytes(bytes.fromhex(answer), "little")

    def stop(self) -> str:
        return self._packet()

    def _packet(self) -> str:
        while True:
            begin = self._heard.find(b"$")
            end = self._heard.find(b"#", begin)
            if begin >= 0 and end >= 0 and len(self._heard) >= end + 3:
                text = self._heard[begin + 1 : end].decode()
                self._heard = self._heard[end + 3 :]
                self._stream.sendall(b"+")
                return text
            chunk = self._stream.recv(4096)
            assert chunk, "Renode closed the GDB connection"
            self._heard += chunk
