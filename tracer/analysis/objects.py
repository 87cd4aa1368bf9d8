"""Memory files: who is who, what their announcements told, and how they are now."""

from typing import TYPE_CHECKING, Union

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tracer.analysis.batch import Array, Batch
from tracer.analysis.growing import Growing
from tracer.analysis.keytable import Ids, KeyTable
from tracer.analysis.latest import BEFORE, NEVER, advance
from tracer.labels import SEALS_UNKNOWN
from tracer.record import USER_CPU
from tracer.words import Flag, Kind, Op, words

if TYPE_CHECKING:
    import pandas as pd

Table = Union["pd.DataFrame", pa.Table]
"""Rows of a recording's table; only DataFrames need pandas."""
ORDER_UNKNOWN = 255
"""folio_order_max of an object that the kernel side did not announce."""
OWNER_UNKNOWN = 0xFFFFFFFF
KEY = {"dev": np.uint32, "ino": np.uint64, "gen": np.uint32}
_KINDS = {word: number for number, word in words(Kind).items()}
_KNOWN = {
    "announced_ns": (np.int64, NEVER),  # by the kernel side, first
    "order": (np.uint8, ORDER_UNKNOWN),
    "owner": (np.uint32, OWNER_UNKNOWN),
    "owned_ns": (np.int64, NEVER),
    "in_events": (np.bool_, 0),  # set where the generation is 0 only
    "kind_told": (np.uint8, 0),  # by announcements
    "kind_seen": (np.uint8, 0),  # in events
    "named_ns": (np.int64, BEFORE),
    "named_rank": (np.int64, -1),
    "first_ns": (np.int64, NEVER),  # of anything about it
    "swept_ns": (np.int64, NEVER),  # the end of the first sweep of /proc that saw it
    "created_ns": (np.int64, NEVER),
    "evicted_ns": (np.int64, BEFORE),
    "mapped_ns": (np.int64, NEVER),  # shared and able to write, first
    "seals": (np.int64, -1),  # -1: not known
    "size": (np.uint64, 0),
    "size_ns": (np.int64, BEFORE),  # the return of the call that saw this size
    "size_rank": (np.int64, -1),
    "moved": (np.bool_, 0),
}


def packed(high: Array, low: Array) -> npt.NDArray[np.uint64]:
    """Two 32-bit columns as one of 64 bits; ``low`` may be wider if no number in it is."""
    whole = high.astype(np.uint64)
    whole <<= np.uint64(32)
    whole |= low.view(f"u{low.itemsize}") if low.dtype.kind == "i" else low
    return whole


def column(frame: "Table", name: str, dtype: npt.DTypeLike, unknown: int) -> Array:
    """A column of integers; ``unknown`` where it is null or not there at all."""
    if isinstance(frame, pa.Table):
        if name not in frame.column_names:
            return np.full(len(frame), unknown, dtype)
        chunks = frame.column(name)
        filled = pc.fill_null(chunks, unknown) if chunks.null_count else chunks
        # Not to_numpy, which imports pandas.
        pieces = [np.from_dlpack(chunk).astype(dtype) for chunk in filled.chunks]
        return np.concatenate([np.empty(0, dtype), *pieces])
    if name not in frame:
        return np.full(len(frame), unknown, dtype)
    found = frame[name]
    if found.isna().any():
        found = found.astype(object).where(found.notna(), unknown)
    return np.asarray(found.to_numpy().astype(dtype))


def _words(frame: "Table", name: str) -> Array | None:
    """A column of texts, None where null; None: there is no such column."""
    if isinstance(frame, pa.Table):
        if name not in frame.column_names:
            return None
        found = np.empty(len(frame), object)
        found[:] = frame.column(name).to_pylist()
        return found
    if name not in frame:
        return None
    column = frame[name].astype(object)
    return np.asarray(column.where(column.notna(), None).to_numpy(object))


