"""All targets by name."""

from __future__ import annotations

from collections.abc import Mapping

from fuzz_files import INSPECT, JOURNAL, KEY, TEXT
from fuzz_gdb import GDB
from fuzz_images import ELF, IMAGE
from fuzz_messages import MESSAGE_ABI
from fuzz_platform import REPL
from fuzz_rings import RING
from fuzz_tables import TABLE
from fuzz_target import FuzzTarget

TARGETS: Mapping[str, FuzzTarget] = {
    target.name: target for target in (IMAGE, ELF, MESSAGE_ABI, REPL, TABLE, RING, INSPECT, JOURNAL, KEY, TEXT, GDB)
}
