"""The secure monitor: dispatch of `smc #0` by function identifier (SMC Calling Convention, PSCI, OP-TEE fast calls).

Function identifiers and answers of `core/arch/arm/include/sm/optee_smc.h` and `entry_fast.c`, for a build with
reserved or dynamic shared memory or both, and without notifications. A call runs to its end, so no thread is ever held
when another call comes: ETHREAD_LIMIT and EBUSY do not occur, and nothing waits to be resumed.
"""

from __future__ import annotations

import enum
from collections.abc import Callable

from ta.events import SmcEntered, SmcReturned
from ta.memory_map import SHM_ADDRESS, SHM_SIZE
from ta.message import RPC_PARAMS, CallResult, MessageServer
from ta.ports import Sink
from ta.profile import ShmBuild

Registers = tuple[int, int, int, int]

#: The uniprocessor bit is the only capability of the normal world that OP-TEE knows.
_KNOWN_NSEC_CAPS = 1
#: OPTEE_SMC_SEC_CAP_*.
CAP_RESERVED_SHM, CAP_DYNAMIC_SHM, CAP_MEMREF_NULL, CAP_RPC_ARG = 1 << 0, 1 << 2, 1 << 4, 1 << 6
API_UID = (0x384FB3E0, 0xE7F811E3, 0xAF630002, 0xA5D5C51B)
OS_UUID = (0x486178E0, 0xE7F811E3, 0xBC5E0002, 0xA5D5C51B)
API_REVISION = (2, 0)
#: OP-TEE 4.10.0 at commit d5001fe0, which the model follows.
OS_REVISION = (4, 10, 0xD5001FE0)
CALLS_COUNT = 12
#: CFG_NUM_THREADS of the default build.
THREADS = 2
PSCI_1_0 = 0x00010000
SMCCC_1_1 = 0x00010001
_L2CC_LAST = 3
_OK = int(CallResult.OK)
_UNKNOWN = int(CallResult.UNKNOWN_FUNCTION)


class FunctionId(enum.IntEnum):
    """SMC function identifiers that have a name here."""

    SMCCC_VERSION = 0x80000000
    PSCI_VERSION = 0x84000000
    PSCI_SYSTEM_OFF = 0x84000008
    CALLS_COUNT = 0xBF00FF00
    CALLS_UID = 0xBF00FF01
    CALLS_REVISION = 0xBF00FF03
    GET_OS_UUID = 0xB2000000
    GET_OS_REVISION = 0xB2000001
    GET_SHM_CONFIG = 0xB2000007
    L2CC_MUTEX = 0xB2000008
    EXCHANGE_CAPABILITIES = 0xB2000009
    DISABLE_SHM_CACHE = 0xB200000A
    ENABLE_SHM_CACHE = 0xB200000B
    BOOT_SECONDARY = 0xB200000C
    GET_THREAD_COUNT = 0xB200000F
    CALL_RETURN_FROM_RPC = 0x32000003
    CALL_WITH_ARG = 0x32000004
    CALL_WITH_RPC_ARG = 0x32000012
    CALL_WITH_REGD_ARG = 0x32000013


_FUNCTION_NAMES = {int(function): function.name for function in FunctionId}


def function_name(function_id: int) -> str:
    """The name of a function identifier, or "UNKNOWN"."""
    return _FUNCTION_NAMES.get(function_id, "UNKNOWN")


