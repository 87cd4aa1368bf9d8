"""A column of a table on the screen, and how many of them fit.

Columns of verdicts: the symbol of one, counts of many.

Columns that several tables share.

Columns of the log of events, and of the hooks.

Columns of objects, file descriptors and processes: whatever decisions are counted for.

Columns of who holds and who maps one object.

Columns of the audit: a claim about one object each.

The columns of each table on the screen.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tracer.filter.mask import Coded, Numbers
from tracer.labels import MAX_ERRNO
from tracer.live import cells
from tracer.live.cells import SYMBOLS, VIOLATIONS
from tracer.live.snapshot import Rows
from tracer.rules.verdicts import Verdict
from tracer.words import Flag, Kind

_ROOMY = 150
"""Cells from which on columns stand further apart."""
Array = npt.NDArray[Any]
Text = Callable[[Rows, int], str]
Keys = Callable[[Rows], Array]


@dataclass(frozen=True)
class Column:
    """One column: its title, the text of a cell, and what the rows are sorted by."""

    name: str
    title: str
    width: int
    """Cells it has at least."""
    text: Text
    keys: Keys | None = None
    """One sort key a row; None: the column ``name`` itself."""
    right: bool = False
    rank: int = 0
    """Where room is short, the highest rank goes first; 0 stays."""
    most: int = 0
    """Cells it may grow to."""
    style: Callable[[Rows, int], str | None] | None = None
    """Name of a style for the cell: a verdict's word, ``dim``, ``strong``; None: plain."""
    ask: Callable[[Rows, int], tuple[str | None, Any] | None] | None = None
    """Key and value of the filter that shows rows with the same cell; None: there is none."""
    falling: bool = False
    """The first sort by it is from the highest to the lowest."""
    only: int | None = None
    """It is there only while there is a decision with this verdict."""

    def sort_keys(self, rows: Rows) -> Array:
        """What rows are sorted by: numbers, or ranks of texts."""
        if self.keys is not None:
            return self.keys(rows)
        return rank_of(rows.columns[self.name])


def rank_of(column: Array | Coded | Numbers) -> Array:
    """Numbers that sort as ``column`` does."""
    if isinstance(column, Coded):
        place = _places(column.words)
        return np.asarray(np.append(place, len(place) + 1)[column.codes])
    if isinstance(column, Numbers):
        return np.asarray(column.values)
    if column.dtype != object:
        return column
    values = column.tolist()
    if all(value is None or isinstance(value, int) for value in values):
        return np.array([-1 if value is None else value for value in values], np.float64)
    texts = ["" if value is None else str(value) for value in values]
    return np.asarray(np.unique(texts, return_inverse=True)[1])


def _places(words: Sequence[str | None]) -> npt.NDArray[np.int64]:
    """One word may be there several times: files of one name."""
    texts = [word or "" for word in words]
    place = {text: at for at, text in enumerate(sorted(set(texts)))}
    return np.array([place[text] for text in texts], np.int64)


@dataclass(frozen=True)
class Placed:
    """A column with the cells it got: from ``start``, ``width`` of them, then ``gap`` empty."""

    column: Column
    start: int
    width: int
    gap: int


