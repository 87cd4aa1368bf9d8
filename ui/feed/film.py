"""A recording as a film: what there is to show, and how far a book has been shown it."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tracer.analysis import load
from tracer.analysis.batch import Batch
from tracer.store.reader import Recording, tail_tables
from ui.feed.book import Book
from ui.marks import VIOLATIONS

_SMALL = ("objects", "mappings", "losses", "clocks", "totals")
_BY_TIME = ("objects", "losses")
_FOREVER = np.iinfo(np.int64).max


class Reel:
    """What does not change while a film is shown: the small tables, and events of the tail."""

    def __init__(self, recording: Recording) -> None:
        self.tables: dict[str, pa.Table] = {}
        for name in _SMALL:
            pieces = list(recording.tables(name))
            if pieces:
                table = pa.concat_tables(pieces)
                self.tables[name] = table.sort_by("time_ns") if name in _BY_TIME else table
        shot = recording.snapshot()
        try:
            self.tail = [found["events"] for found in tail_tables(shot) if "events" in found]
        finally:
            shot.close()

    def times(self, name: str) -> npt.NDArray[np.int64]:
        """``time_ns`` of a small table."""
        if name not in self.tables:
            return np.empty(0, np.int64)
        return np.asarray(self.tables[name].column("time_ns").to_numpy(), np.int64)


class Film:
    """Shows a book one piece after the other; it cannot be shown backwards."""

    def __init__(self, reel: Reel, book: Book) -> None:
        self._reel = reel
        self._book = book
        book.pager.refresh()
        self._tail = self._of_tail()
        self.rows = int(self._tail[-1]["row"][-1]) + 1 if self._tail else book.pager.rows
        """Events there are."""
        for name in ("clocks", "mappings"):
            if name in reel.tables:
                book.take(name, reel.tables[name])
        self._times = {name: reel.times(name) for name in _BY_TIME}
        self._given = dict.fromkeys(_BY_TIME, 0)
        first = self._batch(0)
        start = book.start_ns
        if start is None:
            start = int(first["time_ns"][0]) if first is not None else 0
        self.start_ns: int = start
        book.start_ns = start
        self.end_ns: int = max(start, self._last_ns())
        self.shown_ns: int = start
        """The latest event that was shown."""

    def _of_tail(self) -> list[Batch]:
        found: list[Batch] = []
        row, book = self._book.pager.rows, self._book
        for table in self._reel.tail:
            found.append(load.batch(table, load.ALL, book.source, book.comms, row))
            row += table.num_rows
        return found

    def _batch(self, row: int) -> Batch | None:
        if row < self._book.pager.rows:
            return self._book.pager.batch(row)
        return next((one for one in self._tail if row <= int(one["row"][-1])), None)

    def _last_ns(self) -> int:
        """The last moment of which something is known."""
        last = self._batch(self.rows - 1)
        times = [] if last is None else [int(last["time_ns"].max())]
        clocks = [self._reel.times(name) for name in ("clocks", "objects")]
        return max([*times, *(int(clock.max()) for clock in clocks if len(clock))], default=0)

    @property
    def over(self) -> bool:
        """Every event was shown."""
        return self._book.rows >= self.rows

    def show(self, until_ns: int | None, most: int, *, to_violation: bool = False) -> bool:
        """Shows at most ``most`` events before a time (None: any); False: there was none.

        ``to_violation``: none behind the next breach or unexplained denial.
        """
        book = self._book
        if self.over:
            self._finish()
            return False
        batch = self._batch(book.rows)
        if batch is None:  # it cannot be read (problems say so): go on behind it
            book.log.skip(book.pager.span(book.rows)[1] - book.rows)
            return True
        at = book.rows - int(batch["row"][0])
        times = batch["time_ns"][at : at + max(0, most)]
        count = len(times)
        if until_ns is not None:
            # Events stand in the order of arrival, which is not quite that of time.
            late = np.flatnonzero(times > until_ns)
            count = int(late[0]) if len(late) else count
        if not count:
            return False
        piece = batch.take(np.arange(at, at + count))
        self._tell("objects", int(piece["time_ns"].max()))
        if to_violation:
            piece = piece.take(np.arange(self._before_violation(piece)))
        book.add(piece)
        self.shown_ns = max(self.shown_ns, int(piece["time_ns"].max()))
        self._tell("losses", self.shown_ns)
        return True

    def _before_violation(self, piece: Batch) -> int:
        """How many events until the first violation, itself included."""
        verdicts = self._book.judging.judged(piece)["verdict"]
        found = np.flatnonzero(np.isin(verdicts, [int(one) for one in VIOLATIONS]))
        return int(found[0]) + 1 if len(found) else len(piece)

    def _tell(self, name: str, until_ns: int) -> None:
        """The rows of a small table until a time."""
        first, end = self._given[name], int(np.searchsorted(self._times[name], until_ns, "right"))
        if end > first:
            self._book.take(name, self._reel.tables[name].slice(first, end - first))
            self._given[name] = end

    def _finish(self) -> None:
        """The last event was shown: all the rest is known too."""
        if not self._book.is_complete:
            for name in _BY_TIME:
                self._tell(name, _FOREVER)
            if "totals" in self._reel.tables:
                self._book.take("totals", self._reel.tables["totals"])
            self._book.complete()
