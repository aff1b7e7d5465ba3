"""The remoteproc Trusted Application: commands, parameter types and the state of each remote processor.

Modelled on `ta/remoteproc/src/remoteproc_core.c` of OP-TEE. Authentication is in `ta.authentication`, loading in
`ta.segment_loader`; both work on memory only, this file owns the states.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace

from ta.authentication import (
    SignedHeader,
    check_copied_header,
    copy_header,
    copy_length,
    copy_lengths,
    step,
    verify_signature,
)
from ta.errors import CosimError
from ta.events import ImageAuthenticated
from ta.hardened_loader import HardenedLoader, LoadedImage
from ta.heap import CONTEXT_SIZE, TaHeap
from ta.params import MemRef, Params, ParamType, Value, param_types, value_of
from ta.ports import Sink
from ta.profile import ClientApi, Profile, Settings
from ta.remoteproc_pta import RemoteprocPta
from ta.results import RefusedError, TeeResult
from ta.segment_loader import NO_TABLE, Located, SegmentLoader
from ta.shared_memory import ClientBuffer, SharedMemory

TA_UUID = "80a4c275-0a47-4905-8285-1486a9771a08"


class Command(enum.IntEnum):
    """TA_RPROC_CMD_*."""

    LOAD_FW = 1
    START_FW = 2
    STOP_FW = 3
    GET_RSC_TABLE = 4
    GET_COREDUMP = 5
    RELEASE_FW = 6


class FirmwareState(enum.Enum):
    """State of a remote processor's firmware in the TA; `NOCTX` means that no LOAD_FW has named the processor yet."""

    NOCTX = "NOCTX"
    OFF = "OFF"
    LOADED = "LOADED"
    STARTED = "STARTED"


@dataclass(frozen=True)
class Context:
    """What the TA keeps of one remote processor (`struct remoteproc_context`); hardened also which image it loaded."""

    state: FirmwareState = FirmwareState.OFF
    table: Located = NO_TABLE
    image: LoadedImage | None = None


@dataclass(frozen=True)
class TaState:
    """The complete state of a TA instance between two commands."""

    contexts: tuple[tuple[int, Context], ...] = ()
    heap_used: int = 0


_ID_ONLY = param_types(ParamType.VALUE_INPUT)
_TYPES = {
    Command.LOAD_FW: param_types(ParamType.VALUE_INPUT, ParamType.MEMREF_INPUT),
    Command.START_FW: _ID_ONLY,
    Command.STOP_FW: _ID_ONLY,
    Command.GET_RSC_TABLE: param_types(ParamType.VALUE_INPUT, ParamType.VALUE_OUTPUT, ParamType.VALUE_OUTPUT),
    Command.RELEASE_FW: _ID_ONLY,
}


