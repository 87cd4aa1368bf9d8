"""Memory files: what announcements tell of them, what judging needs, and which two are one."""

from typing import TYPE_CHECKING, NamedTuple, Union

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from tracer.analysis.grouping import (
    BEFORE,
    NEVER,
    Array,
    Codes,
    Lookup,
    added,
    arrays,
    columns_of,
    found_in,
    grouped,
)
from tracer.analysis.running import Running
from tracer.analysis.sums import OBJECT, OBJECT_KINDS, RULES, Sums, full, no_objects
from tracer.labels import SEALS_UNKNOWN
from tracer.record import USER_CPU
from tracer.recording.identity import Life, swept
from tracer.words import Kind, words

if TYPE_CHECKING:
    from tracer.analysis.batches import Vocabulary

Table = Union["pd.DataFrame", pa.Table]
"""Rows of a recording's table."""
ORDER_UNKNOWN = 255
"""folio_order_max of an object that the kernel side did not announce."""
OWNER_UNKNOWN = 0xFFFFFFFF
_KEY = {"dev": np.uint32, "ino": np.uint64, "gen": np.uint32}
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


def announced(
    frame: "Table", boot: int, names: "Vocabulary", before: int
) -> dict[str, pd.DataFrame]:
    """What announcements (rows of the table ``objects``) tell, as sums.

    What judging needs (``order``, ``owner``) is that of the earliest announcement, so that it does
    not matter when announcements arrive; the name is the last one announced. The scan of /proc at
    the start announces too (``cpu`` USER_CPU): it knows no folio order, and no owner and size where
    it had no permission (``mode`` 0). ``before``: how many were taken before, since an object comes
    again at the same time when more of its name is known.
    """
    if not len(frame):
        return {}
    order = np.lexsort([column(frame, n, np.int64, 0) for n in ("seq", "cpu", "time_ns")])

    def get(name: str, dtype: npt.DTypeLike, unknown: int) -> Array:
        return column(frame, name, dtype, unknown)[order]

    when, count = get("time_ns", np.int64, 0), len(order)
    from_kernel = get("cpu", np.int64, USER_CPU) != USER_CPU
    stat = get("mode", np.int64, 0) != 0
    found: dict[str, Array] = {"boot": np.full(count, boot, np.uint32)}
    found |= {name: get(name, kind, 0) for name, kind in _KEY.items()}
    found |= {name: np.full(count, unknown, kind) for name, (kind, unknown) in OBJECT_KINDS.items()}
    place = np.arange(before, before + count)
    found["first_ns"] = when
    found["announced_ns"] = np.where(from_kernel, when, NEVER)
    found["announced_rank"] = found["owned_rank"] = place
    found["order"] = np.where(
        from_kernel, get("folio_order_max", np.uint8, ORDER_UNKNOWN), np.uint8(ORDER_UNKNOWN)
    )
    found["owned_ns"] = np.where(stat, when, NEVER)
    found["owner"] = np.where(
        stat, get("owner_uid", np.uint32, OWNER_UNKNOWN), np.uint32(OWNER_UNKNOWN)
    )
    if (known := texts(frame, "name")) is not None:
        found["name"] = name_codes(known[order], names)
        found["named_ns"] = np.where(found["name"] >= 0, when, BEFORE)
        found["named_rank"] = np.where(found["name"] >= 0, place, -1)
    if (known := texts(frame, "kind")) is not None:
        found["kind_told"] = np.array([_KINDS.get(word, 0) for word in known[order]], np.uint8)
    if (known := texts(frame, "create_flags")) is not None:
        made = np.array([one is not None for one in known[order]], bool)
        found["created_ns"] = np.where(made, when, NEVER)
    seals = get("seals", np.uint32, SEALS_UNKNOWN)
    found["seals"] = np.where(seals == SEALS_UNKNOWN, -1, seals.astype(np.int64))
    found["size"] = np.where(stat, get("size", np.uint64, 0), np.uint64(0))
    found["size_ns"] = np.where(stat, when, BEFORE)
    # An event of the same time knows better.
    found["size_rank"] = np.where(stat, place - (1 << 40), BEFORE)
    now = pd.DataFrame({"boot": np.array([boot], np.uint32), "now_ns": [int(when.max())]})
    return {"objects": grouped(pd.DataFrame(found, copy=False), RULES["objects"]), "hosts": now}


class Known(NamedTuple):
    """What judging needs of the object of each key."""

    announced: npt.NDArray[np.bool_]
    """Whether the kernel side announced it."""
    order: npt.NDArray[np.uint8]
    owner: npt.NDArray[np.uint32]
    name: npt.NDArray[np.int32]
    """A code, -1: none."""


def known(told: Running, boot: int, key: tuple[Array, Array, Array]) -> Known:
    """``told``: announcements added up; ``key``: dev, ino and gen of each object."""
    objects = told.table("objects")
    if objects is None or not len(objects):
        places, objects = np.full(len(key[0]), -1), no_objects()
    else:
        boots = np.full(len(key[0]), boot, np.uint32)
        places = told.lookup("objects", objects).find((boots, *key))

    def of(name: str) -> Array:
        kind, unknown = OBJECT_KINDS[name]
        found: Array = np.append(objects[name].to_numpy(), np.array([unknown], kind))[places]
        return found

    return Known(of("announced_ns") != NEVER, of("order"), of("owner"), of("name"))


def all_known(known: Sums, seen: Sums) -> tuple[pd.DataFrame, Codes]:
    """Everything that is known of each object, and the row under which each of them is shown.

    ``known``: what announcements and the baseline tell; ``seen``: what events do.
    """
    objects = known.get("objects")
    objects = no_objects() if objects is None else full(objects)
    if (more := seen.get("objects")) is not None:
        rules = RULES["objects"]
        if isinstance(known, Running) and len(objects):
            lookup = known.lookup("objects", objects)
        else:
            lookup = Lookup(arrays(objects, rules.key))
        objects, _ = added(objects, full(more), rules, lookup)
    same_as = np.arange(len(objects))
    pairs = list(_same(objects))
    if pairs:
        columns = {name: column.copy() for name, column in columns_of(objects).items()}
        for blank, found in pairs:
            same_as[blank] = found
            _lend(columns, blank, found)
        objects = pd.DataFrame(columns, copy=False)
    return objects, same_as


def _same(objects: pd.DataFrame) -> list[tuple[int, int]]:
    """Objects without a generation, and the object that each of them is.

    The sweep of /proc cannot always read an inode's generation and says 0. If nobody else speaks of
    such an object, tracer.recording.identity says which one was swept.
    """
    know = columns_of(objects)
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
    for name in ("seals", "kind_told"):
        columns[name][found] = max(columns[name][found], columns[name][blank])
    for name in ("first_ns", "mapped_ns"):
        columns[name][found] = min(columns[name][found], columns[name][blank])


def numbers_of(objects: pd.DataFrame, frame: pd.DataFrame) -> Codes:
    """The row in ``objects`` of each row's object; every one is there."""
    return found_in(arrays(objects, OBJECT), arrays(frame, OBJECT))
