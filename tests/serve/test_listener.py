"""Who may connect to `cosim serve`: addresses, sockets, tokens, versions, and strangers."""

from __future__ import annotations

import contextlib
import socket
import stat
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from doubles import TOKEN, Renode, Server, load_shim

from cosim.errors import UsageError
from cosim.serve import protocol
from cosim.serve.listener import Connection, admit, listen_on_port, listen_on_socket
from cosim.serve.protocol import Kind, ProtocolError
from cosim.serve.token import client_proof, default_token_file, obtain_token, server_proof


@pytest.fixture
def server() -> Iterator[Server]:
    """A server that waits for its first welcome client; one comes at the end, if none came before."""
    server = Server()
    yield server
    if not server.admitted:
        Renode(server).hang_up()
    server.outcome()


def speak(server: Server, data: bytes) -> bytes:
    """What a stranger who sends `data` gets after the challenge until the server hangs up."""
    with socket.create_connection(("127.0.0.1", server.port), 10) as stream:
        heard = b""
        while len(heard) < 5 + 42:
            heard += stream.recv(5 + 42 - len(heard))
        with contextlib.suppress(OSError):
            stream.sendall(data)
            stream.shutdown(socket.SHUT_WR)
        heard = b""
        # A server that hangs up without having read everything resets the connection, and the rest may be lost.
        with contextlib.suppress(ConnectionResetError):
            while chunk := stream.recv(1000):
                heard += chunk
    return heard


@pytest.mark.parametrize("address", ["0.0.0.0", "192.168.7.7", "::", "8.8.8.8"])
def test_an_address_that_others_can_reach_is_refused_unless_told(address: str) -> None:
    with pytest.raises(UsageError, match="other machines") as refused, listen_on_port(address, 0):
        pass
    assert "--allow-remote" in refused.value.hint


def test_an_address_that_others_can_reach_is_listened_on_when_told() -> None:
    with listen_on_port("0.0.0.0", 0, anywhere=True) as listener:
        assert listener.getsockname()[0] == "0.0.0.0"


