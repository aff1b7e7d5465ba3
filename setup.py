"""What pyproject.toml cannot say: packages found by themselves beside data mapped in, and an optional extension.

In a wheel the platform files, prebuilt firmware and test keys are package data below `cosim/_data`; in the source tree
they lie where they are made (see `cosim/resources.py`). The extension is the engine's inner loop in C; it needs neither
Python's nor Unicorn's headers, and where it cannot be compiled the engine uses the same loop in Python.
"""

from setuptools import Extension, find_packages, setup

DATA = {
    "cosim._data.firmware": "firmware/prebuilt",
    "cosim._data.keys": "firmware/keys",
    "cosim._data.platforms": "platforms",
}

setup(
    packages=[*find_packages(include=["ta", "ta.*", "cosim", "cosim.*"]), *DATA],
    package_dir=DATA,
    ext_modules=[
        Extension(
            "cosim.engine.unicorn._loop",
            sources=["cosim/engine/unicorn/loop.c"],
            extra_compile_args=["-O2"],
            optional=True,
        )
    ],
)
