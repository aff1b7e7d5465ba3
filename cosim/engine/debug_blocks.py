"""The debug components on the private peripheral bus of the Cortex-M4: ITM, DWT, FPB, TPIU, ETM, ROM table.

Software that configures them finds its values again, and waits for none of them: a stimulus port of the ITM always has
room, and swallows what is written. Of what they do, only the cycle counter of the DWT is modelled. It follows the
core's clock, which is in cycles or in instructions, and does not count while the core sleeps (ARMv7-M manual, C1.7 and
C1.8).
"""

from __future__ import annotations

from collections.abc import Callable

_ITM, _DWT, _FPB, _TPIU, _ETM, _ROM = 0xE0000000, 0xE0001000, 0xE0002000, 0xE0040000, 0xE0041000, 0xE00FF000
_BLOCKS = (_ITM, _DWT, _FPB, _TPIU, _ETM, _ROM)
_SIZE = 0x1000
_STIMULUS_PORTS = range(_ITM, _ITM + 0x80)
_FIFOREADY = 1
_DWT_CTRL, _DWT_CYCCNT, _CYCCNTENA = _DWT, _DWT + 4, 1
#: Reset values: four DWT comparators; six code and two literal comparators of the FPB; CoreSight lock status: no lock.
_RESET = {_DWT_CTRL: 0x40000000, _FPB: 0x260}
_LOCK_ACCESS, _LOCK_STATUS = 0xFB0, 0xFB4
#: Bits that software cannot change.
_CONSTANT = {_DWT_CTRL: 0xF0000000, _FPB: 0x7FF0}


class DebugBlocks:
    """Their registers by address. `clock` tells the core's clock, `tracing` whether DEMCR.TRCENA is set.

    Whatever the counter does while TRCENA is clear, it is read as if it had been enabled all the time.
    """

    def __init__(self, clock: Callable[[], int], tracing: Callable[[], bool]) -> None:
        self._clock = clock
        self._tracing = tracing
        self.reset()

    def reset(self) -> None:
        """Back to the reset values."""
        self._values = dict(_RESET)
        self._base = 0  # CYCCNT is the clock less this, while it counts

    @staticmethod
    def holds(address: int) -> bool:
        """Whether one of the components lies at `address`."""
        return address & ~(_SIZE - 1) in _BLOCKS

    def read(self, address: int, size: int) -> int:
        """`size` bytes at `address`."""
        word = address & ~3
        if word in _STIMULUS_PORTS:
            value = _FIFOREADY
        elif word == _DWT_CYCCNT:
            value = self._cyccnt()
        else:
            value = self._values.get(word, 0)
        return value >> 8 * (address & 3) & (1 << 8 * size) - 1

    def write(self, address: int, value: int) -> None:
        """Write the word that holds `address`."""
        word = address & ~3
        if word in _STIMULUS_PORTS or word & (_SIZE - 1) in (_LOCK_ACCESS, _LOCK_STATUS):
            return
        if word == _DWT_CYCCNT:
            self._set_cyccnt(value)
            return
        count = self._cyccnt()
        constant = _CONSTANT.get(word, 0)
        self._values[word] = self._values.get(word, 0) & constant | value & ~constant
        if word == _DWT_CTRL:
            self._set_cyccnt(count)

    def _counts(self) -> bool:
        return bool(self._values[_DWT_CTRL] & _CYCCNTENA) and self._tracing()

    def _cyccnt(self) -> int:
        return (self._clock() - self._base if self._counts() else self._base) & 0xFFFFFFFF

    def _set_cyccnt(self, value: int) -> None:
        self._base = self._clock() - value if self._counts() else value

    def hold(self) -> Callable[[], None]:
        """Call before DEMCR changes; the result, called behind it, lets the counter go on from where it stood."""
        count = self._cyccnt()
        return lambda: self._set_cyccnt(count)

    def save(self) -> object:
        """The complete state as an immutable value."""
        return tuple(sorted(self._values.items())), self._base

    def load(self, state: tuple[tuple[tuple[int, int], ...], int]) -> None:
        """Restore what `save` returned."""
        values, self._base = state
        self._values = dict(values)
