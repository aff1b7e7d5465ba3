"""From a platform description to memories, blocks and bus windows.

The model of a Python-modelled block is found by the entry's name, everything else by its Renode class.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cosim.access import Peripheral
from cosim.blocks import BlockMaker, BlockOptions
from cosim.bus import Target, View, Window
from cosim.errors import PlatformError
from cosim.events import EventLog
from cosim.interrupts import GIC_TYPE, NVIC_TYPE, WIRE_TYPE, Interrupts
from cosim.memory import MemoryBank
from cosim.peripherals.dma import Memory
from cosim.peripherals.etzpc import Etzpc
from cosim.peripherals.gic import Gic
from cosim.peripherals.rcc import BootControl, Rcc
from cosim.peripherals.tzc400 import Tzc400
from cosim.peripherals.unmodelled import Unmodelled, uncovered
from cosim.platform.model import Entry, Platform
from cosim.platform.reader import load_platform, require_types
from cosim.platform.validate import extent
from cosim.timers import Timers

A7_TYPE, M4_TYPE = "CPU.ARMv7A", "CPU.CortexM"
MEMORY_TYPE = "Memory.MappedMemory"
USART_TYPE = "UART.STM32F7_USART"
PYTHON_TYPE = "Python.PythonPeripheral"
#: Classes that an engine supplies together with its cores.
CORE_TYPES = (A7_TYPE, M4_TYPE, NVIC_TYPE, "Timers.ARM_GenericTimer")
KNOWN_TYPES = (*CORE_TYPES, MEMORY_TYPE, USART_TYPE, GIC_TYPE, PYTHON_TYPE, WIRE_TYPE)

#: Memories whose code and data are the M4's (RM0436, MCU SRAM and RETRAM); all others are the A7's.
M4_MEMORIES = ("retram", "sram1", "sram2", "sram3", "sram4")

SmcHandler = Callable[[tuple[int, ...]], tuple[int, int, int, int]]
#: Makes the memory of a name and a size in bytes.
BankMaker = Callable[[str, int], MemoryBank]


@dataclass(frozen=True)
class Parts:
    """What a description turns into. `blocks` holds every block by name, the named and the unmodelled ones included."""

    platform: Platform
    banks: Mapping[str, MemoryBank]
    blocks: Mapping[str, Peripheral]
    windows: tuple[Window, ...]
    rcc: Rcc
    etzpc: Etzpc
    tzc: Tzc400
    interrupts: Interrupts
    timers: Timers


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
    platform: Platform,
    log: EventLog,
    boot: BootControl,
    smc: SmcHandler,
    *,
    memory: Memory,
    make_bank: BankMaker = MemoryBank,
    options: BlockOptions | None = None,
) -> Parts:
    """Make memories, blocks and windows; `memory` is the bus as the DMA controllers use it.

    Raises `PlatformError` for a block without model or a missing block.
    """
    options = options or BlockOptions()
    banks = {entry.name: make_bank(entry.name, _size(entry)) for entry in platform.of_type(MEMORY_TYPE)}
    interrupts, timers = Interrupts(platform), Timers()
    maker = BlockMaker(
        platform, log, interrupts=interrupts, timers=timers, boot=boot, smc=smc, memory=memory, options=options
    )
    blocks: dict[str, Peripheral] = {}
    for entry in platform.entries.values():
        if entry.type == USART_TYPE:
            blocks[entry.name] = maker.usart(entry.name)
        elif entry.type == GIC_TYPE:
            blocks[entry.name] = gic = Gic(maker.base(entry.name), log, entry.name)
            interrupts.gic.connect(gic.set_line)
        elif entry.type == PYTHON_TYPE:
            blocks[entry.name] = maker.make(entry)
    windows = _windows(platform, {**banks, **blocks})
    if not options.strict:
        windows += _unmodelled(windows, blocks, log)
    return Parts(
        platform, banks, blocks, tuple(windows), maker.rcc, maker.etzpc, maker.tzc, interrupts=interrupts, timers=timers
    )


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


def _unmodelled(windows: list[Window], blocks: dict[str, Peripheral], log: EventLog) -> list[Window]:
    """Windows and, added to `blocks`, the blocks for what the peripheral map has beyond the description."""
    found = []
    for region in uncovered(tuple((window.address, window.end) for window in windows)):
        block = blocks.setdefault(region.name, Unmodelled(region.name, region.base, log))
        found.append(Window(region.address, region.size, block, region.address - region.base, None))
    return found
