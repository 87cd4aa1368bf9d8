"""Events and reports for programs, as JSON and CSV: every value as it is, nothing cut.

The JSON object of a report (``schema_version`` is raised when something changes its meaning or
goes away)::

    format          "sealsnoop report"
    schema_version  1
    result          breach (new ones), known-holes (breaches by these alone), unexplained,
                    uncertain, fine or nothing (to judge)
    summary         the result in one sentence, as the text form says it first
    question        filter, since, until: as they were given, null for everything
    recordings      list: path, host, boot_id, kernel, command, filters, start_ns, end_ns (boot
                    clock), started (wall clock), state (ended, alive, killed), reason, hooks_live,
                    hooks, unseen (list: family, what, reason, essential), blind_spots, self_test
                    (ran, cases, variants, unexplained, silent, lost, bit_0x20, failed, open,
                    holes, unconfirmed), lost (events by cause),
                    incomplete (by cause), problems (sentences), redacted (true: a copy where
                    names are pseudonyms), machines (virtual machines that ran before, read from
                    KVM's own list; null: nobody looked), machines_problem (why there may be
                    others; empty: there are none), decisions, whole (true: nothing
                    lost, nothing missing, ended in order)
    unread          list: path, problem (a sentence): recordings that were named and could not be
                    read; they are in none of the numbers
    verdicts        decisions by verdict, all six, the worst first
    listed          list: decisions that were not simply allowed, equal ones as one with count
    unlisted        by verdict: decisions that listed had no room for (10,000 rows a verdict)
    left_out        memory files that can never be sealed: only their creation was recorded
    unannounced     decisions on files whose announcement never came: little is known of these
    tables          object, fd, process, op, rule: lists, worst first; counts by verdict
    over_time       list: host, boot_id, time_ns (start of a step), counts by verdict
    origins         only if user stacks were recorded; list: decisions by the function that they
                    come from: origin in words; function, file, line, module; stacks, how many
                    different ways led through it; comm that came so most often
    executed        list: programs run from memory files; state: immutable (sealed WRITE, SHRINK
                    and GROW then) or could be changed; how; times
    machines        list: virtual machines with a guest_memfd or conversions, as they were at the
                    end: vm, pid, comm, type (as KVM_CREATE_VM was given it; -1: not seen to
                    begin), bytes of memory, private, shared, unknown; conversions, refused; both:
                    bytes of private memory of which the VMM's own shared memory file has
                    a copy for certain, and both_at_most: which it has not given back since they
                    became private (null: what is shared is in no memory file that is known)
    seals           list: each file's creation and each change of its seals, file by file
    late_seals      list: seals that came after the file was shared or mapped writable
    busy            list: F_ADD_SEALS that failed EBUSY, with the holders of writable mappings

Columns have the names they have in recordings; seals are integers; times are ns of the boot clock
(time_ns, first_ns, last_ns), and before each the same by the wall clock, ISO 8601 in UTC (time,
time, last_time; null where the recording never read it). Text is escaped text (tracer.escape).
Unknown is null. What seal 0x20 means stands in bit_0x20 of the recording's self_test; a reason
names it EXEC or INACCESSIBLE accordingly.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tracer.escape import printable
from tracer.labels import describe, errno_name, meanings
from tracer.recording.identity import Identities
from tracer.recording.tables import values
from tracer.walltime import WallClock, isos
from tracer.words import Bit5

if TYPE_CHECKING:
    import pandas as pd

    from tracer.output.report import Report

# fmt: off
DESIGN_ORDER = [
    "time", "time_ns", "cpu", "seq", "pid", "tid", "uid", "cgroup", "comm", "op", "kind", "dev",
    "ino", "gen", "name", "fd", "seals", "seals_after", "size", "offset", "length", "arg",
    "request", "answer", "errno", "verdict", "expected", "reason", "rule", "hole", "duration_ns",
    "flags",
]
# fmt: on
"""The columns every form starts with; whatever else a table has comes behind them."""
Encode = Callable[[Any], str]


def ordered(names: list[str]) -> list[str]:
    """Columns of a table plus the derived ones, in the order of output."""
    more = [name for name in names if name not in DESIGN_ORDER]
    derived = {"time", "name", "request", "errno"}
    return [name for name in DESIGN_ORDER if name in names or name in derived] + more


def _safe(value: Any) -> Any:
    """Text as our own writer would have escaped it: the recording may be somebody else's."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {_safe(key): _safe(one) for key, one in value.items()}
    return [_safe(one) for one in value] if isinstance(value, list | tuple) else value


