"""The options that several subcommands share, made from the one table in `cosim.options`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

import click

from cosim.options import BOOT_OPTIONS, Option

F = TypeVar("F", bound=Callable[..., object])


def with_options(options: Iterable[Option] = BOOT_OPTIONS) -> Callable[[F], F]:
    """Decorate a click command with `options`; their values arrive under their keys."""

    def decorate(function: F) -> F:
        for option in reversed(tuple(options)):
            function = _declare(option)(function)
        return function

    return decorate


def _declare(option: Option) -> Callable[[F], F]:
    if option.switch:
        return click.option(option.flag, is_flag=True, help=option.help)
    if option.numbers is not None:
        kind = click.IntRange(*option.numbers)
        return click.option(option.flag, type=kind, metavar=option.metavar, help=option.help)
    choice = click.Choice(option.choices)
    return click.option(option.flag, type=choice, default=option.default, show_default=True, help=option.help)
