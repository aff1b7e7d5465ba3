"""The engine on real Renode, in this process, through pyrenode3. Importing this package loads no CLR."""

from __future__ import annotations

from cosim.engine.renode.engine import RenodeEngine
from cosim.engine.renode.installation import Installation, find_renode

__all__ = ["Installation", "RenodeEngine", "find_renode"]
