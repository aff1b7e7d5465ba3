"""The A7 client keeps the step interface of docs/architecture.md, and survives whatever a step does."""

from __future__ import annotations

import struct
import uuid

import pytest
from bare_a7 import SHM_ARGUMENT, SHM_BUFFERS, STAGING, BareA7, Registers
from unicorn import UC_HOOK_CODE, UC_HOOK_MEM_READ, UC_HOOK_MEM_WRITE

SMC, OPEN, INVOKE, CLOSE, READ32, WRITE32, COPY, WAIT32, PUTS, SPIN, CALL, OFF = range(1, 13)
DONE, TIMED_OUT, FAULTED, UNKNOWN_OP, SMC_ERROR, NOT_REACHED = 0, 1, 2, 3, 4, 0xFFFFFFFF
DATA, PREFETCH, UNDEFINED = 1, 2, 3
CALL_WITH_ARG, RETURN_FROM_RPC = 0x32000004, 0x32000003
EXCHANGE_CAPABILITIES = 0xB2000009
REGISTER, UNREGISTER = 4, 5
NOWHERE = 0x38000000
CODE = 0xC0200000


class Tee:
    """A secure world that records every message and answers with what the test wants."""

    #: Reserved shared memory and NULL references.
    capabilities = 0x11

    def __init__(self, ret: int = 0, origin: int = 4, smc: int = 0, out: dict[int, tuple[int, int]] | None = None):
        self.ret, self.origin, self.smc, self.out = ret, origin, smc, out or {}
        self.messages: list[tuple[int, ...]] = []
        self.params: list[list[tuple[int, ...]]] = []
        self.write: tuple[int, bytes] | None = None

    def __call__(self, machine: BareA7, r: Registers) -> Registers:
        if r[0] == EXCHANGE_CAPABILITIES:
            return (0, self.capabilities, 0, 4)
        assert tuple(r) == (CALL_WITH_ARG, 0, SHM_ARGUMENT, 1, 0, 0, 0, 0)
        message = machine.words(SHM_ARGUMENT, 8)
        self.messages.append(message)
        places = [SHM_ARGUMENT + 32 + 32 * i for i in range(message[7])]
        self.params.append([struct.unpack("<4Q", machine.uc.mem_read(p, 32)) for p in places])
        machine.uc.mem_write(SHM_ARGUMENT + 8, struct.pack("<I", 7))
        machine.uc.mem_write(SHM_ARGUMENT + 20, struct.pack("<II", self.ret, self.origin))
        for index, (a, b) in self.out.items():
            machine.uc.mem_write(places[index] + 8, struct.pack("<QQ", a, b))
        if self.write:
            machine.uc.mem_write(*self.write)
        return (self.smc, 0, 0, 0)


