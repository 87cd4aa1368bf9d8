"""Reads events of finished segments back by their number, a row group at a time.

The log of events: the newest in memory, older ones read back from the recording.

What a filter shows of the log of events, around one place.
"""

from bisect import bisect_right
from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from tracer.analysis import decisions
from tracer.analysis.batches import Batch, Source, Vocabulary
from tracer.analysis.decisions import Decisions, Judged
from tracer.filter.grammar import QueryError
from tracer.filter.query import Query
from tracer.live.judging import Columns, put_together, readable
from tracer.live.snapshot import Rows, Window, no_rows
from tracer.recording.chain import Link
from tracer.recording.errors import Damaged
from tracer.recording.part import PartFile
from tracer.recording.reader import Recording

_KEPT = 6
"""Row groups in memory; one that a recorder wrote has at most 65536 rows."""
_OPEN = 2
"""Parts in memory, as they are on the disk: to read one is to hold it against its digest."""


class Pager:
    """The events that are in Parquet files, numbered from 0 in the order of arrival."""

    def __init__(self, recording: Recording, source: Source, comms: Vocabulary) -> None:
        self._recording = recording
        self._source = source
        self._comms = comms
        self._chain = recording.chain
        self._parts: list[Link] = []
        self._starts: list[int] = []  # the first row of each part
        self._groups: dict[int, list[int]] = {}  # the first row of each row group of a part
        self._links = 0
        self._open: OrderedDict[int, PartFile] = OrderedDict()
        self._cache: OrderedDict[tuple[int, tuple[str, ...] | None], Batch] = OrderedDict()
        self.rows = 0
        """How many events there are."""
        self.problem = ""

    def refresh(self) -> None:
        """Looks for segments that were finished meanwhile. OSError."""
        self._chain.update(self._recording.folder)
        for link in self._chain.links[self._links :]:
            path = link.part("events")
            if path is not None:
                self._parts.append(link)
                self._starts.append(self.rows)
                self.rows += link.files[path].rows
        self._links = len(self._chain.links)

    def span(self, row: int) -> tuple[int, int]:
        """First row of the row group that has ``row``, and the first one behind it."""
        part = bisect_right(self._starts, row) - 1
        end = self._starts[part + 1] if part + 1 < len(self._starts) else self.rows
        starts = self._row_groups(part)
        group = bisect_right(starts, row) - 1
        return starts[group], starts[group + 1] if group + 1 < len(starts) else end

    def batch(self, row: int, columns: Sequence[str] | None = None) -> Batch | None:
        """The row group that has ``row``; None: it cannot be read (:attr:`problem` says why)."""
        if not 0 <= row < self.rows:
            return None
        first, end = self.span(row)
        key = first, None if columns is None else tuple(columns)
        if key in self._cache:
            self._cache.move_to_end(key)
            return self._cache[key]
        found = self._read(first, end, columns)
        if found is not None and columns is None:
            self._cache[key] = found
            while len(self._cache) > _KEPT:
                self._cache.popitem(last=False)
        return found

    def _row_groups(self, part: int) -> list[int]:
        if part not in self._groups:
            first = self._starts[part]
            starts = [first]
            found = self._part(part)
            if found is not None:
                sizes = found.groups
                starts = [first + sum(sizes[:n]) for n in range(len(sizes))] or starts
            self._groups[part] = starts
        return self._groups[part]

    def _read(self, first: int, end: int, columns: Sequence[str] | None) -> Batch | None:
        part = bisect_right(self._starts, first) - 1
        names = [n for n in decisions.ALL if n != "hook"] if columns is None else list(columns)
        found = self._part(part)
        if found is None:
            return None
        try:
            table = found.read([self._row_groups(part).index(first)], names)
        except Damaged as error:
            self.problem = str(error)
            return None
        return decisions.batch_of(table, names, self._source, self._comms, first)

    def _part(self, number: int) -> PartFile | None:
        if number not in self._open:
            link = self._parts[number]
            path = link.part("events") or ""
            try:
                self._open[number] = self._recording.open_part(link, path)
            except Damaged as error:
                self.problem = str(error)
            except OSError as error:
                self.problem = f"{path} cannot be read: {error.strerror}."
        else:
            self._open.move_to_end(number)
        while len(self._open) > _OPEN:
            self._open.popitem(last=False)
        return self._open.get(number)


