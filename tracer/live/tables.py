"""The tables on the screen: their columns, what a cell says, and how many columns fit."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tracer import labels
from tracer.filter.mask import Coded, Numbers
from tracer.labels import MAX_ERRNO
from tracer.live import cells, wording
from tracer.live.cells import SYMBOLS, VIOLATIONS
from tracer.live.snapshot import Column as Values
from tracer.live.snapshot import Row, Rows, Taken
from tracer.live.worst import PREFIX
from tracer.rules.verdicts import Verdict
from tracer.walltime import time_of_day
from tracer.words import Kind

_ROOMY = 150
"""Cells from which on columns stand further apart."""
_MATTERS = 3
"""Columns with no higher rank are there wherever they have room."""
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
    wish: int = 0
    """Cells it has before columns with a rank get any."""
    show: Callable[[Any], str] = cells.text
    """The text of a value."""
    text_of: Callable[[Row], str] | None = None
    """The text of a row, where that takes more than the value of column ``name``."""
    forms: Callable[[Row], Sequence[str]] | None = None
    """The same in several lengths, the longest first."""
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
    varies: bool = False
    """It is there only while its rows differ."""
    sparse: bool = False
    """It is there only while some row has a value."""
    beside: str = ""
    """It is there only while some row has a value that is not the one in this column."""
    default: bool = False
    """What rows are sorted by where nothing else was chosen, the worst first."""

    def text(self, row: Row, width: int | None = None) -> str:
        """What the cell says, where there are forms in ``width`` cells (None: the whole)."""
        if self.forms is not None:
            forms = self.forms(row)
            return wording.fitting(forms, len(forms[0]) if width is None else width)
        return self.show(row(self.name)) if self.text_of is None else self.text_of(row)

    def is_dull(self, rows: Rows) -> bool:
        """Whether it says nothing, or the same in each of several rows."""
        column = rows.columns.get(self.name)
        if isinstance(column, Taken):
            column = column.whole()
        if self.beside:
            return not _differ(column, rows.columns.get(self.beside), rows.order)
        if self.sparse:
            return not _has_text(column, rows.order)
        if not self.varies or column is None or len(rows) < 2:
            return False
        if isinstance(column, Coded):
            column = column.codes
        elif isinstance(column, Numbers):
            column = np.where(True if column.valid is None else column.valid, column.values, 0)
        shown = np.asarray(column)[rows.order]
        return bool((shown == shown[0]).all())

    def filter_of(self, row: Row) -> Condition | None:
        """The filter that shows rows with the same cell; None: there is none."""
        if isinstance(self.ask, str):
            return (self.ask, row(self.name)) if self.ask else None
        return self.ask(row)

    def sort_keys(self, rows: Rows) -> Array:
        """What rows are sorted by: numbers, or ranks of texts."""
        return rank_of(rows.columns[self.name]) if self.keys is None else self.keys(rows)


def _has_text(column: Values | None, places: Array) -> bool:
    """Whether a column of texts has one at some of these places."""
    if isinstance(column, Coded):
        codes = np.unique(np.asarray(column.codes)[places]).tolist()
        return any(code >= 0 and column.words[code] for code in codes)
    return column is not None and any(np.asarray(column)[places].tolist())


def _differ(column: Values | None, other: Values | None, places: Array) -> bool:
    """Whether a column of numbers has one at some of these places that another has not."""
    if column is None or other is None:
        return False
    mine, others = np.asarray(column)[places], np.asarray(other)[places]
    return bool(((mine != 0) & (mine != others)).any())


def rank_of(column: Values) -> Array:
    """Numbers that sort as ``column`` does."""
    if isinstance(column, Taken):
        column = column.whole()
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


def fit(columns: Sequence[Column], room: int, sort: str | None = None) -> list[Placed]:
    """The columns that fit into ``room`` cells; those that may grow share what is left.

    Column ``sort`` has room for an arrow beside its title.
    """
    shown = list(columns)
    gap = 2 if room >= _ROOMY else 1
    arrow = {sort: 2}
    widths = {
        one.name: max(one.width, len(one.title) + arrow.get(one.name, 0)) if one.title else 2
        for one in columns
    }

    def need(wished: bool) -> int:
        cells = (max(widths[one.name], one.wish * wished) for one in shown)
        return sum(cells) + gap * (len(shown) - 1)

    while len(shown) > 1:
        worst = max(shown, key=lambda column: column.rank)
        # What others wish for matters more than what matters little.
        if worst.rank == 0 or need(worst.rank > _MATTERS) <= room:
            break
        shown.remove(worst)
    spare = max(0, room - need(False))
    while spare > 0:
        # What some columns wish for comes before others grow.
        wishing = [one for one in shown if widths[one.name] < one.wish]
        hungry = wishing or [one for one in shown if widths[one.name] < one.most]
        if not hungry:
            break
        missing = sum(one.wish - widths[one.name] for one in wishing)
        share, spare_then = max(1, spare // len(hungry)), spare
        for column in hungry:
            limit = column.wish if wishing else column.most
            if wishing:
                share = max(1, spare_then * (limit - widths[column.name]) // missing)
            more = min(share, limit - widths[column.name], spare)
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
           verdict: Verdict | None = None, rare: bool = False,
           varies: bool = False) -> Column:  # fmt: skip
    """A count; of decisions with ``verdict``, whose colour it has; ``rare``: only if any."""
    word = None if verdict is None else verdict.word
    return Column(
        name,
        title,
        width,
        most,
        show=lambda value: cells.count(value, max(width, 7)),
        right=True,
        rank=rank,
        style=lambda row: word if row(name) else "dim",
        ask=lambda row: ("verdict", word) if word else None,
        falling=True,
        only=verdict if rare else None,
        varies=varies,
    )


def _total(rank: int) -> Column:
    return _count("decisions", "decided", 7, rank=rank, most=9)


def _file(width: int, most: int, title: str = "name", verdict: str = "worst",
          wish: int = 0) -> Column:  # fmt: skip
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

    return Column("name", title, width, most, wish, text_of=text, style=style, ask=ask)


def _seals(rank: int = 0) -> Column:
    return Column("seals", "seals", 6, show=cells.seals, rank=rank, ask="seals", falling=True,
                  style=lambda row: "strong" if row("seals") else "dim")  # fmt: skip


def _bytes(name: str, title: str, width: int, rank: int = 0) -> Column:
    return Column(name, title, width, show=labels.size, right=True, rank=rank)


# The worst decision of a row (tracer.live.worst)


def worst_of(row: Row) -> wording.Get:
    """The columns of a row's worst decision, as an event has them."""

    def get(name: str) -> Any:
        if name == "verdict":
            return row("worst")
        own = row.rows.table != "processes" and name in ("kind", "name", "dev", "ino", "gen")
        return row(name if own else f"{PREFIX}{name}")

    return get


