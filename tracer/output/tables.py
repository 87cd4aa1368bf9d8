"""Tables for people: how values read, which columns each table has, and how wide they are.

One description of each table serves text and HTML. Text of traced programs is made harmless.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from tracer import labels
from tracer.escape import cells as width_of
from tracer.escape import clip, pad, printable
from tracer.labels import describe, seals_text, size, span, twice
from tracer.output.coverage import Coverage
from tracer.output.names import MOST_ROWS, braces, folded, shortened
from tracer.rules.verdicts import Verdict
from tracer.walltime import WallClock, date_and_time
from tracer.words import DOUBTS, UNKNOWN, Bit5, names, ops

if TYPE_CHECKING:
    import pandas as pd

WORST_FIRST = tuple(verdict.word for verdict in sorted(Verdict, reverse=True))
"""``breach`` first, ``allowed`` last: the order of everything that lists verdicts."""
LISTED = ("breach", "unexplained", "indeterminate", "blocked", "error")
"""Verdicts whose decisions are listed one by one (equal ones together)."""
ALARMS = ("breach", "unexplained")
"""Verdicts of which one is enough to look at."""
LEGEND = (
    "seals: S seal, s shrink, g grow, w write, f future write, X exec or inaccessible; "
    "?????? unreadable"
)

Row = Mapping[str, Any]
"""One row of a table: Python values, None where the table has none."""

_ADDRESS_OPS = ops(gives_address=True)


def rows(frame: "pd.DataFrame", top: int | None = None) -> list[dict[str, Any]]:
    """The first ``top`` rows (all where None) as plain values; nulls of every sort become None.

    Integers that pandas made floats because of a null beside them are integers again.
    """
    part = frame if top is None else frame.head(top)
    names = [str(name) for name in part]
    columns = [
        [None if null else _whole(value) for value, null in zip(values, nulls, strict=True)]
        for values, nulls in (
            (part[name].astype(object).tolist(), part[name].isna().tolist()) for name in part
        )
    ]
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def plain(value: object) -> str:
    """A number with thousands separated, text printable, nothing as ``-``."""
    if value is None:
        return "-"
    if isinstance(value, bool | str):
        return printable(str(value))
    return f"{value:,}" if isinstance(value, int) else printable(str(value))


def object_text(kind: str, name: str | None, dev: int, ino: int, vm: int = 0) -> str:
    """``memfd:frame``; ``memfd:0:1/42`` (device, inode) where it has no name.

    ``vm:1`` where it is about a virtual machine (``vm``) and no file.
    """
    if vm and not ino:
        return f"vm:{vm}"
    shown = f"{dev >> 20}:{dev & 0xFFFFF}/{ino}" if name is None else name
    if kind == "unknown" and shown.startswith("memfd:"):
        kind = "memfd"  # that a refused memfd_create would have made
    if kind in ("memfd", "hugetlb"):
        shown = shown.removeprefix("memfd:")  # the kernel's prefix, not the maker's
    return f"{kind}:{shown}"


def number(value: object) -> str:
    """Digits only: process ids are no quantities."""
    return "-" if value is None else str(value)


def file(row: Row) -> str:
    """``memfd:name`` of the row's object, ``memfd:0:1/42`` (device, inode) where it has no name.

    Of a row of several files all of them, in little room.
    """
    if row.get("files"):
        return braces(row["files"])
    dev, ino, name = row.get("dev"), row.get("ino"), row.get("name")
    if row.get("op") == "convert" and not ino:
        return f"vm:{row['vm']}" if row.get("vm") else "guest memory"
    if name is None and (dev is None or ino is None):
        return "-"
    kind, vm = str(row.get("kind") or "?"), row.get("vm") or 0
    return printable(object_text(kind, name, dev or 0, ino or 0, vm))


def who(row: Row) -> str:
    """``comm/pid``; ``comm/pid[7]`` where its own pid namespace calls it 7."""
    pid, own = row.get("pid"), row.get("ns_pid")
    inner = f"[{own}]" if pid is not None and own and own != pid else ""
    return f"{printable(str(row.get('comm') or '?'))}/{'?' if pid is None else pid}{inner}"


def seals(value: object) -> str:
    """One letter place a seal; ``??????`` where they are unknown."""
    return "??????" if value is None else seals_text(int(str(value)))


def answer(op: str, value: object, flags: int = 0) -> str:
    """What the kernel returned: ``EPERM``, ``ok``, a count, ``?`` where that was not seen."""
    text = labels.answer(op, None if value is None else int(str(value)), flags)
    if text == "= 0" or (text.startswith("= 0x") and op in _ADDRESS_OPS):
        return "ok"
    return text.removeprefix("= ")


def request(row: Row) -> str:
    """What a decision's call requested, and through which descriptor."""
    op, kind = str(row.get("op")), str(row.get("kind"))
    arg, offset, length, old = (
        int(row.get(name) or 0) for name in ("arg", "offset", "length", "size")
    )
    text = describe(op, kind, arg, offset, length, old, row.get("bit5", UNKNOWN))
    fd = row.get("fd")
    shown = [text] if text else []
    return " ".join([*shown, f"fd{fd}"] if fd is not None and fd >= 0 else shown) or "-"


