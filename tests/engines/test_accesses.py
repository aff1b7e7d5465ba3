"""Accesses to blocks that were made before are answered as if they were not: by the rights of this very moment."""

from __future__ import annotations

import struct

import pytest
from presence import Configured

from cosim import client
from cosim.access import Deny, Initiator
from cosim.client import StepStatus
from cosim.engine.unicorn.native import library_path
from cosim.events import AccessDenied, ExceptionTaken, RegisterWritten
from cosim.peripherals.etzpc import DECPROT_IDS, Protection
from cosim.peripherals.usart import Stm32Usart
from cosim.registers import Register, RegisterBlock
from cosim.resources import firmware_file
from cosim.scripts import READY_ADDRESS, loading, start
from cosim.soc import Soc, SocConfig
from cosim.testing import default_signer
from ta.profile import FirewallProfile

UART4, BRR = 0x40010000, 0x4001000C
UART4_CR2, UART5_RTOR = 0x40010004, 0x40011014
RCC_TZCR, RCC_MP_GCR = 0x50000000, 0x5000010C
_DECPROT0 = 0x5C007010
MPU_CTRL, MPU_RBAR, MPU_RASR = 0xE000ED94, 0xE000ED9C, 0xE000EDA0
_STR_R1_R0, _STRB_R1_R2, _BX_LR = 0xE5801000, 0xE5C21000, 0xE12FFF1E

NATIVE = pytest.mark.skipif(library_path() is None, reason="the native loop is not built")


