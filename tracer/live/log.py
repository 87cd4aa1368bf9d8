"""The log of events: the newest are in memory, older ones are read back from the recording.

:class:`LogView` is what a filter shows of it around one event.
"""

from bisect import bisect_right
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tracer.analysis import decisions
from tracer.analysis.batches import Batch, Source, Vocabulary
from tracer.analysis.decisions import Decisions, Judged
from tracer.filter.grammar import QueryError
from tracer.filter.mask import Coded
from tracer.filter.query import Query
from tracer.labels import errno_name
from tracer.live.snapshot import Rows, Window, no_rows, of_columns
from tracer.recording.chain import Link
from tracer.recording.errors import Damaged
from tracer.recording.part import PartFile
from tracer.recording.reader import Recording
from tracer.words import Hook, Kind, Op, words

Numbers = npt.NDArray[np.int64]
KEPT = 1 << 17
"""Events in memory at most, beside the newest batch."""
WINDOW = 600
"""Events in a table at a time."""
_GROUPS = 6
"""Row groups in memory; one that a recorder wrote has at most 65536 rows."""
_OPEN = 2
"""Parts in memory, as they are on the disk: reading one means checking its digest."""
_MATCHES = 1 << 16
"""Events of a filter that are known at a time; the oldest are forgotten and found again."""


Columns = dict[str, Any]
_WORDS = {
    name: [words(enum).get(number, f"{name}_{number}") for number in range(256)]
    for name, enum in (("op", Op), ("kind", Kind), ("hook", Hook))
}


def readable(judged: Mapping[str, Any], places: npt.NDArray[np.intp] | None = None) -> Columns:
    """Judged columns with words for op, kind and hook, and the error's symbol.

    ``places``: of these rows only.
    """
    found = dict(judged)
    if places is not None:
        for name, column in found.items():
            coded = isinstance(column, Coded)
            found[name] = Coded(column.codes[places], column.words) if coded else column[places]
    for name in _WORDS.keys() & found.keys():
        found[name] = Coded(found[name], _WORDS[name])
    answers, codes = np.unique(found["answer"], return_inverse=True)
    found["errno"] = Coded(codes, [errno_name(int(answer)) for answer in answers])
    return found


def _joined(parts: Sequence[Columns]) -> Columns:
    """Several pieces as one; coded texts become plain ones."""
    if len(parts) == 1:
        return parts[0]
    found: Columns = {}
    for name in parts[0]:
        columns = [part[name] for part in parts]
        if isinstance(columns[0], Coded):
            texts = [
                None if code < 0 else column.words[code]
                for column in columns
                for code in column.codes.tolist()
            ]
            found[name] = np.empty(len(texts), object)
            found[name][:] = texts
        else:
            found[name] = np.concatenate(columns)
    return found


