"""Thousands of damaged rings, resource tables and ELF files: typed errors and findings, nothing else."""

from __future__ import annotations

import contextlib
import random
import struct

from linux_bench import NUM, TABLE, USED, VRING0, VRING1, FirmwareSide, booted, elf

from cosim.linux import elf_loader
from cosim.linux.carveout import Carveouts
from cosim.linux.errno import KernelError, KernelOopsError
from cosim.linux.memory import KernelMemory
from cosim.linux.resources import KernelTable, handle_resources
from cosim.soc import Soc

DEMO = elf("demo_m4")
TABLE_AT = DEMO.index(struct.pack("<4I", 1, 2, 0, 0))


def ignore(_level: str, _function: str, _text: str) -> None:
    """The kernel log is not what is looked at here."""


def board() -> Carveouts:
    carveouts = Carveouts()
    carveouts.add_board_regions()
    return carveouts


def damaged(data: bytes, dice: random.Random, most: int) -> bytes:
    copy = bytearray(data)
    for _ in range(dice.randrange(1, 5)):
        copy[dice.randrange(most)] = dice.choice([0, 1, 255, dice.randrange(256)])
    return bytes(copy[: dice.choice([len(copy), dice.randrange(len(copy))])])


def test_damaged_resource_tables_end_in_an_error_of_the_kernel_or_are_taken() -> None:
    dice, kinds = random.Random(1), set()
    for _ in range(3000):
        carveouts = board()
        try:
            table = damaged(DEMO[TABLE_AT : TABLE_AT + 140], dice, 140)
            handle_resources(KernelTable(table), carveouts, ignore)
            carveouts.allocate()
            kinds.add("taken")
        except (KernelError, KernelOopsError) as error:
            kinds.add(str(error.fields.get("errno_name", error.kind)))
    assert kinds == {"taken", "EINVAL", "ENOMEM", "kernel-oops"}


def test_damaged_elf_files_end_in_an_error_of_the_kernel_or_are_loaded() -> None:
    dice, kinds, memory = random.Random(2), set(), KernelMemory(Soc().bus)
    for _ in range(1000):
        carveouts = board()
        carveouts.allocate()
        firmware = damaged(DEMO, dice, 256)
        try:
            elf_loader.sanity_check(firmware)
            elf_loader.find_table(firmware, ignore)
            elf_loader.load_segments(firmware, carveouts, memory)
            kinds.add("loaded")
        except KernelError as error:
            kinds.add(str(error.fields["errno_name"]))
    assert kinds == {"loaded", "EINVAL"}


def test_rings_full_of_noise_become_findings_and_the_processor_can_be_recovered() -> None:
    dice, linux = random.Random(3), booted()
    rules: set[str] = set()
    for _ in range(40):
        device = FirmwareSide(linux)
        for _ in range(10):
            ring = dice.choice([VRING0, VRING1])
            device.poke(ring + dice.randrange(USED + 6 + 8 * NUM), dice.randbytes(dice.randrange(1, 40)))
            device.poke(VRING0 + USED + 2, dice.randrange(20).to_bytes(2, "little"))
            device.bus.poll()
            with contextlib.suppress(KernelError):  # no buffer comes back
                device.bus.send(1024, 1, b"x")
        rules |= {finding.rule for finding in device.bus.findings}
        device.bus.findings.clear()
        linux.report_crash()
    assert {"USED_INDEX", "ID_RANGE", "MESSAGE_LENGTH"} <= rules
    assert linux.soc.debug_read(TABLE, 4) == b"\x01\0\0\0"
