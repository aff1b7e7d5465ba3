"""Makes the Python-modelled blocks of a description, each by the entry's name, and ties them to each other.

The table `_MAKERS` says which model an entry gets. Blocks that others need (clock and power, firewall, pin events) are
made first, whatever their place in the description; one that is missing is an error that says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

from cosim.access import Peripheral
from cosim.errors import PlatformError
from cosim.events import EventLog
from cosim.interrupts import Interrupts, Output
from cosim.peripherals.crc import Crc
from cosim.peripherals.dbgmcu import Dbgmcu
from cosim.peripherals.dma import STREAMS, Dma, Memory, Turn
from cosim.peripherals.dmamux import Dmamux
from cosim.peripherals.etzpc import Etzpc
from cosim.peripherals.exti import Exti
from cosim.peripherals.gpio import Gpio, GpioZ
from cosim.peripherals.hsem import Hsem
from cosim.peripherals.ipcc import Ipcc
from cosim.peripherals.iwdg import Iwdg
from cosim.peripherals.pwr import Pwr
from cosim.peripherals.rcc import BootControl, Rcc, ResetCause
from cosim.peripherals.rng import Rng
from cosim.peripherals.secure_monitor import SecureMonitor
from cosim.peripherals.syscfg import Syscfg
from cosim.peripherals.tamp import Tamp
from cosim.peripherals.tim import (
    AdvancedTimer,
    GeneralTimer,
    OneChannelTimer,
    RepeatingOneChannelTimer,
    RepeatingTwoChannelTimer,
    Timer,
    TwoChannelTimer,
    WideTimer,
)
from cosim.peripherals.tzc400 import Tzc400
from cosim.peripherals.usart import Stm32Usart
from cosim.peripherals.usart_clock import kernel_hz
from cosim.peripherals.wwdg import Wwdg
from cosim.platform.model import Entry, Platform
from cosim.timers import Timers

GPIO_PORTS = "ABCDEFGHIJKZ"
#: EXTI line of the WWDG1's reset (RM0436, EXTI event table).
_WWDG1_RESET_LINE = 68
#: Numbers of the receive requests at the DMAMUX1 (RM0436, DMAMUX1 assignment); transmission has the next one.
#: USART1 is out of reach of DMA1 and DMA2.
_USART_REQUESTS = {"usart2": 43, "usart3": 45, "uart4": 63, "uart5": 65, "usart6": 71, "uart7": 79, "uart8": 81}
#: What each timer is (RM0436, one chapter for each kind).
_TIMERS: Mapping[str, type[Timer]] = {
    **dict.fromkeys(("tim1", "tim8"), AdvancedTimer),
    **dict.fromkeys(("tim2", "tim5"), WideTimer),
    **dict.fromkeys(("tim3", "tim4"), GeneralTimer),
    **dict.fromkeys(("tim6", "tim7"), Timer),
    "tim12": TwoChannelTimer,
    **dict.fromkeys(("tim13", "tim14"), OneChannelTimer),
    "tim15": RepeatingTwoChannelTimer,
    **dict.fromkeys(("tim16", "tim17"), RepeatingOneChannelTimer),
}


@dataclass(frozen=True)
class BlockOptions:
    """`seed` of the random number generators; `strict` makes what has no model a bus error."""

    seed: int = 0
    strict: bool = False


class BlockMaker:
    """The blocks of one machine in the making."""

    def __init__(
        self,
        platform: Platform,
        log: EventLog,
        *,
        interrupts: Interrupts,
        timers: Timers,
        boot: BootControl,
        smc: Callable[[tuple[int, ...]], tuple[int, int, int, int]],
        memory: Memory,
        options: BlockOptions,
    ) -> None:
        self.log, self.timers, self.smc, self.memory, self.options = log, timers, smc, memory, options
        self._platform, self._interrupts, self._boot = platform, interrupts, boot
        self._dmas: dict[str, Dma] = {}
        self._turn = Turn()

    def make(self, entry: Entry) -> Peripheral:
        """The model of a Python-modelled entry. Raises `PlatformError` when there is none."""
        maker = _MAKERS.get(entry.name)
        if maker is None:
            raise PlatformError(
                f"{entry.file.name}:{entry.line}: there is no Python model for {entry.name!r}",
                hint=f"models exist for {', '.join(_MAKERS)}",
                file=str(entry.file),
                line=entry.line,
                entry=entry.name,
                type=entry.type,
            )
        return maker(self, entry.name)

    def base(self, name: str) -> int:
        """The address of the block `name`. Raises `PlatformError` when the description lacks it."""
        entry = self._platform.entries.get(name)
        if entry is None or not entry.registrations:
            raise PlatformError(
                f"the description has no block {name!r} on the system bus",
                hint="`using` stm32mp157-blocks.repl brings all blocks",
                entry=name,
            )
        return entry.registrations[0].address

    def outputs(self, name: str, names: tuple[str, ...]) -> Mapping[str, Output]:
        """The interrupt outputs of the block `name`."""
        return {output: self._interrupts.output(name + output) for output in names}

    def now_ps(self) -> int:
        """The virtual time of the core at work in picoseconds."""
        return self.log.clock().time_ps

    @property
    def mcu_hz(self) -> int:
        """The clock of the MCU subsystem, which is the M4's in the description; its APBs run at half of it."""
        rates = (entry.properties.get("PerformanceInMips") for entry in self._platform.of_type("CPU.CortexM"))
        return next((rate * 10**6 for rate in rates if isinstance(rate, int)), 209 * 10**6)

    # Blocks that others need

    @cached_property
    def rcc(self) -> Rcc:
        """Clock and reset, with the clocks as the boot chain left them."""
        rcc = Rcc(self.base("rcc"), self.log, self._boot)
        rcc.boot_chain()
        return rcc

    @cached_property
    def pwr(self) -> Pwr:
        """Power control."""
        return Pwr(self.base("pwr"), self.log, lambda: self.rcc.tzen)

    @cached_property
    def etzpc(self) -> Etzpc:
        """The firewall of peripherals and MCU memories."""
        return Etzpc(self.base("etzpc"), self.log)

    @cached_property
    def tzc(self) -> Tzc400:
        """The firewall of the DDR."""
        return Tzc400(self.base("tzc"), self.log)

    @cached_property
    def exti(self) -> Exti:
        """Pin and wake-up events."""
        return Exti(self.base("exti"), self.log, self.outputs("exti", Exti.output_names))

    @cached_property
    def dmamux(self) -> Dmamux:
        """The way of DMA requests to the controllers."""
        streams = tuple(dma.request(n) for dma in (self.dma("dma1"), self.dma("dma2")) for n in range(STREAMS))
        return Dmamux(self.base("dmamux"), self.log, streams)

    def dma(self, name: str) -> Dma:
        """A DMA controller, one for each name."""
        if name not in self._dmas:
            outputs = self.outputs(name, Dma.output_names)
            self._dmas[name] = Dma(self.base(name), self.log, outputs, name, memory=self.memory, turn=self._turn)
        return self._dmas[name]

    # Blocks with ties to others

    def usart(self, name: str) -> Stm32Usart:
        """A serial port, with DMA where the description has the controllers."""
        requests: dict[str, Output] = {}
        if name in _USART_REQUESTS and "dmamux" in self._platform.entries:
            receive = _USART_REQUESTS[name]
            requests = {"Rx": self.dmamux.request(receive), "Tx": self.dmamux.request(receive + 1)}
        return Stm32Usart(
            self.base(name),
            self.log,
            name,
            self._interrupts.output(name),
            requests,
            clock=lambda: kernel_hz(name, self.rcc.value, self.mcu_hz),
        )

    def gpio(self, name: str) -> Gpio:
        """A port, whose pins reach the EXTI; the secure world has freed port Z's for the normal world."""
        port, exti = GPIO_PORTS.index(name[-1]), self.exti

        def changed(pin: int, level: bool) -> None:
            exti.set_pin(port, pin, level)

        if name[-1] != "Z":
            return Gpio(self.base(name), self.log, name, changed)
        port_z = GpioZ(self.base(name), self.log, name, changed)
        port_z.poke("SECCFGR", 0)
        return port_z

    def timer(self, kind: type[Timer], name: str) -> Timer:
        """A timer; its kernel clock is twice its APB's, which is the MCU subsystem's."""
        outputs = self.outputs(name, kind.output_names)
        return kind(
            self.base(name),
            self.log,
            outputs,
            name,
            now_ps=self.now_ps,
            timers=self.timers,
            clock_hz=self.mcu_hz,
        )

    def wwdg(self, name: str) -> Wwdg:
        """The M4's watchdog: resets it and tells the A7 through the EXTI; a reset of the M4 stops it."""
        rcc, exti = self.rcc, self.exti

        def expired() -> None:
            rcc.core_reset_request(ResetCause.WWDG1)
            exti.set_line(_WWDG1_RESET_LINE, True)
            exti.set_line(_WWDG1_RESET_LINE, False)

        watchdog = Wwdg(
            self.base(name),
            self.log,
            self.outputs(name, Wwdg.output_names),
            name,
            now_ps=self.now_ps,
            timers=self.timers,
            clock_hz=self.mcu_hz // 2,
            expired=expired,
        )
        rcc.listen_core_reset(watchdog.reset)
        return watchdog

    def iwdg(self, name: str) -> Iwdg:
        """An independent watchdog."""
        number = int(name[-1])
        outputs = self.outputs(name, Iwdg.output_names)
        return Iwdg(
            self.base(name),
            self.log,
            outputs,
            name,
            now_ps=self.now_ps,
            timers=self.timers,
            expired=lambda: self.rcc.watchdog_expired(number),
        )


