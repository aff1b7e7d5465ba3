"""Timers of the STM32MP15, advanced (TIM1, TIM8), general-purpose (TIM2 to TIM5, TIM12 to TIM17) and basic (TIM6,
TIM7), counting up in virtual time.

Source: RM0436 (chapters of the timers) as quoted by ST's CMSIS header and SVD.
Modelled: counter, prescaler and auto-reload with their preloads, update events and their sources (UDIS, URS, UG), the
repetition counter, one pulse mode, compare flags of channels 1 to 4 in output mode, interrupts. The counter is computed
when somebody looks; an alarm is set for the next event that has an interrupt enabled.
Not modelled: counting down and center-aligned (DIR and CMS are stored), slave modes, inputs, outputs on pins, break,
channels 5 and 6, DMA.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from cosim.access import Initiator
from cosim.errors import EngineError
from cosim.events import EventLog
from cosim.interrupts import Output
from cosim.registers import Access, Field, Register, RegisterBlock, bits
from cosim.timers import SECOND_PS, Timers

_CEN, _UDIS, _URS, _OPM, _ARPE = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 7
_UIF = 1 << 0
_CHANNEL_FLAGS = {1: "CC1I", 2: "CC2I", 3: "CC3I", 4: "CC4I"}
_FLAGS = {0: "UI", **_CHANNEL_FLAGS, 5: "COMI", 6: "TI", 7: "BI"}


def _basic(width: int = 16, flags: tuple[int, ...] = (0,)) -> tuple[Register, ...]:
    """Registers of every timer; `flags` are the bits that SR and DIER have of `_FLAGS`."""
    reload = (1 << width) - 1
    return (
        Register("CR1", 0x00, 0, (Field("CR1", 0, 12),), logged=False),
        Register("CR2", 0x04, 0, (Field("CR2", 0, 24),), logged=False),
        Register("DIER", 0x0C, 0, (*bits({n: f"{_FLAGS[n]}E" for n in flags}), Field("DE", 8, 7)), logged=False),
        Register("SR", 0x10, 0, bits({n: f"{_FLAGS[n]}F" for n in flags}), logged=False),
        Register("EGR", 0x14, 0, (Field("G", 0, 9),), Access.PULSE, logged=False),
        Register("CNT", 0x24, 0, (Field("CNT", 0, width),), logged=False),
        Register("PSC", 0x28, 0, (Field("PSC", 0, 16),), logged=False),
        Register("ARR", 0x2C, reload, (Field("ARR", 0, width),), logged=False),
    )


def _general(channels: int, width: int = 16, flags: tuple[int, ...] = ()) -> tuple[Register, ...]:
    """Those of a timer with 1, 2 or 4 channels."""
    more = (
        Register("CCMR2", 0x1C, logged=False),
        Register("DCR", 0x48, 0, (Field("DCR", 0, 13),), logged=False),
        Register("DMAR", 0x4C, logged=False),
        Register("AF1", 0x60, logged=False),
    )
    return (
        *_basic(width, (0, *range(1, channels + 1), *flags)),
        *((Register("SMCR", 0x08, logged=False),) if channels > 1 else ()),
        Register("CCMR1", 0x18, logged=False),
        Register("CCER", 0x20, 0, (Field("CCER", 0, 24),), logged=False),
        *(
            Register(f"CCR{n}", 0x30 + 4 * n, 0, (Field("CCR", 0, width),), logged=False)
            for n in range(1, channels + 1)
        ),
        Register("TISEL", 0x68, logged=False),
        *(more if channels == 4 else ()),
    )


def _repeating(width: int) -> tuple[Register, ...]:
    """What timers with a repetition counter of `width` bits have beyond that."""
    return (
        Register("RCR", 0x30, 0, (Field("REP", 0, width),), logged=False),
        Register("BDTR", 0x44, logged=False),
    )


#: Of TIM15 to TIM17, where those with four channels have them already.
_BURSTS = (
    Register("DCR", 0x48, 0, (Field("DCR", 0, 13),), logged=False),
    Register("DMAR", 0x4C, logged=False),
    Register("AF1", 0x60, logged=False),
)
_ADVANCED = (
    Register("CCMR3", 0x54, logged=False),
    Register("CCR5", 0x58, logged=False),
    Register("CCR6", 0x5C, 0, (Field("CCR6", 0, 16),), logged=False),
    Register("AF2", 0x64, logged=False),
)


@dataclass
class _Count:
    """Where the counter is: `value` since the cycle `cycle` of the timer's clock, with the preloads in effect.

    `repeat` is how often it still wraps without an update event.
    """

    cycle: int
    value: int
    prescaler: int
    reload: int
    repeat: int = 0


class Timer(RegisterBlock):
    """A basic timer of 16 bits; `clock_hz` is its kernel clock, `outputs` has its interrupts by name: Irq, or several.

    `interrupts` says which flags each of them stands for.
    """

    registers: ClassVar[tuple[Register, ...]] = _basic()
    interrupts: ClassVar[Mapping[str, int]] = {"Irq": 0xFF}
    output_names: ClassVar[tuple[str, ...]] = ("Irq",)
    width: ClassVar[int] = 16
    channels: ClassVar[int] = 0

    def __init__(
        self,
        base: int,
        log: EventLog,
        outputs: Mapping[str, Output],
        name: str,
        *,
        now_ps: Callable[[], int],
        timers: Timers,
        clock_hz: int,
    ) -> None:
        super().__init__(name, base, log)
        self._outputs = outputs
        self._now_ps = now_ps
        self._clock_hz = clock_hz
        self._alarm = timers.alarm(self._expired)
        self._count = _Count(0, 0, 0, (1 << self.width) - 1)

    # Registers

    def read_register(self, register: Register, initiator: Initiator) -> int:
        """Counter and flags are brought up to now; a debugger's look does the same, which changes no later answer."""
        self._sync(self._now_ps())
        return self._count.value if register.name == "CNT" else super().read_register(register, initiator)

    def write(self, offset: int, size: int, value: int, initiator: Initiator) -> None:
        """Bring the counter up to now before anything changes."""
        self._sync(self._now_ps())
        super().write(offset, size, value, initiator)

    def combine(self, register: Register, before: int, written: int, lanes: int) -> int:
        """As the table says; flags of SR are cleared by writing 0 (rc_w0)."""
        if register.name == "SR":
            return before & (written | ~lanes)
        if register.name == "CNT":
            before = self._count.value
        return super().combine(register, before, written, lanes)

    def written(self, register: Register, before: int, after: int, written: int, initiator: Initiator) -> None:  # noqa: ARG002
        """Start and stop, load the counter, make events."""
        if register.name == "CR1" and after & _CEN and not before & _CEN:
            self._count.cycle = self._cycle(self._now_ps())
        elif register.name == "CNT":
            self._count.value = after
        elif register.name == "EGR":
            self._generate(written)
        if not self.value("CR1") & _ARPE:
            self._count.reload = self.value("ARR")
        self._update()

    def reset(self) -> None:
        """Back to the reset values: stopped at 0."""
        super().reset()
        self._count = _Count(0, 0, 0, (1 << self.width) - 1)
        self._update()

    def save_extra(self) -> tuple[int, ...]:
        """Where the counter is."""
        count = self._count
        return count.cycle, count.value, count.prescaler, count.reload, count.repeat

    def load_extra(self, extra: object) -> None:
        """Restore it; the alarm is restored with all others."""
        match extra:
            case (int(cycle), int(value), int(prescaler), int(reload), int(repeat)):
                self._count = _Count(cycle, value, prescaler, reload, repeat)
            case _:
                raise EngineError(f"not a snapshot of block {self.name}", hint="restore into the SoC that was saved")
        self._drive()

    # Time

    def _cycle(self, at_ps: int) -> int:
        """The number of the timer's clock cycle that runs at a virtual time."""
        return at_ps * self._clock_hz // SECOND_PS

    def _sync(self, at_ps: int) -> None:
        """Bring counter and flags up to `at_ps`; a time before the last one (another core's) changes nothing."""
        count = self._count
        if not self.value("CR1") & _CEN:
            return
        if not count.reload:  # a counter with a reload value of 0 stands still
            count.cycle = max(count.cycle, self._cycle(at_ps))
            return
        wrap = self._to_wrap()
        ticks = self._ticks(at_ps)
        if ticks < wrap:
            self._advance(ticks)
            return
        self._advance(wrap - 1)
        count.cycle += count.prescaler + 1
        count.value = 0
        self._wrapped()
        self._match(0)
        if self.value("CR1") & _CEN and count.reload:
            # Whole periods first: they pass every compare value and end where they began.
            periods, rest = divmod(self._ticks(at_ps), count.reload + 1)
            if periods:
                count.cycle += periods * (count.reload + 1) * (count.prescaler + 1)
                self._flag(_UIF if periods > count.repeat and not self.value("CR1") & _UDIS else 0)
                count.repeat = (count.repeat - periods) % (self._repetitions() + 1)
                for channel in self._outgoing():
                    self._flag(1 << channel if self._compare(channel) <= count.reload else 0)
            self._advance(rest)

    def _ticks(self, at_ps: int) -> int:
        """Counts that passed since the counter was last brought up."""
        return max(0, self._cycle(at_ps) - self._count.cycle) // (self._count.prescaler + 1)

    def _to_wrap(self) -> int:
        """Counts until the counter next becomes 0; a value beyond the reload value runs to the end of the register."""
        count = self._count
        return (count.reload + 1 if count.value <= count.reload else 1 << self.width) - count.value

    def _advance(self, ticks: int) -> None:
        """Count up without wrapping."""
        count = self._count
        for channel in self._outgoing():
            if count.value < self._compare(channel) <= count.value + ticks:
                self._flag(1 << channel)
        count.value += ticks
        count.cycle += ticks * (count.prescaler + 1)

    def _match(self, value: int) -> None:
        for channel in self._outgoing():
            if self._compare(channel) == value:
                self._flag(1 << channel)

    def _wrapped(self) -> None:
        if self._count.repeat:
            self._count.repeat -= 1
        else:
            self._update_event(by_software=False)

    def _repetitions(self) -> int:
        return self.value("RCR") if "RCR" in self._index_of else 0

    def _update_event(self, *, by_software: bool) -> None:
        control = self.value("CR1")
        self._count.repeat = self._repetitions()
        if not control & _UDIS:
            self._count.prescaler, self._count.reload = self.value("PSC"), self.value("ARR")
            if not (by_software and control & _URS):
                self._flag(_UIF)
        if not by_software and control & _OPM:
            self.poke("CR1", control & ~_CEN)

    def _generate(self, events: int) -> None:
        for channel in self._outgoing():
            if events >> channel & 1:
                self._flag(1 << channel)
        if events & 1:
            self._count.value = 0
            self._count.cycle = self._cycle(self._now_ps())
            self._update_event(by_software=True)

    # Channels and interrupts

    def _outgoing(self) -> Iterator[int]:
        """The channels in output mode: those whose CCxS is 0."""
        for channel in range(1, self.channels + 1):
            mode = self.value("CCMR1" if channel < 3 else "CCMR2")
            if not mode >> 8 * (~channel & 1) & 3:
                yield channel

    def _compare(self, channel: int) -> int:
        return self.value(f"CCR{channel}")

    def _flag(self, flags: int) -> None:
        self.poke("SR", self.value("SR") | flags)

    def _drive(self) -> None:
        raised = self.value("SR") & self.value("DIER")
        for name, flags in self.interrupts.items():
            self._outputs[name](bool(raised & flags))

    def _expired(self, at_ps: int) -> None:
        self._sync(at_ps)
        self._update()

    def _update(self) -> None:
        self._drive()
        self._alarm.set(self._next_event_ps())

    def _next_event_ps(self) -> int | None:
        """When the next flag with an enabled interrupt rises that is not up yet; None when none will."""
        count, wanted = self._count, self.value("DIER") & ~self.value("SR")
        if not self.value("CR1") & _CEN or not count.reload:
            return None
        wrap = self._to_wrap()
        update = wrap + count.repeat * (count.reload + 1)
        events = [update] if wanted & _UIF and not self.value("CR1") & _UDIS else []
        for channel in self._outgoing():
            compare = self._compare(channel)
            if wanted >> channel & 1 and compare <= max(count.reload, count.value):
                # Behind the wrap a preloaded prescaler or reload value may count: look again there.
                events.append(compare - count.value if compare > count.value else wrap)
        if not events:
            return None
        cycle = count.cycle + min(events) * (count.prescaler + 1)
        return -(-cycle * SECOND_PS // self._clock_hz)


class GeneralTimer(Timer):
    """TIM3, TIM4: 16 bits and four channels."""

    registers: ClassVar[tuple[Register, ...]] = _general(4, flags=(6,))
    channels: ClassVar[int] = 4


class WideTimer(GeneralTimer):
    """TIM2, TIM5: 32 bits and four channels."""

    registers: ClassVar[tuple[Register, ...]] = _general(4, 32, flags=(6,))
    width: ClassVar[int] = 32


class TwoChannelTimer(Timer):
    """TIM12."""

    registers: ClassVar[tuple[Register, ...]] = _general(2, flags=(6,))
    channels: ClassVar[int] = 2


class OneChannelTimer(Timer):
    """TIM13, TIM14."""

    registers: ClassVar[tuple[Register, ...]] = _general(1)
    channels: ClassVar[int] = 1


class RepeatingTwoChannelTimer(TwoChannelTimer):
    """TIM15."""

    registers: ClassVar[tuple[Register, ...]] = (*_general(2, flags=(5, 6, 7)), *_repeating(8), *_BURSTS)


class RepeatingOneChannelTimer(OneChannelTimer):
    """TIM16, TIM17."""

    registers: ClassVar[tuple[Register, ...]] = (*_general(1, flags=(5, 7)), *_repeating(8), *_BURSTS)


class AdvancedTimer(GeneralTimer):
    """TIM1, TIM8: four interrupts Brk, Up, TrgCom and Cc, and a repetition counter of 16 bits."""

    registers: ClassVar[tuple[Register, ...]] = (*_general(4, flags=(5, 6, 7)), *_repeating(16), *_ADVANCED)
    interrupts: ClassVar[Mapping[str, int]] = {"Brk": 1 << 7, "Up": _UIF, "TrgCom": 3 << 5, "Cc": 0xF << 1}
    output_names: ClassVar[tuple[str, ...]] = ("Brk", "Up", "TrgCom", "Cc")
