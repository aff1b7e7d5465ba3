"""Glitches: one instruction of the A7 client or of the M4's way from reset does not happen, or happens differently.

Both are outside the secure world: the client is the normal world, the firmware has been authenticated. So whatever a
glitch makes of them must be without effect on what the secure world promises. An instruction is skipped by putting a
NOP in its place for one execution, which is what advancing the PC does, and flipped likewise.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from cosim import client
from cosim.access import Initiator
from cosim.campaign.caller import IMAGE
from cosim.campaign.target import M4_BUDGET_PS, Judgement, Target
from cosim.client import Command
from cosim.engine import CoreState, CoreView
from cosim.resources import firmware_file
from cosim.soc import CLIENT
from ta.memory_map import find_region

#: How long the client may run on after a glitch; its whole script takes less than a third of that.
_A7_BUDGET_PS = 100 * 10**6
#: What the M4 does while the client spins, in iterations of two instructions.
_SPIN = 500
_NOP = {(4, False): 0xE320F000, (4, True): 0x8000F3AF, (2, True): 0xBF00}
_CPSR_T = 1 << 5


@dataclass(frozen=True)
class _Instruction:
    """The first time that a core stands at `pc`: `budget_ps` of virtual time after the start; `size` in bytes."""

    budget_ps: int
    pc: int
    size: int
    thumb: bool


@dataclass(frozen=True)
class _Glitch:
    """Change `mask` bits of the instruction, or with mask 0 skip `skipped` instructions from it on."""

    instruction: int
    mask: int
    skipped: int = 0


class InstructionGlitches:
    """Glitches of one core. `start` brings the target to the moment from which the core executes."""

    def __init__(self, target: Target, name: str, core: CoreView, start: Callable[[], None]) -> None:
        self._target = target
        self._name = name
        self._core = core
        target.reset()
        start()
        self._start = target.checkpoint()
        mips = target.soc.platform.entries[core.name].properties.get("PerformanceInMips")
        self._step_ps = 10**6 // (mips if isinstance(mips, int) else 100)
        self._instructions = list(self._trace())
        self._glitches = [g for n, i in enumerate(self._instructions) for g in _glitches_of(n, i)]
        self.exhaustive = len(self._glitches)
        target.reset()

    def run(self, index: int) -> tuple[Judgement, str]:
        """One glitch: what came of it, and what it was."""
        return self._play([self._glitches[index]])

    def run_random(self, rng: random.Random) -> tuple[Judgement, str]:
        """Two glitches in one life, in the order in which they are met."""
        pair = [rng.choice(self._glitches), rng.choice(self._glitches)]
        return self._play(sorted(pair, key=lambda glitch: self._instructions[glitch.instruction].budget_ps))

    def _trace(self) -> Iterator[_Instruction]:
        """Every address at which the core stands, the first time."""
        soc, seen, budget = self._target.soc, set[int](), 0
        end = self._end_ps()
        while budget < end and self._core.state is CoreState.RUNNING:
            pc = self._core.pc
            if pc not in seen:
                seen.add(pc)
                thumb = self._thumb()
                yield _Instruction(budget, pc, _size(self._code(pc), thumb), thumb)
            soc.run(budget_ps=self._step_ps)
            budget += self._step_ps

    def _end_ps(self) -> int:
        return M4_BUDGET_PS if self._core is self._target.soc.m4 else _A7_BUDGET_PS

    def _thumb(self) -> bool:
        return self._core is self._target.soc.m4 or bool(self._core.read_register("cpsr") & _CPSR_T)

    def _address(self, pc: int) -> int:
        """The A7 physical address of an instruction."""
        return m4_code_address(pc) if self._core is self._target.soc.m4 else pc

    def _code(self, pc: int) -> bytes:
        return self._target.soc.debug_read(self._address(pc), 8)

    def _play(self, glitches: list[_Glitch]) -> tuple[Judgement, str]:
        target = self._target
        target.reset(start=self._start, firmware_stores=self._core is target.soc.m4)
        spent = 0
        for glitch in glitches:
            at = self._instructions[glitch.instruction]
            if at.budget_ps > spent:
                target.soc.run(budget_ps=at.budget_ps - spent)
                spent = at.budget_ps
            spent += self._glitch(glitch, at)
        target.soc.run(lambda: self._core.state is not CoreState.RUNNING, max(self._end_ps() - spent, self._step_ps))
        target.start_alone()
        judgement = target.boot_again()
        return judgement, f"{self._name}: {' and '.join(map(self._tell, glitches))}"

    def _glitch(self, glitch: _Glitch, at: _Instruction) -> int:
        """Execute with the code changed, and put it back; the virtual time that it took."""
        address, write = self._address(at.pc), self._target.soc.bus.write
        before = self._code(at.pc)
        changed = self._changed(before, glitch, at)
        budget = max(glitch.skipped, 1) * self._step_ps
        write(Initiator.DEBUG, address, changed)
        try:
            self._target.soc.run(budget_ps=budget)
        finally:
            if self._code(at.pc)[: len(changed)] == changed:  # unless a wipe came meanwhile
                write(Initiator.DEBUG, address, before[: len(changed)])
        return budget

    def _changed(self, before: bytes, glitch: _Glitch, at: _Instruction) -> bytes:
        if glitch.mask:
            word = int.from_bytes(before[: at.size], "little") ^ glitch.mask
            return word.to_bytes(at.size, "little")
        changed = b""
        for _ in range(glitch.skipped):
            size = _size(before[len(changed) :], at.thumb)
            changed += _NOP[(size, at.thumb)].to_bytes(size, "little")
        return changed

    def _tell(self, glitch: _Glitch) -> str:
        at = self._instructions[glitch.instruction]
        if glitch.mask:
            return f"bit {glitch.mask.bit_length() - 1} of the instruction at 0x{at.pc:08x} flipped"
        return f"{glitch.skipped} instruction(s) from 0x{at.pc:08x} on skipped"


def m4_code_address(pc: int) -> int:
    """The A7 physical address of an instruction of the M4; `pc` itself outside its memories."""
    region = find_region(pc, 4)
    return pc if region is None else region.pa + pc - region.da


def client_glitches(target: Target) -> InstructionGlitches:
    """The A7 client, which loads, starts, stops and releases the untouched image by real SMCs."""

    def start() -> None:
        soc, session = target.soc, target.session
        address = soc.stage(target.image)
        steps = [
            client.load(session, address, len(target.image)),
            client.get_rsc_table(session),
            client.command(session, Command.START_FW),
            client.spin(_SPIN),
            client.command(session, Command.STOP_FW),
            client.command(session, Command.RELEASE_FW),
            client.power_off(),
        ]
        soc.bus.write(Initiator.DEBUG, client.STEPS_BASE, client.encode_script(steps))
        soc.engine.start(soc.a7.name, soc.load_elf(firmware_file(CLIENT).read_bytes()))

    return InstructionGlitches(target, "A7 client", target.soc.a7, start)


def firmware_glitches(target: Target) -> InstructionGlitches:
    """The M4 from reset on, for as long as cases let it run."""

    def start() -> None:
        target.caller.write(IMAGE, target.image)
        target.caller.load(target.session, len(target.image))
        target.caller.command(target.session, Command.START_FW)

    return InstructionGlitches(target, "M4", target.soc.m4, start)


def _glitches_of(number: int, instruction: _Instruction) -> Iterator[_Glitch]:
    yield from (_Glitch(number, 0, skipped) for skipped in (1, 2))
    yield from (_Glitch(number, 1 << bit) for bit in range(8 * instruction.size))


def _size(code: bytes, thumb: bool) -> int:
    """Bytes of the instruction at the start of `code` (ARMv7-M manual, A5.1)."""
    return 4 if not thumb or code[1] >> 3 in (0b11101, 0b11110, 0b11111) else 2
