"""The fixture `cosim_rpmsg` of the pytest plugin: a firmware booted as Linux does, to talk RPMsg with in a test.

Imports nothing of the simulator until a test asks for the fixture, like the plugin itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from cosim.linux.session import RpmsgSession
    from cosim.soc import Soc

Talk = Callable[..., "RpmsgSession"]


@pytest.fixture
def cosim_rpmsg(make_soc: Callable[[], Soc]) -> Talk:
    """Boots a signed image as Linux does and waits for its channels: `cosim_rpmsg(image).ask(b"ping")`.

    Returns a `cosim.linux.session.RpmsgSession`: channels, send, receive, ask, echo, findings, trace. `wait_ms` bounds
    each wait in virtual milliseconds. Raises `KernelError` when the image does not boot.
    """
    from cosim.linux.session import MILLISECOND_PS, RpmsgSession

    def boot(image: bytes, *, wait_ms: int = 100) -> RpmsgSession:
        session = RpmsgSession(make_soc(), image, wait_ps=wait_ms * MILLISECOND_PS)
        session.boot()
        return session

    return boot
