"""The PTA that tells the kernel which TAs are devices on its TEE bus (`core/pta/device.c` of OP-TEE)."""

from __future__ import annotations

import uuid

from ta.params import MemRef, Params, ParamType, param_types
from ta.remoteproc_ta import TA_UUID
from ta.results import RefusedError, TeeResult
from ta.shared_memory import SharedMemory

ENUMERATION_UUID = "7011a688-ddde-4053-a5a9-7b3c4ddf13b8"
_TYPES = param_types(ParamType.MEMREF_OUTPUT)

#: Command → TAs: before tee-supplicant runs, with it, and with RPMB. The remoteproc TA needs none of them.
_DEVICES: dict[int, tuple[str, ...]] = {0: (TA_UUID,), 1: (), 2: ()}


def enumerate_devices(memory: SharedMemory, command: int, types: int, params: Params) -> tuple[TeeResult, Params]:
    """Write the UUIDs, 16 octets each, into the client's buffer; the size needed comes back in any case.

    SHORT_BUFFER when they do not fit. Raises BAD_PARAMETERS or NOT_IMPLEMENTED, and `BusFault`.
    """
    devices = _DEVICES.get(command)
    if devices is None:
        raise RefusedError(TeeResult.NOT_IMPLEMENTED, f"the enumeration PTA has no command {command}")
    buffer = params[0]
    if types != _TYPES or not isinstance(buffer, MemRef):
        raise RefusedError(TeeResult.BAD_PARAMETERS, f"the parameter types are 0x{types:x}, not 0x{_TYPES:x}")
    octets = b"".join(uuid.UUID(name).bytes for name in devices)
    fits = len(octets) <= (buffer.size if buffer.address else 0)
    if fits and octets:
        memory.write_to(buffer, 0, octets)
    answered = MemRef(buffer.address, len(octets), buffer.pages)
    return TeeResult.SUCCESS if fits else TeeResult.SHORT_BUFFER, (answered, *params[1:])
