"""Sums the finest groups up to the rows of a table."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from tracer.analysis.batch import Array
from tracer.analysis.growing import Growing
from tracer.analysis.keytable import Ids, KeyTable
from tracer.analysis.latest import BEFORE, NEVER
from tracer.analysis.totals import VERDICTS

I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]
_LOW = np.uint64(0xFFFFFFFF)


def halves(whole: U64) -> tuple[I64, I64]:
    """The high and the low 32 bits."""
    return (whole >> np.uint64(32)).astype(np.int64), (whole & _LOW).astype(np.int64)


def pair(high: Array, low: Array) -> U64:
    """Two columns of numbers below 2**32 as one."""
    return (high.astype(np.uint64) << np.uint64(32)) | low.astype(np.uint64)


def distinct(*key: U64) -> tuple[Ids, KeyTable]:
    """Ids of the distinct keys, and the table that has the keys."""
    table = KeyTable(len(key))
    return table.ids(*key), table


@dataclass(frozen=True)
class Sums:
    """One row for each id."""

    counts: I64
    """(rows, verdicts)"""
    first_ns: I64
    last_ns: I64
    last: I64
    """The group that the last decision belongs to, -1 where there was none."""

    @property
    def decisions(self) -> I64:
        total: I64 = self.counts.sum(axis=1)
        return total

    @property
    def worst(self) -> I64:
        """The worst verdict, -1 where there was none."""
        there = self.counts[:, ::-1] > 0
        return np.where(there.any(axis=1), VERDICTS - 1 - np.argmax(there, axis=1), -1)

    def some(self, rows: I64) -> Self:
        """Some rows, in the order of ``rows``."""
        return type(self)(
            self.counts[rows], self.first_ns[rows], self.last_ns[rows], self.last[rows]
        )

    def order(self, *keys: Array) -> I64:
        """The rows worst first, then those with more of it, then with more of all, then by keys."""
        worst = self.worst
        most = np.take_along_axis(self.counts, worst.clip(0)[:, None], 1)[:, 0]
        return np.lexsort([*reversed(keys), -self.decisions, -most, -worst])


def sums(ids: Array, count: int, groups: Growing, which: I64) -> Sums:
    """Sums ``groups[which]``; ``ids``: the row of each in a table of ``count`` rows."""
    counts = np.zeros((count, VERDICTS), np.int64)
    for verdict in range(VERDICTS):
        np.add.at(counts[:, verdict], ids, groups["counts"][which, verdict])
    first, last = np.full(count, NEVER), np.full(count, BEFORE)
    np.minimum.at(first, ids, groups["first_ns"][which])
    last_ns, last_rank = groups["last_ns"][which], groups["last_rank"][which]
    np.maximum.at(last, ids, last_ns)
    newest = np.flatnonzero(last_ns == last[ids])
    rank = np.full(count, -1)
    np.maximum.at(rank, ids[newest], last_rank[newest])
    newest = newest[last_rank[newest] == rank[ids[newest]]]
    group = np.full(count, -1)
    group[ids[newest]] = which[newest]
    return Sums(counts, first, last, group)
