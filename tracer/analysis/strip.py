"""A picture of a virtual machine's memory: how much of it was private, shared or unknown when.

Guest-physical memory that was in a memslot at some time, without the gaps between memslots, in
equal bands; time, from the first memslot to the last moment at which there was one, in equal steps.
However many conversions there were, a picture has so many fields.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from tracer.analysis.private import SHARED, UNKNOWN

if TYPE_CHECKING:
    from tracer.analysis.private import Ints, Privacy

Floats = npt.NDArray[np.float64]

BANDS, STEPS = 64, 256
_PAGE_SHIFT = 12
_AT_ONCE = 1 << 14
_SOME = 0.05
"""Less than that of a field says nothing: each conversion takes a moment."""
MARKS = "░▒▓█"
"""From all shared to all private, told apart without colours."""
UNSURE = "?"


class Strip(NamedTuple):
    """Pages times nanoseconds of each state in each field."""

    weights: Floats
    """By state (`tracer.analysis.private`), band and step."""
    starts: "Ints"
    ends: "Ints"
    """Pages of the ranges that the bands are made of."""
    from_ns: int
    until_ns: int

    def fields(self, bands: int, steps: int) -> list[list[int]]:
        """For each of so many bands and steps (at most as many as there are) its mark: a place in
        :data:`MARKS`, -1: some of it is unknown."""
        found = self.weights
        for axis, count in ((1, bands), (2, steps)):
            there = found.shape[axis]
            at = np.arange(min(count, there)) * there // min(count, there)
            found = np.add.reduceat(found, at, axis=axis)
        shared, unknown, private = found
        whole = np.maximum(shared + unknown + private, 1e-9)
        share = private / whole
        levels = np.digitize(share, (_SOME, 0.5, 1 - _SOME))
        marks: list[list[int]] = np.where(unknown / whole >= _SOME, -1, levels).tolist()
        return marks

    def address(self, share: float) -> int:
        """The guest-physical address (bytes) so far down."""
        sizes = self.ends - self.starts
        before = np.append(0, np.cumsum(sizes))
        at = min(int(share * before[-1]), int(before[-1]) - 1)
        place = int(np.searchsorted(before, at, "right")) - 1
        return int(self.starts[place] + at - before[place]) << _PAGE_SHIFT


def mark(field: int) -> str:
    """A field's sign."""
    return UNSURE if field < 0 else MARKS[field]


def word(field: int) -> str:
    """What a field says."""
    return ("shared", "mostly shared", "mostly private", "private", "not known")[field]


def of(found: "Privacy", vm: int, now_ns: int | None = None) -> Strip | None:
    """The picture of a machine; None: it never had a memslot.

    :param now_ns: the last moment of which something is known; None: that of the last change.
    """
    slots = found.memory(vm)
    if slots.empty:
        return None
    starts, ends = _merged(slots)
    first = int(slots["set_ns"].min())
    known = max(found.last_ns, now_ns or 0)
    last = max(min(int(slots["gone_ns"].max()) - 1, known), first + 1)
    edges = np.linspace(0, int((ends - starts).sum()), BANDS + 1)
    times = np.linspace(first, last, STEPS + 1)
    before = np.cumsum(ends - starts) - (ends - starts)
    rows = found.rectangles(vm)
    rows = rows[(rows["from_ns"] < last) & (rows["until_ns"] > first)]
    state = rows["state"].to_numpy(np.int64)
    weights = np.zeros((3, BANDS, STEPS))
    spans = [_placed(rows[name], starts, ends, before) for name in ("start", "end")]
    since, until = (rows[name].to_numpy(np.float64) for name in ("from_ns", "until_ns"))
    for start in range(0, len(rows), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        down = _overlap(spans[0][part], spans[1][part], edges)
        over = _overlap(since[part], until[part], times)
        for one in range(SHARED, UNKNOWN + 2):
            mine = state[part] == one
            weights[one] += down[mine].T @ over[mine]
    return Strip(weights, starts, ends, first, last)


def _merged(slots: pd.DataFrame) -> "tuple[Ints, Ints]":
    """Ranges of pages that some memslot has."""
    slots = slots.sort_values("start")
    start = slots["start"].to_numpy(np.int64)
    reach = np.maximum.accumulate(slots["end"].to_numpy(np.int64))
    new = np.append(True, start[1:] > reach[:-1])
    last = np.append(np.flatnonzero(new)[1:] - 1, len(start) - 1)
    return start[new], reach[last]


def _placed(pages: "pd.Series[int]", starts: "Ints", ends: "Ints", before: "Ints") -> Floats:
    """How far down pages are, without the gaps."""
    page = pages.to_numpy(np.int64)
    place = np.maximum(np.searchsorted(starts, page, "right") - 1, 0)
    inside = np.clip(page - starts[place], 0, ends[place] - starts[place])
    found: Floats = (before[place] + inside).astype(np.float64)
    return found


def _overlap(begin: Floats, end: Floats, edges: Floats) -> Floats:
    """How much of each span is between each two edges."""
    low = np.maximum(begin[:, None], edges[None, :-1])
    high = np.minimum(end[:, None], edges[None, 1:])
    found: Floats = np.maximum(high - low, 0)
    return found


def runs(row: Sequence[int]) -> list[tuple[int, int, int]]:
    """Equal neighbours together: first, end, field."""
    cuts = [0, *(at for at in range(1, len(row)) if row[at] != row[at - 1]), len(row)]
    return [(first, end, row[first]) for first, end in pairwise(cuts)]
