"""Pins and their events: what a pin reads, the lock, secure pins, and the way from an edge to an interrupt."""

from __future__ import annotations

import pytest
from rig import Rig

from cosim.access import Initiator
from cosim.errors import EngineError
from cosim.events import AccessDenied
from cosim.peripherals.exti import Exti
from cosim.peripherals.gpio import Gpio, GpioZ

NS, S, M4, DEBUG = Initiator.A7_NS, Initiator.A7_S, Initiator.M4, Initiator.DEBUG
MODER, OTYPER, PUPDR, IDR, ODR, BSRR, LCKR, AFRL, BRR, SECCFGR = (
    0x00,
    0x04,
    0x0C,
    0x10,
    0x14,
    0x18,
    0x1C,
    0x20,
    0x28,
    0x30,
)
RTSR1, FTSR1, SWIER1, RPR1, FPR1, EXTICR1, EXTICR2 = 0x00, 0x04, 0x08, 0x0C, 0x10, 0x60, 0x64
C1IMR1, C2IMR1, C1IMR3, C2IMR3 = 0x80, 0xC0, 0xA0, 0xE0
LCKK = 1 << 16


@pytest.fixture
def rig() -> Rig:
    return Rig()


@pytest.fixture
def exti(rig: Rig) -> Exti:
    return Exti(0x5000D000, rig.log, rig.outputs(Exti.output_names))


@pytest.fixture
def port(rig: Rig) -> Gpio:
    return Gpio(0x50002000, rig.log, "gpioA", lambda _pin, _level: None)


def test_gpio_registers_have_their_reset_values(port: Gpio) -> None:
    assert [port.read(offset, 4, M4) for offset in (MODER, OTYPER, IDR, ODR, LCKR)] == [0xFFFFFFFF, 0, 0, 0, 0]


def test_bsrr_sets_and_clears_and_set_wins(port: Gpio) -> None:
    port.write(BSRR, 4, 0x0005, M4)
    port.write(BSRR, 4, 1 << 16 | 1 << 18 | 1 << 2, M4)
    assert port.read(ODR, 4, M4) == 0x0004
    port.write(BRR, 4, 0x0004, M4)
    assert port.read(ODR, 4, M4) == 0


@pytest.mark.parametrize(
    ("mode", "pull", "driven", "reads"),
    [
        (0, 0, None, 0),
        (0, 1, None, 1),
        (0, 2, None, 0),
        (0, 1, False, 0),
        (0, 2, True, 1),
        (2, 0, True, 1),
        (3, 1, True, 0),
        (1, 0, False, 1),
    ],
)
def test_a_pin_reads_by_its_mode(port: Gpio, mode: int, pull: int, driven: bool | None, reads: int) -> None:
    port.write(ODR, 4, 1 << 3, M4)
    port.write(MODER, 4, mode << 6, M4)
    port.write(PUPDR, 4, pull << 6, M4)
    port.drive(3, driven)
    assert port.read(IDR, 4, M4) >> 3 & 1 == reads


def test_an_open_drain_output_can_be_pulled_down_from_outside(port: Gpio) -> None:
    port.write(MODER, 4, 1, M4)
    port.write(OTYPER, 4, 1, M4)
    port.write(PUPDR, 4, 1, M4)
    port.write(ODR, 4, 1, M4)
    assert port.level(0)
    port.drive(0, False)
    assert not port.level(0)


def test_the_lock_sequence_freezes_the_configuration_of_its_pins(port: Gpio) -> None:
    port.write(MODER, 4, 0, M4)
    for value in (LCKK | 1, 1, LCKK | 1):
        port.write(LCKR, 4, value, M4)
    assert port.read(LCKR, 4, M4) == LCKK | 1
    port.write(MODER, 4, 0b0101, M4)
    port.write(AFRL, 4, 0x77, M4)
    assert (port.read(MODER, 4, M4), port.read(AFRL, 4, M4)) == (0b0100, 0x70)
    port.write(LCKR, 4, 0, M4)
    assert port.read(LCKR, 4, M4) == LCKK | 1
    port.write(BSRR, 4, 1, M4)
    assert port.read(ODR, 4, M4) == 1


@pytest.mark.parametrize(
    "sequence", [(LCKK | 1, 1), (LCKK | 1, 2, LCKK | 1), (1, 1, 1), (LCKK | 1, LCKK | 1, LCKK | 1)]
)
def test_a_broken_lock_sequence_locks_nothing(port: Gpio, sequence: tuple[int, ...]) -> None:
    for value in sequence:
        port.write(LCKR, 4, value, M4)
    assert not port.read(LCKR, 4, M4) & LCKK


def test_a_pin_that_does_not_exist_is_refused(port: Gpio) -> None:
    with pytest.raises(EngineError, match="no pin 16"):
        port.drive(16, True)


