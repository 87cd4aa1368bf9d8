"""The tables on the screen: their columns, what a cell says, and how many columns fit."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tracer import labels
from tracer.filter.mask import Coded, Numbers
from tracer.labels import MAX_ERRNO
from tracer.live import cells
from tracer.live.cells import SYMBOLS, VIOLATIONS
from tracer.live.snapshot import Row, Rows
from tracer.rules.verdicts import Verdict
from tracer.words import Kind

_ROOMY = 150
"""Cells from which on columns stand further apart."""
Array = npt.NDArray[Any]
Condition = tuple[str | None, Any]
"""Key and value of a filter."""


@dataclass(frozen=True)
class Column:
    """One column: its title, the text of a cell, and what the rows are sorted by."""

    name: str
    title: str
    width: int
    """Cells it has at least."""
    most: int = 0
    """Cells it may grow to."""
    show: Callable[[Any], str] = cells.text
    """The text of a value."""
    text_of: Callable[[Row], str] | None = None
    """The text of a row, where that takes more than the value of column ``name``."""
    right: bool = False
    rank: int = 0
    """Where room is short, the highest rank goes first; 0 stays."""
    style: Callable[[Row], str | None] | None = None
    """Name of a style for the cell: a verdict's word, ``dim``, ``strong``; None: plain."""
    ask: str | Callable[[Row], Condition | None] = ""
    """The filter that shows rows with the same cell: its key for the value, or key and value."""
    keys: Callable[[Rows], Array] | None = None
    """One sort key a row; None: the column ``name`` itself."""
    falling: bool = False
    """The first sort by it is from the highest to the lowest."""
    only: int | None = None
    """It is there only while there is a decision with this verdict."""

    def text(self, row: Row) -> str:
        """What the cell says."""
        return self.show(row(self.name)) if self.text_of is None else self.text_of(row)

    def filter_of(self, row: Row) -> Condition | None:
        """The filter that shows rows with the same cell; None: there is none."""
        if isinstance(self.ask, str):
            return (self.ask, row(self.name)) if self.ask else None
        return self.ask(row)

    def sort_keys(self, rows: Rows) -> Array:
        """What rows are sorted by: numbers, or ranks of texts."""
        return rank_of(rows.columns[self.name]) if self.keys is None else self.keys(rows)


def rank_of(column: Array | Coded | Numbers) -> Array:
    """Numbers that sort as ``column`` does."""
    if isinstance(column, Coded):
        texts = [word or "" for word in column.words]  # one may be there twice: files of one name
        place = {text: at for at, text in enumerate(sorted(set(texts)))}
        ranks = np.array([*(place[text] for text in texts), len(texts) + 1], np.int64)
        return np.asarray(ranks[column.codes])
    if isinstance(column, Numbers):
        return np.asarray(column.values)
    if column.dtype != object:
        return column
    values = column.tolist()
    if all(value is None or isinstance(value, int) for value in values):
        return np.array([-1 if value is None else value for value in values], np.float64)
    texts = ["" if value is None else str(value) for value in values]
    return np.asarray(np.unique(texts, return_inverse=True)[1])


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
    placed: list[Placed] = []
    start = 0
    for column in shown:
        placed.append(Placed(column, start, widths[column.name], gap))
        start += widths[column.name] + gap
    return placed


# What several tables have


def verdict_of(row: Row, name: str) -> Verdict | None:
    value = row(name)
    return Verdict(value) if value is not None and 0 <= value < len(Verdict) else None


def word_of(row: Row, name: str) -> str | None:
    """Its word, which is the name of its colour, too."""
    verdict = verdict_of(row, name)
    return None if verdict is None else verdict.word


def _mark(name: str) -> Column:
    """The symbol of a verdict, one cell."""

    def symbol(row: Row) -> str:
        verdict = verdict_of(row, name)
        return " " if verdict is None else SYMBOLS[verdict]

    def ask(row: Row) -> Condition | None:
        word = word_of(row, name)
        return None if word is None else ("verdict", word)

    return Column(name, "", 2, text_of=symbol, style=lambda row: word_of(row, name), ask=ask,
                  right=True, falling=True)  # fmt: skip


def _count(name: str, title: str, width: int, *, rank: int = 0, most: int = 0,
           verdict: Verdict | None = None, rare: bool = False) -> Column:  # fmt: skip
    """A count; of decisions with ``verdict``, whose colour it has; ``rare``: only if any."""
    word = None if verdict is None else verdict.word
    return Column(
        name,
        title,
        width,
        most,
        lambda value: cells.count(value, max(width, 7)),
        right=True,
        rank=rank,
        style=lambda row: word if row(name) else "dim",
        ask=lambda row: ("verdict", word) if word else None,
        falling=True,
        only=verdict if rare else None,
    )


