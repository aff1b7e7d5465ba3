"""The timeline has one safe, readable line for every event there is."""

from __future__ import annotations

import dataclasses
import typing

import pytest

from cosim import events as machine
from cosim.events import MachineEvent, Payload, Record, Stamp
from cosim.timeline import Line, Style, describe, printable
from ta import events as secure
from ta.events import TaEvent

VALUES: dict[object, object] = {
    int: 0x1234, int | None: 0x5678, str: "word", bool: True, tuple[int, ...]: (1, 2), tuple[str, ...]: ("one", "two"),
}  # fmt: skip
SHM_COMMANDS = (("REGISTER", 64), ("UNREGISTER", 0))
KINDS = [*MachineEvent.__subclasses__(), *TaEvent.__subclasses__()]


def line(payload: Payload) -> Line:
    return describe(Record(7, Stamp(1_234_567_890, "a7", 42, 0xC0000000), payload))


def example(kind: type[Payload]) -> Payload:
    types = typing.get_type_hints(kind)
    return kind(**{field.name: VALUES[types[field.name]] for field in dataclasses.fields(kind)})


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_event_has_a_line_of_its_own(kind: type[Payload]) -> None:
    assert kind is machine.UnmodelledRegister or not line(example(kind)).text.startswith(kind.__name__)


def test_a_line_carries_time_core_and_instruction_count_in_columns() -> None:
    text = str(line(secure.SmcEntered(0x32000004, "CALL_WITH_ARG", (0,) * 7)))
    assert text == "      1234.567 us    a7         42  smc #0 CALL_WITH_ARG (0x32000004)"


def test_what_happens_inside_an_smc_is_indented() -> None:
    step = line(secure.AuthenticationStep("signature", True, "RSA-4096"))
    assert step.indent == 2
    assert step.text == "check signature: ok, RSA-4096"


def test_a_refused_command_shows_result_name_value_and_reason() -> None:
    refused = line(secure.CommandReturned(1, 1, "LOAD_FW", 0xFFFF000F, "TEE_ERROR_SECURITY", 4, "hash", "OFF"))
    assert refused.style is Style.BAD
    assert refused.text == "LOAD_FW: TEE_ERROR_SECURITY (0xffff000f), state OFF: hash"


def test_shared_memory_shows_place_pages_and_cookie_and_what_was_refused() -> None:
    taken = line(secure.SharedMemoryRegistration("REGISTER_SHM", 0xC0002000, 0xC2000000, 5916, 2, 0, "TEE_SUCCESS", ""))
    assert taken.text == "REGISTER_SHM 5916 bytes at 0xc2000000 in 2 page(s), cookie 0xc0002000"
    refusal = (0xFFFF0006, "TEE_ERROR_BAD_PARAMETERS", "no such page")
    refused = [secure.SharedMemoryRegistration(f"{name}_SHM", 7, 0, size, 0, *refusal) for name, size in SHM_COMMANDS]
    assert [line(event).text for event in refused] == [
        "REGISTER_SHM 64 bytes as cookie 0x7: TEE_ERROR_BAD_PARAMETERS (0xffff0006): no such page",
        "UNREGISTER_SHM cookie 0x7: TEE_ERROR_BAD_PARAMETERS (0xffff0006): no such page",
    ]
    assert {line(event).style for event in refused} == {Style.BAD}


def test_a_segment_shows_both_addresses_its_sizes_and_its_hash() -> None:
    loaded = line(secure.SegmentLoaded(0, 1, 0, 0x38000000, 16, 24, "0123456789abcdef" * 4))
    assert loaded.text == (
        "segment 1 at 0x00000000 (A7 0x38000000), 16 bytes + 8 zeroed, sha256 0123456789abcdef... ok"
    )


def test_register_writes_are_detail_unless_they_start_or_stop_the_core() -> None:
    assert line(machine.RegisterWritten("rcc", "MP_GCR", "a7-s", 1, 0, 1)).style is Style.PLAIN
    assert line(machine.RegisterWritten("tzc", "MP_GCR", "a7-s", 1, 0, 1)).style is Style.DETAIL


def test_a_console_cannot_drive_the_terminal() -> None:
    shown = line(machine.ConsoleLine("usart3", "a\x1b[2Jb\u202ec")).text
    assert shown == "usart3| a\\x1b[2Jb\\u202ec"
    assert printable("plain text ~") == "plain text ~"


def test_an_event_with_a_list_goes_on_below_its_first_line() -> None:
    table = line(machine.ResourceTableRead(0x10048000, 140, ("VDEV id 7", "TRACE 'a\nb'")))
    first, second, third = str(table).split("\n")
    assert first.endswith("resource table in memory at A7 0x10048000, 140 bytes:")
    assert second == " " * len("      1234.567 us    a7         42  ") + "      VDEV id 7"
    assert third.endswith("TRACE 'a\\nb'")


def test_an_smc_result_has_its_name() -> None:
    assert line(secure.SmcReturned(0x32000004, "CALL_WITH_ARG", (0, 1, 2, 3))).text == (
        "smc #0 CALL_WITH_ARG returned OK: 0x00000000 0x00000001 0x00000002 0x00000003"
    )
    assert "returned values: 0x384fb3e0" in line(secure.SmcReturned(0xBF00FF01, "CALLS_UID", (0x384FB3E0,))).text


def test_the_rights_of_peripherals_are_detail_and_long_ones_are_cut() -> None:
    assert line(machine.FirewallChanged("usart1", "S_RW", "NS_RW")).style is Style.DETAIL
    ddr = line(machine.FirewallChanged("ddr", "CLOSED", "x" * 400))
    assert ddr.style is Style.FIREWALL
    assert ddr.text == f"firewall: ddr CLOSED -> {'x' * 40}..."


def test_a_failed_check_and_a_denied_access_stand_out() -> None:
    assert line(secure.AuthenticationStep("signature", False, "")).style is Style.BAD
    denied = line(machine.AccessDenied("a7-ns", "write", 0x10000000, 4, 0xEE, "sram1", "DECPROT5", "razwi"))
    assert denied.text == "DENIED a7-ns write of 0xee at 0x10000000 (4 bytes, sram1) by DECPROT5: razwi"
    assert denied.style is Style.BAD
