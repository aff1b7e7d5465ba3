"""Sessions of the TEE core: which TA instance serves whom, and what its death means to its clients.

Modelled on `core/kernel/tee_ta_manager.c` of OP-TEE for the one user TA of this system, which is SINGLE_INSTANCE and
INSTANCE_KEEP_ALIVE, but not MULTI_SESSION.
"""

from __future__ import annotations

from dataclasses import dataclass

from ta.device_enumeration import ENUMERATION_UUID, enumerate_devices
from ta.errors import BusFault
from ta.events import CommandInvoked, CommandReturned, SessionClosed, SessionOpened, TaDied
from ta.params import NO_PARAMS, Params, ParamType, param_types, value_of
from ta.ports import Sink
from ta.profile import Profile, Settings
from ta.remoteproc_pta import PTA_UUID, RemoteprocPta
from ta.remoteproc_ta import TA_UUID, Command, FirmwareState, RemoteprocTa, TaState
from ta.results import Origin, RefusedError, TaDeathError, TeeResult
from ta.segment_loader import Located
from ta.shared_memory import SharedMemory

#: The model's own bound, in place of the exhaustion of OP-TEE's core heap.
MAX_SESSIONS = 64
#: Stands for the enumeration PTA where a session names its TA instance; those count from 1.
_ENUMERATION = 0
_ID_ONLY = param_types(ParamType.VALUE_INPUT)
_COMMAND_NAMES = {int(command): command.name for command in Command}


@dataclass(frozen=True)
class Answer:
    """What a client gets back: result, its origin and the parameters with outputs; `session` after OPEN_SESSION."""

    result: TeeResult
    origin: Origin
    params: Params
    session: int = 0


@dataclass(frozen=True)
class CoreState:
    """The complete state between two calls: sessions as (number, instance), newest instance, whether it lives.

    Instance 0 is the enumeration PTA.
    """

    sessions: tuple[tuple[int, int], ...]
    instance: int
    alive: bool
    ta: TaState


