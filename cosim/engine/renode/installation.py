"""Where Renode is: looks for it as pyrenode3 does, without loading anything, and says what was found or is missing.

Sources: pyrenode3's README and loader (PYRENODE_PKG, PYRENODE_BUILD_DIR with PYRENODE_BUILD_OUTPUT, PYRENODE_BIN,
PYRENODE_RUNTIME; otherwise /opt/renode with Mono).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from ctypes.util import find_library
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from cosim.errors import EngineError

INSTALL_BINDING = "pip install 'remoteproc-cosim[renode]'"
INSTALL_RENODE = (
    "install Renode 1.16.1 or newer, or set PYRENODE_BIN (portable binary, with PYRENODE_RUNTIME=coreclr), "
    "PYRENODE_PKG (package) or PYRENODE_BUILD_DIR (build); see docs/renode.md"
)
_INSTALLED = Path("/opt/renode")
_BUILD_OUTPUT = "output/bin/Release"
_RUNTIMES = ("mono", "coreclr")
_PLACES = ("PYRENODE_PKG", "PYRENODE_BUILD_DIR", "PYRENODE_BIN")


@dataclass(frozen=True)
class Installation:
    """A Renode that pyrenode3 can load: `kind` is installed, package, build or portable; `runtime` mono or coreclr."""

    kind: str
    path: Path
    runtime: str

    def __str__(self) -> str:
        return f"{self.kind} Renode in {self.path} on {self.runtime}"


def find_renode(environment: Mapping[str, str] | None = None) -> Installation:
    """The Renode that `environment` (default: the process's) leads to.

    Raises `EngineError` that says what is missing and how to get it. Nothing is loaded or started.
    """
    environment = os.environ if environment is None else environment
    runtime = environment.get("PYRENODE_RUNTIME", "mono")
    if runtime not in _RUNTIMES:
        raise _missing(f"PYRENODE_RUNTIME is {runtime!r}", f"set it to {' or '.join(_RUNTIMES)}")
    named = [name for name in _PLACES if environment.get(name)]
    if len(named) > 1:
        raise _missing(f"{' and '.join(named)} are both set", "keep one of them")
    found = _named(named[0], environment, runtime) if named else _installed(runtime)
    if find_spec("pyrenode3") is None:
        raise _missing("pyrenode3 is not installed", INSTALL_BINDING)
    if runtime == "mono" and shutil.which("mono") is None and find_library("monosgen-2.0") is None:
        raise _missing("the Mono runtime is not installed", "apt-get install mono-complete")
    return found


def _named(variable: str, environment: Mapping[str, str], runtime: str) -> Installation:
    path = Path(environment[variable])
    if variable == "PYRENODE_BUILD_DIR":
        output = path / environment.get("PYRENODE_BUILD_OUTPUT", _BUILD_OUTPUT)
        program = output / ("Renode.exe" if runtime == "mono" else "Renode.dll")
        if not program.is_file():
            raise _missing(f"{variable}: {program} is not there", "build Renode, or correct PYRENODE_BUILD_OUTPUT")
        return Installation("build", output, runtime)
    if not path.is_file():
        raise _missing(f"{variable}: {path} is not a file", INSTALL_RENODE)
    if variable == "PYRENODE_PKG":
        return Installation("package", path, runtime)
    if runtime == "mono":
        raise _missing("a portable Renode does not run on Mono", "set PYRENODE_RUNTIME=coreclr")
    return Installation("portable", path, runtime)


def _installed(runtime: str) -> Installation:
    program = _INSTALLED / "bin" / "Renode.exe"
    if shutil.which("renode") is None or not program.is_file():
        raise _missing("Renode is not installed", INSTALL_RENODE)
    if runtime != "mono":
        raise _missing("pyrenode3 loads an installed Renode on Mono only", "unset PYRENODE_RUNTIME")
    return Installation("installed", _INSTALLED, runtime)


def _missing(what: str, hint: str) -> EngineError:
    if hint == INSTALL_RENODE and find_spec("pyrenode3") is None:
        hint = f"{hint}; and {INSTALL_BINDING}"
    return EngineError(f"the engine renode is not available: {what}", hint=hint, engine="renode")
