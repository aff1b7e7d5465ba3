"""A script of a page: what a normal world that overwrites the M4's code after LOAD achieves under each firewall.

Run it with `python examples/attack_from_linux.py`.
"""

from __future__ import annotations

import sys

from cosim import client
from cosim.client import Command
from cosim.monitors import Monitors
from cosim.options import soc_config
from cosim.resources import firmware_file
from cosim.soc import Soc
from cosim.testing import default_signer
from cosim.verdict import Verdict, judge

SESSION = 1
CODE = 0x10000000


def attack(firewall: str) -> Verdict:
    """Load a signed image, overwrite its code as the normal world, start it, and judge."""
    image = default_signer().sign(firmware_file("demo_m4.elf"))
    soc = Soc(soc_config({"firewall": firewall}))
    monitors = Monitors(soc.log, soc.debug_read, isolated=firewall == "isolated")
    soc.run_script(
        [
            client.open_session(),
            client.load(SESSION, soc.stage(image), len(image)),
            client.write32(CODE, 0xE7FEE7FE),  # two branches to themselves
            client.command(SESSION, Command.START_FW),
            client.spin(10_000),
            client.command(SESSION, Command.STOP_FW),
            client.power_off(),
        ]
    )
    return judge(soc.log, monitors.results())


def main() -> None:
    """Print what each profile makes of the attack."""
    for firewall in ("open", "isolated"):
        verdict = attack(firewall)
        sys.stdout.write(f"firewall {firewall}: {verdict.summary()}\n")
        for monitor in verdict.monitors:
            if monitor.held is not None:
                sys.stdout.write(f"  {'held  ' if monitor.held else 'BROKEN'} {monitor.name}: {monitor.detail}\n")


if __name__ == "__main__":
    main()
