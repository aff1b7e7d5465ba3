"""The TEE driver's own refusals: a secure world that is not OP-TEE, a wrong processor, calls out of order."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from cosim.linux.errno import Errno, KernelError
from cosim.linux.memory import KernelMemory
from cosim.linux.optee import Optee
from cosim.linux.remoteproc_tee import RemoteprocTee
from cosim.soc import Soc
from ta.smc import FunctionId

Registers = tuple[int, int, int, int]


def probed(soc: Soc, change: Callable[[int, Registers], Registers] = lambda _function, answer: answer) -> Optee:
    memory = KernelMemory(soc.bus)
    optee = Optee(memory, lambda registers: change(registers[0], soc.secure_world.smc(registers)))
    optee.probe()
    return optee


def answer(function: FunctionId, result: Registers) -> Callable[[int, Registers], Registers]:
    return lambda asked, usual: result if asked == function else usual


@pytest.mark.parametrize(
    ("function", "result", "where"),
    [
        (FunctionId.CALLS_UID, (0xFFFFFFFF, 0, 0, 0), "optee_probe"),
        (FunctionId.CALLS_REVISION, (1, 0, 0, 0), "optee_probe"),
        (FunctionId.EXCHANGE_CAPABILITIES, (7, 0, 0, 0), "optee_probe"),
        (FunctionId.EXCHANGE_CAPABILITIES, (0, 0x54, 0, 4), "optee_probe"),
        (FunctionId.GET_SHM_CONFIG, (0xFFFFFFFF, 0, 0, 0), "optee_config_shm_memremap"),
        (FunctionId.GET_SHM_CONFIG, (0, 0xDFE00000, 0x1000, 1), "optee_config_shm_memremap"),
    ],
)
def test_a_secure_world_that_the_driver_does_not_know_is_einval(
    function: FunctionId, result: Registers, where: str
) -> None:
    with pytest.raises(KernelError) as caught:
        probed(Soc(), answer(function, result))
    assert (caught.value.errno, caught.value.function) == (Errno.EINVAL, where)


def test_a_call_that_the_monitor_does_not_serve_is_einval() -> None:
    soc = Soc()
    optee = probed(soc, answer(FunctionId.CALL_WITH_ARG, (4, 0, 0, 0)))
    with pytest.raises(KernelError) as caught:
        RemoteprocTee(optee, KernelMemory(soc.bus)).register()
    assert (caught.value.errno, caught.value.fields["smc_status"]) == (Errno.EINVAL, 4)


def test_a_processor_that_the_ta_does_not_know_cannot_be_registered() -> None:
    soc = Soc()
    with pytest.raises(KernelError) as caught:
        RemoteprocTee(probed(soc), KernelMemory(soc.bus), processor=1).register()
    assert (caught.value.errno, caught.value.function) == (Errno.EINVAL, "rproc_tee_register")
    assert caught.value.fields["result_name"] == "TEE_ERROR_NOT_SUPPORTED"


def test_a_call_without_a_session_is_einval() -> None:
    soc = Soc()
    with pytest.raises(KernelError) as caught:
        RemoteprocTee(probed(soc), KernelMemory(soc.bus)).start()
    assert (caught.value.errno, caught.value.function) == (Errno.EINVAL, "rproc_tee_start")


def test_a_start_before_the_load_is_eio_with_the_result_of_the_ta() -> None:
    soc = Soc()
    tee = RemoteprocTee(probed(soc), KernelMemory(soc.bus))
    tee.register()
    with pytest.raises(KernelError) as caught:
        tee.start()
    assert (caught.value.errno, caught.value.fields["result_name"]) == (Errno.EIO, "TEE_ERROR_BAD_PARAMETERS")
