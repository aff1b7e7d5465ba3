"""Watchdogs in virtual time: when they warn, when they expire, and what refreshes them."""

from __future__ import annotations

import pytest
from rig import Rig

from cosim.access import Initiator
from cosim.events import WatchdogExpired
from cosim.peripherals.iwdg import Iwdg
from cosim.peripherals.wwdg import Wwdg

M4, NS, S = Initiator.M4, Initiator.A7_NS, Initiator.A7_S
CR, CFR, SR = 0x0, 0x4, 0x8
WDGA, EWI = 1 << 7, 1 << 9
#: A clock of which 4096 cycles, one step of the counter, take a microsecond.
STEP_HZ, US = 4096 * 10**6, 10**6
KR, PR, RLR, ISR, WINR, EWCR = 0x00, 0x04, 0x08, 0x0C, 0x10, 0x14
MS = 10**9


class Watched(Rig):
    def __init__(self) -> None:
        super().__init__()
        self.resets: list[int] = []

    def expired(self) -> None:
        self.resets.append(self.now)


@pytest.fixture
def rig() -> Watched:
    return Watched()


@pytest.fixture
def wwdg(rig: Watched) -> Wwdg:
    return Wwdg(
        0x4000A000,
        rig.log,
        rig.outputs(Wwdg.output_names),
        "wwdg1",
        now_ps=lambda: rig.now,
        timers=rig.timers,
        clock_hz=STEP_HZ,
        expired=rig.expired,
    )


@pytest.fixture
def iwdg(rig: Watched) -> Iwdg:
    outputs = rig.outputs(Iwdg.output_names)
    return Iwdg(0x5A002000, rig.log, outputs, "iwdg2", now_ps=lambda: rig.now, timers=rig.timers, expired=rig.expired)


def test_wwdg_registers_have_their_reset_values_and_nothing_runs(rig: Watched, wwdg: Wwdg) -> None:
    rig.pass_to(1000 * US)
    assert [wwdg.read(offset, 4, M4) for offset in (CR, CFR, SR, 0x3F0)] == [0x7F, 0x7F, 0, 0xFFF]
    assert (rig.timers.next_at(), rig.resets) == (None, [])


def test_wwdg_counts_down_and_resets_below_0x40(rig: Watched, wwdg: Wwdg) -> None:
    wwdg.write(CR, 4, WDGA | 0x50, M4)
    rig.pass_to(5 * US)
    assert wwdg.read(CR, 4, M4) == WDGA | 0x4B
    rig.pass_to(100 * US)
    assert rig.resets == [17 * US]
    assert rig.log.of(WatchdogExpired) == [WatchdogExpired("wwdg1")]
    assert wwdg.read(CR, 4, M4) == 0x7F


def test_wwdg_warns_one_step_before_it_resets(rig: Watched, wwdg: Wwdg) -> None:
    wwdg.write(CFR, 4, EWI | 0x7F, M4)
    wwdg.write(CR, 4, WDGA | 0x50, M4)
    rig.pass_to(16 * US - 1)
    assert rig.high() == set()
    rig.pass_to(16 * US)
    assert (rig.high(), wwdg.read(SR, 4, M4), rig.resets) == ({"Irq"}, 1, [])
    wwdg.write(SR, 4, 0, M4)
    assert rig.high() == set()
    wwdg.write(CR, 4, WDGA | 0x7F, M4)
    rig.pass_to(70 * US)
    assert rig.resets == []


@pytest.mark.parametrize("scale", range(8))
def test_wwdg_prescaler_doubles_the_step(rig: Watched, wwdg: Wwdg, scale: int) -> None:
    wwdg.write(CFR, 4, scale << 11 | 0x7F, M4)
    wwdg.write(CR, 4, WDGA | 0x40, M4)
    rig.pass_to(1000 * US)
    assert rig.resets == [US << scale]


def test_wwdg_refreshed_inside_its_window_lives_on(rig: Watched, wwdg: Wwdg) -> None:
    wwdg.write(CFR, 4, 0x50, M4)
    wwdg.write(CR, 4, WDGA | 0x5F, M4)
    for n in range(1, 10):
        rig.pass_to(n * 20 * US)
        wwdg.write(CR, 4, WDGA | 0x5F, M4)
    assert rig.resets == []


def test_wwdg_refreshed_before_its_window_resets_at_once(rig: Watched, wwdg: Wwdg) -> None:
    wwdg.write(CFR, 4, 0x50, M4)
    wwdg.write(CR, 4, WDGA | 0x5F, M4)
    rig.pass_to(14 * US)
    wwdg.write(CR, 4, WDGA | 0x5F, M4)
    assert rig.resets == [14 * US]


def test_wwdg_written_with_t6_clear_resets_at_once(rig: Watched, wwdg: Wwdg) -> None:
    wwdg.write(CR, 4, WDGA | 0x3F, M4)
    assert rig.resets == [0]


