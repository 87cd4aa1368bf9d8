"""Events and reports for programs, as JSON and CSV: every value as it is, nothing cut.

The JSON object of a report (``schema_version`` is raised when something changes its meaning or
goes away)::

    format          "sealsnoop report"
    schema_version  1
    question        filter, since, until: as they were given, null for everything
    recordings      list: path, host, boot_id, kernel, command, filters, start_ns, end_ns (boot
                    clock), started (wall clock), state (ended, alive, killed), reason, hooks_live,
                    hooks, unseen (list: family, what, reason, essential), blind_spots, self_test
                    (ran, cases, variants, unexplained, silent, lost, bit_0x20, failed, open,
                    holes, unconfirmed), lost (events by cause),
                    incomplete (by cause), problems (sentences), decisions, whole (true: nothing
                    lost, nothing missing, ended in order)
    verdicts        decisions by verdict, all six, the worst first
    listed          list: decisions that were not simply allowed, equal ones as one with count
    unlisted        by verdict: decisions that listed had no room for (10,000 rows a verdict)
    left_out        memory files that can never be sealed: only their creation was recorded
    unannounced     decisions on files whose announcement never came: little is known of these
    tables          object, fd, process, op, rule: lists, worst first; counts by verdict
    over_time       list: host, boot_id, time_ns (start of a step), counts by verdict
    seals           list: each file's creation and each change of its seals, file by file
    late_seals      list: seals that came after the file was shared or mapped writable
    busy            list: F_ADD_SEALS that failed EBUSY, with the holders of writable mappings

Columns have the names they have in recordings; seals are integers, times are ns of the boot clock,
text is escaped text (tracer.escape). Unknown is null. What seal 0x20 means is said by
bit_0x20 of the recording's self_test; a reason names it EXEC or INACCESSIBLE accordingly.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tracer.escape import printable
from tracer.labels import MAX_ERRNO, errno_name
from tracer.recording.identity import Identities
from tracer.recording.tables import plain

if TYPE_CHECKING:
    import pandas as pd

    from tracer.output.report import Report

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


def _safe(value: Any) -> Any:
    """Text as our own writer would have escaped it: the recording may be somebody else's."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {_safe(key): _safe(one) for key, one in value.items()}
    return [_safe(one) for one in value] if isinstance(value, list | tuple) else value


def to_list(column: Any) -> list[Any]:
    """Values of a ChunkedArray; null becomes None. Faster than ``to_pylist`` for long ones."""
    array: Any = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):  # dictionaries may stay in chunks
        return [value for chunk in array.chunks for value in to_list(pa.chunked_array([chunk]))]
    if pa.types.is_dictionary(array.type) and not array.null_count:
        words = np.empty(len(array.dictionary), object)
        words[:] = [_safe(word) for word in array.dictionary.to_pylist()]
        return list(words[plain(array.indices)])
    if pa.types.is_integer(array.type) and not array.null_count:
        return list(plain(array).tolist())
    return [_safe(value) for value in array.to_pylist()]


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


Encode = Callable[[Any], str]

_FORMULA = tuple("=+-@\t\r'\uff1d\uff0b\uff0d\uff20")
"""Full-width ones too, which some spreadsheets read as the others."""


