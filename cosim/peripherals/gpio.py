"""GPIO ports A to K and Z of the STM32MP15: modes, outputs, inputs with pulls, the lock, and port Z's secure pins.

Source: RM0436 (GPIO) as quoted by ST's SVD and CMSIS header.
A pin reads its output in output mode, what is driven from outside in input and alternate mode, else its pull; an
analog pin reads 0, an undriven pin without pull reads 0. Open-drain outputs read 0, or their input while they are 1.
Speeds and alternate functions are stored without effect: serial ports work whatever their pins are set to.
Port Z: SECCFGR is written by the secure world only, and the bits of secure pins read as zero and ignore writes for
everyone else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from cosim.access import Initiator
from cosim.errors import EngineError
from cosim.events import EventLog
from cosim.registers import WORD, Access, Field, Register, RegisterBlock

PINS = 16
_INPUT, _OUTPUT, _ALTERNATE = 0, 1, 2
_PULL_UP = 1
_LCKK = 1 << 16
#: Bits per pin of the registers that a secure or locked pin guards.
_WIDTHS = {"MODER": 2, "OTYPER": 1, "OSPEEDR": 2, "PUPDR": 2, "IDR": 1, "ODR": 1, "BRR": 1, "AFRL": 4, "AFRH": 4}
_LOCKABLE = ("MODER", "OTYPER", "OSPEEDR", "PUPDR", "AFRL", "AFRH")

REGISTERS: tuple[Register, ...] = (
    Register("MODER", 0x00, 0xFFFFFFFF, logged=False),
    Register("OTYPER", 0x04, 0, (Field("OT", 0, 16),), logged=False),
    Register("OSPEEDR", 0x08, logged=False),
    Register("PUPDR", 0x0C, logged=False),
    Register("IDR", 0x10, 0, (Field("IDR", 0, 16),), Access.RO, logged=False),
    Register("ODR", 0x14, 0, (Field("ODR", 0, 16),), logged=False),
    Register("BSRR", 0x18, access=Access.PULSE, logged=False),
    Register("LCKR", 0x1C, 0, (Field("LCK", 0, 16), Field("LCKK", 16)), logged=False),
    Register("AFRL", 0x20, logged=False),
    Register("AFRH", 0x24, logged=False),
    Register("BRR", 0x28, 0, (Field("BR", 0, 16),), Access.PULSE, logged=False),
    Register("VERR", 0x3F4, 0x40, access=Access.RO),
    Register("IPIDR", 0x3F8, 0x000F0002, access=Access.RO),
    Register("SIDR", 0x3FC, 0xA3C5DD01, access=Access.RO),
)


class Gpio(RegisterBlock):
    """One port. `changed` is told pin and level whenever a pin's input changes (the EXTI listens)."""

    registers: ClassVar[tuple[Register, ...]] = REGISTERS
    computed: ClassVar[frozenset[str] | None] = frozenset({"IDR"})

    def __init__(self, base: int, log: EventLog, name: str, changed: Callable[[int, bool], None]) -> None:
        super().__init__(name, base, log)
        self._changed = changed
        self._driven: dict[int, bool] = {}
        self._seen = 0
        self._lock_step = 0

    def drive(self, pin: int, level: bool | None) -> None:
        """The world outside drives `pin` (0..15) to `level`, or lets go of it (None). Raises `EngineError`."""
        if not 0 <= pin < PINS:
            raise EngineError(f"{self.name} has no pin {pin}", hint=f"use 0 to {PINS - 1}")
        if level is None:
            self._driven.pop(pin, None)
        else:
            self._driven[pin] = level
        self._update()

    def level(self, pin: int) -> bool:
        """What the pin reads as."""
        mode = self.value("MODER") >> 2 * pin & 3
        out = bool(self.value("ODR") >> pin & 1)
        if mode == _OUTPUT and not (out and self.value("OTYPER") >> pin & 1):
            return out
        if mode not in (_INPUT, _OUTPUT, _ALTERNATE):
            return False
        return self._driven.get(pin, self.value("PUPDR") >> 2 * pin & 3 == _PULL_UP)

    def read_register(self, register: Register, initiator: Initiator) -> int:
        """IDR is computed; the bits of secure pins read as zero for the non-secure world."""
        value = self._inputs() if register.name == "IDR" else super().read_register(register, initiator)
        return value & self._permitted(register, initiator)

    def refuses_write(self, register: Register, written: int, initiator: Initiator) -> tuple[str | None, int]:
        """Secure pins are the secure world's, locked pins keep their configuration."""
        permitted = self._permitted(register, initiator)
        rule = f"{self.name.upper()}_SECCFGR" if written & ~permitted else None
        if register.name in _LOCKABLE and self.value("LCKR") & _LCKK:
            permitted &= ~_spread(register.name, self.value("LCKR") & 0xFFFF) & WORD
        return rule, permitted

    def combine(self, register: Register, before: int, written: int, lanes: int) -> int:
        """As the table says, except for LCKR, which its write sequence sets once."""
        if register.name == "LCKR":
            return before if before & _LCKK else self._lock(before, written)
        return super().combine(register, before, written, lanes)

    def written(self, register: Register, before: int, after: int, written: int, initiator: Initiator) -> None:  # noqa: ARG002
        """BSRR and BRR change ODR; inputs may follow."""
        if register.name == "BSRR":
            self.poke("ODR", (self.value("ODR") & ~(written >> 16)) | (written & 0xFFFF))
        elif register.name == "BRR":
            self.poke("ODR", self.value("ODR") & ~(written & 0xFFFF))
        if register.name != "LCKR":
            self._lock_step = 0
        self._update()

    def reset(self) -> None:
        """Back to the reset values; what drives the pins from outside stays."""
        super().reset()
        self._lock_step = 0
        self._update()

    def save_extra(self) -> tuple[tuple[tuple[int, bool], ...], int, int]:
        """What drives the pins, their levels, and where the lock sequence is."""
        return tuple(self._driven.items()), self._seen, self._lock_step

    def load_extra(self, extra: object) -> None:
        """Restore them; the EXTI has its inputs from its own snapshot."""
        match extra:
            case (tuple(driven), int(seen), int(step)):
                self._driven, self._seen, self._lock_step = dict(driven), seen, step
            case _:
                raise EngineError(f"not a snapshot of block {self.name}", hint="restore into the SoC that was saved")

    def secure_pins(self) -> int:
        """The pins that belong to the secure world, one bit each."""
        return 0

    def _permitted(self, register: Register, initiator: Initiator) -> int:
        secure = 0 if initiator.secure or initiator is Initiator.DEBUG else self.secure_pins()
        return WORD & ~_spread(register.name, secure) if secure else WORD

    def _lock(self, before: int, written: int) -> int:
        """The sequence is: LCKK with the pins, the pins without LCKK, LCKK with the pins again."""
        pins = written & 0xFFFF
        expected = (True, False, True)[self._lock_step]
        if bool(written & _LCKK) is not expected or (self._lock_step and pins != before):
            self._lock_step = 0
            return pins if written & _LCKK == 0 else before
        self._lock_step += 1
        if self._lock_step == 3:
            self._lock_step = 0
            return pins | _LCKK
        return pins

    def _inputs(self) -> int:
        return sum(self.level(pin) << pin for pin in range(PINS))

    def _update(self) -> None:
        levels = self._inputs()
        changed, self._seen = levels ^ self._seen, levels
        for pin in range(PINS):
            if changed >> pin & 1:
                self._changed(pin, bool(levels >> pin & 1))


class GpioZ(Gpio):
    """Port Z: pins 0 to 7, which the secure world may keep for itself."""

    registers: ClassVar[tuple[Register, ...]] = (*REGISTERS, Register("SECCFGR", 0x30, 0xFF, (Field("SEC", 0, 8),)))
    computed: ClassVar[frozenset[str] | None] = None

    def secure_pins(self) -> int:
        """SECCFGR."""
        return self.value("SECCFGR")

    def refuses_write(self, register: Register, written: int, initiator: Initiator) -> tuple[str | None, int]:
        """SECCFGR is the secure world's."""
        if register.name == "SECCFGR" and not initiator.secure:
            return "GPIOZ_SECCFGR=SECURE_ONLY", 0
        return super().refuses_write(register, written, initiator)


def _spread(register: str, pins: int) -> int:
    """The bits of a register that belong to `pins` (one bit each)."""
    if register in ("BSRR", "LCKR"):
        return pins | pins << 16 if register == "BSRR" else pins
    width = _WIDTHS.get(register, 0)
    first = 8 if register == "AFRH" else 0
    return sum(((1 << width) - 1) << width * (pin - first) for pin in range(first, PINS) if pins >> pin & 1) & WORD
