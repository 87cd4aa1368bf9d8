"""Tables of groups, made anew no oftener than the processor has time for."""

import time
from collections.abc import Callable
from dataclasses import replace

from tracer.analysis.state import State
from tracer.query import Query
from ui.feed.groups import GROUPED, Groups, Sums
from ui.feed.protocol import INTERVAL_S
from ui.rows import Rows
from ui.snapshot import Now

_SHARE = 12
"""Making tables may take this part of the time: a twelfth."""
_COUNT_SHARE = 100
_COUNT_S = 2.0
"""How often rows of tables that are not shown are counted."""


class Grouped:
    """The tables of one fold, and how they were shown last."""

    def __init__(
        self,
        state: Callable[[], State],
        version: Callable[[], int],
        groups: Groups,
        *,
        filtered: bool = False,
    ) -> None:
        """``version`` changes when ``state`` would give another result."""
        self._state = state
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
        self._sums, self._made = Sums(self._state(), self._sums), self._version()
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