def some(batch: Batch, rows: "np.ndarray[tuple[int], np.dtype[np.int64]]") -> Batch:
    """Those of ``rows`` (event numbers) that ``batch`` has."""
    place = rows - int(batch["row"][0])
    return batch.take(place[(place >= 0) & (place < len(batch))])


Numbers = npt.NDArray[np.int64]
KEPT = 1 << 17
"""Events in memory at most, beside the newest batch."""
WINDOW = 600
"""Events in a table at a time."""


class Log:
    """Events by their number; ``rows`` so far."""

    def __init__(self, decisions: Decisions, pager: Pager | None) -> None:
        self._decisions = decisions
        self._pager = pager
        self._batches: deque[Batch] = deque()
        self._kept = 0
        self.rows = 0

    @property
    def first(self) -> int:
        """The oldest event in memory."""
        return int(self._batches[0]["row"][0]) if self._batches else self.rows

    def add(self, batch: Batch) -> None:
        """Takes the next events."""
        self._batches.append(batch)
        self._kept += len(batch)
        self.rows = int(batch["row"][-1]) + 1
        while len(self._batches) > 1 and self._kept > KEPT:
            self._kept -= len(self._batches.popleft())

    def skip(self, count: int) -> None:
        """The next events are there, and nobody can read them."""
        self._batches.clear()
        self._kept = 0
        self.rows += count

    def batch(self, row: int) -> Batch | None:
        """A batch with event ``row``; None: it is in no finished segment yet, or unreadable."""
        if row >= self.first:
            return next((one for one in self._batches if row <= int(one["row"][-1])), None)
        return self._pager.batch(row) if self._pager is not None else None

    def span(self, row: int) -> tuple[int, int] | None:
        """First event, and first one behind, of the batch that would have ``row``."""
        if row >= self.first:
            for one in self._batches:
                if row <= int(one["row"][-1]):
                    return int(one["row"][0]), int(one["row"][-1]) + 1
        elif self._pager is not None and row < self._pager.rows:
            return self._pager.span(row)
        return None

    def judged(self, row: int) -> Judged | None:
        """Judged columns of the batch that has ``row``."""
        batch = self.batch(row)
        return None if batch is None else self._decisions.judge(batch)

    def judge_one(self, row: int) -> Judged | None:
        """Judged columns of one event."""
        batch = self.batch(row)
        if batch is None:
            return None
        return self._decisions.judge(batch.take(np.array([row - int(batch["row"][0])])))

    def take(self, numbers: Numbers) -> Columns | None:
        """Judged, readable columns of these events (ascending), those that can be read."""
        parts: list[Columns] = []
        place = 0
        while place < len(numbers):
            row = int(numbers[place])
            batch = self.batch(row)
            if batch is None:
                place += 1
                continue
            end = int(batch["row"][-1]) + 1
            last = int(np.searchsorted(numbers, end))
            mine = numbers[place:last]
            which = mine - int(batch["row"][0])
            # Judge the few rows that are shown, not the whole batch.
            parts.append(readable(self._decisions.judge(batch.take(which))))
            place = max(last, place + 1)
        return put_together(parts) if parts else None


_MATCHES = 1 << 16
"""Events of a filter that are known at a time; the oldest are forgotten and found again."""
_ENOUGH = WINDOW


