"""The cold boot: `cosim boot` in a fresh process, how long it takes, where the time goes, how much memory it needs.

Byte code is cached in a folder of its own, so that neither an earlier run nor the environment decides whether it is
there; the first run fills that folder and is reported separately. Peak memory is what the kernel accounts to the child,
which on Linux is never less than what this process had when it made the child: measure before anything large is loaded.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cosim
from cosim.bench.measurement import Finding, Measurement, Sizes
from cosim.errors import EngineError
from cosim.resources import firmware_file

DEMO = "demo_m4.elf"
_SECTION = "cold boot"
#: Packages whose import time is told one by one.
_PACKAGES = 8
#: ru_maxrss is in KiB, on macOS in bytes.
_MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024


@dataclass(frozen=True)
class ColdRun:
    """One process from its start to its end: seconds, and peak memory in bytes."""

    wall: float
    user: float
    system: float
    peak: int


def run_process(arguments: Sequence[str], environment: Mapping[str, str]) -> tuple[ColdRun, str]:
    """Run this Python with `arguments`; what it took and what it printed. Raises `EngineError` when it fails."""
    begin = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *arguments], env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdout is not None
    with process.stdout as stream:
        output = stream.read()
    # The accounting of just this child; Popen itself would throw it away.
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - begin
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        command = " ".join(["python", *arguments])
        raise EngineError(
            f"`{command}` ended with code {process.returncode}", hint="`cosim doctor` shows what is missing"
        )
    return ColdRun(wall, usage.ru_utime, usage.ru_stime, usage.ru_maxrss * _MAXRSS_UNIT), output.decode()


def measure_cold(sizes: Sizes) -> Iterator[Finding]:
    """Wall time, processor time, peak memory and phases of a cold boot of the demo."""
    image = str(firmware_file(DEMO))
    with tempfile.TemporaryDirectory(prefix="cosim-bench-") as cache:
        environment = environment_with(cache)
        boot = ["-m", "cosim.cli", "boot", image]
        first, _ = run_process(boot, environment)
        yield Measurement(_SECTION, "first run, without byte code", first.wall, "s", "once")
        runs = [run_process(boot, environment)[0] for _ in range(sizes.repeats)]
        how = f"median of {sizes.repeats}"
        yield Measurement(_SECTION, "`cosim boot` of the demo, wall", statistics.median(r.wall for r in runs), "s", how)
        busy = statistics.median(r.user + r.system for r in runs)
        yield Measurement(_SECTION, "`cosim boot` of the demo, processor", busy, "s", how)
        peak = statistics.median(r.peak for r in runs)
        yield Measurement(_SECTION, "peak memory", peak / 2**20, "MiB", how)
        yield from _phases(image, environment, sizes.repeats, how)
        yield from _imports(environment)


def _phases(image: str, environment: Mapping[str, str], repeats: int, how: str) -> Iterator[Finding]:
    bare = [run_process(["-c", ""], environment)[0].wall for _ in range(repeats)]
    yield Measurement(_SECTION, "of it: Python alone", statistics.median(bare) * 1e3, "ms", how)
    outputs = [run_process(["-m", "cosim.bench.phases", image], environment)[1] for _ in range(repeats)]
    found: list[dict[str, float]] = [json.loads(output) for output in outputs]
    for phase in found[0]:
        value = statistics.median(times[phase] for times in found)
        yield Measurement(_SECTION, f"of it: {phase}", value * 1e3, "ms", how)


def _imports(environment: Mapping[str, str]) -> Iterator[Finding]:
    """What `python -X importtime` says of the imports of a boot, without what each imports, by top-level package."""
    command = [sys.executable, "-X", "importtime", "-c", "import cosim.cli.boot, cosim.boot, cosim.engine.unicorn"]
    listed = subprocess.run(command, env=dict(environment), capture_output=True, text=True, check=False).stderr
    costs = import_costs(listed)
    others = sum(costs.values())
    for package in sorted(costs, key=lambda name: -costs[name])[:_PACKAGES]:
        others -= costs[package]
        yield Measurement(_SECTION, f"imports: {package}", costs[package] / 1e3, "ms", "once, -X importtime")
    yield Measurement(_SECTION, "imports: all others", others / 1e3, "ms", "once, -X importtime")


def import_costs(listed: str) -> dict[str, int]:
    """Microseconds by top-level package, from the lines that `-X importtime` writes."""
    costs: dict[str, int] = {}
    for line in listed.splitlines():
        own, _, module = (part.strip() for part in (line.removeprefix("import time:").split("|") + [""] * 3)[:3])
        if line.startswith("import time:") and own.isdigit():
            package = module.partition(".")[0]
            costs[package] = costs.get(package, 0) + int(own)
    return costs


def environment_with(cache: str) -> dict[str, str]:
    """This environment, with this very copy of the package and byte code in `cache`."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    root = str(Path(cosim.__file__).resolve().parent.parent)
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    return {**environment, "PYTHONPATH": path, "PYTHONPYCACHEPREFIX": cache}
