"""Accesses to blocks that were made before are answered as if they were not: by the rights of this very moment."""

from __future__ import annotations

import io
import struct

import pytest
from presence import Configured

from cosim import client
from cosim.access import Deny, Initiator
from cosim.client import StepStatus
from cosim.engine.unicorn.accesses import Accesses
from cosim.engine.unicorn.native import library_path
from cosim.errors import RunTimeout
from cosim.events import AccessDenied, ExceptionTaken, RegisterWritten
from cosim.peripherals.etzpc import DECPROT_IDS, Protection
from cosim.peripherals.usart import Stm32Usart
from cosim.registers import Register, RegisterBlock
from cosim.resources import firmware_file
from cosim.scripts import READY_ADDRESS, loading, start
from cosim.soc import Soc, SocConfig
from cosim.testing import default_signer
from ta.profile import FirewallProfile

UART4, BRR, RDR = 0x40010000, 0x4001000C, 0x40010024
DBGMCU_CR = 0x50081004
UART4_CR2, UART5_RTOR = 0x40010004, 0x40011014
RCC_TZCR, RCC_MP_GCR = 0x50000000, 0x5000010C
_DECPROT0 = 0x5C007010
_TZC, _TZC_INT_CLEAR = 0x5C006000, 0x5C006014
SECURE = 0xDE000000
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


def denied_again_and_again(deny: Deny, loop: str) -> Soc:
    """Reads and writes of a block and of secure memory, twenty times each, across changes of the firewall."""
    soc = Soc(SocConfig(deny=deny, loop=loop))
    again = [client.read32(BRR), client.write32(BRR, 0x363), client.read32(SECURE), client.write32(SECURE, 0x5A)] * 20
    for protection in (Protection.NS_RW, Protection.S_RW, Protection.NS_R_S_W, Protection.NS_RW, Protection.S_RW):
        protect(soc, "uart4", protection)
        soc.run_script(again)
        soc.bus.secure_view().write(_TZC_INT_CLEAR, struct.pack("<I", 3))
        soc.run_script([client.read32(SECURE)] * 2)
    return soc


def noted(soc: Soc) -> tuple[int, int]:
    """What the TZC keeps of a failure: INT_STATUS and FAIL_ADDRESS_LOW_0."""
    tzc = soc.blocks["tzc"]
    return tzc.read(0x10, 4, Initiator.DEBUG), tzc.read(0x20, 4, Initiator.DEBUG)


def as_lines(soc: Soc) -> str:
    """The whole log."""
    stream = io.StringIO()
    soc.log.write_jsonl(stream)
    return stream.getvalue()


