"""RCC: reset values, secure gating, and the hold-boot machine of the Cortex-M4."""

from __future__ import annotations

import pytest

from cosim.access import Initiator
from cosim.events import AccessDenied, EventLog, RegisterWritten
from cosim.peripherals.rcc import CoreState, Rcc, ResetCause

BASE = 0x50000000
NS, S, M4, DEBUG = Initiator.A7_NS, Initiator.A7_S, Initiator.M4, Initiator.DEBUG
TZCR, MSSCKSELR, MP_BOOTCR, MP_GCR, GRSTCSETR, MC_RSTSCLRR = 0x000, 0x048, 0x100, 0x10C, 0x404, 0xC00
BOOT_MCU, MCURST = 1, 2

RESET_VALUES = {
    0x000: 0x3,
    0x048: 0x80000000,
    0x100: 0,
    0x10C: 0,
    0x110: 0x7F00,
    0x114: 0x7F00,
    0x208: 0,
    0x400: 0x15,
    0x404: 0,
    0x408: 0,
    0x40C: 0,
    0x420: 0,
    0x830: 0x80000000,
    0xA00: 0,
    0xA20: 0,
    0xA28: 0,
    0xA38: 0x10,
    0xA80: 0,
    0xAA0: 0,
    0xAA8: 0,
    0xAB8: 0x10,
    0xC00: 0x15,
    0xFF4: 0x11,
    0xFF8: 0x1,
    0xFFC: 0xA3C5DD04,
}