def marks(row: Row) -> str:
    """Why a decision's evidence is incomplete: ``!raced``; mostly empty."""
    return " ".join(labels.marks(int(row.get("flags") or 0) & DOUBTS))


def answer_and_marks(row: Row) -> str:
    """``EPERM !raced``."""
    flags = int(row.get("flags") or 0)
    return f"{answer(str(row.get('op')), row.get('answer'), flags)} {marks(row)}".strip()


def answer_and_expected(row: Row) -> str:
    """``EPERM`` where that is right; ``ok, not EPERM``."""
    answered = answer(str(row.get("op")), row.get("answer"), int(row.get("flags") or 0))
    expected = plain(row.get("expected"))
    text = answered if answered == expected else f"{answered}, not {expected}"
    return f"{text} {marks(row)}".strip()


def detail(row: Row) -> str:
    """What was wrong or right: ``answered ok, expected EPERM: FUTURE_WRITE, rule …``."""
    answered = answer(str(row.get("op")), row.get("answer"), int(row.get("flags") or 0))
    expected = plain(row.get("expected"))
    as_expected = "as expected" if answered == expected else f"expected {expected}"
    shown = f"answered {answered}, {as_expected}"
    shown += f": {plain(row['reason'])}" if row.get("reason") else ""
    shown += f", rule {plain(row['rule'])}" if row.get("rule") else ""
    shown += f", KNOWN HOLE {plain(row['hole'])}" if row.get("hole") else ""
    return f"{shown}, {marks(row)}" if marks(row) else shown


GAP = 2
"""Cells between two columns."""
_LAST_RESORT = 8
"""Cells that any flexible column gives up to, once all others that may go are gone."""
_SHORT = {"indeterminate": "indet.", "unexplained": "unexpl."}


@dataclass(frozen=True)
class Column:
    """One column of a table."""

    title: str
    text: Callable[[Row], str]
    key: Callable[[Row], Any]
    """What rows are sorted by: a number or a text."""
    right: bool = False
    rank: int = 0
    """Where room is short, the column of the highest rank goes first; 0 stays."""
    least: int = 0
    """May be cut down to so many cells; 0: never cut."""
    cut: Callable[[str, int], str] = clip
    """How it is cut."""
    verdict: str | None = None
    """Counts of this verdict: shown only where there are any."""
    wraps: bool = False
    """May take several lines on a page."""
    sparse: str = ""
    """Shown only where this column of the frame has a value in some row."""


def value(
    name: str,
    title: str,
    text: Callable[[Any], str] = plain,
    *,
    right: bool = False,
    rank: int = 0,
) -> Column:
    """The column ``name`` of a DataFrame, each value through ``text``."""

    def shown(row: Row) -> str:
        return text(row.get(name))

    return Column(title, shown, lambda row: row.get(name), right, rank)


def derived(title: str, text: Callable[[Row], str], *, rank: int = 0, least: int = 12) -> Column:
    """A column whose text comes from several values of a row."""
    return Column(title, text, text, rank=rank, least=least, wraps=True)


def phrase(name: str, title: str, *, rank: int = 0) -> Column:
    """A text of the DataFrame that may be long; ``-`` where there is none."""
    return derived(title, lambda row: plain(row.get(name) or None), rank=rank)