_FORMULA = tuple("=+-@\t\r'\uff1d\uff0b\uff0d\uff20")
"""Full-width ones too, which some spreadsheets read as the others."""


def csv_cell(value: Any) -> str:
    """One CSV cell: numbers bare, text quoted, null empty, a list or a dict as JSON.

    No spreadsheet takes it for a formula: text that starts with ``= + - @`` (of either width), a
    tab or a carriage return gets an apostrophe in front. So does text that starts with an
    apostrophe: taking one leading apostrophe away always gives the text back.
    """
    if value is None:
        return ""
    if isinstance(value, list | dict):
        value = json.dumps(value)
    if not isinstance(value, str):
        return str(value)
    guard = "'" if value.startswith(_FORMULA) else ""
    return '"' + guard + value.replace('"', '""') + '"'


_REQUEST = ("op", "kind", "arg", "offset", "length", "size")
"""What a request is described from."""


class Rows:
    """Event tables (of `tracer.analysis.stream`) as JSON lines and CSV.

    ``bit5``: what the recorded kernel calls seal 0x20.
    """

    def __init__(self, names: Identities, clock: WallClock, bit5: Bit5) -> None:
        self._names, self._clock, self._bit5 = names, clock, bit5

    def json(self, table: pa.Table) -> Iterator[str]:
        """One JSON object a row: every column as it is stored, and what it means beside it."""
        keys = ordered(table.column_names)
        template = "{" + ", ".join(f"{json.dumps(key)}: %s" for key in keys) + "%s}"
        more = self._lists(table)
        for row in zip(*self._columns(table, json.dumps), more, strict=True):
            yield template % row

    def csv(self, table: pa.Table) -> Iterator[str]:
        """One CSV line a row, RFC 4180 quoting, without the line end."""
        for row in zip(*self._columns(table, csv_cell), strict=True):
            yield ",".join(map(str, row))

    def _columns(self, table: pa.Table, encode: Encode) -> Iterator[list[Any]]:
        """The columns of :func:`ordered`, each distinct value encoded once."""
        for name in ordered(table.column_names):
            if name == "time":
                found: list[Any] = isos(
                    self._clock.all_at(np.array(values(table, "time_ns", 0), np.int64))
                )
            elif name == "name":
                found = list(self._names.names(table))
            elif name == "errno":
                found = [errno_name(answer or 0) for answer in values(table, "answer")]
            elif name == "request":
                wanted = [values(table, one, 0) for one in _REQUEST]
                rows: Iterator[Any] = zip(*wanted, strict=True)
                found = [describe(*(*row, self._bit5)) for row in rows]
            else:
                found = values(table, name)
            if not found or (type(found[0]) is int and None not in found):
                yield found  # %s prints integers as both forms want them
            else:
                known = {value: encode(_safe(value)) for value in set(found)}
                yield [known[value] for value in found]

    def _lists(self, table: pa.Table) -> list[str]:
        """Behind the columns of each row: sets of flags as lists, those that its operation has."""
        names = ("op", "kind", "arg", "seals", "seals_after", "flags")
        rows = list(zip(*(values(table, name, 0) for name in names), strict=True))
        known = {row: self._list(*row) for row in set(rows)}
        return [known[row] for row in rows]

    def _list(self, op: str, kind: str, arg: int, seals: int, seals_after: int, flags: int) -> str:
        found = meanings(op, kind, arg, seals, seals_after, flags, self._bit5)
        return "".join(f", {json.dumps(key)}: {json.dumps(one)}" for key, one in found.items())


