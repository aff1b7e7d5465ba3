"""Dispatch to the subcommands, and what ends a run: exit codes, error lines, interrupts and closed pipes.

Exit codes: 0 done (the image booted and every monitor held); 1 refused, a monitor broke, or problems were found;
2 bad usage or unreadable input; 130 interrupted; 141 the reader of the output went away.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import click

from cosim.cli._output import INTERRUPTED, error_line
from cosim.errors import CosimError, RunTimeout, UnmodelledAccess

#: In the order of `cosim --help`; each is the module and the function of that name in `cosim.cli`.
COMMANDS = ("keygen", "sign", "inspect", "boot", "rpmsg", "campaign", "serve", "doctor")
FAILED, USAGE, PIPE_CLOSED = 1, 2, 141


class _Cosim(click.Group):
    """A group that imports a subcommand only when it is wanted, so that the command starts fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's interface
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's interface
        if cmd_name not in COMMANDS:
            return None
        command = getattr(importlib.import_module(f"cosim.cli.{cmd_name}"), cmd_name)
        return command if isinstance(command, click.Command) else None

    def invoke(self, ctx: click.Context) -> object:
        # click itself would end a closed pipe with code 1, which means "refused" here.
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
            return result
        except BrokenPipeError:
            return _pipe_closed()


def _pipe_closed() -> int:
    # Nothing can be written any more; the interpreter must not try again when it flushes at exit.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
    return PIPE_CLOSED


@click.group(cls=_Cosim, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="remoteproc-cosim", prog_name="cosim", message="%(prog)s %(version)s")
def cosim() -> None:
    """Boot authenticated Cortex-M4 firmware on a simulated STM32MP15, and prove what ran when."""


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command with `arguments` (default: those of the process) and return its exit code."""
    try:
        result = cosim.main(args=arguments, prog_name="cosim", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        click.echo("interrupted", err=True)
        return INTERRUPTED
    except CosimError as error:
        click.echo(error_line(error), err=True)
        return FAILED if isinstance(error, (RunTimeout, UnmodelledAccess)) else USAGE
    return result if isinstance(result, int) else 0


def main() -> NoReturn:
    """Entry point of the command `cosim`."""
    sys.exit(run())
