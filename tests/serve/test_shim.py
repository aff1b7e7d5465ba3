"""The shim for Renode's IronPython: Python 2.7 and 3 alike, and its parts that need no Renode."""

from __future__ import annotations

import ast
import socket
import struct
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from doubles import SHIM_FILE, MachineDouble, load_shim

from cosim.resources import firmware_file, platform_file
from cosim.serve import protocol
from cosim.serve.protocol import Kind

NEWER_SYNTAX = (
    ast.AnnAssign, ast.AsyncFunctionDef, ast.JoinedStr, ast.Match, ast.NamedExpr, ast.Nonlocal, ast.YieldFrom,
)  # fmt: skip
#: What Python 2.7 has too, of the standard library.
MODULES = {"hashlib", "hmac", "os", "socket", "struct", "sys", "threading", "time", "types"}


def test_it_has_no_syntax_that_python_2_does_not_know() -> None:
    tree = ast.parse(SHIM_FILE.read_text(encoding="ascii"))
    nodes = list(ast.walk(tree))
    functions = [node for node in nodes if isinstance(node, ast.FunctionDef)]

    assert [node for node in nodes if isinstance(node, NEWER_SYNTAX)] == []
    assert [node.lineno for node in nodes if isinstance(node, ast.Raise) and node.cause] == []
    assert [node.name for node in functions if node.args.kwonlyargs or node.args.posonlyargs or node.returns] == []
    assert [arg.arg for node in functions for arg in node.args.args if arg.annotation] == []
    calls = [node.func.id for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    assert "print" not in calls
    assert [c for c in nodes if isinstance(c, ast.Call) and c.keywords] == []


def test_it_imports_only_what_python_2_has_and_the_rest_from_the_clr_when_needed() -> None:
    tree = ast.parse(SHIM_FILE.read_text(encoding="ascii"))
    top = {alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names}
    inside = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}

    assert top <= MODULES
    assert {module.split(".")[0] for module in inside} <= {"Antmicro", "System"}


def test_loading_it_outside_of_renode_publishes_nothing() -> None:
    load_shim()

    assert "cosim_shim" not in sys.modules


@pytest.mark.parametrize(("text", "endpoint"), [("127.0.0.1:4157", ("127.0.0.1", 4157)), ("[::1]:1", ("::1", 1))])
def test_an_endpoint_is_host_and_port(text: str, endpoint: tuple[str, int]) -> None:
    assert load_shim().parse_endpoint(text) == endpoint


@pytest.mark.parametrize("text", ["", "127.0.0.1", ":80", "host:", "host:x", "host:0", "host:65536", "host:-1"])
def test_what_is_no_endpoint_is_refused(text: str) -> None:
    shim = load_shim()
    with pytest.raises(shim.ShimError, match="HOST:PORT"):
        shim.parse_endpoint(text)


def test_a_token_file_that_cannot_be_read_is_told() -> None:
    shim = load_shim()
    with pytest.raises(shim.ShimError, match="`cosim serve` makes it"):
        shim.read_token("/nowhere/token")


def test_smc_sites_are_the_words_of_that_instruction_in_any_condition() -> None:
    words = [0xE1600070, 0x11600071, 0xF1600070, 0xE1600080, 0xE1200070, 0xE160007F]
    data = bytearray(struct.pack("<6I", *words)) + b"\x70\x00\x60"

    assert load_shim().smc_sites(data, 0xC0000000) == [0xC0000000, 0xC0000004, 0xC0000014]


def test_the_prebuilt_client_has_one_site() -> None:
    data = bytearray(firmware_file("a7_client.elf").read_bytes())

    assert len(load_shim().smc_sites(data, 0)) == 1


@pytest.fixture
def wire() -> Iterator[tuple[tuple[Any, Any], socket.socket]]:
    """The module and a stream of its making, and the server's end of that stream."""
    ours, theirs = socket.socketpair()
    module = load_shim()
    with ours, theirs:
        yield (module, module.Stream(theirs)), ours


def test_a_frame_of_any_length_is_not_waited_for(wire: Any) -> None:
    (module, stream), server = wire
    server.sendall(struct.pack("<IB", 0x20202020, 0x20))
    with pytest.raises(module.ShimError, match="not `cosim serve`"):
        stream.receive()


