"""Reads events of finished segments back by their number, a row group at a time."""

import os
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tracer.analysis import load
from tracer.analysis.batch import Batch, Vocabulary
from tracer.analysis.source import Source
from tracer.store import snapshot
from tracer.store.reader import Recording

_KEPT = 6
"""Row groups in memory; one has at most 65536 rows."""


class Pager:
    """The events that are in Parquet files, numbered from 0 in the order of arrival."""

    def __init__(self, recording: Recording, source: Source, comms: Vocabulary) -> None:
        self._recording = recording
        self._source = source
        self._comms = comms
        self._parts: list[str] = []
        self._starts: list[int] = []  # the first row of each part
        self._groups: dict[str, list[int]] = {}  # the first row of each row group of a part
        self._links = 0
        self._cache: OrderedDict[tuple[int, tuple[str, ...] | None], Batch] = OrderedDict()
        self.rows = 0
        """How many events there are."""
        self.problem = ""

    def refresh(self) -> None:
        """Looks for segments that were finished meanwhile. OSError."""
        chain = snapshot.read_chain(self._recording.folder, self._recording.manifest_bytes)
        for link in chain.links[self._links :]:
            path = link.part("events")
            if path is not None:
                self._parts.append(path)
                self._starts.append(self.rows)
                self.rows += link.files[path].rows
        self._links = max(self._links, len(chain.links))

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
        path = self._parts[part]
        if path not in self._groups:
            starts = [self._starts[part]]
            try:
                with self._open(path) as parquet:
                    meta = parquet.metadata
                    sizes = [meta.row_group(n).num_rows for n in range(parquet.num_row_groups)]
                starts = [starts[0] + sum(sizes[:n]) for n in range(len(sizes))] or starts
            except (OSError, pa.ArrowException) as error:
                self._note(path, error)
            self._groups[path] = starts
        return self._groups[path]

    def _read(self, first: int, end: int, columns: Sequence[str] | None) -> Batch | None:
        part = bisect_right(self._starts, first) - 1
        path = self._parts[part]
        names = [n for n in load.ALL if n != "hook"] if columns is None else list(columns)
        try:
            with self._open(path) as parquet:
                group = self._row_groups(part).index(first)
                table = parquet.read_row_group(group, names, use_threads=False)
        except (OSError, pa.ArrowException, ValueError, KeyError) as error:
            self._note(path, error)
            return None
        if table.num_rows != end - first:
            self._note(path, ValueError("another number of rows than chain.jsonl says"))
            return None
        return load.batch(table, names, self._source, self._comms, first)

    def _open(self, path: str) -> pq.ParquetFile:
        table, name = path.split("/")
        with self._recording.folder.sub(table) as where:
            file = os.fdopen(where.open_file(name), "rb")
        try:
            return pq.ParquetFile(file, pre_buffer=False)
        except BaseException:
            file.close()
            raise

    def _note(self, path: str, error: Exception) -> None:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        self.problem = f"{path} cannot be read: {reason[:160]}"


def some(batch: Batch, rows: "np.ndarray[tuple[int], np.dtype[np.int64]]") -> Batch:
    """Those of ``rows`` (event numbers) that ``batch`` has."""
    place = rows - int(batch["row"][0])
    return batch.take(place[(place >= 0) & (place < len(batch))])