@pytest.mark.parametrize("address", ["", "localhost", "127.0.0.1:80", "300.1.1.1"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(UsageError, match="no IP address"), listen_on_port(address, 0):
        pass


def test_a_port_that_is_taken_is_refused() -> None:
    with listen_on_port("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(UsageError, match="cannot listen"), listen_on_port("127.0.0.1", port):
            pass


def test_a_unix_socket_is_its_owners_alone_and_goes_away(tmp_path: Path) -> None:
    path = tmp_path / "cosim.sock"
    with listen_on_socket(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not path.exists()


def test_a_unix_socket_that_was_left_behind_is_replaced_but_no_other_file_is(tmp_path: Path) -> None:
    path, other = tmp_path / "left.sock", tmp_path / "precious"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    with listen_on_socket(path):
        pass
    other.write_text("keep me")
    with pytest.raises(UsageError, match="else than a socket"), listen_on_socket(other):
        pass
    assert other.read_text() == "keep me"


def test_a_client_is_admitted_through_a_unix_socket_too(tmp_path: Path) -> None:
    path = tmp_path / "cosim.sock"
    admitted: list[Connection] = []
    with listen_on_socket(path) as listener, socket.socket(socket.AF_UNIX) as client:
        thread = threading.Thread(target=lambda: admitted.append(admit(listener, TOKEN, str)))
        thread.start()
        client.connect(str(path))
        nonce = client.recv(100)[5 + 10 :]
        hello = struct.pack("<H", 1) + bytes(32) + client_proof(TOKEN, nonce, bytes(32)) + protocol.name("me")
        client.sendall(protocol.frame(Kind.HELLO, hello))
        assert client.recv(100)[5:] == server_proof(TOKEN, nonce, bytes(32))
        thread.join(10)
    assert admitted[0].peer == "me"
    admitted[0].close()


@pytest.mark.parametrize(("data", "why"), [
    (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "a frame of kind 0x2f"),
    (bytes(64), "a frame of kind 0x00"),
    (protocol.frame(Kind.READ, bytes(26)), "READ where HELLO"),
    (protocol.frame(Kind.HELLO, bytes(5)), "HELLO ends"),
    (protocol.frame(Kind.HELLO, bytes(0x1000)), "HELLO with 4096 bytes"),
    (protocol.frame(Kind.HELLO, struct.pack("<H", 1) + bytes(64) + b"\0"), "does not know the token"),
    (protocol.frame(Kind.HELLO, struct.pack("<H", 9) + bytes(64) + b"\0"), "version 9, this server 1"),
    (b"\x43", "closed the connection"),
    (b"", "closed the connection"),
])  # fmt: skip
def test_a_stranger_is_sent_away_and_the_next_client_is_served(server: Server, data: bytes, why: str) -> None:
    answer = speak(server, data)

    assert not answer or (answer[4] == Kind.REFUSED and why in answer[5:].decode())
    renode = Renode(server)
    assert [why in reason for reason in server.sent_away] == [True]
    renode.hang_up()


def test_a_client_with_another_token_is_sent_away_and_hears_why(server: Server) -> None:
    shim = load_shim()
    with pytest.raises(shim.ShimError, match="does not know the token"):
        shim.connect(server.endpoint, bytearray(b"f" * 64), "a double")


def test_a_client_of_another_version_hears_both_versions(server: Server) -> None:
    shim = load_shim()
    shim.VERSION = 7
    with pytest.raises(shim.ShimError, match="protocol version 1, this file 7"):
        shim.connect(server.endpoint, bytearray(TOKEN), "a double")


def test_a_client_notices_a_server_that_does_not_know_the_token() -> None:
    shim, nonce = load_shim(), bytes(32)
    with listen_on_port("127.0.0.1", 0) as listener:
        heard: list[bytes] = []

        def pretend() -> None:
            stream, _ = listener.accept()
            with stream:
                stream.sendall(protocol.frame(Kind.CHALLENGE, protocol.challenge(nonce)))
                heard.append(stream.recv(1000))
                stream.sendall(protocol.frame(Kind.WELCOME, bytes(32)))

        thread = threading.Thread(target=pretend)
        thread.start()
        with pytest.raises(shim.ShimError, match="server does not know the token"):
            shim.connect(f"127.0.0.1:{listener.getsockname()[1]}", bytearray(TOKEN), "a double")
        thread.join(10)
    assert TOKEN not in heard[0]


def test_without_a_server_the_client_says_what_to_start() -> None:
    shim = load_shim()
    with listen_on_port("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(shim.ShimError, match="start `cosim serve"):
        shim.connect(f"127.0.0.1:{port}", bytearray(TOKEN), "a double")


def test_a_connection_refuses_what_is_not_an_answer() -> None:
    ours, theirs = socket.socketpair()
    connection = Connection(ours, "a double")
    with theirs:
        theirs.sendall(protocol.frame(Kind.TICK, bytes(22)))
        with pytest.raises(ProtocolError, match="TICK where the RESULT of READ_MEM"):
            connection.ask(Kind.READ_MEM, protocol.read_mem("ddr", 0, 4))
    connection.close()


def test_a_missing_token_file_is_made_for_its_owner_alone_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "token"
    token = obtain_token(path)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(bytes.fromhex(token.decode())) == 32
    assert obtain_token(path) == token
    assert obtain_token(tmp_path / "other") != token
    assert bytes(load_shim().read_token(str(path))) == token


def test_a_token_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "token"
    obtain_token(path)
    path.chmod(0o640)
    with pytest.raises(UsageError, match="only you can read"):
        obtain_token(path)


@pytest.mark.parametrize("content", [b"", b"secret", b"0" * 63, b"0" * 65, b"g" * 64, b"\xff" * 64, b"0" * 100_000])
def test_a_token_file_without_a_token_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "token"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(UsageError, match="does not hold a token"):
        obtain_token(path)


def test_a_token_file_is_no_link_no_folder_and_in_a_folder_that_exists(tmp_path: Path) -> None:
    real = tmp_path / "real"
    obtain_token(real)
    (tmp_path / "link").symlink_to(real)
    (tmp_path / "folder").mkdir()
    for name in ("link", "folder", "missing/token"):
        with pytest.raises(UsageError, match="the token file"):
            obtain_token(tmp_path / name)


@pytest.mark.parametrize("runtime", ["/run/user/1000", ""])
def test_both_sides_have_the_same_default_token_file(monkeypatch: pytest.MonkeyPatch, runtime: str) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", runtime)
    monkeypatch.setenv("HOME", "/home/somebody")

    assert load_shim().token_path("") == str(default_token_file())
    assert load_shim().token_path("mine") == "mine"
