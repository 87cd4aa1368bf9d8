"""The terminal that the view draws on, which may go away at any moment."""

import contextlib
import io
from typing import IO, Any, cast

from textual.drivers.linux_driver import LinuxDriver


class Output(io.TextIOBase):
    """The terminal as a file whose writes go nowhere once it is gone.

    Textual writes in a thread, by a queue of 30 texts. An OSError (EIO when the window was closed)
    would end that thread, the queue would fill, and the application would wait for it for ever:
    no signal could end it, and its recorder would go on.
    """

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def write(self, text: str) -> int:
        """Writes ``text``, or does not; its length."""
        with contextlib.suppress(OSError):
            self._file.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self._file.flush()

    def isatty(self) -> bool:
        return self._file.isatty()

    def fileno(self) -> int:
        return self._file.fileno()


class Terminal(LinuxDriver):
    """Textual's own driver, on an :class:`Output`."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if self._file is not None:
            self._file = cast(Any, Output(self._file))