def shown(window: Window, count: int, at: Callable[[int], int]) -> tuple[int, int]:
    """Which of ``count`` events a window shows; ``at``: the place of an event among them."""
    start = 0 if window.first else count - WINDOW
    if window.around is not None:
        start = min(at(window.around) - WINDOW // 2, start)
    start = max(0, start)
    return start, min(count, start + WINDOW)


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
        self._cache: OrderedDict[int, Batch] = OrderedDict()
        self.rows = 0
        """How many events there are."""
        self.problem = ""
        """Why some could not be read."""

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

    def batch(self, row: int) -> Batch | None:
        """The row group that has ``row``; None: it cannot be read (:attr:`problem` says why)."""
        if not 0 <= row < self.rows:
            return None
        first, _ = self.span(row)
        if first not in self._cache:
            found = self._read(first)
            if found is None:
                return None
            self._cache[first] = found
            if len(self._cache) > _GROUPS:
                self._cache.popitem(last=False)
        self._cache.move_to_end(first)
        return self._cache[first]

    def _row_groups(self, part: int) -> list[int]:
        if part not in self._groups:
            first = self._starts[part]
            file = self._part(part)
            sizes = [] if file is None else file.groups
            self._groups[part] = [first + sum(sizes[:n]) for n in range(len(sizes))] or [first]
        return self._groups[part]

    def _read(self, first: int) -> Batch | None:
        part = bisect_right(self._starts, first) - 1
        names = [name for name in decisions.ALL if name != "hook"]
        file = self._part(part)
        if file is None:
            return None
        try:
            table = file.read([self._row_groups(part).index(first)], names)
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
                return None
            except OSError as error:
                self.problem = f"{path} cannot be read: {error.strerror}."
                return None
            if len(self._open) > _OPEN:
                self._open.popitem(last=False)
        self._open.move_to_end(number)
        return self._open[number]


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
        if row < self.first:
            if self._pager is None or row >= self._pager.rows:
                return None
            return self._pager.span(row)
        batch = self.batch(row)
        return None if batch is None else (int(batch["row"][0]), int(batch["row"][-1]) + 1)

    def judged(self, row: int) -> Judged | None:
        """Judged columns of the batch that has ``row``."""
        batch = self.batch(row)
        return None if batch is None else self._decisions.judge(batch)

    def take(self, numbers: Numbers) -> Columns | None:
        """Judged, readable columns of these events (ascending), those that can be read."""
        parts: list[Columns] = []
        place = 0
        while place < len(numbers):
            batch = self.batch(int(numbers[place]))
            if batch is None:
                place += 1
                continue
            first = int(batch["row"][0])
            last = int(np.searchsorted(numbers, first + len(batch)))
            # Judge the few rows that are shown, not the whole batch.
            parts.append(readable(self._decisions.judge(batch.take(numbers[place:last] - first))))
            place = max(last, place + 1)
        return _joined(parts) if parts else None

    def table(self, name: str, numbers: Numbers) -> Rows:
        """Those of these events that can be read, as a table."""
        columns = self.take(numbers)
        return no_rows(name) if columns is None else of_columns(name, columns)


class LogView:
    """What one filter shows of a log, around one event."""

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
                # Forgotten already: the filter starts again behind the gap.
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
        if not self.query or self._problem or not self._earlier(self._low):
            return False
        before = 0 if window.first else len(self._found)
        if window.around is not None:
            before = self._at(window.around)
        return before < WINDOW // 2

    def _earlier(self, row: int) -> bool:
        """Whether there are events before ``row`` that can be read."""
        return row > 0 and self._log.span(row - 1) is not None

    def _at(self, row: int) -> int:
        return int(np.searchsorted(self._found, row))

    def search_back(self) -> None:
        """Looks at one batch of earlier events."""
        span = self._log.span(self._low - 1)
        if span is not None:
            self._found = np.concatenate([self._matches(span[0], self._low), self._found])
            self._low = span[0]

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
        columns = self._log.take(np.array([row]))
        return columns is not None and bool(self.query.mask(columns).all())

    def rows(
        self, window: Window, start_ns: int | None, now_ns: int | None, until: int | None = None
    ) -> Rows:
        """The table of a window; ``until``: as if the log ended before this event."""
        total = self._log.rows if until is None else until
        if self.query:
            count = self._at(total)
            start, end = shown(window, count, self._at)
            numbers = self._found[start:end]
            before = start > 0 or self._earlier(self._low)
        else:
            count = total
            start, end = shown(window, count, lambda row: row)
            while start < end and self._log.span(start) is None:
                # Neither in memory nor in a finished segment: a few seconds' gap.
                start = self._log.first
                end = min(count, start + WINDOW)
            numbers = np.arange(start, end)
            before = self._earlier(start)
        rows = self._log.table("events", numbers)
        if not len(rows):
            return replace(rows, problem=self._problem, total=total)
        busy = 1 - self._low / max(1, self._high) if self.wants_more(window) else None
        return replace(
            rows, total=total, start_ns=start_ns, now_ns=now_ns, before=before, after=end < count,
            busy=busy, problem=self._problem,
        )  # fmt: skip
