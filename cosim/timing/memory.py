"""Wait states by memory region and bus, as platform data."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files

from cosim.errors import PlatformError

#: The masters whose memories a table comes with.
PLATFORMS = ("stm32mp15-m4",)


@dataclass(frozen=True)
class Region:
    """Memory at [`base`, `base` + `size`) as one core sees it; cycles of that core's clock beyond one.

    `fetch` is per 32-bit word fetched. `estimate` says that no manual gives the figures.
    """

    name: str
    base: int
    size: int
    bus: str
    read: int
    write: int
    fetch: int
    estimate: bool
    note: str


@dataclass(frozen=True)
class MemoryTiming:
    """Wait states of one core's memories. An address in no region has none."""

    regions: tuple[Region, ...]

    @classmethod
    def load(cls, platform: str) -> MemoryTiming:
        """The wait states of `platform` (`PLATFORMS`). Raises `PlatformError` when there are none."""
        if platform not in PLATFORMS:
            raise PlatformError(
                f"no wait states for {platform!r}", hint=f"there are {', '.join(PLATFORMS)}", type=platform
            )
        rows = json.loads(files("cosim.timing").joinpath(f"{platform}.json").read_text(encoding="utf-8"))["regions"]
        return cls(tuple(Region(**{**row, "base": int(row["base"], 16), "size": int(row["size"], 16)}) for row in rows))

    @cached_property
    def data(self) -> tuple[Region, ...]:
        """The regions where data accesses wait."""
        return tuple(region for region in self.regions if region.read or region.write)

    def at(self, address: int) -> Region | None:
        """The region that `address` lies in."""
        return next((region for region in self.regions if 0 <= address - region.base < region.size), None)
