"""The kernel's OP-TEE driver: messages in reserved shared memory and `smc #0`, one call at a time.

Layout of drivers/tee/optee (optee_msg.h, optee_smc.h). Reserved shared memory is what is used: a buffer of the kernel
is copied there for the call, where a kernel with dynamic shared memory would register its pages.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from cosim.linux.errno import Errno, KernelError
from cosim.linux.memory import KernelMemory
from ta.message import ATTR_META, CallResult, MessageCommand
from ta.smc import API_UID, FunctionId

#: Serves `smc #0`: r0..r7 in, r0..r3 out.
Smc = Callable[[tuple[int, ...]], tuple[int, int, int, int]]

_HEADER = struct.Struct("<8I")
_PARAM = struct.Struct("<4Q")
_PAGE = 0x1000
#: Message arguments come first in the shared memory, buffers behind.
_ARGUMENTS = 0x10000
_WORD = 0xFFFFFFFF
LOGIN_REE_KERNEL = 0x80000000
VALUE_INPUT, VALUE_OUTPUT, MEMREF_INPUT = 1, 2, 9


@dataclass(frozen=True)
class TeeParam:
    """A parameter of a TEE call: message attribute (VALUE_INPUT, VALUE_OUTPUT, MEMREF_INPUT) and its words."""

    attr: int
    a: int = 0
    b: int = 0


@dataclass(frozen=True)
class TeeAnswer:
    """What a call returned: TEE_Result, origin, session, and the words of the parameters after the call."""

    result: int
    origin: int
    session: int
    params: tuple[TeeParam, ...]


class Optee:
    """The driver after its probe. `probe` raises KernelError (-ENODEV, -EINVAL) when OP-TEE is not what it expects."""

    def __init__(self, memory: KernelMemory, smc: Smc) -> None:
        self._memory = memory
        self._smc = smc
        self._base = self._size = self._used = 0

    def probe(self) -> None:
        """Identify the secure world and find its shared memory (optee_probe)."""
        if self._call(FunctionId.CALLS_UID) != API_UID:
            raise KernelError("optee_probe", Errno.EINVAL, "api uid mismatch", hint="OP-TEE does not answer")
        if self._call(FunctionId.CALLS_REVISION)[0] != 2:
            raise KernelError("optee_probe", Errno.EINVAL, "api revision mismatch")
        status, capabilities, *_ = self._call(FunctionId.EXCHANGE_CAPABILITIES, 1)
        if status or not capabilities & 1:
            raise KernelError("optee_probe", Errno.EINVAL, "no reserved shared memory", capabilities=capabilities)
        status, self._base, self._size, _ = self._call(FunctionId.GET_SHM_CONFIG)
        if status or self._size <= _ARGUMENTS:
            raise KernelError("optee_config_shm_memremap", Errno.EINVAL, "shared memory is not available")
        self._used = _ARGUMENTS

    @contextmanager
    def shared(self, data: bytes) -> Iterator[TeeParam]:
        """`data` in shared memory for one call. Raises KernelError (-ENOMEM) when it does not fit."""
        size = -(-max(len(data), 1) // _PAGE) * _PAGE
        if self._used + size > self._size:
            raise KernelError(
                "tee_shm_register_kernel_buf",
                Errno.ENOMEM,
                f"{len(data)} bytes do not fit the shared memory of {self._size} bytes",
                size=len(data),
            )
        start = self._used
        self._used += size
        try:
            self._memory.write(self._base + start, data)
            yield TeeParam(MEMREF_INPUT, self._base + start, len(data))
        finally:
            self._used = start

    def open_session(self, name: uuid.UUID, login: int, params: Sequence[TeeParam]) -> TeeAnswer:
        """OPEN_SESSION with the trusted application `name`."""
        first, second = struct.unpack("<2Q", name.bytes)
        meta = [(VALUE_INPUT | ATTR_META, first, second, 0), (VALUE_INPUT | ATTR_META, 0, 0, login)]
        return self._message(MessageCommand.OPEN_SESSION, 0, 0, meta, params)

    def invoke(self, session: int, function: int, params: Sequence[TeeParam]) -> TeeAnswer:
        """INVOKE_COMMAND."""
        return self._message(MessageCommand.INVOKE_COMMAND, function, session, [], params)

    def close_session(self, session: int) -> TeeAnswer:
        """CLOSE_SESSION."""
        return self._message(MessageCommand.CLOSE_SESSION, 0, session, [], ())

    def _message(
        self,
        command: MessageCommand,
        function: int,
        session: int,
        meta: Sequence[tuple[int, int, int, int]],
        params: Sequence[TeeParam],
    ) -> TeeAnswer:
        words = [*meta, *((p.attr, p.a, p.b, 0) for p in params)]
        message = _HEADER.pack(command, function, session, 0, 0, _WORD, 0, len(words))
        self._memory.write(self._base, message + b"".join(_PARAM.pack(*w) for w in words), "optee_do_call_with_arg")
        status = self._call(FunctionId.CALL_WITH_ARG, self._base >> 32, self._base & _WORD)[0]
        if status != CallResult.OK:
            raise KernelError("optee_do_call_with_arg", Errno.EINVAL, f"SMC returned 0x{status:08x}", smc_status=status)
        raw = self._memory.read(self._base, _HEADER.size + len(words) * _PARAM.size, "optee_from_msg_param")
        header = _HEADER.unpack_from(raw)
        after = [_PARAM.unpack_from(raw, _HEADER.size + n * _PARAM.size) for n in range(len(meta), len(words))]
        return TeeAnswer(header[5], header[6], header[2], tuple(TeeParam(*w[:3]) for w in after))

    def _call(self, function: int, *arguments: int) -> tuple[int, int, int, int]:
        return self._smc((function, *arguments, *[0] * (7 - len(arguments))))
