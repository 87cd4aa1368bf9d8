"""Makes the snapshots: what was asked for, out of what was read."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from tracer.filter.query import Query
from tracer.live import coverage
from tracer.live.book import Book
from tracer.live.groups import GROUPED, Grouped, Groups, answers
from tracer.live.log import LogView
from tracer.live.objects import Filtered, ObjectBook
from tracer.live.snapshot import (
    Audited,
    Coverage,
    Detail,
    Facts,
    Now,
    Request,
    Rows,
    Snapshot,
    State,
    no_rows,
)
from tracer.recording.reader import Recording

_STILL = (State.ENDED, State.GONE, State.HELD)
"""States in which nothing comes any more: what is shown has to be the last word."""


class Composer:
    """Keeps what a request needs from one snapshot to the next."""

    def __init__(self, recording: Recording, facts: Facts, book: Book) -> None:
        self._manifest = recording.manifest
        self._facts = facts
        self._book = book
        self._groups = Groups()
        self._sums = Grouped(book.tables, lambda: book.version, self._groups)
        self._until: int | None = None  # rows of a frozen log
        self._log = LogView(book.log, Request().query)
        self._filtered: Filtered | None = None
        self._object: ObjectBook | None = None
        self._detail: Detail | None = None
        self._found: tuple[int, int | None] = (0, None)

    # Work that takes a while, a piece at a time

    def work(self, request: Request, until_s: float) -> bool:
        """Goes on with scans until a moment of the monotonic clock; True: there is more to do."""
        self._prepare(request)
        steps: list[Callable[[], bool]] = []
        if request.table == "events":
            steps.append(lambda: self._search_log(request))
        if self._filtered is not None:
            self._filtered.announce()
            steps.append(self._filtered.scan.step)
        if self._object is not None:
            steps.append(self._object.scan.step)
        while steps:
            for step in list(steps):
                if not step():
                    steps.remove(step)
                if time.monotonic() >= until_s:
                    return bool(steps)
        return False

    def _search_log(self, request: Request) -> bool:
        if not self._log.wants_more(request.window):
            return False
        self._log.search_back()
        return True

    def _prepare(self, request: Request) -> None:
        if self._log.query != request.query:
            self._log = LogView(self._book.log, request.query)
        needs = request.table in GROUPED and request.query
        if not needs or answers(request.table, request.query):
            self._filtered = None
        elif self._filtered is None or self._filtered.query != request.query:
            self._filtered = Filtered(self._book, request.query, self._groups)
        if request.object is None:
            self._object, self._detail = None, None
        elif self._object is None or self._object.key != request.object:
            self._object, self._detail = ObjectBook(self._book, request.object), None
        if request.frozen and self._until is None:
            self._until = self._book.rows
        elif not request.frozen:
            self._until = None

    # The snapshot

    def snapshot(
        self,
        request: Request,
        now: Now,
        problems: Sequence[str],
        span_ns: int | None,
        audited: Audited | None = None,
        *,
        quick: bool = False,
    ) -> Snapshot:
        """``span_ns``: width of the history's bars; None: the whole recording in one picture.

        ``quick``: somebody waits, so take the sums that there are.
        """
        self._prepare(request)
        book = self._book
        still = now.state in _STILL
        if not ((quick or request.frozen) and self._sums.made):
            self._sums.refresh(now, still=still)
        cover = coverage.coverage(self._manifest, book, list(problems))
        return Snapshot(
            request=request,
            facts=self._facts,
            now=now,
            verdicts=book.watch.verdicts(now, span_ns),
            rows=self._rows(request, now, cover, audited),
            totals={**self._sums.totals(still=still), "events": book.rows},
            audited=audited,
            coverage=cover,
            alerts=tuple(book.watch.alerts),
            detail=self._details(request),
            found=self._find(request),
        )

    def _rows(self, request: Request, now: Now, cover: Coverage, audited: Audited | None) -> Rows:
        if request.table == "audit":
            rows = no_rows("audit") if audited is None else audited.rows
            rows = replace(rows, start_ns=now.start_ns, now_ns=now.now_ns)
            return self._groups.shown(rows, Query(), request.sort, request.reverse)
        if request.table == "hooks":
            rows = coverage.hook_rows(cover)
            return self._groups.shown(rows, Query(), request.sort, request.reverse)
        if request.table == "events":
            self._log.catch_up()
            rows = self._log.rows(request.window, now.start_ns, now.now_ns, self._until)
            return replace(rows, bit5=self._facts.bit5)
        return self._of_groups(request, now)

    def _of_groups(self, request: Request, now: Now) -> Rows:
        asked = (request.table, request.query, request.sort, request.reverse)
        if self._filtered is None:
            return self._sums.shown(*asked)
        total = len(self._sums.rows(request.table))
        if not (request.frozen and self._filtered.sums.made):
            self._filtered.sums.refresh(now, still=now.state in _STILL)
        rows = self._filtered.sums.shown(*asked)
        busy, problem = self._filtered.scan.share, self._filtered.problem
        return replace(rows, total=total, busy=busy, problem=problem or rows.problem)

    def _details(self, request: Request) -> Detail | None:
        if self._object is None:
            return None
        if not (request.frozen and self._detail is not None):
            objects, fds = self._sums.rows("objects"), self._sums.rows("fds")
            self._detail = self._object.detail(objects, fds, request.object_window)
        return self._detail

    def _find(self, request: Request) -> tuple[int, int | None]:
        find = request.find
        if find is not None and find.number != self._found[0]:
            row = self._book.watch.find(find.verdicts, find.start, find.forward, self._log.matches)
            self._found = (find.number, row)
        return self._found
