"""The tables of objects, file descriptors and processes, as the screen takes them.

Tables of groups, made anew no oftener than the processor has time for.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tracer.analysis.grouping import Places
from tracer.analysis.tables import Tables
from tracer.filter.grammar import QueryError
from tracer.filter.mask import Numbers
from tracer.filter.query import Query
from tracer.live.snapshot import INTERVAL_S, Column, Now, Rows
from tracer.live.tables import COLUMNS

GROUPED = frozenset(("objects", "fds", "processes"))
"""Tabs whose rows are sums of decisions."""
_ENDLESS = {"host", "boot_id"}  # the same in each row
_OF_ROW = {
    "objects": frozenset({"kind", "name", "dev", "ino", "gen", "seals", "size"}),
    "fds": frozenset({"kind", "name", "dev", "ino", "gen", "pid", "fd", "comm", "uid"}),
    "processes": frozenset({"pid", "comm", "uid"}),
}
"""Columns that a filter can ask of the rows themselves."""


class Sums:
    """What decisions add up to at one moment; a table is made when it is first wanted."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._made: dict[str, Mapping[str, Column]] = {}

    def columns(self, table: str) -> Mapping[str, Column]:
        """The columns of a table, its worst rows first."""
        if table not in self._made:
            self._made[table] = self._tables.columns(table)
        return self._made[table]

    def count(self, table: str) -> int:
        """How many rows a table has."""
        return len(np.asarray(self.columns(table)["decisions"]))


class Groups:
    """Makes rows out of the sums; ids of rows stay the same from one time to the next."""

    def __init__(self) -> None:
        self._ids = {name: Places(3) for name in GROUPED}
        self._seals: npt.NDArray[np.int64] = np.empty(0, np.int64)

    def rows(self, table: str, sums: Sums, filtered: bool = False) -> Rows:
        """All rows of a table in their natural order, the worst first.

        ``filtered``: only rows that have decisions.
        """
        columns = {
            name: column for name, column in sums.columns(table).items() if name not in _ENDLESS
        }
        ids = self._row_ids(table, columns)
        if table == "fds":
            columns["seals"] = self._seals_of(sums, columns)
        order = np.arange(len(ids))
        if filtered:
            order = np.flatnonzero(np.asarray(columns["decisions"]) > 0)
        return Rows(table, columns, ids, order, len(order))

    def _row_ids(self, table: str, columns: Mapping[str, Column]) -> npt.NDArray[np.int64]:
        count = len(_plain(columns["pid" if table == "processes" else "ino"]))
        none = np.zeros(count, np.uint64)
        if table == "processes":
            key = (_plain(columns["pid"]), none, none)
        else:
            dev_gen = _plain(columns["dev"]) << np.uint64(32) | _plain(columns["gen"])
            who = none
            if table == "fds":
                fd = _plain(columns["fd"]) & np.uint64(0xFFFFFFFF)
                who = _plain(columns["pid"]) << np.uint64(32) | fd
            key = (_plain(columns["ino"]), dev_gen, who)
        return self._ids[table].of(key)

    def _seals_of(self, sums: Sums, columns: Mapping[str, Column]) -> Column:
        """The seals of each row's object now."""
        objects = self.rows("objects", sums)
        seals = objects.columns["seals"]
        values = seals.values if isinstance(seals, Numbers) else np.asarray(seals)
        known = np.full(len(self._ids["objects"]), 0, np.int64)
        known[objects.ids] = values
        return known[self._row_ids("objects", columns)]

    def shown(self, rows: Rows, query: Query, sort: str | None, reverse: bool) -> Rows:
        """Those rows that match ``query`` (if their own columns tell), sorted."""
        order = np.asarray(rows.order)
        if query and answers(rows.table, query):
            try:
                order = order[query.mask(_for_query(rows))[order]]
            except QueryError as error:
                return replace(rows, problem=error.problem)
        chosen = next((one for one in COLUMNS[rows.table] if one.name == sort), None)
        if chosen is None:
            order = order[::-1] if reverse else order
        else:
            keys = chosen.sort_keys(rows)[order]
            if reverse:
                # Equal ones stay worst first.
                order = order[len(order) - 1 - np.argsort(keys[::-1], kind="stable")][::-1]
            else:
                order = order[np.argsort(keys, kind="stable")]
        return replace(rows, order=order)


def answers(table: str, query: Query) -> bool:
    """Whether the rows themselves tell if they match; else decisions have to be counted anew."""
    return query.columns() <= _OF_ROW.get(table, frozenset())


