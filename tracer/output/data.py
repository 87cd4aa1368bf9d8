"""Takes the columns out of an Arrow table as plain Python lists, ready to be zipped into rows.

Leaves out rows: by operation, and after a number of them.

JSON lines and CSV: the same columns, every value as it is, nothing cut.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tracer.escape import printable
from tracer.labels import MAX_ERRNO, errno_name
from tracer.recording.identity import Identities
from tracer.recording.tables import plain, texts

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


Encode = Callable[[Any], str]

_FORMULA = tuple("=+-@\t\r'\uff1d\uff0b\uff0d\uff20")
"""Full-width ones too, which some spreadsheets read as the others."""


def _csv_text(value: str) -> str:
    """A quoted cell that no spreadsheet takes for a formula.

    Text that begins with ``= + - @`` (of either width), a tab or a carriage return gets an
    apostrophe in front; so does text that begins with an apostrophe, so that taking one leading
    apostrophe away always gives the text back.
    """
    guard = "'" if value.startswith(_FORMULA) else ""
    return '"' + guard + value.replace('"', '""') + '"'


def csv_cell(value: Any) -> str:
    """One CSV cell: numbers bare, text quoted and guarded, null empty."""
    if value is None:
        return ""
    return _csv_text(value) if isinstance(value, str) else str(value)


def csv_text(cell: str) -> str:
    """The text behind a cell that :func:`csv_cell` wrote and a CSV reader unquoted."""
    return cell[1:] if cell.startswith("'") else cell


def _encoded(values: list[Any], encode: Encode) -> list[Any]:
    if not values or (type(values[0]) is int and None not in values):
        return values  # %s prints integers as both forms want them
    known: dict[Any, str] = {}
    for value in set(values):
        known[value] = encode(value)
    return [known[value] for value in values]


def _columns(table: pa.Table, names: Identities, encode: Encode) -> list[list[Any]]:
    values: list[list[Any]] = []
    for name in ordered(table.column_names):
        if name == "name":
            values.append(_encoded(names.names(table), encode))
        elif name == "errno":
            values.append(_encoded(errnos(column(table, "answer", None)), encode))
        else:
            values.append(_encoded(column(table, name, None), encode))
    return values


def json_lines(table: pa.Table, names: Identities) -> Iterator[str]:
    """One JSON object a row; text is escaped text, seals and flags are integers."""
    keys = ordered(table.column_names)
    template = "{" + ", ".join(f"{json.dumps(key)}: %s" for key in keys) + "}"
    for row in zip(*_columns(table, names, json.dumps), strict=True):
        yield template % row


def csv_header(columns: list[str]) -> str:
    """The header line that belongs to :func:`csv_lines` of tables with these columns."""
    return ",".join(ordered(columns))


def csv_lines(table: pa.Table, names: Identities) -> Iterator[str]:
    """One CSV line a row, RFC 4180 quoting, without the line end."""
    template = ",".join(["%s"] * len(ordered(table.column_names)))
    for row in zip(*_columns(table, names, csv_cell), strict=True):
        yield template % row
