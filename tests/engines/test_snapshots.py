"""Snapshot and restore of the whole SoC: cores, memories, blocks, secure world and log."""

from __future__ import annotations

import dataclasses
import io

import pytest
from presence import Configured

from cosim import client
from cosim.access import Initiator
from cosim.client import Command, StepStatus
from cosim.engine import CoreState
from cosim.errors import CosimError, EngineError
from cosim.events import EventLog, ForeignWrite
from cosim.resources import firmware_file
from cosim.scripts import SESSION, Script, kernel_flow
from cosim.soc import Soc, SocConfig
from cosim.testing import Signer
from ta.profile import FirewallProfile

#: wfi; b back
WFI_FOR_EVER = 0xE7FDBF30


def jsonl(log: EventLog) -> str:
    """The whole log as it would be written to a file."""
    stream = io.StringIO()
    log.write_jsonl(stream)
    return stream.getvalue()


def flow_of(soc: Soc, signer: Signer) -> Script:
    """The kernel's flow for the demo, staged on `soc`."""
    image = signer.sign(firmware_file("demo_m4.elf"))
    return kernel_flow(soc.stage(image), len(image))


def test_restored_soc_replays_the_rest_byte_for_byte(soc: Soc, signer: Signer) -> None:
    script = flow_of(soc, signer)
    soc.run_script(script.steps[:7])
    snapshot = soc.snapshot()
    soc.run_script(script.steps[7:])
    first = jsonl(soc.log)

    soc.restore(snapshot)
    assert soc.m4.state is CoreState.RUNNING
    soc.run_script(script.steps[7:])

    assert jsonl(soc.log) == first


def test_restore_undoes_memories_firewall_and_state_of_the_ta(soc: Soc, signer: Signer) -> None:
    script = flow_of(soc, signer)
    soc.run_script(script.steps[:5])
    snapshot, loaded = soc.snapshot(), soc.debug_read(0x10000000, 0x1000)
    assert any(loaded)

    soc.run_script(script.steps[5:])
    assert not any(soc.debug_read(0x10000000, 0x1000))
    assert soc.firewall.attribute("sram1") == "S_RW"
    soc.restore(snapshot)

    assert soc.debug_read(0x10000000, 0x1000) == loaded
    assert soc.m4.state is CoreState.HELD
    assert soc.m4.retired == 0
    started = soc.run_step(client.command(SESSION, Command.START_FW))
    assert started.ok
    assert soc.firewall.attribute("sram1") == "MCU_ISOLATION"
    soc.run(budget_ps=10**9)
    assert soc.m4.retired > 100_000


def test_code_changed_after_the_snapshot_runs_as_it_was_at_the_snapshot(signer: Signer, configured: Configured) -> None:
    soc = Soc(configured(firewall=FirewallProfile.OPEN))
    script = flow_of(soc, signer)
    soc.run_script(script.steps[:7])
    snapshot = soc.snapshot()
    for address in range(0x10000000, 0x10000800, 4):
        assert soc.run_step(client.write32(address, WFI_FOR_EVER)).status is StepStatus.DONE
    assert len(soc.log.of(ForeignWrite)) == 0x200
    soc.run(budget_ps=10**9)
    assert soc.m4.state is CoreState.SLEEPING

    soc.restore(snapshot)
    before = soc.m4.retired
    soc.run(budget_ps=10**9)

    assert soc.m4.retired > before + 100_000


def test_snapshot_of_another_kind_of_soc_is_refused(soc: Soc) -> None:
    smaller = soc.snapshot()
    broken = dataclasses.replace(smaller, banks=smaller.banks[::-1])

    with pytest.raises(CosimError, match="snapshot"):
        soc.restore(broken)


def test_snapshot_of_another_soc_is_refused_and_changes_nothing(soc: Soc, cosim_config: SocConfig) -> None:
    soc.bus.write(Initiator.DEBUG, 0x10000000, b"before")
    snapshot = soc.snapshot()
    other = Soc(cosim_config)
    other.bus.write(Initiator.DEBUG, 0x10000000, b"after.")

    with pytest.raises(EngineError, match="not a snapshot of this SoC"):
        other.restore(snapshot)
    assert other.debug_read(0x10000000, 6) == b"after."