class TeeCore:
    """OPEN_SESSION, INVOKE_COMMAND, CLOSE_SESSION and CANCEL for clients in the normal world."""

    def __init__(
        self,
        pta: RemoteprocPta,
        memory: SharedMemory,
        profile: Profile,
        sink: Sink,
        settings: Settings | None = None,
    ) -> None:
        self._settings = settings or Settings()
        self._pta = pta
        self._memory = memory
        self._profile = profile
        self._sink = sink
        #: Session number → number of the TA instance that serves it; in the order of opening.
        self._sessions: dict[int, int] = {}
        self._instance = 0
        self._ta: RemoteprocTa | None = None

    @property
    def instances(self) -> int:
        """How many TA instances there have been; the newest may have died."""
        return self._instance

    @property
    def alive(self) -> bool:
        """Whether there is a TA instance."""
        return self._ta is not None

    def firmware_state(self, processor_id: int = 0) -> FirmwareState:
        """The state of a remote processor in the TA; NOCTX without an instance."""
        return self._ta.firmware_state(processor_id) if self._ta is not None else FirmwareState.NOCTX

    def resource_table(self, processor_id: int = 0) -> Located:
        """The resource table that the TA keeps."""
        return self._ta.resource_table(processor_id) if self._ta is not None else Located()

    def open_session(self, uuid: str, types: int, params: Params) -> Answer:
        """Open a session to a TA by its UUID in text form; never raises."""
        origin = Origin.TEE
        try:
            if uuid == PTA_UUID:
                origin = Origin.TRUSTED_APP
                _refuse_pta(types)
            if len(self._sessions) >= MAX_SESSIONS:
                raise RefusedError(TeeResult.OUT_OF_MEMORY, f"{MAX_SESSIONS} sessions are open")
            instance = _ENUMERATION
            if uuid != ENUMERATION_UUID:
                ta = self._instance_for(uuid)
                origin = Origin.TRUSTED_APP
                ta.open_session(types, params)
                instance = self._instance
        except RefusedError as error:
            answer = Answer(error.result, origin, params)
        else:
            session = max(self._sessions, default=0) + 1
            self._sessions[session] = instance
            answer = Answer(TeeResult.SUCCESS, Origin.TRUSTED_APP, params, session)
        self._sink(SessionOpened(uuid, answer.session, int(answer.result), answer.result.full_name, int(answer.origin)))
        return answer

    def invoke(self, session: int, command: int, types: int, params: Params) -> Answer:
        """Invoke a command of the TA or PTA behind a session; never raises."""
        if self._sessions.get(session) == _ENUMERATION:
            return self._enumerate(command, types, params)
        answer, reason = self._serve(session, command, types, params)
        state = self.firmware_state(value_of(params, 0).a).value
        result, name = int(answer.result), answer.result.full_name
        self._sink(
            CommandReturned(session, command, _command_name(command), result, name, int(answer.origin), reason, state)
        )
        return answer

    def close_session(self, session: int) -> Answer:
        """Close a session; a dead instance's sessions can be closed too."""
        known = self._sessions.pop(session, None) is not None
        result = TeeResult.SUCCESS if known else TeeResult.ITEM_NOT_FOUND
        self._sink(SessionClosed(session, int(result), result.full_name))
        return Answer(result, Origin.TEE, NO_PARAMS)

    def cancel(self, session: int) -> Answer:
        """Ask for cancellation; commands run to their end here, so there is never one to cancel."""
        known = session in self._sessions
        return Answer(TeeResult.SUCCESS if known else TeeResult.BAD_PARAMETERS, Origin.TEE, NO_PARAMS)

    def save(self) -> CoreState:
        """The complete state as an immutable value."""
        state = self._ta.state() if self._ta is not None else TaState()
        return CoreState(tuple(self._sessions.items()), self._instance, self.alive, state)

    def load(self, state: CoreState) -> None:
        """Restore what `save` returned."""
        self._sessions = dict(state.sessions)
        self._instance = state.instance
        self._ta = self._new_ta(state.ta) if state.alive else None

    def _serve(self, session: int, command: int, types: int, params: Params) -> tuple[Answer, str]:
        """Find the instance and let it serve; the answer, and why it is a refusal."""
        if session not in self._sessions:
            return Answer(TeeResult.BAD_PARAMETERS, Origin.TEE, params), f"session {session} is not open"
        if self._ta is None or self._sessions[session] != self._instance:
            return Answer(TeeResult.TARGET_DEAD, Origin.TEE, params), "the TA instance behind this session has died"
        try:
            self._sink(CommandInvoked(session, command, _command_name(command), value_of(params, 0).a))
            return Answer(TeeResult.SUCCESS, Origin.TRUSTED_APP, self._ta.invoke(command, types, params)), ""
        except RefusedError as error:
            return Answer(error.result, Origin.TRUSTED_APP, params), error.message
        except BusFault as fault:
            return Answer(TeeResult.GENERIC, Origin.TRUSTED_APP, params), f"the secure world: {fault.message}"
        except TaDeathError as death:
            self._ta = None
            if self._profile is Profile.HARDENED:
                self._pta.forget()
            self._sink(TaDied(death.cause.value, death.weakness, death.message))
            return Answer(TeeResult.TARGET_DEAD, Origin.TEE, params), f"the TA died: {death.message}"

    def _enumerate(self, command: int, types: int, params: Params) -> Answer:
        try:
            result, params = enumerate_devices(self._memory, command, types, params)
        except RefusedError as error:
            result = error.result
        except BusFault:
            result = TeeResult.GENERIC
        return Answer(result, Origin.TRUSTED_APP, params)

    def _instance_for(self, uuid: str) -> RemoteprocTa:
        """The TA instance for a new session, made when there is none. Raises ITEM_NOT_FOUND or BUSY."""
        if uuid != TA_UUID:
            raise RefusedError(TeeResult.ITEM_NOT_FOUND, f"there is no TA {uuid}")
        if self._ta is None:
            self._instance += 1
            self._ta = self._new_ta(TaState())
        elif self._instance in self._sessions.values():
            raise RefusedError(TeeResult.BUSY, "another session to the TA is open")
        return self._ta

    def _new_ta(self, state: TaState) -> RemoteprocTa:
        return RemoteprocTa(self._pta, self._memory, self._profile, self._sink, state=state, settings=self._settings)


def _refuse_pta(types: int) -> None:
    """The PTA takes sessions from the remoteproc TA only."""
    if types != _ID_ONLY:
        raise RefusedError(TeeResult.BAD_PARAMETERS, "wrong parameter types for a session to the PTA")
    raise RefusedError(TeeResult.ACCESS_DENIED, "the PTA serves the remoteproc TA only, not the normal world")


def _command_name(command: int) -> str:
    return _COMMAND_NAMES.get(command) or f"0x{command:x}"