def _forms(row: Row) -> Sequence[str]:
    """What the worst decision came to; where all were allowed, what the last one was."""
    found = wording.forms(worst_of(row), row.rows.bit5)
    if found:
        return found
    verdict = verdict_of(row, "worst")
    if verdict is None:
        return ("nothing requested",)
    if verdict is not Verdict.ALLOWED:
        return (f"{verdict.word}: see its decisions", verdict.word)
    return (f"{cells.text(row('last_op'))} {cells.short_answer(row('last_answer'))}",)


def _decision() -> Column:
    def ask(row: Row) -> Condition | None:
        op = row(f"{PREFIX}op") or row("last_op")
        return None if op is None else ("op", op)

    def style(row: Row) -> str | None:
        verdict = verdict_of(row, "worst")
        if verdict is None or verdict <= Verdict.ERROR:
            return "dim"
        return "known" if row(f"{PREFIX}hole") else verdict.word

    return Column(f"{PREFIX}op", "worst decision", 27, 90, 54, forms=_forms, style=style, ask=ask,
                  default=True)  # fmt: skip


def _of_worst(row: Row) -> int:
    verdict = verdict_of(row, "worst")
    return int(row(verdict.word) or 0) if verdict is not None else 0


def _worst_file(row: Row) -> str:
    return cells.name_of(*(row(f"{PREFIX}{name}") for name in ("kind", "name", "dev", "ino")))


def _worst_count() -> Column:
    """How many decisions are as bad as the worst."""

    def keys(rows: Rows) -> Array:
        worst = np.asarray(rows.columns["worst"]).clip(0)
        counts = np.stack([np.asarray(rows.columns[one.word]) for one in Verdict], axis=1)
        return np.asarray(np.take_along_axis(counts, worst[:, None].astype(np.intp), 1)[:, 0])

    def ask(row: Row) -> Condition | None:
        word = word_of(row, "worst")
        return None if word is None else ("verdict", word)

    return Column(f"{PREFIX}count", "count", 5, 7, right=True, falling=True, keys=keys, ask=ask,
                  text_of=lambda row: cells.count(_of_worst(row), 7),
                  style=lambda row: word_of(row, "worst") or "dim")  # fmt: skip


