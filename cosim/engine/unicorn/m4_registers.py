"""The Cortex-M4's registers in batches: one call into Unicorn for all that an exception entry or return touches.

Three habits of Unicorn are kept here. Writing IPSR swaps the stack pointers, but does not make Unicorn recompute its
cached mode: writing the flags, last, does. CONTROL.SPSEL can be written in Thread mode only, and CONTROL not at all by
unprivileged software, to which MSP and the masks read as zero; so a change of mode goes through privileged Thread mode.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from unicorn import Uc
from unicorn.arm_const import (
    UC_ARM_REG_APSR_G,
    UC_ARM_REG_APSR_NZCV,
    UC_ARM_REG_BASEPRI,
    UC_ARM_REG_CONTROL,
    UC_ARM_REG_EPSR,
    UC_ARM_REG_FAULTMASK,
    UC_ARM_REG_FPSCR,
    UC_ARM_REG_IPSR,
    UC_ARM_REG_LR,
    UC_ARM_REG_PC,
    UC_ARM_REG_PRIMASK,
    UC_ARM_REG_PSP,
    UC_ARM_REG_R0,
    UC_ARM_REG_R1,
    UC_ARM_REG_R2,
    UC_ARM_REG_R3,
    UC_ARM_REG_R12,
    UC_ARM_REG_S0,
    UC_ARM_REG_SP,
    UC_ARM_REG_XPSR,
)

from cosim.engine.unicorn.batch import Batch
from cosim.engine.unicorn.nvic import NMI, Masks

NPRIV, SPSEL, FPCA = 1 << 0, 1 << 1, 1 << 2
XPSR_T, XPSR_STACK_ALIGNED, XPSR_IPSR, XPSR_FLAGS = 1 << 24, 1 << 9, 0x1FF, 0xF0000000

_FRAME = (UC_ARM_REG_R0, UC_ARM_REG_R1, UC_ARM_REG_R2, UC_ARM_REG_R3, UC_ARM_REG_R12, UC_ARM_REG_LR)
_FLOATING = (*range(UC_ARM_REG_S0, UC_ARM_REG_S0 + 16), UC_ARM_REG_FPSCR)
_TO_PRIVILEGED_THREAD = (UC_ARM_REG_IPSR, UC_ARM_REG_CONTROL, UC_ARM_REG_IPSR, UC_ARM_REG_CONTROL)
_JUMP = (UC_ARM_REG_EPSR, UC_ARM_REG_PC, UC_ARM_REG_APSR_NZCV)
_FRAME_AND_MODE = (*_FRAME, UC_ARM_REG_PC, UC_ARM_REG_XPSR, UC_ARM_REG_CONTROL, UC_ARM_REG_SP)
_MASKS = (UC_ARM_REG_PRIMASK, UC_ARM_REG_FAULTMASK, UC_ARM_REG_BASEPRI)
_HANDLER = (UC_ARM_REG_IPSR, UC_ARM_REG_CONTROL, UC_ARM_REG_LR, *_JUMP)
# Unicorn writes no GE bits with xPSR.
_RESTORED = (*_FRAME, UC_ARM_REG_SP, UC_ARM_REG_XPSR, UC_ARM_REG_CONTROL, UC_ARM_REG_PC, UC_ARM_REG_APSR_G,
             UC_ARM_REG_APSR_NZCV)  # fmt: skip
#: What the C helper reads and writes at once; their order is that of exceptions.h.
EXCEPTION_STATE = (*_FRAME_AND_MODE, *_MASKS, UC_ARM_REG_PSP)
ENTRY = (UC_ARM_REG_SP, *_TO_PRIVILEGED_THREAD, *_HANDLER)
RETURN = (*_TO_PRIVILEGED_THREAD, *_RESTORED)


class Mode(NamedTuple):
    """What an exception entry must know: CONTROL, xPSR and the stack pointer in use."""

    control: int
    xpsr: int
    sp: int

    @property
    def thread(self) -> bool:
        """Thread mode."""
        return not self.xpsr & XPSR_IPSR

    @property
    def privileged(self) -> bool:
        """Handler mode always is."""
        return not (self.thread and self.control & NPRIV)

    @property
    def process(self) -> bool:
        """On the process stack."""
        return self.thread and bool(self.control & SPSEL)


class M4Registers:
    """The registers of one core."""

    def __init__(self, uc: Uc) -> None:
        self._frame = Batch(uc, _FRAME_AND_MODE)
        self._mode = Batch(uc, (UC_ARM_REG_CONTROL, UC_ARM_REG_XPSR, UC_ARM_REG_SP))
        self._state = Batch(uc, (UC_ARM_REG_CONTROL, UC_ARM_REG_XPSR, UC_ARM_REG_SP, *_MASKS))
        self._masks = Batch(uc, (*_MASKS, UC_ARM_REG_CONTROL, UC_ARM_REG_IPSR))
        self._ipsr = Batch(uc, (UC_ARM_REG_IPSR,))
        self._sp = Batch(uc, (UC_ARM_REG_SP,))
        self._faultmask = Batch(uc, (UC_ARM_REG_FAULTMASK,))
        self._control = Batch(uc, (UC_ARM_REG_CONTROL,))
        self._floating = Batch(uc, _FLOATING)
        self._fpscr = Batch(uc, (UC_ARM_REG_FPSCR,))
        self._flags = Batch(uc, (UC_ARM_REG_APSR_NZCV,))
        self._to_thread = Batch(uc, _TO_PRIVILEGED_THREAD)
        self._to_handler = Batch(uc, _HANDLER)
        self._restore = Batch(uc, _RESTORED)
        self._reset = Batch(uc, (*_TO_PRIVILEGED_THREAD, *_MASKS, *_FRAME, UC_ARM_REG_SP, *_JUMP))

    def frame(self) -> tuple[list[int], Mode]:
        """The eight words of a basic frame (PC and xPSR last), and the mode."""
        *words, control, sp = self._frame.read()
        return words, Mode(control, words[7], sp)

    def mode(self) -> Mode:
        """The mode of the core now."""
        return Mode(*self._mode.read())

    def masks(self) -> Masks:
        """PRIMASK, FAULTMASK and BASEPRI; of an unprivileged core not inside a callback of Unicorn."""
        primask, faultmask, basepri, control, ipsr = self._masks.read()
        if control & NPRIV and not ipsr:
            self._ipsr.write(NMI)
            primask, faultmask, basepri, *_ = self._masks.read()
            self._ipsr.write(0)
        return Masks(bool(primask & 1), bool(faultmask & 1), basepri & 0xFF)

    def mode_and_masks(self) -> tuple[Mode, Masks]:
        """Both at once."""
        control, xpsr, sp, primask, faultmask, basepri = self._state.read()
        mode = Mode(control, xpsr, sp)
        return mode, Masks(bool(primask & 1), bool(faultmask & 1), basepri & 0xFF) if mode.privileged else self.masks()

    def floating(self) -> list[int]:
        """S0 to S15 and FPSCR."""
        return list(self._floating.read())

    def set_floating(self, words: Sequence[int]) -> None:
        """S0 to S15 and FPSCR."""
        self._floating.write(*words)

    def begin_floating(self, fpscr: int, mode: Mode) -> None:
        """A new FP context: CONTROL.FPCA set, FPSCR as given."""
        self._fpscr.write(fpscr)
        if mode.privileged:
            self._control.write(mode.control | FPCA)
        self._flags.write(mode.xpsr & XPSR_FLAGS)

    def clear_faultmask(self) -> None:
        """FAULTMASK is cleared by the return from any exception but NMI; the core is in Handler mode."""
        self._faultmask.write(0)

    def set_sp(self, value: int) -> None:
        """The stack pointer in use."""
        self._sp.write(value)

    def to_thread(self, control: int, *, process: bool) -> int:
        """Privileged Thread mode on the given stack, whose pointer is returned; `control` is CONTROL so far."""
        self._change_to_thread(control, process=process)
        return self._sp.read()[0]

    def _change_to_thread(self, control: int, *, process: bool) -> None:
        self._to_thread.write(NMI, control & ~(NPRIV | FPCA), 0, SPSEL if process else 0)

    def to_handler(self, number: int, exc_return: int, vector: int, mode: Mode) -> None:
        """Handler mode at `vector` on the main stack, without IT state and FP context; CONTROL.nPRIV stays."""
        self._change_to_thread(mode.control, process=False)
        thumb = XPSR_T if vector & 1 else 0
        self._to_handler.write(number, mode.control & NPRIV, exc_return, thumb, vector, mode.xpsr & XPSR_FLAGS)

    def restore(self, words: Sequence[int], sp: int, control: int) -> None:
        """The registers from the eight words of a frame, in Thread mode on the right stack."""
        *general, pc, xpsr = words
        thumb = 1 if xpsr & XPSR_T else 0
        self._restore.write(*general, sp, xpsr & ~XPSR_STACK_ALIGNED, control, pc | thumb, xpsr, xpsr & XPSR_FLAGS)

    def reset(self, sp: int, vector: int) -> None:
        """The reset state: privileged Thread mode on the main stack, nothing masked."""
        thumb = XPSR_T if vector & 1 else 0
        self._reset.write(NMI, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFFFFFFFF, sp & ~3, thumb, vector, 0)
