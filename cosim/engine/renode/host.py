"""Loads Renode into this process and builds its machine from the platform file; the only place that starts the CLR.

Renode deletes folders named `renode-*` of other programs in the temporary directory, so it gets a directory of its own.
"""

from __future__ import annotations

import atexit
import importlib
import logging
import os
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from cosim.engine.renode.installation import INSTALL_RENODE, Installation, find_renode
from cosim.errors import EngineError
from cosim.platform.model import Platform

#: An object of the CLR, which has no Python type.
Net = Any


@dataclass(frozen=True)
class Host:
    """A machine in Renode: emulation, machine and system bus, versions, objects of the platform file by name."""

    emulation: Net
    machine: Net
    bus: Net
    version: str
    objects: Mapping[str, Net]


def open_host(platform: Platform, quantum_us: int, on_end: Callable[[], None]) -> Host:
    """Load Renode and the platform file; `quantum_us` is the length of a turn in microseconds.

    Renode has one emulation per process: this ends the one before, and `on_end` is called when a later one ends this.
    Raises `EngineError` when Renode is missing or refuses the file.
    """
    installation = find_renode()
    _load(installation)
    from Antmicro.Renode.Time import TimeInterval
    from Antmicro.Renode.UserInterface import MonitorTimeExtensions
    from pyrenode3.wrappers import Emulation

    emulation = Emulation()
    emulation.clear()
    _call_at_end(on_end)
    machine = emulation.add_mach("stm32mp15")
    MonitorTimeExtensions.SetGlobalSerialExecution(emulation.internal, True)
    MonitorTimeExtensions.SetGlobalAdvanceImmediately(emulation.internal, True)
    MonitorTimeExtensions.SetGlobalQuantum(emulation.internal, TimeInterval.FromMicroseconds(quantum_us))
    path = platform.files[0]
    try:
        machine.load_repl(str(path.resolve()))
    except Exception as error:
        emulation.clear()
        raise EngineError(
            f"Renode refuses {path.name}: {_first_line(error)}",
            hint="Renode 1.16.1 or newer is needed",
            engine="renode",
            file=str(path),
        ) from error
    version = f"renode {_number()}, {installation.runtime}, pyrenode3 {metadata.version('pyrenode3')}"
    objects = {child.name: child.internal for child in machine.sysbus}
    return Host(emulation.internal, machine.internal, machine.internal.SystemBus, version, objects)


def _call_at_end(on_end: Callable[[], None]) -> None:
    from Antmicro.Renode.Core import EmulationManager
    from System import Action

    manager = EmulationManager.Instance

    def changed() -> None:
        manager.EmulationChanged -= handler
        on_end()

    handler = Action(changed)
    manager.EmulationChanged += handler


def _number() -> str:
    """The version that Renode's program carries; a private build may have none."""
    from System import AppDomain

    names = [assembly.GetName() for assembly in AppDomain.CurrentDomain.GetAssemblies()]
    return next((str(name.Version) for name in names if name.Name == "Renode"), "of unknown version")


def _load(installation: Installation) -> None:
    if "pyrenode3.wrappers" in sys.modules:
        return
    scratch = tempfile.mkdtemp(prefix="cosim-")
    atexit.register(shutil.rmtree, scratch, ignore_errors=True)
    try:
        with _quiet(), _variable("TMPDIR", scratch):
            importlib.import_module("pyrenode3")
        if installation.runtime == "mono":
            _leave_mono_alone_at_exit()
    except (Exception, SystemExit) as error:
        raise EngineError(
            f"{installation} cannot be loaded: {_first_line(error)}", hint=INSTALL_RENODE, engine="renode"
        ) from error


def _leave_mono_alone_at_exit() -> None:
    """Do not take Mono down in an orderly way: it takes 5 s of processor time, and the process ends anyway."""
    for module, function in (("pythonnet", "unload"), ("clr_loader.mono", "_release")):
        hook = getattr(sys.modules.get(module), function, None)
        if hook is not None:
            atexit.unregister(hook)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the advice that pyrenode3 and clr_loader give about the runtime."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


@contextmanager
def _variable(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def private_field(target: Net, name: str) -> Net:
    """What a private field of `target` holds; those used have had their names from 1.16.1 to today."""
    return _member(target, "GetField", name).GetValue(target)


def private_method(target: Net, name: str) -> Net:
    """A private method of `target`; likewise."""
    return _member(target, "GetMethod", name)


def _member(target: Net, getter: str, name: str) -> Net:
    from System.Reflection import BindingFlags

    kind, flags = target.GetType(), BindingFlags.Instance | BindingFlags.Static | BindingFlags.NonPublic
    while kind is not None:
        member = getattr(kind, getter)(name, flags)
        if member is not None:
            return member
        kind = kind.BaseType
    raise EngineError(
        f"this version of Renode keeps {name} in a way that is not known",
        hint="use Renode 1.16.1, with which this engine was tested",
        engine="renode",
    )
