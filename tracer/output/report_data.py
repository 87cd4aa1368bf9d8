"""The report for programs: one JSON object, or one table as CSV.

The JSON object (``schema_version`` is raised when something changes its meaning or goes away)::

    format          "sealsnoop report"
    schema_version  1
    question        filter, since, until: as they were asked, null for everything
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
    over_time       list: host, boot_id, time_ns (begin of a step), counts by verdict
    seals           list: each file's creation and each change of its seals, file by file
    late_seals      list: seals that came after the file was shared or mapped writable
    busy            list: F_ADD_SEALS that failed EBUSY, with the holders of writable mappings

Columns have the names they have in recordings; seals are integers, times are ns of the boot clock,
text is escaped text (tracer.escape). Unknown is null. What seal 0x20 means is said by
bit_0x20 of the recording's self_test; a reason names it EXEC or INACCESSIBLE accordingly.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tracer.escape import printable
from tracer.output.data import csv_cell
from tracer.output.report import Report

FORMAT = "sealsnoop report"
SCHEMA_VERSION = 1
_ROWS = 1 << 15  # made into text at once


def _harmless(value: Any) -> Any:
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {_harmless(key): _harmless(one) for key, one in value.items()}
    return [_harmless(one) for one in value] if isinstance(value, list | tuple) else value


def _texts(column: "pd.Series[Any]") -> "npt.NDArray[np.object_]":
    """The values of a column that is not numeric, each distinct text looked at once."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        codes, known = column.cat.codes.to_numpy(), column.cat.categories.to_list()
    elif isinstance(column.dtype, pd.StringDtype):  # texts that do not repeat
        texts = column.astype(object).to_numpy(copy=True)
        texts[column.isna().to_numpy()] = None
        if not "".join(filter(None, texts)).isprintable():
            texts[:] = [_harmless(text) for text in texts]
        return texts
    else:
        try:
            codes, distinct = pd.factorize(column)
            known = list(distinct)
        except TypeError:  # lists and dicts have no hash
            codes, known = np.arange(len(column)), column.to_list()
    words = np.empty(len(known) + 1, object)
    words[:-1] = [_harmless(one) for one in known]  # the last stands for null, whose code is -1
    found: npt.NDArray[np.object_] = words[codes]
    return found


def safe(frame: pd.DataFrame) -> pd.DataFrame:
    """``frame`` with text as our own writer would have escaped it, and no categoricals."""
    changed = {
        str(name): pd.Series(_texts(frame[name]), frame.index, object)
        for name, kind in frame.dtypes.items()
        if not pd.api.types.is_numeric_dtype(kind)
    }
    return frame.assign(**changed)


def table(frame: pd.DataFrame) -> Iterator[str]:
    """A JSON list with one row a line, in pieces: as text a table takes several times its room."""
    yield "["
    # Where a row begins; in no text, for there a quote is escaped, and no name follows its end.
    begin = f'{{"{next(iter(frame), "")}":'
    for start in range(0, len(frame), _ROWS):
        part = safe(frame.iloc[start : start + _ROWS])
        rows = part.to_json(orient="records", double_precision=9)[1:-1]
        yield (",\n  " if start else "\n  ") + rows.replace(f"}},{begin}", f"}},\n  {begin}")
    yield "\n ]" if len(frame) else "]"


def json_pieces(report: Report, top: int | None = None) -> Iterator[str]:
    """The JSON object in pieces that belong together; ``top``: so many rows of each list."""

    def rows(name: str, frame: pd.DataFrame) -> Iterator[str]:
        yield f'"{name}": '
        yield from table(frame if top is None else frame.head(top))

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
    yield from table(report.over_time)
    for name, frame in _more(report):
        yield ",\n "
        yield from rows(name, frame)
    yield "\n}\n"


def _more(report: Report) -> Iterator[tuple[str, pd.DataFrame]]:
    yield "seals", report.seals
    yield "late_seals", report.late
    yield "busy", report.busy


def _cell(value: Any) -> str:
    # A list of holders is one cell: JSON in it.
    return csv_cell(json.dumps(value) if isinstance(value, list | dict) else value)


def csv_lines(frame: pd.DataFrame, top: int | None = None) -> Iterator[str]:
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
