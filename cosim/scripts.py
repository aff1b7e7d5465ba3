"""Scripts for the normal-world client: the kernel's flow, and what an attacker in the normal world does with it.

Every script ends with SYSTEM_OFF. `address` and `size` are those of the signed image in normal-world memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cosim import client
from cosim.client import Command, Step

#: TAMP_BKP19R, where the firmware reports its state; 2 is "running" (STM32CubeMP1, CoproSync).
READY_ADDRESS, READY_STATE = 0x5C00A14C, 2
#: The client looks every 2,000 of its instructions, at most for 20 ms of virtual time.
READY_PAUSE, READY_READS = 1000, 6500
#: How long the firmware runs on after it reported: about 100,000 M4 instructions.
RUN_ON = 150_000
#: What the GIC does not have, so that only its timeout ends a wait for it.
NO_INTERRUPT = 1023
#: Sessions are numbered from 1, and a boot is alone on its SoC.
SESSION = 1
#: An instruction that no demo has: `udf #0` twice.
POISON = 0xDE00DE00

RCC_MP_GCR, RCC_MP_GRSTCSETR = 0x5000010C, 0x50000404
BOOT_MCU, MCURST = 1 << 0, 1 << 1
ETZPC_DECPROT5 = 0x5C007024
RETRAM, SRAM1 = 0x38000000, 0x10000000


@dataclass(frozen=True)
class Script:
    """Steps, and the index of the step at which the client goes on when an essential one fails."""

    steps: tuple[Step, ...]
    on_error: int


def loading(address: int, size: int) -> list[Step]:
    """Everything up to START: open, then LOAD and GET_RSC_TABLE twice, as the kernel calls them."""
    return [
        client.essential(client.open_session()),
        client.essential(client.load(SESSION, address, size)),
        client.essential(client.get_rsc_table(SESSION)),
        client.essential(client.load(SESSION, address, size)),
        client.essential(client.get_rsc_table(SESSION)),
    ]


def start() -> Step:
    """START_FW; a failure ends the flow."""
    return client.essential(client.command(SESSION, Command.START_FW))


def stop() -> Step:
    """STOP_FW; a failure ends the flow."""
    return client.essential(client.command(SESSION, Command.STOP_FW))


def until_ready() -> Step:
    """Wait for the firmware to report that it is running; firmware that never does is waited for in vain."""
    return client.wait32(READY_ADDRESS, 0xFFFFFFFF, READY_STATE, READY_READS, READY_PAUSE)


def closing() -> list[Step]:
    """RELEASE, close, power off: what follows success and failure alike."""
    return [client.command(SESSION, Command.RELEASE_FW), client.close_session(SESSION), client.power_off()]


def flow(*parts: Step | Sequence[Step]) -> Script:
    """The parts in order, then `closing`; essential failures go there."""
    steps: list[Step] = []
    for part in parts:
        steps.extend([part] if isinstance(part, Step) else part)
    return Script((*steps, *closing()), len(steps))


def kernel_flow(address: int, size: int, run_on: int = RUN_ON) -> Script:
    """The whole life of a firmware: load, start, ready, run on, stop, release."""
    return flow(loading(address, size), start(), until_ready(), client.spin(run_on), stop())


def timed_flow(milliseconds: int) -> Callable[[int, int], Script]:
    """The same life, whose firmware runs that long from START on, ready or not, while the normal world sleeps."""

    def script(address: int, size: int) -> Script:
        sleep = client.wait_interrupt(NO_INTERRUPT, 1000 * milliseconds)
        ready = client.wait32(READY_ADDRESS, 0xFFFFFFFF, READY_STATE, 1)
        return flow(loading(address, size), start(), sleep, ready, stop())

    return script


def restart(address: int, size: int) -> Script:
    """Stop a running firmware, load it again without RELEASE (crash recovery of the kernel), and start it again."""
    again = [client.write32(READY_ADDRESS, 0), client.essential(client.load(SESSION, address, size))]
    return flow(loading(address, size), start(), until_ready(), stop(), again, start(), until_ready(), stop())


def write_after_load(address: int, size: int, target: int, value: int = POISON) -> Script:
    """Change a word of the loaded image between authentication and START."""
    return flow(loading(address, size), client.write32(target, value), start(), until_ready(), stop())


def write_after_start(address: int, size: int, target: int, value: int = POISON) -> Script:
    """Change a word of the firmware while it runs."""
    return flow(
        loading(address, size), start(), until_ready(), client.write32(target, value), client.spin(RUN_ON), stop()
    )


def start_without_tee(address: int, size: int) -> Script:
    """Set BOOT_MCU from the normal world, once before LOAD and once after it, and never ask the TA to start."""
    poke = client.write32(RCC_MP_GCR, BOOT_MCU)
    return flow(poke, loading(address, size), poke, client.spin(RUN_ON))


def reset_while_running(address: int, size: int) -> Script:
    """Pulse the M4's reset from the normal world while the firmware runs."""
    pulse = client.write32(RCC_MP_GRSTCSETR, MCURST)
    return flow(loading(address, size), start(), until_ready(), pulse, client.spin(RUN_ON), stop())


def swap_between_loads(address: int, size: int, other: int, other_size: int) -> Script:
    """Put another image in place of the first between the two LOAD calls of the flow."""
    first, table = client.load(SESSION, address, size), client.get_rsc_table(SESSION)
    swapped = [client.copy(address, other, other_size), client.essential(client.load(SESSION, address, other_size))]
    return flow(
        client.essential(client.open_session()), client.essential(first), table, swapped, start(), until_ready(), stop()
    )


def open_the_firewall(address: int, size: int) -> Script:
    """Declare all MCU memories non-secure in ETZPC from the normal world, then write to the loaded image."""
    return flow(
        loading(address, size),
        client.write32(ETZPC_DECPROT5, 0xFFFFFFFF),
        client.write32(SRAM1, POISON),
        start(),
        until_ready(),
        stop(),
    )


def look_into_the_firmware(address: int, size: int) -> Script:
    """Read the isolated memories and branch into them while the firmware runs."""
    return flow(
        loading(address, size),
        start(),
        until_ready(),
        client.read32(SRAM1),
        client.read32(RETRAM),
        client.call(SRAM1),
        stop(),
    )
