"""The kernel's error numbers by name, and the two ways in which the kernel side fails.

Values from include/uapi/asm-generic/errno*.h and include/linux/errno.h of the Linux kernel.
"""

from __future__ import annotations

import enum

from cosim.errors import CosimError
from ta.errors import FieldValue


class Errno(enum.IntEnum):
    """Error numbers that the modelled functions return (negated, in the kernel)."""

    EPERM = 1
    ENOENT = 2
    EIO = 5
    ENOMEM = 12
    ENODEV = 19
    EINVAL = 22
    ENOSPC = 28
    EOVERFLOW = 75
    EMSGSIZE = 90
    ERESTARTSYS = 512


class KernelError(CosimError):
    """A kernel function returned an error (`function`, `errno`, `errno_name`, and what the place adds)."""

    kind = "kernel"

    def __init__(self, function: str, errno: Errno, reason: str, *, hint: str = "", **fields: FieldValue) -> None:
        super().__init__(
            f"{function}: {reason} (-{errno.name})",
            hint=hint,
            function=function,
            errno=int(errno),
            errno_name=errno.name,
            **fields,
        )
        self.errno = errno
        self.function = function


class KernelOopsError(CosimError):
    """The kernel would not return from here: an external abort, or a read behind its own buffer (`function`)."""

    kind = "kernel-oops"
