"""Files that a verb writes because an option asked for them, and what it says beside its result."""

import contextlib
import os
import sys
from collections.abc import Iterable, Iterator
from typing import IO

from tracer.errors import UserError
from tracer.model.escape import printable
from tracer.text.outlet import tell

_prepared: dict[str, IO[str]] = {}


def prepare(option: str, path: str) -> None:
    """Opens ``path``, to be written later, when we may be allowed less. UserError."""
    with _told(option, path):
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)
        _prepared[path] = os.fdopen(fd, "w", encoding="utf-8")


def write(option: str, path: str, pieces: Iterable[str]) -> None:
    """Writes ``path``, which ``option`` named, and says so. UserError."""
    ready = _prepared.pop(path, None)
    with _told(option, path), ready or open(path, "w", encoding="utf-8") as file:
        if file.seekable():
            file.truncate(0)
        file.writelines(pieces)
    tell(f"wrote {path}")


@contextlib.contextmanager
def _told(option: str, path: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{option} {printable(path)}: {reason}") from error


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
