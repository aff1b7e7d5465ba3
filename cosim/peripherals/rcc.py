"""RCC of the STM32MP15: who may touch the clocks, and the hold-boot machine that keeps the Cortex-M4 from running.

Sources: RM0436 (RCC) as quoted by ST's SVD and CMSIS files, OP-TEE core/drivers/clk/clk-stm32mp15.c and
core/drivers/remoteproc/stm32_remoteproc.c, Linux drivers/remoteproc/stm32_rproc.c.

Security: RCC_TZCR is written by the secure world only. With TZEN set, non-secure writes to the registers marked `TZEN`
below are ignored; with TZEN and MCKPROT set, also those marked `MCKPROT`. Non-secure reads are always answered. The M4
is a non-secure master. The SVD gates MP_GCR by TZEN and is silent about MP_GRSTCSETR: its MCURST bit is gated here with
the rest of the MCU subsystem, because otherwise the normal world could reset an M4 that it may neither start nor clock.

The registers of the clock tree are in `rcc_clocks`.

Not modelled: what a clock enable does to its block (blocks answer with their clock off), the clock tree, and the system
and MPU resets of MP_GRSTCSETR (accepted without effect).
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import ClassVar, Protocol

from cosim.access import Initiator
from cosim.errors import EngineError
from cosim.events import EventLog
from cosim.peripherals import rcc_clocks
from cosim.registers import WORD, Access, Field, Register, RegisterBlock, bits, set_clear_pair

TZEN = 1 << 0
MCKPROT = 1 << 1
BOOT_MCU = 1 << 0
MCURST = 1 << 1
MCURSTF = 1 << 5
WWDG1RSTF = 1 << 10

_RESET_FLAGS = {
    0: "PORRSTF",
    1: "BORRSTF",
    2: "PADRSTF",
    3: "HCSSRSTF",
    4: "VCORERSTF",
    6: "MPSYSRSTF",
    7: "MCSYSRSTF",
    8: "IWDG1RSTF",
    9: "IWDG2RSTF",
}
_MPU_FLAGS = {13: "MPUP0RSTF", 14: "MPUP1RSTF"}
_STANDBY_FLAGS = {11: "STDBYRSTF", 12: "CSTDBYRSTF"}
_POWER_ON_FLAGS = 0x15

_APB1 = bits(
    {n: f"TIM{t}EN" for n, t in enumerate((2, 3, 4, 5, 6, 7, 12, 13, 14))}
    | {11: "SPI2EN", 12: "SPI3EN", 14: "USART2EN", 15: "USART3EN", 16: "UART4EN", 17: "UART5EN"}
    | {18: "UART7EN", 19: "UART8EN", 21: "I2C1EN", 22: "I2C2EN", 23: "I2C3EN", 24: "I2C5EN", 28: "WWDG1EN"}
)
_APB5 = bits({8: "RTCAPBEN", 11: "TZC1EN", 12: "TZC2EN", 13: "TZPCEN", 15: "IWDG1APBEN", 16: "BSECEN", 20: "STGENEN"})
_AHB3 = bits({0: "DCMIEN", 4: "CRYP2EN", 5: "HASH2EN", 6: "RNG2EN", 7: "CRC2EN", 11: "HSEMEN", 12: "IPCCEN"})
_AHB4 = bits({n: f"GPIO{'ABCDEFGHIJK'[n]}EN" for n in range(11)})
_MLAHB = bits({4: "RETRAMEN"})
_FREEZE = bits({0: "FZ_IWDG1", 1: "FZ_IWDG2"})

REGISTERS: tuple[Register, ...] = (
    Register("TZCR", 0x000, 0x3, bits({0: "TZEN", 1: "MCKPROT"})),
    Register("MSSCKSELR", 0x048, 0x80000000, (Field("MCUSSRC", 0, 2), Field("MCUSSRCRDY", 31, access=Access.RO))),
    Register("MP_BOOTCR", 0x100, 0, bits({0: "MCU_BEN", 1: "MPU_BEN"})),
    Register("MP_GCR", 0x10C, 0, bits({0: "BOOT_MCU"})),
    Register("MP_APRSTCR", 0x110, 0x7F00, (Field("RDCTLEN", 0), Field("RSTTO", 8, 7))),
    Register("MP_APRSTSR", 0x114, 0x7F00, (Field("RSTTOV", 8, 7),), Access.RO),
    *set_clear_pair("MP_APB5EN", 0x208, 0, _APB5),
    Register("BR_RSTSCLRR", 0x400, _POWER_ON_FLAGS, bits(_RESET_FLAGS | {10: "WWDG1RSTF"} | _MPU_FLAGS), Access.W1C),
    Register(
        "MP_GRSTCSETR",
        0x404,
        0,
        bits({0: "MPSYSRST", 1: "MCURST", 4: "MPUP0RST", 5: "MPUP1RST"}),
        Access.PULSE,
    ),
    Register("MP_RSTSCLRR", 0x408, 0, bits(_RESET_FLAGS | _STANDBY_FLAGS | _MPU_FLAGS), Access.W1C),
    Register(
        "MP_RSTSSETR",
        0x420,
        0,
        bits(_RESET_FLAGS | _STANDBY_FLAGS | _MPU_FLAGS),
        Access.W1S,
        stored_in="MP_RSTSCLRR",
    ),
    *set_clear_pair("MP_IWDGFZ", 0x40C, 0, _FREEZE),
    Register("MCUDIVR", 0x830, 0x80000000, (Field("MCUDIV", 0, 4), Field("MCUDIVRDY", 31, access=Access.RO))),
    *set_clear_pair("MP_APB1EN", 0xA00, 0, _APB1),
    *set_clear_pair("MP_AHB3EN", 0xA20, 0, _AHB3),
    *set_clear_pair("MP_AHB4EN", 0xA28, 0, _AHB4),
    *set_clear_pair("MP_MLAHBEN", 0xA38, 0x10, _MLAHB),
    *set_clear_pair("MC_APB1EN", 0xA80, 0, _APB1),
    *set_clear_pair("MC_AHB3EN", 0xAA0, 0, _AHB3),
    *set_clear_pair("MC_AHB4EN", 0xAA8, 0, _AHB4),
    *set_clear_pair("MC_MLAHBEN", 0xAB8, 0x10, _MLAHB),
    Register(
        "MC_RSTSCLRR",
        0xC00,
        _POWER_ON_FLAGS,
        bits(_RESET_FLAGS | {5: "MCURSTF", 10: "WWDG1RSTF"} | _STANDBY_FLAGS),
        Access.W1C,
    ),
    *rcc_clocks.REGISTERS,
    Register("VERR", 0xFF4, 0x11, access=Access.RO),
    Register("IDR", 0xFF8, 0x1, access=Access.RO),
    Register("SIDR", 0xFFC, 0xA3C5DD04, access=Access.RO),
)

_GATED_BY_TZEN = frozenset(
    {
        "MP_BOOTCR",
        "MP_GCR",
        "MP_APRSTCR",
        "MP_APRSTSR",
        "MP_APB5ENSETR",
        "MP_APB5ENCLRR",
        "BR_RSTSCLRR",
        "MP_IWDGFZSETR",
        "MP_IWDGFZCLRR",
        "MCUDIVR",
        *rcc_clocks.GATED_BY_TZEN,
    }
)
#: The bits of each register that the normal world may not write while TZEN and MCKPROT are set.
_GATED_BY_MCKPROT = {"MSSCKSELR": WORD, "MP_GRSTCSETR": MCURST, **rcc_clocks.GATED_BY_MCKPROT}


class CoreState(enum.Enum):
    """Where the hold-boot machine is."""

    HELD = "held"  # in reset, or out of reset and waiting for BOOT_MCU
    RUNNING = "running"


class ResetCause(enum.Enum):
    """Why the Cortex-M4 was reset."""

    MCURST = "RCC_MP_GRSTCSETR.MCURST"
    SYSRESETREQ = "SYSRESETREQ"
    LOCKUP = "lockup"
    WWDG1 = "WWDG1"


class BootControl(Protocol):
    """The engine's side of hold boot. A reset that ends in a restart is `hold` followed by `release`."""

    def release(self) -> None:
        """Let the core run: it loads MSP and PC from address 0 of its own view."""
        ...

    def hold(self) -> None:
        """Put the core into reset and keep it there."""
        ...


