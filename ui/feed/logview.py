"""What a filter shows of the log of events, around one place."""

from dataclasses import replace

import numpy as np

from tracer.query import Query, QueryError
from ui.feed.log import WINDOW, Log, Numbers
from ui.request import Window
from ui.rows import Rows, no_rows

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