def protect(soc: Soc, block: str, protection: Protection) -> None:
    """The secure world gives a block another attribute."""
    register, shift = _DECPROT0 + 4 * (DECPROT_IDS[block] // 16), 2 * (DECPROT_IDS[block] % 16)
    view = soc.bus.secure_view()
    value = int.from_bytes(view.read(register, 4), "little")
    view.write(register, struct.pack("<I", value & ~(3 << shift) | protection << shift))


def load(register: int, value: int) -> list[int]:
    """MOVW and MOVT."""
    halves = ((0xE3000000, value & 0xFFFF), (0xE3400000, value >> 16))
    return [opcode | (half >> 12) << 16 | register << 12 | half & 0xFFF for opcode, half in halves]


def thumb_load(register: int, value: int) -> bytes:
    """MOVW and MOVT of the M4."""
    words = b""
    for opcode, half in ((0xF240, value & 0xFFFF), (0xF2C0, value >> 16)):
        first = opcode | (half >> 11 & 1) << 10 | half >> 12
        words += struct.pack("<2H", first, (half >> 8 & 7) << 12 | register << 8 | half & 0xFF)
    return words


def store(address: int, value: int) -> bytes:
    """STR of a value by the M4, which uses r2 and r3."""
    return thumb_load(2, address) + thumb_load(3, value) + struct.pack("<H", 0x6013)


@pytest.fixture
def soc(configured: Configured) -> Soc:
    return Soc(configured(deny=Deny.ABORT))


def test_register_that_was_read_before_is_denied_as_soon_as_the_firewall_denies_it(soc: Soc) -> None:
    write, reads = client.write32(BRR, 0x363), [client.read32(BRR)] * 3
    seen = []
    for protection in (Protection.NS_RW, Protection.S_RW, Protection.NS_RW, Protection.NS_R_S_W):
        protect(soc, "uart4", protection)
        seen.append([(step.status, step.result[0]) for step in soc.run_script([*reads, write])])

    done, faulted = (StepStatus.DONE, 0x363), StepStatus.FAULTED
    assert seen[0][0] == (StepStatus.DONE, 0)
    assert [status for status, _ in seen[1]] == [faulted] * 4
    assert seen[2][:3] == [done] * 3
    assert seen[3][:3] == [done] * 3
    assert seen[3][3][0] is faulted
    denied = [e.access for e in soc.log.of(AccessDenied) if e.address == BRR]
    assert denied == ["read", "read", "read", "write", "write"]


@pytest.mark.usefixtures("mpu_at_once")
def test_register_that_the_m4_read_before_is_forbidden_once_its_mpu_is_on(soc: Soc) -> None:
    read = struct.pack("<H", 0x6801)  # ldr r1, [r0]
    rows = (MPU_RBAR, 0x10000010), (MPU_RASR, 0x03000027), (MPU_CTRL, 1)  # 1 MiB from 0x10000000, and nothing else
    program = thumb_load(0, BRR) + 3 * read + b"".join(store(*row) for row in rows) + read
    image = default_signer().sign(firmware_file("demo_m4.elf"))
    soc.run_script(loading(soc.stage(image), len(image)))
    place = 0x1001E000
    # Between LOAD and START, past the firewall: the reset vector leads to the program.
    soc.bus.write(Initiator.DEBUG, place, program + struct.pack("<H", 0xE7FE))
    soc.bus.write(Initiator.DEBUG, 0x38000004, struct.pack("<I", place | 1))
    soc.run_script([start(), client.spin(1000)])

    assert [(e.exception, e.status) for e in soc.log.of(ExceptionTaken) if e.core == "m4"][:1] == [("HardFault", 0x82)]
    assert not [e for e in soc.log.of(AccessDenied) if e.initiator == "m4"]


def test_register_that_was_written_before_by_a_byte_is_not_taken_for_one_that_a_word_writes(soc: Soc) -> None:
    store = [*load(0, READY_ADDRESS), *load(1, 0x12345678), 0xE5C01000, _STR_R1_R0, 0xE5C01000, _BX_LR]
    place = soc.stage(struct.pack(f"<{len(store)}I", *store))
    [step] = soc.run_script([client.call(place)])

    assert step.status is StepStatus.DONE
    assert [e.value for e in soc.log.of(RegisterWritten) if e.register == "BKP19R"] == [0x78, 0x12345678, 0x78]


def test_store_of_a_byte_is_made_although_an_unaligned_store_before_it_was_refused(soc: Soc) -> None:
    protect(soc, "uart4", Protection.S_RW)
    code = [*load(0, UART4 + 1), *load(1, 0x5A), *load(2, READY_ADDRESS), _STR_R1_R0, _STRB_R1_R2, _BX_LR]
    place = soc.stage(struct.pack(f"<{len(code)}I", *code))
    [step] = soc.run_script([client.call(place)])

    assert step.status is StepStatus.FAULTED
    denied = [(e.access, e.size) for e in soc.log.of(AccessDenied) if e.address == UART4 + 1]
    assert denied == [("write", 4)]
    assert [e.value for e in soc.log.of(RegisterWritten) if e.register == "BKP19R"] == [0x5A]


@pytest.mark.parametrize("loop", ["python", pytest.param("native", marks=NATIVE)])
def test_error_of_a_model_at_the_fifth_of_equal_reads_ends_the_run_as_that_error(
    loop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = []

    def read_register(block: Stm32Usart, register: Register, initiator: Initiator) -> int:
        reads.append(register.name)
        if reads.count("BRR") == 5:
            raise ArithmeticError("the model is broken")
        return RegisterBlock.read_register(block, register, initiator)

    monkeypatch.setattr(Stm32Usart, "read_register", read_register)
    soc = Soc(SocConfig(loop=loop))

    with pytest.raises(ArithmeticError, match="the model is broken"):
        soc.run_script([client.read32(BRR)] * 6)
    assert reads.count("BRR") == 5


@pytest.mark.parametrize("loop", ["python", pytest.param("native", marks=NATIVE)])
def test_registers_that_share_a_place_in_the_table_of_the_native_port_are_told_apart(loop: str) -> None:
    soc = Soc(SocConfig(loop=loop))
    write = [client.write32(UART4_CR2, 0x1234), client.write32(UART5_RTOR, 0x5678)]

    results = soc.run_script([*write, *[client.read32(UART4_CR2), client.read32(UART5_RTOR)] * 4])

    assert [result.result[0] for result in results[2:]] == [0x1234, 0x5678] * 4


@pytest.mark.parametrize("loop", ["python", pytest.param("native", marks=NATIVE)])
def test_a7_that_lets_the_m4_out_of_reset_itself_reads_at_once_what_that_writes_first(loop: str) -> None:
    soc = Soc(SocConfig(loop=loop, quantum=100_000, firewall=FirewallProfile.OPEN))
    image = default_signer().sign(firmware_file("demo_m4.elf"))
    soc.run_script(loading(soc.stage(image), len(image)))
    soc.bus.write(Initiator.DEBUG, 0x1001E000, store(BRR, 0x363) + struct.pack("<H", 0xE7FE))
    soc.bus.write(Initiator.DEBUG, 0x38000004, struct.pack("<I", 0x1001E001))
    soc.bus.secure_view().write(RCC_TZCR, bytes(4))  # the RCC is the normal world's
    reads = [client.read32(BRR)] * 4

    results = soc.run_script([*reads, client.write32(RCC_MP_GCR, 1), *reads])

    assert [result.result[0] for result in results] == [0] * 5 + [0x363] * 4
