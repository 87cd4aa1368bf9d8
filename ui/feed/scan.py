"""Goes over all events again, a batch at a time: for a filter, or for all about one object."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tracer.analysis.batch import Batch
from tracer.analysis.fold import Fold
from tracer.analysis.judged import Judged
from tracer.query import Query, QueryError
from ui.feed.book import Book
from ui.feed.grouped import Grouped
from ui.feed.groups import Groups
from ui.feed.log import Log


class Scan:
    """Gives each event of a log once to ``take``, old ones first, until none is left."""

    def __init__(self, log: Log, take: Callable[[Batch], None]) -> None:
        self._log = log
        self._take = take
        self._next = 0

    @property
    def done(self) -> bool:
        """It has seen everything that there is now."""
        return self._next >= self._log.rows

    @property
    def seen(self) -> int:
        """How many it has seen."""
        return self._next

    @property
    def share(self) -> float | None:
        """How much it has seen, None: all but what just came."""
        rows = self._log.rows
        if rows - self._next <= 1 << 16:
            return None
        return self._next / rows

    def step(self) -> bool:
        """Goes on by one batch; False: it has to wait for one."""
        if self.done:
            return False
        span = self._log.span(self._next)
        if span is None:
            return False
        batch = self._log.batch(self._next)
        if batch is not None:
            first = int(batch["row"][0])
            # The log in memory and the segments are cut at different places.
            end = min(len(batch), self._log.rows - first)
            if self._next > first or end < len(batch):
                batch = batch.take(np.arange(self._next - first, end))
            self._take(batch)
        self._next = min(span[1], self._log.rows)
        return True


class Filtered:
    """Sums of the decisions that match a filter, and of nothing else."""

    def __init__(self, book: Book, query: Query, groups: Groups) -> None:
        self.query = query
        self.problem = ""
        self._book = book
        self._fold = Fold(keep=self._keep, timeline=False)
        self._announced = 0
        self.scan = Scan(book.log, self._fold.add)
        self.sums = Grouped(self._fold.state, lambda: self.scan.seen, groups, filtered=True)

    def announce(self) -> None:
        """Takes the announcements that are new."""
        tables = self._book.announced[self._announced :]
        if tables:
            table = pa.concat_tables(tables)
            complete = self._book.is_complete
            self._fold.objects(table, self._book.source, complete=complete)
        self._announced = len(self._book.announced)

    def _keep(self, judged: Judged) -> npt.NDArray[np.bool_]:
        try:
            return self.query.mask(judged)
        except QueryError as error:
            self.problem = error.problem
            return np.zeros(judged.rows, bool)
