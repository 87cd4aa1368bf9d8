"""One event, or one line of the baseline, as the claims look at it.

Rows of a recording as the audit needs them: few columns, few rows, no evidence lost.

What a program does a million times is one row with a count: rows that no claim could tell apart are
put together, the first of them stays as the proof. So what an audit holds grows with the files and
with those that use them, and not with what they do: anybody can do that as often as he likes.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from tracer.labels import MAX_ERRNO
from tracer.recording.reader import Recording
from tracer.words import Flag

FINAL = 0x200
"""Flag of baseline rows (bpf/record.h: FLAG_FINAL): as it was at the stop, not at the start."""
VM_FAULT_ERROR = 0x873
"""include/linux/mm_types.h: OOM, SIGBUS, HWPOISON, SIGSEGV and the like; else the page came."""


class Row(NamedTuple):
    """Columns as in tracer.recording.format.EVENTS."""

    table: str
    time_ns: int
    cpu: int
    seq: int
    pid: int
    start_ns: int
    exec_id: int
    own_mm: int
    tid: int
    uid: int
    cgroup: int
    comm: str
    op: str
    kind: str
    dev: int
    ino: int
    gen: int
    fd: int
    seals: int
    seals_after: int
    size: int
    size_after: int
    offset: int
    length: int
    arg: int
    answer: int
    duration_ns: int
    flags: int
    mm: int
    vm: int
    writable: int
    checks: int
    check_answer: int
    times: int
    last_ns: int
    verdict: str | None
    reason: str | None
    hole: str | None
    blurred: bool | None = False
    """It stands for many mappings that began and ended: ``address`` and ``length`` hold them all,
    and ``last_ns`` is when the last of them ended."""

    @property
    def key(self) -> tuple[int, int, int]:
        return self.dev, self.ino, self.gen

    @property
    def copied(self) -> bool:
        """A mapping that a fork copied: told by the parent, in the child's address space."""
        return self.op == "map" and bool(self.flags & Flag.OTHER_MM)

    @property
    def baseline(self) -> bool:
        """Of the look at the start."""
        return self.table == "mappings" and not self.flags & FINAL

    @property
    def final(self) -> bool:
        """Of the look at the end."""
        return self.table == "mappings" and bool(self.flags & FINAL)

    @property
    def unanswered(self) -> bool:
        """Its return was not seen: ``answer`` says nothing."""
        return bool(self.flags & Flag.RETURN_MISSING)

    @property
    def failed(self) -> bool:
        return -MAX_ERRNO <= self.answer < 0

    @property
    def address(self) -> int:
        """Of a mapping: where it begins."""
        return self.answer & (2**64 - 1)

    @property
    def until_ns(self) -> int:
        """When the last of these equal events returned."""
        return max(self.last_ns, self.time_ns) + max(0, self.duration_ns)


def rows(found: pd.DataFrame) -> Iterator[Row]:
    """A frame of tracer.audit.events as rows, in its order."""
    columns = []
    for name in Row._fields:
        if name not in found:
            columns.append([None] * len(found))
            continue
        column = found[name]
        values = column.tolist()
        if column.dtype.kind not in "iu":
            values = [
                None if null else value for value, null in zip(values, column.isna(), strict=True)
            ]
        columns.append(values)
    yield from map(Row._make, zip(*columns, strict=True))


Mask = npt.NDArray[np.bool_]
KEY = ["dev", "ino", "gen"]
_TIME = ["time_ns", "cpu", "seq"]
COLUMNS = [
    "time_ns", "cpu", "seq", "pid", "start_ns", "exec_id", "own_mm", "tid", "uid", "cgroup", "comm",
    "op", "kind", *KEY, "fd", "seals", "seals_after", "size", "size_after", "offset", "length",
    "arg", "answer", "duration_ns", "flags", "hook", "mm", "vm", "writable", "mode", "fmode",
    "checks", "check_answer",
]  # fmt: skip

