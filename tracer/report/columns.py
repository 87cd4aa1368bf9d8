"""A column for people: its title, its text, what it is sorted by, and how wide it may be."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from tracer.model.escape import cells as width_of
from tracer.model.escape import clip, pad
from tracer.report import cells
from tracer.report.cells import Row
from tracer.report.model import WORST_FIRST

GAP = 2
"""Cells between two columns."""
_LAST_RESORT = 8
"""Cells that any flexible column gives up to, once all others that may go are gone."""
_SHORT = {"indeterminate": "indet.", "unexplained": "unexpl."}


@dataclass(frozen=True)
class Column:
    """One column of a table."""

    title: str
    text: Callable[[Row], str]
    key: Callable[[Row], Any]
    """What rows are sorted by: a number or a text."""
    right: bool = False
    rank: int = 0
    """Where room is short, the column of the highest rank goes first; 0 stays."""
    least: int = 0
    """May be cut down to so many cells; 0: never cut."""
    cut: Callable[[str, int], str] = clip
    """How it is cut."""
    verdict: str | None = None
    """Counts of this verdict: shown only where there are any."""


def value(
    name: str,
    title: str,
    text: Callable[[Any], str] = cells.plain,
    *,
    right: bool = False,
    rank: int = 0,
) -> Column:
    """The column ``name`` of a DataFrame, each value through ``text``."""

    def shown(row: Row) -> str:
        return text(row.get(name))

    return Column(title, shown, lambda row: row.get(name), right, rank)


def derived(title: str, text: Callable[[Row], str], *, rank: int = 0, least: int = 12) -> Column:
    """A column whose text comes from several values of a row."""
    return Column(title, text, text, rank=rank, least=least)


def phrase(name: str, title: str, *, rank: int = 0) -> Column:
    """A text of the DataFrame that may be long; ``-`` where there is none."""
    return derived(title, lambda row: cells.plain(row.get(name) or None), rank=rank)


def seconds(name: str, title: str, *, rank: int = 0) -> Column:
    """A boot-clock time ``name`` in seconds since ``start_ns`` of the row."""
    return Column(title, partial(_seconds, name), lambda row: row.get(name), True, rank)


def verdicts() -> list[Column]:
    """Counts of each verdict, the worst first."""
    return [
        Column(
            _SHORT.get(word, word),
            partial(_count, word),
            partial(_key, word),
            right=True,
            verdict=word,
        )
        for word in WORST_FIRST
    ]


def _seconds(name: str, row: Row) -> str:
    time_ns, start_ns = row.get(name), row.get("start_ns")
    return "-" if time_ns is None or start_ns is None else f"{(time_ns - start_ns) / 1e9:.3f}"


def _count(word: str, row: Row) -> str:
    # An empty cell: where there is a number, there was such a decision.
    return cells.plain(row[word]) if row.get(word) else ""


def _key(word: str, row: Row) -> Any:
    return row.get(word) or 0


def widths(columns: Sequence[Column], grid: Sequence[Sequence[str]], room: int) -> list[int | None]:
    """Cells for each column, None: it is left out. ``grid`` holds the texts, a row a line.

    ``room`` is what all columns and the gaps between them may take; flexible columns share what
    the others leave. More is taken only where columns of rank 0 alone are too wide.
    """
    want = [
        max([width_of(column.title), *(width_of(line[place]) for line in grid)])
        for place, column in enumerate(columns)
    ]
    given = {
        place: min(want[place], column.least) if column.least else want[place]
        for place, column in enumerate(columns)
    }

    def spare() -> int:
        return room - sum(given.values()) - GAP * (len(given) - 1)

    while spare() < 0:
        out = max(given, key=lambda place: columns[place].rank)
        if columns[out].rank == 0:
            break
        del given[out]
    if spare() < 0:
        for place in given:
            if columns[place].least:
                given[place] = min(given[place], _LAST_RESORT)
    left = spare()
    while left > 0:
        hungry = [place for place in given if given[place] < want[place]][:left]
        if not hungry:
            break
        for place in hungry:
            given[place] += 1
        left -= len(hungry)
    return [given.get(place) for place in range(len(columns))]


def fitted(column: Column, text: str, width: int) -> str:
    """``text`` in exactly ``width`` cells, cut and aligned as the column wants it."""
    cut = column.cut(text, width)
    return " " * (width - width_of(cut)) + cut if column.right else pad(cut, width)
