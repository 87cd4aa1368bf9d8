"""SIGTERM and SIGHUP end us in order while no view is open (the view has handlers of its own)."""

import contextlib
import signal
import sys
from collections.abc import Iterator
from types import FrameType

_NUMBERS = (signal.SIGTERM, signal.SIGHUP)


def _ignore() -> None:
    for number in _NUMBERS:
        signal.signal(number, signal.SIG_IGN)


def _leave(number: int, frame: FrameType | None) -> None:
    # A closed terminal sends SIGHUP twice, from the kernel and from its shell: the second must not
    # interrupt what the first has made us put in order.
    _ignore()
    sys.exit(128 + number)


def arm() -> None:
    """Makes these signals raise SystemExit; again after asyncio has put them back."""
    for number in _NUMBERS:
        signal.signal(number, _leave)


@contextlib.contextmanager
def ignored() -> Iterator[None]:
    """They do nothing meanwhile: what has to be put in order is put in order."""
    leaving: SystemExit | None = None
    try:
        _ignore()
    except SystemExit as signalled:  # it came while we were at it; all are ignored from then on
        leaving = signalled
    try:
        yield
    finally:
        arm()
    if leaving is not None:
        raise leaving