class SecureMonitor:
    """Serves one SMC after the other; `power_off` is told of PSCI SYSTEM_OFF."""

    def __init__(self, messages: MessageServer, shm: ShmBuild, power_off: Callable[[], None], sink: Sink) -> None:
        self._shm = shm
        reserved = {int(FunctionId.GET_SHM_CONFIG): (_OK, SHM_ADDRESS, SHM_SIZE, 1)}
        self._constants = _CONSTANTS | reserved if shm.reserved else _CONSTANTS
        self._messages = messages
        self._power_off = power_off
        self._sink = sink

    def call(self, registers: tuple[int, ...]) -> Registers:
        """Serve `smc #0` with r0..r7 and return r0..r3. Raises ValueError unless there are eight 32-bit words."""
        if len(registers) != 8 or any(not 0 <= word <= 0xFFFFFFFF for word in registers):
            raise ValueError("an SMC takes eight unsigned 32-bit registers, r0 to r7")
        function_id = registers[0]
        name = function_name(function_id)
        self._sink(SmcEntered(function_id, name, registers[1:]))
        results = self._dispatch(registers)
        self._sink(SmcReturned(function_id, name, results))
        return results

    def _dispatch(self, registers: tuple[int, ...]) -> Registers:
        r0, r1, r2, r3 = registers[:4]
        if r0 == FunctionId.PSCI_SYSTEM_OFF:
            self._power_off()
            return (_OK, r1, r2, r3)
        if r0 in self._constants:
            constant = self._constants[r0]
            full = (*constant, *registers[len(constant) : 4])
            return (full[0], full[1], full[2], full[3])
        if r0 == FunctionId.EXCHANGE_CAPABILITIES:
            unknown = r1 & ~_KNOWN_NSEC_CAPS
            rpc_params = RPC_PARAMS if self._shm.dynamic else 0
            return (int(CallResult.ENOTAVAIL), r1, r2, r3) if unknown else (_OK, _sec_caps(self._shm), 0, rpc_params)
        if r0 == FunctionId.L2CC_MUTEX:
            # A Cortex-A7 has no PL310 whose mutex could be shared; only the sub-function is checked.
            return (_UNKNOWN if r1 <= _L2CC_LAST else int(CallResult.EBADCMD), r1, r2, r3)
        if not r0 & 1 << 31 and (r0 >> 24) & 0x3F == 0x32:
            return self._yielding(r0, r1 << 32 | r2, r3)
        return (_UNKNOWN, r1, r2, r3)

    def _yielding(self, function_id: int, place: int, offset: int) -> Registers:
        """A call that would run in an OP-TEE thread; r1 to r3 come back as zero.

        `place` is the physical address of the message, or the cookie of the buffer that has it at `offset`.
        """
        if function_id == FunctionId.CALL_WITH_ARG:
            result = int(self._messages.serve(place))
        elif function_id == FunctionId.CALL_RETURN_FROM_RPC:
            result = int(CallResult.ERESUME)
        elif self._shm.dynamic and function_id == FunctionId.CALL_WITH_RPC_ARG:
            result = int(self._messages.serve(place, rpc_argument=True))
        elif self._shm.dynamic and function_id == FunctionId.CALL_WITH_REGD_ARG:
            result = int(self._messages.serve_registered(place, offset))
        else:
            result = _UNKNOWN
        return (result, 0, 0, 0)


def _sec_caps(shm: ShmBuild) -> int:
    reserved = CAP_RESERVED_SHM if shm.reserved else 0
    return CAP_MEMREF_NULL | reserved | (CAP_DYNAMIC_SHM | CAP_RPC_ARG if shm.dynamic else 0)


#: Calls whose answer does not depend on anything: the registers that they set from r0 on.
_CONSTANTS: dict[int, tuple[int, ...]] = {
    FunctionId.SMCCC_VERSION: (SMCCC_1_1,),
    FunctionId.PSCI_VERSION: (PSCI_1_0,),
    FunctionId.CALLS_COUNT: (CALLS_COUNT,),
    FunctionId.CALLS_UID: API_UID,
    FunctionId.CALLS_REVISION: API_REVISION,
    FunctionId.GET_OS_UUID: OS_UUID,
    FunctionId.GET_OS_REVISION: OS_REVISION,
    # No RPC buffer is ever cached, so there is nothing to hand back.
    FunctionId.DISABLE_SHM_CACHE: (int(CallResult.ENOTAVAIL),),
    FunctionId.ENABLE_SHM_CACHE: (_OK,),
    # The machine has no second core to release.
    FunctionId.BOOT_SECONDARY: (int(CallResult.EBADCMD),),
    FunctionId.GET_THREAD_COUNT: (_OK, THREADS),
}