def _for_query(rows: Rows) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in _OF_ROW[rows.table] & set(rows.columns):
        column = rows.columns[name]
        if isinstance(column, Numbers):
            found[name] = column.values
            if column.valid is not None:
                found[name] = pa.array(column.values, mask=~column.valid)
        else:
            found[name] = column
    return found


def _plain(column: Column) -> npt.NDArray[np.uint64]:
    values = column.values if isinstance(column, Numbers) else np.asarray(column)
    return (
        values.astype(np.int64).view(np.uint64)
        if values.dtype.kind == "i"
        else values.astype(np.uint64)
    )


def of_records(
    table: str, records: Sequence[Mapping[str, Any]], ids: Sequence[int], now_ns: int | None
) -> Rows:
    """A small table from plain values."""
    names = list(records[0]) if records else []
    columns: dict[str, Column] = {}
    for name in names:
        column = np.empty(len(records), object)
        column[:] = [record[name] for record in records]
        columns[name] = column
    return Rows(
        table, columns, np.array(ids, np.int64), np.arange(len(records)), len(records), None, now_ns
    )


_SHARE = 12
"""Making tables may take this part of the time: a twelfth."""
_COUNT_SHARE = 100
_COUNT_S = 2.0
"""How often rows of tables that are not shown are counted."""


class Grouped:
    """The tables of one fold, and how they were shown last."""

    def __init__(
        self,
        tables: Callable[[], Tables],
        version: Callable[[], int],
        groups: Groups,
        *,
        filtered: bool = False,
    ) -> None:
        """``version`` changes when ``tables`` would give another result."""
        self._tables = tables
        self._version = version
        self._groups = groups
        self._filtered = filtered
        self._sums: Sums | None = None
        self._made = -1
        self._now = Now()
        self._built: dict[str, Rows] = {}
        self._shown: tuple[object, ...] = ()
        self._rows: Rows | None = None
        self._due_s = self._count_due_s = self._spent_s = 0.0
        self._totals: dict[str, int] = {}

    @property
    def made(self) -> bool:
        """There are tables to show."""
        return self._sums is not None

    def refresh(self, now: Now, *, still: bool) -> None:
        """Takes the sums of now, if they changed and it is time; ``still``: it is time."""
        if self._sums is not None and self._made == self._version():
            return
        now_s = time.monotonic()
        if self._sums is not None and not still and now_s < self._due_s:
            return
        began_s = time.thread_time()
        self._sums, self._made = Sums(self._tables()), self._version()
        self._now = now
        self._built.clear()
        self._spent_s = time.thread_time() - began_s
        self._due_s = now_s + 0.9 * INTERVAL_S

    def rows(self, table: str) -> Rows:
        """All rows of a table."""
        if table not in self._built:
            assert self._sums is not None
            began_s = time.thread_time()
            rows = self._groups.rows(table, self._sums, self._filtered)
            now = self._now
            self._built[table] = replace(rows, start_ns=now.start_ns, now_ns=now.now_ns)
            self._spent(time.thread_time() - began_s)
        return self._built[table]

    def shown(self, table: str, query: Query, sort: str | None, reverse: bool) -> Rows:
        """The rows that match, sorted."""
        rows = self.rows(table)
        asked = (table, query, sort, reverse)
        if self._rows is None or self._shown != (*asked, id(rows)):
            began_s = time.thread_time()
            self._rows = self._groups.shown(rows, query, sort, reverse)
            self._shown = (*asked, id(rows))
            self._spent(time.thread_time() - began_s)
        return self._rows

    def _spent(self, seconds: float) -> None:
        self._spent_s += seconds
        self._due_s = max(self._due_s, time.monotonic() + _SHARE * self._spent_s - INTERVAL_S)

    def totals(self, *, still: bool) -> dict[str, int]:
        """How many rows each table has; those that are not shown are counted more seldom."""
        for table, rows in self._built.items():
            self._totals[table] = len(rows)
        now_s = time.monotonic()
        if still or now_s >= self._count_due_s:
            began_s = time.thread_time()
            for table in GROUPED:
                if table not in self._built:
                    assert self._sums is not None
                    self._totals[table] = self._sums.count(table)
            spent_s = time.thread_time() - began_s
            self._count_due_s = now_s + max(_COUNT_S, _COUNT_SHARE * spent_s)
        return dict(self._totals)