class DynamicTee(Tee):
    """A secure world with dynamic shared memory; `refused` is what it answers to a registration."""

    capabilities = 0x54

    def __init__(self, refused: int = 0, **answers: int):
        super().__init__(**answers)
        self.refused = refused
        self.pages: list[list[int]] = []

    def __call__(self, machine: BareA7, r: Registers) -> Registers:
        answer = super().__call__(machine, r)
        if r[0] == CALL_WITH_ARG and self.messages[-1][0] == REGISTER:
            _, pointer, size, _ = self.params[-1][0]
            count, at = -(-(pointer % 4096 + size) // 4096), pointer & ~0xFFF
            entries: list[int] = []
            while len(entries) < count:
                *more, at = struct.unpack("<512Q", machine.uc.mem_read(at, 4096))
                entries += more[: count - len(entries)]
            self.pages.append(entries)
            machine.uc.mem_write(SHM_ARGUMENT + 20, struct.pack("<II", self.refused, 3))
        return answer


def test_with_dynamic_memory_the_pages_are_registered_where_they_are_and_taken_back_after() -> None:
    tee = DynamicTee()
    machine = BareA7(monitor=tee)
    size = 0x600000
    machine.run((INVOKE, 0, 7, 1, 0x51, 2, 3, 4, STAGING + 0x124, size), (INVOKE, 0, 7, 1, 0x51, 2, 0, 0, STAGING, 8))
    assert [message[0] for message in tee.messages] == [REGISTER, 1, UNREGISTER] * 2
    attr, pointer, length, cookie = tee.params[0][0]
    assert (attr, pointer % 4096, length) == (0x20A, 0x124, size)
    assert tee.pages[0] == list(range(STAGING, STAGING + size + 0x1000, 0x1000))
    assert tee.params[1] == [(1, 3, 4, 0), (5, 0, size, cookie)]
    assert tee.params[2][0][3] == cookie
    assert tee.pages[1] == [STAGING]
    assert [r[0] for r in machine.smcs] == [EXCHANGE_CAPABILITIES] + [CALL_WITH_ARG] * 6
    assert machine.outcomes[0].result == (0, 0, 4, 3, 4, STAGING + 0x124, size, 0, 0, 0, 0)


@pytest.mark.parametrize("size", [1, 4096, 511 * 4096, 511 * 4096 + 1, 1022 * 4096, 1022 * 4096 + 1])
def test_a_page_list_goes_on_in_a_second_page_when_the_first_is_full(size: int) -> None:
    tee = DynamicTee()
    BareA7(monitor=tee).run((INVOKE, 0, 7, 1, 0x5, 1, STAGING, size))
    assert tee.pages[0] == list(range(STAGING, STAGING + size, 0x1000))


def test_an_output_buffer_is_registered_as_such_and_a_null_or_empty_one_not_at_all() -> None:
    tee = DynamicTee()
    BareA7(monitor=tee).run((INVOKE, 0, 7, 1, 0x5567, 4, STAGING, 4, STAGING + 0xFFF, 2, 0, 12, STAGING, 0))
    first, second = tee.params[0][0][3], tee.params[1][0][3]
    assert tee.pages == [[STAGING], [STAGING, STAGING + 0x1000]]
    assert first != second
    assert tee.params[2] == [(7, 0, 4, first), (6, 0, 2, second), (9, 0, 12, 0), (9, 0, 0, 0)]
    assert sorted(params[0][3] for params in tee.params[3:]) == sorted((first, second))


def test_a_buffer_that_the_secure_world_does_not_take_ends_the_step_with_its_answer() -> None:
    tee = DynamicTee(refused=0xFFFF0006)
    machine = BareA7(monitor=tee)
    machine.run((INVOKE, 0, 7, 1, 0x51, 2, 0, 0, 0xDE000000, 64))
    assert [message[0] for message in tee.messages] == [REGISTER]
    assert (machine.outcomes[0].status, machine.outcomes[0].result[:3]) == (DONE, (0, 0xFFFF0006, 3))


@pytest.mark.parametrize(("answer", "error"), [((0, 0x10, 0, 0), 7), ((5, 0, 0, 0), 5)])
def test_a_secure_world_without_shared_memory_is_not_asked_for_more(answer: Registers, error: int) -> None:
    machine = BareA7(monitor=lambda _m, _r: answer)
    machine.run((INVOKE, 0, 7, 1, 0x51, 2, 0, 0, STAGING, 64))
    assert [r[0] for r in machine.smcs] == [EXCHANGE_CAPABILITIES]
    assert (machine.outcomes[0].status, machine.outcomes[0].result[0]) == (SMC_ERROR, error)


def test_smc_hands_over_eight_registers_and_returns_four() -> None:
    machine = BareA7(monitor=lambda _m, _r: (0x11, 0x22, 0x33, 0x44))
    assert machine.run((SMC, 0, 1, 2, 3, 4, 5, 6, 7, 8)) == 1
    assert machine.smcs == [(1, 2, 3, 4, 5, 6, 7, 8)]
    assert (machine.outcomes[0].status, machine.outcomes[0].result[:4]) == (DONE, (0x11, 0x22, 0x33, 0x44))


def test_open_sends_uuid_login_and_processor_as_optee_expects_them() -> None:
    tee = Tee()
    machine = BareA7(monitor=tee)
    ta = uuid.UUID("80a4c275-0a47-4905-8285-1486a9771a08")
    machine.run((OPEN, 0, *struct.unpack("<4I", ta.bytes), 0x80000000, 1, 0x1, 5, 6))
    assert tee.messages == [(0, 0, 0, 0, 0, 0, 0, 3)]
    assert tee.params == [
        [(0x101, 0x0549470A75C2A480, 0x081A77A986148582, 0), (0x101, 0, 0, 0x80000000), (0x1, 5, 6, 0)]
    ]
    assert machine.outcomes[0].result[:4] == (0, 0, 4, 7)


def test_invoke_copies_an_input_buffer_to_shared_memory_and_reports_all_parameters() -> None:
    tee = Tee(ret=0xFFFF000F, out={0: (1, 2), 2: (0x10048000, 0)})
    machine = BareA7(monitor=tee)
    image = bytes(range(1, 102))
    machine.uc.mem_write(STAGING, image)
    machine.run((INVOKE, 0, 7, 1, 0x2253, 4, 3, 4, STAGING, len(image)))
    assert tee.messages == [(1, 1, 7, 0, 0, 0, 0, 4)]
    assert tee.params[0] == [(3, 3, 4, 0), (9, SHM_BUFFERS, 101, SHM_BUFFERS), (2, 0, 0, 0), (2, 0, 0, 0)]
    assert bytes(machine.uc.mem_read(SHM_BUFFERS, len(image))) == image
    outcome = machine.outcomes[0]
    assert outcome.status == DONE
    assert outcome.result == (0, 0xFFFF000F, 4, 1, 2, STAGING, len(image), 0x10048000, 0, 0, 0)


def test_invoke_brings_an_output_buffer_back_but_never_more_than_its_room() -> None:
    tee = Tee(out={0: (SHM_BUFFERS, 64)})
    tee.write = (SHM_BUFFERS, b"\xaa" * 64)
    machine = BareA7(monitor=tee)
    machine.run((INVOKE, 0, 7, 5, 0x6, 1, STAGING, 16))
    assert bytes(machine.uc.mem_read(STAGING, 20)) == b"\xaa" * 16 + bytes(4)
    assert machine.outcomes[0].result[3:5] == (STAGING, 64)


def test_two_buffers_lie_apart_and_address_0_is_a_null_memref() -> None:
    tee = Tee()
    BareA7(monitor=tee).run((INVOKE, 0, 7, 1, 0x557, 3, STAGING, 4097, STAGING, 8, 0, 12))
    assert [p[:3] for p in tee.params[0]] == [
        (0xB, SHM_BUFFERS, 4097), (9, SHM_BUFFERS + 8192, 8), (9, 0, 12)
    ]  # fmt: skip


@pytest.mark.parametrize("nibble", [4, 8, 9, 10, 11, 12, 13, 14, 15])
def test_type_nibbles_that_are_no_tee_type_go_out_unchanged_and_nothing_is_copied(nibble: int) -> None:
    tee = Tee()
    BareA7(monitor=tee).run((INVOKE, 0, 7, 1, nibble, 1, 0xDE000000, 8))
    assert tee.params[0] == [(nibble, 0xDE000000, 8, 0)]


@pytest.mark.parametrize("tee", [Tee(), DynamicTee()], ids=["reserved", "dynamic"])
@pytest.mark.parametrize("size", [0x7FFFFFFF, 0xFFFFF001, 0xFFFFFFFF])
def test_a_buffer_larger_than_shared_memory_is_refused_without_a_message(tee: Tee, size: int) -> None:
    machine = BareA7(monitor=tee)
    machine.run((INVOKE, 0, 7, 1, 0x51, 2, 0, 0, STAGING, size))
    assert tee.messages == []
    assert (machine.outcomes[0].status, machine.outcomes[0].result[0]) == (SMC_ERROR, 6)


def test_a_buffer_of_exactly_the_reserved_memory_is_sent_and_one_byte_more_is_not() -> None:
    BareA7(monitor=(refusing := Tee())).run((INVOKE, 0, 7, 1, 0x51, 2, 0, 0, STAGING, 0x1F0001))
    assert refusing.messages == []
    tee = Tee()
    machine = BareA7(monitor=tee)
    machine.run((INVOKE, 0, 7, 1, 0x51, 2, 0, 0, STAGING, 0x1F0000))
    assert machine.outcomes[0].status == DONE
    assert tee.params[0][1] == (9, SHM_BUFFERS, 0x1F0000, SHM_BUFFERS)


@pytest.mark.parametrize(
    "step", [(OPEN, 0, 0, 0, 0, 0, 0, 5), (INVOKE, 0, 7, 1, 0, 5), (INVOKE, 0, 7, 1, 0, 0xFFFFFFFF)]
)
def test_more_than_four_parameters_are_refused_without_an_smc(step: tuple[int, ...]) -> None:
    machine = BareA7(monitor=Tee())
    machine.run(step)
    assert machine.smcs == []
    assert (machine.outcomes[0].status, machine.outcomes[0].result[0]) == (SMC_ERROR, 5)


def test_close_sends_the_session_and_no_parameter() -> None:
    tee = Tee(origin=3)
    machine = BareA7(monitor=tee)
    machine.run((CLOSE, 0, 9))
    assert tee.messages == [(2, 0, 9, 0, 0, 0, 0, 0)]
    assert machine.outcomes[0].result[:3] == (0, 0, 3)


def test_an_smc_that_fails_is_told_from_a_command_that_fails() -> None:
    machine = BareA7(monitor=Tee(smc=4))
    machine.run((INVOKE, 0, 7, 2, 0x1, 1, 0))
    assert (machine.outcomes[0].status, machine.outcomes[0].result[0]) == (SMC_ERROR, 4)


def test_a_foreign_interrupt_is_answered_by_coming_back() -> None:
    answers = iter([(0xFFFF0004, 1, 2, 3), (0, 0, 0, 0)])
    machine = BareA7(monitor=lambda _m, _r: next(answers))
    machine.run((CLOSE, 0, 9))
    assert [r[:4] for r in machine.smcs] == [(CALL_WITH_ARG, 0, SHM_ARGUMENT, 1), (RETURN_FROM_RPC, 1, 2, 3)]
    assert machine.outcomes[0].status == DONE


def test_a_refused_allocation_gives_the_secure_world_null() -> None:
    answers = iter([(0xFFFF0000, 4096, 2, 3, 4, 5), (0, 0, 0, 0)])
    machine = BareA7(monitor=lambda _m, _r: next(answers))
    machine.run((CLOSE, 0, 9))
    assert machine.smcs[1] == (RETURN_FROM_RPC, 0, 0, 3, 0, 0, 0, 0)


def test_a_secure_world_that_never_stops_asking_is_given_up() -> None:
    machine = BareA7(monitor=lambda _m, _r: (0xFFFF0005, 0, 0, 0))
    assert machine.run((CLOSE, 0, 9), (SPIN, 0, 1)) == 2
    assert len(machine.smcs) == 1001
    assert machine.outcomes[0].status == SMC_ERROR


@pytest.mark.parametrize("length", [0, 1, 3, 4, 31, 32, 33, 4099])
@pytest.mark.parametrize(("to", "source"), [(0, 0), (1, 0), (0, 1), (2, 2), (3, 1)])
def test_copy_moves_exactly_the_bytes_asked_for(to: int, source: int, length: int) -> None:
    machine = BareA7()
    data = bytes(i * 7 & 0xFF for i in range(5000))
    machine.uc.mem_write(STAGING, data)
    machine.uc.mem_write(STAGING + 0x10000, b"\x55" * 5000)
    machine.run((COPY, 0, STAGING + 0x10000 + to, STAGING + source, length))
    expected = b"\x55" * to + data[source : source + length] + b"\x55" * (5000 - to - length)
    assert bytes(machine.uc.mem_read(STAGING + 0x10000, 5000)) == expected


@pytest.mark.parametrize("step", [(READ32, 0, NOWHERE), (WRITE32, 0, NOWHERE, 1), (WAIT32, 0, NOWHERE, 1, 1, 100)])
def test_a_data_abort_is_recorded_in_its_step_and_the_next_step_runs_clean(step: tuple[int, ...]) -> None:
    machine = BareA7()
    assert machine.run(step, (WRITE32, 0, STAGING, 0xC0FFEE)) == 2
    first, second = machine.outcomes
    assert (first.status, first.fault_kind, first.fault_status, first.fault_address) == (FAULTED, DATA, 0x1008, NOWHERE)
    assert 0xC0000000 <= first.fault_pc < 0xC0002000
    assert (second.status, second.fault_kind, second.fault_pc) == (DONE, 0, 0)
    assert machine.word(STAGING) == 0xC0FFEE


def test_a_data_abort_in_called_code_names_its_instruction_and_the_next_one_runs() -> None:
    machine = BareA7()
    code = (0xE3A0120E, 0xE3A00001, 0xE5911000, 0xE2800001, 0xE12FFF1E)  # r1 = 0xE0000000; r0 = 1; ldr; r0 += 1; bx lr
    machine.uc.mem_write(CODE, struct.pack("<5I", *code))
    machine.run((CALL, 0, CODE))
    outcome = machine.outcomes[0]
    assert (outcome.fault_kind, outcome.fault_address, outcome.fault_pc) == (DATA, 0xE0000000, CODE + 8)
    assert outcome.result[0] == 2


def test_only_the_first_of_several_faults_of_a_step_is_recorded() -> None:
    machine = BareA7()
    code = (0xE7F000F0, 0xE3A0120E, 0xE5911000, 0xE12FFF1E)  # udf; r1 = 0xE0000000; ldr r1, [r1]; bx lr
    machine.uc.mem_write(CODE, struct.pack("<4I", *code))
    machine.run((CALL, 0, CODE))
    assert machine.faults == 2
    assert (machine.outcomes[0].fault_kind, machine.outcomes[0].fault_pc) == (UNDEFINED, CODE)


@pytest.mark.parametrize(("to", "source"), [(1, 0), (0, 2), (2, 2), (3, 1)])
def test_copy_never_makes_an_unaligned_access_which_would_fault_with_the_mmu_off(to: int, source: int) -> None:
    machine = BareA7()
    unaligned: list[int] = []

    def note(_uc: object, _access: int, address: int, size: int, _value: int, _data: object) -> None:
        if address % size:
            unaligned.append(address)

    machine.uc.hook_add(UC_HOOK_MEM_READ | UC_HOOK_MEM_WRITE, note)
    machine.run((COPY, 0, STAGING + 0x10000 + to, STAGING + source, 100))
    assert unaligned == []


def test_copy_ends_at_its_first_fault() -> None:
    machine = BareA7()
    machine.uc.mem_map(0x10000000, 0x1000)
    machine.uc.mem_write(STAGING, b"\x77" * 0x2000)
    machine.run((COPY, 0, 0x10000000, STAGING, 0x2000))
    assert (machine.outcomes[0].status, machine.outcomes[0].fault_address) == (FAULTED, 0x10001000)
    assert machine.faults == 1
    assert bytes(machine.uc.mem_read(0x10000000, 0x1000)) == b"\x77" * 0x1000


def test_an_image_that_cannot_be_read_is_not_sent() -> None:
    tee = Tee()
    machine = BareA7(monitor=tee)
    machine.run((INVOKE, 0, 7, 1, 0x51, 2, 0, 0, NOWHERE, 64))
    assert tee.messages == []
    assert (machine.outcomes[0].status, machine.outcomes[0].fault_kind) == (FAULTED, DATA)


def test_call_returns_the_result_of_arm_and_thumb_code() -> None:
    machine = BareA7()
    machine.uc.mem_write(CODE, struct.pack("<2I", 0xE3A0002A, 0xE12FFF1E))  # mov r0, #42; bx lr
    machine.uc.mem_write(CODE + 0x100, struct.pack("<2H", 0x2007, 0x4770))  # movs r0, #7; bx lr
    machine.run((CALL, 0, CODE), (CALL, 0, CODE + 0x101))
    assert [(o.status, o.result[0]) for o in machine.outcomes] == [(DONE, 42), (DONE, 7)]


@pytest.mark.parametrize(
    ("code", "thumb"),
    [
        (struct.pack("<3I", 0xE3A0002A, 0xE7F000F0, 0xE12FFF1E), 0),  # mov r0, #42; udf; bx lr
        (struct.pack("<3H", 0x202A, 0xDE00, 0x4770), 1),  # the same in Thumb
        (struct.pack("<4H", 0x202A, 0xF7F0, 0xA000, 0x4770), 1),  # with the 32-bit udf.w
    ],
)
def test_an_undefined_instruction_in_called_code_is_recorded_and_stepped_over(code: bytes, thumb: int) -> None:
    machine = BareA7()
    machine.uc.mem_write(CODE, code)
    machine.run((CALL, 0, CODE | thumb))
    outcome = machine.outcomes[0]
    assert (outcome.status, outcome.fault_kind, outcome.result[0]) == (FAULTED, UNDEFINED, 42)
    assert outcome.fault_pc == CODE + (2 if thumb else 4)


@pytest.mark.parametrize("address", [NOWHERE, CODE])
def test_a_prefetch_abort_ends_the_called_code_and_its_stack(address: int) -> None:
    machine = BareA7()
    code = (0xE52D4004, 0xE3A04000, 0xE59FF000, 0xE1A00000, NOWHERE)  # push {r4}; mov r4, #0; ldr pc, NOWHERE
    machine.uc.mem_write(CODE, struct.pack("<5I", *code))
    assert machine.run(*[(CALL, 0, address)] * 3, (READ32, 0, STAGING)) == 4
    for outcome in machine.outcomes[:3]:
        assert (outcome.status, outcome.fault_kind, outcome.fault_status) == (FAULTED, PREFETCH, 0x1008)
        assert outcome.fault_address == outcome.fault_pc == NOWHERE
    assert machine.outcomes[3].status == DONE


def test_wait32_ends_with_the_value_or_after_the_most_reads() -> None:
    machine = BareA7()
    machine.uc.mem_write(STAGING, struct.pack("<I", 0x12345678))
    machine.run((WAIT32, 0, STAGING, 0xFF, 0x78, 5), (WAIT32, 0, STAGING, 0xFF, 0x79, 5), (WAIT32, 0, STAGING, 0, 0, 0))
    assert [(o.status, o.result[0]) for o in machine.outcomes] == [
        (DONE, 0x12345678), (TIMED_OUT, 0x12345678), (TIMED_OUT, 0)
    ]  # fmt: skip


ESSENTIAL = 2


@pytest.mark.parametrize(
    "step",
    [
        (READ32, ESSENTIAL, NOWHERE),
        (WAIT32, ESSENTIAL, STAGING, 1, 1, 1),
        (99, ESSENTIAL),
        (INVOKE, ESSENTIAL, 7, 1, 0, 5),
        (CLOSE, ESSENTIAL, 7),
    ],
)
def test_after_an_essential_step_that_failed_the_client_goes_on_at_on_error(step: tuple[int, ...]) -> None:
    machine = BareA7(monitor=Tee(ret=0xFFFF0006))
    assert machine.run(step, (SPIN, 0, 1), (SPIN, 0, 1), on_error=2) == 2
    assert [o.status == NOT_REACHED for o in machine.outcomes] == [False, True, False]


@pytest.mark.parametrize("step", [(READ32, 0, NOWHERE), (CLOSE, 0, 7), (SMC, ESSENTIAL, 1), (SPIN, ESSENTIAL, 1)])
def test_a_step_that_is_not_essential_or_did_not_fail_is_followed_by_the_next(step: tuple[int, ...]) -> None:
    machine = BareA7(monitor=lambda _m, _r: (0xFFFFFFFF, 0xFFFF0006, 0, 0))
    assert machine.run(step, (SPIN, 0, 1), (SPIN, 0, 1), on_error=2) == 3


@pytest.mark.parametrize("on_error", [0, 1, 3, 0xFFFFFFFF])
def test_on_error_never_leads_backwards_or_out_of_the_list(on_error: int) -> None:
    machine = BareA7()
    assert machine.run((SPIN, 0, 1), (99, ESSENTIAL), (SPIN, 0, 1), on_error=on_error) == (3 if on_error < 3 else 2)


def test_wait32_spins_between_two_reads() -> None:
    counts = []
    for pause in (0, 1000):
        machine = BareA7()
        executed = 0

        def count(_uc: object, _address: int, _size: int, _data: object) -> None:
            nonlocal executed
            executed += 1

        machine.uc.hook_add(UC_HOOK_CODE, count)
        machine.run((WAIT32, 0, STAGING, 1, 1, 3, pause))
        counts.append(executed)
    assert 3 * 2 * 1000 <= counts[1] - counts[0] < 3 * 2 * 1000 + 50


def test_an_unknown_op_is_reported_and_passed_over() -> None:
    machine = BareA7()
    assert machine.run((0, 0), (99, 0), (0xFFFFFFFF, 0), (SPIN, 0, 3)) == 4
    assert [o.status for o in machine.outcomes] == [UNKNOWN_OP, UNKNOWN_OP, UNKNOWN_OP, DONE]


def test_off_counts_itself_as_done_before_the_machine_is_gone() -> None:
    machine = BareA7()
    assert machine.run((SPIN, 0, 0), (OFF, 1), (SPIN, 0, 0)) == 2
    assert [o.status for o in machine.outcomes] == [DONE, DONE, NOT_REACHED]
    assert machine.smcs[-1][0] == 0x84000008


@pytest.mark.parametrize("broken", [{"magic": 0}, {"version": 2}, {"count": 8192}, {"count": 0xFFFFFFFF}])
def test_a_list_that_is_not_valid_runs_nothing(broken: dict[str, int]) -> None:
    machine = BareA7()
    assert machine.run((WRITE32, 0, STAGING, 1), **broken) == 0
    assert machine.outcomes[0].status == NOT_REACHED
    assert machine.word(STAGING) == 0
    assert machine.console == "a7: no valid step list\n"


def test_the_longest_list_runs_to_its_end() -> None:
    machine = BareA7()
    assert machine.run(*[(SPIN, 0, 0)] * 8191) == 8191
    assert {o.status for o in machine.outcomes} == {DONE}


def test_console_lines_tell_how_each_step_ended() -> None:
    tee = Tee(ret=0xFFFF3072)
    machine = BareA7(monitor=tee)
    machine.uc.mem_write(STAGING, b"text of the host\n\0")
    machine.run(
        (INVOKE, 1, 7, 1, 0x51, 2, 0, 0, STAGING, 64),
        (READ32, 1, STAGING),
        (WRITE32, 1, NOWHERE, 1),
        (WAIT32, 1, STAGING, 0xFF, 0, 1),
        (PUTS, 0, STAGING),
        (INVOKE, 1, 7, 1, 0x51, 9),
        (READ32, 0, STAGING),
        (77, 1),
    )
    lines = machine.console.splitlines()
    assert lines[:2] == ["a7: LOAD_FW -> 0xffff3072 origin 4", "a7: READ32 0xc2000000 -> 0x74786574"]
    assert lines[2].startswith("a7: WRITE32 0x38000000 -> data abort status 0x00001008 address 0x38000000 pc 0xc000")
    assert lines[3:] == [
        "a7: WAIT32 0xc2000000 -> timed out, last value 0x74786574",
        "text of the host",
        "a7: LOAD_FW -> SMC error 0x00000005",
        "a7: UNKNOWN -> unknown op 0x0000004d",
    ]


def test_a_text_without_end_stops_after_4096_characters() -> None:
    machine = BareA7()
    machine.uc.mem_write(STAGING, b"x" * 5000)
    machine.run((PUTS, 0, STAGING))
    assert len(machine.console) == 4096


def test_a_uart_that_is_never_ready_does_not_hang_the_client() -> None:
    machine = BareA7(uart_ready=False)
    machine.uc.mem_write(STAGING, b"xy\0")
    assert machine.run((PUTS, 0, STAGING), (SPIN, 0, 1)) == 2
    assert machine.console == ""
