"""A SoC whose cores and memories are in another process: the real shim with a machine double plays Renode."""

from __future__ import annotations

from typing import TypeVar

import pytest
from doubles import A7, HOST, M4, MachineDouble, Renode, Server, served

from cosim.errors import RunTimeout
from cosim.events import (
    AccessDenied,
    ConsoleLine,
    CoreHeld,
    CoreReleased,
    CoreStopped,
    FirstInstruction,
    MachineEvent,
    WatchdogExpired,
)
from cosim.resources import firmware_file
from cosim.serve.protocol import ProtocolError
from cosim.verdict import Outcome

RCC_TZCR, RCC_MP_GCR, RCC_MP_GRSTCSETR = 0x50000000, 0x5000010C, 0x50000404
ETZPC_DECPROT5 = 0x5C007024
#: WDGA with one step left.
WWDG1_CR, ONE_STEP = 0x4000A000, 0xC0
SRAM1_S_RW, SRAM1_MCU_ISOLATION, ALL_OPEN = 0xFFFFFFFC, 0xFFFFFFFE, 0xFFFFFFFF
SRAM1_ADDRESSES = {0x10000000, 0x30000000}
E_ = TypeVar("E_", bound=MachineEvent)


def events(server: Server, kind: type[E_]) -> list[E_]:
    return [record.payload for record in server.records if isinstance(record.payload, kind)]


def poke(renode: Renode, core: int, address: int, value: int) -> None:
    renode.machine.core = core
    renode.shim.access(address, 4, value)


def peek(renode: Renode, core: int, address: int) -> int:
    renode.machine.core = core
    return int(renode.shim.access(address, 4, None))


def test_image_and_normal_world_are_in_the_clients_memory_before_its_a7_is_started() -> None:
    with served(image=b"what the file system delivered") as (_, renode):
        ddr = renode.machine.banks["ddr"]
        assert ddr.read(0x2000000, 30) == b"what the file system delivered"
        assert ddr.read(0x100000, 4) == b"STEP"
        assert renode.machine.started == [("a7", 0xC0000000)]
        program = firmware_file("a7_client.elf").read_bytes()
        assert ddr.read(0, 64) in program


def test_the_m4_is_neither_released_nor_anything_locked_before_a_core_has_run() -> None:
    with served() as (_, renode):
        assert renode.machine.released == []
        assert {core for core, address in renode.machine.locked if address in SRAM1_ADDRESSES} == set()


def test_a_core_reads_the_registers_of_the_models() -> None:
    with served() as (_, renode):
        assert peek(renode, A7, RCC_TZCR) == 3


def test_the_normal_world_cannot_release_the_m4() -> None:
    with served() as (server, renode):
        poke(renode, A7, RCC_MP_GCR, 1)
        assert renode.machine.released == []
        renode.switch_off()
        assert all(monitor.held is not False for monitor in server.report().verdict.monitors)


def test_a_watchdog_expires_with_the_first_request_behind_its_time() -> None:
    with served() as (server, renode):
        poke(renode, A7, WWDG1_CR, ONE_STEP)
        renode.machine.nanoseconds = 10_000
        peek(renode, A7, RCC_TZCR)
        assert events(server, WatchdogExpired) == []
        renode.machine.nanoseconds = 50_000  # one step of its counter is 39.2 us
        peek(renode, A7, RCC_TZCR)
        assert events(server, WatchdogExpired) == [WatchdogExpired("wwdg1")]


def test_an_access_carries_its_core() -> None:
    with served() as (server, renode):
        renode.machine.instructions, renode.machine.pc, renode.machine.nanoseconds = 1234, 0x10000040, 5
        poke(renode, M4, ETZPC_DECPROT5, 0)
        denied = [record for record in server.records if isinstance(record.payload, AccessDenied)]
        assert [(r.payload.initiator, r.payload.target) for r in denied] == [("m4", "etzpc")]
        stamp = denied[0].stamp
        assert (stamp.core, stamp.instructions, stamp.pc, stamp.time_ps) == ("m4", 1234, 0x10000040, 5000)


def test_an_access_of_the_debugger_passes_the_firewall_and_one_to_nothing_reads_zero() -> None:
    with served() as (server, renode):
        poke(renode, HOST, ETZPC_DECPROT5, ALL_OPEN)
        assert peek(renode, HOST, ETZPC_DECPROT5) == ALL_OPEN
        assert peek(renode, HOST, 0x70000000) == 0
        assert renode.machine.errors == []
        assert events(server, AccessDenied) == []


