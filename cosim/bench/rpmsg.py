"""Messages to the echo firmware and back, through the Linux model's RPMsg: how long a thousand take."""

from __future__ import annotations

import time
from collections.abc import Iterator

from cosim.bench.measurement import Finding, Measurement, Sizes
from cosim.errors import EngineError
from cosim.linux.session import Exchange, RpmsgSession
from cosim.resources import firmware_file
from cosim.soc import Soc
from cosim.testing import default_signer

_SECTION = "RPMsg"
ECHO = "rpmsg_echo.elf"


def measure_rpmsg(sizes: Sizes) -> Iterator[Finding]:
    """Wall time of a row of echoes on a SoC that has booted, and what one costs the M4; best of the repeats."""
    image = default_signer().sign(firmware_file(ECHO).read_bytes())
    seconds, exchange = min((_echoes(image, sizes.messages) for _ in range(sizes.repeats)), key=lambda found: found[0])
    how = f"best of {sizes.repeats}, wall"
    yield Measurement(_SECTION, "1,000 echoes", seconds * 1000 / sizes.messages, "s", how)
    median = sorted(exchange.instructions)[len(exchange.instructions) // 2]
    yield Measurement(_SECTION, "an echo, on the M4", median, "instructions", "median")


def _echoes(image: bytes, count: int) -> tuple[float, Exchange]:
    session = RpmsgSession(Soc(), image)
    session.boot()
    begin = time.perf_counter()
    exchange = session.echo(count)
    taken = time.perf_counter() - begin
    if not exchange.ok:
        raise EngineError(f"the benchmark's echo firmware answered {exchange.echoed} of {count} messages")
    return taken, exchange