BY_ADDRESS = frozenset(
    ["remote_read", "remote_write", "pin", "uffd_register", "uffd_fill", "mprotect"]
)
"""Ops that name the first memory file of an address range, though there may be more in it."""
UNSEEN = frozenset({"trace", "share_mm", "ring", "advise", "device"})
"""Ops after which somebody can reach an address space's memory in ways that are not seen."""
MANY = frozenset(
    ["read", "write", "truncate", "chmod", "allocate", "punch_hole", "fault", "remote_read",
     "remote_write", "pin", "mmap", "mprotect", "mremap", "add_seals", "uffd_fill", "advise",
     "ring", "receive", "give", "trace", "share_mm", "device", "uffd_register"]
)  # fmt: skip
"""Ops of which equal rows are put together; mappings are when they have ended (`_ended`)."""
_WHOLE = ["receive", "give", "trace", "share_mm", "device"]
_BY_WHOLE = ["offset", "arg", "check_answer", "vm"]
"""Of these ops who gave, who is traced and the like stands in these columns."""
EXACT = 64
"""So many mappings of a file by somebody, and so many places of accesses by address, are kept as
they are; of more the audit knows only between which addresses and times they were."""
_SAME = [*KEY, "op", "kind", "pid", "start_ns", "exec_id", "own_mm", "uid", "cgroup", "comm",
         "flags", "seals", "seals_after", "mm", "checks", "_answered"]  # fmt: skip
JUDGED = ["verdict", "reason", "rule", "hole", "expected"]
_BY_RANGE = ["size_after", "length"]
_WHO = ["pid", "start_ns", "exec_id", "own_mm", "uid", "cgroup", "comm", "flags", "seals",
        "seals_after"]  # fmt: skip
_MAPPING = [*KEY, "kind", *_WHO, "mm", "arg"]

KNOWN_OPS = MANY | BY_ADDRESS | UNSEEN | {
    "map", "unmap", "evict", "open", "create", "memslot", "vm_end", "receive", "give", "mapped",
    "attach",
}  # fmt: skip


def frame(table: pa.Table) -> pd.DataFrame:
    """A table of events or of the baseline as a DataFrame with plain words."""
    found: pd.DataFrame = table.to_pandas()
    for name in ("op", "kind", "comm", "hook"):
        if name in found:
            found[name] = found[name].astype(object)
    return found


def empty() -> pd.DataFrame:
    """A frame of events without rows."""
    from tracer.recording.format import EVENTS

    made = frame(EVENTS.empty_table().select(COLUMNS))
    return made.assign(table=pd.Series(dtype=object), times=pd.Series(dtype=np.int64),
                       last_ns=pd.Series(dtype=np.int64),
                       blurred=pd.Series(dtype=bool))  # fmt: skip


def keys(found: pd.DataFrame) -> pd.MultiIndex:
    """The object of each row."""
    return pd.MultiIndex.from_arrays([found[name] for name in KEY], names=KEY)


