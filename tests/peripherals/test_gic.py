"""The GIC: enabling, pending, priorities, acknowledging, ending, SGIs, and the output to the core."""

from __future__ import annotations

import pytest

from cosim.access import Initiator
from cosim.errors import EngineError
from cosim.events import EventLog
from cosim.peripherals.gic import OTHER_GROUP, SPURIOUS, Gic, Signal

A7, DEBUG = Initiator.A7_NS, Initiator.DEBUG
CTLR, TYPER, ISENABLER, ICENABLER, ISPENDR, ICPENDR, ISACTIVER, ICACTIVER = (
    0x000,
    0x004,
    0x100,
    0x180,
    0x200,
    0x280,
    0x300,
    0x380,
)
IPRIORITYR, ITARGETSR, ICFGR, SGIR, CPENDSGIR, SPENDSGIR = 0x400, 0x800, 0xC00, 0xF00, 0xF10, 0xF20
GICC = 0x1000
C_CTLR, PMR, BPR, IAR, EOIR, RPR, HPPIR, DIR = (GICC + n for n in (0x00, 0x04, 0x08, 0x0C, 0x10, 0x14, 0x18, 0x1000))
ABPR, AIAR, AEOIR, AHPPIR = (GICC + n for n in (0x1C, 0x20, 0x24, 0x28))
IGROUPR = 0x080
GRP0, GRP1, ACKCTL, FIQEN, CBPR = 1, 2, 4, 8, 16
UART4 = 52
INTID = 32 + UART4


