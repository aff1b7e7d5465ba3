"""The scenarios that every engine must play alike, each written once.

A scenario is an image, what is done to it, the normal world's script, the SoC's settings, and what must come of it.
Whoever adds one here adds it to the runs on every engine and to the comparison between them (test_scenarios.py); what
may differ then is in differences.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from m4_probes import symbols_of

from cosim import client, scripts
from cosim.access import Deny
from cosim.boot import BootReport, boot
from cosim.client import Command
from cosim.resources import firmware_file
from cosim.scripts import Script, kernel_flow
from cosim.soc import SocConfig
from cosim.testing import Signer, default_signer, flip
from cosim.verdict import Outcome
from ta.image import parse_image
from ta.image_elf import read_elf
from ta.keys import load_private_key
from ta.profile import FirewallProfile, Profile

VECTOR_KEYS = Path(__file__).parent.parent / "vectors" / "keys"

BAD_FORMAT, BAD_PARAMETERS = 0xFFFF0005, 0xFFFF0006
BAD_STATE, SECURITY, SIGNATURE_INVALID = 0xFFFF0007, 0xFFFF000F, 0xFFFF3072

OPEN, ISOLATED = FirewallProfile.OPEN, FirewallProfile.ISOLATED
UPSTREAM, HARDENED = Profile.UPSTREAM, Profile.HARDENED


@dataclass(frozen=True)
class Scenario:
    """One boot and what must come of it.

    `refusal` is the TEE result that ends it (None: nothing is refused), `broken` names the monitors that must break,
    `denied` the firewall rules that must have denied something, `exceptions` what the cores must have taken, `console`
    texts that the M4 must have printed.
    """

    name: str
    firmware: str = "demo_m4.elf"
    make: Callable[[bytes], bytes] = lambda elf: default_signer().sign(elf)
    script: Callable[..., Script] = kernel_flow
    others: Sequence[str] = ()
    profile: Profile = HARDENED
    firewall: FirewallProfile = ISOLATED
    deny: Deny = Deny.RAZWI
    outcome: Outcome = Outcome.BOOTED
    refusal: int | None = None
    broken: frozenset[str] = frozenset()
    denied: frozenset[str] = frozenset()
    exceptions: tuple[tuple[str, str], ...] = ()
    console: tuple[str, ...] = field(default=())

    def image(self) -> bytes:
        """The image that the normal world hands to the TA."""
        return self.make(firmware_file(self.firmware).read_bytes())

    def other_images(self) -> list[bytes]:
        """Correctly signed images that lie beside the first."""
        return [default_signer().sign(firmware_file(name).read_bytes()) for name in self.others]

    def config(self, engine: str, loop: str = "auto") -> SocConfig:
        """The SoC to run it on."""
        return SocConfig(engine=engine, profile=self.profile, firewall=self.firewall, deny=self.deny, loop=loop)

    def play(self, engine: str, loop: str = "auto") -> BootReport:
        """The scenario from image to verdict on one engine."""
        return boot(self.image(), self.config(engine, loop), script=self.script, others=self.other_images())


def signed(elf: bytes) -> bytes:
    """The ELF signed with the key that the secure world trusts."""
    return default_signer().sign(elf)


def with_other_key(elf: bytes) -> bytes:
    """The ELF signed with a key of the right kind that the secure world does not trust."""
    return Signer(load_private_key(VECTOR_KEYS / "other4096.pem")).sign(elf)


def part_offset(image: bytes, part: str) -> int:
    """An offset inside the named part of a signed image with one ELF file."""
    parsed = parse_image(image)
    tlv_start = 20
    signature = tlv_start + (parsed.header.tlv_len + 7) // 8 * 8
    elf = parsed.images[0].offset
    segments = {
        "vectors": elf + _segment_offset(image, elf, 0x00000000),
        "text": elf + _segment_offset(image, elf, 0x10000000) + 64,
        "resource table": elf + _segment_offset(image, elf, 0x10048000),
    }
    return {
        "magic": 0,
        "version": 4,
        "tlv": tlv_start + 8,
        "hash table": signature - 16,
        "signature": signature + 100,
        "elf header": elf + 4,
        "program header": elf + int.from_bytes(image[elf + 28 : elf + 32], "little") + 16,
        **segments,
    }[part]


def _segment_offset(image: bytes, elf: int, address: int) -> int:
    """The file offset of the PT_LOAD that is loaded at `address`."""
    phoff = elf + int.from_bytes(image[elf + 28 : elf + 32], "little")
    count = int.from_bytes(image[elf + 44 : elf + 46], "little")
    for header in range(phoff, phoff + 32 * count, 32):
        words = [int.from_bytes(image[header + 4 * n : header + 4 * n + 4], "little") for n in range(8)]
        if words[0] == 1 and words[3] == address:
            return words[1]
    raise AssertionError(f"no PT_LOAD at 0x{address:08x}")


def flipped(part: str) -> Callable[[bytes], bytes]:
    """Sign, then change one bit in the named part."""

    def make(elf: bytes) -> bytes:
        image = signed(elf)
        return flip(image, part_offset(image, part))

    return make


def with_word(symbol: str, value: int) -> Callable[[bytes], bytes]:
    """Set a word of the program before it is signed."""

    def make(elf: bytes) -> bytes:
        address = symbols_of(elf)[symbol]
        loads = [s for s in read_elf(elf).loads if s.p_vaddr <= address < s.p_vaddr + s.p_filesz]
        at = loads[0].p_offset + address - loads[0].p_vaddr
        return signed(elf[:at] + value.to_bytes(4, "little") + elf[at + 4 :])

    return make


def truncated(keep: float) -> Callable[[bytes], bytes]:
    """Sign, then keep only the first part."""
    return lambda elf: signed(elf)[: int(len(signed(elf)) * keep)]


def _refused(name: str, make: Callable[[bytes], bytes], result: int) -> Scenario:
    return Scenario(name, make=make, outcome=Outcome.REFUSED, refusal=result)


_READY = "m4: ready"
TABLE = "resource-table"
UNTOUCHED = "image-untouched"

ACCEPTED = [
    Scenario("demo", console=("m4: data and bss ok", "m4: FPU square root of 2 = 0x3fb504f3 ok", _READY)),
    Scenario("demo-upstream-open", profile=UPSTREAM, firewall=OPEN, console=(_READY,)),
    Scenario("demo-abort", deny=Deny.ABORT, console=(_READY,)),
    Scenario("table-in-retram", firmware="demo_m4_retram.elf", console=(_READY,)),
    Scenario("no-table", firmware="demo_m4_notable.elf", console=("m4: no resource table", _READY)),
    Scenario(
        "table-not-where-it-runs",
        firmware="demo_m4_lma.elf",
        profile=UPSTREAM,
        broken=frozenset({TABLE}),
        console=(_READY,),
    ),
    Scenario("table-reported-where-it-was-loaded", firmware="demo_m4_lma.elf", console=(_READY,)),
    Scenario(
        "m4-writes-secure-ddr-razwi",
        firmware="demo_m4_ddr.elf",
        denied=frozenset({"TZC"}),
        exceptions=(("m4", "MemManage"),),  # DDR is Device memory to an M4, which cannot execute from it
        console=("m4: secure DDR write at 0xde000000: no fault", _READY),
    ),
    Scenario(
        "m4-writes-secure-ddr-abort",
        firmware="demo_m4_ddr.elf",
        deny=Deny.ABORT,
        denied=frozenset({"TZC"}),
        exceptions=(("m4", "BusFault"), ("m4", "BusFault"), ("m4", "MemManage")),
        console=("m4: secure DDR write at 0xde000000: fault, CFSR 0x00008200 BFAR 0xde000000", _READY),
    ),
    Scenario("restart-without-release", script=scripts.restart, console=(_READY,)),
]

REFUSED = [
    _refused("wrong-key", with_other_key, SIGNATURE_INVALID),
    _refused("unsigned", lambda elf: elf, BAD_PARAMETERS),
    _refused("empty-file", lambda _elf: b"\0" * 4, BAD_PARAMETERS),
    _refused("truncated-half", truncated(0.5), BAD_PARAMETERS),
    _refused("truncated-by-the-last-byte", lambda elf: signed(elf)[:-1], BAD_PARAMETERS),
    _refused("flipped-magic", flipped("magic"), BAD_PARAMETERS),
    _refused("flipped-version", flipped("version"), BAD_PARAMETERS),
    _refused("flipped-hash-table", flipped("hash table"), SIGNATURE_INVALID),
    _refused("flipped-signature", flipped("signature"), SIGNATURE_INVALID),
    _refused("flipped-elf-header", flipped("elf header"), BAD_FORMAT),
    _refused("flipped-program-header", flipped("program header"), BAD_PARAMETERS),
    _refused("flipped-vectors", flipped("vectors"), SECURITY),
    _refused("flipped-text", flipped("text"), SECURITY),
    Scenario(
        "flipped-text-upstream",
        make=flipped("text"),
        profile=UPSTREAM,
        outcome=Outcome.REFUSED,
        refusal=SECURITY,
        broken=frozenset({"nothing-left"}),  # the reference leaves what it copied before the bad segment
    ),
    _refused("flipped-resource-table", flipped("resource table"), SECURITY),
]

ATTACKS = [
    Scenario(
        "write-after-load-isolated",
        script=partial(scripts.write_after_load, target=scripts.SRAM1),
        denied=frozenset({"ETZPC_DECPROT5.SRAM1=S_RW"}),
        console=(_READY,),
    ),
    Scenario(
        "write-after-load-open",
        script=partial(scripts.write_after_load, target=scripts.SRAM1 + 0x40),
        profile=UPSTREAM,
        firewall=OPEN,
        broken=frozenset({UNTOUCHED}),
    ),
    Scenario(
        "write-after-start-isolated",
        script=partial(scripts.write_after_start, target=scripts.SRAM1),
        denied=frozenset({"ETZPC_DECPROT5.SRAM1=MCU_ISOLATION"}),
        console=(_READY,),
    ),
    Scenario(
        "write-after-start-isolated-abort",
        script=partial(scripts.write_after_start, target=scripts.SRAM1),
        deny=Deny.ABORT,
        denied=frozenset({"ETZPC_DECPROT5.SRAM1=MCU_ISOLATION"}),
        exceptions=(("a7", "data-abort"),),
        console=(_READY,),
    ),
    Scenario(
        "write-after-start-open",
        script=partial(scripts.write_after_start, target=scripts.SRAM1 + 0x40),
        profile=UPSTREAM,
        firewall=OPEN,
        broken=frozenset({UNTOUCHED}),
        console=(_READY,),
    ),
    Scenario(
        "start-without-tee",
        script=scripts.start_without_tee,
        outcome=Outcome.NOT_STARTED,
        denied=frozenset({"RCC_TZCR.TZEN"}),
    ),
    Scenario(
        "reset-while-running",
        script=scripts.reset_while_running,
        denied=frozenset({"RCC_TZCR.MCKPROT"}),
        console=(_READY,),
    ),
    Scenario(
        "swap-between-loads",
        script=scripts.swap_between_loads,
        others=("demo_m4_v2.elf",),
        outcome=Outcome.REFUSED,
        refusal=BAD_STATE,
    ),
    Scenario(
        "swap-between-loads-upstream",
        script=scripts.swap_between_loads,
        others=("demo_m4_v2.elf",),
        profile=UPSTREAM,
        console=("m4: remoteproc-cosim demo 1.0.0 on CPUID 0x410fc241", _READY),
    ),
    Scenario(
        "open-the-firewall",
        script=scripts.open_the_firewall,
        denied=frozenset({"ETZPC=SECURE_WRITE", "ETZPC_DECPROT5.SRAM1=S_RW"}),
        console=(_READY,),
    ),
    Scenario(
        "look-into-the-firmware",
        script=scripts.look_into_the_firmware,
        deny=Deny.ABORT,
        denied=frozenset({"ETZPC_DECPROT5.SRAM1=MCU_ISOLATION", "ETZPC_DECPROT5.RETRAM=MCU_ISOLATION"}),
        exceptions=(("a7", "data-abort"), ("a7", "data-abort"), ("a7", "prefetch-abort")),
        console=(_READY,),
    ),
]


def _again(address: int, size: int, other: int, other_size: int) -> Script:
    """The life of one firmware, then that of another: what is left of a crash is stopped and released first."""
    release = client.essential(client.command(scripts.SESSION, Command.RELEASE_FW))
    first = [scripts.loading(address, size), scripts.start(), scripts.until_ready(), client.spin(RUN_ON)]
    load = client.essential(client.load(scripts.SESSION, other, other_size))
    clear = client.write32(scripts.READY_ADDRESS, 0)
    second = [[clear, load], scripts.start(), scripts.until_ready(), scripts.stop()]
    return scripts.flow(*first, scripts.stop(), release, *second)


def _watched(address: int, size: int) -> Script:
    """Start the M4's window watchdog with one step left, from the normal world, and refresh it never."""
    watch = client.write32(WWDG1_CR, 0xC0)
    return scripts.flow(
        scripts.loading(address, size),
        scripts.start(),
        scripts.until_ready(),
        watch,
        client.spin(RUN_ON),
        scripts.stop(),
    )


