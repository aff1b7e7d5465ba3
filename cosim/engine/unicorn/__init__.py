"""The embedded engine on Unicorn. Nothing outside this package imports unicorn."""

from __future__ import annotations

from cosim.engine.unicorn.engine import UnicornEngine

__all__ = ["UnicornEngine"]
