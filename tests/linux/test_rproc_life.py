"""Boot, stop, crash, recovery and failure of the remote processor, in the kernel's order and with its errors."""

from __future__ import annotations

import pytest
from linux_bench import MILLISECOND_PS, TABLE, booted, commands, elf, host, signed, word

from cosim.access import Deny, Initiator
from cosim.engine import CoreState
from cosim.errors import BusFault
from cosim.events import ConsoleLine
from cosim.linux.carveout import Carveouts
from cosim.linux.errno import Errno, KernelError, KernelOopsError
from cosim.linux.events import KernelMessage, RprocStateChanged
from cosim.linux.host import LinuxHost
from cosim.linux.optee import KERNEL_PAGES_SIZE
from cosim.linux.remoteproc_core import CrashType, RprocState
from cosim.monitors import Monitors
from cosim.soc import Soc
from cosim.testing import flip
from ta.events import MemoryWiped, SessionClosed, SessionOpened
from ta.profile import FirewallProfile, Settings, ShmBuild

BOOT = ["LOAD_FW", "GET_RSC_TABLE", "LOAD_FW", "GET_RSC_TABLE", "START_FW"]
RECOVERY = ["STOP_FW", "LOAD_FW", "GET_RSC_TABLE", "START_FW"]
PWR_MCUCR, BKP18R, BKP19R = 0x50001014, 0x5C00A148, 0x5C00A14C


def never() -> bool:
    return False


def error_of(linux: LinuxHost) -> KernelError:
    with pytest.raises(KernelError) as caught:
        linux.boot()
    return caught.value


def test_a_boot_asks_the_ta_in_the_order_of_the_kernel_and_the_m4_runs() -> None:
    linux = booted()
    assert commands(linux) == BOOT
    assert linux.rproc.state is RprocState.RUNNING
    linux.run(never, MILLISECOND_PS)
    assert linux.soc.m4.retired > 100_000


def test_the_session_is_opened_with_the_kernels_login_and_closed_when_the_driver_goes() -> None:
    linux = booted()
    linux.close()
    assert [(e.session, e.result) for e in linux.soc.log.of(SessionOpened)] == [(1, 0)]
    assert [(e.session, e.result) for e in linux.soc.log.of(SessionClosed)] == [(1, 0)]
    assert linux.rproc.state is RprocState.DELETED


def test_a_shutdown_stops_before_it_releases_and_leaves_nothing_in_the_memories() -> None:
    linux = booted()
    linux.shutdown()
    assert commands(linux) == [*BOOT, "STOP_FW", "RELEASE_FW"]
    assert linux.rproc.state is RprocState.OFFLINE
    assert linux.soc.m4.state is CoreState.HELD
    assert not any(linux.soc.debug_read(TABLE, 0x100) + linux.soc.debug_read(0x10000000, 0x1000))


def test_the_driver_keeps_deep_sleep_away_while_the_m4_runs_and_reports_off_when_it_stopped() -> None:
    linux = booted()
    assert word(linux, PWR_MCUCR) & 1 == 0
    linux.soc.bus.write(Initiator.A7_NS, BKP18R, b"\x02\0\0\0")
    linux.shutdown()
    assert word(linux, PWR_MCUCR) & 1 == 1
    assert word(linux, BKP18R) == 0
    linux.boot()
    assert word(linux, PWR_MCUCR) & 1 == 0


def test_a_second_boot_only_counts_and_the_last_shutdown_stops() -> None:
    linux = booted()
    linux.rproc.boot()
    assert commands(linux) == BOOT
    linux.shutdown()
    assert linux.rproc.state is RprocState.RUNNING
    linux.shutdown()
    assert linux.rproc.state is RprocState.OFFLINE


def test_a_processor_can_be_booted_again_after_a_shutdown() -> None:
    linux = booted()
    linux.shutdown()
    linux.boot()
    linux.run(never, MILLISECOND_PS)
    assert linux.rproc.state is RprocState.RUNNING
    assert linux.traces[0].text.startswith("m4: remoteproc-cosim demo")


def test_a_shutdown_of_a_processor_that_does_not_run_is_einval() -> None:
    with pytest.raises(KernelError) as caught:
        host().shutdown()
    assert (caught.value.errno, caught.value.function) == (Errno.EINVAL, "rproc_shutdown")


