"""`cosim doctor`: whether everything that a boot needs is here, and what is optional but missing."""

from __future__ import annotations

import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata

import click

from cosim.cli._output import out, out_json
from cosim.errors import CosimError
from cosim.timeline import Style

FINE, BROKEN = 0, 1
_LIBRARIES = ("capstone", "click", "construct", "cryptography", "lark", "pyelftools", "pyvcd", "unicorn")
_TOOLS = (
    ("cc", "builds the engine's native helper"),
    ("make", "runs the demo and the firmware build"),
    ("arm-none-eabi-gcc", "rebuilds the firmware"),
    ("gdb-multiarch", "debugs a core, with --gdb"),
)
_PLATFORMS = ("stm32mp157.repl", "stm32mp157-secure.repl", "stm32mp157-blocks.repl", "stm32mp157c-dk2.repl")
_PROGRAMS = ("a7_client.elf", "demo_m4.elf")


@dataclass(frozen=True)
class Check:
    """One thing that was looked for; without a `required` one no boot is possible."""

    group: str
    name: str
    present: bool
    detail: str
    required: bool = True

    def as_dict(self) -> dict[str, object]:
        """JSON-ready."""
        return vars(self).copy()


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def doctor(as_json: bool) -> int:
    """Report on Python, libraries, engines, compilers and the project's own files.

    Exit code 0: a boot is possible; 1: something that it needs is missing.
    """
    checks = [*_python(), *_engines(), *_compilers(), *_files()]
    healthy = all(check.present for check in checks if check.required)
    if as_json:
        out_json({"healthy": healthy, "checks": [check.as_dict() for check in checks]})
    else:
        for check in checks:
            _show(check)
        out("ready" if healthy else "not ready: a required part is missing", Style.GOOD if healthy else Style.BAD)
    return FINE if healthy else BROKEN


def _show(check: Check) -> None:
    state = "ok" if check.present else "MISSING" if check.required else "absent"
    style = Style.GOOD if check.present else Style.BAD if check.required else Style.PLAIN
    out(f"{check.group:<9} {check.name:<24} {state:<8} {check.detail}".rstrip(), style)


def _python() -> Iterator[Check]:
    good = sys.version_info >= (3, 10)
    yield Check(
        "python", platform.python_implementation(), good, f"{platform.python_version()} on {platform.machine()}"
    )
    for name in _LIBRARIES:
        try:
            yield Check("library", name, True, metadata.version(name))
        except metadata.PackageNotFoundError:
            yield Check("library", name, False, "install the package anew: pip install .")


def _engines() -> Iterator[Check]:
    try:
        from cosim.engine.unicorn.native import NativeLoop
    except ImportError as error:
        yield Check("engine", "unicorn", False, str(error))
    else:
        yield Check("engine", "unicorn", True, metadata.version("unicorn"))
        try:
            NativeLoop()
            yield Check("engine", "unicorn native loop", True, "fast inner loop in C", required=False)
        except CosimError as error:
            detail = f"{error}; the Python loop gives the same results, more slowly"
            yield Check("engine", "unicorn native loop", False, detail, required=False)
    yield _renode()


def _renode() -> Check:
    from cosim.engine.renode import find_renode

    try:
        return Check("engine", "renode", True, str(find_renode()), required=False)
    except CosimError as error:
        return Check("engine", "renode", False, f"{error.message}; {error.hint}", required=False)


def _compilers() -> Iterator[Check]:
    for name, use in _TOOLS:
        found = shutil.which(name)
        yield Check("tool", name, found is not None, found or f"not found; it {use}", required=False)


def _files() -> Iterator[Check]:
    from cosim.resources import TEST_KEY, firmware_file, key_file, platform_file

    kinds: tuple[tuple[str, Callable[[str], object], tuple[str, ...]], ...] = (
        ("platform", platform_file, _PLATFORMS),
        ("firmware", firmware_file, _PROGRAMS),
        ("key", key_file, (TEST_KEY,)),
    )
    for group, find, names in kinds:
        for name in names:
            try:
                yield Check(group, name, True, str(find(name)))
            except CosimError as error:
                yield Check(group, name, False, str(error))
