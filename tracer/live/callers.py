"""The callers of one event for the view: at once what is known, names as they are found.

Looking names up may take seconds, and the reader's thread waits for nothing: a thread of its own
does it.
"""

import threading
from collections.abc import Sequence

from tracer.stacks.names import Names
from tracer.stacks.recorded import Stacks
from tracer.stacks.shown import Callers


class Looked:
    """Gives the lines of a stack, and looks names up for the next time."""

    def __init__(self, stacks: Stacks, names: Names) -> None:
        self._callers = Callers(stacks, names)
        self._names = names
        self._asked = 0
        self._thread: threading.Thread | None = None

    def lines(self, sample: int) -> Sequence[str]:
        """What is known of who called; empty: nothing (yet)."""
        stack = self._callers.stacks.of(sample) if sample else None
        if stack is None:
            return ()
        busy = self._thread is not None and self._thread.is_alive()
        if sample != self._asked and not busy:
            self._asked = sample
            self._thread = threading.Thread(
                target=self._names.ask, args=(stack.frames,), name="names", daemon=True
            )
            self._thread.start()
            self._thread.join(0.05)  # most are known already
        return tuple(self._callers.lines(sample, ask=False))

    @property
    def busy(self) -> bool:
        """Names are being looked up."""
        return self._thread is not None and self._thread.is_alive()
