"""Keeps the events that made objects and changed their seals, and those that failed EBUSY."""

import numpy as np

from tracer.analysis.batch import Array, Batch
from tracer.analysis.growing import Growing
from tracer.words import Op

MOST_BUSY = 10_000
"""EBUSY that are kept: somebody may try for ever."""
EBUSY = -16
_KEPT = {
    "group": np.int64,
    "rank": np.int64,
    "time_ns": np.int64,
    "op": np.uint8,
    "seals": np.uint32,
    "seals_after": np.uint32,
    "arg": np.uint64,
    "answer": np.int64,
    "writable": np.int32,
}


class Sealing:
    """Of each object its creation and at most one row for each seal that it got."""

    def __init__(self) -> None:
        self.rows = Growing({name: (kind, 0) for name, kind in _KEPT.items()})
        self.busy = 0
        """EBUSY so far, those that are not kept too."""

    def add(self, batch: Batch, group: Array, rank: Array) -> None:
        """Takes the rows of a batch that matter."""
        op = batch["op"]
        asked = ((op == Op.ADD_SEALS) | (op == Op.CREATE)).nonzero()[0]
        if not len(asked):
            return
        answers, created = batch["answer"][asked], op[asked] == Op.CREATE
        changed = (answers == 0) & (batch["seals_after"][asked] != batch["seals"][asked])
        busy = ~created & (answers == EBUSY)
        kept = np.where(created, answers >= 0, changed)
        kept |= busy & (np.cumsum(busy) <= MOST_BUSY - self.busy)
        self.busy += int(np.count_nonzero(busy))
        rows = asked[kept]
        before = len(self.rows)
        self.rows.resize(before + len(rows))
        for name in _KEPT:
            values = group if name == "group" else rank if name == "rank" else batch[name]
            self.rows[name][before:] = values[rows]
