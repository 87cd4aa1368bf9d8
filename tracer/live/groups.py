"""The tables of objects, file descriptors and processes as the screen takes them.

They are rebuilt at most as often as the processor has time for, and a row keeps its id.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tracer.analysis.grouping import Places
from tracer.analysis.totals import Tables
from tracer.filter.grammar import QueryError
from tracer.filter.mask import Numbers
from tracer.filter.query import Query
from tracer.live import worst
from tracer.live.snapshot import INTERVAL_S, Column, Now, Rows, Wall, no_clock
from tracer.live.tables import COLUMNS
from tracer.words import UNKNOWN, Bit5

GROUPED = frozenset(("objects", "fds", "processes"))
"""Tabs whose rows are sums of decisions."""
_OF_HOST = {"host", "boot_id"}  # the same in each row
_OF_ROW = {
    "objects": frozenset({"kind", "name", "dev", "ino", "gen", "seals", "size"}),
    "fds": frozenset({"kind", "name", "dev", "ino", "gen", "pid", "fd", "comm", "uid"}),
    "processes": frozenset({"pid", "comm", "uid"}),
}
"""Columns by which rows themselves can be filtered."""
_SHARE = 15
"""Making tables may take this part of the time: a fifteenth."""
_COUNT_SHARE = 100
_COUNT_S = 2.0
"""How often rows of tables that are not shown are counted."""


def answers(table: str, query: Query) -> bool:
    """Whether the rows themselves tell if they match; else decisions have to be counted again."""
    return query.columns() <= _OF_ROW.get(table, frozenset())


def ordered(rows: Rows, query: Query, sort: str | None, reverse: bool) -> Rows:
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
        # Equal ones stay worst first.
        places = np.argsort(keys[::-1] if reverse else keys, kind="stable")
        order = order[(len(order) - 1 - places)[::-1] if reverse else places]
    return replace(rows, order=order)


def _for_query(rows: Rows) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in _OF_ROW[rows.table] & set(rows.columns):
        column: Any = rows.columns[name]
        if isinstance(column, Numbers):
            valid = column.valid
            column = column.values if valid is None else pa.array(column.values, mask=~valid)
        found[name] = column
    return found


class RowIds:
    """Ids of rows, the same whenever and from whichever sums a row is made."""

    def __init__(self) -> None:
        self._ids = {name: Places() for name in GROUPED}

    def of(self, table: str, columns: Mapping[str, Column]) -> npt.NDArray[np.int64]:
        """The id of each row of ``table``."""

        def number(name: str) -> npt.NDArray[np.uint64]:
            column = columns[name]
            values = column.values if isinstance(column, Numbers) else np.asarray(column)
            return values.astype(np.int64 if values.dtype.kind == "i" else np.uint64).view(
                np.uint64
            )

        none = np.zeros(len(number("pid" if table == "processes" else "ino")), np.uint64)
        if table == "processes":
            key = (number("pid"), none, none)
        else:
            dev_gen = number("dev") << np.uint64(32) | number("gen")
            fd = number("fd") & np.uint64(0xFFFFFFFF) if table == "fds" else none
            who = number("pid") << np.uint64(32) | fd if table == "fds" else none
            key = (number("ino"), dev_gen, who)
        return self._ids[table].of(key)

    def known(self, table: str) -> int:
        """How many rows of ``table`` have an id."""
        return len(self._ids[table])


class Grouped:
    """The tables of decisions, and how they were shown last."""

    def __init__(
        self,
        tables: Callable[[], Tables],
        version: Callable[[], int],
        ids: RowIds,
        *,
        filtered: bool = False,
        wall: Wall = no_clock,
        bit5: Bit5 = UNKNOWN,
    ) -> None:
        """``version`` changes when ``tables`` would give another result.

        ``filtered``: only rows that have decisions. ``wall``, ``bit5``: what rows have of them.
        """
        self._make = tables
        self._version = version
        self._ids = ids
        self._filtered = filtered
        self._wall, self._bit5 = wall, bit5
        self._tables: Tables | None = None
        self._made = -1
        self._columns: dict[str, Mapping[str, Column]] = {}
        self._now = Now()
        self._built: dict[str, Rows] = {}
        self._shown: tuple[object, ...] = ()
        self._rows: Rows | None = None
        self._due_s = self._count_due_s = self._spent_s = 0.0
        self._totals: dict[str, int] = {}

    @property
    def made(self) -> bool:
        """There are tables to show."""
        return self._tables is not None

    @property
    def tables(self) -> Tables:
        assert self._tables is not None
        return self._tables

    @property
    def uncounted(self) -> bool:
        """It is time to count the rows of tables that are not shown."""
        return time.monotonic() >= self._count_due_s

    def refresh(self, now: Now, *, still: bool) -> None:
        """Takes the sums of now, if they changed and it is time; ``still``: it is time."""
        if self.made and self._made == self._version():
            return
        if self.made and not still and time.monotonic() < self._due_s:
            return
        self._spent_s = self._due_s = 0.0
        with self._spending():
            self._tables, self._made = self._make(), self._version()
        self._due_s = max(self._due_s, time.monotonic() + 0.9 * INTERVAL_S)
        self._now = now
        self._built.clear()
        self._columns.clear()

    @contextmanager
    def _spending(self) -> Iterator[None]:
        """What is done in it has its share of the time."""
        start_s = time.thread_time()
        yield
        self._spent_s += time.thread_time() - start_s
        self._due_s = max(self._due_s, time.monotonic() + _SHARE * self._spent_s - INTERVAL_S)

    def _of(self, table: str) -> Mapping[str, Column]:
        """The columns of a table, its worst rows first."""
        if table not in self._columns:
            self._columns[table] = self.tables.columns(table)
        return self._columns[table]

    def rows(self, table: str) -> Rows:
        """All rows of a table in their natural order, the worst first."""
        if table not in self._built:
            with self._spending():
                self._built[table] = self._build(table)
        return self._built[table]

    def _build(self, table: str) -> Rows:
        columns = {name: one for name, one in self._of(table).items() if name not in _OF_HOST}
        ids = self._ids.of(table, columns)
        last_ns = columns["last_ns"]
        assert isinstance(last_ns, Numbers)
        columns |= worst.columns(self.tables, table, ids, self._ids.of, last_ns)
        if table == "fds":
            columns["seals"] = self._seals(columns)
        order = np.arange(len(ids))
        if self._filtered:
            order = np.flatnonzero(np.asarray(columns["decisions"]) > 0)
        now = self._now
        return Rows(
            table, columns, ids, order, len(order), now.start_ns, now.now_ns,
            bit5=self._bit5, wall=self._wall,
        )  # fmt: skip

    def _seals(self, columns: Mapping[str, Column]) -> Column:
        """The seals of each row's object now."""
        objects = self.rows("objects")
        seals = objects.columns["seals"]
        known = np.zeros(self._ids.known("objects"), np.int64)
        known[objects.ids] = seals.values if isinstance(seals, Numbers) else np.asarray(seals)
        return known[self._ids.of("objects", columns)]

    def shown(self, table: str, query: Query, sort: str | None, reverse: bool) -> Rows:
        """The rows that match, sorted."""
        rows = self.rows(table)
        requested = (query, sort, reverse, id(rows))
        if self._rows is None or self._shown != requested:
            with self._spending():
                self._rows, self._shown = ordered(rows, query, sort, reverse), requested
        return self._rows

    def totals(self, *, still: bool) -> dict[str, int]:
        """How many rows each table has; those that are not shown are counted more seldom."""
        if still or self.uncounted:
            start_s = time.thread_time()
            for table in GROUPED - self._built.keys():
                self._totals[table] = len(np.asarray(self._of(table)["decisions"]))
            spent_s = time.thread_time() - start_s
            self._count_due_s = time.monotonic() + max(_COUNT_S, _COUNT_SHARE * spent_s)
        return self._totals | {table: len(rows) for table, rows in self._built.items()}
