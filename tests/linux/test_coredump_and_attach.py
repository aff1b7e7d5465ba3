"""Coredumps as the kernel makes them, and processors that someone else started: by the bytes that arrive."""

from __future__ import annotations

import io
import struct

import pytest
from elftools.elf.elffile import ELFFile
from linux_bench import MILLISECOND_PS, TABLE, booted, elf, signed, word

from cosim.access import Deny, Initiator
from cosim.engine import CoreState
from cosim.linux.coredump import MOST_DUMP, Coredump, DumpConf
from cosim.linux.errno import Errno, KernelError, KernelOopsError
from cosim.linux.events import KernelMessage
from cosim.linux.host import LinuxHost
from cosim.linux.remoteproc_core import RprocState
from cosim.soc import Soc, SocConfig
from ta.image_elf import read_elf
from ta.profile import FirewallProfile, Profile

RCC_TZCR, RCC_MP_GCR = 0x50000000, 0x5000010C
BKP17R, BKP18R = 0x5C00A144, 0x5C00A148
M4_STATE_CRUN = 2


def crashed(firewall: FirewallProfile, profile: Profile = Profile.UPSTREAM, deny: Deny = Deny.RAZWI) -> LinuxHost:
    linux = booted("rpmsg_echo", firewall=firewall, profile=profile, deny=deny)
    linux.rproc.coredump.conf = DumpConf.ENABLED
    linux.run(lambda: len(linux.buses[0].channels) == 2, MILLISECOND_PS)
    channel = linux.buses[0].channels[0]
    linux.buses[0].send(channel.local, channel.remote, b"!crash")
    linux.run(lambda: linux.crash_reason() is not None, MILLISECOND_PS)
    return linux


# -- coredump ----------------------------------------------------------------------------------------------------------


def test_a_crash_leaves_an_elf_core_of_the_memories_and_the_processor_runs_again() -> None:
    linux = crashed(FirewallProfile.OPEN)
    linux.report_crash()
    dump = linux.rproc.coredump.take()
    assert dump is not None
    core = ELFFile(io.BytesIO(dump))
    assert (core["e_type"], core["e_machine"], core["e_entry"], core.elfclass) == ("ET_CORE", "EM_NONE", 0, 32)
    segments = {s["p_paddr"]: s for s in core.iter_segments()}
    assert all(s["p_filesz"] == s["p_memsz"] and s["p_flags"] == 7 for s in segments.values())
    assert 0x10042000 not in segments  # the message buffers are left out
    text = read_elf(elf("rpmsg_echo")).loads[1]
    assert segments[0x10000000].data().startswith(read_elf(elf("rpmsg_echo")).segment_bytes(text))
    assert b"rpmsg: crash asked for" in segments[0x10048000].data()
    assert linux.rproc.state is RprocState.RUNNING


def test_under_isolation_the_kernel_finds_only_what_is_shared_in_the_dump() -> None:
    linux = crashed(FirewallProfile.ISOLATED)
    linux.report_crash()
    core = ELFFile(io.BytesIO(linux.rproc.coredump.take() or b""))
    data = {s["p_paddr"]: s.data() for s in core.iter_segments()}
    assert not any(data[0] + data[0x10000000])
    assert b"rpmsg: crash asked for" in data[0x10048000]


def test_the_hardened_ta_wipes_at_stop_so_its_dump_is_empty_but_the_trace_was_read_before() -> None:
    linux = crashed(FirewallProfile.OPEN, Profile.HARDENED)
    linux.report_crash()
    core = ELFFile(io.BytesIO(linux.rproc.coredump.take() or b""))
    assert not any(any(s.data()) for s in core.iter_segments() if s["p_paddr"] in (0, 0x10000000, 0x10048000))
    assert "rpmsg: crash asked for" in linux.traces[0].text


def test_there_is_no_dump_unless_it_is_enabled_and_one_that_waits_is_not_replaced() -> None:
    linux = crashed(FirewallProfile.OPEN)
    linux.rproc.coredump.conf = DumpConf.DISABLED
    linux.report_crash()
    assert linux.rproc.coredump.take() is None
    linux.rproc.coredump.conf = DumpConf.ENABLED
    linux.report_crash()
    linux.soc.bus.write(Initiator.DEBUG, TABLE + 0x1000, b"later")
    linux.report_crash()
    dump = linux.rproc.coredump.take()
    assert dump is not None
    assert b"later" not in dump
    assert linux.rproc.coredump.take() is None