def _who() -> Column:
    """Who asked for it, and how many others had to do with the file."""

    def text(row: Row) -> str:
        pid, others = row(f"{PREFIX}pid"), (row("processes") or 1) - 1
        if pid is None:
            return cells.NONE
        more = f" +{others}" if others > 0 else ""
        return cells.who(row(f"{PREFIX}comm"), pid) + more

    def ask(row: Row) -> Condition | None:
        pid = row(f"{PREFIX}pid")
        return None if pid is None else ("pid", pid)

    return Column(f"{PREFIX}comm", "who", 9, 24, 13, text_of=text, ask=ask)


def _where(name: str, rank: int) -> Column:
    """The unit, container or virtual machine of who that was."""
    return Column(name, "where", 8, 30, 18, rank=rank, sparse=True, style=lambda row: "dim")


def moment(rows: Rows, time_ns: int | None, digits: int = 3) -> str:
    """The time of day; where no clock tells, seconds since the start."""
    if time_ns is None:
        return cells.NONE
    wall_ns = rows.wall(time_ns)
    if wall_ns is None:
        return f"{max(0, time_ns - (rows.start_ns or 0)) / 1e9:.{digits}f}s"
    return time_of_day(wall_ns, digits)


def _when(name: str, rank: int = 0, title: str = "when", digits: Sequence[int] = (3, 0)) -> Column:
    """When that was (:func:`moment`), with as many digits as have room."""

    def forms(row: Row) -> Sequence[str]:
        return [moment(row.rows, row(name), places) for places in digits]

    least = 8 if digits[-1] == 0 else 9 + digits[-1]
    return Column(name, title, least, 9 + digits[0], forms=forms, right=True, rank=rank,
                  falling=True)  # fmt: skip


def _number(name: str, width: int, title: str = "", rank: int = 0, ask: str = "",
            varies: bool = False) -> Column:  # fmt: skip
    """Digits only: ids are no quantities."""
    return Column(name, title or name, width, right=True, rank=rank, ask=ask, varies=varies)


def _fd(width: int, rank: int = 0) -> Column:
    def text(number: int | None) -> str:
        return cells.NONE if number is None or number < 0 else str(number)

    return Column("fd", "fd", width, show=text, right=True, rank=rank, ask="fd")


def _kind(rank: int) -> Column:
    least = max(len(kind.name) for kind in (Kind.MEMFD, Kind.HUGETLB, Kind.TMPFS))
    return Column("kind", "kind", least, 11, rank=rank, ask="kind", varies=True)


_COMMAND = Column("comm", "command", 7, 20, ask="comm")
_PID = _number("pid", 7, ask="pid")


def _own_pid(rank: int) -> Column:
    """As its own pid namespace counts: of a container's processes it is another one."""

    def text(row: Row) -> str:
        own = row("ns_pid")
        return str(own) if own and own != row("pid") else ""

    return Column("ns_pid", "inside", 6, text_of=text, right=True, rank=rank, beside="pid")


# Events


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
        _when("time_ns", rank=2, title="time", digits=(6, 3)),
        _COMMAND,
        _number("pid", 6, rank=5, ask="pid"),
        _own_pid(9),
        _where("place", 3),
        Column("op", "op", 10, ask="op"),
        *named,
        _seals(),
        Column("arg", "requested", 12, 40, 18, rank=1,
               text_of=lambda row: cells.requested(row, row.rows.bit5)),
        _fd(3, rank=6),
        Column("answer", "answer", 8, 12, text_of=_answer,
               style=lambda row: "strong" if _failed(row) else None,
               ask=lambda row: ("ret", row("answer") if _failed(row) else "ok")),
        Column("expected", "expected", 8, 9, rank=7, show=lambda value: cells.text(value or " "),
               ask="expected"),
        Column("reason", "why", 12, 60, text_of=_why, rank=4, ask="reason"),
        Column("duration_ns", "took", 6, show=lambda ns: labels.span(ns or None, cells.NONE),
               right=True, rank=8, falling=True),
    )  # fmt: skip


EVENTS = decisions()
OF_OBJECT = decisions(with_file=False)

# Sums of decisions