def seconds(name: str, title: str, *, rank: int = 0) -> Column:
    """A boot-clock time ``name`` in seconds since ``start_ns`` of the row."""

    def shown(row: Row) -> str:
        time_ns, start_ns = row.get(name), row.get("start_ns")
        return "-" if time_ns is None or start_ns is None else f"{(time_ns - start_ns) / 1e9:.3f}"

    return Column(title, shown, lambda row: row.get(name), True, rank)


def moment(name: str) -> Column:
    """A boot-clock time ``name`` as the wall clock showed it, with the date if it is another day.

    Where the recording does not tell, seconds since its start.
    """

    def shown(row: Row) -> str:
        time_ns, start_ns, clock = row.get(name), row.get("start_ns"), row.get("clock")
        if time_ns is None:
            return "-"
        if not clock:
            return "-" if start_ns is None else f"+{(time_ns - start_ns) / 1e9:.3f}"
        day, _, there = date_and_time(clock.at(time_ns)).partition(" ")
        today = day == date_and_time(clock.at(start_ns)).partition(" ")[0]
        return there if today else f"{day} {there}"

    return Column("time", shown, lambda row: row.get(name), True, 1)


def _counts(word: str) -> Column:
    """Decisions with the verdict ``word``."""

    def shown(row: Row) -> str:
        # An empty cell: where there is a number, there was such a decision.
        return plain(row[word]) if row.get(word) else ""

    return Column(_SHORT.get(word, word), shown, lambda row: row.get(word) or 0, True, verdict=word)


def widths(columns: Sequence[Column], grid: Sequence[Sequence[str]], room: int) -> list[int | None]:
    """Cells for each column, None: it is left out. ``grid`` holds the texts, a row a line.

    ``room`` is what all columns and the gaps between them may take; flexible columns share what
    the others leave. More is taken only where columns of rank 0 alone are too wide.
    """
    want = [
        max([width_of(column.title), *(width_of(line[place]) for line in grid)])
        for place, column in enumerate(columns)
    ]
    given = {
        place: min(want[place], column.least) if column.least else want[place]
        for place, column in enumerate(columns)
    }

    def spare() -> int:
        return room - sum(given.values()) - GAP * (len(given) - 1)

    while spare() < 0:
        out = max(given, key=lambda place: columns[place].rank)
        if columns[out].rank == 0:
            break
        del given[out]
    if spare() < 0:
        for place in given:
            if columns[place].least:
                given[place] = min(given[place], _LAST_RESORT)
    left = spare()
    while left > 0:
        hungry = [place for place in given if given[place] < want[place]][:left]
        if not hungry:
            break
        for place in hungry:
            given[place] += 1
        left -= len(hungry)
    return [given.get(place) for place in range(len(columns))]


def fitted(column: Column, text: str, width: int) -> str:
    """``text`` in exactly ``width`` cells, cut and aligned as the column wants it."""
    cut = column.cut(text, width)
    return " " * (width - width_of(cut)) + cut if column.right else pad(cut, width)


TITLES = {
    "object": "Memory files",
    "fd": "File descriptors",
    "process": "Processes",
    "op": "Operations",
    "rule": "Rules and reasons",
    "origins": "Where decisions come from: the innermost function that is not the C library's",
    "executed": "Programs run from memory files, and whether they could still be changed then",
    "machines": "Virtual machines: what of their memory is private to the guest",
    "late": "Late seals: others could have written before",
    "busy": "F_ADD_SEALS that failed EBUSY, and who held writable mappings",
    "seals": "Seals over time",
}
"""Headings by table."""


def _last(row: Row) -> str:
    op = row.get("last_op")
    if op is None:
        return "-"
    return f"{plain(op)} {answer(str(op), row.get('last_answer'))}"


def _machine_type(row: Row) -> str:
    return labels.machine_type(int(row.get("type") or 0))


def _twice(row: Row) -> str:
    return twice(int(row.get("both") or 0), row.get("both_at_most"))


def _holders(row: Row) -> str:
    # Without a mapping the seal was refused for pages that somebody holds.
    if not row.get("writable"):
        return plain(row.get("holders") or "pages pinned")
    seen = "not seen: record the whole host" if row.get("narrowed") else "not seen"
    return plain(row.get("holders") or seen)


def _added(row: Row) -> str:
    return names(int(row.get("added") or 0), row.get("bit5", UNKNOWN))


def _times(count: object) -> str:
    return f"{count:,}x" if isinstance(count, int) else "?"


