"""Event tables of a recording in steps that fit into memory, with the names that belong to them."""

import time
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from tracer.text.names import Names

_STEP = 65536  # rows turned into Python objects at once
_REFRESH_S = 0.5  # while following: how soon unknown names are looked for again


class Feed:
    """Events of ``recording``, now or (``follow``) until it ends; :attr:`names` grows on the way.

    ``start_ns`` is the boot clock in ns at which the recording says it began, else at its first
    event.
    """

    def __init__(self, recording: Any, follow: bool) -> None:
        self.names = Names()
        self._recording = recording
        self._follow = follow
        self._refreshed = float("-inf")
        self._refresh()
        self.start_ns = self._start()

    def _refresh(self) -> None:
        now = time.monotonic()
        if now - self._refreshed < _REFRESH_S:
            return
        self._refreshed = now
        for table in self._recording.tables("objects"):
            self.names.add(table)

    def _start(self) -> int:
        anchors = self._recording.manifest.get("clock_anchors") or {}
        if isinstance(anchors, dict) and isinstance(anchors.get("boottime_ns"), int):
            return int(anchors["boottime_ns"])
        for table in self._recording.tables("events"):
            if table.num_rows:
                return int(table.column("time_ns")[0].as_py())
        return 0

    def tables(self) -> Iterator[pa.Table]:
        """Event tables of at most 65536 rows, in the order of the recording."""
        source = self._recording.follow() if self._follow else self._recording.tables("events")
        for table in source:
            if self._follow and None in self.names.of(table):
                self._refresh()
            for start in range(0, table.num_rows, _STEP):
                yield table.slice(start, _STEP)
