"""Decisions that were not allowed, equal ones as one, with the first of them as it was."""

from typing import Self

import numpy as np
import numpy.typing as npt

from tracer.analysis.batch import Array, Batch
from tracer.analysis.growing import Growing
from tracer.analysis.keytable import Ids, KeyTable
from tracer.analysis.latest import BEFORE, NEVER, NO_RANK

MOST = 10_000
"""Cases of one verdict that are kept; decisions of others are only counted."""

_HALF = np.uint64(32)
SHOWN: dict[str, npt.DTypeLike] = {
    "tid": np.uint32,
    "seals": np.uint32,
    "seals_after": np.uint32,
    "size": np.uint64,
    "size_after": np.uint64,
    "offset": np.int64,
    "length": np.uint64,
    "answer": np.int64,
    "duration_ns": np.int64,
    "flags": np.uint32,
    "writable": np.int32,
}
"""Columns that equal decisions may differ in: those of the first one are kept."""


class Cases:
    """Cases of one verdict, by the ids of a KeyTable of their own."""

    def __init__(self) -> None:
        self.rows = Growing(
            {
                "count": (np.int64, 0),
                "first_ns": (np.int64, NEVER),
                "last_ns": (np.int64, BEFORE),
                "rank": (np.int64, NO_RANK),
                **{name: (kind, 0) for name, kind in SHOWN.items()},
            }
        )
        self.unlisted = 0
        """Decisions that belong to none of the cases kept."""
        self._groups: npt.NDArray[np.bool_] | None = None
        """Whether a group has a case; known when no more cases are kept."""

    def copy(self) -> Self:
        """One that shares nothing with this."""
        other = type(self)()
        other.rows, other.unlisted = self.rows.copy(), self.unlisted
        return other

    def add(
        self, table: KeyTable, key: tuple[Array, ...], batch: Batch, rows: Array, rank: Array
    ) -> None:
        """Counts some ``rows`` of a batch, with their keys; ``rank`` is that of all its rows.

        The group is in the upper half of a key's first number.
        """
        if len(table) >= MOST:
            ids, kept = self._find(table, key)
        else:
            ids = _ids(table, key)
            kept = (ids >= 0).nonzero()[0]
            ids = ids[kept]
        self.unlisted += len(rows) - len(kept)
        rows = rows[kept]
        known, when, rank = self.rows, batch["time_ns"][rows], rank[rows]
        known.resize(len(table))
        np.add.at(known["count"], ids, 1)
        np.minimum.at(known["first_ns"], ids, when)
        np.maximum.at(known["last_ns"], ids, when)
        np.minimum.at(known["rank"], ids, rank)
        first = (known["rank"][ids] == rank).nonzero()[0]
        for name in SHOWN:
            known[name][ids[first]] = batch[name][rows[first]]

    def _find(self, table: KeyTable, key: tuple[Array, ...]) -> tuple[Ids, Array]:
        """Ids of the rows that are of a case, and these rows; most groups have none."""
        if self._groups is None:
            groups = (table.key(0) >> _HALF).astype(np.int64)
            self._groups = np.zeros(int(groups.max()) + 2, np.bool_)
            self._groups[groups] = True
        groups = (key[0] >> _HALF).astype(np.int64)
        rows = self._groups.take(groups, mode="clip").nonzero()[0]
        ids = table.find(*(part[rows] for part in key))
        found = (ids >= 0).nonzero()[0]
        return ids[found], rows[found]


def _ids(table: KeyTable, key: tuple[Array, ...]) -> Ids:
    """Ids of keys; -1 for new ones behind the first :data:`MOST`."""
    if len(table) + len(key[0]) <= MOST:
        return table.ids(*key)
    ids = table.find(*key)
    new = (ids < 0).nonzero()[0]
    room = MOST - len(table)
    if room <= 0 or not len(new):
        return ids
    fresh = KeyTable(len(key))
    places = fresh.ids(*(part[new] for part in key))
    first = np.full(len(fresh), len(ids))
    np.minimum.at(first, places, new)
    first = np.sort(first)[:room]
    table.ids(*(part[first] for part in key))
    return table.find(*key)
