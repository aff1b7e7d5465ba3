"""Benchmarks: what a boot costs, how fast the cores run, and what each kind of access takes.

`python -m cosim.bench` prints them; `docs/performance.md` says how each number is measured and what limits it.
"""