class Objects:
    """Object keys (host, dev, ino, gen) with ids from 0 on, and what is known of each.

    What judging needs (``order``, ``owner``) is that of the earliest announcement, so that it does
    not matter when announcements arrive; the name is the last one announced. The scan of /proc at
    the start announces too (``cpu`` USER_CPU): it knows no folio order, and no owner and size where
    it had no permission (``mode`` 0).
    """

    def __init__(self) -> None:
        self.keys = KeyTable(3)
        """ino, dev << 32 | gen, host."""
        self.known = Growing(_KNOWN)
        self.names: list[str | None] = []

    def __len__(self) -> int:
        return len(self.keys)

    def ids(self, host: int, ino: Array, dev_gen: Array) -> Ids:
        """The id of each row's object."""
        ids = self.keys.ids(ino, dev_gen, np.full(len(ino), host, np.uint64))
        if len(self.keys) > len(self.known):
            self.known.resize(len(self.keys))
            self.names.extend([None] * (len(self.keys) - len(self.names)))
        return ids

    def announce(self, host: int, frame: "Table") -> int:
        """Takes announcements (table ``objects``); those taken before may come again.

        Returns the latest time of any of them, ns.
        """
        if not len(frame):
            return BEFORE
        order = np.lexsort([column(frame, n, np.int64, 0) for n in ("seq", "cpu", "time_ns")])

        def get(name: str, dtype: npt.DTypeLike, unknown: int) -> Array:
            return column(frame, name, dtype, unknown)[order]

        dev, ino, gen = (get(name, kind, 0) for name, kind in KEY.items())
        ids = self.ids(host, ino, packed(dev, gen))
        when = get("time_ns", np.int64, 0)
        rank = np.arange(-len(ids), 0)  # an event of the same time knows better
        from_kernel = get("cpu", np.int64, USER_CPU) != USER_CPU
        stat = get("mode", np.int64, 0) != 0
        known = self.known
        np.minimum.at(known["first_ns"], ids, when)
        self._earliest("announced_ns", "order", ids, when, from_kernel,
                       get("folio_order_max", np.uint8, ORDER_UNKNOWN))  # fmt: skip
        self._earliest("owned_ns", "owner", ids, when, stat,
                       get("owner_uid", np.uint32, OWNER_UNKNOWN))  # fmt: skip
        names, kinds, flags = (_words(frame, name) for name in ("name", "kind", "create_flags"))
        if names is not None:
            self._named(ids, when, names[order])
        if kinds is not None:
            told = np.array([_KINDS.get(word, 0) for word in kinds[order]], np.uint8)
            np.maximum.at(known["kind_told"], ids, told)
        if flags is not None:
            made = np.array([one is not None for one in flags[order]])
            np.minimum.at(known["created_ns"], ids[made], when[made])
        self._seals(ids, get("seals", np.uint32, SEALS_UNKNOWN))
        self._size(ids[stat], when[stat], rank[stat], get("size", np.uint64, 0)[stat])
        return int(when.max())

    def _earliest(
        self, clock: str, name: str, ids: Ids, when: Array, which: Array, values: Array
    ) -> None:
        ids, when, values = ids[which], when[which], values[which]
        earlier = when < self.known[clock][ids]
        # Rows come by rising time: backwards, the earliest is assigned last.
        ids, when, values = ids[earlier][::-1], when[earlier][::-1], values[earlier][::-1]
        self.known[clock][ids] = when
        self.known[name][ids] = values

    def name(self, ids: Ids, when: Array, frame: "Table") -> None:
        """Takes names (column ``name`` of rows that come by rising time, null: not known)."""
        names = _words(frame, "name")
        if names is not None:
            self._named(ids, when, names)

    def _named(self, ids: Ids, when: Array, texts: Array) -> None:
        named = np.array([text is not None for text in texts], bool).nonzero()[0]
        known = self.known["named_ns"]
        for row in named[when[named] >= known[ids[named]]].tolist():
            self.names[ids[row]] = str(texts[row])
        np.maximum.at(known, ids[named], when[named])

    def observe(self, ids: Ids, batch: Batch, rank: Array) -> int:
        """What events of any kind (or the baseline: rank -1) tell about their objects.

        Returns the latest time of any of them, ns.
        """
        known, when = self.known, batch["time_ns"]
        blank = (batch["gen"] == 0).nonzero()[0]
        known["in_events"][ids[blank[rank[blank] >= 0]]] = True
        kinds = batch["kind"]
        new = (kinds > known["kind_seen"].take(ids, mode="clip")).nonzero()[0]
        np.maximum.at(known["kind_seen"], ids[new], kinds[new])
        ops = batch["op"]
        made = (ops == Op.CREATE).nonzero()[0]
        made = made[batch["answer"][made] >= 0]
        np.minimum.at(known["created_ns"], ids[made], when[made])
        gone = (ops == Op.EVICT).nonzero()[0]
        np.maximum.at(known["evicted_ns"], ids[gone], when[gone])
        missing = (batch["flags"] & np.uint32(Flag.RETURN_MISSING)) != 0
        end, after, size = when + batch["duration_ns"], batch["seals_after"], batch["size_after"]
        if missing.any():
            rows = (~missing).nonzero()[0]
            ids, rank, after, size = ids[rows], rank[rows], after[rows], size[rows]
            self._size(ids, end[rows], rank, size)
        else:
            self._size(ids, end, rank, size)
        self._seals(ids, after)
        return int(end.max())

    def _seals(self, ids: Ids, seals: Array) -> None:
        # Seals are only ever added (mm/memfd.c:memfd_add_seals), so of the sets seen the largest
        # number is the latest.
        rows = (seals > self.known["seals"].take(ids, mode="clip")).nonzero()[0]
        rows = rows[seals[rows] != SEALS_UNKNOWN]
        np.maximum.at(self.known["seals"], ids[rows], seals[rows].astype(np.int64))

    def _size(self, ids: Ids, when: Array, rank: Array, size: Array) -> None:
        """Sizes in the order of arrival; only of files whose size moved one needs to know when."""
        known = self.known
        moved = (size != known["size"].take(ids, mode="clip")).nonzero()[0]
        mark = known["moved"]
        mark[ids[moved]] = True
        rows = (mark.take(ids, mode="clip")).nonzero()[0]
        mark[ids[moved]] = False
        last = advance(ids[rows], when[rows], rank[rows], known["size_ns"], known["size_rank"])
        known["size"][ids[rows[last]]] = size[rows[last]]
        np.maximum.at(known["size_ns"], ids, when)
