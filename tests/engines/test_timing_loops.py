"""The timed loops alone, on bare memory: self-modifying code, IT blocks, divides, and any code at all."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unicorn import UC_ARCH_ARM, UC_MODE_THUMB, UC_PROT_ALL, Uc
from unicorn.arm_const import (
    UC_ARM_REG_PC,
    UC_ARM_REG_R0,
    UC_ARM_REG_R1,
    UC_ARM_REG_R3,
    UC_ARM_REG_SP,
    UC_CPU_ARM_CORTEX_M4,
)

from cosim.engine.charging import make_counter
from cosim.engine.unicorn.loop import CodeRange, Lane, Loop
from cosim.engine.unicorn.native import NativeLoop, library_path
from cosim.engine.unicorn.python_loop import PythonLoop
from cosim.timing.state import AT_WORK, LASTING

BASE, SIZE = 0x1000_0000, 0x2000
NATIVE = pytest.param(
    NativeLoop, marks=pytest.mark.skipif(library_path() is None, reason="the native loop is not built")
)
ADDS = bytes.fromhex("521c")  # adds r2, r2, #1
LDR = bytes.fromhex("1a68")  # ldr r2, [r3]
#: Instructions that stay in the code: each kind of cost, IT blocks, branches back and forth.
POOL = [
    bytes.fromhex(code)
    for code in (
        "521c", "1a68", "5c68", "1a60", "b3fbf2f4", "93fbf2f4", "02fb03f4", "08bf", "04bf", "14bf", "00bf", "aff30080",
        "fdd1", "fad0", "01e0", "00d1", "90ee000a", "30ee810a", "80ee810a", "30ee001a", "d3f80040", "d3e90045",
        "bff36f8f", "0cb4", "0cbc", "ffffffff",
    )
]  # fmt: skip


class Bench:
    """One Cortex-M4 on a page or two of memory, r3 and SP in the upper one."""

    def __init__(self, loop: Loop, code: bytes) -> None:
        self.loop = loop
        self.memory = (ctypes.c_uint8 * SIZE)()
        ctypes.memmove(self.memory, code, len(code))
        self.uc = Uc(UC_ARCH_ARM, UC_MODE_THUMB)
        self.uc.ctl_set_cpu_model(UC_CPU_ARM_CORTEX_M4)
        host = ctypes.addressof(self.memory)
        self.uc.mem_map_ptr(BASE, SIZE, UC_PROT_ALL, host)
        self.lane: Lane = loop.add(self.uc._uch.value, timed=True)
        self.failures: list[BaseException] = []
        loop.set_code(self.lane, [CodeRange(BASE, SIZE, host, UC_PROT_ALL)])
        loop.set_traps(self.lane, (), lambda: None)
        loop.set_counter(self.lane, make_counter("cortex-m4", self.lane, self._read, None), self.failures.append)
        self.uc.reg_write(UC_ARM_REG_PC, BASE | 1)
        self.uc.reg_write(UC_ARM_REG_R3, BASE + 0x1800)
        self.uc.reg_write(UC_ARM_REG_SP, BASE + 0x1C00)

    def _read(self, address: int, size: int) -> bytes:
        return bytes(self.memory[address - BASE : address - BASE + size]) if address >= BASE else b""

    def run(self, limit: int) -> tuple[int, ...]:
        """Run to a cycle; where the core stands then, and all of its count."""
        self.lane.limit = limit
        error = self.loop.run(self.lane)
        assert not self.failures
        state = [getattr(self.lane, name) for name in ("retired", "busy", "it_left", *LASTING, *AT_WORK)]
        return (error, self.uc.reg_read(UC_ARM_REG_PC), *state)


@pytest.mark.parametrize("make", [NATIVE, PythonLoop])
def test_a_store_into_code_changes_what_it_costs(make: Callable[[], Loop]) -> None:
    # strh r0, [r1]; then what that changes: adds to ldr
    bench = Bench(make(), ADDS * 2 + bytes.fromhex("0880") + bytes.fromhex("00bf") + ADDS + bytes.fromhex("00bf"))
    bench.uc.reg_write(UC_ARM_REG_R1, BASE)
    bench.uc.reg_write(UC_ARM_REG_R0, int.from_bytes(LDR, "little"))
    bench.run(4)
    first = bench.lane.cycles
    bench.uc.reg_write(UC_ARM_REG_PC, BASE | 1)

    bench.run(first + 3)

    assert first == 4
    assert (bench.lane.cycles, bench.lane.retired) == (first + 3, 4 + 2)


@pytest.mark.parametrize("make", [NATIVE, PythonLoop])
def test_code_that_another_wrote_is_charged_anew(make: Callable[[], Loop]) -> None:
    bench = Bench(make(), ADDS * 8)
    bench.run(4)

    ctypes.memmove(ctypes.addressof(bench.memory), LDR * 2, 4)
    bench.uc.ctl_remove_cache(BASE, BASE + 4)
    bench.uc.reg_write(UC_ARM_REG_PC, BASE | 1)
    bench.run(4 + 3)

    assert (bench.lane.cycles, bench.lane.retired) == (7, 6)


@pytest.mark.skipif(library_path() is None, reason="the native loop is not built")
@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(POOL), min_size=4, max_size=40), st.lists(st.integers(1, 40), min_size=1, max_size=8))
def test_both_loops_count_any_code_alike(code: list[bytes], steps: list[int]) -> None:
    benches = [Bench(loop, b"".join(code)) for loop in (NativeLoop(), PythonLoop())]

    limit = 0
    for step in steps:
        limit += step
        states = [bench.run(limit) for bench in benches]
        assert states[0] == states[1]
        if states[0][0]:
            break
