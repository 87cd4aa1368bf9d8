"""Event tables of a recording in steps that fit into memory, with the names that belong to them."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pyarrow as pa

from tracer.model.bit5 import Bit5, bit5_in
from tracer.text.columns import column
from tracer.text.names import Names

if TYPE_CHECKING:
    from tracer.store.reader import Recording

_STEP = 65536  # rows turned into Python objects at once
_KEY = ("dev", "ino", "gen")


class Feed:
    """Events of ``recording``, now or (``follow``) until it ends; :attr:`names` grows on the way.

    ``columns``: those that are needed, None: all; following gives all in any case.
    """

    def __init__(
        self, recording: "Recording", *, follow: bool = False, columns: list[str] | None = None
    ) -> None:
        self.names = Names()
        self._recording = recording
        self._follow = follow
        self._columns = columns
        self._in_vain: set[tuple[int, int, int]] = set()
        self._refresh()

    def _refresh(self) -> None:
        for table in self._recording.tables("objects", [*_KEY, "name"]):
            self.names.add(table)

    def _look_for_new(self, table: pa.Table) -> None:
        """An object is announced before its first event, so its name is there already."""
        keys = zip(*(column(table, name, 0) for name in _KEY), strict=True)
        names = self.names.of(table)
        unknown = {key for key, name in zip(keys, names, strict=True) if name is None}
        if unknown - self._in_vain:
            self._in_vain |= unknown
            self._refresh()

    @property
    def start_ns(self) -> int | None:
        """The boot clock in ns when the recorder first read its clocks, None: not known."""
        for table in self._recording.tables("clocks", ["time_ns"]):
            if table.num_rows:
                return int(table.column("time_ns")[0].as_py())
        return None

    @property
    def bit5(self) -> Bit5:
        """What the recorded kernel calls seal 0x20."""
        return bit5_in(self._recording.manifest)

    def tables(self) -> Iterator[pa.Table]:
        """Event tables of at most 65536 rows, in the order of arrival. StoreError."""
        if self._follow:
            source = self._recording.follow()
        else:
            source = self._recording.tables("events", self._columns)
        for table in source:
            if self._follow:
                self._look_for_new(table)
            for start in range(0, table.num_rows, _STEP):
                yield table.slice(start, _STEP)
