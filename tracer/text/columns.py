"""Takes the columns out of an Arrow table as plain Python lists, ready to be zipped into rows."""

from typing import Any

import numpy as np
import pyarrow as pa

from tracer.model.errnos import MAX_ERRNO, errno_name
from tracer.model.escape import printable
from tracer.store.arrays import plain

# fmt: off
DESIGN_ORDER = [
    "time_ns", "cpu", "seq", "pid", "tid", "uid", "cgroup", "comm", "op", "kind", "dev", "ino",
    "gen", "name", "fd", "seals", "seals_after", "size", "offset", "length", "arg", "answer",
    "errno", "duration_ns", "flags",
]
# fmt: on
"""The columns every form starts with; whatever else a table has comes behind them."""


def ordered(names: list[str]) -> list[str]:
    """Columns of a table plus the derived ``name`` and ``errno``, in the order of output."""
    more = [name for name in names if name not in DESIGN_ORDER]
    derived = {"name", "errno"}
    return [name for name in DESIGN_ORDER if name in names or name in derived] + more


def _safe(values: list[Any]) -> list[Any]:
    """Text as our own writer would have escaped it: the recording may be somebody else's."""
    return [printable(value) if isinstance(value, str) else value for value in values]


def to_list(column: Any) -> list[Any]:
    """Values of a ChunkedArray; null becomes None. Faster than ``to_pylist`` for long ones."""
    array: Any = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):  # dictionaries may stay in chunks
        return [value for chunk in array.chunks for value in to_list(pa.chunked_array([chunk]))]
    if pa.types.is_dictionary(array.type) and not array.null_count:
        words = np.empty(len(array.dictionary), object)
        words[:] = _safe(array.dictionary.to_pylist())
        return list(words[plain(array.indices)])
    if pa.types.is_integer(array.type) and not array.null_count:
        return list(plain(array).tolist())
    return _safe(array.to_pylist())


def column(table: pa.Table, name: str, missing: object) -> list[Any]:
    """Values of column ``name``; ``missing`` for each row where the table has no such column."""
    if name not in table.column_names:
        return [missing] * table.num_rows
    return to_list(table.column(name))


def errnos(answers: list[int | None]) -> list[str | None]:
    """Error symbol of each answer, None where it is no error."""
    return [
        errno_name(answer) if answer is not None and -MAX_ERRNO <= answer < 0 else None
        for answer in answers
    ]
