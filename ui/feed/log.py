"""The log of events: the newest in memory, older ones read back from the recording."""

from collections import deque

import numpy as np
import numpy.typing as npt

from tracer.analysis.batch import Batch
from ui.feed.judging import Columns, Judging, put_together, readable
from ui.feed.pager import Pager

Numbers = npt.NDArray[np.int64]
KEPT = 1 << 17
"""Events in memory at most, beside the newest batch."""
WINDOW = 600
"""Events in a table at a time."""


class Log:
    """Events by their number; ``rows`` so far."""

    def __init__(self, judging: Judging, pager: Pager | None) -> None:
        self._judging = judging
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

    def judged(self, row: int) -> Columns | None:
        """Judged columns of the batch that has ``row``."""
        batch = self.batch(row)
        return None if batch is None else self._judging.judged(batch)

    def judge_one(self, row: int) -> Columns | None:
        """Judged columns of one event."""
        batch = self.batch(row)
        if batch is None:
            return None
        return self._judging.judged(batch.take(np.array([row - int(batch["row"][0])])))

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
            parts.append(readable(self._judging.judged(batch.take(which))))
            place = max(last, place + 1)
        return put_together(parts) if parts else None
