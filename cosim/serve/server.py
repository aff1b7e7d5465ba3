"""One boot of an image on a Renode that connected: served, judged, and its verdict handed back."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace

from cosim.boot import BootReport, boot
from cosim.errors import CosimError
from cosim.events import Record
from cosim.scripts import Script, kernel_flow
from cosim.serve.listener import Connection
from cosim.serve.protocol import ProtocolError
from cosim.serve.remote import RemoteHost
from cosim.soc import DEFAULT_BUDGET_PS, SocConfig
from cosim.verdict import Verdict


def serve_boot(
    connection: Connection,
    image: bytes,
    config: SocConfig,
    *,
    script: Callable[..., Script] = kernel_flow,
    listen: Callable[[Record], None] | None = None,
    budget_ps: int = DEFAULT_BUDGET_PS,
) -> BootReport:
    """Boot the signed `image` by `script` on the client's cores, for `config`, whose engine does not count.

    Raises what `cosim.boot.boot` raises, and `ProtocolError` when the client breaks off or the protocol; in every case
    the connection is closed, and a client that still listens was told why.
    """
    host = RemoteHost(connection)
    try:
        report = boot(image, replace(config, host=host), script=script, listen=listen, budget_ps=budget_ps)
        if host.served is not None:
            # The boot is decided: a client that is gone by now has missed only the farewell.
            with contextlib.suppress(ProtocolError):
                host.served.finish(report.verdict.exit_code, farewell(report.verdict))
        return report
    except CosimError as error:
        connection.refuse(error.message)
        raise
    finally:
        connection.close()


def farewell(verdict: Verdict) -> str:
    """What the client prints at the end, a line for the verdict and one for each monitor."""
    words = {True: "held", False: "BROKEN", None: "not exercised"}
    monitors = (f"{words[monitor.held]}: {monitor.description}" for monitor in verdict.monitors)
    return "\n".join((f"verdict: {verdict.summary()}", *monitors))
