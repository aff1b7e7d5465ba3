"""Decodes code bytes into instructions with their cost and the registers that pair rules ask about, with capstone.

The bytes are hostile: whatever they are, decoding takes time linear in their number, each halfword (or word, in ARM
state) belongs to at most one instruction, and what is no instruction gets the table's default cost.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from capstone import CS_ARCH_ARM, CS_MODE_ARM, CS_MODE_MCLASS, CS_MODE_THUMB, Cs, CsInsn
from capstone.arm_const import (
    ARM_CC_AL,
    ARM_CC_INVALID,
    ARM_OP_MEM,
    ARM_OP_REG,
    ARM_REG_D0,
    ARM_REG_D31,
)

from cosim.timing.operands import PC, SP, STACK, AccessForm, access_form, register_bits
from cosim.timing.table import Condition, CostTable, Dynamic, PairRule, Row, When

_MULTIPLE = ("ldm", "stm", "vldm", "vstm")
_ADDEND_FIRST = ("vmla", "vmls", "vnmla", "vnmls", "vfma", "vfms", "vfnma", "vfnms")
_HINTS = frozenset({"nop", "yield", "wfe", "wfi", "sev", "sevl"})
#: How many encodings a decoder remembers.
_MOST_KNOWN = 1 << 16
#: Old names that capstone still uses.
_NAMES = {"fmstat": "vmrs", "fconsts": "vmov", "fconstd": "vmov", "fmdhr": "vmov"}


@dataclass(frozen=True)
class InstructionCost:
    """One instruction, or one halfword or word that is none (`known` false).

    `cycles` is the static part at zero wait states, without neighbours; register sets are bit masks (`register_bits`).
    `leaves` says that control always goes elsewhere, `switches` that it may do so in another instruction set state.
    `dividend` and `divisor` are core register numbers of a divide, `signed` its kind. `access` is where it loads or
    stores.
    """

    size: int
    row: Row
    cycles: int
    known: bool = True
    reads: int = 0
    writes: int = 0
    address_registers: int = 0
    addend: int = 0
    leaves: bool = False
    switches: bool = False
    dividend: int = 0
    divisor: int = 0
    signed: bool = False
    access: AccessForm | None = None


class Decoder:
    """Decodes for one core and instruction set.

    `thumb` chooses between Thumb and ARM state; a Cortex-M has only Thumb.
    """

    def __init__(self, table: CostTable, *, thumb: bool = True) -> None:
        self.table = table
        self.thumb = thumb
        mode = CS_MODE_THUMB if thumb else CS_MODE_ARM
        if table.core.startswith("cortex-m"):
            mode |= CS_MODE_MCLASS
        self._capstone = Cs(CS_ARCH_ARM, mode)
        self._capstone.detail = True
        self._rows: dict[str, tuple[Row, ...]] = {}
        self._known = lru_cache(maxsize=_MOST_KNOWN)(self._one)

    def decode(self, code: bytes) -> tuple[InstructionCost, ...]:
        """All instructions of `code`, back to back.

        What is no instruction is passed over by the length that its first halfword tells; a cut-off one ends the bytes.
        """
        return tuple(self._decode(code))

    def _decode(self, code: bytes) -> Iterator[InstructionCost]:
        offset = 0
        while offset < len(code):
            found = self.one(code[offset : offset + 4])
            yield found
            offset += min(found.size, len(code) - offset)

    def one(self, code: bytes) -> InstructionCost:
        """The instruction that the first bytes of `code` are, wherever it lies; without any, one that is unknown."""
        return self._known(code[: self.width(code)])

    def width(self, code: bytes) -> int:
        """Bytes of the instruction that begins with `code` (ARMv7-M manual, A5.1), as far as they are there."""
        wide = not self.thumb or (len(code) >= 4 and code[1] >> 3 in (0b11101, 0b11110, 0b11111))
        return 4 if wide else 2

    def _one(self, code: bytes) -> InstructionCost:
        # One at a time: capstone carries IT state within a call, and would end the call at what it does not know.
        instruction = next(self._capstone.disasm(code, 0, 1), None)
        if instruction is None or not instruction.size:
            return self._unknown(self.width(code))
        return self._cost(instruction)

    def _unknown(self, size: int) -> InstructionCost:
        row = self.table.unlisted
        return InstructionCost(size, row, row.cycles, known=False, switches=True)

    def _row(self, name: str, instruction: CsInsn, writes: int) -> Row | None:
        rows = self._rows.get(name)
        if rows is None:
            rows = self._rows[name] = self.table.rows_for(name)
        return next((row for row in rows if _holds(row.when, instruction, writes)), None)

    def _cost(self, instruction: CsInsn) -> InstructionCost:
        name = _name(instruction)
        reads, writes = (_mask(registers) for registers in instruction.regs_access())
        operands = instruction.operands
        registers = [register_bits(operand.reg) if operand.type == ARM_OP_REG else 0 for operand in operands]
        if name.startswith("vldm"):
            writes |= sum(registers[1:])  # capstone leaves them out
        row = self._row(name, instruction, writes)
        if row is None:
            return self._unknown(instruction.size)
        cycles = row.cycles
        words = _words(name, registers) if row.registers_per_cycle else 2 if row.when is When.DOUBLE else 1
        if row.registers_per_cycle:
            cycles += -(-words // row.registers_per_cycle)
        indirect = bool(writes & PC) and not name.startswith(("b", "cb"))
        leaves = row.always_leaves or (row.refill > 0 and (indirect or name == "b"))
        divide = row.dynamic is Dynamic.DIVIDE and len(registers) >= 2
        return InstructionCost(
            instruction.size,
            row,
            cycles,
            reads=reads,
            writes=writes,
            address_registers=_address_registers(name, instruction, registers),
            addend=registers[0] if name in _ADDEND_FIRST else 0,
            leaves=leaves and instruction.cc in (ARM_CC_AL, ARM_CC_INVALID),
            switches=indirect or name.startswith(("bx", "blx")),
            dividend=registers[-2].bit_length() - 1 if divide else 0,
            divisor=registers[-1].bit_length() - 1 if divide else 0,
            signed=name == "sdiv",
            access=access_form(name, instruction, registers, words) if "memory" in row.tags else None,
        )

    def pair_rules(self, first: InstructionCost, second: InstructionCost) -> tuple[PairRule, ...]:
        """The rules that hold for `second` directly behind `first`, in the file's order."""
        return tuple(
            rule
            for rule in self.table.pairs
            if _tagged(rule.first, first) and _tagged(rule.second, second) and _applies(rule, first, second)
        )

    def pair_cycles(self, first: InstructionCost, second: InstructionCost) -> int:
        """What `second` takes more, or less when negative, directly behind `first`; never below 0 in all."""
        return max(sum(rule.cycles for rule in self.pair_rules(first, second)), -second.cycles)


