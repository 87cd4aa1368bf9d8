"""Files that a verb writes because an option asked for them, and what it says beside its result."""

import contextlib
import os
import sys
from collections.abc import Iterable, Iterator

from tracer.errors import UserError
from tracer.model.escape import printable
from tracer.text.outlet import tell


def write(option: str, path: str, pieces: Iterable[str]) -> None:
    """Writes ``path``, which ``option`` named, and says so. UserError."""
    try:
        with open(path, "w", encoding="utf-8") as file:
            file.writelines(pieces)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{option} {printable(path)}: {reason}") from error
    tell(f"wrote {path}")


@contextlib.contextmanager
def quiet_pipe() -> Iterator[None]:
    """Who reads our output may stop; the exit code is still that of what was found. UserError."""
    try:
        yield
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            raise UserError(f"writing the result: {error.strerror or error}") from error