class Rcc(RegisterBlock):
    """The reset and clock controller; drives `boot` from MP_GCR and MP_GRSTCSETR."""

    registers: ClassVar[tuple[Register, ...]] = REGISTERS
    computed: ClassVar[frozenset[str] | None] = rcc_clocks.WITH_FLAGS

    def __init__(self, base: int, log: EventLog, boot: BootControl, name: str = "rcc") -> None:
        super().__init__(name, base, log)
        self._boot = boot
        self._state = CoreState.HELD
        self._core_reset_listeners: list[Callable[[], None]] = []

    def boot_chain(self) -> None:
        """Set the clock registers as TF-A's boot stage leaves them on a DK2 before the normal world starts."""
        for name, value in rcc_clocks.BOOT_CHAIN.items():
            self.poke(name, value)

    def listen_core_reset(self, listener: Callable[[], None]) -> None:
        """Call `listener` at each reset of the Cortex-M4, before it may run again."""
        self._core_reset_listeners.append(listener)

    def watchdog_expired(self, number: int) -> None:
        """IWDG1 or IWDG2 asks for a system reset, of which only the flags are set."""
        flag = 1 << (7 + number)
        for register in ("BR_RSTSCLRR", "MP_RSTSCLRR", "MC_RSTSCLRR"):
            self.poke(register, self.value(register) | flag)

    @property
    def core_state(self) -> CoreState:
        """Whether the Cortex-M4 is held or was released."""
        return self._state

    @property
    def tzen(self) -> bool:
        """RCC_TZCR.TZEN: the RCC is in secure mode."""
        return bool(self.value("TZCR") & TZEN)

    def core_reset_request(self, cause: ResetCause) -> None:
        """Reset the Cortex-M4: it ends held while BOOT_MCU is 0 and starts again while it is 1."""
        flags = MCURSTF | (WWDG1RSTF if cause is ResetCause.WWDG1 else 0)
        self.poke("MC_RSTSCLRR", self.value("MC_RSTSCLRR") | flags)
        if self._state is CoreState.RUNNING:
            self._state = CoreState.HELD
            self._boot.hold()
        for listener in self._core_reset_listeners:
            listener()
        self._release_if_allowed()

    def reset(self) -> None:
        """Power-on reset: the M4 is held."""
        super().reset()
        if self._state is CoreState.RUNNING:
            self._state = CoreState.HELD
            self._boot.hold()

    def read_register(self, register: Register, initiator: Initiator) -> int:
        """Ready flags follow their enables."""
        value = super().read_register(register, initiator)
        return rcc_clocks.with_ready_flags(register.name, value, self.value("OCENSETR"))

    def refuses_write(self, register: Register, written: int, initiator: Initiator) -> tuple[str | None, int]:
        """The secure gating of this file's first lines."""
        if initiator.secure:
            return None, WORD
        if register.name == "TZCR":
            return "RCC_TZCR=SECURE_ONLY", 0
        if self.tzen and register.name in _GATED_BY_TZEN:
            return "RCC_TZCR.TZEN", 0
        guarded = _GATED_BY_MCKPROT.get(register.name, 0)
        if guarded and self.tzen and self.value("TZCR") & MCKPROT:
            asked = guarded == WORD or written & guarded  # a pulse bit written as 0 asks for nothing
            return ("RCC_TZCR.MCKPROT" if asked else None), WORD & ~guarded
        return None, WORD

    def written(self, register: Register, before: int, after: int, written: int, initiator: Initiator) -> None:  # noqa: ARG002
        """Drive the hold-boot machine."""
        if register.name == "MP_GCR":
            self._release_if_allowed()
        elif register.name == "MP_GRSTCSETR" and written & MCURST:
            self.core_reset_request(ResetCause.MCURST)

    def save_extra(self) -> CoreState:
        """The state of the hold-boot machine."""
        return self._state

    def load_extra(self, extra: object) -> None:
        """Restore the machine's state without driving the core: its own snapshot says where it is."""
        if not isinstance(extra, CoreState):
            raise EngineError(f"not a snapshot of block {self.name}", hint="restore into the SoC that was saved")
        self._state = extra

    def _release_if_allowed(self) -> None:
        # Only a set BOOT_MCU acts, and only on a held core: clearing it never stops a running one.
        if self._state is CoreState.HELD and self.value("MP_GCR") & BOOT_MCU:
            self._state = CoreState.RUNNING
            self._boot.release()
