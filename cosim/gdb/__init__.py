"""A GDB server for the cores of the embedded engine (GDB manual, appendix E: the remote serial protocol).

`cosim boot --gdb PORT` waits for GDB when the core is about to execute its first instruction. A core that stands at a
breakpoint takes no virtual time, nor does anything else: the log of a run is the same with and without GDB, as long as
the user changes nothing.
"""

from cosim.gdb.server import GdbServer

__all__ = ["GdbServer"]
