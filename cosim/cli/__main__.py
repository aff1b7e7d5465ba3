"""`python -m cosim.cli` is the command `cosim`."""

from __future__ import annotations

from cosim.cli import main

if __name__ == "__main__":
    main()