def fit(columns: Sequence[Column], room: int) -> list[Placed]:
    """The columns that fit into ``room`` cells; those that may grow share what is left."""
    shown = list(columns)
    gap = 2 if room >= _ROOMY else 1

    def need() -> int:
        return sum(column.width for column in shown) + gap * (len(shown) - 1)

    while len(shown) > 1 and need() > room:
        worst = max(shown, key=lambda column: column.rank)
        if worst.rank == 0:
            break
        shown.remove(worst)
    spare = max(0, room - need())
    widths = {column.name: column.width for column in shown}
    while spare > 0:
        hungry = [column for column in shown if widths[column.name] < column.most]
        if not hungry:
            break
        share = max(1, spare // len(hungry))
        for column in hungry:
            more = min(share, column.most - widths[column.name], spare)
            widths[column.name] += more
            spare -= more
    placed = []
    start = 0
    for column in shown:
        placed.append(Placed(column, start, widths[column.name], gap))
        start += widths[column.name] + gap
    return placed


def verdict_of(rows: Rows, place: int, name: str) -> Verdict | None:
    """The verdict in column ``name``, None where there is none."""
    value = rows.value(name, place)
    return Verdict(value) if value is not None and 0 <= value < len(Verdict) else None


def mark(name: str, title: str = "") -> Column:
    """The symbol of a verdict, one cell."""

    def shown(rows: Rows, place: int) -> str:
        verdict = verdict_of(rows, place, name)
        return " " if verdict is None else SYMBOLS[verdict]

    def style(rows: Rows, place: int) -> str | None:
        verdict = verdict_of(rows, place, name)
        return None if verdict is None else verdict.word

    def ask(rows: Rows, place: int) -> tuple[str, Any] | None:
        verdict = verdict_of(rows, place, name)
        return None if verdict is None else ("verdict", verdict.word)

    return Column(name, title, 2, shown, style=style, ask=ask, right=True, falling=True)


def number(
    name: str,
    title: str,
    width: int,
    *,
    rank: int = 0,
    most: int = 0,
    style: str | None = None,
    ask: str | None = None,
    only: Verdict | None = None,
) -> Column:
    """A count; ``style`` where it is not 0; ``only`` where there is such a verdict at all."""

    def styled(rows: Rows, place: int) -> str | None:
        return style if rows.value(name, place) else "dim"

    return Column(
        name,
        title,
        width,
        lambda rows, place: cells.count(rows.value(name, place), max(width, 7)),
        right=True,
        rank=rank,
        most=most,
        style=styled,
        ask=(lambda rows, place: ("verdict", ask)) if ask else None,
        falling=True,
        only=only,
    )


def plain(
    name: str,
    title: str,
    width: int,
    most: int = 0,
    *,
    rank: int = 0,
    right: bool = False,
    ask: str | None = None,
) -> Column:
    """A number or a text as it is; ``most`` as in Column; ``ask`` is the filter's key for it."""
    return Column(
        name,
        title,
        width,
        lambda rows, place: cells.text(rows.value(name, place)),
        right=right,
        rank=rank,
        most=most,
        ask=(lambda rows, place: (ask, rows.value(name, place))) if ask else None,
    )


def file(width: int, most: int, title: str = "name", verdict_column: str = "worst") -> Column:
    """The name of the object of a row; it has the colour of a violation."""

    def shown(rows: Rows, place: int) -> str:
        get = rows.value
        return cells.name_of(
            get("kind", place), get("name", place), get("dev", place), get("ino", place)
        )

    def ask(rows: Rows, place: int) -> tuple[str, Any]:
        name = rows.value("name", place)
        if name is not None:
            return "name", name
        key = (rows.value(part, place) for part in ("dev", "ino", "gen"))
        return "object", ":".join(map(str, key))

    def style(rows: Rows, place: int) -> str | None:
        verdict = verdict_of(rows, place, verdict_column)
        return verdict.word if verdict in VIOLATIONS else None

    return Column("name", title, width, shown, most=most, style=style, ask=ask)


def seals(name: str = "seals", title: str = "seals", *, rank: int = 0) -> Column:
    """Seals letter by letter."""
    return Column(
        name,
        title,
        6,
        lambda rows, place: cells.seals(rows.value(name, place)),
        rank=rank,
        style=lambda rows, place: "strong" if rows.value(name, place) else "dim",
        ask=lambda rows, place: ("seals", rows.value(name, place)),
        falling=True,
    )


def size(name: str = "size", title: str = "size", *, rank: int = 0) -> Column:
    """Bytes."""
    return Column(
        name,
        title,
        5,
        lambda rows, place: cells.size(rows.value(name, place)),
        right=True,
        rank=rank,
        ask=lambda rows, place: (name, rows.value(name, place)),
        falling=True,
    )


def last(rank: int = 0) -> Column:
    """The last operation and what it was answered."""

    def shown(rows: Rows, place: int) -> str:
        op = rows.value("last_op", place)
        if op is None:
            return cells.NONE
        return f"{cells.text(op)} {cells.short_answer(rows.value('last_answer', place))}"

    def style(rows: Rows, place: int) -> str | None:
        return "strong" if (rows.value("last_answer", place) or 0) < 0 else None

    def ask(rows: Rows, place: int) -> tuple[str, Any] | None:
        op = rows.value("last_op", place)
        return None if op is None else ("op", op)

    def keys(rows: Rows) -> Array:
        return rank_of(rows.columns["last_op"])

    return Column("last_op", "last", 16, shown, keys, rank=rank, most=21, style=style, ask=ask)


def ago(rank: int = 0) -> Column:
    """How long since the last decision."""
    return _since("last_ns", "ago", rank)


def age(rank: int = 0) -> Column:
    """How long ago the thing was first seen."""
    return _since("first_ns", "age", rank)


def _since(name: str, title: str, rank: int) -> Column:
    def keys(rows: Rows) -> Array:
        return -rank_of(rows.columns[name])

    def shown(rows: Rows, place: int) -> str:
        when = rows.value(name, place)
        if when is None or rows.now_ns is None:
            return cells.NONE
        return cells.span(max(0, rows.now_ns - when))

    return Column(name, title, 5, shown, keys, right=True, rank=rank)


def who(rank: int = 0) -> Column:
    """Command and process."""
    return plain("comm", "command", 7, 20, rank=rank, ask="comm")


def pid(title: str = "pid", name: str = "pid") -> Column:
    """Process id."""
    return plain(name, title, 7, right=True, ask=name)


def fd(width: int, rank: int = 0) -> Column:
    """File descriptor."""

    def shown(rows: Rows, place: int) -> str:
        number = rows.value("fd", place)
        return cells.NONE if number is None or number < 0 else str(number)

    return Column(
        "fd",
        "fd",
        width,
        shown,
        right=True,
        rank=rank,
        ask=lambda rows, place: ("fd", rows.value("fd", place)),
    )


_MARKS = {
    int(Flag.RACED_SEALS): "raced",
    int(Flag.RACED_SIZE): "raced-size",
    int(Flag.ENTRY_MISSING): "no-entry",
    int(Flag.RETURN_MISSING): "no-return",
    int(Flag.KERNEL_TASK): "kernel",
}


def _time(rows: Rows, place: int) -> str:
    start = rows.start_ns or 0
    return f"{(rows.value('time_ns', place) - start) / 1e9:.6f}"


def _asked(rows: Rows, place: int) -> str:
    return cells.asked(lambda name: rows.value(name, place), rows.bit5)


def _answer(rows: Rows, place: int) -> str:
    op, value, flags = (rows.value(name, place) for name in ("op", "answer", "flags"))
    shown = cells.answer(op, value, flags)
    # Where a mapping lies says little in a log; the event's own screen has it.
    return "= ok" if shown.startswith("= 0x") else shown


def _answer_style(rows: Rows, place: int) -> str | None:
    return "strong" if -MAX_ERRNO <= (rows.value("answer", place) or 0) < 0 else None


def _ask_answer(rows: Rows, place: int) -> tuple[str, Any]:
    value = rows.value("answer", place)
    return "ret", value if -MAX_ERRNO <= value < 0 else "ok"


def _why(rows: Rows, place: int) -> str:
    because = cells.because(lambda name: rows.value(name, place))
    parts = [rows.value("hole", place), because]
    flags = rows.value("flags", place) or 0
    parts += [word for bit, word in _MARKS.items() if flags & bit]
    return "; ".join(cells.text(part) for part in parts if part)


def _expected(rows: Rows, place: int) -> str:
    return cells.text(rows.value("expected", place) or " ")


def _by_op(rows: Rows) -> Array:
    return rank_of(rows.columns["op"])


def decisions(with_file: bool = True) -> Sequence[Column]:
    """Columns of events; without the file's name where all are of one file."""
    named = [file(14, 32, "file", "verdict")] if with_file else []
    return (
        mark("verdict"),
        Column("time_ns", "time s", 10, _time, right=True, rank=2),
        who(),
        plain("pid", "pid", 6, right=True, rank=4, ask="pid"),
        Column("op", "op", 10, lambda rows, place: cells.text(rows.value("op", place)), _by_op,
               ask=lambda rows, place: ("op", rows.value("op", place))),
        *named,
        seals(),
        Column("arg", "asked", 12, _asked, most=34, rank=1),
        fd(3, rank=6),
        Column("answer", "answer", 8, _answer, most=12, style=_answer_style, ask=_ask_answer),
        Column("expected", "expected", 8, _expected, rank=7, most=9,
               ask=lambda rows, place: ("expected", rows.value("expected", place))),
        Column("reason", "why", 12, _why, rank=3, most=60,
               ask=lambda rows, place: ("reason", rows.value("reason", place))),
        Column("duration_ns", "took", 6, lambda r, p: cells.span(r.value("duration_ns", p) or None),
               right=True, rank=8, falling=True),
    )  # fmt: skip


EVENTS = decisions()
OF_OBJECT = decisions(with_file=False)


def _hook_style(rows: Rows, place: int) -> str | None:
    state = rows.value("state", place)
    return {"LIVE": "allowed", "ABSENT": "dim", "WAITS": "dim"}.get(state, "breach")


def _test_style(rows: Rows, place: int) -> str | None:
    seen, _, expected = str(rows.value("self_test", place) or "").partition("/")
    return None if seen == expected else "breach"


HOOKS: Sequence[Column] = (
    Column("state", "state", 6, lambda r, p: cells.text(r.value("state", p)), style=_hook_style),
    plain("family", "family", 13, 18),
    plain("symbol", "kernel function", 18, 30),
    plain("method", "method", 7, rank=2),
    Column("self_test", "self-test", 9, lambda r, p: cells.text(r.value("self_test", p)),
           style=_test_style, rank=1),
    number("decided", "decided", 8, rank=3),
    plain("note", "what it sees, or why not", 16, 90, rank=0),
)  # fmt: skip

_KIND = max(len(kind.name) for kind in (Kind.MEMFD, Kind.HUGETLB, Kind.TMPFS))


def _kind(rank: int) -> Column:
    return plain("kind", "kind", _KIND, 11, rank=rank, ask="kind")


def _counts() -> list[Column]:
    """Counts by verdict, the worst first; some only where there are any."""
    return [
        number("breach", "breach", 6, style="breach", ask="breach"),
        number(
            "unexplained",
            "unexpl",
            6,
            rank=1,
            style="unexplained",
            ask="unexplained",
            only=Verdict.UNEXPLAINED,
        ),
        number(
            "indeterminate",
            "indet",
            5,
            rank=7,
            style="indeterminate",
            ask="indeterminate",
            only=Verdict.INDETERMINATE,
        ),
        number("blocked", "blocked", 7, style="blocked", ask="blocked"),
        number("error", "error", 6, rank=14, style="error", ask="error"),
        number("decisions", "decided", 7, rank=2, most=9),
    ]


OBJECTS: Sequence[Column] = (
    mark("worst"),
    _kind(10),
    file(20, 44),
    seals(),
    size(rank=4),
    plain("owner_uid", "owner", 5, rank=12, right=True),
    number("processes", "proc", 4, rank=8),
    number("fds", "fds", 4, rank=11),
    number("mappings", "maps", 4, rank=5),
    *_counts(),
    last(3),
    ago(6),
    age(13),
)

FDS: Sequence[Column] = (
    mark("worst"),
    who(),
    pid(),
    fd(4),
    _kind(11),
    file(22, 44),
    seals(rank=4),
    *_counts(),
    last(3),
    ago(5),
    age(12),
)

PROCESSES: Sequence[Column] = (
    mark("worst"),
    who(),
    pid(),
    plain("uid", "uid", 5, rank=8, right=True, ask="uid"),
    number("objects", "objects", 7, rank=6),
    number("fds", "fds", 4, rank=7),
    *_counts(),
    last(2),
    ago(4),
    age(12),
)


def _access(rows: Rows, place: int) -> str:
    return {1: "r-", 2: "-w", 3: "rw"}.get(rows.value("fmode", place) or 0, "??")


def _can_write(rows: Rows, place: int) -> str | None:
    return "strong" if (rows.value("fmode", place) or 0) & 2 else "dim"


def _writes(rows: Rows, place: int) -> str:
    return "WRITABLE" if rows.value("writable", place) else "read"


HOLDERS: Sequence[Column] = (
    mark("worst"),
    who(),
    pid(),
    plain("uid", "uid", 5, rank=3, right=True),
    fd(4),
    Column("fmode", "opened", 6, _access, style=_can_write),
    number("decisions", "decided", 7, rank=1),
    number("blocked", "blocked", 7, rank=4, style="blocked"),
    ago(2),
)
MAPPERS: Sequence[Column] = (
    who(),
    pid(),
    Column("shared", "kind", 7, lambda r, p: "shared" if r.value("shared", p) else "private"),
    Column("writable", "access", 8, _writes,
           style=lambda r, p: "unexplained" if r.value("writable", p) else "dim"),
    plain("perms", "perms", 5, rank=4),
    Column("offset", "offset", 8, lambda r, p: cells.size(r.value("offset", p)), right=True,
           rank=3),
    Column("length", "length", 6, lambda r, p: cells.size(r.value("length", p)), right=True),
    Column("address", "address", 14, lambda r, p: f"{r.value('address', p) or 0:x}", right=True,
           rank=5),
    age(2),
)  # fmt: skip


def _state(rows: Rows, place: int) -> str:
    return cells.text(rows.value("state", place)).upper()


def _style(rows: Rows, place: int) -> str | None:
    verdict = verdict_of(rows, place, "worst")
    return None if verdict is None else verdict.word


def _audit_time(rows: Rows, place: int) -> str:
    when = rows.value("time_ns", place)
    return cells.NONE if when is None else cells.clock((when - (rows.start_ns or 0)) / 1e9)


AUDIT: Sequence[Column] = (
    mark("worst"),
    Column("state", "result", 14, _state, style=_style),
    plain("claim", "claim", 12, 20),
    file(16, 28, "object"),
    seals(rank=3),
    number("breach", "broken", 6, style="breach"),
    Column("time_ns", "time s", 9, _audit_time, right=True, rank=4),
    plain("evidence", "evidence", 16, 200, rank=1),
)

COLUMNS: Mapping[str, Sequence[Column]] = {
    "objects": OBJECTS,
    "fds": FDS,
    "processes": PROCESSES,
    "events": EVENTS,
    "hooks": HOOKS,
    "audit": AUDIT,
}
"""By the tab's name (tracer.live.snapshot.TABLES)."""
