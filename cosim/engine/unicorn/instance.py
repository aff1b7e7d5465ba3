"""A Unicorn instance of one kind of Arm core."""

from __future__ import annotations

from unicorn import UC_ARCH_ARM, Uc

#: Bytes for translated code: nearly what Unicorn takes by itself, of which only what is used becomes memory. Linux puts
#: a size that is a multiple of a huge page on the edge of one, and clears that page for the first instruction, which
#: takes ten times as long as all else that makes an instance.
_TRANSLATIONS = (1 << 30) - (1 << 16)


def make_unicorn(mode: int, model: int) -> Uc:
    """An instance without memory, of a CPU model (UC_CPU_ARM_…)."""
    uc = Uc(UC_ARCH_ARM, mode)
    uc.ctl_set_cpu_model(model)
    uc.ctl_set_tcg_buffer_size(_TRANSLATIONS)
    return uc
