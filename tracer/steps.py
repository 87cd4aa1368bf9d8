"""What happens before anything can be recorded, step by step: compiling, attaching, self-test.

Whoever records tells each step. They are shown as one line of the terminal that goes away in the
end; a process that has started a recorder reads them from a file (``record --steps FILE``) and
shows them itself, even where the recorder is in a virtual machine.
"""

import contextlib
import json
import os
import shutil
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Self

from tracer.errors import UserError
from tracer.escape import clip, printable
from tracer.output.console import others_draw, status

_MOST_BYTES = 4096
"""A step's line is much shorter; the end of the file is read."""
_SECONDS_FROM = 1.0


class StartStep(NamedTuple):
    """One step. ``of`` is 0 where its parts are not counted."""

    what: str
    done: int = 0
    of: int = 0

    def __str__(self) -> str:
        return f"{self.what} ({self.done} of {self.of})" if self.of else self.what


OnStep = Callable[[StartStep], object]
START = StartStep("starting the recorder")
OPENING = StartStep("opening the view")


class StatusLine:
    """One line of the terminal on standard error; nothing at all where that is no terminal."""

    def __init__(self, quiet: bool = False) -> None:
        self._on = not quiet and sys.stderr is not None and sys.stderr.isatty()
        self._shown = ""

    def show(self, step: StartStep, seconds: float = 0.0) -> None:
        """Draws it; ``seconds``: since when it all began."""
        text = f"{step} ({seconds:.0f} s)" if seconds >= _SECONDS_FROM else f"{step}"
        if self._on and text != self._shown:
            self._shown = text
            status(clip(text, shutil.get_terminal_size().columns - 1))

    def close(self) -> None:
        """It goes away."""
        if self._shown:
            self._shown = ""
            with contextlib.suppress(OSError):
                status()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Steps:
    """Where a recorder tells its steps: a file for whoever has started it, else its terminal."""

    def __init__(self, path: str | None, quiet: bool = False) -> None:
        """UserError: the file cannot be written."""
        self._line = StatusLine(quiet or path is not None)
        self._file: int | None = None
        if path is not None:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
            try:
                self._file = os.open(path, flags, 0o644)
            except (OSError, ValueError) as error:  # ValueError: a NUL in it
                why = getattr(error, "strerror", None) or error
                raise UserError(f"--steps {printable(path)}: {why}") from error
            others_draw(True)

    def __call__(self, step: StartStep) -> None:
        """The next one begins, or goes on."""
        self._line.show(step)
        if self._file is not None:
            with contextlib.suppress(OSError):  # nobody's recording fails for that
                os.write(self._file, json.dumps(step).encode() + b"\n")

    def close(self) -> None:
        """There are no more: whoever reads them draws no longer."""
        self._end()
        others_draw(False)

    def _end(self) -> None:
        self._line.close()
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()  # after an error the other one's line still stands


def last(path: Path) -> StartStep | None:
    """The newest step in a file that :class:`Steps` writes; None: there is none that can be read.

    What stands there is escaped, and nothing but a file is read: a folder that others write to may
    hold it.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        with open(path, "rb", opener=lambda name, _: os.open(name, flags)) as file:
            about = os.fstat(file.fileno())
            if not stat.S_ISREG(about.st_mode):
                return None
            file.seek(max(0, about.st_size - _MOST_BYTES))
            lines = file.read(_MOST_BYTES).split(b"\n")[:-1]
        what, done, of = json.loads(lines[-1])
        return StartStep(printable(str(what)), int(done), int(of))
    except (OSError, ValueError, TypeError, LookupError, ArithmeticError, RecursionError):
        return None
