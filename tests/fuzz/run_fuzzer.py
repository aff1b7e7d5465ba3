"""Runs the targets under atheris: `python tests/fuzz/run_fuzzer.py [--seconds N] [TARGET ...]`.

The time is split evenly over the targets, each of which runs in a process of its own: libFuzzer does not come back.
What it found lies in `artifacts/fuzz/TARGET`; an input that broke something belongs into `tests/fuzz/corpus/TARGET`,
where the test suite plays it from then on. Exit code 0: nothing was found; 1: something was; 2: atheris is missing.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOUND = ROOT / "artifacts" / "fuzz"
#: One input may take this long and the process this much; what is beyond counts as a hang or a leak.
LIMITS = ("-timeout=20", "-rss_limit_mb=1024")
MISSING = 2
#: The targets of `fuzz_all`, which is not imported before atheris can watch the import.
NAMES = ("image", "elf", "message", "repl", "table", "ring", "inspect", "journal", "key", "text", "gdb")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the targets one after the other; the exit code."""
    sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]
    parser = argparse.ArgumentParser(description="Fuzz the targets with atheris.")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"{', '.join(NAMES)}; default: all")
    parser.add_argument("--seconds", type=int, default=600, help="for all targets together (default: %(default)s)")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    unknown = set(options.targets) - set(NAMES)
    if unknown:
        parser.error(f"no target {min(unknown)!r}; choose from {', '.join(NAMES)}")
    if find_spec("atheris") is None:
        say("atheris is missing: pip install '.[fuzz]' (Linux and macOS, a Python that it has wheels for)")
        return MISSING
    names = options.targets or NAMES
    if options.one:
        return fuzz(names[0], options.seconds)
    share = max(options.seconds // len(names), 1)
    broken = []
    for name in names:
        say(f"=== {name}: {share} s")
        command = [sys.executable, __file__, "--one", "--seconds", str(share), name]
        if subprocess.run(command, check=False).returncode:
            broken.append(name)
    say(f"something was found: {', '.join(broken)}; see {FOUND}" if broken else "nothing was found")
    return 1 if broken else 0


def fuzz(name: str, seconds: int) -> int:
    """Hand this process to libFuzzer for one target."""
    import atheris  # type: ignore[import-untyped]

    place = FOUND / name
    corpus = place / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    with atheris.instrument_imports(include=["ta", "cosim"]):
        from fuzz_all import TARGETS  # imported here for the first time, so that it is watched

        target = TARGETS[name]
        play = target.make()
    for number, data in enumerate(target.inputs()):
        (corpus / f"seed-{number}").write_bytes(data)
    flags = [
        f"-max_len={target.most}",
        f"-max_total_time={seconds}",
        f"-artifact_prefix={place}/",
        "-print_final_stats=1",
        "-verbosity=0",
    ]
    atheris.Setup([sys.argv[0], *LIMITS, *flags, str(corpus)], play)
    atheris.Fuzz()
    return 0


def say(text: str) -> None:
    """A line on stderr, where libFuzzer writes too."""
    sys.stderr.write(text + "\n")


if __name__ == "__main__":
    sys.exit(main())
