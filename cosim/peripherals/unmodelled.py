"""What the peripheral map has beyond the modelled blocks: memory-like windows that remember what was written.

Firmware that touches a peripheral without a model goes on, its accesses are events (once per register and direction),
and the end of a run can list what it leaned on. The names and addresses are those of RM0436 (register boundary
addresses) as ST's CMSIS header has them; the firewall's rules hold by these names. What a bus decodes between its
peripherals is one more such block.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from cosim.access import AccessKind, Initiator
from cosim.errors import EngineError
from cosim.events import EventLog, UnmodelledRegister

#: Address and size in bytes of what each bus decodes; between them is nothing, and accesses are bus errors.
SEGMENTS = (
    (0x40000000, 0x20000),  # APB1
    (0x44000000, 0x20000),  # APB2
    (0x48000000, 0x10000),  # AHB2
    (0x49000000, 0x40000),  # AHB2, OTG
    (0x4C000000, 0x10000),  # AHB3
    (0x50000000, 0x10000),  # AHB4
    (0x50020000, 0x10000),  # APB3
    (0x50080000, 0x80000),  # APB-DBG
    (0x54000000, 0x8000),  # AHB5
    (0x57000000, 0x100000),  # AXI GPV
    (0x58000000, 0x10000),  # AHB6
    (0x59000000, 0x40000),  # AHB6, GPU
    (0x5A000000, 0x8000),  # APB4
    (0x5C000000, 0x10000),  # APB5
)
MAP_START, MAP_END = 0x40000000, 0x60000000
PAGE = 0x1000
BETWEEN = "unmodelled"
#: Registers that one block remembers at most; further ones read as zero.
MOST_REGISTERS = 4096

#: Peripherals one page behind the other, from each address on; which are the names of RM0436 in lower case.
_RUNS = {
    0x40000000: "tim2 tim3 tim4 tim5 tim6 tim7 tim12 tim13 tim14 lptim1 wwdg1 spi2 spi3 spdifrx usart2 usart3 uart4 "
    "uart5 i2c1 i2c2 i2c3 i2c5 cec dac uart7 uart8",
    0x4001C000: "mdios",
    0x44000000: "tim1 tim8",
    0x44003000: "usart6 spi1 spi4 tim15 tim16 tim17 spi5 sai1 sai2 sai3 dfsdm",
    0x48000000: "dma1 dma2 dmamux adc sdmmc3 dlybsd3",
    0x4C000000: "hsem ipcc hash2 rng2 crc2 cryp2 dcmi",
    0x50020000: "syscfg lptim2 lptim3 lptim4 lptim5 vrefbuf",
    0x50027000: "sai4 dts pmb hdp",
    0x50081000: "dbgmcu",
    0x54001000: "cryp1 hash1 rng1 gpioz",
    0x58000000: "mdma",
    0x58002000: "fmc qspi dlybq sdmmc1 dlybsd1 sdmmc2 dlybsd2 crc1 eth",
    0x5800C000: "usbhsfsp2 usbhsfsp1",
    0x5A000000: "dsi ltdc iwdg2 ddrctrl ddrphyc stgenr usbphyc ddrperfm",
    0x5C000000: "usart1 spi6 i2c4 iwdg1 rtc bsec tzc etzpc stgenc i2c6 tamp",
}
#: Peripherals of more than a page: name, address, size in bytes.
_LARGE = (("ttfdcan", 0x4400E000, 0x4000), ("otg", 0x49000000, 0x40000), ("gpu", 0x59000000, 0x40000))


#: The snapshot of a page that nobody touched.
_UNTOUCHED = ((), ())


@dataclass(frozen=True)
class Region:
    """A part of the map that no modelled block covers; `base` is where the block of that name begins."""

    name: str
    address: int
    size: int
    base: int


@dataclass(frozen=True)
class UnmodelledUse:
    """One unmodelled register that software touched; `value` is what it holds now, `initiator` who was first."""

    block: str
    address: int
    read: bool
    written: bool
    value: int
    initiator: str


@lru_cache(maxsize=4)  # processes that make many SoCs make them of one description
def uncovered(covered: tuple[tuple[int, int], ...]) -> tuple[Region, ...]:
    """The peripheral map without the pages that the address ranges `covered` (start, end) touch, by address."""
    # Only what lies in the map: hundreds of MiB of DDR are as many pages that no segment has.
    inside = ((max(start, MAP_START), min(end, MAP_END)) for start, end in covered)
    taken = {page for start, end in inside for page in range(start // PAGE, (end - 1) // PAGE + 1)}
    names = dict(_known())
    regions: list[Region] = []
    for start, size in SEGMENTS:
        for page in range(start // PAGE, (start + size) // PAGE):
            if page in taken:
                continue
            name, address = names.get(page, BETWEEN), page * PAGE
            last = regions[-1] if regions else None
            if last is not None and last.name == name and last.address + last.size == address:
                regions[-1] = Region(name, last.address, last.size + PAGE, last.base)
            else:
                regions.append(Region(name, address, PAGE, MAP_START if name == BETWEEN else address))
    return tuple(regions)


def region_of(address: int) -> Region | None:
    """The part of the whole peripheral map that holds `address`, modelled or not."""
    return next((r for r in uncovered(()) if r.address <= address < r.address + r.size), None)


def _known() -> Iterator[tuple[int, str]]:
    """Page number and name of each peripheral's pages."""
    for address, names in _RUNS.items():
        for n, name in enumerate(names.split()):
            yield address // PAGE + n, name
    for name, address, size in _LARGE:
        for page in range(address // PAGE, (address + size) // PAGE):
            yield page, name


class Unmodelled:
    """One such block; offsets are counted from `base`."""

    def __init__(self, name: str, base: int, log: EventLog) -> None:
        self.name = name
        self.base = base
        self._log = log
        self._values: dict[int, int] = {}
        self._touched: dict[tuple[int, AccessKind], str] = {}

    def read(self, offset: int, size: int, initiator: Initiator) -> int:
        """What was written there last, 0 before."""
        self._touch(offset, AccessKind.READ, initiator)
        return (self._values.get(offset & ~3, 0) >> 8 * (offset & 3)) & ((1 << 8 * size) - 1)

    def write(self, offset: int, size: int, value: int, initiator: Initiator) -> None:
        """Remember it."""
        self._touch(offset, AccessKind.WRITE, initiator)
        word, shift = offset & ~3, 8 * (offset & 3)
        if word in self._values or len(self._values) < MOST_REGISTERS:
            lanes = ((1 << 8 * size) - 1) << shift
            self._values[word] = self._values.get(word, 0) & ~lanes | value << shift & lanes

    def reset(self) -> None:
        """Forget what was written."""
        self._values.clear()

    def save(self) -> tuple[tuple[tuple[int, int], ...], tuple[tuple[tuple[int, AccessKind], str], ...]]:
        """The complete state, as an immutable value for `load`."""
        return tuple(self._values.items()), tuple(self._touched.items())

    def load(self, state: object) -> None:
        """Restore what `save` returned. Raises `EngineError` for anything else."""
        if state == _UNTOUCHED and not self._values and not self._touched:
            return  # nearly all of them, in nearly all snapshots
        match state:
            case (tuple(values), tuple(touched)):
                self._values, self._touched = dict(values), dict(touched)
            case _:
                raise EngineError(f"not a snapshot of block {self.name}", hint="restore into the SoC that was saved")

    def uses(self) -> tuple[UnmodelledUse, ...]:
        """The registers that software touched, by address."""
        offsets: dict[int, str] = {}
        for (offset, _), initiator in self._touched.items():
            offsets.setdefault(offset, initiator)
        return tuple(
            UnmodelledUse(
                self.name,
                self.base + offset,
                (offset, AccessKind.READ) in self._touched,
                (offset, AccessKind.WRITE) in self._touched,
                self._values.get(offset, 0),
                initiator,
            )
            for offset, initiator in sorted(offsets.items())
        )

    def _touch(self, offset: int, kind: AccessKind, initiator: Initiator) -> None:
        key = (offset & ~3, kind)
        if initiator is Initiator.DEBUG or key in self._touched or len(self._touched) >= 2 * MOST_REGISTERS:
            return
        self._touched[key] = initiator.value
        self._log.emit(UnmodelledRegister(self.name, offset & ~3, kind.value, initiator.value))