def _counts() -> list[Column]:
    """Counts by verdict, the worst first; some only where there are any."""
    return [
        _count("breach", "breach", 6, verdict=Verdict.BREACH),
        _count("unexplained", "unexpl", 6, rank=1, verdict=Verdict.UNEXPLAINED, rare=True),
        _count("indeterminate", "indet", 5, rank=7, verdict=Verdict.INDETERMINATE, rare=True),
        _count("blocked", "blocked", 7, verdict=Verdict.BLOCKED),
        _count("error", "error", 6, rank=14, verdict=Verdict.ERROR),
        _count("decisions", "decided", 7, rank=2, most=9),
    ]


def _file(width: int, most: int, title: str = "name", verdict: str = "worst") -> Column:
    """The name of a row's object; it has the colour of a violation in column ``verdict``."""

    def ask(row: Row) -> Condition:
        name = row("name")
        if name is not None:
            return "name", name
        return "object", ":".join(str(row(part)) for part in ("dev", "ino", "gen"))

    def style(row: Row) -> str | None:
        found = verdict_of(row, verdict)
        return found.word if found in VIOLATIONS else None

    def text(row: Row) -> str:
        return cells.name_of(row("kind"), row("name"), row("dev"), row("ino"))

    return Column("name", title, width, most, text_of=text, style=style, ask=ask)


def _seals(rank: int = 0) -> Column:
    return Column("seals", "seals", 6, show=cells.seals, rank=rank, ask="seals", falling=True,
                  style=lambda row: "strong" if row("seals") else "dim")  # fmt: skip


def _bytes(name: str, title: str, width: int, rank: int = 0) -> Column:
    return Column(name, title, width, show=labels.size, right=True, rank=rank)


def _last(rank: int) -> Column:
    """The last operation and what it was answered."""

    def text(row: Row) -> str:
        op = row("last_op")
        return cells.NONE if op is None else f"{cells.text(op)} {cells.short_answer(row(_ANSWER))}"

    return Column(
        "last_op",
        "last",
        16,
        21,
        text_of=text,
        rank=rank,
        style=lambda row: "strong" if (row(_ANSWER) or 0) < 0 else None,
        ask=lambda row: None if row("last_op") is None else ("op", row("last_op")),
    )


_ANSWER = "last_answer"


def _since(name: str, title: str, rank: int) -> Column:
    """How long ago that was."""

    def text(row: Row) -> str:
        when, now = row(name), row.rows.now_ns
        return cells.NONE if when is None or now is None else labels.span(max(0, now - when))

    return Column(name, title, 5, text_of=text, keys=lambda rows: -rank_of(rows.columns[name]),
                  right=True, rank=rank)  # fmt: skip


def _number(name: str, width: int, title: str = "", rank: int = 0, ask: str = "") -> Column:
    """Digits only: ids are no quantities."""
    return Column(name, title or name, width, right=True, rank=rank, ask=ask)


def _fd(width: int, rank: int = 0) -> Column:
    def text(number: int | None) -> str:
        return cells.NONE if number is None or number < 0 else str(number)

    return Column("fd", "fd", width, show=text, right=True, rank=rank, ask="fd")


def _kind(rank: int) -> Column:
    least = max(len(kind.name) for kind in (Kind.MEMFD, Kind.HUGETLB, Kind.TMPFS))
    return Column("kind", "kind", least, 11, rank=rank, ask="kind")


_COMMAND = Column("comm", "command", 7, 20, ask="comm")
_PID = _number("pid", 7, ask="pid")

# Events


def _time(row: Row) -> str:
    return f"{(row('time_ns') - (row.rows.start_ns or 0)) / 1e9:.6f}"


def _failed(row: Row) -> bool:
    return -MAX_ERRNO <= (row("answer") or 0) < 0


def _answer(row: Row) -> str:
    shown = labels.answer(row("op"), row("answer"), row("flags") or 0)
    # Where a mapping lies says little in a log; the event's own screen has it.
    return "= ok" if shown.startswith("= 0x") else shown


def _why(row: Row) -> str:
    parts = (row("hole"), cells.because(row), *labels.marks(row("flags") or 0))
    return "; ".join(cells.text(part) for part in parts if part)


def decisions(with_file: bool = True) -> Sequence[Column]:
    """Columns of events; without the file's name where all are of one file."""
    named = [_file(14, 32, "file", "verdict")] if with_file else []
    return (
        _mark("verdict"),
        Column("time_ns", "time s", 10, text_of=_time, right=True, rank=2),
        _COMMAND,
        _number("pid", 6, rank=4, ask="pid"),
        Column("op", "op", 10, ask="op"),
        *named,
        _seals(),
        Column("arg", "requested", 12, 34, rank=1,
               text_of=lambda row: cells.requested(row, row.rows.bit5)),
        _fd(3, rank=6),
        Column("answer", "answer", 8, 12, text_of=_answer,
               style=lambda row: "strong" if _failed(row) else None,
               ask=lambda row: ("ret", row("answer") if _failed(row) else "ok")),
        Column("expected", "expected", 8, 9, lambda value: cells.text(value or " "), rank=7,
               ask="expected"),
        Column("reason", "why", 12, 60, text_of=_why, rank=3, ask="reason"),
        Column("duration_ns", "took", 6, show=lambda ns: labels.span(ns or None, cells.NONE),
               right=True, rank=8, falling=True),
    )  # fmt: skip


