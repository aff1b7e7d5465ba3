"""An M4 that locks up or resets itself stops alone: the A7 goes on, and STOP, RELEASE and the next boot work.

Lockup: a synchronous exception at the priority of HardFault or above (ARMv7-M manual, B1.5.15). SYSRESETREQ: the M4
starts again only while BOOT_MCU is set (RM0436, RCC_MP_GCR).
"""

from __future__ import annotations

import struct

import pytest
from m4_probes import boot_probe, symbols_of

from cosim import client
from cosim.access import Deny
from cosim.client import Command, StepStatus
from cosim.engine import CoreState
from cosim.engine.unicorn.native import library_path
from cosim.events import CoreHeld, CoreReleased, CoreStopped, ExceptionTaken, FirstInstruction
from cosim.resources import firmware_file
from cosim.scripts import RCC_MP_GCR, SESSION, loading, start, until_ready
from cosim.soc import Soc, SocConfig
from cosim.testing import Signer

FAULT_IN_HARDFAULT, SVC_IN_HARDFAULT, FAULT_UNDER_FAULTMASK, NO_VECTORS, NO_STACK, RESET_REQUEST = range(6)
LOCKUPS = {
    "fault-in-hardfault": (FAULT_IN_HARDFAULT, "lockup: BusFault at priority -1 or above", 1),
    "svc-in-hardfault": (SVC_IN_HARDFAULT, "lockup: SVCall at priority -1 or above", 1),
    "fault-under-faultmask": (FAULT_UNDER_FAULTMASK, "lockup: BusFault at priority -1 or above", 0),
    "no-vectors": (NO_VECTORS, "lockup: the vector table cannot be read", 1),
    "no-stack": (NO_STACK, "lockup: BusFault at priority -1 or above", 1),  # the handler's own first push
}
LOOPS = ["python", pytest.param("native", marks=pytest.mark.skipif(library_path() is None, reason="not built"))]


def boot_in_mode(mode: int, loop: str = "auto") -> Soc:
    """Boot probe_lockup.elf with its mode set, up to its ready word."""
    elf = bytearray(firmware_file("probe_lockup.elf").read_bytes())
    place = place_of(bytes(elf), symbols_of(bytes(elf))["probe_mode"])
    elf[place : place + 4] = struct.pack("<I", mode)
    return boot_probe(bytes(elf), SocConfig(deny=Deny.ABORT, loop=loop))


def place_of(elf: bytes, address: int) -> int:
    """The file offset of what is loaded for a run address."""
    start_of_headers, count = struct.unpack_from("<I", elf, 28)[0], struct.unpack_from("<H", elf, 44)[0]
    for header in range(start_of_headers, start_of_headers + 32 * count, 32):
        _, offset, vaddr, _, size = struct.unpack_from("<5I", elf, header)
        if vaddr <= address < vaddr + size:
            return offset + address - vaddr
    raise AssertionError(f"0x{address:08x} is not loaded")


def m4_events(soc: Soc, *kinds: type) -> list[object]:
    """The M4's events of the given kinds."""
    return [r.payload for r in soc.log if isinstance(r.payload, kinds) and getattr(r.payload, "core", "") == "m4"]


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize(("mode", "reason", "exceptions"), LOCKUPS.values(), ids=LOCKUPS)
def test_core_locks_up_and_the_rest_of_the_machine_goes_on(
    signer: Signer, mode: int, reason: str, exceptions: int, loop: str
) -> None:
    soc = boot_in_mode(mode, loop)
    assert soc.m4.state is CoreState.RUNNING
    [spun] = soc.run_script([client.spin(100_000)])

    assert spun.status is StepStatus.DONE
    assert soc.m4.state is CoreState.LOCKED_UP
    assert m4_events(soc, CoreStopped) == [CoreStopped("m4", reason)]
    assert len(m4_events(soc, ExceptionTaken)) == exceptions
    locked = soc.m4.retired

    stop, release = (client.command(SESSION, c) for c in (Command.STOP_FW, Command.RELEASE_FW))
    assert all(step.ok for step in soc.run_script([client.spin(1000), stop, release]))
    assert (soc.m4.state, soc.m4.retired) == (CoreState.HELD, locked)

    image = signer.sign(firmware_file("demo_m4.elf"))
    again = [client.write32(0x5C00A14C, 0), *loading(soc.stage(image), len(image))[1:], start(), until_ready()]
    assert all(step.ok for step in soc.run_script(again))
    assert soc.m4.state is CoreState.RUNNING


@pytest.mark.parametrize("loop", LOOPS)
def test_reset_request_holds_the_core_while_boot_mcu_is_clear(loop: str) -> None:
    soc = boot_in_mode(RESET_REQUEST, loop)
    soc.run_script([client.spin(100_000)])

    assert soc.m4.state is CoreState.HELD
    assert m4_events(soc, CoreHeld, CoreStopped, ExceptionTaken) == [CoreHeld("m4", soc.m4.retired)]


@pytest.mark.parametrize("loop", LOOPS)
def test_reset_request_restarts_the_core_while_boot_mcu_is_set(loop: str) -> None:
    soc = boot_in_mode(RESET_REQUEST, loop)
    soc.bus.secure_view().write(RCC_MP_GCR, struct.pack("<I", 1))
    before = soc.m4.retired
    soc.run(lambda: len(m4_events(soc, FirstInstruction)) == 3, 10**9)

    assert soc.m4.state is CoreState.RUNNING
    started = m4_events(soc, CoreReleased, FirstInstruction)[:6]
    assert started == [CoreReleased("m4", 0x10040000, 0x10000001), FirstInstruction("m4", 0x10000000)] * 3
    assert m4_events(soc, CoreStopped, ExceptionTaken) == []
    stamps = [r.stamp.instructions for r in soc.log if isinstance(r.payload, FirstInstruction)]
    assert stamps[2] - stamps[1] == stamps[1] - stamps[0]  # each life of the firmware takes as many instructions
    assert stamps[1] > before
