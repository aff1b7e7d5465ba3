"""Instructions per second: each core alone and both in turns, at several quanta, with both loops and bare Unicorn."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from cosim.bench.computing import A7, M4, MIPS, Work, bare_rate, engine_rate
from cosim.bench.measurement import Finding, Measurement, Ratio, Sizes, Skipped
from cosim.engine.unicorn.native import library_path

_SECTION = "instruction rates"
_TURNS, _LONG = "bare Unicorn, same quantum", "bare Unicorn, long runs"
#: The quantum at which `--timing cycles` is measured too.
_CYCLES_AT = 1_000
_ACTIVE = ((A7,), (M4,), (A7, M4))


def measure_rates(sizes: Sizes) -> Iterator[Finding]:
    """Million instructions per second, each with its ratio to bare Unicorn. Raises `CosimError` for a broken setup."""
    loops = {"native": sizes.native_instructions, "python": sizes.python_instructions}
    if library_path() is None:
        del loops["native"]
        yield Skipped(_SECTION, "native loop", "it is not built: install with a C compiler present")
    work = Work(sizes.native_instructions)
    how = f"best of {sizes.repeats}"
    long_runs = _best({core: bare_rate(work, (core,), None, sizes.native_instructions) for core in MIPS}, sizes.repeats)
    for core, rate in long_runs.items():
        yield Measurement(_SECTION, f"{core} alone: {_LONG}", rate, "MIPS", how)
    for active in _ACTIVE:
        who = f"{active[0]} alone" if len(active) == 1 else "both in turns"
        for quantum in sizes.quanta:
            rates = _best(
                {
                    _TURNS: bare_rate(work, active, quantum, sizes.native_instructions),
                    **{f"{loop} loop": engine_rate(active, quantum, loop, n) for loop, n in loops.items()},
                    **(_with_cycles(active, quantum, loops) if quantum == _CYCLES_AT else {}),
                },
                sizes.repeats,
            )
            yardsticks = {_TURNS: rates[_TURNS], _LONG: _mixed(long_runs, active)}
            for name, rate in rates.items():
                ratios = () if name == _TURNS else tuple(Ratio(rate / y, text) for text, y in yardsticks.items())
                yield Measurement(_SECTION, f"{who}, quantum {quantum:,}: {name}", rate, "MIPS", how, ratios)


def _with_cycles(active: Sequence[str], quantum: int, loops: Mapping[str, int]) -> dict[str, Callable[[], float]]:
    """With modelled cycles; the Python loop is forty times slower then and not worth the time."""
    native = {loop: n for loop, n in loops.items() if loop == "native"}
    return {
        f"{loop} loop, cycles": engine_rate(active, quantum, loop, n, timing="cycles") for loop, n in native.items()
    }


def _best(runs: Mapping[str, Callable[[], float]], repeats: int) -> dict[str, float]:
    """The highest rate of each, measured by turns so that a busy moment of the machine meets them all."""
    best = dict.fromkeys(runs, 0.0)
    for _ in range(repeats):
        for name, run in runs.items():
            best[name] = max(best[name], run())
    return best


def _mixed(rates: Mapping[str, float], active: tuple[str, ...]) -> float:
    """The rate of the cores one after the other, each with the share of instructions that its clock gives it."""
    return sum(MIPS[core] for core in active) / sum(MIPS[core] / rates[core] for core in active)
