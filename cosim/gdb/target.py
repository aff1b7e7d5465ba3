"""What GDB sees of a core: its registers by number, as a target description says (GDB manual, appendix G.5.3)."""

from __future__ import annotations

from typing import NamedTuple

from cosim.engine import DebugCore
from cosim.errors import EngineError


class Register(NamedTuple):
    """A register by its name here and in GDB; `size` in bytes."""

    name: str
    size: int = 4
    kind: str = "int"


class Feature(NamedTuple):
    """One feature of the target description, and its registers in GDB's order."""

    name: str
    registers: tuple[Register, ...]


def _general(status: str) -> tuple[Register, ...]:
    low = tuple(Register(f"r{number}") for number in range(13))
    return *low, Register("sp", kind="data_ptr"), Register("lr"), Register("pc", kind="code_ptr"), Register(status)


_DOUBLES = tuple(Register(f"d{number}", 8, "ieee_double") for number in range(16))
_SYSTEM = tuple(Register(name) for name in ("msp", "psp", "primask", "basepri", "faultmask", "control"))
_M_PROFILE = (
    Feature("org.gnu.gdb.arm.m-profile", _general("xpsr")),
    Feature("org.gnu.gdb.arm.vfp", (*_DOUBLES, Register("fpscr"))),
    Feature("org.gnu.gdb.arm.m-system", _SYSTEM),
)
_A_PROFILE = (Feature("org.gnu.gdb.arm.core", _general("cpsr")),)


class Target:
    """The registers of one core as bytes, little-endian, in GDB's order."""

    def __init__(self, core: DebugCore, *, m_profile: bool) -> None:
        self._core = core
        self._features = _M_PROFILE if m_profile else _A_PROFILE
        self.registers = tuple(register for feature in self._features for register in feature.registers)

    def description(self) -> bytes:
        """The target description, XML."""
        parts = [
            '<?xml version="1.0"?><!DOCTYPE target SYSTEM "gdb-target.dtd"><target><architecture>arm</architecture>'
        ]
        for feature in self._features:
            parts.append(f'<feature name="{feature.name}">')
            parts += [f'<reg name="{r.name}" bitsize="{8 * r.size}" type="{r.kind}"/>' for r in feature.registers]
            parts.append("</feature>")
        return "".join((*parts, "</target>")).encode()

    def read(self, number: int) -> bytes:
        """Register `number`. Raises `IndexError`, `EngineError`."""
        register = self.registers[number]
        return self._core.read_register(register.name).to_bytes(register.size, "little")

    def write(self, number: int, data: bytes) -> None:
        """Set register `number`. Raises `IndexError`, `EngineError`."""
        register = self.registers[number]
        if len(data) != register.size:
            raise EngineError(f"{register.name} has {register.size} bytes, not {len(data)}", register=register.name)
        self._core.write_register(register.name, int.from_bytes(data, "little"))

    def read_all(self) -> bytes:
        """All registers, in order."""
        return b"".join(self.read(number) for number in range(len(self.registers)))

    def write_all(self, data: bytes) -> None:
        """Set all registers. Raises `EngineError` when these are not the bytes of all."""
        sizes = [register.size for register in self.registers]
        if len(data) != sum(sizes):
            raise EngineError(f"the registers have {sum(sizes)} bytes, not {len(data)}")
        at = 0
        for number, size in enumerate(sizes):
            self.write(number, data[at : at + size])
            at += size
