"""The normal-world client seen from the host: step lists for the real A7 program, and what came of each step.

A *script* is a list of steps; the client in `firmware/prebuilt/a7_client.elf` runs it with real `smc #0`. The layout of
steps and of the normal world's memory is in `docs/architecture.md`.
"""

from __future__ import annotations

import enum
import struct
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace

from cosim.errors import UsageError
from ta import remoteproc_ta

STEPS_BASE, STEPS_SIZE = 0xC0100000, 0x100000
STAGING_BASE, STAGING_SIZE = 0xC2000000, 0x2000000

_HEADER = struct.Struct("<5I44x")
HEADER_SIZE = _HEADER.size
_STEP = struct.Struct("<16I I11I4I")
_MAGIC, _VERSION = 0x50455453, 1
MOST_STEPS = (STEPS_SIZE - _HEADER.size) // _STEP.size

TA_UUID = uuid.UUID(remoteproc_ta.TA_UUID)
LOGIN_REE_KERNEL = 0x80000000
PROCESSOR_M4 = 0


class Op(enum.IntEnum):
    """What a step does."""

    SMC = 1
    OPEN = 2
    INVOKE = 3
    CLOSE = 4
    READ32 = 5
    WRITE32 = 6
    COPY = 7
    WAIT32 = 8
    PUTS = 9
    SPIN = 10
    CALL = 11
    OFF = 12
    WAIT_IRQ = 13


class StepStatus(enum.IntEnum):
    """How a step ended."""

    DONE = 0
    TIMED_OUT = 1
    FAULTED = 2
    UNKNOWN_OP = 3
    SMC_ERROR = 4
    NOT_REACHED = 0xFFFFFFFF


class FaultKind(enum.IntEnum):
    """Which exception a step of the client took."""

    NONE = 0
    DATA_ABORT = 1
    PREFETCH_ABORT = 2
    UNDEFINED = 3


#: Commands of the remoteproc TA, as the TA itself names them.
Command = remoteproc_ta.Command

#: Parameter types of each command, lowest nibble first (TEE_PARAM_TYPES).
COMMAND_TYPES = {
    Command.LOAD_FW: 0x51,
    Command.START_FW: 0x1,
    Command.STOP_FW: 0x1,
    Command.GET_RSC_TABLE: 0x221,
    Command.GET_COREDUMP: 0x61,
    Command.RELEASE_FW: 0x1,
}


@dataclass(frozen=True)
class Step:
    """One step: operation, up to 14 arguments, whether the client reports it on its console.

    When an `essential` step fails, the client goes on at the script's `on_error` step.
    """

    op: Op
    args: tuple[int, ...] = ()
    console: bool = False
    essential: bool = False


@dataclass(frozen=True)
class StepResult:
    """What the client wrote beside a step."""

    step: Step
    status: StepStatus
    result: tuple[int, ...]
    fault: FaultKind
    fault_status: int
    fault_address: int
    fault_pc: int

    @property
    def ok(self) -> bool:
        """The step was done, and the secure world, if it was asked, answered TEE_SUCCESS."""
        return self.status is StepStatus.DONE and (self.step.op not in _TEE_OPS or self.result[1] == 0)

    @property
    def tee_result(self) -> int:
        """The TEE_Result of an OPEN, INVOKE or CLOSE."""
        return self.result[1]

    @property
    def session(self) -> int:
        """The session that an OPEN got."""
        return self.result[3]

    @property
    def table(self) -> tuple[int, int]:
        """Address and size that a GET_RSC_TABLE returned."""
        return self.result[5] | self.result[6] << 32, self.result[7] | self.result[8] << 32


_TEE_OPS = (Op.OPEN, Op.INVOKE, Op.CLOSE)


def smc(*registers: int) -> Step:
    """A bare `smc #0` with r0 to r7."""
    return Step(Op.SMC, registers)


def open_session(processor: int = PROCESSOR_M4, *, types: int = 1, login: int = LOGIN_REE_KERNEL) -> Step:
    """Open a session with the remoteproc TA, as the kernel's driver does."""
    words = struct.unpack("<4I", TA_UUID.bytes)
    return Step(Op.OPEN, (*words, login, 1, types, processor, 0), console=True)


def invoke(session: int, command: int, types: int, values: Sequence[tuple[int, int]]) -> Step:
    """Invoke a command with value pairs; a memref's pair is (staging address, size)."""
    flat = [word for pair in values for word in pair]
    return Step(Op.INVOKE, (session, command, types, len(values), *flat), console=True)


