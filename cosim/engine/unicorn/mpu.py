"""The MPU of the Cortex-M4 (ARMv7-M manual, B3.5): eight regions with sub-regions, and what they allow.

Addresses that no region covers follow PRIVDEFENA. Memory attributes (TEX, C, B, S) are kept and have no effect.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from cosim.access import Rights

REGIONS = 8
TYPE, CTRL, RNR, RBAR, RASR, LAST = 0xD90, 0xD94, 0xD98, 0xD9C, 0xDA0, 0xDB8
ENABLE, HFNMIENA, PRIVDEFENA = 1 << 0, 1 << 1, 1 << 2
_RBAR_VALID = 1 << 4
_RASR_BITS = 0x173FFF3F
_SMALLEST, _SMALLEST_WITH_PARTS = 5, 8  # log2 of the size in bytes
NOTHING, ALL = Rights.NONE, Rights.ALL
_RO, _RW = Rights.READ | Rights.FETCH, ALL
#: Rights by the AP field: (privileged, unprivileged). 4 is reserved.
_ACCESS = {
    0: (NOTHING, NOTHING),
    1: (_RW, NOTHING),
    2: (_RW, _RO),
    3: (_RW, _RW),
    4: (NOTHING, NOTHING),
    5: (_RO, NOTHING),
    6: (_RO, _RO),
    7: (_RO, _RO),
}


@dataclass(frozen=True)
class Region:
    """One enabled region: `parts` are the runs (base, end) that its sub-regions leave."""

    base: int
    end: int
    parts: tuple[tuple[int, int], ...]
    privileged: Rights
    unprivileged: Rights

    def covers(self, address: int) -> bool:
        """Whether `address` is in an enabled part of it."""
        return self.base <= address < self.end and any(base <= address < end for base, end in self.parts)


def decode(rbar: int, rasr: int) -> Region | None:
    """The region that two registers describe; None when it is off or smaller than 32 bytes."""
    log2 = (rasr >> 1 & 0x1F) + 1
    if not rasr & 1 or log2 < _SMALLEST:
        return None
    size = 1 << log2
    base = rbar & ~(size - 1) & 0xFFFFFFFF & ~0x1F
    disabled = rasr >> 8 & 0xFF if log2 >= _SMALLEST_WITH_PARTS else 0
    step = size // 8
    parts: list[tuple[int, int]] = []
    for index in range(8):
        if disabled >> index & 1:
            continue
        first = base + index * step
        if parts and parts[-1][1] == first:
            parts[-1] = parts[-1][0], first + step
        else:
            parts.append((first, first + step))
    never = Rights.FETCH if rasr >> 28 & 1 else NOTHING
    privileged, unprivileged = (rights & ~never for rights in _ACCESS[rasr >> 24 & 7])
    return Region(base, base + size, tuple(parts), privileged, unprivileged)


class Mpu:
    """Registers and decisions; `changed` is called when an answer may be another one."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self.reset()

    def reset(self) -> None:
        """Off, all regions off."""
        self._ctrl = self._rnr = 0
        self._regions = [(0, 0)] * REGIONS  # RBAR, RASR
        self._decoded: tuple[Region, ...] = ()

    # -- registers ---------------------------------------------------------------------------------------------

    def read(self, offset: int, now_ps: int) -> int:  # noqa: ARG002 - the MPU knows no time
        """The word at `offset` of the System Control Space."""
        if offset == TYPE:
            return REGIONS << 8
        if offset == CTRL:
            return self._ctrl
        if offset == RNR:
            return self._rnr
        rbar, rasr = self._regions[self._rnr]
        return rasr if self._is_rasr(offset) else rbar | self._rnr

    def write(self, offset: int, value: int, now_ps: int) -> None:  # noqa: ARG002
        """Write the word at `offset`."""
        if offset == CTRL:
            self._ctrl = value & (ENABLE | HFNMIENA | PRIVDEFENA)
        elif offset == RNR:
            self._rnr = value & (REGIONS - 1)
            return
        elif offset >= RBAR:
            self._write_region(offset, value)
        self._decoded = tuple(r for r in (decode(*words) for words in self._regions) if r is not None)
        self._changed()

    def _write_region(self, offset: int, value: int) -> None:
        if not self._is_rasr(offset) and value & _RBAR_VALID:
            self._rnr = value & (REGIONS - 1)
        rbar, rasr = self._regions[self._rnr]
        if self._is_rasr(offset):
            rasr = value & _RASR_BITS
        else:
            rbar = value & ~0x1F
        self._regions[self._rnr] = rbar, rasr

    @staticmethod
    def _is_rasr(offset: int) -> bool:
        """RASR and its aliases; the others are RBAR and its aliases."""
        return (offset - RBAR) % 8 == RASR - RBAR

    # -- decisions ---------------------------------------------------------------------------------------------

    def applies(self, priority: int) -> bool:
        """Whether it decides at this execution priority."""
        return bool(self._ctrl & ENABLE) and (priority >= 0 or bool(self._ctrl & HFNMIENA))

    @property
    def enabled(self) -> bool:
        """MPU_CTRL.ENABLE."""
        return bool(self._ctrl & ENABLE)

    def rights(self, address: int, *, privileged: bool) -> Rights:
        """What software may do at `address` while the MPU applies."""
        for region in reversed(self._decoded):
            if region.covers(address):
                return region.privileged if privileged else region.unprivileged
        return ALL if privileged and self._ctrl & PRIVDEFENA else NOTHING

    def allows(self, address: int, size: int, right: Rights, *, privileged: bool) -> bool:
        """Whether an access of `size` bytes has this right everywhere."""
        return all(right in rights for _, _, rights in self.runs(address, address + size, privileged=privileged))

    def runs(self, base: int, end: int, *, privileged: bool) -> Iterator[tuple[int, int, Rights]]:
        """The range cut where the rights change: (base, end, rights)."""
        edges = {edge for region in self._decoded for part in region.parts for edge in part if base < edge < end}
        points = sorted(edges | {base, end})
        first, rights = base, self.rights(base, privileged=privileged)
        for point in points[1:-1]:
            following = self.rights(point, privileged=privileged)
            if following != rights:
                yield first, point, rights
                first, rights = point, following
        yield first, end, rights

    # -- snapshots ---------------------------------------------------------------------------------------------

    def save(self) -> object:
        """The complete state as an immutable value."""
        return self._ctrl, self._rnr, tuple(self._regions)

    def load(self, state: tuple[int, int, tuple[tuple[int, int], ...]]) -> None:
        """Restore what `save` returned."""
        self._ctrl, self._rnr, regions = state
        self._regions = list(regions)
        self._decoded = tuple(r for r in (decode(*words) for words in self._regions) if r is not None)