class Rig:
    def __init__(self) -> None:
        self.output: list[Signal] = []
        self.gic = Gic(0xA0021000, EventLog())
        self.gic.connect(self.changed)

    def changed(self) -> None:
        if self.output[-1:] != [self.gic.signal]:
            self.output.append(self.gic.signal)

    @property
    def asserted(self) -> bool:
        return self.gic.signal is not Signal.NONE

    def write(self, offset: int, value: int, size: int = 4) -> None:
        self.gic.write(offset, size, value, A7)

    def read(self, offset: int, size: int = 4) -> int:
        return self.gic.read(offset, size, A7)

    def switch_on(self) -> None:
        self.write(CTLR, 1)
        self.write(C_CTLR, 1)
        self.write(PMR, 0xF8)

    def enable(self, number: int, priority: int = 0xA0) -> None:
        self.write(IPRIORITYR + number, priority, size=1)
        self.write(ITARGETSR + number, 1, size=1)
        self.write(ISENABLER + 4 * (number // 32), 1 << (number % 32))


@pytest.fixture
def rig() -> Rig:
    return Rig()


@pytest.fixture
def on(rig: Rig) -> Rig:
    rig.switch_on()
    return rig


@pytest.mark.parametrize(
    ("offset", "value"),
    [
        (CTLR, 0),
        (TYPER, 8),
        (0x008, 0x0200143B),
        (0x080, 0),
        (ISENABLER, 0xFFFF),
        (ISENABLER + 4, 0),
        (ITARGETSR, 0x01010101),
        (ITARGETSR + 32, 0),
        (ICFGR, 0xAAAAAAAA),
        (ICFGR + 8, 0),
        (0xFE8, 0x2B),
        (C_CTLR, 0),
        (PMR, 0),
        (BPR, 2),
        (ABPR, 3),
        (AIAR, SPURIOUS),
        (IAR, SPURIOUS),
        (RPR, 0xFF),
        (HPPIR, SPURIOUS),
        (GICC + 0xFC, 0x0202143B),
    ],
)
def test_registers_have_their_reset_values(rig: Rig, offset: int, value: int) -> None:
    assert rig.read(offset) == value


def test_a_level_interrupt_is_signalled_acknowledged_and_ended(on: Rig) -> None:
    on.enable(INTID)
    on.gic.set_line(UART4, True)
    assert on.asserted
    assert on.read(IAR) == INTID
    assert not on.asserted
    assert on.read(RPR) == 0xA0
    on.gic.set_line(UART4, False)
    on.write(EOIR, INTID)
    assert on.read(RPR) == 0xFF
    assert on.read(IAR) == SPURIOUS
    assert on.output == [Signal.NONE, Signal.IRQ, Signal.NONE]


def test_a_level_interrupt_that_stays_high_comes_again_after_its_end(on: Rig) -> None:
    on.enable(INTID)
    on.gic.set_line(UART4, True)
    on.write(EOIR, on.read(IAR))
    assert on.asserted


def test_a_level_interrupt_that_falls_before_it_is_acknowledged_is_gone(on: Rig) -> None:
    on.enable(INTID)
    on.gic.set_line(UART4, True)
    on.gic.set_line(UART4, False)
    assert on.read(IAR) == SPURIOUS


def test_an_edge_interrupt_is_kept_after_its_line_fell_and_comes_once(on: Rig) -> None:
    on.write(ICFGR + 4 * (INTID // 16), 2 << 2 * (INTID % 16))
    on.enable(INTID)
    on.gic.set_line(UART4, True)
    on.gic.set_line(UART4, False)
    assert on.read(IAR) == INTID
    on.write(EOIR, INTID)
    assert on.read(IAR) == SPURIOUS


@pytest.mark.parametrize("missing", ["distributor", "interface", "enable", "target", "mask"])
def test_every_stage_can_hold_an_interrupt_back(on: Rig, missing: str) -> None:
    on.enable(INTID)
    on.gic.set_line(UART4, True)
    stage = {
        "distributor": (CTLR, 0),
        "interface": (C_CTLR, 0),
        "enable": (ICENABLER + 4 * (INTID // 32), 1 << INTID % 32),
        "target": (ITARGETSR + (INTID & ~3), 0),
        "mask": (PMR, 0xA0),
    }
    on.write(*stage[missing])
    assert not on.asserted
    assert on.read(IAR) == SPURIOUS


def test_the_lower_priority_value_goes_first_and_equal_ones_by_number(on: Rig) -> None:
    for number, priority in ((40, 0xA0), (50, 0x80), (45, 0x80)):
        on.enable(number, priority)
        on.write(ISPENDR + 4, 1 << (number - 32))
    order = []
    for _ in range(3):
        order.append(on.read(IAR))
        on.write(EOIR, order[-1])
    assert order == [45, 50, 40]


def test_only_a_more_urgent_interrupt_preempts(on: Rig) -> None:
    on.enable(40, 0x80)
    on.enable(41, 0x80)
    on.enable(42, 0x40)
    on.write(ISPENDR + 4, 1 << 8)
    assert on.read(IAR) == 40
    on.write(ISPENDR + 4, 1 << 9)
    assert not on.asserted
    assert on.read(HPPIR) == 41
    on.write(ISPENDR + 4, 1 << 10)
    assert on.read(IAR) == 42
    assert on.read(RPR) == 0x40
    on.write(EOIR, 42)
    assert on.read(RPR) == 0x80
    on.write(EOIR, 40)
    assert on.read(IAR) == 41


def test_the_binary_point_groups_priorities(on: Rig) -> None:
    on.write(BPR, 6)  # only bit 7 decides
    on.enable(40, 0x70)
    on.enable(41, 0x10)
    on.write(ISPENDR + 4, 1 << 8)
    assert on.read(IAR) == 40
    on.write(ISPENDR + 4, 1 << 9)
    assert not on.asserted


def test_the_binary_point_has_a_smallest_value(on: Rig) -> None:
    on.write(BPR, 0)
    on.write(ABPR, 0)
    assert (on.read(BPR), on.read(ABPR)) == (2, 3)


def test_priorities_keep_five_bits_and_byte_accesses_touch_one_interrupt(on: Rig) -> None:
    on.write(IPRIORITYR + 40, 0xFF, size=1)
    on.write(IPRIORITYR + 41, 0x10, size=1)
    assert on.read(IPRIORITYR + 40) == 0x000010F8
    assert on.read(IPRIORITYR + 41, size=1) == 0x10


def test_enable_set_and_clear_registers_work_on_one_state(on: Rig) -> None:
    on.write(ISENABLER + 4, 0xF0)
    on.write(ICENABLER + 4, 0x30)
    assert on.read(ISENABLER + 4) == on.read(ICENABLER + 4) == 0xC0


def test_sgis_cannot_be_disabled(on: Rig) -> None:
    on.write(ICENABLER, 0xFFFFFFFF)
    assert on.read(ISENABLER) == 0xFFFF


def test_software_can_take_back_a_pending_interrupt(on: Rig) -> None:
    on.enable(40)
    on.write(ISPENDR + 4, 1 << 8)
    on.write(ICPENDR + 4, 1 << 8)
    assert on.read(ISPENDR + 4) == 0
    assert not on.asserted


def test_active_bits_can_be_set_and_cleared(on: Rig) -> None:
    on.enable(40)
    on.write(ISACTIVER + 4, 1 << 8)
    on.write(ISPENDR + 4, 1 << 8)
    assert not on.asserted  # an active interrupt is not signalled again
    on.write(ICACTIVER + 4, 1 << 8)
    assert on.asserted


@pytest.mark.parametrize(
    ("request_word", "delivered"), [(1 << 16, True), (2 << 16, False), (1 << 24, False), (2 << 24, True)]
)
def test_sgis_reach_the_listed_core_or_oneself(on: Rig, request_word: int, delivered: bool) -> None:
    on.write(SGIR, request_word | 5)
    assert on.asserted is delivered
    assert on.read(IAR) == (5 if delivered else SPURIOUS)


def test_sgi_pending_registers_set_clear_and_read(on: Rig) -> None:
    on.write(SPENDSGIR + 4, 0x0100)
    assert on.read(CPENDSGIR + 4) == 0x0100
    assert on.asserted
    on.write(CPENDSGIR + 5, 1, size=1)
    assert on.read(SPENDSGIR + 4) == 0
    assert not on.asserted


def test_the_pending_bank_cannot_touch_sgis(on: Rig) -> None:
    on.write(ISPENDR, 0xFFFF)
    assert not on.asserted


def test_private_interrupts_need_no_target(on: Rig) -> None:
    on.write(ITARGETSR + 24, 0)  # ignored: private interrupts always go to their own core
    assert on.read(ITARGETSR + 24) == 0x01010101
    on.write(ISENABLER, 1 << 27)
    on.gic.set_ppi(27, True)
    assert on.read(IAR) == 27


def test_with_eoimode_priority_drop_and_deactivation_are_separate(on: Rig) -> None:
    on.write(C_CTLR, 1 | 1 << 9)
    on.enable(40)
    on.write(ISPENDR + 4, 1 << 8)
    on.write(EOIR, on.read(IAR))
    assert on.read(RPR) == 0xFF
    assert on.read(ISACTIVER + 4) == 1 << 8
    on.write(DIR, 40)
    assert on.read(ISACTIVER + 4) == 0


def test_ending_a_spurious_or_foreign_interrupt_changes_nothing(on: Rig) -> None:
    on.enable(40)
    on.write(ISPENDR + 4, 1 << 8)
    on.read(IAR)
    for number in (SPURIOUS, 1000, 41):
        on.write(EOIR, number)
    assert on.read(RPR) == 0xA0


def both_groups(rig: Rig, control: int) -> None:
    """Interrupt 40 in group 0 and 41, less urgent, in group 1; both enabled, none pending."""
    rig.write(CTLR, GRP0 | GRP1)
    rig.write(C_CTLR, GRP0 | GRP1 | control)
    rig.write(PMR, 0xF8)
    rig.enable(40, 0x40)
    rig.enable(41, 0x80)
    rig.write(IGROUPR + 4, 1 << 9)


def pend(rig: Rig, number: int) -> None:
    rig.write(ISPENDR + 4 * (number // 32), 1 << number % 32)


@pytest.mark.parametrize(
    ("control", "number", "signal"),
    [(0, 40, Signal.IRQ), (FIQEN, 40, Signal.FIQ), (FIQEN, 41, Signal.IRQ)],
    ids=["group 0 as irq", "group 0 as fiq", "group 1 is never fiq"],
)
def test_fiqen_makes_fiqs_of_group_0_alone(rig: Rig, control: int, number: int, signal: Signal) -> None:
    both_groups(rig, control)
    pend(rig, number)
    assert rig.gic.signal is signal


def test_only_the_most_urgent_interrupt_decides_between_irq_and_fiq(rig: Rig) -> None:
    both_groups(rig, FIQEN)
    pend(rig, 41)
    pend(rig, 40)
    assert rig.output == [Signal.NONE, Signal.IRQ, Signal.FIQ]
    rig.write(EOIR, rig.read(IAR))
    assert rig.gic.signal is Signal.IRQ


@pytest.mark.parametrize("place", [CTLR, C_CTLR], ids=["distributor", "interface"])
def test_a_disabled_group_is_not_signalled(rig: Rig, place: int) -> None:
    both_groups(rig, 0)
    rig.write(place, GRP0)
    pend(rig, 41)
    assert not rig.asserted
    rig.write(place, GRP1)
    assert rig.asserted


def test_group_1_is_acknowledged_by_the_alias_or_with_ackctl(rig: Rig) -> None:
    both_groups(rig, 0)
    pend(rig, 41)
    assert (rig.read(IAR), rig.read(HPPIR), rig.read(AHPPIR)) == (OTHER_GROUP, OTHER_GROUP, 41)
    assert rig.read(AIAR) == 41
    rig.write(AEOIR, 41)
    assert rig.read(RPR) == 0xFF
    rig.write(C_CTLR, GRP0 | GRP1 | ACKCTL)
    pend(rig, 41)
    assert rig.read(IAR) == 41


def test_the_alias_does_not_show_group_0(rig: Rig) -> None:
    both_groups(rig, 0)
    pend(rig, 40)
    assert (rig.read(AIAR), rig.read(AHPPIR)) == (SPURIOUS, SPURIOUS)
    assert rig.read(IAR) == 40


@pytest.mark.parametrize(("control", "preempts"), [(0, False), (CBPR, True)])
def test_group_1_has_a_binary_point_of_its_own_unless_cbpr_is_set(rig: Rig, control: int, preempts: bool) -> None:
    both_groups(rig, control)
    rig.write(IGROUPR + 4, 3 << 8)
    rig.write(ABPR, 7)  # only bit 7 decides
    rig.enable(40, 0x00)
    rig.enable(41, 0x40)
    pend(rig, 41)
    assert rig.read(AIAR) == 41
    pend(rig, 40)
    assert rig.asserted is preempts


def test_groups_survive_a_snapshot_and_not_a_reset(rig: Rig) -> None:
    both_groups(rig, FIQEN)
    pend(rig, 41)
    saved = rig.gic.save()
    rig.gic.reset()
    assert rig.read(IGROUPR + 4) == 0
    assert not rig.gic.armed
    rig.gic.load(saved)
    assert rig.read(IGROUPR + 4) == 1 << 9
    assert rig.gic.armed
    assert rig.read(AIAR) == 41


@pytest.mark.parametrize(
    ("distributor", "interface", "armed"),
    [(0, 3, False), (3, 0, False), (1, 2, False), (1, 1, True), (2, 2, True)],
)
def test_the_gic_is_armed_when_one_group_is_enabled_in_both_halves(
    rig: Rig, distributor: int, interface: int, armed: bool
) -> None:
    rig.write(CTLR, distributor)
    rig.write(C_CTLR, interface)
    assert rig.gic.armed is armed


def test_the_debugger_does_not_acknowledge(on: Rig) -> None:
    on.enable(INTID)
    on.gic.set_line(UART4, True)
    assert on.gic.read(IAR, 4, DEBUG) == INTID
    assert on.asserted
    assert on.read(IAR) == INTID


def test_reset_keeps_the_wires_and_forgets_the_rest(on: Rig) -> None:
    on.enable(INTID)
    on.gic.set_line(UART4, True)
    on.gic.reset()
    assert not on.asserted
    on.switch_on()
    on.enable(INTID)
    assert on.asserted


def test_a_snapshot_restores_what_is_active_and_pending(on: Rig) -> None:
    on.enable(40)
    on.enable(41, 0x40)
    on.write(ISPENDR + 4, 1 << 8)
    on.read(IAR)
    on.write(ISPENDR + 4, 1 << 9)
    saved = on.gic.save()
    on.gic.reset()
    on.gic.load(saved)
    assert on.asserted
    assert on.read(IAR) == 41
    on.write(EOIR, 41)
    assert on.read(RPR) == 0xA0


def test_lines_that_do_not_exist_are_refused(rig: Rig) -> None:
    for spi in (-1, 256):
        with pytest.raises(EngineError):
            rig.gic.set_line(spi, True)
    with pytest.raises(EngineError):
        rig.gic.set_ppi(32, True)
    with pytest.raises(EngineError):
        rig.gic.load("nonsense")
