"""Rings and RPMsg: an echo server in firmware, and a device side that breaks every rule."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from linux_bench import (
    BUFFERS,
    MILLISECOND_PS,
    NUM,
    USED,
    VRING0,
    VRING1,
    FirmwareSide,
    booted,
    signed,
    word,
)

from cosim.cli import run
from cosim.engine import CoreState
from cosim.events import ConsoleLine
from cosim.linux.errno import Errno, KernelError
from cosim.linux.events import ChannelAnnounced, KernelMessage
from cosim.linux.host import LinuxHost
from cosim.linux.rpmsg import MOST_CHANNELS, MOST_PAYLOAD, RpmsgChannel
from cosim.linux.vring import RingRule
from cosim.resources import firmware_file
from cosim.soc import Soc
from cosim.testing import flip

ECHO = firmware_file("rpmsg_echo.elf")


@pytest.fixture
def device() -> FirmwareSide:
    return FirmwareSide(booted())


def deliver(device: FirmwareSide) -> None:
    device.bus.poll()


# -- what the driver side lays out -------------------------------------------------------------------------------------


def test_the_receive_ring_starts_full_of_writable_buffers_of_512_bytes(device: FirmwareSide) -> None:
    assert [device.descriptor(n) for n in range(NUM)] == [(BUFFERS + 512 * n, 512, 2, 0) for n in range(NUM)]
    assert word(device.linux, VRING0 + 16 * NUM + 2, 2) == NUM


def test_the_send_ring_starts_empty_and_asks_for_no_interrupts(device: FirmwareSide) -> None:
    assert word(device.linux, VRING1 + 16 * NUM) == 1  # VRING_AVAIL_F_NO_INTERRUPT, index 0


def test_the_firmware_is_told_once_that_receive_buffers_are_there() -> None:
    linux = booted()
    if "ipcc" not in linux.soc.blocks:
        pytest.skip("this platform has no IPCC")
    assert word(linux, 0x4C00100C) == 1  # C1TOC2SR: channel vq0


def test_a_sent_message_lies_behind_its_header_in_a_buffer_of_its_own(device: FirmwareSide) -> None:
    device.bus.send(1024, 7, b"hello")
    address, size, flags, _ = struct.unpack("<QIHH", device.linux.soc.debug_read(VRING1, 16))
    assert (address, size, flags) == (BUFFERS + 512 * NUM, 21, 0)
    assert device.linux.soc.debug_read(address, 21) == struct.pack("<3I2H", 1024, 7, 0, 5, 0) + b"hello"
    assert word(device.linux, VRING1 + 16 * NUM + 2, 2) == 1


def test_announced_channels_appear_with_a_local_address_and_go_when_destroyed(device: FirmwareSide) -> None:
    device.announce(b"one", 0x400)
    device.announce(b"two", 0x401)
    deliver(device)
    assert device.bus.channels == (RpmsgChannel("one", 0x400, 1024), RpmsgChannel("two", 0x401, 1025))
    device.announce(b"one", 0x400, 1)
    deliver(device)
    assert [channel.name for channel in device.bus.channels] == ["two"]
    assert [e.created for e in device.linux.soc.log.of(ChannelAnnounced)] == [True, True, False]


def test_messages_arrive_in_order_at_their_address(device: FirmwareSide) -> None:
    device.announce(b"one", 0x400)
    deliver(device)
    for n in range(40):  # more than the ring has buffers
        device.message(0x400, 1024, bytes([n]))
        deliver(device)
    received = [device.bus.receive(1024) for _ in range(40)]
    assert [m.data[0] for m in received if m] == list(range(40))
    assert device.bus.receive() is None
    assert device.bus.findings == []


def test_a_message_for_nobody_is_dropped_with_a_warning(device: FirmwareSide) -> None:
    device.message(0x400, 99, b"x")
    deliver(device)
    assert device.bus.receive() is None
    assert any("no recipient" in m.text for m in device.linux.soc.log.of(KernelMessage))


# -- bounds of sending -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "destination", "size", "errno"),
    [
        (1024, 0xFFFFFFFF, 1, Errno.EINVAL),
        (0xFFFFFFFF, 1, 1, Errno.EINVAL),
        (1024, 1, MOST_PAYLOAD + 1, Errno.EMSGSIZE),
    ],
)
def test_a_message_that_cannot_be_sent_is_refused(
    device: FirmwareSide, source: int, destination: int, size: int, errno: Errno
) -> None:
    with pytest.raises(KernelError) as caught:
        device.bus.send(source, destination, bytes(size))
    assert caught.value.errno is errno
    assert word(device.linux, VRING1 + 16 * NUM + 2, 2) == 0


def test_a_firmware_that_gives_no_buffers_back_lets_the_send_time_out() -> None:
    linux = LinuxHost(Soc(), signed("demo_m4"), send_timeout_ps=MILLISECOND_PS)
    linux.boot()
    bus = linux.buses[0]
    for _ in range(NUM):
        bus.send(1024, 1, b"x")
    with pytest.raises(KernelError) as caught:
        bus.send(1024, 1, b"x")
    assert caught.value.errno is Errno.ERESTARTSYS
    assert linux.now_ps >= MILLISECOND_PS


def test_a_buffer_that_comes_back_is_used_again(device: FirmwareSide) -> None:
    for _ in range(NUM):
        device.bus.send(1024, 1, b"x")
    device.poke(VRING1 + USED + 4, struct.pack("<II", 3, 0))
    device.poke(VRING1 + USED + 2, b"\x01\0")
    device.bus.send(1024, 1, b"again")
    address = device.linux.soc.debug_read(VRING1 + 16 * 3, 8)
    assert device.linux.soc.debug_read(int.from_bytes(address, "little") + 16, 5) == b"again"


# -- a device that breaks the rules ------------------------------------------------------------------------------------


def bad_used_index(device: FirmwareSide) -> None:
    device.poke(VRING0 + USED + 2, struct.pack("<H", NUM + 1))


def bad_id(device: FirmwareSide) -> None:
    device.use(NUM, 16)


def huge_id(device: FirmwareSide) -> None:
    device.use(0xFFFFFFFF, 16)


def too_long(device: FirmwareSide) -> None:
    device.use(0, 513)


def loop(device: FirmwareSide) -> None:
    device.set_descriptor(0, BUFFERS, 512, 3, 1)
    device.set_descriptor(1, BUFFERS, 512, 3, 0)
    device.use(0, 16)


def loop_to_itself(device: FirmwareSide) -> None:
    device.set_descriptor(0, BUFFERS, 512, 3, 0)
    device.use(0, 16)


def chain_out_of_range(device: FirmwareSide) -> None:
    device.set_descriptor(0, BUFFERS, 512, 3, NUM)
    device.use(0, 16)


def moved_buffer(device: FirmwareSide) -> None:
    device.set_descriptor(0, 0xC0000000, 512, 2, 0)
    device.use(0, 16)


def grown_chain(device: FirmwareSide) -> None:
    device.set_descriptor(0, BUFFERS, 512, 3, 1)
    device.use(0, 16)


BREAKS_THE_QUEUE = [
    (bad_used_index, RingRule.USED_INDEX),
    (bad_id, RingRule.ID_RANGE),
    (huge_id, RingRule.ID_RANGE),
    (too_long, RingRule.USED_LENGTH),
    (loop, RingRule.CHAIN_LOOP),
    (loop_to_itself, RingRule.CHAIN_LOOP),
    (chain_out_of_range, RingRule.CHAIN_RANGE),
    (moved_buffer, RingRule.DESCRIPTOR_CHANGED),
    (grown_chain, RingRule.DESCRIPTOR_CHANGED),
]


@pytest.mark.parametrize(("act", "rule"), BREAKS_THE_QUEUE)
def test_a_broken_rule_is_a_finding_and_ends_the_queue(
    device: FirmwareSide, act: Callable[[FirmwareSide], None], rule: RingRule
) -> None:
    act(device)
    deliver(device)
    assert device.rules() == [rule]
    device.announce(b"late", 1)
    deliver(device)
    assert device.rules() == [rule]
    assert device.bus.channels == ()


def test_a_buffer_that_the_device_does_not_have_is_no_head(device: FirmwareSide) -> None:
    for _ in range(NUM):
        device.bus.send(1024, 1, b"x")
    device.poke(VRING1 + USED + 4, struct.pack("<4I", 3, 0, 3, 0))
    device.poke(VRING1 + USED + 2, b"\x02\0")
    device.bus.send(1024, 1, b"again")  # looks for buffers that came back
    assert device.rules() == [RingRule.NOT_A_HEAD]


@pytest.mark.parametrize("claimed", [10, 0xFFFF])
def test_a_message_longer_than_its_buffer_says_is_dropped_and_the_queue_goes_on(
    device: FirmwareSide, claimed: int
) -> None:
    device.message(0x400, 1024, b"short", claimed)
    device.announce(b"one", 0x400)
    deliver(device)
    assert device.rules() == [RingRule.MESSAGE_LENGTH]
    assert [channel.name for channel in device.bus.channels] == ["one"]


def test_a_used_length_below_the_header_is_dropped(device: FirmwareSide) -> None:
    device.use(device.next_head(), 15)
    deliver(device)
    assert device.rules() == [RingRule.MESSAGE_LENGTH]


def test_a_malformed_or_repeated_announcement_is_a_finding(device: FirmwareSide) -> None:
    device.message(1, 53, b"short")
    device.announce(b"one", 0x400)
    device.announce(b"one", 0x400)
    deliver(device)
    assert device.rules() == [RingRule.NAME_SERVICE] * 2
    assert len(device.bus.channels) == 1


def test_a_thousand_channels_are_kept_within_bounds(device: FirmwareSide) -> None:
    for n in range(1000):
        device.announce(b"flood", n)
        deliver(device)
    assert len(device.bus.channels) == MOST_CHANNELS
    assert set(device.rules()) == {RingRule.CHANNELS}


def test_a_name_without_end_and_with_strange_bytes_becomes_printable(device: FirmwareSide) -> None:
    device.announce(b"\xff" * 32, 1)
    deliver(device)
    assert device.bus.channels[0].name == "\\xff" * 31


# -- with firmware on the other side -----------------------------------------------------------------------------------


@pytest.fixture
def echo() -> LinuxHost:
    linux = LinuxHost(Soc(), signed("rpmsg_echo"))
    if "ipcc" not in linux.soc.blocks:
        pytest.skip("this platform has no IPCC")
    linux.boot()
    assert linux.run(lambda: len(linux.buses[0].channels) == 2, MILLISECOND_PS)
    return linux


def ask(linux: LinuxHost, channel: RpmsgChannel, data: bytes) -> bytes | None:
    bus = linux.buses[0]
    bus.send(channel.local, channel.remote, data)
    linux.run(lambda: bus.waiting(channel.local), MILLISECOND_PS)
    message = bus.receive(channel.local)
    return None if message is None else message.data


def test_the_echo_firmware_announces_its_channels_and_echoes_a_hundred_messages(echo: LinuxHost) -> None:
    first, second = echo.buses[0].channels
    assert (first.name, second.name) == ("rpmsg-client-sample", "rpmsg-tty")
    for n in range(100):
        data = bytes(range(n + 1))
        assert ask(echo, (first, second)[n % 2], data) == data
    assert echo.buses[0].findings == []


def test_a_message_of_full_size_and_an_empty_one_come_back(echo: LinuxHost) -> None:
    channel = echo.buses[0].channels[0]
    full = bytes(n & 0xFF for n in range(MOST_PAYLOAD))
    assert ask(echo, channel, full) == full
    assert ask(echo, channel, b"") == b""


def test_a_ring_full_of_messages_comes_back_in_order(echo: LinuxHost) -> None:
    bus, channel = echo.buses[0], echo.buses[0].channels[0]
    for n in range(3 * NUM):
        bus.send(channel.local, channel.remote, bytes([n]))
    received: list[int] = []

    def all_back() -> bool:
        while (message := bus.receive(channel.local)) is not None:
            received.append(message.data[0])
        return len(received) == 3 * NUM

    assert echo.run(all_back, 10 * MILLISECOND_PS)
    assert received == list(range(3 * NUM))


def test_the_firmware_acknowledges_the_shutdown_and_its_last_words_are_read(echo: LinuxHost) -> None:
    before = echo.now_ps
    echo.shutdown()
    assert echo.now_ps - before < MILLISECOND_PS
    assert "rpmsg: shutdown" in echo.traces[0].text
    assert not any("without ack" in m.text for m in echo.soc.log.of(KernelMessage))
    assert echo.buses[0].channels == ()


def test_a_firmware_that_ignores_the_shutdown_is_stopped_after_half_a_second() -> None:
    linux = booted()
    if "ipcc" not in linux.soc.blocks:
        pytest.skip("this platform has no IPCC")
    before = linux.now_ps
    linux.shutdown()
    assert 500 * MILLISECOND_PS <= linux.now_ps - before < 502 * MILLISECOND_PS
    assert any("without ack" in m.text for m in linux.soc.log.of(KernelMessage))
    assert linux.soc.m4.state is CoreState.HELD


def test_a_provoked_crash_is_seen_recovered_from_and_messages_flow_again(echo: LinuxHost) -> None:
    channel = echo.buses[0].channels[1]
    echo.buses[0].send(channel.local, channel.remote, b"!crash")
    assert echo.run(lambda: echo.crash_reason() is not None, MILLISECOND_PS)
    echo.report_crash()
    assert "rpmsg: crash asked for" in echo.traces[0].text
    assert echo.run(lambda: len(echo.buses[0].channels) == 2, MILLISECOND_PS)
    assert ask(echo, echo.buses[0].channels[1], b"back") == b"back"


def test_the_command_lists_channels_and_echoes(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["rpmsg", str(ECHO), "--echo", "10", "--send", "hi", "--channel", "rpmsg-tty", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [channel["name"] for channel in report["channels"]] == ["rpmsg-client-sample", "rpmsg-tty"]
    assert (report["used"], report["echo"]["echoed"], report["replies"]) == ("rpmsg-tty", 10, ["hi"])
    assert report["echo"]["instructions_per_message"] > 50
    assert report["findings"] == []


def test_the_command_prints_for_people_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["rpmsg", str(ECHO), "--echo", "3"]) == 0
    out, err = capsys.readouterr()
    assert "echo: 3 of 3 messages came back, 0 of them changed" in out
    assert "trace:m4_trace| rpmsg: channels announced" in err


def test_trace_lines_are_told_while_the_firmware_runs_and_not_only_when_a_wait_is_over() -> None:
    linux = LinuxHost(Soc(), signed("demo_m4"))
    linux.boot()
    linux.run(lambda: False, 2 * MILLISECOND_PS)
    lines = [r for r in linux.soc.log if isinstance(r.payload, ConsoleLine) and r.payload.source.startswith("trace:")]
    assert 0 < lines[0].stamp.time_ps < MILLISECOND_PS


def test_the_command_fails_without_channels_or_answer(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["rpmsg", str(ECHO), "--send", "!crash", "--wait", "1"]) == 1
    assert "no reply" in capsys.readouterr().out
    assert run(["rpmsg", str(firmware_file("demo_m4_notable.elf")), "--wait", "1"]) == 1
    assert "channels: none" in capsys.readouterr().out


def test_the_command_says_what_the_kernel_said_of_a_refused_image(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.sign"
    path.write_bytes(flip(signed("rpmsg_echo"), 0x60))
    assert run(["rpmsg", str(path)]) == 1
    assert "rproc_tee_load_fw: LOAD_FW failed with TEE_ERROR_SIGNATURE_INVALID" in capsys.readouterr().err


def test_the_command_reports_an_oops_of_the_kernel_as_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["rpmsg", str(firmware_file("demo_m4_retram.elf")), "--deny", "abort"]) == 1
    assert "rproc_tee_parse_fw: external abort" in capsys.readouterr().err
