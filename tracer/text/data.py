"""JSON lines and CSV: the same columns, every value as it is, nothing cut."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa

from tracer.text.columns import column, errnos, ordered
from tracer.text.names import Names

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


def _columns(table: pa.Table, names: Names, encode: Encode) -> list[list[Any]]:
    values: list[list[Any]] = []
    for name in ordered(table.column_names):
        if name == "name":
            values.append(_encoded(names.of(table), encode))
        elif name == "errno":
            values.append(_encoded(errnos(column(table, "answer", None)), encode))
        else:
            values.append(_encoded(column(table, name, None), encode))
    return values


def json_lines(table: pa.Table, names: Names) -> Iterator[str]:
    """One JSON object a row; text is escaped text, seals and flags are integers."""
    keys = ordered(table.column_names)
    template = "{" + ", ".join(f"{json.dumps(key)}: %s" for key in keys) + "}"
    for row in zip(*_columns(table, names, json.dumps), strict=True):
        yield template % row


def csv_header(columns: list[str]) -> str:
    """The header line that belongs to :func:`csv_lines` of tables with these columns."""
    return ",".join(ordered(columns))


def csv_lines(table: pa.Table, names: Names) -> Iterator[str]:
    """One CSV line a row, RFC 4180 quoting, without the line end."""
    template = ",".join(["%s"] * len(ordered(table.column_names)))
    for row in zip(*_columns(table, names, csv_cell), strict=True):
        yield template % row
