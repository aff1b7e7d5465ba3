"""What pyproject.toml cannot say: packages found by themselves beside data mapped in, and an optional extension.

In a wheel the platform files, prebuilt firmware and test keys are package data below `cosim/_data`; in the source tree
they lie where they are made (see `cosim/resources.py`). The extension is the engine's inner loop in C; it needs neither
Python's nor Unicorn's headers, and where it cannot be compiled the engine uses the same loop in Python. It is a plain
library that ctypes loads, so that its name and the wheel's tag name no Python version: one wheel per platform.
"""

from setuptools import Extension, find_packages, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

DATA = {
    "cosim._data.firmware": "firmware/prebuilt",
    "cosim._data.keys": "firmware/keys",
    "cosim._data.platforms": "platforms",
}


class BuildLibrary(build_ext):
    """Names the library as `cosim/engine/unicorn/native.py` looks for it."""

    def get_ext_filename(self, fullname: str) -> str:
        """The path below the packages' root."""
        return fullname.replace(".", "/") + ".so"


class BuildWheel(bdist_wheel):
    """Tags the wheel for every Python 3 of its platform."""

    def get_tag(self) -> tuple[str, str, str]:
        """Python, ABI and platform tag."""
        return "py3", "none", super().get_tag()[2]


setup(
    cmdclass={"build_ext": BuildLibrary, "bdist_wheel": BuildWheel},
    packages=[*find_packages(include=["ta", "ta.*", "cosim", "cosim.*"]), *DATA],
    package_dir=DATA,
    ext_modules=[
        Extension(
            "cosim.engine.unicorn._loop",
            sources=["cosim/engine/unicorn/loop.c"],
            depends=[
                f"cosim/engine/unicorn/{name}.h"
                for name in ("loop", "clock", "code", "cycles", "exceptions", "port", "trace", "traps", "watch")
            ],
            extra_compile_args=["-O2"],
            optional=True,
        )
    ],
)
