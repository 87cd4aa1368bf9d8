"""The rows of raw event tables that a filter matches, by the names of their objects too."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from tracer.query.columns import Coded
from tracer.query.query import Query
from tracer.store.arrays import booleans, integers, plain
from tracer.store.schema import TABLES
from tracer.text.names import Names

KEY = ("dev", "ino", "gen")
COLUMNS = frozenset({*TABLES["events"].names, "name"})
"""What a filter over raw events can ask for."""


def columns(query: Query) -> list[str]:
    """The columns of ``events`` that have to be read for ``query``, in the order of the schema."""
    wanted = set(query.columns())
    if "name" in wanted:
        wanted |= {*KEY}
    return [name for name in TABLES["events"].names if name in wanted]


def named(table: pa.Table, names: Names) -> Coded:
    """The name of each row's object, asked for once per object."""
    codes = np.zeros(table.num_rows, np.int64)
    for name in KEY:
        # Hashing one integer column after the other: numpy's unique over rows would sort.
        found = table.column(name).combine_chunks().dictionary_encode()
        found = found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found
        codes = codes * max(1, len(found.dictionary)) + plain(found.indices)
        _, first, codes = np.unique(codes, return_index=True, return_inverse=True)
    return Coded(codes, names.of(table.select([*KEY]).take(integers(first))))


def matching(tables: Iterable[pa.Table], query: Query, names: Names) -> Iterator[pa.Table]:
    """The rows of event tables that ``query`` matches; tables without any are left out.

    ``names`` is asked when a table's turn comes, so that it may grow on the way.
    """
    if not query:
        yield from tables
        return
    needs_names = "name" in query.columns()
    for table in tables:
        source: dict[str, Any] = {name: table.column(name) for name in table.column_names}
        if needs_names:
            source["name"] = named(table, names)
        found = query.mask(source)
        if found.any():
            yield table if found.all() else table.filter(booleans(found))