@pytest.mark.parametrize(("kind", "magic"), [(Kind.CHALLENGE, b"someone\0"), (Kind.DONE, protocol.MAGIC)])
def test_another_service_is_told_from_a_server(wire: Any, kind: Kind, magic: bytes) -> None:
    (module, stream), server = wire
    server.sendall(protocol.frame(kind, magic + struct.pack("<H", 1) + bytes(32)))
    with pytest.raises(module.ShimError, match="what answers there is not `cosim serve`"):
        module._handshake(stream, bytearray(b"0" * 64), "a double")


def test_a_message_that_the_shim_does_not_know_ends_the_connection_with_one_error(wire: Any) -> None:
    (module, stream), server = wire
    machine = MachineDouble()
    shim = module.Shim(stream, machine)
    server.sendall(protocol.frame(Kind.WELCOME))
    assert shim.begin() is None
    assert shim.ended
    assert machine.errors == ["the server sent a message of unknown kind 0x02; blocks read as zero from now on"]


def test_a_server_that_stays_silent_is_given_up(wire: Any) -> None:
    (module, stream), _ = wire
    machine = MachineDouble()
    stream._socket.settimeout(0.01)
    assert module.Shim(stream, machine).access(0x50000000, 4, None) == 0
    assert machine.errors == ["lost the server: timed out; blocks read as zero from now on"]


@pytest.mark.parametrize("answer", [b"", bytes(12), bytes(20)])
def test_an_smc_without_four_results_is_not_supported(wire: Any, answer: bytes) -> None:
    (module, stream), server = wire
    server.sendall(protocol.frame(Kind.DONE, answer))
    assert module.Shim(stream, MachineDouble()).smc([0] * 8) == (0xFFFFFFFF, 0, 0, 0)


class Request:
    """A request as PythonPeripheral hands it over."""

    def __init__(self, kind: str, length: int = 4, value: int = 0) -> None:
        self.IsRead, self.IsWrite = kind == "read", kind == "write"
        self.Absolute, self.Length, self.Value = 0x50000000, length, value


class Recorder:
    """Stands for a shim, a peripheral and a log."""

    def __init__(self) -> None:
        self.accesses: list[tuple[int, int, int | None]] = []
        self.logged: list[str] = []

    def access(self, address: int, size: int, value: int | None) -> int:
        if value == 0xBAD:
            raise ValueError("no such value")
        self.accesses.append((address, size, value))
        return 0x55

    def Log(self, _level: str, text: str, argument: object) -> None:  # noqa: N802 - Renode's name
        self.logged.append(text.format(argument))


@pytest.fixture
def peripherals() -> tuple[object, Recorder]:
    shim, recorder = load_shim(), Recorder()
    shim.LogLevel = type("LogLevel", (), {"Warning": "warning", "Error": "error"})
    shim.PERIPHERALS.shim = recorder
    return shim.PERIPHERALS, recorder


def test_accesses_of_a_python_peripheral_reach_the_shim(peripherals: tuple[object, Recorder]) -> None:
    entry, recorder = peripherals
    read = Request("read", 2)
    entry.access(recorder, read)  # type: ignore[attr-defined]
    entry.access(recorder, Request("write", 4, 7))  # type: ignore[attr-defined]
    entry.access(recorder, Request("init"))  # type: ignore[attr-defined]

    assert read.Value == 0x55
    assert recorder.accesses == [(0x50000000, 2, None), (0x50000000, 4, 7)]
    assert recorder.logged == []


def test_nothing_that_goes_wrong_in_an_access_reaches_renode(peripherals: tuple[object, Recorder]) -> None:
    entry, recorder = peripherals
    entry.access(recorder, Request("write", 4, 0xBAD))  # type: ignore[attr-defined]
    entry.access(recorder, Request("read", 8))  # type: ignore[attr-defined]

    assert recorder.logged == ["cosim: no such value", "access of 8 bytes is not served"]


def test_the_scripts_of_the_platform_file_do_without_a_shim() -> None:
    text = platform_file("stm32mp157-secure.repl").read_text(encoding="ascii")
    scripts = [line.split("script: ", 1)[1].strip('"') for line in text.splitlines() if "script: " in line]
    warnings: list[str] = []
    peripheral = type("Peripheral", (), {"WarningLog": lambda _self, text: warnings.append(text)})()

    assert len(scripts) == 6
    for script in scripts:
        exec(compile(script, "script", "exec"), {"self": peripheral, "request": None})
    assert warnings == ["no co-simulation is connected"] * 6