def test_a_bank_that_a_core_loses_is_locked_for_that_core_at_all_its_addresses() -> None:
    with served() as (_, renode):
        poke(renode, HOST, ETZPC_DECPROT5, SRAM1_MCU_ISOLATION)
        assert renode.machine.locked >= {("a7", address) for address in SRAM1_ADDRESSES}
        assert not renode.machine.locked & {("m4", address) for address in SRAM1_ADDRESSES}
        poke(renode, HOST, ETZPC_DECPROT5, SRAM1_S_RW)
        assert renode.machine.locked >= {(core, address) for core in ("a7", "m4") for address in SRAM1_ADDRESSES}
        poke(renode, HOST, ETZPC_DECPROT5, ALL_OPEN)
        assert not {address for _, address in renode.machine.locked} & SRAM1_ADDRESSES


def test_a_client_is_told_to_lock_and_unlock_only_what_changes() -> None:
    with served() as (_, renode):
        calls = renode.machine.lock_calls
        assert all(locked for _, _, locked in calls)
        assert len(calls) == len(set(calls))
        calls.clear()
        for _ in range(2):
            poke(renode, HOST, ETZPC_DECPROT5, SRAM1_MCU_ISOLATION)
        poke(renode, HOST, ETZPC_DECPROT5, ALL_OPEN)
        expected = [("a7", address, locked) for locked in (True, False) for address in sorted(SRAM1_ADDRESSES)]
        assert calls == expected


def test_memory_that_is_closed_only_in_part_stays_open() -> None:
    with served() as (_, renode):
        assert not {address for _, address in renode.machine.locked} & {0xC0000000}


def test_a_released_m4_takes_the_vectors_that_lie_in_the_clients_memory() -> None:
    with served() as (server, renode):
        renode.machine.banks["retram"].write(0, bytes.fromhex("00000410 01000010"))
        poke(renode, HOST, RCC_MP_GCR, 1)
        assert renode.machine.released == [("m4", 0x10000001)]
        renode.machine.core, renode.machine.pc = M4, 0x10000000
        renode.shim.first_instruction(0x10000000)
        assert events(server, CoreReleased) == [CoreReleased("m4", 0x10040000, 0x10000001)]
        assert events(server, FirstInstruction) == [FirstInstruction("m4", 0x10000000)]


def test_an_m4_that_is_reset_tells_how_many_instructions_it_has_retired() -> None:
    with served() as (server, renode):
        poke(renode, HOST, RCC_MP_GCR, 1)
        poke(renode, HOST, RCC_MP_GCR, 0)
        poke(renode, HOST, RCC_MP_GRSTCSETR, 2)
        assert renode.machine.held == ["m4"]
        assert events(server, CoreHeld) == [CoreHeld("m4", 77)]


def test_running_an_m4_that_nobody_authenticated_is_a_crash_and_breaks_a_monitor() -> None:
    with served() as (server, renode):
        poke(renode, HOST, RCC_MP_GCR, 1)
        renode.machine.core = M4
        renode.shim.first_instruction(0x10000000)
        renode.switch_off()
        verdict = server.report().verdict
        assert verdict.outcome is Outcome.CRASHED
        broken = {monitor.name for monitor in verdict.monitors if monitor.held is False}
        assert "no-run-before-authentication" in broken


def test_an_m4_that_renode_halts_by_itself_has_locked_up() -> None:
    with served() as (server, renode):
        poke(renode, HOST, RCC_MP_GCR, 1)
        renode.machine.halted = True
        renode.shim.tick()
        renode.shim.tick()
        assert events(server, CoreStopped) == [CoreStopped("m4", "lockup")]


def test_console_lines_are_in_the_log() -> None:
    with served() as (server, renode):
        renode.shim.console("usart3", "m4: ready")
        assert events(server, ConsoleLine) == [ConsoleLine("usart3", "m4: ready")]


def test_system_off_ends_the_boot_and_the_client_hears_the_verdict() -> None:
    with served() as (server, renode):
        renode.switch_off()
        report = server.report()
        assert report.verdict.outcome is Outcome.NOT_STARTED
        assert renode.machine.farewell is not None
        code, text = renode.machine.farewell
        assert code == report.verdict.exit_code == 1
        assert text.splitlines()[0] == f"verdict: {report.verdict.summary()}"
        assert renode.shim.ended
        assert renode.machine.errors == []


