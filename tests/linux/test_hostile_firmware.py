"""Real M4 firmware that breaks the rules of rings, messages and mailbox: named, bounded, and never a hang."""

from __future__ import annotations

import io
import struct
from functools import cache
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from linux_bench import MILLISECOND_PS

from cosim.cli import run
from cosim.linux.rpmsg import MOST_CHANNELS, MOST_FINDINGS
from cosim.linux.session import RpmsgSession
from cosim.linux.vring import RingRule
from cosim.resources import firmware_file
from cosim.soc import Soc
from cosim.testing import default_signer

(
    USED_INDEX, ID_RANGE, NOT_A_HEAD, USED_LENGTH, CHAIN_LOOP, CHAIN_RANGE, DESCRIPTOR, MESSAGE_LENGTH,
    SHORT_ANNOUNCE, MANY_CHANNELS, MAILBOX_FLOOD, MESSAGE_FLOOD, INDEX_RUNAWAY, RINGS_WIPED,
) = range(14)  # fmt: skip
MOST_LOG = 40_000


@cache
def mode_offset() -> int:
    """Where `hostile_mode` lies in the file."""
    elf = ELFFile(io.BytesIO(firmware_file("rpmsg_hostile.elf").read_bytes()))
    address = elf.get_section_by_name(".symtab").get_symbol_by_name("hostile_mode")[0]["st_value"]
    (segment,) = [s for s in elf.iter_segments() if s["p_vaddr"] <= address < s["p_vaddr"] + s["p_filesz"]]
    return int(segment["p_offset"] + address - segment["p_vaddr"])


def hostile_elf(mode: int) -> bytes:
    data = bytearray(firmware_file("rpmsg_hostile.elf").read_bytes())
    struct.pack_into("<I", data, mode_offset(), mode)
    return bytes(data)


def session(mode: int, wait_ps: int = MILLISECOND_PS) -> RpmsgSession:
    talk = RpmsgSession(Soc(), default_signer().sign(hostile_elf(mode)), wait_ps=wait_ps)
    talk.boot()
    return talk


def rules(talk: RpmsgSession) -> list[RingRule]:
    return [RingRule[finding.rule] for finding in talk.findings]


@pytest.mark.parametrize(
    ("mode", "rule"),
    [
        (USED_INDEX, RingRule.USED_INDEX),
        (ID_RANGE, RingRule.ID_RANGE),
        (USED_LENGTH, RingRule.USED_LENGTH),
        (CHAIN_LOOP, RingRule.CHAIN_LOOP),
        (CHAIN_RANGE, RingRule.CHAIN_RANGE),
        (DESCRIPTOR, RingRule.DESCRIPTOR_CHANGED),
        (MESSAGE_LENGTH, RingRule.MESSAGE_LENGTH),
        (SHORT_ANNOUNCE, RingRule.NAME_SERVICE),
        (RINGS_WIPED, RingRule.USED_INDEX),
    ],
)
def test_each_broken_rule_is_found_once_and_by_its_name(mode: int, rule: RingRule) -> None:
    talk = session(mode)
    assert [channel.name for channel in talk.channels] == ["hostile"]
    assert rules(talk) == [rule]
    talk.host.close()


def test_a_buffer_that_comes_back_twice_is_found_when_the_host_looks_for_free_ones() -> None:
    talk = session(NOT_A_HEAD)
    for number in range(16):
        talk.send(bytes([number]))
        talk.host.run(lambda: False, MILLISECOND_PS // 100)
    assert rules(talk) == []
    talk.send(b"one more")
    assert rules(talk) == [RingRule.NOT_A_HEAD]


def test_of_a_thousand_channels_256_are_kept_and_the_others_are_named() -> None:
    talk = session(MANY_CHANNELS)
    talk.host.run(lambda: len(talk.findings) >= 100, 20 * MILLISECOND_PS)
    assert len(talk.channels) == MOST_CHANNELS
    assert set(rules(talk)) == {RingRule.CHANNELS}


def test_a_flood_of_doorbells_is_found_and_no_wait_goes_on_for_it() -> None:
    talk = session(MAILBOX_FLOOD)
    assert talk.receive(wait_ps=50 * MILLISECOND_PS) is None
    assert rules(talk) == [RingRule.DOORBELLS]
    before = talk.host.now_ps
    talk.host.close()
    assert talk.host.now_ps - before < MILLISECOND_PS
    assert len(talk.soc.log) < MOST_LOG


def test_a_flood_of_messages_is_received_in_order_and_bounded() -> None:
    talk = session(MESSAGE_FLOOD)
    assert [talk.receive() for _ in range(3)] == [b"flood"] * 3
    assert len(talk.soc.log) < MOST_LOG
    talk.host.close()


def test_an_index_that_never_stops_ends_in_as_many_findings_as_are_kept() -> None:
    talk = session(INDEX_RUNAWAY)
    talk.host.run(lambda: False, 20 * MILLISECOND_PS)
    assert len(talk.findings) == MOST_FINDINGS
    before = talk.host.now_ps
    talk.host.close()
    assert talk.host.now_ps - before < MILLISECOND_PS


def test_the_command_names_the_rule_and_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "loop.elf"
    path.write_bytes(hostile_elf(CHAIN_LOOP))
    assert run(["rpmsg", str(path), "--wait", "1"]) == 1
    out = capsys.readouterr().out
    assert "finding: vq0 CHAIN_LOOP: descriptor" in out


def test_the_same_hostile_firmware_gives_the_same_log() -> None:
    logs = []
    for _ in range(2):
        talk = session(MANY_CHANNELS)
        logs.append([record.as_json() for record in talk.soc.log])
    assert logs[0] == logs[1]
