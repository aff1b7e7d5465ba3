"""The command `cosim`: `main` is the entry point, each subcommand lives in a module of its own."""

from __future__ import annotations

from cosim.cli._main import main, run

__all__ = ["main", "run"]