def load(session: int, address: int, size: int, processor: int = PROCESSOR_M4) -> Step:
    """LOAD_FW with the image at `address` of normal-world memory."""
    return invoke(session, Command.LOAD_FW, COMMAND_TYPES[Command.LOAD_FW], [(processor, 0), (address, size)])


def get_rsc_table(session: int, processor: int = PROCESSOR_M4) -> Step:
    """GET_RSC_TABLE."""
    types = COMMAND_TYPES[Command.GET_RSC_TABLE]
    return invoke(session, Command.GET_RSC_TABLE, types, [(processor, 0), (0, 0), (0, 0)])


def command(session: int, number: Command, processor: int = PROCESSOR_M4) -> Step:
    """START_FW, STOP_FW or RELEASE_FW."""
    return invoke(session, number, COMMAND_TYPES[number], [(processor, 0)])


def close_session(session: int) -> Step:
    """Close a session."""
    return Step(Op.CLOSE, (session,), console=True)


def read32(address: int) -> Step:
    """Read a word as the normal world."""
    return Step(Op.READ32, (address,))


def write32(address: int, value: int) -> Step:
    """Write a word as the normal world."""
    return Step(Op.WRITE32, (address, value))


def copy(destination: int, source: int, size: int) -> Step:
    """Copy bytes as the normal world."""
    return Step(Op.COPY, (destination, source, size))


def wait32(address: int, mask: int, value: int, reads: int, pause: int = 0) -> Step:
    """Read a word until `word & mask == value`, at most `reads` times, spinning `pause` iterations between reads."""
    return Step(Op.WAIT32, (address, mask, value, reads, pause))


def spin(iterations: int) -> Step:
    """Let time pass: two instructions an iteration."""
    return Step(Op.SPIN, (iterations,))


def call(address: int) -> Step:
    """Branch to `address` and come back."""
    return Step(Op.CALL, (address,))


def wait_interrupt(identifier: int, timeout_us: int = 0, *, edge: bool = False) -> Step:
    """Sleep in WFI until GIC interrupt `identifier` comes, at most `timeout_us` microseconds of the generic timer.

    0 is no limit. `identifier` is GICC_IAR's: 32 + n for SPI n. `edge` is for sources that pulse their line. Results:
    the last identifier acknowledged (1023: none), interrupts taken, spurious ones of them, timer ticks that it took.
    """
    return Step(Op.WAIT_IRQ, (identifier, timeout_us, int(edge)))


def power_off() -> Step:
    """PSCI SYSTEM_OFF; ends the run."""
    return Step(Op.OFF)


def essential(step: Step) -> Step:
    """The same step, marked essential."""
    return replace(step, essential=True)


def encode_script(steps: Sequence[Step], on_error: int = 0) -> bytes:
    """The step list as the client reads it. Raises `UsageError` for more steps or arguments than fit."""
    if len(steps) > MOST_STEPS:
        raise UsageError(f"{len(steps)} steps, at most {MOST_STEPS}", hint="split the script")
    out = bytearray(_HEADER.pack(_MAGIC, _VERSION, len(steps), 0, on_error))
    for step in steps:
        if len(step.args) > 14:
            raise UsageError(f"step {step.op.name} has {len(step.args)} arguments, at most 14")
        args = [value & 0xFFFFFFFF for value in step.args] + [0] * (14 - len(step.args))
        out += _STEP.pack(step.op, step.console | step.essential << 1, *args, StepStatus.NOT_REACHED, *[0] * 15)
    return bytes(out)


def all_done(header: bytes) -> bool:
    """Whether the client came to the end of its list, whose first `HEADER_SIZE` bytes these are."""
    _magic, _version, count, done, _on_error = _HEADER.unpack(header)
    return bool(done >= count)


def script_size(steps: int) -> int:
    """Bytes of a list of that many steps."""
    return _HEADER.size + steps * _STEP.size


def decode_results(steps: Sequence[Step], data: bytes) -> tuple[StepResult, ...]:
    """The results from the step list `data` as the client left it, which guest code may have overwritten."""
    results = []
    for index, step in enumerate(steps):
        words = _STEP.unpack_from(data, _HEADER.size + index * _STEP.size)
        status, fault = words[16], words[28]
        results.append(
            StepResult(
                step,
                StepStatus(status) if status in set(StepStatus) else StepStatus.UNKNOWN_OP,
                words[17:28],
                FaultKind(fault) if fault in set(FaultKind) else FaultKind.UNDEFINED,
                *words[29:32],
            )
        )
    return tuple(results)
