"""The TEE driver's own refusals: a secure world that is not OP-TEE, a wrong processor, calls out of order."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from cosim.access import Initiator
from cosim.linux.errno import Errno, KernelError
from cosim.linux.memory import KernelMemory
from cosim.linux.optee import Optee
from cosim.linux.remoteproc_tee import RemoteprocTee
from cosim.resources import firmware_file
from cosim.soc import Soc, SocConfig
from cosim.testing import default_signer
from ta.events import SegmentLoaded, SharedMemoryRegistration
from ta.profile import Settings, ShmBuild
from ta.results import TeeResult
from ta.smc import FunctionId

RESERVED = SocConfig(settings=Settings(shm=ShmBuild.RESERVED))
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
        (FunctionId.EXCHANGE_CAPABILITIES, (0, 0x50, 0, 4), "optee_probe"),
        (FunctionId.GET_SHM_CONFIG, (0xFFFFFFFF, 0, 0, 0), "optee_config_shm_memremap"),
        (FunctionId.GET_SHM_CONFIG, (0, 0xDFE00000, 0x1000, 1), "optee_config_shm_memremap"),
    ],
)
def test_a_secure_world_that_the_driver_does_not_know_is_einval(
    function: FunctionId, result: Registers, where: str
) -> None:
    with pytest.raises(KernelError) as caught:
        probed(Soc(RESERVED) if function is FunctionId.GET_SHM_CONFIG else Soc(), answer(function, result))
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


def registered(soc: Soc) -> RemoteprocTee:
    tee = RemoteprocTee(probed(soc), KernelMemory(soc.bus))
    tee.register()
    return tee


@pytest.fixture(scope="module")
def large() -> bytes:
    """A signed image of 4 MiB, more than the reserved memory and than one page of a page list hold."""
    elf = firmware_file("demo_m4.elf").read_bytes()
    return default_signer().sign(elf.ljust(4 << 20, b"\0"))


@pytest.mark.parametrize("build", [ShmBuild.BOTH, ShmBuild.DYNAMIC])
def test_the_pages_of_a_firmware_are_registered_for_the_load_and_given_back(build: ShmBuild, large: bytes) -> None:
    soc = Soc(SocConfig(settings=Settings(shm=build)))
    registered(soc).load_fw(large)
    assert soc.log.of(SegmentLoaded)
    taken, given_back = soc.log.of(SharedMemoryRegistration)
    assert (taken.command_name, taken.size, taken.pages) == ("REGISTER_SHM", len(large), -(-len(large) // 4096))
    assert (taken.result, given_back.result) == (0, 0)
    assert (given_back.command_name, given_back.cookie) == ("UNREGISTER_SHM", taken.cookie)


def test_without_dynamic_memory_the_firmware_is_copied_into_the_reserved_memory() -> None:
    soc = Soc(RESERVED)
    tee = registered(soc)
    image = default_signer().sign(firmware_file("demo_m4.elf").read_bytes().ljust(3 << 19, b"\0"))
    for _ in range(2):  # the room is given back
        tee.load_fw(image)
    assert soc.log.of(SegmentLoaded)
    assert not soc.log.of(SharedMemoryRegistration)


def test_a_registration_that_the_secure_world_refuses_is_einval_and_nothing_is_loaded(large: bytes) -> None:
    soc = Soc()
    tee = registered(soc)
    shared = soc.secure_world.shared_memory

    def spoil(_reads: int, address: int, size: int) -> None:
        if size == 4096:  # the first page of the list is about to be read
            soc.bus.write(Initiator.DEBUG, address, (0x2FFC0000).to_bytes(8, "little"))
            shared.observer = None

    shared.observer = spoil
    with pytest.raises(KernelError) as caught:
        tee.load_fw(large)
    assert (caught.value.errno, caught.value.function) == (Errno.EINVAL, "optee_shm_register")
    assert caught.value.fields["result"] == TeeResult.BAD_PARAMETERS
    assert not soc.log.of(SegmentLoaded)
    tee.load_fw(large)
    assert soc.log.of(SegmentLoaded)