def test_a_port_snapshot_keeps_what_drives_it(port: Gpio) -> None:
    port.write(MODER, 4, 0, M4)
    port.drive(2, True)
    saved = port.save()
    port.drive(2, None)
    port.load(saved)
    assert port.read(IDR, 4, M4) == 4


@pytest.mark.parametrize("who", [NS, M4])
def test_secure_pins_of_port_z_are_the_secure_worlds(rig: Rig, who: Initiator) -> None:
    port = GpioZ(0x54004000, rig.log, "gpioZ", lambda _pin, _level: None)
    assert port.read(SECCFGR, 4, S) == 0xFF
    port.write(SECCFGR, 4, 0x01, S)
    port.write(SECCFGR, 4, 0x00, who)
    assert port.read(SECCFGR, 4, S) == 0x01
    port.write(MODER, 4, 0b0101, who)
    assert port.read(MODER, 4, S) & 0xF == 0b0111
    port.write(BSRR, 4, 0b11, who)
    assert (port.read(ODR, 4, S), port.read(ODR, 4, who)) == (0b10, 0b10)
    port.write(BSRR, 4, 0b01, S)
    assert (port.read(ODR, 4, S), port.read(ODR, 4, who)) == (0b11, 0b10)
    assert {event.rule for event in rig.log.of(AccessDenied)} == {"GPIOZ_SECCFGR=SECURE_ONLY", "GPIOZ_SECCFGR"}


def test_exti_registers_have_their_reset_values(exti: Exti) -> None:
    values = {C1IMR1: 0xFFFE0000, 0x90: 0xFFFFFFFF, C1IMR3: 0xDE9, C2IMR1: 0xFFFE0000, 0xD0: 0xFFFFFFFF, C2IMR3: 0xDE9}
    assert {offset: exti.read(offset, 4, M4) for offset in values} == values


@pytest.mark.parametrize(
    ("select", "level", "pending"), [(RTSR1, True, RPR1), (FTSR1, False, FPR1)], ids=["rising", "falling"]
)
def test_a_selected_edge_pends_and_interrupts_the_cores_that_unmask_it(
    rig: Rig, exti: Exti, select: int, level: bool, pending: int
) -> None:
    exti.write(select, 4, 1 << 5, M4)
    exti.write(C2IMR1, 4, 1 << 5, M4)
    exti.set_line(5, not level)
    assert rig.high() == set()
    exti.set_line(5, level)
    assert (exti.read(pending, 4, M4), rig.high()) == (1 << 5, {"Cpu2Line5"})
    exti.write(C1IMR1, 4, 1 << 5, NS)
    assert rig.high() == {"Cpu1Line5", "Cpu2Line5"}
    exti.write(pending, 4, 1 << 5, M4)
    assert (exti.read(pending, 4, M4), rig.high()) == (0, set())


def test_a_masked_edge_stays_pending_until_it_is_unmasked(rig: Rig, exti: Exti) -> None:
    exti.write(RTSR1, 4, 1, M4)
    exti.set_line(0, True)
    assert rig.high() == set()
    exti.write(C2IMR1, 4, 1, M4)
    assert rig.high() == {"Cpu2Line0"}


def test_software_triggers_configurable_lines_only(rig: Rig, exti: Exti) -> None:
    exti.write(C2IMR3, 4, 0xFFFFFFFF, M4)
    exti.write(0x48, 4, 0xFFFFFFFF, M4)
    assert exti.read(0x4C, 4, M4) == 0x216
    assert rig.high() == {f"Cpu2Line{line}" for line in (65, 66, 68, 73)}
    assert exti.read(SWIER1, 4, M4) == 0


def test_direct_lines_have_no_edge_and_cannot_be_driven(exti: Exti) -> None:
    exti.write(0x40, 4, 0xFFFFFFFF, M4)
    assert exti.read(0x40, 4, M4) == 0x216
    with pytest.raises(EngineError, match="line 61"):
        exti.set_line(61, True)


def test_exticr_selects_the_port_of_a_line(exti: Exti) -> None:
    exti.write(EXTICR2, 4, 0x02 << 8, M4)  # line 5 from port C
    exti.write(RTSR1, 4, 1 << 5, M4)
    exti.set_pin(0, 5, True)
    assert exti.read(RPR1, 4, M4) == 0
    exti.set_pin(2, 5, True)
    assert exti.read(RPR1, 4, M4) == 1 << 5


def test_a_snapshot_keeps_inputs_pending_bits_and_interrupts(rig: Rig, exti: Exti) -> None:
    exti.write(RTSR1, 4, 1, M4)
    exti.write(C2IMR1, 4, 1, M4)
    exti.set_pin(0, 0, True)
    saved = exti.save()
    exti.reset()
    exti.set_pin(0, 0, False)
    assert rig.high() == set()
    exti.load(saved)
    assert rig.high() == {"Cpu2Line0"}
    exti.write(RPR1, 4, 1, M4)
    exti.set_pin(0, 0, True)
    assert exti.read(RPR1, 4, M4) == 0