class RemoteprocTa:
    """One instance of the TA. Methods raise `RefusedError`, and `TaDeathError` when the instance dies."""

    def __init__(
        self,
        pta: RemoteprocPta,
        memory: SharedMemory,
        profile: Profile,
        sink: Sink,
        *,
        state: TaState | None = None,
        settings: Settings | None = None,
    ) -> None:
        state = state or TaState()
        self._settings = settings or Settings()
        self._pta = pta
        self._memory = memory
        self._profile = profile
        self._sink = sink
        self._heap = TaHeap(state.heap_used)
        self._contexts = dict(state.contexts)
        vendor = self._settings.api is ClientApi.VENDOR_2020
        self._commands = set(Command) - {Command.RELEASE_FW} if vendor else set(Command)

    def state(self) -> TaState:
        """The instance's state as an immutable value."""
        return TaState(tuple(self._contexts.items()), self._heap.used)

    def firmware_state(self, processor_id: int) -> FirmwareState:
        """The state of one remote processor."""
        context = self._contexts.get(processor_id)
        return FirmwareState.NOCTX if context is None else context.state

    def resource_table(self, processor_id: int) -> Located:
        """What GET_RSC_TABLE reports in LOADED and STARTED."""
        context = self._contexts.get(processor_id)
        return NO_TABLE if context is None else context.table

    def open_session(self, types: int, params: Params) -> None:
        """TA_OpenSessionEntryPoint: one value parameter, the processor id, which the PTA must know.

        The older vendor API takes no parameter.
        """
        if self._settings.api is ClientApi.VENDOR_2020:
            _require_types(types, 0)
            return
        _require_types(types, _ID_ONLY)
        self._pta.capabilities(value_of(params, 0).a)

    def invoke(self, command: int, types: int, params: Params) -> Params:
        """TA_InvokeCommandEntryPoint; returns the parameters with the outputs filled in."""
        if command == Command.GET_COREDUMP:
            raise RefusedError(TeeResult.NOT_IMPLEMENTED, "the TA cannot dump the memory of the processor")
        if command not in self._commands:
            raise RefusedError(TeeResult.BAD_PARAMETERS, f"the TA has no command {command}")
        known = Command(command)
        _require_types(types, _TYPES[known])
        processor_id = value_of(params, 0).a
        if known is Command.LOAD_FW and self._profile is Profile.HARDENED:
            self._load_guarded(processor_id, params[1])
        elif known is Command.LOAD_FW:
            self._load(processor_id, params[1])
        elif known is Command.START_FW:
            self._start(processor_id)
        elif known is Command.STOP_FW:
            self._stop(processor_id)
        elif known is Command.RELEASE_FW:
            self._release(processor_id)
        else:
            table = self._table(processor_id)
            params = (params[0], Value(table.pa, 0), Value(table.size, 0), params[3])
        if self._profile is Profile.HARDENED:
            self._look_at_the_end(known, processor_id)
        return params

    def _look_at_the_end(self, command: Command, processor_id: int) -> None:
        """Whether LOAD_FW and RELEASE_FW did what their success says. Raises SECURITY or BAD_STATE."""
        if command is Command.LOAD_FW:
            self._require_loaded(processor_id)
        elif command is Command.RELEASE_FW:
            self._pta.require_clean("the firmware was released")
            self._enter(processor_id, FirmwareState.OFF)

    def _load_guarded(self, processor_id: int, image: Value | MemRef) -> None:
        """LOAD_FW of the hardened profile: it ends with a complete authentication, or with nothing in memory.

        The loader has taken care of both; this looks at the result alone.
        """
        writes_before = self._pta.writes
        try:
            self._load(processor_id, image)
            self._require_loaded(processor_id)
        except CosimError:
            if self._pta.writes != writes_before:
                self._pta.require_clean("the load failed")
            raise

    def _require_loaded(self, processor_id: int) -> None:
        """LOAD_FW may succeed only with an image that was authenticated. Raises SECURITY."""
        context = self._contexts.get(processor_id, Context())
        if context.state is not FirmwareState.LOADED or context.image is None:
            self._contexts.pop(processor_id, None)
            self._pta.require_clean("the load failed")
            raise _incomplete()

    def _load(self, processor_id: int, image: Value | MemRef) -> None:
        if self._profile is Profile.HARDENED:
            # Upstream makes a context for any number and never frees it (A12).
            self._pta.capabilities(processor_id)
        if processor_id not in self._contexts:
            self._heap.allocate(CONTEXT_SIZE, "another processor context")
            self._contexts[processor_id] = Context()
        context = self._contexts[processor_id]
        if context.state is FirmwareState.STARTED:
            raise RefusedError(TeeResult.BAD_STATE, "the processor runs a firmware", hint="stop it first")
        if context.state is FirmwareState.LOADED:
            self._load_again(processor_id, image, context)
            return
        if not isinstance(image, MemRef) or not image.address or not image.size:
            raise RefusedError(TeeResult.BAD_PARAMETERS, "no image was given")
        if self._profile is Profile.HARDENED:
            self._load_hardened(processor_id, image)
        else:
            self._authenticate_and_load(processor_id, ClientBuffer(self._memory, image, exact=False))
        self._enter(processor_id, FirmwareState.LOADED)

    def _load_again(self, processor_id: int, image: Value | MemRef, context: Context) -> None:
        """LOAD_FW in LOADED: nothing to do; hardened insists that the image is the loaded one (A13)."""
        if self._settings.api is ClientApi.VENDOR_2020:
            raise RefusedError(TeeResult.BAD_STATE, "a firmware is loaded already")
        if context.image is None:
            return
        if not isinstance(image, MemRef) or not image.address or not image.size:
            raise RefusedError(TeeResult.BAD_PARAMETERS, "no image was given")
        if self._loader(processor_id, image).offered_digest() != context.image.digest:
            raise RefusedError(TeeResult.BAD_STATE, "another firmware is loaded", hint="release it first")

    def _load_hardened(self, processor_id: int, image: MemRef) -> None:
        loaded = self._loader(processor_id, image).load()
        self._contexts[processor_id] = Context(FirmwareState.OFF, loaded.table, loaded)

    def _loader(self, processor_id: int, image: MemRef) -> HardenedLoader:
        return HardenedLoader(
            pta=self._pta,
            heap=self._heap,
            buffer=ClientBuffer(self._memory, image, exact=True),
            processor_id=processor_id,
            platform_tlvs=self._settings.platform_tlvs,
            sink=self._sink,
        )

    def _authenticate_and_load(self, processor_id: int, buffer: ClientBuffer) -> None:
        self._pta.capabilities(processor_id)
        with step(self._sink, "header", "the header describes the file"):
            tlv_len, sign_len, start = copy_lengths(buffer)
            length = copy_length(buffer, tlv_len, sign_len)
        with self._heap.block(length, "the copy of header, TLVs and signature") as address:
            block = copy_header(buffer, length, start, address)
            with step(self._sink, "header-copy", f"{length} bytes copied to secure memory are consistent"):
                header = check_copied_header(block, buffer)
            self._load_signed(processor_id, buffer, header)

    def _load_signed(self, processor_id: int, buffer: ClientBuffer, header: SignedHeader) -> None:
        with step(self._sink, "signature", "the signature over header and TLVs is valid"):
            digest = verify_signature(header, self._heap, self._pta, processor_id)
        loader = SegmentLoader(
            pta=self._pta,
            heap=self._heap,
            buffer=buffer,
            header=header,
            processor_id=processor_id,
            locate=lambda table: self._keep_table(processor_id, table),
            sink=self._sink,
        )
        report = loader.load()
        self._sink(ImageAuthenticated(report.images, report.segments, digest.hex()))

    def _start(self, processor_id: int) -> None:
        state = self._known(processor_id)
        if state is FirmwareState.OFF:
            raise RefusedError(TeeResult.BAD_STATE, "no firmware is loaded", hint="load a signed image first")
        if state is FirmwareState.LOADED:
            if self._profile is Profile.HARDENED:
                self._start_hardened(processor_id)
            else:
                self._pta.start(processor_id)
            self._enter(processor_id, FirmwareState.STARTED)

    def _start_hardened(self, processor_id: int) -> None:
        """Start only what a complete LOAD_FW left; the PTA insists on its own evidence. Raises SECURITY."""
        image = self._contexts[processor_id].image
        if image is None:
            raise _incomplete()
        self._pta.raise_version(image.version)
        self._pta.start(processor_id, image.digest, image.version)

    def _stop(self, processor_id: int) -> None:
        state = self._known(processor_id)
        if state is FirmwareState.LOADED:
            raise RefusedError(TeeResult.BAD_STATE, "the firmware is loaded but was not started", hint="release it")
        if state is FirmwareState.STARTED:
            self._pta.stop(processor_id)
            self._enter(processor_id, FirmwareState.OFF)

    def _release(self, processor_id: int) -> None:
        if self._known(processor_id) is FirmwareState.STARTED:
            raise RefusedError(TeeResult.BAD_STATE, "the processor runs a firmware", hint="stop it first")
        self._pta.release(processor_id)
        self._enter(processor_id, FirmwareState.OFF)

    def _table(self, processor_id: int) -> Located:
        if self._known(processor_id) is FirmwareState.OFF:
            raise RefusedError(TeeResult.BAD_STATE, "no firmware is loaded", hint="load a signed image first")
        return self.resource_table(processor_id)

    def _known(self, processor_id: int) -> FirmwareState:
        state = self.firmware_state(processor_id)
        if state is FirmwareState.NOCTX:
            raise RefusedError(
                TeeResult.BAD_PARAMETERS,
                f"no image was ever loaded for remote processor 0x{processor_id:x}",
                hint="load a signed image first",
            )
        return state

    def _keep_table(self, processor_id: int, table: Located) -> None:
        self._contexts[processor_id] = replace(self._contexts[processor_id], table=table)

    def _enter(self, processor_id: int, state: FirmwareState) -> None:
        context = self._contexts[processor_id]
        image = None if state is FirmwareState.OFF else context.image
        self._contexts[processor_id] = replace(context, state=state, image=image)


def _incomplete() -> RefusedError:
    return RefusedError(
        TeeResult.SECURITY,
        "no complete authentication stands behind the state LOADED",
        hint="a fault hit the secure world, or someone made one",
    )


def _require_types(types: int, wanted: int) -> None:
    if types != wanted:
        raise RefusedError(
            TeeResult.BAD_PARAMETERS, f"the parameter types are 0x{types:x}, this command takes 0x{wanted:x}"
        )
