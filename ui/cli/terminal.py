"""Whether the view can be shown where we are; if not, what to use instead."""

import os
import sys

from tracer.errors import UserError

LEAST_WIDTH, LEAST_HEIGHT = 50, 14
"""As in ui.screens.base, which would import Textual for every ``--help``."""
_EXIT = 2


def in_browser() -> bool:
    """Whether a server runs us behind pipes (Textual's own sign of that)."""
    return bool(os.environ.get("TEXTUAL_DRIVER"))


def refuse_without_terminal(recording: str | None) -> None:
    """UserError, exit code 2: no terminal, a dumb or too small one; with what does the job there.

    ``recording`` is what was to be shown, None for one that would begin now.
    """
    if in_browser():
        return
    problem = _problem()
    if problem:
        raise UserError(f"{problem}; {_instead(recording)}", _EXIT)


def _problem() -> str:
    # Textual draws on stderr and reads stdin; stdout is data, which a view has none of.
    streams = {"input": sys.stdin, "output": sys.stdout, "error": sys.stderr}
    missing = [name for name, stream in streams.items() if stream is None or not stream.isatty()]
    if missing:
        return f"the view needs a terminal, and standard {missing[0]} is none"
    if os.environ.get("TERM", "") in ("", "dumb"):
        return f"the view cannot be drawn on a terminal with TERM={os.environ.get('TERM', '')!r}"
    width, height = _size()
    if width < LEAST_WIDTH or height < LEAST_HEIGHT:
        return (
            f"the terminal has {width}x{height} cells, and the view needs "
            f"{LEAST_WIDTH}x{LEAST_HEIGHT}"
        )
    return ""


def _size() -> tuple[int, int]:
    """Cells; a terminal that does not know (a serial line) is taken for 80x24, as Textual does."""
    try:
        width, height = os.get_terminal_size(sys.stderr.fileno())
    except OSError:
        width = height = 0
    return width or 80, height or 24


def _instead(recording: str | None) -> str:
    if recording is None:
        return (
            "'sealsnoop record -o S.seal' records without one, and beside it "
            "'sealsnoop script --follow S.seal' prints every decision, 'sealsnoop report S.seal' "
            "the sums"
        )
    from tracer.model.escape import printable

    name = printable(recording)
    return (
        f"'sealsnoop script --follow {name}' prints every decision, 'sealsnoop report {name}' "
        "the sums"
    )
