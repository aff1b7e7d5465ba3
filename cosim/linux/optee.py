"""The kernel's OP-TEE driver: messages and `smc #0`, one call at a time, and the memory that both worlds share.

Layout of drivers/tee/optee (optee_msg.h, optee_smc.h). Where OP-TEE offers dynamic shared memory the pages of a buffer
are registered for the call (optee_shm_register in smc_abi.c), else it is copied into the reserved shared memory.
"""

from __future__ import annotations

import contextlib
import struct
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from cosim.linux.errno import Errno, KernelError
from cosim.linux.memory import KernelMemory
from ta.memory_map import PAGE
from ta.message import ATTR_META, ATTR_NONCONTIG, CallResult, MessageCommand
from ta.smc import API_UID, FunctionId

#: Serves `smc #0`: r0..r7 in, r0..r3 out.
Smc = Callable[[tuple[int, ...]], tuple[int, int, int, int]]

_HEADER = struct.Struct("<8I")
_PARAM = struct.Struct("<4Q")
#: OPTEE_SMC_SEC_CAP_*.
_HAVE_RESERVED_SHM, _DYNAMIC_SHM = 1 << 0, 1 << 2
#: DDR that stands for pages of the kernel: room for a buffer as large as the secure world maps, and its page lists.
KERNEL_PAGES, KERNEL_PAGES_SIZE = 0xD1000000, 0x4100000
#: Message arguments come first in the memory, buffers behind.
_ARGUMENTS = 0x10000
#: A page of a page list: addresses of pages, and that of its next page.
_LIST = struct.Struct("<512Q")
_LIST_ENTRIES = 511
_WORD = 0xFFFFFFFF
LOGIN_REE_KERNEL = 0x80000000
VALUE_INPUT, VALUE_OUTPUT, RMEM_INPUT, TMEM_INPUT, TMEM_OUTPUT = 1, 2, 5, 9, 10


@dataclass(frozen=True)
class TeeParam:
    """A parameter of a TEE call: message attribute (VALUE_INPUT, VALUE_OUTPUT, …) and its words."""

    attr: int
    a: int = 0
    b: int = 0
    c: int = 0


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
        self._dynamic = False

    def probe(self) -> None:
        """Identify the secure world and find its shared memory (optee_probe)."""
        if self._call(FunctionId.CALLS_UID) != API_UID:
            raise KernelError("optee_probe", Errno.EINVAL, "api uid mismatch", hint="OP-TEE does not answer")
        if self._call(FunctionId.CALLS_REVISION)[0] != 2:
            raise KernelError("optee_probe", Errno.EINVAL, "api revision mismatch")
        status, capabilities, *_ = self._call(FunctionId.EXCHANGE_CAPABILITIES, 1)
        self._dynamic = bool(capabilities & _DYNAMIC_SHM)
        if status or not capabilities & (_DYNAMIC_SHM | _HAVE_RESERVED_SHM):
            raise KernelError("optee_probe", Errno.EINVAL, "no shared memory", capabilities=capabilities)
        self._base, self._size = KERNEL_PAGES, KERNEL_PAGES_SIZE
        if not self._dynamic:
            status, self._base, self._size, _ = self._call(FunctionId.GET_SHM_CONFIG)
        if status or self._size <= _ARGUMENTS:
            raise KernelError("optee_config_shm_memremap", Errno.EINVAL, "shared memory is not available")
        self._used = _ARGUMENTS

    @contextlib.contextmanager
    def shared(self, data: bytes) -> Iterator[TeeParam]:
        """`data` in shared memory for one call (tee_shm_register_kernel_buf).

        Raises KernelError: -ENOMEM when it is empty or does not fit, -EINVAL when the secure world does not take it.
        """
        pages = -(-len(data) // PAGE)
        lists = -(-pages // _LIST_ENTRIES) if self._dynamic else 0
        size, used = (lists + pages) * PAGE, self._used
        if not data or used + size > self._size:
            raise KernelError(
                "tee_shm_register_kernel_buf",
                Errno.ENOMEM,
                f"{len(data)} bytes are no buffer for the shared memory of {self._size} bytes",
                size=len(data),
            )
        start = self._base + used
        buffer = start + lists * PAGE
        self._used += size
        try:
            self._memory.write(buffer, data)
            if not self._dynamic:
                yield TeeParam(TMEM_INPUT, buffer, len(data))
                return
            with self._registered(start, buffer, pages, len(data)) as cookie:
                yield TeeParam(RMEM_INPUT, 0, len(data), cookie)
        finally:
            self._used = used

    @contextlib.contextmanager
    def _registered(self, lists: int, buffer: int, pages: int, size: int) -> Iterator[int]:
        """The cookie of the `pages` pages of `buffer`, as long as they are registered; `lists` is room for their list.

        optee_shm_register and optee_shm_unregister. The address of the list is the cookie: no other buffer has it.
        """
        addresses = [buffer + n * PAGE for n in range(pages)]
        for n, first in enumerate(range(0, pages, _LIST_ENTRIES)):
            entries = addresses[first : first + _LIST_ENTRIES]
            following = lists + (n + 1) * PAGE if first + _LIST_ENTRIES < pages else 0
            page = _LIST.pack(*entries, *[0] * (_LIST_ENTRIES - len(entries)), following)
            self._memory.write(lists + n * PAGE, page, "optee_fill_pages_list")
        params = [TeeParam(TMEM_OUTPUT | ATTR_NONCONTIG, lists, size, lists)]
        answer = self._message(MessageCommand.REGISTER_SHM, 0, 0, [], params)
        if answer.result:
            what = f"the secure world does not take {size} bytes of shared memory: 0x{answer.result:08x}"
            raise KernelError("optee_shm_register", Errno.EINVAL, what, result=answer.result, size=size)
        try:
            yield lists
        finally:
            # tee_shm_release has nobody to tell.
            with contextlib.suppress(KernelError):
                self._message(MessageCommand.UNREGISTER_SHM, 0, 0, [], [TeeParam(RMEM_INPUT, c=lists)])

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
        words = [*meta, *((p.attr, p.a, p.b, p.c) for p in params)]
        message = _HEADER.pack(command, function, session, 0, 0, _WORD, 0, len(words))
        self._memory.write(self._base, message + b"".join(_PARAM.pack(*w) for w in words), "optee_do_call_with_arg")
        status = self._call(FunctionId.CALL_WITH_ARG, self._base >> 32, self._base & _WORD)[0]
        if status != CallResult.OK:
            raise KernelError("optee_do_call_with_arg", Errno.EINVAL, f"SMC returned 0x{status:08x}", smc_status=status)
        raw = self._memory.read(self._base, _HEADER.size + len(words) * _PARAM.size, "optee_from_msg_param")
        header = _HEADER.unpack_from(raw)
        after = [_PARAM.unpack_from(raw, _HEADER.size + n * _PARAM.size) for n in range(len(meta), len(words))]
        return TeeAnswer(header[5], header[6], header[2], tuple(TeeParam(*w) for w in after))

    def _call(self, function: int, *arguments: int) -> tuple[int, int, int, int]:
        return self._smc((function, *arguments, *[0] * (7 - len(arguments))))
