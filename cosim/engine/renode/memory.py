"""One copy of every memory: Renode's `MappedMemory` objects are given the buffers of the SoC's banks.

A `MappedMemory` keeps its contents in segments that it allocates on the first touch, and never again once their
pointers are set. So the pointers are set before anything runs: no byte is copied, and what the host writes is what both
cores see. There is no public way to do this; the private field's name has been the same from 1.16.1 to today.
"""

from __future__ import annotations

from cosim.engine.renode.host import Net
from cosim.errors import EngineError
from cosim.memory import MemoryBank

_FIELD = "segments"


def share(memory: Net, bank: MemoryBank) -> None:
    """Let the `MappedMemory` keep its bytes in `bank`. Raises `EngineError` when it cannot or was already touched."""
    import System

    flags = System.Reflection.BindingFlags
    field = memory.GetType().GetField(_FIELD, flags.NonPublic | flags.Instance)
    segments = None if field is None else field.GetValue(memory)
    if segments is None or memory.Size != bank.size:
        raise EngineError(
            f"this version of Renode keeps memory {bank.name} in a way that is not known",
            hint="use Renode 1.16.1, with which this engine was tested",
            engine="renode",
            target=bank.name,
        )
    step = int(memory.SegmentSize)
    for index in range(segments.Length):
        if memory.IsTouched(index):
            raise EngineError(
                f"Renode already uses memory {bank.name}",
                hint="do not load or write anything in the platform file",
                engine="renode",
                target=bank.name,
            )
        segments[index] = System.IntPtr(bank.host_address + index * step)
