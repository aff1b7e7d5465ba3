"""Ctrl-C while cores run: the run ends where it is and is reported, a second one ends the process at once."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from types import FrameType, TracebackType

from cosim.cli._output import INTERRUPTED
from cosim.errors import RunInterrupted
from cosim.soc import Soc


class Interruptible:
    """While entered, Ctrl-C ends the run on `soc` with `RunInterrupted`; a second one the process, after `save`.

    With `at_prompt` set it raises KeyboardInterrupt instead: no core runs then.
    """

    def __init__(self, soc: Soc, save: Callable[[], None]) -> None:
        self.at_prompt = False
        self._soc = soc
        self._save = save
        self._asked = False
        self._previous: object = None

    def __enter__(self) -> Interruptible:
        self._previous = signal.signal(signal.SIGINT, self._stop)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        signal.signal(signal.SIGINT, self._previous)  # type: ignore[arg-type]

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        # A KeyboardInterrupt raised below the engine's C code would be lost there; nor may streams be used from here.
        if self.at_prompt:
            raise KeyboardInterrupt
        if self._asked:
            self._save()
            os.write(sys.stderr.fileno(), b"interrupted\n")
            os._exit(INTERRUPTED)
        self._asked = True
        self._soc.end_run(RunInterrupted("the run was interrupted"))
