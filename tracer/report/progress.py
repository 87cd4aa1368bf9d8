"""How far a long read has come: one line on a terminal's stderr, nothing anywhere else."""

import shutil
import sys
import time
from typing import Self

from tracer.model.escape import clip, printable
from tracer.text.outlet import status

_QUIET_S = 1.0  # a short read says nothing
_STEP_S = 0.25


class Reading:
    """Draws the line over and over; gone when the block is left."""

    def __init__(self) -> None:
        self._on = sys.stderr.isatty()
        self._next_s = time.monotonic() + _QUIET_S
        self._drawn = False

    def step(self, path: str, events: int) -> None:
        """So many events of the recording ``path`` have been read."""
        now_s = time.monotonic()
        if not self._on or now_s < self._next_s:
            return
        self._next_s = now_s + _STEP_S
        text = f"reading {printable(path)}: {events:,} events (Ctrl-C stops)"
        status(clip(text, shutil.get_terminal_size().columns - 1))
        self._drawn = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._drawn:
            status()
