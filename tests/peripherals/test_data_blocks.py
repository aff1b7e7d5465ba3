"""RNG, CRC, DMA and DMAMUX, SYSCFG and DBGMCU: what firmware computes, moves and asks with."""

from __future__ import annotations

import zlib

import pytest
from rig import Rig

from cosim.access import Initiator
from cosim.errors import BusFault
from cosim.peripherals.crc import Crc
from cosim.peripherals.dbgmcu import Dbgmcu
from cosim.peripherals.dma import Dma, Turn
from cosim.peripherals.dmamux import Dmamux
from cosim.peripherals.rng import Rng
from cosim.peripherals.syscfg import Syscfg

M4, NS, DEBUG = Initiator.M4, Initiator.A7_NS, Initiator.DEBUG
CR, SR, DR = 0x0, 0x4, 0x8
RNGEN, IE = 1 << 2, 1 << 3


@pytest.fixture
def rig() -> Rig:
    return Rig()


# RNG


def rng(rig: Rig, seed: int = 0, name: str = "rng2") -> Rng:
    return Rng(0x4C003000, rig.log, rig.outputs(Rng.output_names), name, seed)


def draw(generator: Rng, count: int) -> list[int]:
    generator.write(CR, 4, RNGEN, M4)
    assert generator.read(SR, 4, M4) == 1
    return [generator.read(DR, 4, M4) for _ in range(count)]


def test_random_words_follow_from_seed_and_name(rig: Rig) -> None:
    words = draw(rng(rig), 8)
    assert len(set(words)) == 8
    assert draw(rng(rig), 8) == words
    assert draw(rng(rig, seed=1), 8) != words
    assert draw(rng(rig, name="rng1"), 8) != words


def test_a_generator_that_is_off_gives_nothing(rig: Rig) -> None:
    generator = rng(rig)
    assert (generator.read(SR, 4, M4), generator.read(DR, 4, M4)) == (0, 0)


def test_the_debugger_draws_no_random_word(rig: Rig) -> None:
    generator = rng(rig)
    generator.write(CR, 4, RNGEN, M4)
    assert generator.read(DR, 4, DEBUG) == generator.read(DR, 4, M4)
    assert generator.read(DR, 4, M4) == draw(rng(rig), 2)[1]


def test_the_random_interrupt_follows_its_enable(rig: Rig) -> None:
    generator = rng(rig)
    generator.write(CR, 4, RNGEN | IE, M4)
    assert rig.high() == {"Irq"}
    generator.write(CR, 4, IE, M4)
    assert rig.high() == set()


def test_a_random_snapshot_goes_on_with_the_next_word(rig: Rig) -> None:
    generator = rng(rig)
    draw(generator, 3)
    saved = generator.save()
    following = draw(generator, 3)
    generator.load(saved)
    assert draw(generator, 3) == following


# CRC

REV_IN, REV_OUT, POLYSIZE = 1 << 5, 1 << 7, 1 << 3
INIT, POL = 0x10, 0x14


@pytest.fixture
def crc(rig: Rig) -> Crc:
    return Crc(0x4C004000, rig.log, "crc2")


def feed(crc: Crc, data: bytes) -> int:
    for byte in data:
        crc.write(0, 1, byte, M4)
    return crc.read(0, 4, M4)


def test_crc_registers_have_their_reset_values(crc: Crc) -> None:
    assert [crc.read(offset, 4, M4) for offset in (0x0, 0x4, 0x8, INIT, POL)] == [
        0xFFFFFFFF,
        0,
        0,
        0xFFFFFFFF,
        0x04C11DB7,
    ]


