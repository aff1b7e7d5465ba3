"""The secure monitor: which function identifiers answer what, and what the normal world's registers hold after."""

from __future__ import annotations

import pytest
from ta_bench import SHM, World

from ta.events import SmcEntered, SmcReturned

UNKNOWN = 0xFFFFFFFF


@pytest.mark.parametrize(
    ("function_id", "results"),
    [
        (0xBF00FF00, (12, 0x11, 0x22, 0x33)),
        (0xBF00FF01, (0x384FB3E0, 0xE7F811E3, 0xAF630002, 0xA5D5C51B)),
        (0xBF00FF03, (2, 0, 0x22, 0x33)),
        (0xB2000000, (0x486178E0, 0xE7F811E3, 0xBC5E0002, 0xA5D5C51B)),
        (0xB2000001, (4, 10, 0xD5001FE0, 0x33)),
        (0xB2000007, (0, SHM, 0x200000, 1)),
        (0xB200000A, (7, 0x11, 0x22, 0x33)),
        (0xB200000B, (0, 0x11, 0x22, 0x33)),
        (0xB200000F, (0, 2, 0x22, 0x33)),
        (0x80000000, (0x10001, 0x11, 0x22, 0x33)),
        (0x84000000, (0x10000, 0x11, 0x22, 0x33)),
    ],
)
def test_fast_calls_answer_as_op_tee_does(world: World, function_id: int, results: tuple[int, ...]) -> None:
    assert world.smc(function_id, 0x11, 0x22, 0x33) == results


@pytest.mark.parametrize(
    "function_id",
    [0xB2000010, 0xB2000011, 0xB2000014, 0xBF00FF02, 0x84000003, 0x80000001, 0x82001000, 0xC2000000, 0, UNKNOWN, 4],
)
def test_unknown_fast_functions_leave_the_other_registers_alone(world: World, function_id: int) -> None:
    assert world.smc(function_id, 1, 2, 3) == (UNKNOWN, 1, 2, 3)


@pytest.mark.parametrize("function_id", [0x32000000, 0x32000014, 0x3200FFFF])
def test_yielding_functions_that_this_build_does_not_have_are_unknown(world: World, function_id: int) -> None:
    assert world.smc(function_id, 1, 2, 3) == (UNKNOWN, 0, 0, 0)


def test_resuming_without_an_rpc_is_refused(world: World) -> None:
    assert world.smc(0x32000003, 1, 2, 3) == (3, 0, 0, 0)


@pytest.mark.parametrize(("nsec", "results"), [(0, (0, 0x55, 0, 4)), (1, (0, 0x55, 0, 4)), (2, (7, 2, 9, 9))])
def test_capabilities_offer_both_kinds_of_memory_and_null_references(world: World, nsec: int, results: object) -> None:
    assert world.smc(0xB2000009, nsec, 9, 9) == results


def test_the_l2_mutex_and_a_second_core_are_not_there(world: World) -> None:
    assert world.smc(0xB2000008, 0)[0] == UNKNOWN
    assert world.smc(0xB2000008, 4)[0] == 5
    assert world.smc(0xB200000C, 1, 0, 0xC0000000)[0] == 5


def test_system_off_tells_the_machine(world: World) -> None:
    assert not world.powered_off
    world.smc(0x84000008)
    assert world.powered_off


def test_each_call_is_reported_with_its_name(world: World) -> None:
    world.smc(0xB2000009, 1)
    world.smc(0xDEADBEEF)
    assert [e.name for e in world.of(SmcEntered)] == ["EXCHANGE_CAPABILITIES", "UNKNOWN"]
    assert world.of(SmcEntered)[0].arguments == (1, 0, 0, 0, 0, 0, 0)
    assert world.of(SmcReturned)[0].results == (0, 0x55, 0, 4)


@pytest.mark.parametrize("registers", [(0,) * 7, (0,) * 9, (-1, *(0,) * 7), (1 << 32, *(0,) * 7)])
def test_an_engine_that_hands_over_no_registers_is_told(world: World, registers: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="r0 to r7"):
        world.secure.smc(registers)
