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
        # No empty tables: to make one, pyarrow imports pandas.
        self._unnamed: pa.Table | None = None
        self._pieces: list[pa.Table] = []
        self._patience = _PATIENCE

    def names(self, table: pa.Table) -> Iterator[pa.Table]:
        """Pieces of names; objects that waited for them come again."""
        self._pieces.append(table)
        if self._unnamed is not None:
            waiting, self._unnamed = self._unnamed, None
            yield self.objects(waiting)

    def objects(self, table: pa.Table) -> pa.Table:
        """Objects with as much of their names as has come."""
        if table.column("name_complete").to_pylist().count(False):
            table = joined(table, pa.concat_tables(self._pieces or [_none()]))
            whole = table.column("name_complete").to_pylist()
            late = [at for at, done in enumerate(whole) if not done]
            rest = table.take(pa.array(late, pa.int64()))
            if rest.num_rows:
                known = [] if self._unnamed is None else [self._unnamed]
                self._unnamed = pa.concat_tables([*known, rest])
        return table

    def next(self) -> None:
        """To be called behind a batch or a segment: the pieces of most names came with it."""
        self._patience = self._patience - 1 if self._unnamed is not None else _PATIENCE
        if not self._patience or self._unnamed is None:
            self._unnamed = None
            self._pieces.clear()
            self._patience = _PATIENCE


def _none() -> pa.Table:
    return TABLES["names"].empty_table()