EVENTS = decisions()
OF_OBJECT = decisions(with_file=False)

# Sums of decisions

OBJECTS: Sequence[Column] = (
    _mark("worst"),
    _kind(10),
    _file(20, 44),
    _seals(),
    Column("size", "size", 5, show=labels.size, right=True, rank=4, ask="size", falling=True),
    _number("owner_uid", 5, "owner", rank=12),
    _count("processes", "proc", 4, rank=8),
    _count("fds", "fds", 4, rank=11),
    _count("mappings", "maps", 4, rank=5),
    *_counts(),
    _last(3),
    _since("last_ns", "ago", 6),
    _since("first_ns", "age", 13),
)
FDS: Sequence[Column] = (
    _mark("worst"),
    _COMMAND,
    _PID,
    _fd(4),
    _kind(11),
    _file(22, 44),
    _seals(rank=4),
    *_counts(),
    _last(3),
    _since("last_ns", "ago", 5),
    _since("first_ns", "age", 12),
)
PROCESSES: Sequence[Column] = (
    _mark("worst"),
    _COMMAND,
    _PID,
    _number("uid", 5, rank=8, ask="uid"),
    _count("objects", "objects", 7, rank=6),
    _count("fds", "fds", 4, rank=7),
    *_counts(),
    _last(2),
    _since("last_ns", "ago", 4),
    _since("first_ns", "age", 12),
)

# Who holds and who maps one object

_ACCESS = {1: "r-", 2: "-w", 3: "rw"}
HOLDERS: Sequence[Column] = (
    _mark("worst"),
    _COMMAND,
    _PID,
    _number("uid", 5, rank=3),
    _fd(4),
    Column("fmode", "opened", 6, show=lambda mode: _ACCESS.get(mode or 0, "??"),
           style=lambda row: "strong" if (row("fmode") or 0) & 2 else "dim"),
    _count("decisions", "decided", 7, rank=1),
    _count("blocked", "blocked", 7, rank=4, verdict=Verdict.BLOCKED),
    _since("last_ns", "ago", 2),
)  # fmt: skip
MAPPERS: Sequence[Column] = (
    _COMMAND,
    _PID,
    Column("shared", "kind", 7, show=lambda shared: "shared" if shared else "private"),
    Column("writable", "access", 8, show=lambda writable: "WRITABLE" if writable else "read",
           style=lambda row: "unexplained" if row("writable") else "dim"),
    Column("perms", "perms", 5, rank=4),
    _bytes("offset", "offset", 8, rank=3),
    _bytes("length", "length", 6),
    Column("address", "address", 14, show=lambda value: f"{value or 0:x}", right=True, rank=5),
    _since("first_ns", "age", 2),
)  # fmt: skip

# Hooks and the audit


def _tested(row: Row) -> str | None:
    seen, _, expected = str(row("self_test") or "").partition("/")
    return None if seen == expected else "breach"


_HOOK_STYLES = {"LIVE": "allowed", "ABSENT": "dim", "WAITS": "dim"}
HOOKS: Sequence[Column] = (
    Column("state", "state", 6, style=lambda row: _HOOK_STYLES.get(row("state"), "breach")),
    Column("family", "family", 13, 18),
    Column("symbol", "kernel function", 18, 30),
    Column("method", "method", 7, rank=2),
    Column("self_test", "self-test", 9, style=_tested, rank=1),
    _count("decided", "decided", 8, rank=3),
    Column("note", "what it sees, or why not", 16, 90),
)


def _audit_time(row: Row) -> str:
    when = row("time_ns")
    return cells.NONE if when is None else cells.clock((when - (row.rows.start_ns or 0)) / 1e9)


AUDIT: Sequence[Column] = (
    _mark("worst"),
    Column("state", "result", 14, show=lambda value: cells.text(value).upper(),
           style=lambda row: word_of(row, "worst")),
    Column("claim", "claim", 12, 20),
    _file(16, 28, "object"),
    _seals(rank=3),
    _count("breach", "broken", 6, verdict=Verdict.BREACH),
    Column("time_ns", "time s", 9, text_of=_audit_time, right=True, rank=4),
    Column("evidence", "evidence", 16, 200, rank=1),
)  # fmt: skip

COLUMNS: Mapping[str, Sequence[Column]] = {
    "objects": OBJECTS,
    "fds": FDS,
    "processes": PROCESSES,
    "events": EVENTS,
    "hooks": HOOKS,
    "audit": AUDIT,
}
"""By the tab's name (tracer.live.snapshot.TABLES)."""
