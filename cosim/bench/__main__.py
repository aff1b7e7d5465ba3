"""`python -m cosim.bench`: run the benchmarks and print what they found."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Iterator, Sequence
from typing import NoReturn

from cosim.bench.aims import judge
from cosim.bench.machine import describe_machine
from cosim.bench.measurement import QUICK, Finding, Sizes
from cosim.errors import CosimError

#: In this order: the cold boot's peak memory would include what the others load into this process.
SECTIONS = ("cold", "warm", "rates", "ticks", "rpmsg", "costs", "decisions", "campaigns", "growth", "renode")


def run(arguments: Sequence[str] | None = None) -> int:
    """Run with `arguments` (default: those of the process); exit code 0, or 1 when something could not be measured."""
    parser = argparse.ArgumentParser(prog="python -m cosim.bench", description="Measure speed and memory.")
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"{', '.join(SECTIONS)}; default: all")
    parser.add_argument("--json", action="store_true", dest="as_json", help="print one JSON document")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: shows that it works, not how fast")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.sections if name not in SECTIONS]
    if unknown:
        parser.error(f"no section {unknown[0]!r}; choose from {', '.join(SECTIONS)}")
    machine = describe_machine()
    try:
        wanted = [name for name in SECTIONS if name in (options.sections or SECTIONS)]
        findings = list(_measure(wanted, QUICK if options.quick else Sizes()))
        findings += judge(findings)
    except CosimError as error:
        print(f"error: {error.message}" + (f" ({error.hint})" if error.hint else ""), file=sys.stderr)  # noqa: T201
        return 1
    from cosim.bench import report  # noqa: PLC0415 - rich would count as memory of the cold boot

    (report.write_json if options.as_json else report.write_table)(machine, findings, sys.stdout)
    return 0


def _measure(sections: Sequence[str], sizes: Sizes) -> Iterator[Finding]:
    for name in sections:
        if sys.stderr.isatty():
            print(f"measuring: {name}", file=sys.stderr)  # noqa: T201
        # Loaded one by one, for the same reason.
        module = importlib.import_module(f"cosim.bench.{name}")
        yield from getattr(module, f"measure_{name}")(sizes)


def main() -> NoReturn:
    """Entry point of the module."""
    sys.exit(run())


if __name__ == "__main__":
    main()
