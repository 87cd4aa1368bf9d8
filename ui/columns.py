"""A column of a table on the screen, and how many of them fit."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tracer.query.columns import Coded, Numbers
from ui.rows import Rows

_ROOMY = 150
"""Cells from which on columns stand further apart."""
Array = npt.NDArray[Any]
Text = Callable[[Rows, int], str]
Keys = Callable[[Rows], Array]


@dataclass(frozen=True)
class Column:
    """One column: its title, the text of a cell, and what the rows are sorted by."""

    name: str
    title: str
    width: int
    """Cells it has at least."""
    text: Text
    keys: Keys | None = None
    """One sort key a row; None: the column ``name`` itself."""
    right: bool = False
    rank: int = 0
    """Where room is short, the highest rank goes first; 0 stays."""
    most: int = 0
    """Cells it may grow to."""
    style: Callable[[Rows, int], str | None] | None = None
    """Name of a style for the cell: a verdict's word, ``dim``, ``strong``; None: plain."""
    ask: Callable[[Rows, int], tuple[str | None, Any] | None] | None = None
    """Key and value of the filter that shows rows with the same cell; None: there is none."""
    falling: bool = False
    """The first sort by it is from the highest to the lowest."""
    only: int | None = None
    """It is there only while there is a decision with this verdict."""

    def sort_keys(self, rows: Rows) -> Array:
        """What rows are sorted by: numbers, or ranks of texts."""
        if self.keys is not None:
            return self.keys(rows)
        return rank_of(rows.columns[self.name])


def rank_of(column: Array | Coded | Numbers) -> Array:
    """Numbers that sort as ``column`` does."""
    if isinstance(column, Coded):
        place = _places(column.words)
        return np.asarray(np.append(place, len(place) + 1)[column.codes])
    if isinstance(column, Numbers):
        return np.asarray(column.values)
    if column.dtype != object:
        return column
    values = column.tolist()
    if all(value is None or isinstance(value, int) for value in values):
        return np.array([-1 if value is None else value for value in values], np.float64)
    texts = ["" if value is None else str(value) for value in values]
    return np.asarray(np.unique(texts, return_inverse=True)[1])


def _places(words: Sequence[str | None]) -> npt.NDArray[np.int64]:
    """One word may be there several times: files of one name."""
    texts = [word or "" for word in words]
    place = {text: at for at, text in enumerate(sorted(set(texts)))}
    return np.array([place[text] for text in texts], np.int64)


@dataclass(frozen=True)
class Placed:
    """A column with the cells it got: from ``start``, ``width`` of them, then ``gap`` empty."""

    column: Column
    start: int
    width: int
    gap: int


def fit(columns: Sequence[Column], room: int) -> list[Placed]:
    """The columns that fit into ``room`` cells; those that may grow share what is left."""
    shown = list(columns)
    gap = 2 if room >= _ROOMY else 1

    def need() -> int:
        return sum(column.width for column in shown) + gap * (len(shown) - 1)

    while len(shown) > 1 and need() > room:
        worst = max(shown, key=lambda column: column.rank)
        if worst.rank == 0:
            break
        shown.remove(worst)
    spare = max(0, room - need())
    widths = {column.name: column.width for column in shown}
    while spare > 0:
        hungry = [column for column in shown if widths[column.name] < column.most]
        if not hungry:
            break
        share = max(1, spare // len(hungry))
        for column in hungry:
            more = min(share, column.most - widths[column.name], spare)
            widths[column.name] += more
            spare -= more
    placed = []
    start = 0
    for column in shown:
        placed.append(Placed(column, start, widths[column.name], gap))
        start += widths[column.name] + gap
    return placed
