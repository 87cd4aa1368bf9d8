"""Leaves out rows: by operation, and after a number of them."""

from collections.abc import Iterable, Iterator

import pyarrow as pa
import pyarrow.compute as pc

from tracer.store.arrays import texts


def with_ops(tables: Iterable[pa.Table], ops: frozenset[str] | None) -> Iterator[pa.Table]:
    """The rows of ``tables`` whose ``op`` is among ``ops``; all where that is None."""
    if ops is None:
        yield from tables
        return
    wanted = texts(sorted(ops))
    for table in tables:
        words = table.column("op").cast(pa.string())
        yield table.filter(pc.is_in(words, value_set=wanted))


def limited(tables: Iterable[pa.Table], limit: int | None) -> Iterator[pa.Table]:
    """The first ``limit`` rows of ``tables``; asks for no table after they are reached."""
    if limit is None:
        yield from tables
        return
    if limit <= 0:
        return
    for table in tables:
        yield table.slice(0, limit)
        limit -= table.num_rows
        if limit <= 0:
            return
