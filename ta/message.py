"""The OP-TEE message protocol: OPEN_SESSION, INVOKE_COMMAND, CLOSE_SESSION and CANCEL in shared memory.

Layout and rules of `core/include/optee_msg.h` and `core/tee/entry_std.c`, as a build with reserved shared memory and
without dynamic shared memory answers. Each field of a message is read once.
"""

from __future__ import annotations

import enum
import struct
import uuid
from dataclasses import dataclass

from ta.errors import BusFault
from ta.memory_map import SHM_ADDRESS, SHM_SIZE
from ta.params import MemRef, Param, Params, ParamType, Value
from ta.ports import SecureBus, write32
from ta.results import Origin, RefusedError, TeeResult
from ta.shared_memory import SharedMemory
from ta.tee_core import TeeCore

HEADER_SIZE = 32
PARAM_SIZE = 32
MAX_PARAMS = (4096 - HEADER_SIZE) // PARAM_SIZE
TEE_PARAMS = 4

# Offsets in struct optee_msg_arg.
_CMD, _FUNC, _SESSION, _RET, _RET_ORIGIN, _NUM_PARAMS = 0, 4, 8, 20, 24, 28

ATTR_TYPE_MASK = 0xFF
ATTR_META = 1 << 8
ATTR_NONCONTIG = 1 << 9
_META_VALUE_INPUT = ATTR_META | 1
_TMEM_TO_PARAM = {9: ParamType.MEMREF_INPUT, 10: ParamType.MEMREF_OUTPUT, 11: ParamType.MEMREF_INOUT}
_VALUES = {1: ParamType.VALUE_INPUT, 2: ParamType.VALUE_OUTPUT, 3: ParamType.VALUE_INOUT}
#: TEE_LOGIN_*: public, user, group, application (and with user, with group), REE kernel.
_LOGINS = (0, 1, 2, 4, 5, 6, 0x80000000)
_U32 = 0xFFFFFFFF


class MessageCommand(enum.IntEnum):
    """OPTEE_MSG_CMD_* that this build serves."""

    OPEN_SESSION = 0
    INVOKE_COMMAND = 1
    CLOSE_SESSION = 2
    CANCEL = 3


class CallResult(enum.IntEnum):
    """OPTEE_SMC_RETURN_*: how the call itself ended, apart from the result in the message."""

    OK = 0
    EBUSY = 2
    ERESUME = 3
    EBADADDR = 4
    EBADCMD = 5
    ENOTAVAIL = 7
    UNKNOWN_FUNCTION = 0xFFFFFFFF


@dataclass(frozen=True)
class MessageParam:
    """One parameter as it was read: its attribute and three 64-bit words."""

    attr: int
    words: tuple[int, int, int]