def _csv_text(value: str) -> str:
    """A quoted cell that no spreadsheet takes for a formula.

    Text that starts with ``= + - @`` (of either width), a tab or a carriage return gets an
    apostrophe in front; so does text that starts with an apostrophe, so that taking one leading
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


FORMAT = "sealsnoop report"
SCHEMA_VERSION = 1
_ROWS = 1 << 15  # made into text at once


def _texts(column: "pd.Series[Any]") -> "npt.NDArray[np.object_]":
    """The values of a column that is not numeric, each distinct text looked at once."""
    import pandas as pd

    if isinstance(column.dtype, pd.CategoricalDtype):
        codes, known = column.cat.codes.to_numpy(), column.cat.categories.to_list()
    elif isinstance(column.dtype, pd.StringDtype):  # texts that do not repeat
        texts = column.astype(object).to_numpy(copy=True)
        texts[column.isna().to_numpy()] = None
        if not "".join(filter(None, texts)).isprintable():
            texts[:] = [_safe(text) for text in texts]
        return texts
    else:
        try:
            codes, distinct = pd.factorize(column)
            known = list(distinct)
        except TypeError:  # lists and dicts have no hash
            codes, known = np.arange(len(column)), column.to_list()
    words = np.empty(len(known) + 1, object)
    words[:-1] = [_safe(one) for one in known]  # the last stands for null, whose code is -1
    found: npt.NDArray[np.object_] = words[codes]
    return found


def safe(frame: "pd.DataFrame") -> "pd.DataFrame":
    """``frame`` with text as our own writer would have escaped it, and no categoricals."""
    import pandas as pd

    changed = {
        str(name): pd.Series(_texts(frame[name]), frame.index, object)
        for name, kind in frame.dtypes.items()
        if not pd.api.types.is_numeric_dtype(kind)
    }
    return frame.assign(**changed)


def json_table(frame: "pd.DataFrame") -> Iterator[str]:
    """A JSON list with one row a line, in pieces: as text a table takes several times its room."""
    yield "["
    # How a row starts; in no text, for there a quote is escaped, and no name follows its end.
    first = f'{{"{next(iter(frame), "")}":'
    for start in range(0, len(frame), _ROWS):
        part = safe(frame.iloc[start : start + _ROWS])
        rows = part.to_json(orient="records", double_precision=9)[1:-1]
        yield (",\n  " if start else "\n  ") + rows.replace(f"}},{first}", f"}},\n  {first}")
    yield "\n ]" if len(frame) else "]"


def json_pieces(report: "Report", top: int | None = None) -> Iterator[str]:
    """The JSON object in pieces that belong together; ``top``: so many rows of each list."""

    def rows(name: str, frame: "pd.DataFrame") -> Iterator[str]:
        yield f'"{name}": '
        yield from json_table(frame if top is None else frame.head(top))

    recordings = [asdict(one) | {"whole": one.whole} for one in report.coverage]
    head = {
        "format": FORMAT,
        "schema_version": SCHEMA_VERSION,
        "question": asdict(report.question),
        "recordings": recordings,
        "verdicts": dict(report.verdicts),
        "unlisted": dict(report.unlisted),
        "left_out": report.left_out,
        "unannounced": report.unannounced,
    }
    yield json.dumps(head, indent=1)[:-2] + ",\n "
    yield from rows("listed", report.listed)
    yield ',\n "tables": {\n '
    for place, (name, frame) in enumerate(report.tables.items()):
        yield ",\n " if place else ""
        yield from rows(name, frame)
    yield '\n },\n "over_time": '
    yield from json_table(report.over_time)
    more = {"seals": report.seals, "late_seals": report.late, "busy": report.busy}
    for name, frame in more.items():
        yield ",\n "
        yield from rows(name, frame)
    yield "\n}\n"


def _cell(value: Any) -> str:
    # A list of holders is one cell: JSON in it.
    return csv_cell(json.dumps(value) if isinstance(value, list | dict) else value)


def csv_table(frame: "pd.DataFrame", top: int | None = None) -> Iterator[str]:
    """A header and one line a row, RFC 4180; no cell is a formula to a spreadsheet."""
    yield ",".join(frame.columns)
    whole = frame if top is None else frame.head(top)
    for start in range(0, len(whole), _ROWS):
        part = safe(whole.iloc[start : start + _ROWS])
        columns = [
            ["" if null else _cell(value) for value, null in zip(values, nulls, strict=True)]
            for values, nulls in (
                (part[name].astype(object).tolist(), part[name].isna().tolist()) for name in part
            )
        ]
        for row in zip(*columns, strict=True):
            yield ",".join(row)
