"""Reads events of finished segments back by their number, a row group at a time."""

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np

from tracer.analysis import load
from tracer.analysis.batch import Batch, Vocabulary
from tracer.analysis.source import Source
from tracer.store.chain import Link
from tracer.store.errors import Damaged
from tracer.store.partfile import PartFile
from tracer.store.reader import Recording

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
        names = [n for n in load.ALL if n != "hook"] if columns is None else list(columns)
        found = self._part(part)
        if found is None:
            return None
        try:
            table = found.read([self._row_groups(part).index(first)], names)
        except Damaged as error:
            self.problem = str(error)
            return None
        return load.batch(table, names, self._source, self._comms, first)

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