_FILE = replace(derived("file", file, least=26), cut=shortened, wraps=False)


def _cut_who(text: str, width: int) -> str:
    """The numbers stay, if they have room: a command's name tells less."""
    comm, slash, pid = text.rpartition("/")
    room = width - width_of(pid) - 1
    cut = slash and room > 1 and width_of(text) > width
    return f"{clip(comm, room)}/{pid}" if cut else clip(text, width)


_WHO = replace(derived("process", who), wraps=False, cut=_cut_who)
_WHERE = replace(phrase("place", "where", rank=3), least=12, sparse="place")
"""The unit, container or virtual machine that a process is of."""
_EXE = replace(phrase("exe", "executable", rank=5), least=16, sparse="exe", cut=shortened)
"""What it runs, as its own mounts call that."""
REQUEST = derived("request", request, rank=2, least=0)
"""Whole or not at all; then the sentence below an entry has it."""
_VERDICTS = tuple(map(_counts, WORST_FIRST))
_ALL = value("decisions", "all", right=True)
_LAST = derived("last", _last, rank=2, least=0)
_TIMES = value("times", "", _times, right=True)
"""How often, of a table whose rows are folded (:func:`entries`)."""
_HOST = derived("host", lambda row: plain(row.get("host")), rank=1)

COLUMNS: dict[str, tuple[Column, ...]] = {
    "listed": (
        value("count", "", _times, right=True),
        moment("first_ns"),
        _WHO,
        _WHERE,
        value("op", "op"),
        _FILE,
        value("seals", "seals", seals),
        REQUEST,
    ),
    "object": (
        _FILE,
        value("seals", "seals", seals),
        value("size", "size", size, right=True, rank=3),
        value("owner_uid", "owner", number, right=True, rank=7),
        value("processes", "procs", right=True, rank=5),
        value("fds", "fds", right=True, rank=6),
        value("mappings", "maps", right=True, rank=4),
        value("writable", "w-maps", right=True, rank=6),
        *_VERDICTS,
        _ALL,
        _LAST,
        seconds("last_ns", "last s", rank=8),
        value("age_ns", "age", span, right=True, rank=9),
    ),
    "fd": (
        _WHO,
        _WHERE,
        _EXE,
        value("fd", "fd", number, right=True),
        _FILE,
        *_VERDICTS,
        _ALL,
        _LAST,
        seconds("first_ns", "first s", rank=4),
        seconds("last_ns", "last s", rank=3),
    ),
    "process": (
        _WHO,
        _WHERE,
        _EXE,
        value("uid", "uid", number, right=True, rank=3),
        value("objects", "files", right=True, rank=4),
        value("fds", "fds", right=True, rank=5),
        *_VERDICTS,
        _ALL,
        _LAST,
        seconds("first_ns", "first s", rank=6),
        seconds("last_ns", "last s", rank=7),
    ),
    "op": (value("op", "op"), *_VERDICTS, _ALL),
    "rule": (
        value("verdict", "verdict"),
        value("op", "op"),
        value("expected", "expected"),
        phrase("reason", "reason"),
        phrase("rule", "rule", rank=2),
        phrase("hole", "hole", rank=1),
        _ALL,
    ),
    "origins": (
        value("count", "", _times, right=True),
        value("verdict", "verdict"),
        value("op", "op"),
        replace(derived("comes from", lambda row: plain(row.get("origin"))), least=26),
        phrase("rule", "rule", rank=3),
        value("comm", "command", rank=2),
        value("stacks", "stacks", right=True, rank=4),
    ),
    "executed": (
        _TIMES,
        _FILE,
        value("state", "state"),
        value("seals", "seals", seals),
        derived("by", who),
        value("how", "how", rank=2),
        seconds("time_ns", "first s", rank=1),
    ),
    "machines": (
        value("vm", "vm", number, right=True),
        derived("of", who),
        derived("type", _machine_type, rank=2),
        *(value(name, name, size, right=True) for name in ("memory", "private", "shared")),
        value("unknown", "unknown", size, right=True, rank=1),
        value("conversions", "converted", right=True),
        value("refused", "refused", right=True),
        Column("in both copies", _twice, lambda row: row.get("both_at_most") or -1),
    ),
    "late": (
        _TIMES,
        _FILE,
        moment("time_ns"),
        derived("seal", lambda row: plain(row.get("seal")), least=0),
        replace(phrase("why", "why late"), least=24),
        derived("sealed by", who, rank=2),
    ),
    "busy": (
        _TIMES,
        _FILE,
        moment("time_ns"),
        derived("requested", _added, least=0),
        derived("by", who, rank=3),
        value("writable", "writable", right=True, rank=2),
        derived("held by", _holders),
    ),
    "seals": (
        _FILE,
        moment("time_ns"),
        value("op", "op"),
        value("seals", "before", seals),
        value("seals_after", "after", seals),
        derived("by", who),
    ),
}
"""By table name."""