@pytest.mark.parametrize(
    ("control", "initial", "polynomial", "result"),
    [
        pytest.param(0, 0xFFFFFFFF, 0x04C11DB7, 0x0376E6E7, id="CRC-32/MPEG-2"),
        pytest.param(POLYSIZE, 0xFFFF, 0x1021, 0x29B1, id="CRC-16/IBM-3740"),
        pytest.param(POLYSIZE | REV_IN | REV_OUT, 0xFFFF, 0x8005, 0x4B37, id="CRC-16/MODBUS"),
        pytest.param(POLYSIZE | REV_IN | REV_OUT, 0, 0x1021, 0x2189, id="CRC-16/KERMIT"),
        pytest.param(2 * POLYSIZE, 0, 0x07, 0xF4, id="CRC-8/SMBUS"),
        pytest.param(3 * POLYSIZE, 0, 0x09, 0x75, id="CRC-7/MMC"),
    ],
)
def test_the_check_value_of_known_crcs_comes_out(
    crc: Crc, control: int, initial: int, polynomial: int, result: int
) -> None:
    crc.write(POL, 4, polynomial, M4)
    crc.write(0x8, 4, control, M4)
    crc.write(INIT, 4, initial, M4)
    assert feed(crc, b"123456789") == result


def test_reversed_words_give_the_crc32_of_zip(crc: Crc) -> None:
    data = bytes(range(64))
    crc.write(0x8, 4, 3 * REV_IN | REV_OUT, M4)
    for at in range(0, len(data), 4):
        crc.write(0, 4, int.from_bytes(data[at : at + 4], "little"), M4)
    assert crc.read(0, 4, M4) ^ 0xFFFFFFFF == zlib.crc32(data)


def test_the_reset_bit_starts_anew_and_reads_as_zero(crc: Crc) -> None:
    first = feed(crc, b"abc")
    crc.write(0x8, 4, 1, M4)
    assert crc.read(0x8, 4, M4) == 0
    assert crc.read(0, 4, M4) == 0xFFFFFFFF
    assert feed(crc, b"abc") == first


# DMA

LISR, HISR, LIFCR, HIFCR = 0x00, 0x04, 0x08, 0x0C
EN, TEIE, HTIE, TCIE, M2M, PINC, MINC = 1 << 0, 1 << 2, 1 << 3, 1 << 4, 2 << 6, 1 << 9, 1 << 10
TEIF, HTIF, TCIF = 1 << 3, 1 << 4, 1 << 5


class Ram:
    """64 KiB at 0x10000000, nothing else."""

    def __init__(self) -> None:
        self.data = bytearray(0x10000)
        self.seen: set[Initiator] = set()

    def read(self, initiator: Initiator, address: int, size: int) -> bytes:
        at = self._at(initiator, address, size)
        return bytes(self.data[at : at + size])

    def write(self, initiator: Initiator, address: int, data: bytes) -> None:
        at = self._at(initiator, address, len(data))
        self.data[at : at + len(data)] = data

    def _at(self, initiator: Initiator, address: int, size: int) -> int:
        self.seen.add(initiator)
        if not 0x10000000 <= address <= 0x10010000 - size:
            raise BusFault("nothing there", hint="", address=address, size=size, initiator=initiator.value)
        return address - 0x10000000


@pytest.fixture
def ram() -> Ram:
    ram = Ram()
    ram.data[:256] = bytes(range(256))
    return ram


@pytest.fixture
def dma(rig: Rig, ram: Ram) -> Dma:
    return Dma(0x48000000, rig.log, rig.outputs(Dma.output_names), "dma1", memory=ram, turn=Turn())


def transfer(dma: Dma, stream: int, control: int, *, items: int, source: int, destination: int) -> None:
    base = 0x10 + 0x18 * stream
    for offset, value in ((4, items), (8, source), (12, destination), (0, control | EN)):
        dma.write(base + offset, 4, value, M4)


def flags(dma: Dma, stream: int) -> int:
    return dma.read(LISR if stream < 4 else HISR, 4, M4) >> (0, 6, 16, 22)[stream % 4] & 0x3F


@pytest.mark.parametrize("stream", range(8))
def test_memory_is_copied_and_the_stream_says_so(rig: Rig, dma: Dma, ram: Ram, stream: int) -> None:
    transfer(dma, stream, M2M | PINC | MINC | TCIE, items=100, source=0x10000000, destination=0x10001000)
    assert ram.data[0x1000:0x1068] == bytes(range(100)) + bytes(4)
    assert flags(dma, stream) == HTIF | TCIF
    assert rig.high() == {f"Stream{stream}"}
    base = 0x10 + 0x18 * stream
    assert (dma.read(base, 4, M4) & EN, dma.read(base + 4, 4, M4)) == (0, 0)
    assert ram.seen == {M4}
    dma.write(LIFCR if stream < 4 else HIFCR, 4, 0x3F << (0, 6, 16, 22)[stream % 4], M4)
    assert (flags(dma, stream), rig.high()) == (0, set())


