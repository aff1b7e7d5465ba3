"""Target `repl`: a platform description that a user hands over, read, checked and, where it can be, built and booted.

The project's own files lie beside it, so that an input of one `using` line and a change reaches the whole machine.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from fuzz_target import FuzzTarget, Play, require

from cosim.assembly import read_platform
from cosim.boot import boot
from cosim.errors import CosimError, PlatformError
from cosim.platform.reader import MAX_ENTRIES, load_platform
from cosim.resources import firmware_file, platform_file
from cosim.soc import SocConfig
from cosim.testing import default_signer

_FILES = ("stm32mp157.repl", "stm32mp157-secure.repl", "stm32mp157-blocks.repl", "stm32mp157c-dk2.repl")
_BOARD = 'using "./stm32mp157c-dk2.repl"\n'
#: Enough for the boot of an unchanged description.
_LIMITED = SocConfig(most_time_ps=10**10, most_instructions=200_000, most_events=20_000)
_CHANGES = (
    "a7: { PerformanceInMips: 325 }",
    "m4:\n    PerformanceInMips: 100",
    "ddr: @none",
    "sram5: Memory.MappedMemory @ sysbus 0x70000000 { size: 0x10000 }",
    'sysbus:\n    init:\n        Tag <0x60000000, 0x60000fff> "QSPI"',
    "ram: Memory.MappedMemory @ { sysbus 0x60000000; sysbus 0x61000000 } { size: 0x2000 }",
    "uart9: UART.STM32F7_USART @ sysbus 0x60000000 { frequency: 200000000; -> nvic@10 }",
    "gate: Miscellaneous.CombinedInput @ none { numberOfInputs: 2; -> nvic@140 }",
)


def repl_seeds() -> Sequence[bytes]:
    """The project's files, and changes to the board."""
    whole = [platform_file(name).read_bytes() for name in _FILES]
    return [*whole, *((_BOARD + change + "\n").encode() for change in _CHANGES)]


def _make() -> Play:
    folder = tempfile.TemporaryDirectory(prefix="cosim-fuzz-")
    for name in _FILES:
        shutil.copy(platform_file(name), folder.name)
    image = default_signer().sign(firmware_file("demo_m4.elf"))
    path = Path(folder.name, "input.repl")

    def play(data: bytes, _keep: object = folder) -> None:
        path.write_bytes(data)
        try:
            platform = load_platform(path)
            require(len(platform.entries) <= MAX_ENTRIES, f"{len(platform.entries)} entries were read")
            read_platform(path)
        except PlatformError as refusal:
            require(bool(refusal.fields.get("file")) and bool(refusal.hint), f"{refusal} names no file or no way out")
            return
        try:
            boot(image, replace(_LIMITED, platform=path))
        except CosimError as refusal:
            require(bool(refusal.hint), f"{refusal} names no way out")

    return play


REPL = FuzzTarget("repl", repl_seeds, _make, 32768)
