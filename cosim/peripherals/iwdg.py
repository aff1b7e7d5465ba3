"""IWDG1 and IWDG2 of the STM32MP15: independent watchdogs on the 32 kHz LSI, counting down in virtual time.

Source: RM0436 (IWDG) as quoted by ST's CMSIS header and SVD.
0xCCCC starts, 0xAAAA reloads, 0x5555 opens PR, RLR, WINR and EWCR until the next other key. Settings act at once, so
the update flags of SR never rise. Expiry sets the reset flags and is an event; the reset of the whole system that
follows on silicon is not carried out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar

from cosim.access import Initiator
from cosim.errors import EngineError
from cosim.events import EventLog, WatchdogExpired
from cosim.interrupts import Output
from cosim.registers import WORD, Access, Field, Register, RegisterBlock
from cosim.timers import SECOND_PS, Timers

LSI_HZ = 32_000
_START, _RELOAD, _UNLOCK = 0xCCCC, 0xAAAA, 0x5555
_EWIF, _EWIC, _EWIE = 1 << 14, 1 << 14, 1 << 15
_LARGEST_PRESCALER = 8  # a division by 1024
_GUARDED = ("PR", "RLR", "WINR", "EWCR")

REGISTERS: tuple[Register, ...] = (
    Register("KR", 0x00, 0, (Field("KEY", 0, 16),), Access.PULSE, logged=False),
    Register("PR", 0x04, 0x7, (Field("PR", 0, 4),), logged=False),
    Register("RLR", 0x08, 0xFFF, (Field("RL", 0, 12),), logged=False),
    Register("SR", 0x0C, access=Access.RO, logged=False),
    Register("WINR", 0x10, 0xFFF, (Field("WIN", 0, 12),), logged=False),
    Register(
        "EWCR",
        0x14,
        0,
        (Field("EWIT", 0, 12), Field("EWIC", 14, access=Access.PULSE), Field("EWIE", 15)),
        logged=False,
    ),
    Register("HWCFGR", 0x3F0, 0x71, access=Access.RO),
    Register("VERR", 0x3F4, 0x23, access=Access.RO),
    Register("IDR", 0x3F8, 0x00120041, access=Access.RO),
    Register("SIDR", 0x3FC, 0xA3C5DD01, access=Access.RO),
)


class Iwdg(RegisterBlock):
    """One watchdog; `expired` sets the reset flags, `outputs` has the early interrupt by name: Irq."""

    registers: ClassVar[tuple[Register, ...]] = REGISTERS
    output_names: ClassVar[tuple[str, ...]] = ("Irq",)

    def __init__(
        self,
        base: int,
        log: EventLog,
        outputs: Mapping[str, Output],
        name: str,
        *,
        now_ps: Callable[[], int],
        timers: Timers,
        expired: Callable[[], None],
    ) -> None:
        super().__init__(name, base, log)
        self._outputs = outputs
        self._now_ps = now_ps
        self._expired = expired
        self._open = False
        self._loaded_ps: int | None = None  # when the counter last held the reload value; None: not started
        self._early = timers.alarm(self._warn)
        self._late = timers.alarm(self._expire)

    def refuses_write(self, register: Register, written: int, initiator: Initiator) -> tuple[str | None, int]:  # noqa: ARG002
        """The settings are locked until the unlock key was written."""
        return None, WORD if self._open or register.name not in _GUARDED else 0

    def written(self, register: Register, before: int, after: int, written: int, initiator: Initiator) -> None:  # noqa: ARG002
        """Keys act; settings count from the next reload on, except for the early interrupt."""
        if register.name == "KR":
            self._open = written == _UNLOCK
            if written == _START and self._loaded_ps is None:
                self._reload()
            elif written == _RELOAD and self._loaded_ps is not None:
                if self._counter() > self.value("WINR"):
                    self._expire(self._now_ps())
                else:
                    self._reload()
        elif register.name == "EWCR":
            if written & _EWIC:
                self.poke("SR", 0)
            self._arm()

    def reset(self) -> None:
        """Back to the reset values: stopped and locked."""
        super().reset()
        self._open, self._loaded_ps = False, None
        self._arm()

    def save_extra(self) -> tuple[bool, int | None]:
        """Whether the settings are open, and when the counter was loaded."""
        return self._open, self._loaded_ps

    def load_extra(self, extra: object) -> None:
        """Restore them; the alarms are restored with all others."""
        match extra:
            case (bool(unlocked), int() | None as loaded):
                self._open, self._loaded_ps = unlocked, loaded
            case _:
                raise EngineError(f"not a snapshot of block {self.name}", hint="restore into the SoC that was saved")
        self._outputs["Irq"](self._interrupt())

    def _step(self, steps: int) -> int:
        """Picoseconds of `steps` steps of the counter."""
        return steps * (4 << min(self.value("PR"), _LARGEST_PRESCALER)) * SECOND_PS // LSI_HZ

    def _counter(self) -> int:
        passed = max(0, self._now_ps() - (self._loaded_ps or 0)) // self._step(1)
        return max(0, self.value("RLR") - passed)

    def _reload(self) -> None:
        self._loaded_ps = self._now_ps()
        self._arm()

    def _arm(self) -> None:
        self._outputs["Irq"](self._interrupt())
        reload, control = self.value("RLR"), self.value("EWCR")
        started = self._loaded_ps
        warn = control & _EWIE and started is not None and control & 0xFFF <= reload and not self.value("SR") & _EWIF
        self._early.set((started or 0) + self._step(reload - (control & 0xFFF)) if warn else None)
        self._late.set(None if started is None else started + self._step(reload + 1))

    def _warn(self, at_ps: int) -> None:  # noqa: ARG002
        self.poke("SR", _EWIF)
        self._outputs["Irq"](self._interrupt())

    def _expire(self, at_ps: int) -> None:  # noqa: ARG002
        self._log.emit(WatchdogExpired(self.name))
        self.reset()
        self._expired()

    def _interrupt(self) -> bool:
        return bool(self.value("SR") & _EWIF and self.value("EWCR") & _EWIE)