class Boot:
    """Notes what the hold-boot machine asks of the engine."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def release(self) -> None:
        self.calls.append("release")

    def hold(self) -> None:
        self.calls.append("hold")


@pytest.fixture
def log() -> EventLog:
    return EventLog()


@pytest.fixture
def boot() -> Boot:
    return Boot()


@pytest.fixture
def rcc(log: EventLog, boot: Boot) -> Rcc:
    return Rcc(BASE, log, boot)


def write(rcc: Rcc, offset: int, value: int, who: Initiator = S) -> None:
    rcc.write(offset, 4, value, who)


def start(rcc: Rcc) -> None:
    """As OP-TEE does it: BOOT_MCU set and cleared at once."""
    write(rcc, MP_GCR, BOOT_MCU)
    write(rcc, MP_GCR, 0)


@pytest.mark.parametrize(("offset", "value"), RESET_VALUES.items(), ids=lambda n: f"0x{n:x}")
def test_every_register_has_its_documented_reset_value(rcc: Rcc, offset: int, value: int) -> None:
    assert rcc.read(offset, 4, NS) == value


def test_all_registers_can_be_read_by_the_normal_world_while_secure(rcc: Rcc, log: EventLog) -> None:
    assert rcc.read(TZCR, 4, NS) == rcc.read(TZCR, 4, M4) == 3
    assert len(log) == 0


@pytest.mark.parametrize("who", [NS, M4])
def test_only_the_secure_world_writes_tzcr(rcc: Rcc, log: EventLog, who: Initiator) -> None:
    write(rcc, TZCR, 0)
    write(rcc, TZCR, 3, who)
    assert rcc.value("TZCR") == 0
    denied = log.of(AccessDenied)
    assert denied == [AccessDenied(who.value, "write", BASE, 4, 3, "rcc", "RCC_TZCR=SECURE_ONLY", "razwi")]


@pytest.mark.parametrize("offset", [MP_BOOTCR, MP_GCR, 0x110, 0x208, 0x20C, 0x400, 0x40C, 0x410, 0x830])
@pytest.mark.parametrize("who", [NS, M4])
def test_tzen_keeps_the_normal_world_off_secure_registers(rcc: Rcc, log: EventLog, offset: int, who: Initiator) -> None:
    write(rcc, TZCR, 1)
    before = rcc.read(offset, 4, DEBUG)
    write(rcc, offset, 0xFFFFFFFF, who)
    assert rcc.read(offset, 4, DEBUG) == before
    assert [event.rule for event in log.of(AccessDenied)] == ["RCC_TZCR.TZEN"]


@pytest.mark.parametrize("offset", [MP_BOOTCR, MP_GCR, 0x208])
def test_without_tzen_the_normal_world_may_write_them(rcc: Rcc, log: EventLog, offset: int) -> None:
    write(rcc, TZCR, 2)  # MCKPROT alone protects nothing
    write(rcc, offset, 0xFFFFFFFF, NS)
    assert rcc.read(offset, 4, DEBUG) != 0
    assert log.of(AccessDenied) == []


@pytest.mark.parametrize(("tzcr", "denied"), [(0, False), (1, False), (2, False), (3, True)])
def test_the_m4_clock_source_is_secure_with_tzen_and_mckprot_only(
    rcc: Rcc, log: EventLog, tzcr: int, denied: bool
) -> None:
    write(rcc, MSSCKSELR, 3)
    write(rcc, TZCR, tzcr)
    write(rcc, MSSCKSELR, 0, NS)
    assert rcc.read(MSSCKSELR, 4, NS) == (0x80000003 if denied else 0x80000000)
    assert [event.rule for event in log.of(AccessDenied)] == (["RCC_TZCR.MCKPROT"] if denied else [])


def test_the_normal_world_cannot_reset_a_protected_m4_but_may_request_other_resets(
    rcc: Rcc, log: EventLog, boot: Boot
) -> None:
    start(rcc)
    write(rcc, GRSTCSETR, MCURST | 0x10, NS)
    assert boot.calls == ["release"]
    assert [event.rule for event in log.of(AccessDenied)] == ["RCC_TZCR.MCKPROT"]
    assert log.of(RegisterWritten)[-1].value == 0x10


def test_the_debugger_writes_past_the_gates(rcc: Rcc, log: EventLog) -> None:
    write(rcc, MP_BOOTCR, 1, DEBUG)
    assert rcc.value("MP_BOOTCR") == 1
    assert log.of(AccessDenied) == []


@pytest.mark.parametrize("offset", [0xA00, 0xA20, 0xA28, 0xA38, 0xA80, 0xAA0, 0xAA8, 0xAB8, 0x208, 0x40C])
def test_enable_pairs_set_clear_and_read_back(rcc: Rcc, offset: int) -> None:
    everything = 0xFFFFFFFF
    write(rcc, offset, everything)
    implemented = rcc.read(offset, 4, NS)
    assert implemented not in (0, everything)
    assert rcc.read(offset + 4, 4, NS) == implemented
    lowest = implemented & -implemented
    write(rcc, offset + 4, lowest)
    assert rcc.read(offset, 4, NS) == rcc.read(offset + 4, 4, NS) == implemented & ~lowest


def test_reset_status_set_and_clear_registers_share_their_flags(rcc: Rcc) -> None:
    write(rcc, 0x420, 0x40)
    assert rcc.read(0x408, 4, NS) == 0x40
    write(rcc, 0x408, 0x40)
    assert rcc.read(0x420, 4, NS) == 0


def test_the_m4_is_held_after_power_on(rcc: Rcc, boot: Boot) -> None:
    assert rcc.core_state is CoreState.HELD
    assert boot.calls == []


def test_setting_then_clearing_boot_mcu_starts_the_m4_and_leaves_it_running(rcc: Rcc, boot: Boot) -> None:
    start(rcc)
    assert boot.calls == ["release"]
    assert rcc.core_state is CoreState.RUNNING
    assert rcc.value("MP_GCR") == 0


def test_setting_boot_mcu_of_a_running_m4_does_nothing(rcc: Rcc, boot: Boot) -> None:
    start(rcc)
    write(rcc, MP_GCR, BOOT_MCU)
    assert boot.calls == ["release"]


def test_mcurst_with_boot_mcu_clear_ends_in_hold(rcc: Rcc, boot: Boot) -> None:
    start(rcc)
    write(rcc, GRSTCSETR, MCURST)
    assert boot.calls == ["release", "hold"]
    assert rcc.core_state is CoreState.HELD
    assert rcc.read(GRSTCSETR, 4, S) == 0
    assert rcc.read(MC_RSTSCLRR, 4, M4) == 0x15 | 0x20


def test_mcurst_with_boot_mcu_set_starts_the_m4_again(rcc: Rcc, boot: Boot) -> None:
    write(rcc, MP_GCR, BOOT_MCU)
    write(rcc, GRSTCSETR, MCURST)
    assert boot.calls == ["release", "hold", "release"]
    assert rcc.core_state is CoreState.RUNNING


def test_mcurst_of_a_held_m4_leaves_it_held(rcc: Rcc, boot: Boot) -> None:
    write(rcc, GRSTCSETR, MCURST)
    assert boot.calls == []
    assert rcc.core_state is CoreState.HELD


def test_a_stopped_m4_can_be_started_again(rcc: Rcc, boot: Boot) -> None:
    for _ in range(2):
        start(rcc)
        write(rcc, GRSTCSETR, MCURST)
    assert boot.calls == ["release", "hold"] * 2


@pytest.mark.parametrize("cause", [ResetCause.SYSRESETREQ, ResetCause.LOCKUP, ResetCause.WWDG1])
@pytest.mark.parametrize(("boot_mcu", "calls"), [(0, ["release", "hold"]), (1, ["release", "hold", "release"])])
def test_the_m4s_own_resets_obey_boot_mcu(
    rcc: Rcc, boot: Boot, cause: ResetCause, boot_mcu: int, calls: list[str]
) -> None:
    start(rcc)
    write(rcc, MP_GCR, boot_mcu)
    rcc.core_reset_request(cause)
    assert boot.calls == calls


def test_a_watchdog_reset_raises_its_own_flag_and_flags_clear_by_writing_one(rcc: Rcc) -> None:
    start(rcc)
    rcc.core_reset_request(ResetCause.WWDG1)
    assert rcc.read(MC_RSTSCLRR, 4, M4) == 0x15 | 0x20 | 0x400
    write(rcc, MC_RSTSCLRR, 0x420, M4)
    assert rcc.read(MC_RSTSCLRR, 4, M4) == 0x15


@pytest.mark.parametrize("who", [NS, M4])
def test_the_normal_world_cannot_start_the_m4_while_the_rcc_is_secure(
    rcc: Rcc, log: EventLog, boot: Boot, who: Initiator
) -> None:
    for size, offset in ((4, MP_GCR), (2, MP_GCR), (1, MP_GCR)):
        rcc.write(offset, size, BOOT_MCU, who)
    assert boot.calls == []
    assert log.of(RegisterWritten) == []
    assert len(log.of(AccessDenied)) == 3


def test_the_register_write_is_logged_before_the_core_moves(log: EventLog) -> None:
    seen: list[int] = []

    class Watch(Boot):
        def release(self) -> None:
            seen.append(len(log))

    write(Rcc(BASE, log, Watch()), MP_GCR, BOOT_MCU)
    assert seen == [1]


def test_power_on_reset_holds_a_running_m4(rcc: Rcc, boot: Boot) -> None:
    write(rcc, MP_GCR, BOOT_MCU)
    rcc.reset()
    assert boot.calls == ["release", "hold"]
    assert rcc.value("MP_GCR") == 0


def test_a_snapshot_restores_the_hold_boot_machine_without_driving_the_core(rcc: Rcc, boot: Boot) -> None:
    held = rcc.save()
    start(rcc)
    running = rcc.save()
    rcc.load(held)
    assert rcc.core_state is CoreState.HELD
    rcc.load(running)
    assert rcc.core_state is CoreState.RUNNING
    assert boot.calls == ["release"]


OCENSETR, OCENCLRR, OCRDYR, BDCR, RDLSICR = 0x00C, 0x010, 0x808, 0x140, 0x144
PLL1CR, PLL2CR, PLL3CR, PLL4CR = 0x080, 0x094, 0x880, 0x894


def test_oscillators_are_ready_as_soon_as_they_are_enabled(rcc: Rcc) -> None:
    always = 1 << 2 | 1 << 23 | 1 << 24
    assert rcc.read(OCRDYR, 4, M4) == always | 1
    write(rcc, OCENSETR, 1 << 8 | 1 << 4)
    assert rcc.read(OCRDYR, 4, M4) == always | 1 | 1 << 8 | 1 << 4
    write(rcc, OCENCLRR, 1 << 4)
    assert rcc.read(OCRDYR, 4, M4) == always | 1 | 1 << 8


@pytest.mark.parametrize(
    ("offset", "ready"),
    [(PLL1CR, 2), (PLL2CR, 2), (PLL3CR, 2), (PLL4CR, 2), (BDCR, 4), (RDLSICR, 2)],
    ids=["pll1", "pll2", "pll3", "pll4", "lse", "lsi"],
)
def test_ready_flags_follow_their_enables_and_cannot_be_written(rcc: Rcc, offset: int, ready: int) -> None:
    write(rcc, offset, ready)
    assert rcc.read(offset, 4, M4) & ready == 0
    write(rcc, offset, 1)
    assert rcc.read(offset, 4, M4) & ready == ready
    write(rcc, offset, 0)
    assert rcc.read(offset, 4, M4) & ready == 0


@pytest.mark.parametrize("offset", [0x020, 0x024, 0x028, 0x02C, 0x030, 0x03C, 0x040, 0x820, 0x824, 0x834, 0x838, 0x83C])
def test_selectors_and_dividers_are_ready_whatever_is_written(rcc: Rcc, offset: int) -> None:
    write(rcc, offset, 1)
    assert rcc.read(offset, 4, M4) == 0x80000001


@pytest.mark.parametrize("offset", [OCENSETR, PLL1CR, 0x098, 0x020, BDCR, 0x0C8, 0x188, 0x210])
@pytest.mark.parametrize("who", [NS, M4])
def test_the_secure_worlds_clocks_are_gated_by_tzen(rcc: Rcc, log: EventLog, offset: int, who: Initiator) -> None:
    before = rcc.read(offset, 4, who)
    write(rcc, offset, 0x12, who)
    assert rcc.read(offset, 4, who) == before
    assert [event.rule for event in log.of(AccessDenied)] == ["RCC_TZCR.TZEN"]


@pytest.mark.parametrize("offset", [0x820, PLL3CR, 0x884, 0x888, 0x88C])
@pytest.mark.parametrize(("tzcr", "written"), [(3, False), (1, True), (0, True)])
def test_pll3_is_gated_by_mckprot(rcc: Rcc, offset: int, tzcr: int, written: bool) -> None:
    write(rcc, TZCR, tzcr)
    before = rcc.read(offset, 4, M4)
    write(rcc, offset, 0x12, M4)
    assert (rcc.read(offset, 4, M4) != before) is written


@pytest.mark.parametrize(
    ("offset", "bit"), [(0xA88, 13), (0xA90, 11), (0xA98, 2), (0xA80, 15), (0xAA0, 12), (0x298, 20)]
)
def test_the_m4_enables_its_clocks_with_the_gates_closed(rcc: Rcc, offset: int, bit: int) -> None:
    write(rcc, offset, 1 << bit, M4)
    assert rcc.read(offset, 4, M4) == rcc.read(offset + 4, 4, M4) == 1 << bit
    write(rcc, offset + 4, 1 << bit, M4)
    assert rcc.read(offset, 4, M4) == 0


@pytest.mark.parametrize(("number", "flag"), [(1, 8), (2, 9)])
def test_an_independent_watchdog_leaves_its_flag(rcc: Rcc, number: int, flag: int) -> None:
    rcc.watchdog_expired(number)
    assert all(rcc.read(offset, 4, NS) >> flag & 1 for offset in (0x400, 0x408, MC_RSTSCLRR))


def test_listeners_hear_each_reset_of_the_m4_before_it_starts_again(rcc: Rcc, boot: Boot) -> None:
    rcc.listen_core_reset(lambda: boot.calls.append("listener"))
    write(rcc, MP_GCR, BOOT_MCU)
    write(rcc, GRSTCSETR, MCURST)
    assert boot.calls == ["release", "hold", "listener", "release"]