def test_items_have_the_width_of_the_source(dma: Dma, ram: Ram) -> None:
    transfer(dma, 0, M2M | PINC | MINC | 2 << 11 | 2 << 13, items=4, source=0x10000000, destination=0x10001000)
    assert ram.data[0x1000:0x1014] == bytes(range(16)) + bytes(4)


def test_a_fixed_source_fills_and_a_fixed_destination_keeps_the_last(dma: Dma, ram: Ram) -> None:
    transfer(dma, 0, M2M | MINC, items=8, source=0x10000005, destination=0x10001000)
    assert ram.data[0x1000:0x1009] == b"\5" * 8 + b"\0"
    transfer(dma, 1, M2M | PINC, items=8, source=0x10000000, destination=0x10002000)
    assert ram.data[0x2000:0x2002] == b"\7\0"


@pytest.mark.parametrize(("source", "destination"), [(0x20000000, 0x10001000), (0x10000000, 0x1000FFFF)])
def test_a_transfer_that_reaches_nothing_is_an_error_of_the_stream(
    rig: Rig, dma: Dma, ram: Ram, source: int, destination: int
) -> None:
    before = bytes(ram.data)
    transfer(dma, 2, M2M | PINC | MINC | TEIE, items=4, source=source, destination=destination)
    assert (flags(dma, 2), rig.high(), bytes(ram.data)) == (TEIF, {"Stream2"}, before)


def test_a_stream_to_a_peripheral_waits_for_requests(dma: Dma, ram: Ram) -> None:
    transfer(dma, 0, 1 << 6 | MINC, items=4, source=0x10000000, destination=0x10001000)
    assert (flags(dma, 0), dma.read(0x10, 4, M4) & EN, ram.seen) == (0, EN, set())
    dma.write(0x14, 4, 99, M4)
    assert dma.read(0x14, 4, M4) == 4


def test_dmamux_keeps_its_settings(rig: Rig) -> None:
    mux = Dmamux(0x48002000, rig.log, [lambda _: None] * 16)
    mux.write(0x04, 4, 0xFFFFFFFF, M4)
    assert [mux.read(offset, 4, M4) for offset in (0x04, 0x80, 0x3F0)] == [0x1FFF03FF, 0, 0x08086C10]


# The system


def test_boot_pins_do_not_say_engineering_mode(rig: Rig) -> None:
    syscfg = Syscfg(0x50020000, rig.log)
    assert syscfg.read(0x00, 4, M4) & 7 == 0b101
    syscfg.write(0x00, 4, 0b100, M4)
    assert syscfg.read(0x00, 4, M4) & 7 == 0b101


def test_the_compensation_cell_is_ready_once_enabled(rig: Rig) -> None:
    syscfg = Syscfg(0x50020000, rig.log)
    assert syscfg.read(0x20, 4, M4) == 0x00870000
    syscfg.write(0x24, 4, 2, M4)
    assert syscfg.read(0x20, 4, M4) == 0x00870100
    syscfg.write(0x28, 4, 2, M4)
    assert syscfg.read(0x20, 4, M4) == 0x00870000


def test_pin_modes_are_set_and_cleared_by_pairs(rig: Rig) -> None:
    syscfg = Syscfg(0x50020000, rig.log)
    syscfg.write(0x04, 4, 0x00A00003, M4)
    syscfg.write(0x44, 4, 0x00000001, M4)
    assert syscfg.read(0x04, 4, M4) == syscfg.read(0x44, 4, M4) == 0x00A00002


def test_the_part_is_an_stm32mp15_of_revision_b(rig: Rig) -> None:
    dbgmcu = Dbgmcu(0x50081000, rig.log)
    dbgmcu.write(0x00, 4, 0, M4)
    assert dbgmcu.read(0x00, 4, M4) == 0x20000500
    dbgmcu.write(0x38, 4, 1 << 11, M4)
    assert dbgmcu.read(0x38, 4, M4) == 1 << 11