@pytest.mark.parametrize("deny", Deny)
@pytest.mark.parametrize("loop", ["python", pytest.param("native", marks=NATIVE)])
def test_accesses_that_are_denied_again_and_again_leave_the_log_that_they_leave_when_nothing_is_remembered(
    loop: str, deny: Deny, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = denied_again_and_again(deny, loop)
    monkeypatch.setattr(Accesses, "_remember", lambda *_arguments: None)
    plain = denied_again_and_again(deny, "python")

    assert as_lines(usual) == as_lines(plain)
    denied = [(e.address, e.access) for e in plain.log.of(AccessDenied)]
    assert [denied.count((BRR, access)) for access in ("read", "write")] == [40, 60]
    assert [denied.count((SECURE, access)) for access in ("read", "write")] == [110, 100]
    aborts = [e for e in plain.log.of(ExceptionTaken) if e.exception == "data-abort"]
    assert len(aborts) == (len(plain.log.of(AccessDenied)) if deny is Deny.ABORT else 0)
    assert [noted(soc) for soc in (usual, plain)] == [(0x303, SECURE)] * 2


@pytest.mark.parametrize("loop", ["python", pytest.param("native", marks=NATIVE)])
def test_denied_access_names_the_rule_that_denies_it_now_although_the_answer_is_the_same(loop: str) -> None:
    soc = Soc(SocConfig(loop=loop))
    view, reads = soc.bus.secure_view(), [client.read32(SECURE)] * 20
    soc.run_script(reads)
    regions = [n for n in range(1, 9) if int.from_bytes(view.read(_TZC + 0x100 + 0x20 * n + 0x10, 4), "little") & 3]
    [covering] = [
        n for n in regions
        if int.from_bytes(view.read(_TZC + 0x100 + 0x20 * n, 4), "little") <= SECURE
        <= int.from_bytes(view.read(_TZC + 0x100 + 0x20 * n + 0x08, 4), "little")
    ]  # fmt: skip
    for register in (0x00, 0x08, 0x14, 0x10):  # base, top, ID access, attributes
        view.write(_TZC + 0x100 + 0x20 * 8 + register, view.read(_TZC + 0x100 + 0x20 * covering + register, 4))
    soc.run_script(reads)
    view.write(_TZC + 0x100 + 0x20 * covering + 0x10, bytes(4))
    soc.run_script(reads)

    rules = [e.rule for e in soc.log.of(AccessDenied) if e.address == SECURE]
    assert [rule.split(".")[0] for rule in rules] == [f"TZC_REGION_ID_ACCESS_{covering}"] * 40 + [
        "TZC_REGION_ID_ACCESS_8"
    ] * 20


@pytest.mark.parametrize("deny", Deny)
@pytest.mark.parametrize("loop", ["python", pytest.param("native", marks=NATIVE)])
def test_storm_of_denied_accesses_ends_when_the_log_is_full(loop: str, deny: Deny) -> None:
    soc = Soc(SocConfig(loop=loop, deny=deny, most_events=3000, quantum=10))
    # r0 walks over the secure memory, each word twenty times, for ever.
    walk = [*[0xE5901000] * 20, 0xE2800004, 0xEAFFFFE9]
    place = soc.stage(struct.pack("<24I", *load(0, SECURE), *walk))

    with pytest.raises(RunTimeout, match="more than 3000 events"):
        soc.run_script([client.call(place)])
    addresses = [e.address for e in soc.log.of(AccessDenied)][:900]
    assert addresses == [SECURE + n // 20 * 4 for n in range(900)]


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
        if reads.count("RDR") == 5:
            raise ArithmeticError("the model is broken")
        return RegisterBlock.read_register(block, register, initiator)

    monkeypatch.setattr(Stm32Usart, "read_register", read_register)
    soc = Soc(SocConfig(loop=loop))

    with pytest.raises(ArithmeticError, match="the model is broken"):
        soc.run_script([client.read32(RDR)] * 6)
    assert reads.count("RDR") == 5


@pytest.mark.parametrize("loop", ["python", pytest.param("native", marks=NATIVE)])
def test_register_that_is_only_stored_is_read_and_written_by_bytes_and_halfwords_in_any_order(loop: str) -> None:
    soc = Soc(SocConfig(loop=loop))
    parts = [client.write32(DBGMCU_CR, 0x11223344), *[client.read32(DBGMCU_CR)] * 2]
    # r0 at the register; r1: what is stored. STRB [r0, #1]; STRH [r0, #2]; LDRB r2, [r0, #2]; STR r2 to TAMP; twice.
    once = [*load(1, 0xAABB), 0xE5C01001, 0xE1C010B2, 0xE5D02002, 0xE5832000]
    code = [*load(0, DBGMCU_CR), *load(3, READY_ADDRESS), *once, *once, _BX_LR]
    place = soc.stage(struct.pack(f"<{len(code)}I", *code))
    results = soc.run_script([*parts, client.call(place), *[client.read32(DBGMCU_CR)] * 2])

    assert [step.result[0] for step in results if step.result[0]][:2] == [0x11223344] * 2
    assert [step.result[0] for step in results[-2:]] == [0xAABBBB44] * 2
    assert [e.value for e in soc.log.of(RegisterWritten) if e.register == "BKP19R"] == [0xBB] * 2


@pytest.mark.parametrize("loop", ["python", pytest.param("native", marks=NATIVE)])
def test_register_that_was_read_before_is_read_as_a_restored_snapshot_and_a_reset_leave_it(loop: str) -> None:
    soc = Soc(SocConfig(loop=loop))
    soc.run_script([client.write32(BRR, 0x363), *[client.read32(BRR)] * 2])
    saved = soc.snapshot()
    soc.run_script([client.write32(BRR, 0x1A1), *[client.read32(BRR)] * 2])
    soc.restore(saved)
    restored = soc.run_script([client.read32(BRR)] * 2)
    soc.blocks["uart4"].reset()
    after_reset = soc.run_script([client.read32(BRR)] * 2)

    assert [step.result[0] for step in restored + after_reset] == [0x363] * 2 + [0] * 2


@pytest.mark.parametrize("loop", ["python", pytest.param("native", marks=NATIVE)])
def test_reads_of_a_register_inside_it_blocks_give_its_value_and_the_block_ends_where_it_should(loop: str) -> None:
    soc = Soc(SocConfig(loop=loop))
    # Thumb, four times: cmp r0, r0; ITT EQ with ldreq r1, [r0] and cmpeq r0, r3; b to the next.
    block = struct.pack("<5H", 0x4280, 0xBF04, 0x6801, 0x4298, 0xE7FF)
    code = thumb_load(0, BRR) + thumb_load(3, READY_ADDRESS) + block * 4
    place = soc.stage(code + struct.pack("<2H", 0x6019, 0x4770))  # str r1, [r3]; bx lr
    soc.run_script([client.write32(BRR, 0x363), *[client.read32(BRR)] * 2, client.call(place | 1)])

    assert [e.value for e in soc.log.of(RegisterWritten) if e.register == "BKP19R"] == [0x363]


@pytest.mark.parametrize("loop", ["python", pytest.param("native", marks=NATIVE)])
def test_poll_of_a_register_ends_with_the_instruction_at_which_an_alarm_changes_it(loop: str) -> None:
    soc = Soc(SocConfig(loop=loop, quantum=100_000))
    uart = soc.blocks["uart4"]
    assert isinstance(uart, RegisterBlock)
    times: list[int] = []

    def change(at_ps: int) -> None:
        times.append(at_ps)
        uart.poke("BRR", 1)

    alarm = soc.timers.alarm(change)
    # r1 = [BRR] until it is not zero; then it goes to TAMP.
    poll = [0xE5901000, 0xE3510000, 0x0AFFFFFC]
    code = [*load(0, BRR), *load(3, READY_ADDRESS), *poll, 0xE5831000, _BX_LR]
    place = soc.stage(struct.pack(f"<{len(code)}I", *code))
    soc.run_script([client.read32(BRR)] * 2)
    due = 600_000_000
    alarm.set(due)
    soc.run_script([client.call(place)])

    assert times == [due]
    [written] = [r for r in soc.log if isinstance(r.payload, RegisterWritten) and r.payload.register == "BKP19R"]
    assert due <= written.stamp.time_ps <= due + 10 * 1_000_000 // 650


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
