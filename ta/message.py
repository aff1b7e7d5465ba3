"""The OP-TEE message protocol: sessions, commands and the registration of shared memory.

Layout and rules of `core/include/optee_msg.h` and `core/tee/entry_std.c`. A build with reserved shared memory takes
messages and buffers from there, one with dynamic shared memory from pages of the normal world's DDR. Each field of a
message is read once. No call returns for an RPC: the TA is built in, and the secure world's work takes no time.
"""

from __future__ import annotations

import enum
import struct
import uuid
from dataclasses import dataclass

from ta.errors import BusFault
from ta.events import SharedMemoryRegistration
from ta.memory_map import PAGE, SHM_ADDRESS, SHM_SIZE
from ta.params import MemRef, Param, Params, ParamType, Value
from ta.ports import Sink
from ta.profile import ShmBuild
from ta.registered_memory import RegisteredMemory, in_normal_ddr, read_page_list
from ta.results import Origin, RefusedError, TeeResult
from ta.shared_memory import SharedMemory
from ta.tee_core import TeeCore

HEADER_SIZE = 32
PARAM_SIZE = 32
MAX_PARAMS = (4096 - HEADER_SIZE) // PARAM_SIZE
TEE_PARAMS = 4
#: Parameters of an RPC argument (THREAD_RPC_MAX_NUM_PARAMS).
RPC_PARAMS = 4

# Offsets in struct optee_msg_arg.
_CMD, _FUNC, _SESSION, _RET, _NUM_PARAMS = 0, 4, 8, 20, 28

ATTR_TYPE_MASK = 0xFF
ATTR_META = 1 << 8
ATTR_NONCONTIG = 1 << 9
_META_VALUE_INPUT = ATTR_META | 1
#: The only attribute that REGISTER_SHM takes: a temporary, output, non-contiguous memory reference.
_REGISTER_ATTR = ATTR_NONCONTIG | 10
_RMEM_TO_PARAM = {5: ParamType.MEMREF_INPUT, 6: ParamType.MEMREF_OUTPUT, 7: ParamType.MEMREF_INOUT}
_TMEM_TO_PARAM = {9: ParamType.MEMREF_INPUT, 10: ParamType.MEMREF_OUTPUT, 11: ParamType.MEMREF_INOUT}
_VALUES = {1: ParamType.VALUE_INPUT, 2: ParamType.VALUE_OUTPUT, 3: ParamType.VALUE_INOUT}
#: TEE_LOGIN_*: public, user, group, application (and with user, with group), REE kernel.
_LOGINS = (0, 1, 2, 4, 5, 6, 0x80000000)
_U32 = 0xFFFFFFFF