def _ringing(address: int, size: int) -> Script:
    """Ring the mailbox when the firmware has armed its interrupts."""
    armed = client.wait32(scripts.READY_ADDRESS, 0xFFFFFFFF, ARMED, 1000, 100)
    ring = client.write32(IPCC_C1SCR, 1 << 16)
    start = [scripts.loading(address, size), scripts.start(), armed, ring]
    return scripts.flow(*start, scripts.until_ready(), scripts.stop())


WWDG1_CR, IPCC_C1SCR = 0x4000A000, 0x4C001008
#: BKP19R of irq_probe when all its interrupts are armed, and `probe_mode` of probe_lockup for SYSRESETREQ.
ARMED, RESET_REQUEST = 1, 5
RUN_ON = 60_000

LIVES = [
    Scenario("one-firmware-after-another", script=_again, others=("demo_m4_v2.elf",), console=(_READY,)),
    Scenario(
        "crash-and-recovery",
        firmware="probe_lockup.elf",
        script=_again,
        others=("demo_m4.elf",),
        deny=Deny.ABORT,
        outcome=Outcome.CRASHED,
        denied=frozenset({"ETZPC_TZMA1"}),
        exceptions=(("m4", "HardFault"),),
        console=(_READY,),
    ),
    Scenario("reset-request", firmware="probe_lockup.elf", make=with_word("probe_mode", RESET_REQUEST)),
    Scenario("watchdog", script=_watched, console=(_READY,)),
    Scenario(
        "interrupts",
        firmware="irq_probe.elf",
        script=_ringing,
        console=("irq: SysTick 0x00000005 TIM2 0x00000007 IPCC 0x00000001",),
    ),
    Scenario(
        "it-blocks-and-their-exceptions",
        firmware="probe_it.elf",
        exceptions=(("m4", "SVCall"), ("m4", "SVCall"), ("m4", "HardFault"), ("m4", "HardFault")),
    ),
]

SCENARIOS = [*ACCEPTED, *REFUSED, *ATTACKS, *LIVES]
