"""Memory files: what announcements tell of them, and which two are one."""

from typing import TYPE_CHECKING, Union

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tracer.analysis.grouping import (
    BEFORE,
    NEVER,
    ORDER_UNKNOWN,
    OWNER_UNKNOWN,
    TYPES,
    Array,
    Codes,
    Columns,
)
from tracer.analysis.sums import OBJECT, TOLD, Sums
from tracer.labels import SEALS_UNKNOWN
from tracer.record import USER_CPU
from tracer.recording.identity import Life, swept
from tracer.words import Kind, words

if TYPE_CHECKING:
    import pandas as pd

    from tracer.analysis.batches import Vocabulary

Table = Union["pd.DataFrame", pa.Table]
"""Rows of a recording's table."""
_KINDS = {word: number for number, word in words(Kind).items()}


def column(frame: "Table", name: str, dtype: npt.DTypeLike, unknown: int) -> Array:
    """A column of integers; ``unknown`` where it is null or not there at all."""
    if isinstance(frame, pa.Table):
        if name not in frame.column_names:
            return np.full(len(frame), unknown, dtype)
        chunks = frame.column(name)
        filled = pc.fill_null(chunks, unknown) if chunks.null_count else chunks
        pieces = [np.from_dlpack(chunk).astype(dtype) for chunk in filled.chunks]
        return np.concatenate([np.empty(0, dtype), *pieces])
    if name not in frame:
        return np.full(len(frame), unknown, dtype)
    found = frame[name]
    if found.isna().any():
        found = found.astype(object).where(found.notna(), unknown)
    return np.asarray(found.to_numpy().astype(dtype))


def texts(frame: "Table", name: str) -> Array | None:
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


def name_codes(found: Array, names: "Vocabulary") -> npt.NDArray[np.int32]:
    """Names as codes, -1 where there is none."""
    codes = np.full(len(found), -1, np.int32)
    rows = np.array([text is not None for text in found], bool).nonzero()[0]
    codes[rows] = names.codes(str(text) for text in found[rows])
    return codes


def announced(sums: Sums, frame: "Table", boot: int, before: int) -> None:
    """Takes what announcements (rows of the table ``objects``) tell.

    What judging needs (``order``, ``owner``) is that of the earliest announcement, so that it does
    not matter when announcements arrive; the name is the last one announced. The scan of /proc at
    the start announces too (``cpu`` USER_CPU): it knows no folio order, and no owner and size where
    it had no permission (``mode`` 0). ``before``: how many were taken before, since an object comes
    again at the same time when more of its name is known.
    """
    if not len(frame):
        return
    order = np.lexsort([column(frame, n, np.int64, 0) for n in ("seq", "cpu", "time_ns")])

    def get(name: str, dtype: npt.DTypeLike, unknown: int) -> Array:
        return column(frame, name, dtype, unknown)[order]

    objects, when, count = sums["objects"], get("time_ns", np.int64, 0), len(order)
    key = {name: get(name, TYPES[name], 0) for name in OBJECT[1:]}
    at = objects.places({"boot": np.full(count, boot, np.uint32), **key})
    rank = np.arange(before, before + count)

    def take(which: Array, **columns: Array) -> None:
        objects.put(at[which], {name: column[which] for name, column in columns.items()})

    every = np.ones(count, np.bool_)
    take(every, first_ns=when)
    from_kernel = get("cpu", np.int64, USER_CPU) != USER_CPU
    folio_order = get("folio_order_max", np.uint8, ORDER_UNKNOWN)
    take(from_kernel, announced_ns=when, announced_rank=rank, order=folio_order)
    stat = get("mode", np.int64, 0) != 0
    owner, size = get("owner_uid", np.uint32, OWNER_UNKNOWN), get("size", np.uint64, 0)
    take(stat, owned_ns=when, owned_rank=rank, owner=owner)
    take(stat, size_ns=when, size_rank=rank + TOLD, size=size)
    if (known := texts(frame, "name")) is not None:
        name = name_codes(known[order], sums.words.names)
        take(name >= 0, named_ns=when, named_rank=rank, name=name)
    if (known := texts(frame, "kind")) is not None:
        kinds = np.array([_KINDS.get(word, 0) for word in known[order]], np.uint8)
        take(every, kind_told=kinds)
    if (known := texts(frame, "create_flags")) is not None:
        made = np.array([one is not None for one in known[order]], bool)
        take(made, created_ns=when)
    seals = get("seals", np.uint32, SEALS_UNKNOWN)
    take(seals != SEALS_UNKNOWN, sealed=seals.astype(np.int64))
    now = {"boot": np.array([boot], np.uint32), "now_ns": np.array([when.max()])}
    sums["hosts"].add(now)


def all_known(sums: Sums) -> tuple[dict[str, Array], Codes]:
    """Everything that is known of each object, and the row under which each of them is shown."""
    objects = sums["objects"].columns()
    same_as = np.arange(len(sums["objects"]))
    pairs = _same(objects)
    if pairs:
        objects = {name: column.copy() for name, column in objects.items()}
    for blank, found in pairs:
        same_as[blank] = found
        _lend(objects, blank, found)
    return objects, same_as


def _same(know: Columns) -> list[tuple[int, int]]:
    """Objects without a generation, and the object that each of them is.

    The sweep of /proc cannot always read an inode's generation and says 0. If nobody else speaks of
    such an object, tracer.recording.identity says which one was swept.
    """
    gen, ino = know["gen"], know["ino"]
    told = (know["announced_ns"] != NEVER) | know["in_events"]
    blank = np.flatnonzero((gen == 0) & ~told & (ino != 0))
    if not len(blank):
        return []
    number = list(zip(*(know[n].tolist() for n in ("boot", "dev", "ino")), strict=True))
    lives: dict[tuple[int, ...], dict[int, tuple[int, Life]]] = {}
    for place in np.flatnonzero((gen != 0) & np.isin(ino, ino[blank])).tolist():
        created_ns, evicted_ns = int(know["created_ns"][place]), int(know["evicted_ns"][place])
        life = Life(
            int(gen[place]),
            int(know["first_ns"][place]),
            None if created_ns == NEVER else created_ns,
            None if evicted_ns == BEFORE else evicted_ns,
        )
        lives.setdefault(number[place], {})[life.gen] = place, life
    # A sweep takes time: what was made while it went on may be in it.
    start_ns = know["first_ns"]
    end_ns = np.where(know["swept_ns"] == NEVER, start_ns, know["swept_ns"])
    pairs = []
    for place in blank.tolist():
        known = lives.get(number[place], {})
        found = swept(
            [life for _, life in known.values()], int(start_ns[place]), int(end_ns[place])
        )
        if found is not None:
            pairs.append((place, known[found][0]))
    return pairs


def _lend(columns: dict[str, Array], blank: int, found: int) -> None:
    """What was known of ``blank`` is known of ``found``, unless that knows better."""
    for mark, unknown, names in (
        ("name", -1, ("name",)),
        ("owner", OWNER_UNKNOWN, ("owner",)),
        ("size_ns", BEFORE, ("size", "size_ns")),
    ):
        if columns[mark][found] == unknown:
            for name in names:
                columns[name][found] = columns[name][blank]
    for name in ("sealed", "kind_told"):
        columns[name][found] = max(columns[name][found], columns[name][blank])
    for name in ("first_ns", "mapped_ns"):
        columns[name][found] = min(columns[name][found], columns[name][blank])