def test_a_client_that_is_gone_when_the_verdict_is_reached_does_not_change_it() -> None:
    class Leaver(MachineDouble):
        def end(self, exit_code: int, text: str) -> None:  # noqa: ARG002
            raise SystemExit

    with served() as (server, renode):
        renode.machine.__class__ = Leaver
        renode.switch_off()
        assert server.report().verdict.outcome is Outcome.NOT_STARTED


def test_a_boot_that_uses_up_its_virtual_time_ends_with_a_timeout() -> None:
    with served(budget_ps=10**9) as (server, renode):
        renode.machine.nanoseconds = 999_999
        renode.shim.tick()
        assert not renode.shim.ended
        renode.machine.nanoseconds = 1_000_000
        renode.shim.tick()
        assert isinstance(server.outcome(), RunTimeout)
        assert any("did not finish" in error for error in renode.machine.errors)


def test_a_client_that_dies_ends_the_boot_with_an_error_that_names_it() -> None:
    with served() as (server, renode):
        renode.hang_up()
        error = server.outcome()
        assert isinstance(error, ProtocolError)
        assert "a double" in error.message


def test_a_client_that_cannot_do_what_it_is_asked_ends_the_boot_with_its_reason() -> None:
    with served() as (server, renode):
        del renode.machine.banks["retram"]
        poke(renode, HOST, RCC_MP_GCR, 1)
        error = server.outcome()
        assert isinstance(error, ProtocolError)
        assert "could not READ_MEM" in error.message
        assert "retram" in error.message


def test_a_client_that_answers_with_too_few_bytes_ends_the_boot() -> None:
    with served() as (server, renode):
        renode.machine.read_mem = lambda _name, _offset, _size: bytearray(3)  # type: ignore[method-assign]
        poke(renode, HOST, RCC_MP_GCR, 1)
        error = server.outcome()
        assert isinstance(error, ProtocolError)
        assert "3 bytes of retram where 8 were asked for" in error.message


def test_a_client_that_does_not_count_instructions_ends_the_boot() -> None:
    with served() as (server, renode):
        renode.shim._actions[renode.module.HOLD] = lambda _payload: bytearray(3)
        poke(renode, HOST, RCC_MP_GCR, 1)
        poke(renode, HOST, RCC_MP_GRSTCSETR, 2)
        error = server.outcome()
        assert isinstance(error, ProtocolError)
        assert "instruction count" in error.message


def test_a_client_whose_time_runs_backwards_ends_the_boot() -> None:
    with served() as (server, renode):
        for renode.machine.nanoseconds in (100, 99):
            peek(renode, A7, RCC_TZCR)
        error = server.outcome()
        assert isinstance(error, ProtocolError)
        assert "time lies before" in error.message


def test_a_server_that_dies_leaves_a_client_that_reads_zero_and_says_so_once() -> None:
    with served() as (server, renode):
        del renode.machine.banks["retram"]
        poke(renode, HOST, RCC_MP_GCR, 1)
        server.outcome()
        assert [peek(renode, A7, RCC_TZCR) for _ in range(3)] == [0, 0, 0]
        assert tuple(renode.shim.smc([0] * 8)) == (0xFFFFFFFF, 0, 0, 0)
        assert renode.shim.ended
        (error,) = renode.machine.errors
        assert "blocks read as zero from now on" in error


@pytest.mark.parametrize(("kind", "body", "why"), [
    (0x82, "0000005003", "READ of 3 bytes"),
    (0x82, "000000", "READ ends"),
    (0x87, "0000", "1 bytes too many"),
    (0x85, "09616263", "CONSOLE ends inside a name"),
    (0x88, "", "RESULT where a request"),
    (0x81, "", "HELLO where a request"),
])  # fmt: skip
def test_a_malformed_request_ends_the_boot_and_the_client_is_told(kind: int, body: str, why: str) -> None:
    with served() as (server, renode):
        renode.stream.send(kind, bytearray(21) + bytearray.fromhex(body))
        with pytest.raises(renode.module.ShimError, match=why):
            renode.stream.receive()
        error = server.outcome()
        assert isinstance(error, ProtocolError)
        assert why in error.message