def _tagged(tags: frozenset[str], instruction: InstructionCost) -> bool:
    return "any" in tags or not tags.isdisjoint(instruction.row.tags)


def _applies(rule: PairRule, first: InstructionCost, second: InstructionCost) -> bool:
    match rule.condition:
        case Condition.ALWAYS:
            return True
        case Condition.ADDRESS_DEPENDENT:
            return bool(first.writes & second.address_registers)
        case Condition.ADDRESS_INDEPENDENT:
            return not first.writes & second.address_registers
        case Condition.CONSUMES:
            return bool(first.writes & second.reads & ~second.addend)
        case Condition.INDEPENDENT:
            return not first.writes & (second.reads | second.writes)
        case Condition.NARROW_FIRST:
            return first.size == 2


def _mask(registers: list[int]) -> int:
    mask = 0
    for register in registers:
        mask |= register_bits(register)
    return mask


def _name(instruction: CsInsn) -> str:
    text: str = instruction.mnemonic.partition(".")[0]
    if text in _HINTS:
        return text
    name: str = instruction.insn_name()
    return _NAMES.get(name, name)


def _holds(when: When, instruction: CsInsn, writes: int) -> bool:
    operands = instruction.operands
    match when:
        case When.ALWAYS:
            return True
        case When.WRITES_PC:
            return bool(writes & PC)
        case When.REGISTER_OFFSET:
            return any(
                (operand.type == ARM_OP_MEM and operand.mem.index) or (operand.type == ARM_OP_REG and place >= 2)
                for place, operand in enumerate(operands)
            )
        case When.DOUBLE:
            return bool(operands and ARM_REG_D0 <= operands[0].reg <= ARM_REG_D31)
        case When.CORE_REGISTER:
            core = [o for o in operands if o.type == ARM_OP_REG and 0 < register_bits(o.reg) <= PC]
            return len(core) == 2 or (len(core) == 1 and all(o.vector_index < 0 for o in operands))
        case When.IMMEDIATE:
            return bool(operands and operands[-1].type != ARM_OP_REG)


def _words(name: str, registers: list[int]) -> int:
    """Words that an instruction with a register list moves."""
    if name in {"ldrd", "strd"}:
        return 2
    listed = registers if name in STACK else registers[1:]
    return sum(mask.bit_count() for mask in listed)


def _address_registers(name: str, instruction: CsInsn, registers: list[int]) -> int:
    if name in STACK:
        return SP
    if name.startswith(_MULTIPLE):
        return registers[0] if registers else 0
    mask = 0
    for operand in instruction.operands:
        if operand.type == ARM_OP_MEM:
            mask |= register_bits(operand.mem.base) | register_bits(operand.mem.index)
    return mask
