"""Where a debugger stops a core: before the instructions at chosen addresses, or before whatever comes next.

A breakpoint is a hook of Unicorn on one address, so it costs nothing elsewhere. It changes neither what the core does
nor when: the core stands before the instruction, and the same instruction is announced anew when it goes on.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from typing import TYPE_CHECKING, Any

from unicorn import UC_HOOK_CODE

from cosim.engine import Watch
from cosim.engine.unicorn.traps import MAX_TRAPS
from cosim.engine.unicorn.watch import WatchHook
from cosim.errors import EngineError

if TYPE_CHECKING:
    from cosim.engine.unicorn.core import Core

#: In `Lane.trap`: no trap, and no other may spring in the rest of an IT block that was given up.
_NO_TRAP = MAX_TRAPS + 1
_ANYWHERE = (1, 0)


class Breakpoints:
    """Those of one core. An instruction stops it once: going on executes it."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._hooks: dict[tuple[int, int], int] = {}
        self._watches: dict[Watch, WatchHook] = {}
        self._hit = False
        self._accessed: Watch | None = None
        self._passed: tuple[int, int] | None = None
        #: What was accessed, where that is why the core stopped last.
        self.seen: Watch | None = None

    def set(self, addresses: Collection[int], watches: Collection[Watch], *, every: bool) -> None:
        """Stop at these from now on and nowhere else; with `every`, before each instruction.

        Raises `EngineError` for a watch of what this core does not access as plain memory; nothing changes then.
        """
        spans = {(address, address) for address in addresses} | ({_ANYWHERE} if every else set())
        if spans == set(self._hooks) and set(watches) == set(self._watches):
            return
        for watch in watches:
            if self._core.host_address(watch.address, watch.size, write=False) is None:
                raise EngineError(f"0x{watch.address:08x} is no plain memory", hint="watch RAM", core=self._core.name)
        uc = self._core.uc
        for span in set(self._hooks) - spans:
            uc.hook_del(self._hooks.pop(span))
        for begin, end in sorted(spans - set(self._hooks)):
            self._hooks[begin, end] = uc.hook_add(UC_HOOK_CODE, self._on_code, begin=begin, end=end)
        dropped = []  # alive until the code that calls them is
        for watch in set(self._watches) - set(watches):
            dropped.append(self._watches.pop(watch))
            dropped[-1].remove()
        for watch in sorted(set(watches) - set(self._watches)):
            self._watches[watch] = self._core.watch(watch, partial(self._on_access, watch))
        # What was translated before knows nothing of hooks that came later.
        self._core.forget_all_code()

    def stops(self) -> bool:
        """Whether the core has to stop where it stands, at a boundary of instructions; asked once each time."""
        core, lane = self._core, self._core.lane
        hit, self._hit = self._hit, False
        if self._accessed is not None and not lane.busy:
            self.seen, self._accessed, self._passed = self._accessed, None, (core.pc, lane.retired)
            return True
        # Where a trap stopped the core before an instruction, that instruction was not looked at yet.
        trapped = not hit and lane.trap and not core.traps[lane.trap - 1].after
        if not hit and not (trapped and self._is_at(core.pc)):
            return False
        self.seen, self._passed = None, (core.pc, lane.retired)
        return True

    def forget(self) -> None:
        """The core is somewhere else now (a snapshot was restored, a debugger changed its PC)."""
        self._passed = self._accessed = None

    def _is_at(self, address: int) -> bool:
        wanted = (address, address) in self._hooks or _ANYWHERE in self._hooks
        return wanted and (address, self._core.lane.retired) != self._passed

    def _on_code(self, uc: Any, address: int, size: int, _data: Any) -> None:
        """Unicorn is about to execute the instruction at `address`, and the loop has seen it."""
        core, lane = self._core, self._core.lane
        if not lane.busy or core.given_up() or not self._is_at(address):
            return
        if lane.trap and not self._springs_at(address, size):
            return  # the rest of an IT block behind what has to stop the core for the engine; it ends first
        self._hit = True
        lane.busy, lane.attention = 0, 1
        if lane.it_left and lane.it_pc == address:
            lane.limit, lane.trap = 0, _NO_TRAP
            core.freeze()
        else:
            lane.it_left = 0  # the block that this instruction opens, if it is an IT
            uc.emu_stop()

    def _springs_at(self, address: int, size: int) -> bool:
        """Whether the trap of the lane, one that stops behind its instruction, is about the one at `address`."""
        trap, code = self._core.traps[self._core.lane.trap - 1], self._core.read_code(address, size)
        first, second = int.from_bytes(code[:2], "little"), int.from_bytes(code[2:], "little")
        opcode = first if size == 2 else second << 16 | first if trap.arm else first << 16 | second
        return trap.size == size and opcode & trap.mask == trap.value

    def _on_access(self, watch: Watch) -> None:
        """What is watched is about to be read or written: the core stops behind the instruction."""
        core = self._core
        if core.given_up():
            return
        self._accessed = watch
        core.lane.limit, core.lane.attention = 0, 1
