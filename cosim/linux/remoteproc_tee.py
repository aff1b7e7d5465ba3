"""The kernel's TEE remoteproc driver (remoteproc_tee.c of the series "remoteproc: Add TEE support", version 22).

Any error of the TEE is -EIO, a session that cannot be opened -EINVAL. One call at a time, as under the driver's mutex.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from cosim.client import LOGIN_REE_KERNEL, TA_UUID, Command
from cosim.linux.errno import Errno, KernelError
from cosim.linux.memory import KernelMemory
from cosim.linux.optee import VALUE_INPUT, VALUE_OUTPUT, Optee, TeeAnswer, TeeParam
from ta.results import TeeResult

_HINT = "the events of the secure world say what it refused, and why"


class RemoteprocTee:
    """The backend for one remote processor: `register` opens its session, `unregister` closes it."""

    def __init__(self, optee: Optee, memory: KernelMemory, processor: int = 0) -> None:
        self._optee = optee
        self._memory = memory
        self._processor = processor
        self._session = 0

    def register(self) -> None:
        """rproc_tee_register. Raises KernelError (-EINVAL)."""
        answer = self._optee.open_session(TA_UUID, LOGIN_REE_KERNEL, [self._id()])
        if answer.result:
            raise _refused("rproc_tee_register", Errno.EINVAL, "cannot open a session", answer)
        self._session = answer.session

    def unregister(self) -> None:
        """rproc_tee_unregister; harmless without a session."""
        if self._session:
            self._optee.close_session(self._session)
            self._session = 0

    def load_fw(self, firmware: bytes) -> None:
        """rproc_tee_load_fw: LOAD_FW with the whole file; the shared memory is given back right after."""
        with self._optee.shared(firmware) as buffer:
            self._invoke("rproc_tee_load_fw", Command.LOAD_FW, [self._id(), buffer])

    def resource_table(self, function: str) -> tuple[int, int]:
        """GET_RSC_TABLE: physical address and size; size 0 means that the firmware has none."""
        output = TeeParam(VALUE_OUTPUT)
        answer = self._invoke(function, Command.GET_RSC_TABLE, [self._id(), output, output])
        address, size = answer.params[1:3]
        return address.a | address.b << 32, size.a | size.b << 32

    def parse_fw(self, firmware: bytes) -> bytes | None:
        """rproc_tee_parse_fw: load, then copy the table that the TA points at; None when there is none.

        A failure releases the firmware before it is reported.
        """
        self.load_fw(firmware)
        try:
            address, size = self.resource_table("rproc_tee_parse_fw")
            return self._memory.read(address, size, "rproc_tee_parse_fw") if size else None
        except KernelError:
            with contextlib.suppress(KernelError):
                self.release_fw()
            raise

    def start(self) -> None:
        """rproc_tee_start."""
        self._invoke("rproc_tee_start", Command.START_FW, [self._id()])

    def stop(self) -> None:
        """rproc_tee_stop."""
        self._invoke("rproc_tee_stop", Command.STOP_FW, [self._id()])

    def release_fw(self) -> None:
        """rproc_tee_release_fw."""
        self._invoke("rproc_tee_release_fw", Command.RELEASE_FW, [self._id()])

    def _id(self) -> TeeParam:
        return TeeParam(VALUE_INPUT, self._processor)

    def _invoke(self, function: str, command: Command, params: Sequence[TeeParam]) -> TeeAnswer:
        if not self._session:
            raise KernelError(function, Errno.EINVAL, "the processor is not registered")
        answer = self._optee.invoke(self._session, command, params)
        if answer.result:
            raise _refused(function, Errno.EIO, f"{command.name} failed", answer)
        return answer


def _refused(function: str, errno: Errno, what: str, answer: TeeAnswer) -> KernelError:
    known = {int(result): result.full_name for result in TeeResult}
    name = known.get(answer.result, f"0x{answer.result:08x}")
    return KernelError(
        function,
        errno,
        f"{what} with {name}, origin {answer.origin}",
        hint=_HINT,
        result=answer.result,
        result_name=name,
        origin=answer.origin,
    )
