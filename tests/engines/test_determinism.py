"""Same input, same log: over repeats, over the two inner loops, over quanta, and with several SoCs in one process."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Iterable

import pytest
from scenarios import SCENARIOS, Scenario

from cosim.boot import boot
from cosim.engine.unicorn.native import library_path
from cosim.events import EventLog, Record
from cosim.resources import firmware_file
from cosim.scripts import kernel_flow
from cosim.soc import Soc, SocConfig
from cosim.testing import default_signer

BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}
#: One of each kind: accepted, faulting, refused, attacked, restarted.
TYPICAL = ("demo", "m4-writes-secure-ddr-abort", "flipped-text", "write-after-start-open", "restart-without-release")


def jsonl(log: EventLog) -> str:
    """The whole log as it would be written to a file."""
    stream = io.StringIO()
    log.write_jsonl(stream)
    return stream.getvalue()


def run(scenario: Scenario, engine: str, **changes: object) -> EventLog:
    """Play a scenario with a changed configuration."""
    config = dataclasses.replace(scenario.config(engine), **changes)
    return boot(scenario.image(), config, script=scenario.script, others=scenario.other_images()).soc.log


def of_core(records: Iterable[Record], core: str) -> list[dict[str, object]]:
    """What one core's events say, without their place in the common order."""
    return [{k: v for k, v in r.as_dict().items() if k != "sequence"} for r in records if r.stamp.core == core]


@pytest.mark.parametrize("name", TYPICAL)
def test_same_run_twice_gives_the_same_log_byte_for_byte(name: str, cosim_config: SocConfig) -> None:
    first, second = (jsonl(run(BY_NAME[name], cosim_config.engine)) for _ in range(2))

    assert first == second


@pytest.mark.skipif(library_path() is None, reason="the native loop is not built: there is only one loop to run")
@pytest.mark.parametrize("name", TYPICAL)
def test_python_and_native_loop_give_the_same_log_byte_for_byte(name: str) -> None:
    python, native = (jsonl(run(BY_NAME[name], "unicorn", loop=loop)) for loop in ("python", "native"))

    assert python == native


@pytest.mark.usefixtures("exact_interleaving")
@pytest.mark.parametrize("quantum", [1, 7, 100, 10_000])
@pytest.mark.parametrize("name", TYPICAL)
def test_every_event_has_the_same_numbers_at_any_quantum(name: str, quantum: int) -> None:
    usual, other = run(BY_NAME[name], "unicorn"), run(BY_NAME[name], "unicorn", quantum=quantum)

    for core in ("host", "a7", "m4"):
        assert of_core(other, core) == of_core(usual, core)


@pytest.mark.usefixtures("several_socs")
def test_two_socs_in_one_process_do_not_touch_each_other() -> None:
    image = default_signer().sign(firmware_file("demo_m4.elf").read_bytes())
    alone = jsonl(boot(image).soc.log)

    first, second = Soc(), Soc(SocConfig(quantum=10))
    script = kernel_flow(first.stage(image), len(image))
    second.stage(image)
    first.run_script(script.steps[:6], on_error=0)
    second.run_script(script.steps[:4], on_error=0)
    assert first.m4.retired > 0
    assert second.m4.retired == 0
    second.run_script(script.steps[4:], on_error=0)

    assert first.debug_read(0x10048000, 64) != bytes(64)
    assert jsonl(boot(image).soc.log) == alone