def test_a_trace_entry_that_claims_gigabytes_costs_no_memory() -> None:
    messages: list[str] = []
    dump = Coredump(lambda _level, _function, text: messages.append(text))
    dump.conf = DumpConf.ENABLED
    dump.add(0, 16)
    dump.add_trace(0, 0xFFFFFFFF)  # that one is there already
    dump.generate(0, lambda _da, size: bytes(size))
    assert dump.take() is not None
    dump.add_trace(0x20, MOST_DUMP)
    dump.generate(0, lambda _da, _size: pytest.fail("nothing is read"))
    assert dump.take() is None
    assert messages == [f"cannot allocate {52 + 16 + 32 + MOST_DUMP + 32} bytes"]


def test_what_the_kernel_cannot_reach_is_filled_with_ones() -> None:
    messages: list[str] = []
    dump = Coredump(lambda _level, _function, text: messages.append(text))
    dump.conf = DumpConf.ENABLED
    dump.add(0x20000000, 8)
    dump.generate(0x1234, lambda _da, _size: None)
    data = dump.take() or b""
    assert data.endswith(b"\xff" * 8)
    assert struct.unpack_from("<I", data, 24) == (0x1234,)
    assert "0x20000000" in messages[0]


# -- attach and detach -------------------------------------------------------------------------------------------------


def started_by_a_boot_loader(table: int = TABLE) -> Soc:
    """The echo server as U-Boot would leave it: loaded, started, and announced in the backup registers."""
    soc = Soc(SocConfig(firewall=FirewallProfile.OPEN))
    soc.bus.write(Initiator.A7_S, RCC_TZCR, bytes(4))
    image = read_elf(elf("rpmsg_echo"))
    for segment in image.loads:
        data = image.segment_bytes(segment)
        pa = segment.p_paddr if segment.p_paddr else 0x38000000
        soc.bus.write(Initiator.DEBUG, pa, data + bytes(segment.p_memsz - len(data)))
    soc.bus.write(Initiator.A7_S, BKP17R, table.to_bytes(4, "little"))
    soc.bus.write(Initiator.A7_S, BKP18R, M4_STATE_CRUN.to_bytes(4, "little"))
    soc.bus.write(Initiator.A7_NS, RCC_MP_GCR, b"\1\0\0\0")
    return soc


def test_a_kernel_attaches_to_a_running_processor_talks_to_it_and_leaves_it_as_it_found_it() -> None:
    soc = started_by_a_boot_loader()
    soc.run(lambda: False, MILLISECOND_PS)
    before, retired = soc.debug_read(TABLE, 140), soc.m4.retired
    assert retired > 0
    linux = LinuxHost(soc, b"", tee=False)
    assert linux.rproc.state is RprocState.DETACHED
    linux.boot()
    assert linux.rproc.state is RprocState.ATTACHED
    assert word(linux, RCC_MP_GCR) == 0  # it shall not start again by itself
    assert linux.run(lambda: len(linux.buses[0].channels) == 2, MILLISECOND_PS)
    channel = linux.buses[0].channels[0]
    linux.buses[0].send(channel.local, channel.remote, b"hello")
    assert linux.run(lambda: linux.buses[0].waiting(channel.local), MILLISECOND_PS)
    linux.detach()
    assert linux.rproc.state is RprocState.DETACHED
    assert soc.debug_read(TABLE, 140) == before
    assert soc.m4.state is CoreState.RUNNING
    assert word(linux, RCC_MP_GCR) == 1
    assert any("detach without ack" in m.text for m in soc.log.of(KernelMessage))  # this firmware does not know detach


@pytest.mark.parametrize(("table", "errno"), [(0, Errno.ENOENT), (0x20000000, Errno.EINVAL)])
def test_a_table_address_that_leads_nowhere_is_refused_and_the_processor_is_left_alone(
    table: int, errno: Errno
) -> None:
    soc = started_by_a_boot_loader(table)
    linux = LinuxHost(soc, b"", tee=False)
    with pytest.raises(KernelError) as caught:
        linux.boot()
    assert (caught.value.errno, caught.value.function) == (errno, "stm32_rproc_get_loaded_rsc_table")
    assert linux.rproc.state is RprocState.DETACHED
    assert soc.m4.state is CoreState.RUNNING


def test_a_watchdog_that_expired_is_a_crash() -> None:
    from cosim.events import WatchdogExpired  # noqa: PLC0415

    linux = LinuxHost(Soc(), signed("demo_m4"))
    linux.boot()
    linux.soc.log.emit(WatchdogExpired("iwdg1"))
    assert linux.crash_reason() is None
    linux.soc.log.emit(WatchdogExpired("wwdg1"))
    assert linux.crash_reason() == "wwdg1 expired"
    linux.report_crash()
    assert linux.crash_reason() is None


def test_with_bus_aborts_the_dump_of_isolated_memory_is_an_oops() -> None:
    linux = crashed(FirewallProfile.ISOLATED, deny=Deny.ABORT)
    with pytest.raises(KernelOopsError) as caught:
        linux.report_crash()
    assert caught.value.fields["function"] == "rproc_copy_segment"
