"""All that is printed, on a terminal or into a pipe, and the files that options name.

No control character leaves us but our own: names, commands, paths and everything in a recording
come from elsewhere. They are escaped where they come in and where they become a cell, and once more
here, where they are printed. Only `status` and a `console` write escape sequences.
"""

import contextlib
import json
import os
import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from typing import IO, TYPE_CHECKING, Any, Self, TextIO, cast

from tracer.errors import UserError
from tracer.escape import clip, printable

if TYPE_CHECKING:
    from rich.console import Console


def _escaped(char: str) -> str:
    # As JSON has it, so that its texts stay what they are; a delete it would leave.
    return json.dumps(char)[1:-1] if ord(char) != 0x7F else "\\u007f"


def harmless(text: str) -> str:
    """``text`` in which nothing but ends of lines and tabs is not printable."""
    if text.replace("\n", "").replace("\t", "").isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" else _escaped(c) for c in text)


class Outlet:
    """A text stream to which only harmless text is written; in all else the stream behind it."""

    def __init__(self, behind: TextIO) -> None:
        self.behind = behind

    def write(self, text: str) -> int:
        """Writes it."""
        self.behind.write(harmless(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Writes them."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.behind, name)


@contextlib.contextmanager
def outlets() -> Iterator[None]:
    """Standard output and error are outlets meanwhile."""
    before = sys.stdout, sys.stderr
    # Without a terminal's session they may be None.
    sys.stdout, sys.stderr = (cast(TextIO, one and Outlet(_behind(one))) for one in before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def _behind(stream: TextIO) -> TextIO:
    return stream.behind if isinstance(stream, Outlet) else stream


def say(lines: Iterable[str]) -> None:
    """Prints lines, each as one: what they quote cannot make another."""
    for line in lines:
        sys.stdout.write(harmless(line).replace("\n", "\\n").replace("\t", "\\t") + "\n")


_drawn = {"by us": False, "by others": False}
"""Whether there may be a line of :func:`status` on the terminal."""


def others_draw(on: bool) -> None:
    """Whether another process draws its status on our terminal: our sentences wipe it away."""
    _drawn["by others"] = on and sys.stderr is not None and sys.stderr.isatty()


def tell(sentence: str) -> None:
    """Writes one sentence to standard error, even if its reader is gone."""
    with contextlib.suppress(OSError):
        if any(_drawn.values()):
            status()
        print(f"sealsnoop: {printable(sentence)}", file=sys.stderr, flush=True)


def tell_error(message: str) -> None:
    """Writes an error of one or more lines to standard error.

    Further lines are indented: what they quote cannot look like another message of ours.
    """
    if any(_drawn.values()):
        status()
    first, *more = map(printable, message.split("\n"))
    more = [line if line.startswith(" ") else f"  {line}" for line in more]
    print("\n".join([f"sealsnoop: {first}", *more]), file=sys.stderr)


def status(text: str = "", red: str = "") -> None:
    """Draws over the line of standard error on which the cursor is; ``red``: a part of ``text``.

    It must not be wider than the terminal: a line that wraps could not be drawn over.
    """
    text = printable(text)
    if red:
        text = text.replace(red, f"\x1b[31m{red}\x1b[39m")
    out = _behind(sys.stderr)
    out.write(f"\r\x1b[K{text}")
    out.flush()
    _drawn["by us"] = bool(text)


def console(width: int | None = None) -> "Console":
    """A rich console on standard output, whose styles are ours and whose texts are harmless.

    :param width: cells; None: the terminal's.
    """
    from rich.console import Console
    from rich.segment import Segment

    class Styled(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError  # rich would exit with 1

        def render(self, *args: Any, **options: Any) -> Iterable[Segment]:
            for text, style, control in super().render(*args, **options):
                yield Segment(text if control else harmless(text), style, control)

    return Styled(file=_behind(sys.stdout), width=width, highlight=False, markup=False)


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


_prepared: dict[str, IO[str]] = {}


def prepare(option: str, path: str) -> None:
    """Opens a file that :func:`write` is to write when we may be allowed less.

    :raises UserError: it cannot be opened.
    """
    with _told(option, path):
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)
        _prepared[path] = os.fdopen(fd, "w", encoding="utf-8")


def write(option: str, path: str, pieces: Iterable[str]) -> None:
    """Writes a file that an option named, and says so on stderr.

    :param option: is named in the message.
    :param path: is cut first; :func:`prepare` may have opened it.
    :raises UserError: it cannot be written.
    """
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


def drop_output() -> None:
    """The reader of our output has left; without this Python would complain at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextlib.contextmanager
def quiet_pipe() -> Iterator[None]:
    """Who reads our output may stop; the exit code is still that of what was found. UserError."""
    try:
        yield
        sys.stdout.flush()
    except OSError as error:
        drop_output()
        if not isinstance(error, BrokenPipeError):
            raise UserError(f"writing the result: {error.strerror or error}") from error