def test_a_deleted_processor_cannot_be_booted() -> None:
    linux = host()
    linux.close()
    error = error_of(linux)
    assert (error.errno, error.function) == (Errno.ENODEV, "rproc_boot")


# -- crash and recovery ------------------------------------------------------------------------------------------------


def test_a_recovery_authenticates_again_without_a_release_in_between() -> None:
    linux = booted()
    linux.run(never, MILLISECOND_PS)
    before = linux.now_ps
    linux.report_crash()
    assert linux.now_ps == before  # a crashed firmware is not asked to shut down
    assert commands(linux) == BOOT + RECOVERY
    assert linux.rproc.state is RprocState.RUNNING
    states = [(e.before, e.after) for e in linux.soc.log.of(RprocStateChanged)]
    assert states == [
        ("OFFLINE", "RUNNING"),
        ("RUNNING", "CRASHED"),
        ("CRASHED", "OFFLINE"),
        ("OFFLINE", "RUNNING"),
    ]


def test_the_trace_log_survives_the_crash_and_the_firmware_starts_a_new_one() -> None:
    linux = booted()
    linux.run(never, MILLISECOND_PS)
    before = linux.traces[0].text
    assert "m4: ready" in before
    linux.rproc.recovery_disabled = True
    linux.report_crash()
    assert linux.traces[0].text == before
    linux.rproc.trigger_recovery()
    linux.run(never, MILLISECOND_PS)
    assert linux.traces[0].text == before  # the same firmware tells the same


def test_a_trace_buffer_that_begins_anew_is_reported_from_its_start_and_a_wiped_one_keeps_its_text() -> None:
    linux = booted()
    for text in (b"first line of all\n", b"anew\n", bytes(32)):
        linux.soc.bus.write(Initiator.DEBUG, linux.rproc.resources.traces[0].da, text.ljust(32, b"\0"))
        linux.read_traces()
    assert [e.text for e in linux.soc.log.of(ConsoleLine)] == ["first line of all", "anew"]
    assert linux.traces[0].text == "anew\n"


def test_without_recovery_a_crashed_processor_stays_crashed() -> None:
    linux = booted()
    linux.rproc.recovery_disabled = True
    linux.report_crash(CrashType.FATAL_ERROR)
    assert linux.rproc.state is RprocState.CRASHED
    assert commands(linux) == BOOT


def test_a_crash_is_handled_once() -> None:
    linux = booted()
    linux.rproc.recovery_disabled = True
    linux.report_crash()
    linux.report_crash()
    assert linux.rproc.crash_count == 1


def test_a_recovery_that_fails_releases_the_firmware_and_ends_offline() -> None:
    linux = booted()
    linux.firmware = flip(linux.firmware, 0x60)
    with pytest.raises(KernelError) as caught:
        linux.report_crash()
    assert caught.value.errno is Errno.EIO
    assert commands(linux) == [*BOOT, "STOP_FW", "LOAD_FW", "RELEASE_FW"]
    assert linux.rproc.state is RprocState.OFFLINE
    assert linux.soc.m4.state is CoreState.HELD


def test_a_crash_that_the_firmware_reports_is_seen() -> None:
    linux = booted()
    assert linux.crash_reason() is None
    linux.soc.bus.write(Initiator.DEBUG, BKP19R, b"\x05\0\0\0")
    assert "BKP19R" in str(linux.crash_reason())


# -- failures ----------------------------------------------------------------------------------------------------------


def test_a_damaged_image_is_eio_with_the_result_of_the_tee_and_is_released() -> None:
    linux = host()
    linux.firmware = flip(linux.firmware, 0x60)
    error = error_of(linux)
    assert (error.errno, error.function) == (Errno.EIO, "rproc_tee_load_fw")
    assert error.fields["result_name"] == "TEE_ERROR_SIGNATURE_INVALID"
    assert commands(linux) == ["LOAD_FW", "RELEASE_FW"]
    assert linux.rproc.state is RprocState.OFFLINE
    assert not linux.soc.m4.retired


def test_a_boot_after_a_failed_one_succeeds() -> None:
    linux = host()
    good, linux.firmware = linux.firmware, flip(linux.firmware, 0x60)
    error_of(linux)
    linux.firmware = good
    linux.boot()
    assert linux.rproc.state is RprocState.RUNNING