def csv_header(columns: list[str]) -> str:
    """The header line that belongs to :meth:`Rows.csv` of tables with these columns."""
    return ",".join(ordered(columns))


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
        if not (pd.api.types.is_numeric_dtype(kind) or isinstance(kind, pd.DatetimeTZDtype))
    }
    return frame.assign(**changed)


def json_table(frame: "pd.DataFrame") -> Iterator[str]:
    """A JSON list with one row a line, in pieces; texts are printable, null is null."""
    yield "["
    # How a row starts; in no text, for there a quote is escaped, and no name follows its end.
    first = f'{{"{next(iter(frame), "")}":'
    for start in range(0, len(frame), _ROWS):
        part = safe(frame.iloc[start : start + _ROWS])
        rows = part.to_json(
            orient="records", double_precision=9, date_format="iso", date_unit="us"
        )[1:-1]
        yield (",\n  " if start else "\n  ") + rows.replace(f"}},{first}", f"}},\n  {first}")
    yield "\n ]" if len(frame) else "]"


_TIMES = {"time_ns": "time", "first_ns": "time", "last_ns": "last_time"}


def timed(frame: "pd.DataFrame", clocks: Mapping[str, WallClock]) -> "pd.DataFrame":
    """With wall-clock times before those of the boot clock; ``clocks``: of each ``boot_id``."""
    import pandas as pd

    if "boot_id" not in frame:
        return frame  # without any rows
    boots = frame["boot_id"].astype("category")
    made: dict[str, Any] = {}
    for name in map(str, frame):
        if name in _TIMES:
            times = frame[name]
            found = np.full(len(frame), np.datetime64("NaT", "ns"))
            for place, boot in enumerate(boots.cat.categories):
                rows = ((boots.cat.codes == place) & times.notna()).to_numpy()
                if boot in clocks:
                    found[rows] = clocks[boot].all_at(times[rows].to_numpy(np.int64))
            made[_TIMES[name]] = pd.DatetimeIndex(found).tz_localize("UTC")
        made[name] = frame[name]
    return pd.DataFrame(made, frame.index)


def json_pieces(report: "Report", top: int | None = None) -> Iterator[str]:
    """The report as one JSON object, in pieces: as text it takes several times its room.

    :param top: so many rows of each list; None: all.
    """

    def rows(name: str, frame: "pd.DataFrame") -> Iterator[str]:
        yield f'"{name}": '
        yield from json_table(timed(frame if top is None else frame.head(top), report.clocks))

    recordings = [asdict(one) | {"whole": one.whole} for one in report.coverage]
    summary = report.summary
    head = {
        "format": FORMAT,
        "schema_version": SCHEMA_VERSION,
        "result": summary.result,
        "summary": summary.text,
        "question": asdict(report.question),
        "recordings": recordings,
        "unread": [asdict(one) for one in report.unread],
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
    yield from json_table(timed(report.over_time, report.clocks))
    origins = {"origins": report.origins} if len(report.origins.columns) else {}
    more = {
        **origins,
        "executed": report.executed,
        "machines": report.machines,
        "seals": report.seals,
        "late_seals": report.late,
        "busy": report.busy,
    }
    for name, frame in more.items():
        yield ",\n "
        yield from rows(name, frame)
    yield "\n}\n"


def csv_table(frame: "pd.DataFrame", top: int | None = None) -> Iterator[str]:
    """A header and one line a row, RFC 4180, without line ends (:func:`csv_cell`).

    :param top: so many rows; None: all.
    """
    yield ",".join(frame.columns)
    whole = frame if top is None else frame.head(top)
    for start in range(0, len(whole), _ROWS):
        part = safe(whole.iloc[start : start + _ROWS]).astype(object)
        for row in part.where(part.notna(), None).itertuples(index=False, name=None):
            yield ",".join(map(csv_cell, row))
