"""GlobalPlatform TEE results and origins by name, and the two ways in which the secure world refuses to go on.

Values from the GlobalPlatform TEE Internal Core API and OP-TEE's `tee_api_defines.h`.
"""

from __future__ import annotations

import enum

from ta.errors import CosimError, FieldValue


class TeeResult(enum.IntEnum):
    """TEE_Result values that the remoteproc TA, its PTA and the TEE core return."""

    SUCCESS = 0x00000000
    CORRUPT_OBJECT = 0xF0100001
    GENERIC = 0xFFFF0000
    ACCESS_DENIED = 0xFFFF0001
    BAD_FORMAT = 0xFFFF0005
    BAD_PARAMETERS = 0xFFFF0006
    BAD_STATE = 0xFFFF0007
    ITEM_NOT_FOUND = 0xFFFF0008
    NOT_IMPLEMENTED = 0xFFFF0009
    NOT_SUPPORTED = 0xFFFF000A
    NO_DATA = 0xFFFF000B
    OUT_OF_MEMORY = 0xFFFF000C
    BUSY = 0xFFFF000D
    SECURITY = 0xFFFF000F
    SHORT_BUFFER = 0xFFFF0010
    TARGET_DEAD = 0xFFFF3024
    SIGNATURE_INVALID = 0xFFFF3072

    @property
    def full_name(self) -> str:
        """The GlobalPlatform name, as it stands in `tee_api_defines.h`."""
        return "TEE_SUCCESS" if self is TeeResult.SUCCESS else f"TEE_ERROR_{self.name}"


class Origin(enum.IntEnum):
    """TEE_ORIGIN_*: which layer produced a result."""

    API = 1
    COMMS = 2
    TEE = 3
    TRUSTED_APP = 4


class RefusedError(CosimError):
    """The TA, its PTA or the TEE core refuses a request (`result`, `result_name`, and what the place adds)."""

    kind = "refused"

    def __init__(self, result: TeeResult, reason: str, *, hint: str = "", **fields: FieldValue) -> None:
        super().__init__(reason, hint=hint, result=int(result), result_name=result.full_name, **fields)
        self.result = result


class DeathCause(enum.Enum):
    """How a TA instance ended."""

    SIGSEGV = "SIGSEGV"  # an access outside the memory that is mapped for the TA
    PANIC = "PANIC"  # the TEE core or libutee stopped it


class TaDeathError(CosimError):
    """The TA instance cannot go on (`cause`, `weakness`); its client sees TARGET_DEAD."""

    kind = "ta-death"

    def __init__(self, cause: DeathCause, weakness: str, detail: str) -> None:
        super().__init__(detail, cause=cause.value, weakness=weakness)
        self.cause = cause
        self.weakness = weakness