def test_an_elf_file_without_signature_is_eio_in_the_tee_flow() -> None:
    linux = host()
    linux.firmware = elf("demo_m4")
    assert error_of(linux).errno is Errno.EIO


@pytest.mark.parametrize(
    ("build", "size"),
    [(ShmBuild.RESERVED, 0x1F0001), (ShmBuild.BOTH, KERNEL_PAGES_SIZE), (ShmBuild.BOTH, 0)],
)
def test_a_firmware_that_does_not_fit_the_shared_memory_is_enomem(build: ShmBuild, size: int) -> None:
    linux = host(settings=Settings(shm=build))
    linux.firmware = bytes(size)
    error = error_of(linux)
    assert (error.errno, error.function) == (Errno.ENOMEM, "tee_shm_register_kernel_buf")
    assert linux.rproc.state is RprocState.OFFLINE


def test_a_processor_that_runs_already_cannot_be_taken_over_by_the_tee_driver() -> None:
    soc = Soc()
    soc.bus.write(Initiator.DEBUG, BKP18R, b"\x02\0\0\0")
    with pytest.raises(KernelError) as caught:
        LinuxHost(soc, signed("demo_m4"))
    assert (caught.value.errno, caught.value.function) == (Errno.EINVAL, "stm32_rproc_probe")


def test_a_boot_failure_is_in_the_kernel_log() -> None:
    linux = host()
    linux.firmware = bytes(4)
    error_of(linux)
    assert any(m.level == "err" and "rproc_tee_load_fw" in m.text for m in linux.soc.log.of(KernelMessage))


def test_the_firmware_of_a_processor_that_runs_is_not_released() -> None:
    linux = booted()
    linux.rproc.ops.release_fw(RprocState.RUNNING)
    assert any(m.function == "rproc_tee_release_fw" and m.level == "err" for m in linux.soc.log.of(KernelMessage))
    linux.rproc.ops.release_fw(RprocState.DETACHED)
    assert commands(linux) == BOOT


def test_a_table_that_no_carveout_holds_is_not_the_loaded_table() -> None:
    linux = booted()
    assert linux.rproc.ops.find_loaded_rsc_table(b"", linux.rproc.carveouts) == TABLE
    assert linux.rproc.ops.find_loaded_rsc_table(b"", Carveouts()) is None


# -- tables where Linux cannot look ------------------------------------------------------------------------------------


def test_under_isolation_a_table_in_retram_reads_as_zero_so_linux_finds_no_resources() -> None:
    linux = booted("demo_m4_retram")
    assert linux.rproc.state is RprocState.RUNNING
    assert not linux.rproc.resources.vdevs
    assert not linux.traces


def test_in_the_open_the_same_table_is_found() -> None:
    linux = booted("demo_m4_retram", firewall=FirewallProfile.OPEN)
    assert len(linux.rproc.resources.vdevs) == 1


def test_with_bus_aborts_the_kernel_oopses_at_that_table_and_the_firmware_is_released() -> None:
    linux = host("demo_m4_retram", deny=Deny.ABORT)
    with pytest.raises(KernelOopsError) as caught:
        linux.boot()
    assert caught.value.fields["function"] == "rproc_tee_parse_fw"
    assert isinstance(caught.value.__cause__, BusFault)
    assert linux.soc.log.of(MemoryWiped)
    assert linux.rproc.state is RprocState.OFFLINE


def test_a_firmware_without_table_boots_without_resources() -> None:
    linux = booted("demo_m4_notable")
    assert linux.rproc.table is None
    assert not linux.rproc.resources.vdevs
    linux.shutdown()


# -- what the monitors say ---------------------------------------------------------------------------------------------


def test_the_security_monitors_hold_through_boot_recovery_and_shutdown() -> None:
    linux = host()
    monitors = Monitors(linux.soc.log, linux.soc.debug_read, isolated=True)
    linux.boot()
    linux.run(never, MILLISECOND_PS)
    linux.report_crash()
    linux.run(never, MILLISECOND_PS)
    linux.shutdown()
    assert [(m.description, m.detail) for m in monitors.results() if m.held is False] == []
    assert any(m.held for m in monitors.results())