_Maker = Callable[[BlockMaker, str], Peripheral]


def _rng(maker: BlockMaker, name: str) -> Peripheral:
    return Rng(maker.base(name), maker.log, maker.outputs(name, Rng.output_names), name, maker.options.seed)


def _tamp(maker: BlockMaker, name: str) -> Peripheral:
    return Tamp(maker.base(name), maker.log, lambda: maker.pwr.backup_writable)


_MAKERS: Mapping[str, _Maker] = {
    "rcc": lambda maker, _: maker.rcc,
    "pwr": lambda maker, _: maker.pwr,
    "etzpc": lambda maker, _: maker.etzpc,
    "tzc": lambda maker, _: maker.tzc,
    "tamp": _tamp,
    "secureMonitor": lambda maker, name: SecureMonitor(maker.base(name), maker.log, maker.smc),
    "ipcc": lambda maker, name: Ipcc(maker.base(name), maker.log, maker.outputs(name, Ipcc.output_names)),
    "hsem": lambda maker, name: Hsem(maker.base(name), maker.log, maker.outputs(name, Hsem.output_names)),
    "exti": lambda maker, _: maker.exti,
    **{f"gpio{port}": BlockMaker.gpio for port in GPIO_PORTS},
    **dict.fromkeys(_TIMERS, lambda maker, name: maker.timer(_TIMERS[name], name)),
    "wwdg1": BlockMaker.wwdg,
    "iwdg1": BlockMaker.iwdg,
    "iwdg2": BlockMaker.iwdg,
    "rng1": _rng,
    "rng2": _rng,
    "crc1": lambda maker, name: Crc(maker.base(name), maker.log, name),
    "crc2": lambda maker, name: Crc(maker.base(name), maker.log, name),
    "dma1": BlockMaker.dma,
    "dma2": BlockMaker.dma,
    "dmamux": lambda maker, _: maker.dmamux,
    "syscfg": lambda maker, name: Syscfg(maker.base(name), maker.log),
    "dbgmcu": lambda maker, name: Dbgmcu(maker.base(name), maker.log),
}
