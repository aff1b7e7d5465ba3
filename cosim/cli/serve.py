"""`cosim serve`: run the secure world and the register models for a Renode beside this process, and judge its boot."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cosim.cli._options import with_options
from cosim.cli._output import about, check_writable, error_line, log, read_input, write_atomically
from cosim.cli._report import show
from cosim.cli.boot import signed_image
from cosim.errors import CosimError
from cosim.options import FIREWALL, MAX_INSTRUCTIONS, PROFILE, STRICT, TIMEOUT, soc_config
from cosim.timeline import Style, describe

if TYPE_CHECKING:
    from cosim.events import Record
    from cosim.serve.listener import Connection
    from cosim.soc import SocConfig

DEFAULT_ADDRESS, DEFAULT_PORT = "127.0.0.1", 4157
SCRIPT = "stm32mp157c-dk2.resc"


@click.command()
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--pubkey", type=click.Path(path_type=Path), help="Key (PEM) to verify with; default: the test key.")
@click.option("--address", default=DEFAULT_ADDRESS, show_default=True, help="Loopback address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=DEFAULT_PORT, show_default=True, help="0: any free one.")
@click.option("--allow-remote", is_flag=True, help="Let --address be one that other machines can reach.")
@click.option("--socket", "socket_path", type=click.Path(path_type=Path), help="Listen on a Unix socket instead.")
@click.option(
    "--token-file", type=click.Path(path_type=Path), help="Secret that the client must know; made if missing."
)
@with_options((PROFILE, FIREWALL, STRICT, TIMEOUT, MAX_INSTRUCTIONS))
@click.option("--events", type=click.Path(path_type=Path), help="Write the event log as JSON Lines.")
@click.option("--keep", is_flag=True, help="Serve one Renode after the other; ends with an interrupt.")
def serve(
    path: Path,
    *,
    pubkey: Path | None,
    address: str,
    port: int,
    allow_remote: bool,
    socket_path: Path | None,
    token_file: Path | None,
    events: Path | None,
    keep: bool,
    **settings: object,
) -> int:
    """Serve a plain Renode that runs stm32mp157c-dk2.resc: it boots FILE, and its boot is judged here.

    FILE is a signed image or an ELF file, which is signed with the project's test key. Prints what happens and the
    verdict, and ends with the exit code that `cosim boot` would have.
    """
    from cosim.serve.listener import admit, listen_on_port, listen_on_socket
    from cosim.serve.token import default_token_file, obtain_token
    from ta.keys import load_public_key

    if events is not None:
        check_writable(events)
    config = soc_config(settings, None if pubkey is None else load_public_key(pubkey))
    image = signed_image(read_input(path), path, pubkey)
    token_path = token_file or default_token_file()
    token = obtain_token(token_path)
    listening = (
        listen_on_port(address, port, anywhere=allow_remote) if socket_path is None else listen_on_socket(socket_path)
    )
    with listening as listener:
        _announce(listener, token_path)
        while True:
            connection = admit(listener, token, lambda why: log(f"sent a client away: {why}", Style.BAD))
            log(f"serving {connection.peer}")
            try:
                code = _serve_one(connection, image, config, path, events)
            except CosimError as error:
                if not keep:
                    raise
                log(error_line(error), Style.BAD)
                continue
            if not keep:
                return code


def _announce(listener: socket.socket, token_path: Path) -> None:
    from cosim.resources import platform_file

    if listener.family is socket.AF_UNIX:
        log(f"listening on {listener.getsockname()}, token file {token_path}")
        return
    host, port = listener.getsockname()[:2]
    where = f"[{host}]:{port}" if listener.family is socket.AF_INET6 else f"{host}:{port}"
    log(f"listening on {where}, token file {token_path}; in Renode's monitor:")
    log(f'    $cosim="{where}"')
    log(f'    $token="{token_path.absolute()}"')
    log(f"    include @{platform_file(SCRIPT)}")
    log("    start")


def _serve_one(connection: Connection, image: bytes, config: SocConfig, path: Path, events: Path | None) -> int:
    """Serve one admitted client to the end, print timeline and verdict; the exit code of its boot."""
    from cosim.diagnosis import explain
    from cosim.serve.server import serve_boot

    records: list[Record] = []

    def listen(record: Record) -> None:
        records.append(record)
        line = describe(record)
        if line.style is not Style.DETAIL:
            log(str(line), line.style)

    try:
        with about(path):
            report = serve_boot(connection, image, config, listen=listen)
    finally:
        if events is not None:
            write_atomically(events, (record.as_json().encode() + b"\n" for record in records))
    show(report, explain(report, image, str(path)))
    return report.exit_code
