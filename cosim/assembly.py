"""From a platform description to memories, blocks and bus windows.

The model of a Python-modelled block is found by the entry's name, everything else by its Renode class.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cosim.access import Peripheral
from cosim.bus import Target, View, Window
from cosim.errors import PlatformError
from cosim.events import EventLog
from cosim.memory import MemoryBank
from cosim.peripherals.etzpc import Etzpc
from cosim.peripherals.gic import Gic
from cosim.peripherals.pwr import Pwr
from cosim.peripherals.rcc import BootControl, Rcc
from cosim.peripherals.secure_monitor import SecureMonitor
from cosim.peripherals.tamp import Tamp
from cosim.peripherals.tzc400 import Tzc400
from cosim.peripherals.usart import Stm32Usart
from cosim.platform.model import Entry, Platform
from cosim.platform.reader import load_platform, require_types
from cosim.platform.validate import extent

A7_TYPE, M4_TYPE = "CPU.ARMv7A", "CPU.CortexM"
MEMORY_TYPE = "Memory.MappedMemory"
USART_TYPE = "UART.STM32F7_USART"
GIC_TYPE = "IRQControllers.ARM_GenericInterruptController"
PYTHON_TYPE = "Python.PythonPeripheral"
#: Classes that an engine supplies together with its cores.
CORE_TYPES = (A7_TYPE, M4_TYPE, "IRQControllers.NVIC", "Timers.ARM_GenericTimer")
KNOWN_TYPES = (*CORE_TYPES, MEMORY_TYPE, USART_TYPE, GIC_TYPE, PYTHON_TYPE)

#: Memories whose code and data are the M4's (RM0436, MCU SRAM and RETRAM); all others are the A7's.
M4_MEMORIES = ("retram", "sram1", "sram2", "sram3", "sram4")

SmcHandler = Callable[[tuple[int, ...]], tuple[int, int, int, int]]
#: Makes the memory of a name and a size in bytes.
BankMaker = Callable[[str, int], MemoryBank]


@dataclass(frozen=True)
class Parts:
    """What a description turns into. `blocks` holds every block by entry name, the named ones included."""

    platform: Platform
    banks: Mapping[str, MemoryBank]
    blocks: Mapping[str, Peripheral]
    windows: tuple[Window, ...]
    rcc: Rcc
    etzpc: Etzpc
    tzc: Tzc400


def read_platform(path: Path) -> Platform:
    """Read and check a description. Raises `PlatformError` for what cannot be read or honoured."""
    platform = load_platform(path)
    require_types(platform, KNOWN_TYPES)
    return platform


def core_name(platform: Platform, type_name: str) -> str:
    """The name of the only core of a class. Raises `PlatformError` when there is none or several."""
    entries = platform.of_type(type_name)
    if len(entries) != 1:
        raise PlatformError(
            f"the description has {len(entries)} entries of type {type_name}, exactly one is supported",
            hint="start from stm32mp157.repl",
            type=type_name,
        )
    return entries[0].name


def build_parts(
    platform: Platform, log: EventLog, boot: BootControl, smc: SmcHandler, make_bank: BankMaker = MemoryBank
) -> Parts:
    """Make memories, blocks and windows. Raises `PlatformError` for a block without model or a missing block."""
    banks = {entry.name: make_bank(entry.name, _size(entry)) for entry in platform.of_type(MEMORY_TYPE)}
    base = _Bases(platform)
    rcc = Rcc(base["rcc"], log, boot)
    pwr = Pwr(base["pwr"], log, lambda: rcc.tzen)
    etzpc, tzc = Etzpc(base["etzpc"], log), Tzc400(base["tzc"], log)
    python: dict[str, Peripheral] = {
        "rcc": rcc,
        "pwr": pwr,
        "etzpc": etzpc,
        "tzc": tzc,
        "tamp": Tamp(base["tamp"], log, lambda: pwr.backup_writable),
        "secureMonitor": SecureMonitor(base["secureMonitor"], log, smc),
    }
    blocks: dict[str, Peripheral] = {}
    for entry in platform.entries.values():
        if entry.type == USART_TYPE:
            blocks[entry.name] = Stm32Usart(base[entry.name], log, entry.name)
        elif entry.type == GIC_TYPE:
            blocks[entry.name] = Gic(base[entry.name], log, entry.name)
        elif entry.type == PYTHON_TYPE:
            blocks[entry.name] = _python_model(entry, python)
    windows = tuple(_windows(platform, {**banks, **blocks}))
    return Parts(platform, banks, blocks, windows, rcc, etzpc, tzc)


class _Bases:
    """The address of each block, or an error that says which one the description lacks."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    def __getitem__(self, name: str) -> int:
        entry = self._platform.entries.get(name)
        if entry is None or not entry.registrations:
            raise PlatformError(
                f"the description has no block {name!r} on the system bus",
                hint="`using` stm32mp157-secure.repl brings all blocks that the secure world needs",
                entry=name,
            )
        return entry.registrations[0].address


def _python_model(entry: Entry, models: Mapping[str, Peripheral]) -> Peripheral:
    model = models.get(entry.name)
    if model is None:
        raise PlatformError(
            f"{entry.file.name}:{entry.line}: there is no Python model for {entry.name!r}",
            hint=f"models exist for {', '.join(models)}",
            file=str(entry.file),
            line=entry.line,
            entry=entry.name,
            type=entry.type,
        )
    return model


def _size(entry: Entry) -> int:
    size = entry.properties.get("size")
    if not isinstance(size, int):
        raise PlatformError(
            f"{entry.file.name}:{entry.line}: {entry.name} has no size",
            hint="add `size: 0x…`",
            file=str(entry.file),
            line=entry.line,
            entry=entry.name,
        )
    return size


#: Bytes that a block occupies when neither the description nor its class says.
_BLOCK_SIZE = 0x400


def _windows(platform: Platform, targets: Mapping[str, Target]) -> list[Window]:
    views: dict[str | None, View | None] = {
        None: None,
        core_name(platform, A7_TYPE): "a7",
        core_name(platform, M4_TYPE): "m4",
    }
    windows = []
    for name, target in targets.items():
        entry, offset = platform.entries[name], 0
        for registration in entry.registrations:
            size = extent(entry, registration) or _BLOCK_SIZE
            windows.append(Window(registration.address, size, target, offset, views[registration.cpu]))
            # The regions of a multi-region block lie one behind the other in its model.
            offset += size if registration.region is not None else 0
    return windows
