"""A child of the cold-boot benchmark: boots an ELF file as `cosim boot` does and prints what took how long.

Imports are inside the function because they are what is measured.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from pathlib import Path


class _Phases:
    """Seconds between one call and the next, by name."""

    def __init__(self) -> None:
        self.times: dict[str, float] = {}
        self._last = time.perf_counter()

    def end(self, name: str) -> None:
        """The phase `name` ends now, unless it ended before, and the next one begins."""
        if name not in self.times:
            now = time.perf_counter()
            self.times[name] = now - self._last
            self._last = now


def boot_in_phases(path: Path) -> dict[str, float]:
    """Boot the ELF file at `path`; seconds by phase, in order. Call it in a fresh process."""
    phases = _Phases()
    importlib.import_module("cosim.cli.boot")
    phases.end("imports of the command line")
    for name in ("cosim.boot", "cosim.engine.unicorn"):
        importlib.import_module(name)
    phases.end("imports of the simulator")
    from cosim.testing import default_signer  # noqa: PLC0415

    image = default_signer().sign(path)
    phases.end("signing")
    from cosim import boot, soc  # noqa: PLC0415
    from cosim.assembly import read_platform  # noqa: PLC0415
    from cosim.resources import platform_file  # noqa: PLC0415

    platform = read_platform(platform_file(soc.DEFAULT_PLATFORM))
    phases.end("platform description")
    # It was read just now, and shall not be counted as part of the SoC again.
    vars(soc)["read_platform"] = lambda _path: platform
    # The first event is reported as soon as the SoC is built.
    boot.boot(image, listen=lambda _record: phases.end("SoC built, secure world up"))
    phases.end("the boot itself")
    return phases.times


if __name__ == "__main__":
    print(json.dumps(boot_in_phases(Path(sys.argv[1]))))  # noqa: T201