class MessageServer:
    """Serves the messages of the normal world."""

    def __init__(self, bus: SecureBus, memory: SharedMemory, core: TeeCore) -> None:
        self._bus = bus
        self._memory = memory
        self._core = core

    def serve(self, address: int) -> CallResult:
        """Serve the message at an A7 physical address; EBADADDR when it does not lie in memory that both share."""
        if address % 8 or not inside_shm(address, HEADER_SIZE):
            return CallResult.EBADADDR
        try:
            return self._serve(address)
        except BusFault:
            return CallResult.EBADADDR

    def _serve(self, address: int) -> CallResult:
        count = self._u32(address + _NUM_PARAMS)
        if count > MAX_PARAMS or not inside_shm(address, HEADER_SIZE + count * PARAM_SIZE):
            return CallResult.EBADADDR
        command = self._u32(address + _CMD)
        if command == MessageCommand.OPEN_SESSION:
            self._open(address, count)
        elif command == MessageCommand.INVOKE_COMMAND:
            self._invoke(address, count)
        elif command == MessageCommand.CLOSE_SESSION:
            self._by_session(address, count, close=True)
        elif command == MessageCommand.CANCEL:
            self._by_session(address, count, close=False)
        else:
            return CallResult.EBADCMD
        return CallResult.OK

    def _open(self, address: int, count: int) -> None:
        session = 0
        try:
            name, given = self._open_request(address, count)
            types, params = copy_in(given)
        except RefusedError as error:
            self._finish(address, error.result, Origin.TEE)
        else:
            answer = self._core.open_session(name, types, params)
            session = answer.session
            self._copy_out(address + HEADER_SIZE + 2 * PARAM_SIZE, given, answer.params)
            self._finish(address, answer.result, answer.origin)
        write32(self._bus, address + _SESSION, session)

    def _open_request(self, address: int, count: int) -> tuple[str, list[MessageParam]]:
        """UUID of the wanted TA and its parameters, behind two META values (UUID; client UUID and login)."""
        params = self._params(address, count)
        if count < 2 or any(param.attr != _META_VALUE_INPUT for param in params[:2]):
            raise RefusedError(TeeResult.BAD_PARAMETERS, "OPEN_SESSION starts with two META value parameters")
        if params[1].words[2] & _U32 not in _LOGINS:
            raise RefusedError(TeeResult.BAD_PARAMETERS, f"login method 0x{params[1].words[2]:x} is unknown")
        octets = struct.pack("<2Q", *params[0].words[:2])
        return str(uuid.UUID(bytes=octets)), params[2:]

    def _invoke(self, address: int, count: int) -> None:
        given = self._params(address, count)
        try:
            types, params = copy_in(given)
        except RefusedError as error:
            self._finish(address, error.result, Origin.TEE)
            return
        answer = self._core.invoke(self._u32(address + _SESSION), self._u32(address + _FUNC), types, params)
        self._copy_out(address + HEADER_SIZE, given, answer.params)
        self._finish(address, answer.result, answer.origin)

    def _by_session(self, address: int, count: int, *, close: bool) -> None:
        if count:
            self._finish(address, TeeResult.BAD_PARAMETERS, Origin.TEE)
            return
        session = self._u32(address + _SESSION)
        answer = self._core.close_session(session) if close else self._core.cancel(session)
        self._finish(address, answer.result, answer.origin)

    def _params(self, address: int, count: int) -> list[MessageParam]:
        raw = self._memory.read(address + HEADER_SIZE, count * PARAM_SIZE) if count else b""
        return [MessageParam(attr, (a, b, c)) for attr, a, b, c in struct.iter_unpack("<4Q", raw)]

    def _copy_out(self, address: int, given: list[MessageParam], params: Params) -> None:
        """Write the output words back, also after an error."""
        for index, asked in enumerate(given):
            at = address + index * PARAM_SIZE + 8
            param, kind = params[index], asked.attr & ATTR_TYPE_MASK
            if isinstance(param, Value) and kind in (2, 3):
                self._bus.write(at, struct.pack("<2Q", param.a, param.b))
            elif isinstance(param, MemRef) and kind in (10, 11):
                self._bus.write(at + 8, struct.pack("<Q", param.size))

    def _finish(self, address: int, result: TeeResult, origin: Origin) -> None:
        write32(self._bus, address + _RET, result)
        write32(self._bus, address + _RET_ORIGIN, origin)

    def _u32(self, address: int) -> int:
        return int.from_bytes(self._memory.read(address, 4), "little")


def inside_shm(address: int, size: int) -> bool:
    """Whether `size` bytes (0 counts as 1) at `address` lie in the reserved shared memory."""
    return address >= SHM_ADDRESS and address + max(size, 1) <= SHM_ADDRESS + SHM_SIZE


def copy_in(given: list[MessageParam]) -> tuple[int, Params]:
    """The types word and the parameters of a TA call (`copy_in_params`). Raises BAD_PARAMETERS."""
    if len(given) > TEE_PARAMS:
        raise RefusedError(TeeResult.BAD_PARAMETERS, f"{len(given)} parameters, a TA takes {TEE_PARAMS}")
    types = 0
    params: list[Param] = [Value()] * TEE_PARAMS
    for index, asked in enumerate(given):
        kind, params[index] = _copy_in_one(asked)
        types |= kind << (4 * index)
    return types, (params[0], params[1], params[2], params[3])


def _copy_in_one(asked: MessageParam) -> tuple[ParamType, Param]:
    kind = asked.attr & ATTR_TYPE_MASK
    if asked.attr & ATTR_META:
        raise RefusedError(TeeResult.BAD_PARAMETERS, "a META parameter where a TA parameter belongs")
    if kind == 0:
        return ParamType.NONE, Value()
    if kind in _VALUES:
        return _VALUES[kind], Value(asked.words[0] & _U32, asked.words[1] & _U32)
    if kind in _TMEM_TO_PARAM:
        return _TMEM_TO_PARAM[kind], _memory_reference(asked)
    raise RefusedError(TeeResult.BAD_PARAMETERS, f"parameter attribute 0x{asked.attr:x} is not served by this build")


def _memory_reference(asked: MessageParam) -> MemRef:
    """A temporary memory reference: NULL, or contiguous inside the reserved shared memory."""
    address, size = asked.words[0] & _U32, asked.words[1] & _U32
    if not address:
        return MemRef(0, 0)
    if asked.attr & ATTR_NONCONTIG or not inside_shm(address, size):
        raise RefusedError(TeeResult.BAD_PARAMETERS, f"0x{address:08x} is not in the reserved shared memory")
    return MemRef(address, size)