_ANSWERED_LAST = f"{PREFIX}last_ns"
OBJECTS: Sequence[Column] = (
    _mark("worst"),
    _file(14, 36, wish=22),
    _seals(),
    _who(),
    _where(f"{PREFIX}place", 3),
    _decision(),
    _worst_count(),
    _when(_ANSWERED_LAST),
    _total(5),
    _count("blocked", "blocked", 7, rank=9, verdict=Verdict.BLOCKED, rare=True),
    _count("error", "error", 6, rank=14, verdict=Verdict.ERROR, rare=True),
    Column("size", "size", 5, show=labels.size, right=True, rank=4, ask="size", falling=True),
    _count("mappings", "maps", 4, rank=6, varies=True),
    _kind(8),
    _count("fds", "fds", 4, rank=11, varies=True),
    _number("owner_uid", 5, "owner", rank=10, varies=True),
)
FDS: Sequence[Column] = (
    _mark("worst"),
    _COMMAND,
    _PID,
    _own_pid(6),
    _where("place", 3),
    _fd(4),
    _file(16, 36),
    _seals(rank=4),
    _decision(),
    _worst_count(),
    _when(_ANSWERED_LAST, rank=2),
    _total(5),
    _kind(8),
)
PROCESSES: Sequence[Column] = (
    _mark("worst"),
    _COMMAND,
    _PID,
    _own_pid(5),
    _where("place", 2),
    Column(f"{PREFIX}name", "file", 10, 36, text_of=_worst_file, rank=3),
    _decision(),
    _worst_count(),
    _when(_ANSWERED_LAST, rank=2),
    _total(5),
    _count("objects", "objects", 7, rank=6),
    _count("fds", "fds", 4, rank=7),
    _number("uid", 5, rank=8, ask="uid", varies=True),
)

# Who holds and who maps one object

_ACCESS = {1: "r-", 2: "-w", 3: "rw"}
HOLDERS: Sequence[Column] = (
    _mark("worst"),
    _COMMAND,
    _PID,
    _own_pid(5),
    _number("uid", 5, rank=3, varies=True),
    _where("place", 3),
    _fd(4),
    Column("fmode", "opened", 6, show=lambda mode: _ACCESS.get(mode or 0, "??"),
           style=lambda row: "strong" if (row("fmode") or 0) & 2 else "dim"),
    _count("decisions", "decided", 7, rank=1),
    _count("blocked", "blocked", 7, rank=4, verdict=Verdict.BLOCKED),
    _when("last_ns", 2),
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
    _when("first_ns", 2, "since"),
)  # fmt: skip

# Virtual machines


def _hex(name: str, title: str, width: int, rank: int = 0) -> Column:
    return Column(name, title, width, show=lambda value: f"{value or 0:x}", right=True, rank=rank)


def _copies(row: Row) -> str:
    return labels.twice(int(row("both") or 0), row("both_at_most"))


MACHINES: Sequence[Column] = (
    _number("vm", 3),
    _COMMAND,
    _PID,
    Column("type", "type", 10, 20, show=lambda value: labels.machine_type(value), rank=4),
    *(_bytes(name, name, 7) for name in ("memory", "private", "shared")),
    _bytes("unknown", "unknown", 7, rank=2),
    _count("conversions", "converted", 9, rank=1),
    _count("refused", "refused", 7, rank=3),
    Column("both_at_most", "in both copies", 14, 20, text_of=_copies, rank=5),
    _when("gone_ns", 6, "gone"),
)
MEMSLOTS: Sequence[Column] = (
    _number("slot", 4, rank=5),
    _hex("start", "guest-physical", 14),
    _bytes("length", "size", 5),
    _bytes("private", "private", 7),
    _file(10, 40, "backed by"),
    Column("shared_in", "shared in", 9, 40, rank=1),
    _when("first_ns", 3, "since"),
    _when("until_ns", 4, "until"),
)
BACKERS: Sequence[Column] = (_file(10, 40, "what"), *MAPPERS, _when("until_ns", 3, "until"))

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
    Column("note", "sees, or why not", 16, 90),
)


AUDIT: Sequence[Column] = (
    _mark("worst"),
    Column("state", "result", 14, show=lambda value: cells.text(value).upper(),
           style=lambda row: word_of(row, "worst")),
    Column("claim", "claim", 12, 20),
    _file(16, 28, "object"),
    _seals(rank=3),
    _count("breach", "broken", 6, verdict=Verdict.BREACH),
    _when("time_ns", 4),
    Column("evidence", "evidence", 16, 200, 40, rank=1),
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
