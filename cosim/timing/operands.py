"""The registers of an instruction, and where a load or store goes, as a form to compute just before it executes.

Wait states and alignment of data depend on the address, which only registers tell. The form is static, so that a loop
reads at most two registers for an access, in whatever way its engine makes the access.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from capstone import CsInsn
from capstone.arm_const import (
    ARM_OP_MEM,
    ARM_REG_D0,
    ARM_REG_D31,
    ARM_REG_LR,
    ARM_REG_PC,
    ARM_REG_Q0,
    ARM_REG_Q15,
    ARM_REG_R0,
    ARM_REG_R12,
    ARM_REG_S0,
    ARM_REG_S31,
    ARM_REG_SP,
    ARM_SFT_INVALID,
    ARM_SFT_LSL,
)

#: Bits of a register set: r0 to r12, sp, lr, pc, then s0 to s31.
SP, PC = 1 << 13, 1 << 15
_BANKS: tuple[tuple[int, int, int, int], ...] = (
    (ARM_REG_R0, ARM_REG_R12, 1, 0),
    (ARM_REG_S0, ARM_REG_S31, 1, 16),
    (ARM_REG_D0, ARM_REG_D31, 2, 16),
    (ARM_REG_Q0, ARM_REG_Q15, 4, 16),
)
_FIXED: dict[int, int] = {ARM_REG_SP: SP, ARM_REG_LR: 1 << 14, ARM_REG_PC: PC}
#: Instructions whose base is SP without saying so.
STACK = frozenset({"push", "pop", "vpush", "vpop"})
_STORES = ("str", "stm", "push", "vstr", "vstm", "vpush")
_BELOW_BASE = frozenset({"push", "vpush", "ldmdb", "stmdb", "vldmdb", "vstmdb"})
_BYTES = ("ldrb", "ldrsb", "ldrexb", "strb", "strexb", "tbb")
_HALFWORDS = ("ldrh", "ldrsh", "ldrexh", "strh", "strexh", "tbh")


@dataclass(frozen=True)
class AccessForm:
    """A data access at `base` + (`index` << `shift`) + `displacement`; registers by number, `index` None without one.

    A `base` of 15 stands for the instruction's address plus 4, as a multiple of 4. `words` accesses of `size` bytes
    follow each other; more than one is of words only, which the core wants aligned.
    """

    base: int
    index: int | None
    shift: int
    displacement: int
    size: int
    words: int
    write: bool


def register_bits(register: int) -> int:
    """The bit mask of a capstone register id; 0 for flags and system registers."""
    for first, last, width, place in _BANKS:
        if first <= register <= last:
            return ((1 << width) - 1) << (place + width * (register - first))
    return _FIXED.get(register, 0)


def access_form(name: str, instruction: CsInsn, registers: Sequence[int], words: int) -> AccessForm | None:
    """The form of the load or store `name`; None for one that has no such address, as with ARM state's shifts.

    `registers` are the bit masks of its register operands, 0 for others; `words` is how many it moves.
    """
    write = name.startswith(_STORES)
    memory = next((operand for operand in instruction.operands if operand.type == ARM_OP_MEM), None)
    if memory is None:
        base = SP if name in STACK else registers[0] if registers else 0
        below = 4 * words if name in _BELOW_BASE else 0
        return AccessForm(base.bit_length() - 1, None, 0, -below, 4, words, write) if 0 < base <= PC else None
    base, index = register_bits(memory.mem.base), register_bits(memory.mem.index)
    if not 0 < base <= PC or index > PC or memory.subtracted or memory.shift.type not in (ARM_SFT_INVALID, ARM_SFT_LSL):
        return None
    return AccessForm(
        base.bit_length() - 1,
        index.bit_length() - 1 if index else None,
        memory.shift.value if index else 0,
        memory.mem.disp,
        1 if name.startswith(_BYTES) else 2 if name.startswith(_HALFWORDS) else 4,
        max(words, 1),
        write,
    )