def present(frame: "pd.DataFrame", table: str, several: bool) -> list[Column]:
    """The columns of ``table`` that say something here: verdicts that occur, host if several, names
    if any are known."""
    shown = [
        column
        for column in COLUMNS[table]
        if (
            ((word := column.verdict) is None or (word in frame and bool((frame[word] > 0).any())))
            and (
                not column.sparse
                or (column.sparse in frame and bool(frame[column.sparse].notna().any()))
            )
        )
    ]
    return [_HOST, *shown] if several else shown


def telling(frame: "pd.DataFrame", columns: Sequence[Column]) -> list[Column]:
    """Those of ``columns`` that may go only where their rows differ: all have one owner, say."""
    few = rows(frame, _SOME)
    if len(few) < 3:
        return list(columns)
    return [one for one in columns if one.rank < 5 or len({one.key(row) for row in few}) > 1]


_SOME = 2000  # rows that are looked at


NO_CLOCKS: Mapping[str, WallClock] = {}
"""By boot id, where no recording tells which time it was."""


class Boot(NamedTuple):
    """What the rows of one boot have in common."""

    start_ns: int | None
    """Boot-clock time that seconds count from: the start of its first recording."""
    bit5: Bit5
    """What its kernel calls seal 0x20."""
    narrowed: bool
    """Not the whole host was recorded."""
    clock: WallClock | None = None
    """Which time it was, as far as is known."""


_UNKNOWN_BOOT = Boot(None, UNKNOWN, False)


def with_boot(found: Sequence[dict[str, Any]], known: Mapping[str, Boot]) -> list[dict[str, Any]]:
    """Rows with ``start_ns`` and ``bit5`` of their own boot."""
    return [row | known.get(str(row.get("boot_id")), _UNKNOWN_BOOT)._asdict() for row in found]


def _said(row: Row) -> tuple[Any, ...]:
    """What a row of :data:`_FOLDED` says, but for its file and the number of its descriptor."""
    told: tuple[Any, ...] = (row.get("seal"), row.get("why"), row.get("added"), _holders(row))
    if "verdict" in row:
        told = (row["verdict"], row.get("seals"), request({**row, "fd": None}), detail(row))
    return (row.get("boot_id"), row.get("pid"), row.get("comm"), row.get("op"), *told)


_FOLDED = ("listed", "late", "busy")
"""Tables in which rows that say the same of several files are one row."""


def entries(
    table: str, frame: "pd.DataFrame", known: Mapping[str, Boot], top: int
) -> tuple[list[dict[str, Any]], int]:
    """The first rows of ``table``, equal ones of several files as one.

    :param known: by boot id (:func:`boots`).
    :param top: so many rows.
    :return: rows as :func:`with_boot` gives them; how many there are in all.
    """
    if table not in _FOLDED:
        return with_boot(rows(frame, top), known), len(frame)
    found = folded(with_boot(rows(frame, MOST_ROWS), known), _said, file)
    return found[:top], len(found) + max(0, len(frame) - MOST_ROWS)


def boots(
    coverage: Iterable[Coverage], clocks: Mapping[str, WallClock] = NO_CLOCKS
) -> dict[str, Boot]:
    """By boot id; of several recordings of a boot, one may know what another does not."""
    found: dict[str, Boot] = {}
    for one in coverage:
        before = found.get(one.boot_id, _UNKNOWN_BOOT)
        starts = [ns for ns in (before.start_ns, one.start_ns) if ns is not None]
        found[one.boot_id] = Boot(
            min(starts, default=None),
            one.self_test.bit5 if before.bit5 == UNKNOWN else before.bit5,
            before.narrowed or bool(one.filters),
            clocks.get(one.boot_id),
        )
    return found
