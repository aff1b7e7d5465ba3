"""`cosim keygen`: make a private key that signs firmware."""

from __future__ import annotations

from pathlib import Path

import click

from cosim.cli._output import log

KEY_KINDS = ("rsa4096", "rsa2048", "ecdsa-p256")


@click.command()
@click.argument("kind", type=click.Choice(KEY_KINDS))
@click.option(
    "--out", "path", required=True, type=click.Path(path_type=Path), help="PEM file to make; never overwritten."
)
def keygen(kind: str, path: Path) -> None:
    """Make a private key of KIND and write it as PEM, readable by you only."""
    from ta.keys import generate, write_key

    write_key(path, generate(kind))
    log(f"wrote the {kind} private key {path}; keep it where you keep secrets")
    log(f"`cosim boot IMAGE --pubkey {path}` verifies with its public half")
