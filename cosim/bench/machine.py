"""Where a benchmark ran: hardware, operating system, versions, and how busy the machine was."""

from __future__ import annotations

import os
import platform
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")


@dataclass(frozen=True)
class Machine:
    """The machine; `load` is the load average of the last minute at the start (None where the system has none)."""

    cpu: str
    cpus: int
    memory_mib: int
    system: str
    python: str
    unicorn: str
    load: float | None

    def as_dict(self) -> dict[str, object]:
        """JSON-ready."""
        return asdict(self)


def describe_machine() -> Machine:
    """This machine, now."""
    return Machine(
        cpu=_cpu_model(),
        cpus=os.cpu_count() or 1,
        memory_mib=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20,
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        python=f"{platform.python_implementation()} {platform.python_version()}",
        unicorn=metadata.version("unicorn"),
        load=load_average(),
    )


def load_average() -> float | None:
    """How many processes wanted to run in the last minute."""
    try:
        return round(os.getloadavg()[0], 2)
    except OSError:
        return None


def _cpu_model() -> str:
    try:
        lines = _CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or "unknown")
