"""What blocks do later, they do at their virtual time: a watchdog resets the M4 to the instruction, at any quantum."""

from __future__ import annotations

import pytest

from cosim import client
from cosim.client import Step
from cosim.engine import CoreState
from cosim.events import CoreHeld, WatchdogExpired
from cosim.resources import firmware_file
from cosim.scripts import kernel_flow
from cosim.soc import Soc, SocConfig
from cosim.testing import default_signer

WWDG_CR = 0x4000A000
#: WDGA with the counter at its highest (2.5 ms), and where one step is left (39 us, less than a long quantum).
ACTIVATE, ACTIVATE_SHORT = 0xFF, 0xC0


def watched(quantum: int = 1000, control: int = ACTIVATE, *then: Step) -> Soc:
    """A SoC whose M4 runs under a window watchdog that nobody refreshes, and whose A7 does `then` and sleeps."""
    soc = Soc(SocConfig(quantum=quantum))
    image = default_signer().sign(firmware_file("demo_m4.elf").read_bytes())
    steps = kernel_flow(soc.stage(image), len(image)).steps[:7]
    soc.run_script([*steps, client.write32(WWDG_CR, control), *then])
    return soc


def test_unrefreshed_watchdog_resets_the_m4_which_stays_held() -> None:
    soc = watched()
    assert soc.m4.state is CoreState.RUNNING
    soc.run(budget_ps=10**10)

    assert len(soc.log.of(WatchdogExpired)) == 1
    assert soc.m4.state is CoreState.HELD
    retired = soc.m4.retired
    soc.run(budget_ps=10**10)
    assert soc.m4.retired == retired


@pytest.mark.parametrize("quantum", [10, 333, 10_000])
@pytest.mark.parametrize("then", [(), (client.spin(2_000_000),)], ids=["a7 sleeps", "a7 works on"])
def test_watchdog_expires_at_the_same_instruction_at_any_quantum(quantum: int, then: tuple[Step, ...]) -> None:
    usual, other = watched(1000, ACTIVATE, *then), watched(quantum, ACTIVATE, *then)
    for soc in (usual, other):
        soc.run(budget_ps=10**10)

    assert usual.log.of(CoreHeld)[-1].retired > 100_000
    assert other.log.of(CoreHeld) == usual.log.of(CoreHeld)


@pytest.mark.parametrize("quantum", [10, 20_000, 50_000])
def test_polling_core_sees_a_short_watchdog_expire_at_the_same_read_at_any_quantum(quantum: int) -> None:
    polling = client.wait32(WWDG_CR, 0x80, 0, 100_000, 10)  # WDGA is clear again only after the reset that followed
    usual, other = watched(1000, ACTIVATE_SHORT, polling), watched(quantum, ACTIVATE_SHORT, polling)

    assert usual.m4.state is CoreState.HELD
    assert usual.log.of(WatchdogExpired)
    assert (other.a7.retired, other.a7.time_ps) == (usual.a7.retired, usual.a7.time_ps)


def test_restored_snapshot_expires_at_the_same_instruction() -> None:
    soc = watched()
    snapshot = soc.snapshot()
    soc.run(budget_ps=10**10)
    first = soc.log.of(CoreHeld)
    soc.restore(snapshot)
    soc.run(budget_ps=10**10)

    assert soc.log.of(CoreHeld) == first
    assert len(soc.log.of(WatchdogExpired)) == 1
