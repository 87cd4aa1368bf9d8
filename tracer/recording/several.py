"""Recordings of many hosts: which ones a pattern names, and which of them cannot be read.

Of many, one that is damaged or missing is part of the answer and not its end.
"""

import glob
import os
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from tracer.errors import UserError
from tracer.escape import printable
from tracer.recording.errors import StoreError
from tracer.recording.reader import Recording


@dataclass(frozen=True)
class Unread:
    """A recording that was named and cannot be read."""

    path: str
    problem: str
    """Why, in a sentence."""


def named(words: Iterable[str]) -> list[str]:
    """The paths that words name: each word itself, or what it matches as a pattern.

    For shells that find too many, and for ``host=*/*.seal`` in quotes. A path that is there is
    taken as it is, whatever is in it. Matches of one pattern come sorted.

    :raises UserError: a pattern matches nothing.
    """
    found: list[str] = []
    for word in words:
        if not glob.has_magic(word) or os.path.lexists(word):
            found.append(word)
            continue
        matches = sorted(glob.glob(word))
        if not matches:
            raise UserError(f"{word}: no file or folder matches this pattern")
        found += matches
    return found


def opened(paths: Sequence[str], stack: ExitStack) -> tuple[list[Recording], tuple[Unread, ...]]:
    """Opens recordings, closed with ``stack``.

    :return: those that can be read, in their order, and the others.
    :raises StoreError: of the first one, where none can be read.
    """
    recordings: list[Recording] = []
    unread: list[Unread] = []
    errors: list[StoreError] = []
    for path in paths:
        try:
            recordings.append(stack.enter_context(Recording.open(path)))
        except StoreError as error:
            unread.append(Unread(printable(path), printable(str(error))))
            errors.append(error)
    if errors and not recordings:
        raise errors[0]
    return recordings, tuple(unread)