class MessageCommand(enum.IntEnum):
    """OPTEE_MSG_CMD_* that OP-TEE serves; the last two with dynamic shared memory only."""

    OPEN_SESSION = 0
    INVOKE_COMMAND = 1
    CLOSE_SESSION = 2
    CANCEL = 3
    REGISTER_SHM = 4
    UNREGISTER_SHM = 5


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

    def __init__(self, memory: SharedMemory, core: TeeCore, shm: ShmBuild, sink: Sink) -> None:
        self._memory = memory
        self._core = core
        self._shm = shm
        self._sink = sink
        self.registered = RegisteredMemory()

    def serve(self, address: int, *, rpc_argument: bool = False) -> CallResult:
        """Serve the message at an A7 physical address; with `rpc_argument` room for one of RPC_PARAMS follows it.

        EBADADDR when it does not lie in memory that both worlds share.
        """
        if self._shm.reserved and inside_shm(address, HEADER_SIZE):
            room, alignment = SHM_ADDRESS + SHM_SIZE - address, 8
        elif self._shm.dynamic and in_normal_ddr(address, PAGE):
            room, alignment = PAGE, PAGE
        else:
            return CallResult.EBADADDR
        if address % alignment:
            return CallResult.EBADADDR
        return self._serve(MemRef(address, room), rpc_argument=rpc_argument)

    def serve_registered(self, cookie: int, offset: int) -> CallResult:
        """Serve the message at `offset` of a registered buffer, followed by room for an RPC argument."""
        buffer = self.registered.find(cookie)
        if buffer is None or (buffer.address + offset) % 8 or offset + HEADER_SIZE > buffer.size:
            return CallResult.EBADADDR
        return self._serve(self.registered.slice(cookie, offset, buffer.size - offset), rpc_argument=True)

    def _serve(self, room: MemRef, *, rpc_argument: bool) -> CallResult:
        """Serve the message at the start of `room`, which it may not leave."""
        try:
            count = self._u32(room, _NUM_PARAMS)
            size = message_size(count) + (message_size(RPC_PARAMS) if rpc_argument else 0)
            if count > MAX_PARAMS or size > room.size:
                return CallResult.EBADADDR
            return self._dispatch(room, self._u32(room, _CMD), count)
        except BusFault:
            return CallResult.EBADADDR

    def _dispatch(self, message: MemRef, command: int, count: int) -> CallResult:
        if command == MessageCommand.OPEN_SESSION:
            self._open(message, count)
        elif command == MessageCommand.INVOKE_COMMAND:
            self._invoke(message, count)
        elif command in (MessageCommand.CLOSE_SESSION, MessageCommand.CANCEL):
            self._by_session(message, count, close=command == MessageCommand.CLOSE_SESSION)
        elif self._shm.dynamic and command in (MessageCommand.REGISTER_SHM, MessageCommand.UNREGISTER_SHM):
            self._share(message, count, register=command == MessageCommand.REGISTER_SHM)
        else:
            return CallResult.EBADCMD
        return CallResult.OK

    def _open(self, message: MemRef, count: int) -> None:
        session = 0
        try:
            name, given = self._open_request(message, count)
            types, params = self._copy_in(given)
        except RefusedError as error:
            self._finish(message, error.result, Origin.TEE)
        else:
            answer = self._core.open_session(name, types, params)
            session = answer.session
            self._copy_out(message, HEADER_SIZE + 2 * PARAM_SIZE, given, answer.params)
            self._finish(message, answer.result, answer.origin)
        self._write(message, _SESSION, "<I", session)

    def _open_request(self, message: MemRef, count: int) -> tuple[str, list[MessageParam]]:
        """UUID of the wanted TA and its parameters, behind two META values (UUID; client UUID and login)."""
        params = self._params(message, count)
        if count < 2 or any(param.attr != _META_VALUE_INPUT for param in params[:2]):
            raise RefusedError(TeeResult.BAD_PARAMETERS, "OPEN_SESSION starts with two META value parameters")
        if params[1].words[2] & _U32 not in _LOGINS:
            raise RefusedError(TeeResult.BAD_PARAMETERS, f"login method 0x{params[1].words[2]:x} is unknown")
        octets = struct.pack("<2Q", *params[0].words[:2])
        return str(uuid.UUID(bytes=octets)), params[2:]

    def _invoke(self, message: MemRef, count: int) -> None:
        given = self._params(message, count)
        try:
            types, params = self._copy_in(given)
        except RefusedError as error:
            self._finish(message, error.result, Origin.TEE)
            return
        answer = self._core.invoke(self._u32(message, _SESSION), self._u32(message, _FUNC), types, params)
        self._copy_out(message, HEADER_SIZE, given, answer.params)
        self._finish(message, answer.result, answer.origin)

    def _by_session(self, message: MemRef, count: int, *, close: bool) -> None:
        if count:
            self._finish(message, TeeResult.BAD_PARAMETERS, Origin.TEE)
            return
        session = self._u32(message, _SESSION)
        answer = self._core.close_session(session) if close else self._core.cancel(session)
        self._finish(message, answer.result, answer.origin)

    def _share(self, message: MemRef, count: int, *, register: bool) -> None:
        """REGISTER_SHM and UNREGISTER_SHM: one parameter; the cookie is its third word."""
        params = self._params(message, count)
        pointer, size, cookie = params[0].words if count == 1 else (0, 0, 0)
        buffer = MemRef(0, size if register else 0)
        result, reason = TeeResult.SUCCESS, ""
        try:
            if count != 1 or (register and params[0].attr != _REGISTER_ATTR):
                raise RefusedError(TeeResult.BAD_PARAMETERS, "one memory reference is registered or released at a time")
            if register:
                pages = read_page_list(self._memory, pointer, size)
                self.registered.register(cookie, pages)
                buffer = pages
            else:
                buffer = self.registered.release(cookie)
        except RefusedError as error:
            result, reason = error.result, error.message
        name = (MessageCommand.REGISTER_SHM if register else MessageCommand.UNREGISTER_SHM).name
        where = (buffer.address, buffer.size, len(buffer.pages))
        self._sink(SharedMemoryRegistration(name, cookie, *where, int(result), result.full_name, reason))
        self._finish(message, result, Origin.TEE)

    def _params(self, message: MemRef, count: int) -> list[MessageParam]:
        raw = self._memory.read_from(message, HEADER_SIZE, count * PARAM_SIZE) if count else b""
        return [MessageParam(attr, (a, b, c)) for attr, a, b, c in struct.iter_unpack("<4Q", raw)]

    def _copy_in(self, given: list[MessageParam]) -> tuple[int, Params]:
        """The types word and the parameters of a TA call (`copy_in_params`). Raises BAD_PARAMETERS or SECURITY."""
        if len(given) > TEE_PARAMS:
            raise RefusedError(TeeResult.BAD_PARAMETERS, f"{len(given)} parameters, a TA takes {TEE_PARAMS}")
        types = 0
        params: list[Param] = [Value()] * TEE_PARAMS
        for index, asked in enumerate(given):
            kind, params[index] = self._copy_in_one(asked)
            types |= kind << (4 * index)
        return types, (params[0], params[1], params[2], params[3])

    def _copy_in_one(self, asked: MessageParam) -> tuple[ParamType, Param]:
        kind = asked.attr & ATTR_TYPE_MASK
        if asked.attr & ATTR_META:
            raise RefusedError(TeeResult.BAD_PARAMETERS, "a META parameter where a TA parameter belongs")
        if kind == 0:
            return ParamType.NONE, Value()
        if kind in _VALUES:
            return _VALUES[kind], Value(asked.words[0] & _U32, asked.words[1] & _U32)
        if kind in _TMEM_TO_PARAM:
            return _TMEM_TO_PARAM[kind], self._temporary(asked)
        if kind in _RMEM_TO_PARAM and self._shm.dynamic:
            offset, size, cookie = asked.words
            return _RMEM_TO_PARAM[kind], self.registered.slice(cookie, offset, size)
        raise RefusedError(
            TeeResult.BAD_PARAMETERS, f"parameter attribute 0x{asked.attr:x} is not served by this build"
        )

    def _temporary(self, asked: MessageParam) -> MemRef:
        """A temporary memory reference: NULL, contiguous in the reserved memory, or a page list."""
        pointer, size, _ = asked.words
        if asked.attr & ATTR_NONCONTIG and self._shm.dynamic:
            return read_page_list(self._memory, pointer, size)
        address, size = pointer & _U32, size & _U32
        if not address:
            return MemRef(0, 0)
        if asked.attr & ATTR_NONCONTIG or not self._shm.reserved or not inside_shm(address, size):
            raise RefusedError(TeeResult.BAD_PARAMETERS, f"0x{address:08x} is not in the reserved shared memory")
        return MemRef(address, size)

    def _copy_out(self, message: MemRef, start: int, given: list[MessageParam], params: Params) -> None:
        """Write the output words back, also after an error."""
        for index, asked in enumerate(given):
            at = start + index * PARAM_SIZE + 8
            param, kind = params[index], asked.attr & ATTR_TYPE_MASK
            if isinstance(param, Value) and kind in (2, 3):
                self._write(message, at, "<2Q", param.a, param.b)
            elif isinstance(param, MemRef) and kind in (6, 7, 10, 11):
                self._write(message, at + 8, "<Q", param.size)

    def _finish(self, message: MemRef, result: TeeResult, origin: Origin) -> None:
        self._write(message, _RET, "<2I", result, origin)

    def _u32(self, message: MemRef, offset: int) -> int:
        return int.from_bytes(self._memory.read_from(message, offset, 4), "little")

    def _write(self, message: MemRef, offset: int, layout: str, *words: int) -> None:
        self._memory.write_to(message, offset, struct.pack(layout, *words))


def message_size(params: int) -> int:
    """Bytes of a message with that many parameters (OPTEE_MSG_GET_ARG_SIZE)."""
    return HEADER_SIZE + params * PARAM_SIZE


def inside_shm(address: int, size: int) -> bool:
    """Whether `size` bytes (0 counts as 1) at `address` lie in the reserved shared memory."""
    return address >= SHM_ADDRESS and address + max(size, 1) <= SHM_ADDRESS + SHM_SIZE
