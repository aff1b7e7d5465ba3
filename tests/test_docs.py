"""What the documents say about files, commands, options and layers is so."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cosim.cli import run
from cosim.options import BOOT_OPTIONS, PYTEST_OPTIONS

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
DOCUMENTS = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "firmware/*.md", "firmware/keys/*.md", "tests/vectors/*.md")
    for path in ROOT.glob(pattern)
)
SOURCES = sorted(path for top in ("ta", "cosim") for path in (ROOT / top).rglob("*.py"))

#: The floors of docs/architecture.md: a module imports from its own floor and from those below.
FLOORS = (
    ("ta",),
    ("cosim.errors", "cosim.access", "cosim.events", "cosim.registers", "cosim.resources", "cosim.timing"),
    (
        "cosim.memory", "cosim.memory_map", "cosim.platform", "cosim.peripherals", "cosim.firewall", "cosim.bus",
        "cosim.interrupts", "cosim.timers",
    ),
    ("cosim.engine",),
    ("cosim.client", "cosim.blocks", "cosim.assembly", "cosim.run_limits", "cosim.soc"),
    (
        "cosim.core_snapshot", "cosim.diagnosis", "cosim.symbols",
        "cosim.image_history", "cosim.monitors", "cosim.verdict", "cosim.timeline", "cosim.scripts", "cosim.boot",
        "cosim.inspection", "cosim.options", "cosim.testing", "cosim.linux", "cosim.waveform", "cosim.gdb",
        "cosim.instruction_trace", "cosim.uart_input",
    ),
    ("cosim.serve", "cosim.bench", "cosim.campaign", "cosim.cli", "cosim.pytest_plugin", "cosim.pytest_rpmsg"),
)  # fmt: skip
#: Who may import a library that others must not depend on.
ONLY_IN = {
    "capstone": ("cosim.timing", "cosim.instruction_trace"),
    "distributed": ("cosim.campaign",),
    "matplotlib": ("cosim.bench",),
    "vcd": ("cosim.waveform",),
    "unicorn": ("cosim.engine.unicorn", "cosim.bench"),
    "click": ("cosim.cli",),
    "rich": ("cosim.cli", "cosim.bench"),
    "pytest": ("cosim.pytest_plugin", "cosim.pytest_rpmsg"),
}


def module_name(path: Path) -> str:
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    return name.removesuffix(".__init__")


def imported(path: Path) -> Iterator[str]:
    """Full names of what a source file imports, wherever in the file it does."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            # `from cosim import client` names a module, `from cosim.client import Step` does not.
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def within(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def floor_of(name: str) -> int | None:
    return next((number for number, packages in enumerate(FLOORS) if within(name, packages)), None)


def code_in(text: str) -> Iterator[str]:
    """The lines of fenced and indented blocks, and inline code."""
    fence = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
    for block in fence.findall(text):
        yield from block.splitlines()[1:-1]
    rest = fence.sub("", text)
    yield from re.findall(r"^    (\S.*)", rest, re.MULTILINE)
    yield from re.findall(r"`([^`\n]+)`", rest)


def usages(document: Path) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Subcommands of cosim that a document's code names, each with the flags that it gives them."""
    for line in code_in(document.read_text(encoding="utf-8")):
        for command, rest in re.findall(r"(?:^|[\s/])cosim ([a-z]+)((?: [^|;&#]*)?)", line):
            yield command, tuple(re.findall(r"(?<!\S)\[?(--[a-z-]+)", rest))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_relative_link_leads_somewhere(document: Path) -> None:
    targets = re.findall(r"\]\(([^)\s]+)\)", document.read_text(encoding="utf-8"))
    relative = [target.split("#")[0] for target in targets if not re.match(r"[a-z]+:|#", target)]

    assert [target for target in relative if not (document.parent / target).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_cosim_command_in_a_document_exists_with_its_flags(
    document: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for command, flags in set(usages(document)):
        assert run([command, "--help"]) == 0, command
        assert set(flags) <= set(re.findall(r"--[a-z-]+", capsys.readouterr().out)), command


def test_the_readme_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    listed = re.findall(r"^  ([a-z]+) ", capsys.readouterr().out.split("Commands:")[1], re.MULTILINE)

    assert set(listed) == {command for command, _ in usages(README)}


def test_the_readme_lists_every_option_with_its_choices() -> None:
    code = set(code_in(README.read_text(encoding="utf-8")))

    expected = {option.flag for option in BOOT_OPTIONS} | {option.pytest_flag for option in PYTEST_OPTIONS}
    expected |= {choice for option in BOOT_OPTIONS for choice in option.choices}
    assert expected - code == set()


def test_the_suite_in_the_readme_passes_as_it_stands(tmp_path: Path) -> None:
    (suite,) = re.findall(r"^```python\n(.*?)^```", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    (tmp_path / "test_readme.py").write_text(suite, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": ""}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "cosim.pytest_plugin", "-p", "no:cacheprovider"]

    outcome = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    assert outcome.returncode == 0, outcome.stdout
    assert "2 passed" in outcome.stdout


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_make_target_in_a_document_exists(document: Path) -> None:
    home = document.parent if (document.parent / "Makefile").exists() else ROOT
    for line in code_in(document.read_text(encoding="utf-8")):
        for folder, target in re.findall(r"^(?:\w+=\S+ )*make (?:-C (\S+) )?([a-z][a-z-]*)", line):
            makefile = (ROOT / folder if folder else home) / "Makefile"
            assert re.search(rf"^{target}:", makefile.read_text(encoding="utf-8"), re.MULTILINE), line


@pytest.mark.parametrize("source", SOURCES, ids=module_name)
def test_a_module_imports_only_from_its_own_floor_and_those_below(source: Path) -> None:
    own = floor_of(module_name(source)) if module_name(source) != "cosim" else len(FLOORS)

    assert own is not None, "give the module a floor, here and in docs/architecture.md"
    above = [n for n in imported(source) if n.split(".")[0] in ("ta", "cosim") and (floor_of(n) or 0) > own]
    assert above == []


@pytest.mark.parametrize("library", ONLY_IN)
def test_a_library_is_imported_only_where_it_belongs(library: str) -> None:
    users = {module_name(s) for s in SOURCES for name in imported(s) if within(name, (library,))}

    assert [user for user in sorted(users) if not within(user, ONLY_IN[library])] == []