class LogView:
    """What one filter shows of a log, around one place."""

    def __init__(self, log: Log, query: Query) -> None:
        self._log = log
        self.query = query
        self._found: Numbers = np.empty(0, np.int64)  # events that match, between low and high
        self._low = self._high = log.rows
        self._problem = ""

    def catch_up(self) -> None:
        """Looks at the events that came since."""
        if not self.query:
            return
        parts = [self._found]
        while self._high < self._log.rows:
            span = self._log.span(self._high)
            if span is None:
                # Forgotten already: the filter begins anew behind the gap.
                self._low = self._high = self._log.first
                parts = [np.empty(0, np.int64)]
                continue
            parts.append(self._matches(self._high, span[1]))
            self._high = span[1]
        self._found = np.concatenate(parts)
        if len(self._found) > _MATCHES:
            self._found = self._found[-_MATCHES // 2 :]
            self._low = int(self._found[0])

    def wants_more(self, window: Window) -> bool:
        """Whether earlier events have to be searched before ``window`` is full."""
        if not self.query or self._low == 0 or self._problem:
            return False
        if self._log.span(self._low - 1) is None:
            return False
        return self._before(window) < _ENOUGH // 2

    def _before(self, window: Window) -> int:
        """How many matching events are known before the window's place."""
        if window.first:
            return 0
        if window.around is None:
            return len(self._found)
        return int(np.searchsorted(self._found, window.around))

    def search_back(self) -> None:
        """Looks at one batch of earlier events."""
        span = self._log.span(self._low - 1)
        if span is None:
            return
        first = span[0]
        found = self._matches(first, self._low)
        self._found = np.concatenate([found, self._found])
        self._low = first

    def _matches(self, first: int, end: int) -> Numbers:
        columns = self._log.judged(first)
        if columns is None:
            return np.empty(0, np.int64)
        try:
            mask = self.query.mask(columns)
        except QueryError as error:
            self._problem = error.problem
            return np.empty(0, np.int64)
        numbers: Numbers = columns["row"][mask]
        return numbers[(numbers >= first) & (numbers < end)]

    def matches(self, row: int) -> bool:
        """Whether one event is among those that are shown."""
        if not self.query:
            return True
        columns = self._log.judge_one(row)
        return columns is not None and bool(self.query.mask(columns).all())

    def numbers(self, window: Window, until: int) -> tuple[Numbers, bool, bool]:
        """The events of a window before ``until``, and if there are more before and behind it."""
        if not self.query:
            return self._plain(window, until)
        count = int(np.searchsorted(self._found, until))
        if window.around is not None:
            middle = int(np.searchsorted(self._found, window.around))
            start = max(0, min(middle - WINDOW // 2, count - WINDOW))
        else:
            start = 0 if window.first else max(0, count - WINDOW)
        end = min(count, start + WINDOW)
        before = start > 0 or (self._low > 0 and self._log.span(self._low - 1) is not None)
        return self._found[start:end], before, end < count

    def _plain(self, window: Window, rows: int) -> tuple[Numbers, bool, bool]:
        if window.around is not None:
            start = max(0, min(window.around - WINDOW // 2, rows - WINDOW))
        else:
            start = 0 if window.first else max(0, rows - WINDOW)
        while start < rows and self._log.span(start) is None:
            # Neither in memory nor in a finished segment: a few seconds' gap.
            start = self._log.first
        end = min(rows, start + WINDOW)
        before = start > 0 and self._log.span(start - 1) is not None
        return np.arange(start, end), before, end < rows

    def rows(
        self, window: Window, start_ns: int | None, now_ns: int | None, until: int | None = None
    ) -> Rows:
        """The table of a window; ``until``: as if the log ended before this event."""
        end = self._log.rows if until is None else until
        numbers, before, after = self.numbers(window, end)
        columns = self._log.take(numbers)
        if columns is None:
            return replace(no_rows("events"), problem=self._problem, total=end)
        ids = np.asarray(columns["row"], np.int64)
        busy = None
        if self.wants_more(window):
            busy = 1 - self._low / max(1, self._high)
        return Rows(
            "events", columns, ids, np.arange(len(ids)), end, start_ns, now_ns,
            before, after, busy, self._problem,
        )  # fmt: skip