def test_wwdg_cannot_be_switched_off(wwdg: Wwdg) -> None:
    wwdg.write(CR, 4, WDGA | 0x7F, M4)
    wwdg.write(CR, 4, 0x7F, M4)
    assert wwdg.read(CR, 4, M4) & WDGA


def test_wwdg_snapshot_expires_when_the_original_did(rig: Watched, wwdg: Wwdg) -> None:
    wwdg.write(CR, 4, WDGA | 0x50, M4)
    rig.pass_to(5 * US)
    saved, alarms = wwdg.save(), rig.timers.save()
    rig.pass_to(50 * US)
    wwdg.load(saved)
    rig.timers.load(alarms)
    rig.now = 5 * US
    assert wwdg.read(CR, 4, M4) == WDGA | 0x4B
    rig.pass_to(50 * US)
    assert rig.resets == [17 * US, 17 * US]


def test_iwdg_registers_have_their_reset_values(iwdg: Iwdg) -> None:
    assert [iwdg.read(offset, 4, NS) for offset in (PR, RLR, ISR, WINR, EWCR)] == [7, 0xFFF, 0, 0xFFF, 0]


def test_iwdg_settings_need_the_unlock_key_which_any_other_key_ends(iwdg: Iwdg) -> None:
    iwdg.write(RLR, 4, 9, NS)
    assert iwdg.read(RLR, 4, NS) == 0xFFF
    iwdg.write(KR, 4, 0x5555, NS)
    iwdg.write(RLR, 4, 9, NS)
    iwdg.write(KR, 4, 0xAAAA, NS)
    iwdg.write(RLR, 4, 99, NS)
    assert iwdg.read(RLR, 4, NS) == 9


def start(iwdg: Iwdg, *settings: tuple[int, int]) -> None:
    iwdg.write(KR, 4, 0x5555, NS)
    for offset, value in settings:
        iwdg.write(offset, 4, value, NS)
    iwdg.write(KR, 4, 0xCCCC, NS)


@pytest.mark.parametrize(("prescaler", "reload", "milliseconds"), [(3, 999, 1000), (0, 7999, 487.5), (8, 31, 1024)])
def test_iwdg_expires_by_lsi_prescaler_and_reload(
    rig: Watched, iwdg: Iwdg, prescaler: int, reload: int, milliseconds: float
) -> None:
    start(iwdg, (PR, prescaler), (RLR, reload))
    rig.pass_to(10_000 * MS)
    assert rig.resets == [((reload & 0xFFF) + 1) * (4 << prescaler) * 10**12 // 32_000]
    assert rig.log.of(WatchdogExpired) == [WatchdogExpired("iwdg2")]
    if reload <= 0xFFF:
        assert rig.resets == [int(milliseconds * MS)]


def test_iwdg_lives_while_it_is_reloaded(rig: Watched, iwdg: Iwdg) -> None:
    start(iwdg, (PR, 3), (RLR, 999))
    for n in range(1, 6):
        rig.pass_to(n * 900 * MS)
        iwdg.write(KR, 4, 0xAAAA, NS)
    assert rig.resets == []
    rig.pass_to(10_000 * MS)
    assert rig.resets == [5500 * MS]


def test_iwdg_reloaded_before_its_window_expires_at_once(rig: Watched, iwdg: Iwdg) -> None:
    start(iwdg, (PR, 3), (RLR, 999), (WINR, 500))
    rig.pass_to(400 * MS)
    iwdg.write(KR, 4, 0xAAAA, NS)
    assert rig.resets == [400 * MS]


def test_iwdg_warns_at_the_early_wakeup_value(rig: Watched, iwdg: Iwdg) -> None:
    start(iwdg, (PR, 3), (RLR, 999), (EWCR, 1 << 15 | 200))
    rig.pass_to(799 * MS - 1)
    assert rig.high() == set()
    rig.pass_to(799 * MS)
    assert (rig.high(), iwdg.read(ISR, 4, NS)) == ({"Irq"}, 1 << 14)
    iwdg.write(KR, 4, 0x5555, NS)
    iwdg.write(EWCR, 4, 1 << 15 | 1 << 14 | 200, NS)
    assert (rig.high(), rig.resets) == (set(), [])


def test_iwdg_snapshot_expires_when_the_original_did(rig: Watched, iwdg: Iwdg) -> None:
    start(iwdg, (PR, 3), (RLR, 999))
    rig.pass_to(300 * MS)
    saved, alarms = iwdg.save(), rig.timers.save()
    rig.pass_to(2000 * MS)
    iwdg.load(saved)
    rig.timers.load(alarms)
    rig.now = 300 * MS
    rig.pass_to(2000 * MS)
    assert rig.resets == [1000 * MS, 1000 * MS]