def together(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows with equal ones put together: ``times`` and ``last_ns`` say how many and until when.

    Rows that come in have ``times`` and ``last_ns``, so that this can be done again and again.
    """
    if rows.empty:
        return rows
    many = rows["op"].isin(MANY).to_numpy()
    rest, rows = _ended(rows[~many]), rows[many]
    if rows.empty:
        return rest
    same = [name for name in (*_SAME, *JUDGED) if name in rows or name == "_answered"]
    granted = np.sign(rows["answer"].to_numpy())
    # A fault's answer is a set of bits, some of which refuse it.
    faults = (rows["op"] == "fault").to_numpy()
    granted[faults] = (rows["answer"].to_numpy()[faults] & VM_FAULT_ERROR) != 0
    rows = rows.assign(
        _answered=granted,
        _grows=(rows["op"] == "allocate") & (rows["size_after"] > rows["size"]),
        **{f"_{name}": rows[name].where(rows["op"].isin(_WHOLE), 0) for name in _BY_WHOLE},
    )
    same += ["_grows", *(f"_{name}" for name in _BY_WHOLE)]
    rows = rows.sort_values(_TIME, kind="stable")
    by_range = rows["op"].isin(BY_ADDRESS)
    far = [*same, *_BY_RANGE]
    rows = pd.concat([_first(rows[by_range], far), _first(rows[~by_range], same)])
    rows = rows.sort_values(_TIME, kind="stable")
    # Of more places than that it is not kept which they were (see tracer.audit.evaluate).
    places = rows.groupby(same, dropna=False, sort=False, observed=True).cumcount()
    beyond = (rows["op"].isin(BY_ADDRESS) & (places >= EXACT)).to_numpy()
    if beyond.any():
        nowhere = rows[beyond].assign(size_after=0, length=0, checks=1)
        rows = pd.concat([rows[~beyond], _first(nowhere, [*same, *_BY_RANGE])])
    return _concat([rest, rows.drop(columns=[c for c in rows if str(c).startswith("_")])])


def _first(rows: pd.DataFrame, same: list[str]) -> pd.DataFrame:
    """The first of those that are equal in ``same``, with ``times`` and ``last_ns`` of all."""
    if rows.empty:
        return rows
    groups = rows.groupby(same, dropna=False, sort=False, observed=True)
    counts, last = groups["times"].transform("sum"), groups["last_ns"].transform("max")
    return rows.assign(times=counts, last_ns=last)[~rows.duplicated(same)]


def _ended(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with mappings that began and ended put together, but the first ``EXACT`` of each.

    A mapping has ended where the next row about its address in that address space is its end.
    """
    plain = rows["op"].isin(["map", "unmap"]) & (rows["table"] == "events") & (rows["mm"] != 0)
    blurred = rows["blurred"].to_numpy(bool)
    plain = plain.to_numpy() & ~blurred
    if plain.sum() <= 2 * EXACT:
        return rows
    place = [*KEY, "mm", "answer", "length"]
    there = rows[plain].sort_values([*place, *_TIME], kind="stable")
    begin = (there["op"] == "map").to_numpy()
    alike = (there[place].to_numpy()[1:] == there[place].to_numpy()[:-1]).all(axis=1)
    pairs = np.flatnonzero(begin[:-1] & ~begin[1:] & alike)
    begins, ends = there.iloc[pairs], there.iloc[pairs + 1]
    both = begins[_MAPPING].reset_index(drop=True)
    both = both.join(ends[_WHO].reset_index(drop=True).add_suffix("_end"))
    group = both.groupby(list(both), dropna=False, sort=False, observed=True).ngroup().to_numpy()
    order = np.lexsort([begins[name].to_numpy() for name in reversed(_TIME)])
    rank = np.empty(len(order), np.int64)
    rank[order] = pd.Series(group[order]).groupby(group[order]).cumcount().to_numpy()
    many = rank >= EXACT
    if not many.any():
        return rows
    begins, ends = begins[many], ends[many]
    rest = rows[~blurred].drop(index=[*begins.index, *ends.index])
    # Until its end, for a begin.
    begins = begins.assign(last_ns=ends["last_ns"].to_numpy())
    merged = pd.concat([rows[blurred], begins, ends]).assign(blurred=True)
    return pd.concat([rest, _hull(merged.sort_values(_TIME, kind="stable"))])


def _hull(rows: pd.DataFrame) -> pd.DataFrame:
    """One row for all that are somebody's mappings of one kind: from the lowest address on."""
    same = ["op", *_MAPPING]
    rows = rows.assign(_until=rows["answer"] + rows["length"])
    groups = rows.groupby(same, dropna=False, sort=False, observed=True)
    low = groups["answer"].transform("min")
    rows = rows.assign(answer=low, length=groups["_until"].transform("max") - low)
    return _first(rows.drop(columns="_until"), same)


Judging = Callable[[pd.DataFrame], pd.DataFrame]


def events(
    recording: Recording, wanted: Callable[[pd.DataFrame], Mask], judging: Judging | None
) -> pd.DataFrame:
    """The events that ``wanted`` takes, equal ones together, in the order of their times.

    ``judging`` adds the columns :data:`JUDGED` to a frame with all columns of events.
    """
    held: list[pd.DataFrame] = [empty()]
    size = limit = 1 << 17
    for table in recording.tables("events"):
        found = frame(table)
        found = found[wanted(found)]
        if found.empty:
            continue
        if judging is not None:
            found = judging(found)
        found = found[[*COLUMNS, *(name for name in JUDGED if name in found)]]
        held.append(_one(found, "events"))
        size -= len(found)
        if size < 0:
            held = [together(_concat(held))]
            size = max(limit, len(held[0]))
    return _ordered(together(_concat(held)))


def baseline(recording: Recording) -> pd.DataFrame:
    """The baseline: who held or mapped what before the trace (and, with FINAL, at its end)."""
    pieces = [_one(frame(table.select(COLUMNS)), "mappings") for table in _tables(recording)]
    return _ordered(_concat([empty(), *pieces]))


def _tables(recording: Recording) -> Iterator[pa.Table]:
    yield from recording.tables("mappings")


def _one(found: pd.DataFrame, table: str) -> pd.DataFrame:
    return found.assign(table=table, times=1, last_ns=found["time_ns"], blurred=False)


def _concat(pieces: list[pd.DataFrame]) -> pd.DataFrame:
    there = [one for one in pieces if len(one)]
    return pd.concat(there, ignore_index=True) if there else pieces[0]


def _ordered(found: pd.DataFrame) -> pd.DataFrame:
    return found.sort_values(_TIME, kind="stable", ignore_index=True)
