"""Joins names with their objects when a batch or a segment ended between the two."""

from collections.abc import Iterator

import pyarrow as pa

from tracer.store.objects import joined
from tracer.store.schema import TABLES

_PATIENCE = 4
"""Batches or segments in which the rest of a name is waited for."""


class Naming:
    """Takes the tables ``objects`` and ``names`` as they come; gives objects, named."""

    def __init__(self) -> None:
        self._unnamed = TABLES["objects"].empty_table()
        self._pieces = TABLES["names"].empty_table()
        self._patience = _PATIENCE

    def names(self, table: pa.Table) -> Iterator[pa.Table]:
        """Pieces of names; objects that waited for them come again."""
        self._pieces = pa.concat_tables([self._pieces, table])
        if self._unnamed.num_rows:
            waiting, self._unnamed = self._unnamed, self._unnamed.slice(0, 0)
            yield self.objects(waiting)

    def objects(self, table: pa.Table) -> pa.Table:
        """Objects with as much of their names as has come."""
        if table.column("name_complete").to_pylist().count(False):
            table = joined(table, self._pieces)
            whole = table.column("name_complete").to_pylist()
            rest = pa.array([at for at, done in enumerate(whole) if not done], pa.int64())
            self._unnamed = pa.concat_tables([self._unnamed, table.take(rest)])
        return table

    def next(self) -> None:
        """To be called behind a batch or a segment: the pieces of most names came with it."""
        self._patience = self._patience - 1 if self._unnamed.num_rows else _PATIENCE
        if not self._patience or not self._unnamed.num_rows:
            self._unnamed = TABLES["objects"].empty_table()
            self._pieces = TABLES["names"].empty_table()
            self._patience = _PATIENCE
