"""Authenticated boots in a warm process: on a SoC of their own, and from a snapshot taken behind the secure boot."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from cosim.bench.cold import DEMO
from cosim.bench.measurement import Finding, Measurement, Sizes, processor_seconds
from cosim.boot import boot
from cosim.errors import EngineError
from cosim.events import FirstInstruction
from cosim.resources import firmware_file
from cosim.scripts import kernel_flow
from cosim.soc import Snapshot, Soc
from cosim.testing import default_signer
from cosim.verdict import Outcome

_SECTION = "warm boots"


def demo_image() -> bytes:
    """The demo, signed with the test key."""
    return default_signer().sign(firmware_file(DEMO))


def boot_whole(image: bytes) -> None:
    """A boot with monitors and verdict on a SoC made for it. Raises `EngineError` when it is not accepted."""
    verdict = boot(image).verdict
    if verdict.outcome is not Outcome.BOOTED:
        raise EngineError(f"the benchmark's boot was not accepted: {verdict.summary()}")


def boot_from(soc: Soc, snapshot: Snapshot, image: bytes) -> None:
    """The same flow from a snapshot, without monitors and verdict. Raises `EngineError` when it is not accepted."""
    soc.restore(snapshot)
    script = kernel_flow(soc.stage(image), len(image))
    results = soc.run_script(script.steps, on_error=script.on_error)
    # The last step switches the power off and returns to nobody.
    if not all(result.ok for result in results[:-1]) or not soc.log.of(FirstInstruction):
        raise EngineError("the benchmark's boot from a snapshot was not accepted")


def measure_warm(sizes: Sizes) -> Iterator[Finding]:
    """Boots per second of processor time, the best of some rows of boots."""
    image = demo_image()
    soc = Soc()
    snapshot = soc.snapshot()
    ways: dict[str, Callable[[], None]] = {
        "whole SoC per boot": lambda: boot_whole(image),
        "from a snapshot behind the secure boot": lambda: boot_from(soc, snapshot, image),
    }
    how = f"best of {sizes.repeats}, {sizes.boots} in a row"
    for name, way in ways.items():
        way()  # the first one pays for what later ones find cached
        best = min(_row(way, sizes.boots) for _ in range(sizes.repeats))
        yield Measurement(_SECTION, name, sizes.boots / best, "boots/s", how)


def _row(way: Callable[[], None], boots: int) -> float:
    def row() -> None:
        for _ in range(boots):
            way()

    return processor_seconds(row)[0]
