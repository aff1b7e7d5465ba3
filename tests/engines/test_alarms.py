"""What blocks do later, they do at their virtual time: a watchdog resets the M4 to the instruction, at any quantum."""

from __future__ import annotations

import pytest
from presence import Configured

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


def watched(config: SocConfig, control: int = ACTIVATE, *then: Step) -> Soc:
    """A SoC whose M4 runs under a window watchdog that nobody refreshes, and whose A7 does `then` and sleeps."""
    soc = Soc(config)
    image = default_signer().sign(firmware_file("demo_m4.elf").read_bytes())
    steps = kernel_flow(soc.stage(image), len(image)).steps[:7]
    soc.run_script([*steps, client.write32(WWDG_CR, control), *then])
    return soc


def test_unrefreshed_watchdog_resets_the_m4_which_stays_held(cosim_config: SocConfig) -> None:
    soc = watched(cosim_config)
    assert soc.m4.state is CoreState.RUNNING
    soc.run(budget_ps=10**10)

    assert len(soc.log.of(WatchdogExpired)) == 1
    assert soc.m4.state is CoreState.HELD
    retired = soc.m4.retired
    soc.run(budget_ps=10**10)
    assert soc.m4.retired == retired


@pytest.mark.usefixtures("exact_interleaving")
@pytest.mark.parametrize("quantum", [10, 333, 10_000])
@pytest.mark.parametrize("then", [(), (client.spin(2_000_000),)], ids=["a7 sleeps", "a7 works on"])
def test_watchdog_expires_at_the_same_instruction_at_any_quantum(
    quantum: int, then: tuple[Step, ...], configured: Configured
) -> None:
    usual, other = watched(configured(), ACTIVATE, *then), watched(configured(quantum=quantum), ACTIVATE, *then)
    for soc in (usual, other):
        soc.run(budget_ps=10**10)

    assert usual.log.of(CoreHeld)[-1].retired > 100_000
    assert other.log.of(CoreHeld) == usual.log.of(CoreHeld)


@pytest.mark.usefixtures("exact_interleaving")
@pytest.mark.parametrize("quantum", [10, 20_000, 50_000])
def test_polling_core_sees_a_short_watchdog_expire_at_the_same_read_at_any_quantum(
    quantum: int, configured: Configured
) -> None:
    polling = client.wait32(WWDG_CR, 0x80, 0, 100_000, 10)  # WDGA is clear again only after the reset that followed
    usual, other = (watched(c, ACTIVATE_SHORT, polling) for c in (configured(), configured(quantum=quantum)))

    assert usual.m4.state is CoreState.HELD
    assert usual.log.of(WatchdogExpired)
    assert (other.a7.retired, other.a7.time_ps) == (usual.a7.retired, usual.a7.time_ps)


def test_restored_snapshot_expires_at_the_same_instruction(cosim_config: SocConfig) -> None:
    soc = watched(cosim_config)
    snapshot = soc.snapshot()
    soc.run(budget_ps=10**10)
    first = soc.log.of(CoreHeld)
    soc.restore(snapshot)
    soc.run(budget_ps=10**10)

    assert soc.log.of(CoreHeld) == first
    assert len(soc.log.of(WatchdogExpired)) == 1


def test_watchdog_expires_at_its_virtual_time_or_at_the_microsecond_behind_it(cosim_config: SocConfig) -> None:
    def expiry(config: SocConfig) -> int:
        soc = Soc(config)
        soc.run_script([client.write32(WWDG_CR, ACTIVATE_SHORT), client.spin(30_000)])
        (expired,) = (r.stamp.time_ps for r in soc.log if isinstance(r.payload, WatchdogExpired))
        return expired

    assert 0 <= expiry(cosim_config) - expiry(SocConfig()) <= 10**6
