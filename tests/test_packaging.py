"""The archives that users install hold what they must, work where there is no source tree, and need no compiler."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("setuptools", minversion="77", reason="building the archives needs setuptools 77 or newer")

ROOT = Path(__file__).resolve().parent.parent
#: The top of the source tree; what else lies there was made by tools.
FOLDERS = (".ci", "cosim", "docs", "examples", "firmware", "platforms", "ta", "tests")
MADE_BY_TOOLS = shutil.ignore_patterns("__pycache__", "*.so", "build", ".*_cache", ".hypothesis", "*.egg-info")
DATA = {"platforms": "platforms", "firmware": "firmware/prebuilt", "keys": "firmware/keys"}


def files_below(folder: Path) -> Iterator[str]:
    return (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def call_backend(tree: Path, function: str, out: Path, compiler: str) -> Path:
    """Run a PEP 517 hook in `tree` as pip does; returns the archive that it made."""
    code = f"from setuptools import build_meta; print(build_meta.{function}({str(out)!r}))"
    environment = {**os.environ, "CC": compiler}
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=tree, env=environment, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    return out / run.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def source_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources, because a build leaves files where it runs."""
    tree = tmp_path_factory.mktemp("source") / "tree"
    tree.mkdir()
    for name in FOLDERS:
        shutil.copytree(ROOT / name, tree / name, ignore=MADE_BY_TOOLS)
    for path in ROOT.iterdir():
        if path.is_file():
            shutil.copy(path, tree)
    return tree


@pytest.fixture(scope="module")
def sdist(source_tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    before = set(files_below(source_tree))
    archive = call_backend(source_tree, "build_sdist", tmp_path_factory.mktemp("sdist"), "cc")
    shutil.rmtree(source_tree / "remoteproc_cosim.egg-info")
    assert set(files_below(source_tree)) == before
    return archive


@pytest.fixture(scope="module")
def unpacked(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(sdist) as archive:
        # The argument `filter` came with security releases of 3.10 and 3.11 that not every system has.
        archive.extraction_filter = getattr(tarfile, "data_filter", lambda member, _path: member)
        archive.extractall(folder)
    return next(folder.iterdir())


@pytest.fixture(scope="module")
def plain_wheel(unpacked: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that the sdist gives where every compilation fails, unpacked as pip would install it."""
    archive = call_backend(unpacked, "build_wheel", tmp_path_factory.mktemp("wheel"), "/bin/false")
    folder = tmp_path_factory.mktemp("installed")
    zipfile.ZipFile(archive).extractall(folder)
    return folder


def test_the_sdist_holds_every_file_of_the_source_tree(source_tree: Path, unpacked: Path) -> None:
    assert set(files_below(source_tree)) - set(files_below(unpacked)) == set()


def test_the_wheel_holds_every_module_and_the_type_markers(source_tree: Path, plain_wheel: Path) -> None:
    modules = {f"{top}/{name}" for top in ("ta", "cosim") for name in files_below(source_tree / top)}
    modules = {name for name in modules if not name.endswith((".c", ".h"))}

    assert {"ta/py.typed", "cosim/py.typed"} <= modules
    assert modules - set(files_below(plain_wheel)) == set()


@pytest.mark.parametrize("kind", DATA)
def test_the_wheel_holds_all_data_of_a_kind(kind: str, source_tree: Path, plain_wheel: Path) -> None:
    assert set(files_below(plain_wheel / "cosim/_data" / kind)) == set(files_below(source_tree / DATA[kind]))


def test_the_wheel_holds_nothing_else(plain_wheel: Path) -> None:
    assert sorted(path.name.split("-")[0] for path in plain_wheel.iterdir()) == ["cosim", "remoteproc_cosim", "ta"]
    assert list(plain_wheel.rglob("*.c")) == []


def run_cosim(installed: Path, place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command `cosim` of an unpacked wheel, run in the directory `place`."""
    command = [sys.executable, "-m", "cosim.cli", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    return subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)


def doctor_checks(installed: Path, place: Path) -> list[dict[str, object]]:
    """What `cosim doctor` finds; it finds a boot possible."""
    run = run_cosim(installed, place, "doctor", "--json")
    assert run.returncode == 0, run.stderr
    checks = json.loads(run.stdout)["checks"]
    assert isinstance(checks, list)
    return checks


def test_without_a_compiler_the_wheel_boots_the_demo_from_its_own_files(plain_wheel: Path, tmp_path: Path) -> None:
    checks = doctor_checks(plain_wheel, tmp_path)
    by_group = {group: [c for c in checks if c["group"] == group] for group in ("platform", "firmware", "key")}
    for found in by_group.values():
        assert found
        assert all(Path(str(check["detail"])).is_relative_to(plain_wheel) for check in found)
    assert [c["present"] for c in checks if c["name"] == "unicorn native loop"] == [False]

    boot = run_cosim(plain_wheel, tmp_path, "boot", str(plain_wheel / "cosim/_data/firmware/demo_m4.elf"))
    assert boot.returncode == 0, boot.stderr  # booted, and every monitor held
    assert boot.stdout.startswith("verdict: booted")
    assert boot.stderr.count("the Python loop gives the same results") == 1


def test_a_native_loop_for_another_machine_is_an_error_with_a_hint(plain_wheel: Path, tmp_path: Path) -> None:
    installed = tmp_path / "installed"
    shutil.copytree(plain_wheel, installed)
    (installed / "cosim/engine/unicorn/_loop.so").write_bytes(b"\x7fELF, but of no machine")

    [check] = [c for c in doctor_checks(installed, tmp_path) if c["name"] == "unicorn native loop"]
    assert check["present"] is False
    boot = run_cosim(installed, tmp_path, "boot", str(installed / "cosim/_data/firmware/demo_m4.elf"))
    assert boot.returncode == 2
    assert boot.stderr.splitlines()[-1].startswith("error:")
    assert "the native loop cannot be loaded" in boot.stderr
    assert "reinstall the package" in boot.stderr


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
def test_with_a_compiler_the_wheel_holds_the_native_loop_for_every_python_3(unpacked: Path, tmp_path: Path) -> None:
    archive = call_backend(unpacked, "build_wheel", tmp_path, "cc")

    with zipfile.ZipFile(archive) as wheel:
        assert [n for n in wheel.namelist() if n.endswith(".so")] == ["cosim/engine/unicorn/_loop.so"]
        wheel.extractall(tmp_path / "installed")
    python, abi, platform = archive.stem.split("-")[2:]
    assert (python, abi) == ("py3", "none")
    assert platform != "any"
    [check] = [c for c in doctor_checks(tmp_path / "installed", tmp_path) if c["name"] == "unicorn native loop"]
    assert check["present"] is True
