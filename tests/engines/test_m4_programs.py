"""What firmware with an RTOS, a watchdog or an MPU needs of the M4, by programs that check it from inside.

Expected values are those of the ARMv7-M manual (DDI 0403): preemption and tail-chaining B1.5.4 and B1.5.12, FP context
B1.5.7, SysTick B3.3, MPU B3.5 and the MemManage status B3.2.15.
"""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest
from m4_probes import boot_probe, symbols_of

from cosim.engine import CoreState
from cosim.events import WatchdogExpired
from cosim.resources import firmware_file
from cosim.soc import Soc, SocConfig

MS = 10**9
DACCVIOL, IACCVIOL, MMARVALID = 1 << 1, 1 << 0, 1 << 7
WRITTEN, UNREAD = 0x12345678, 0xFFFFFFFF


class Program:
    """One program of `firmware/`, authenticated, started, and ready."""

    def __init__(self, name: str, config: SocConfig) -> None:
        elf = firmware_file(name).read_bytes()
        self.symbols = symbols_of(elf)
        self.soc: Soc = boot_probe(elf, config)

    def words(self, symbol: str, count: int = 1) -> tuple[int, ...]:
        """Words of the M4's memory as the simulator sees them."""
        return struct.unpack(f"<{count}I", self.bytes(symbol, 4 * count))

    def bytes(self, symbol: str, size: int) -> bytes:
        """Bytes of the M4's memory as the simulator sees them."""
        return self.soc.bus.debug_read("m4", self.symbols[symbol], size)

    def trace(self) -> str:
        """The text of the trace buffer."""
        return self.bytes("cosim_trace", 2048).split(b"\0")[0].decode()


@pytest.fixture(scope="module")
def engine_config(request: pytest.FixtureRequest) -> SocConfig:
    return SocConfig(engine=request.config.getoption("cosim_engine"))


@pytest.fixture(scope="module", params=[1000, 77])
def kernel(request: pytest.FixtureRequest, engine_config: SocConfig) -> Program:
    return Program("kernel_m4.elf", replace(engine_config, quantum=request.param))


def test_two_tasks_share_the_core_and_keep_their_floating_point_registers(kernel: Program) -> None:
    assert kernel.words("kernel_fp_lost", 2) == (0, 0)
    assert all(rounds > 50 for rounds in kernel.words("kernel_rounds", 2))
    (ticks,), (switches,) = kernel.words("kernel_ticks"), kernel.words("kernel_switches")
    assert ticks >= 10
    assert switches == ticks
    assert "kernel: ticks 0x0000000a, FP registers lost 0x00000000" in kernel.trace()


def test_the_unprivileged_task_reaches_the_kernel_by_svc(kernel: Program) -> None:
    (total,), (_, rounds) = kernel.words("kernel_svc_sum"), kernel.words("kernel_rounds", 2)
    assert rounds - 1 <= total // 2 <= rounds


def test_nested_interrupts_come_in_the_order_of_their_priorities(kernel: Program) -> None:
    assert kernel.bytes("kernel_order", 16).rstrip(b"\0").startswith(b"lHmTlHmT")


def test_the_tick_comes_every_millisecond_of_virtual_time(kernel: Program) -> None:
    before, started = kernel.words("kernel_ticks")[0], kernel.soc.m4.time_ps
    kernel.soc.run(budget_ps=20 * MS)
    assert kernel.words("kernel_ticks")[0] - before == 20
    assert kernel.soc.m4.time_ps - started >= 20 * MS


def test_a_forgotten_watchdog_warns_and_then_resets_the_core(engine_config: SocConfig) -> None:
    program = Program("watchdog_m4.elf", engine_config)
    program.soc.run(budget_ps=20 * MS)
    assert program.words("cosim_counter") == (4,)
    assert program.words("watchdog_warned") == (1,)
    assert "nobody refreshed it" in program.trace()
    assert program.soc.log.of(WatchdogExpired) == [WatchdogExpired("wwdg1")]
    assert program.soc.m4.state is CoreState.HELD


#: Regions in a page that was accessed before, of which Renode keeps the first answer.
_BY_PAGE = ("read of a guard", "fetch from an execute-never region", "read of the enabled half of a region")

#: Faults, CFSR and MMFAR (as an offset in mpu_memory, None for no fault), and the value that was read or written.
MPU_PROBES = {
    "write to a read-only region": (DACCVIOL | MMARVALID, 0x000, WRITTEN),
    "read of a read-only region": (0, None, 0),
    "read of a guard": (DACCVIOL | MMARVALID, 0x1FC, UNREAD),
    "privileged write to a privileged region": (0, None, WRITTEN),
    "unprivileged read of a privileged region": (DACCVIOL | MMARVALID, 0x200, UNREAD),
    "fetch from an execute-never region": (IACCVIOL, None, 0),
    "read of the enabled half of a region": (DACCVIOL | MMARVALID, 0x400, UNREAD),
    "read of the disabled half": (0, None, 4),
    "privileged write by the default map": (0, None, WRITTEN),
    "write with the MPU off": (0, None, WRITTEN),
}


@pytest.fixture(scope="module")
def mpu(engine_config: SocConfig) -> Program:
    return Program("mpu_m4.elf", engine_config)


@pytest.mark.parametrize("probe", MPU_PROBES)
def test_the_mpu_allows_and_refuses_as_its_regions_say(mpu: Program, probe: str) -> None:
    if mpu.soc.config.engine == "renode" and probe in _BY_PAGE:
        pytest.skip("the engine renode asks its MPU once for each page, see docs/engines.md")
    cfsr, offset, value = MPU_PROBES[probe]
    index = list(MPU_PROBES).index(probe)
    results = mpu.words("mpu_results", 4 * len(MPU_PROBES))[4 * index : 4 * index + 4]
    faults, seen, mmfar, got = results
    assert (faults, seen, got) == (int(cfsr != 0), cfsr, value)
    if offset is not None:
        assert mmfar == mpu.symbols["mpu_memory"] + offset


def test_memory_keeps_what_the_mpu_protected(mpu: Program) -> None:
    memory = mpu.soc.bus.debug_read("m4", mpu.symbols["mpu_memory"], 4)
    assert memory == WRITTEN.to_bytes(4, "little")  # by the last probe alone, without MPU
    assert mpu.words("mpu_type") == (8 << 8,)
