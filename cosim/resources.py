"""Finds the files that come with the project: platform descriptions, prebuilt firmware, test keys.

In a wheel they are package data below `cosim/_data`; in a source tree they lie where they are made, beside the package.
"""

from __future__ import annotations

from pathlib import Path

from cosim.errors import UsageError

#: The private key that tests, demos and unsigned files are signed with; every SoC trusts it unless told otherwise.
TEST_KEY = "test-rsa4096.pem"

_PACKAGE = Path(__file__).resolve().parent
#: Kind of file -> (folder below cosim/_data, folder below the root of the source tree).
_FOLDERS = {
    "platform": ("platforms", "platforms"),
    "firmware": ("firmware", "firmware/prebuilt"),
    "key": ("keys", "firmware/keys"),
}


def platform_file(name: str) -> Path:
    """A platform description by its file name, as in `stm32mp157c-dk2.repl`. Raises `UsageError` when there is none."""
    return _find("platform", name)


def firmware_file(name: str) -> Path:
    """A prebuilt firmware file by its file name, as in `demo_m4.elf`. Raises `UsageError` when there is none."""
    return _find("firmware", name)


def key_file(name: str) -> Path:
    """A test key by its file name. Raises `UsageError` when there is none."""
    return _find("key", name)


def _find(kind: str, name: str) -> Path:
    installed, in_tree = _FOLDERS[kind]
    folders = [_PACKAGE / "_data" / installed, _PACKAGE.parent / in_tree]
    folder = next((folder for folder in folders if folder.is_dir()), folders[0])
    names = sorted(path.name for path in folder.glob("*") if path.is_file())
    if name in names:
        return folder / name
    hint = f"there are {', '.join(names)}" if names else f"{folder} has no files; reinstall the package"
    raise UsageError(f"no {kind} file {name!r} comes with the project", hint=hint, option=kind, file=name)
