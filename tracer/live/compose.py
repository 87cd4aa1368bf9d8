"""Makes the snapshots: what was requested, out of what was read."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from tracer.filter.query import Query
from tracer.live.book import Book
from tracer.live.callers import Looked
from tracer.live.coverage import coverage
from tracer.live.groups import GROUPED, Grouped, RowIds, answers, ordered
from tracer.live.log import LogView
from tracer.live.objects import Filtered, ObjectBook
from tracer.live.snapshot import (
    Audited,
    Coverage,
    Detail,
    Find,
    Guests,
    Now,
    Request,
    Rows,
    Snapshot,
    State,
    no_rows,
)
from tracer.recording.reader import Recording
from tracer.stacks.names import Names

if TYPE_CHECKING:
    from tracer.live.guests import GuestBook

_STILL = (State.ENDED, State.GONE, State.HELD)
"""States in which nothing comes any more: what is shown has to be the last word."""


class Composer:
    """Keeps what a request needs from one snapshot to the next."""

    def __init__(self, recording: Recording, book: Book, names: Names) -> None:
        """``names``: looks up who called."""
        self._recording = recording
        self._book = book
        self._ids = RowIds()
        self._sums = Grouped(
            book.decisions.tables,
            lambda: book.version,
            self._ids,
            wall=book.clock.at,
            bit5=recording.manifest.bit5,
        )
        self._callers = Looked(book.source.stacks, names)
        self._guests: GuestBook | None = None
        self._until: int | None = None  # rows of a frozen log
        self._log = LogView(book.log, Query())
        self._filtered: Filtered | None = None
        self._object: ObjectBook | None = None
        self._detail: Detail | None = None
        self._find: Find | None = None
        self._found: tuple[int, int | None] = (0, None)

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
        more = self._log.wants_more(request.window)
        if more:
            self._log.search_back()
        return more

    @property
    def looking(self) -> bool:
        """Names of callers or virtual machines are being looked up: a later snapshot has them."""
        return self._callers.busy or (self._guests is not None and self._guests.busy)

    def settle(self) -> bool:
        """Waits for what is being looked up; True: another snapshot has it."""
        return self._guests is not None and self._guests.settle()

    def _prepare(self, request: Request) -> None:
        query = request.query
        if self._log.query != query:
            self._log = LogView(self._book.log, query)
        if request.table not in GROUPED or not query or answers(request.table, query):
            self._filtered = None
        elif self._filtered is None or self._filtered.query != query:
            self._filtered = Filtered(self._book, query, self._ids)
        if request.object is None:
            self._object, self._detail = None, None
        elif not self._has(request):
            # Beside a table that moves nobody waits until all of a long recording was read again.
            newest = request.brief and not self._book.is_complete
            first = self._book.log.first if newest else 0
            self._object, self._detail = ObjectBook(self._book, request.object, first), None
        if not request.frozen:
            self._until = None
        elif self._until is None:
            self._until = self._book.rows

    def _has(self, request: Request) -> bool:
        """Whether there is what a request wants to know of its object."""
        found = self._object
        if found is None or found.key != request.object:
            return False
        return request.brief or not found.first

    def snapshot(
        self,
        request: Request,
        now: Now,
        problems: Sequence[str],
        span_ns: int | None,
        audited: Audited | None = None,
        *,
        quick: bool = False,
        stale: Callable[[], bool] = lambda: False,
    ) -> Snapshot | None:
        """``span_ns``: width of the history's bars; None: the whole recording in one picture.

        ``quick``: somebody waits, so take the sums that there are. ``stale``: something else was
        requested meanwhile; None: it was, before the tables were made.
        """
        self._prepare(request)
        book, manifest = self._book, self._recording.manifest
        if audited is not None and now.share is not None and now.share < 1:
            audited = audited.until(now)
        still = now.state in _STILL
        seen = request.table in GROUPED or request.object is not None
        wanted = (seen or still or self._sums.uncounted) and not (quick or request.frozen)
        if wanted or not self._sums.made:
            self._sums.refresh(now, still=still)
            if stale():
                return None
        cover = coverage(manifest, book, problems)
        return Snapshot(
            request=request,
            path=self._recording.path,
            manifest=manifest,
            now=now,
            verdicts=book.watch.verdicts(now, span_ns),
            rows=self._rows(request, now, cover, audited),
            totals={**self._sums.totals(still=still), "events": book.rows},
            audited=audited,
            coverage=cover,
            alerts=tuple(one for one in book.watch.alerts if not now.is_ahead(one.time_ns)),
            detail=self._details(request),
            guests=self._machines(request, now),
            callers=(request.sample, self._callers.lines(request.sample)),
            found=self._search(request.find),
            wall=book.clock.at,
        )

    def _machines(self, request: Request, now: Now) -> Guests | None:
        """Nothing is read for them while nobody looks."""
        if not request.guests:
            self._guests = None
            return None
        if self._guests is None:
            from tracer.live.guests import GuestBook

            self._guests = GuestBook(self._recording.path)
        if not (request.frozen and self._guests.found.made):
            until_ns = None if now.share is None else now.now_ns
            self._guests.look((self._book.version, until_ns), until_ns)
        found, clock = self._guests.found, self._book.clock.at

        def placed(rows: Rows) -> Rows:
            return replace(rows, start_ns=now.start_ns, now_ns=now.now_ns, wall=clock)

        guests = {
            vm: replace(one, slots=placed(one.slots), mappers=placed(one.mappers))
            for vm, one in found.guests.items()
        }
        return replace(found, rows=placed(found.rows), guests=guests)

    def _rows(self, request: Request, now: Now, cover: Coverage, audited: Audited | None) -> Rows:
        if request.table == "events":
            self._log.catch_up()
            rows = self._log.rows(request.window, now.start_ns, now.now_ns, self._until)
            bit5 = self._recording.manifest.bit5
            return replace(rows, bit5=bit5, wall=self._book.clock.at)
        if request.table in GROUPED:
            return self._of_groups(request, now)
        if request.table == "hooks":
            rows = cover.hooks
        else:
            rows = no_rows("audit") if audited is None else audited.rows
            clock = self._book.clock
            rows = replace(rows, start_ns=now.start_ns, now_ns=now.now_ns, wall=clock.at)
        return ordered(rows, Query(), request.sort, request.reverse)

    def _of_groups(self, request: Request, now: Now) -> Rows:
        requested = (request.table, request.query, request.sort, request.reverse)
        found = self._filtered
        if found is None:
            return self._sums.shown(*requested)
        if not (request.frozen and found.sums.made):
            found.sums.refresh(now, still=now.state in _STILL)
        rows, total = found.sums.shown(*requested), len(self._sums.rows(request.table))
        problem = found.problem or rows.problem
        return replace(rows, total=total, busy=found.scan.share, problem=problem)

    def _details(self, request: Request) -> Detail | None:
        if self._object is not None and not (request.frozen and self._detail is not None):
            objects, tables = self._sums.rows("objects"), self._sums.tables
            if request.brief:
                self._detail = self._object.brief(tables, objects)
            else:
                fds, window = self._sums.rows("fds"), request.object_window
                self._detail = self._object.detail(tables, objects, fds, window)
        return self._detail

    def _search(self, find: Find | None) -> tuple[int, int | None]:
        if find is not None and find != self._find:
            row = self._book.watch.find(find.verdicts, find.start, find.forward, self._log.matches)
            self._find, self._found = find, (find.number, row)
        return self._found
