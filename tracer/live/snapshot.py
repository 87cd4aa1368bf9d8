"""What passes between screen and reader: a request, and a snapshot of all rows, counts and facts.

Nothing here changes once it is published, so the screen's thread draws it without a lock.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tracer.filter.mask import Coded, Numbers
from tracer.filter.query import Query
from tracer.recording.manifest import Manifest
from tracer.rules.verdicts import Verdict
from tracer.words import UNKNOWN, Bit5, HookState

if TYPE_CHECKING:
    from tracer.analysis.strip import Strip
    from tracer.audit.result import RecordingAudit


class Taken(NamedTuple):
    """A column whose values are looked up in another one when they are wanted."""

    column: npt.NDArray[Any] | Coded
    at: npt.NDArray[np.int64]
    """The place of each row's value there; negative: null."""

    def value(self, place: int) -> Any:
        """The value of one row."""
        at = int(self.at[place])
        if at < 0:
            return None
        if isinstance(self.column, Coded):
            code = int(self.column.codes[at])
            return None if code < 0 else self.column.words[code]
        return self.column[at].item()

    def whole(self) -> Coded | Numbers:
        """All of it."""
        valid = self.at >= 0
        if isinstance(self.column, Coded):
            codes = np.full(len(self.at), -1)
            codes[valid] = self.column.codes[self.at[valid]]
            return Coded(codes, self.column.words)
        values = np.zeros(len(self.at), self.column.dtype)
        values[valid] = self.column[self.at[valid]]
        return Numbers(values, valid)


Column = npt.NDArray[Any] | Coded | Numbers | Taken
Wall = Callable[[int | None], int | None]
"""Real time, ns since 1970, at a moment of the boot clock; None: not known."""


def no_clock(_: int | None) -> int | None:
    """Nobody knows the real time."""
    return None


@dataclass(frozen=True, eq=False)
class Rows:
    """A table as it is to be shown: all columns, and the rows that are shown in their order."""

    table: str
    columns: Mapping[str, Column]
    ids: npt.NDArray[np.int64]
    """What stays with a row from one snapshot to the next."""
    order: npt.NDArray[np.intp]
    """Places of the rows that pass the filter, as they are sorted."""
    total: int
    """Rows there are without the filter."""
    start_ns: int | None = None
    now_ns: int | None = None
    before: bool = False
    """There are more rows before the first one, which can be requested."""
    after: bool = False
    """There are more rows behind the last one."""
    busy: float | None = None
    """The filter has seen so much of the recording, 0 to 1; None: all."""
    problem: str = ""
    """Why the filter could not be applied."""
    bit5: Bit5 = UNKNOWN
    """What the recorded kernel calls seal 0x20."""
    wall: Wall = no_clock

    def __len__(self) -> int:
        return len(self.order)

    def value(self, name: str, place: int) -> Any:
        """One cell as a Python value; None: no such column, or null."""
        column = self.columns.get(name)
        if column is None:
            return None
        if isinstance(column, Taken):
            return column.value(place)
        if isinstance(column, Coded):
            code = int(column.codes[place])
            return None if code < 0 else column.words[code]
        if isinstance(column, Numbers):
            known = column.valid is None or column.valid[place]
            return column.values[place].item() if known else None
        found = column[place]
        return found.item() if isinstance(found, np.generic) else found

    def record(self, place: int) -> dict[str, Any]:
        return {name: self.value(name, place) for name in self.columns}

    def row(self, place: int) -> "Row":
        """One row, for columns that need more than one value of it."""
        return Row(self, place)

    def find(self, row_id: int) -> int:
        """Where in the order the row with this id stands, -1: it is not shown."""
        found = np.flatnonzero(self.ids[self.order] == row_id)
        return int(found[0]) if len(found) else -1


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a table: ``row("op")`` is its value in a column, None where it has none."""

    rows: Rows
    place: int

    def __call__(self, name: str) -> Any:
        return self.rows.value(name, self.place)


def no_rows(table: str) -> Rows:
    return Rows(table, {}, np.empty(0, np.int64), np.empty(0, np.intp), 0)


def of_columns(table: str, columns: Mapping[str, Column]) -> Rows:
    """A table of events, all of which are shown."""
    ids = np.asarray(columns["row"], np.int64)
    return Rows(table, columns, ids, np.arange(len(ids)), len(ids))


def of_records(
    table: str, records: Sequence[Mapping[str, Any]], ids: Sequence[int], now_ns: int | None
) -> Rows:
    """A small table from plain values."""
    columns: dict[str, Column] = {}
    for name in records[0] if records else ():
        column = np.empty(len(records), object)
        column[:] = [record[name] for record in records]
        columns[name] = column
    count = len(records)
    return Rows(table, columns, np.array(ids, np.int64), np.arange(count), count, None, now_ns)


Key = tuple[int, int, int]
"""dev, ino, gen of an object."""

TABLES = ("objects", "fds", "processes", "events", "hooks", "audit")
"""The tabs, in their order; the last one is there only with a policy."""


@dataclass(frozen=True)
class Window:
    """Which events are wanted: those around one row, or the first, or (both None) the newest."""

    around: int | None = None
    first: bool = False


@dataclass(frozen=True)
class Find:
    """A search for the next event with one of ``verdicts``, from row ``start`` on."""

    number: int
    """Counts searches, so that its answer is not taken for an older one's."""
    verdicts: tuple[int, ...]
    start: int
    forward: bool = True


@dataclass(frozen=True)
class Request:
    """Everything that decides what rows a snapshot has. The newest replaces all before it."""

    table: str = "objects"
    query: Query = field(default_factory=Query)
    sort: str | None = None
    """Column to sort by; None: worst first, events as they came."""
    reverse: bool = False
    frozen: bool = False
    """Rows stay as they are; counts go on."""
    window: Window = Window()
    object: Key | None = None
    """The object whose details are wanted."""
    brief: bool = False
    """Not all of them: what stands beside a table."""
    object_window: Window = Window()
    sample: int = 0
    """``user_stack`` of the event whose callers are wanted; 0: of none."""
    find: Find | None = None
    guests: bool = False
    """Virtual machines and what of their memory is private are wanted."""


HISTORY = 60
"""Bars of a history."""


class State(Enum):
    """What goes on with the recording; the value is the word of the header."""

    OPENING = "opening"
    READING = "reading"
    LIVE = "live"
    ENDED = "ended"
    GONE = "recorder gone"
    BROKEN = "unreadable"
    PLAYING = "replay"
    HELD = "replay held"


@dataclass(frozen=True)
class Now:
    """Where the recording stands."""

    state: State = State.OPENING
    events: int = 0
    rate: float = 0.0
    """Events per second, over the last seconds."""
    lost: int = 0
    bytes: int = 0
    start_ns: int | None = None
    """Boot clock when the recorder started."""
    now_ns: int | None = None
    """Boot clock of the newest thing known."""
    wall_ns: int | None = None
    """Real time of ``now_ns`` on the traced host, ns since 1970."""
    progress: float | None = None
    """Share of the recording that was read, while it is read for the first time."""
    speed: float | None = None
    """Of a replay; infinity: as fast as possible."""
    share: float | None = None
    """How far a replay has come, 0 to 1."""
    message: str = ""
    """What the user has to know about the recording's state, one sentence."""

    def is_ahead(self, time_ns: int | None) -> bool:
        """Whether a replay has not come so far yet."""
        if self.share is None or self.now_ns is None or time_ns is None:
            return False
        return time_ns > self.now_ns

    @property
    def seconds(self) -> float:
        """Since the recorder started; 0 where that is unknown."""
        if self.start_ns is None or self.now_ns is None:
            return 0.0
        return max(0.0, (self.now_ns - self.start_ns) / 1e9)


@dataclass(frozen=True, eq=False)
class Verdicts:
    """Decisions by verdict; the arrays' first axis is the Verdict's number."""

    counts: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(Verdict), np.int64))
    history: npt.NDArray[np.int64] = field(
        default_factory=lambda: np.zeros((len(Verdict), HISTORY), np.int64)
    )
    """A column for each of equal steps of time, the newest last."""
    first_ns: int | None = None
    """Boot clock where the history starts."""
    last_ns: int | None = None
    """Where it ends."""
    in_holes: int = 0
    """Breaches by known holes of the kernel."""

    @property
    def total(self) -> int:
        return int(self.counts.sum())

    def of(self, verdict: Verdict) -> int:
        """How many decisions had ``verdict``."""
        return int(self.counts[verdict])

    @property
    def new(self) -> int:
        """Breaches that no known hole explains."""
        return self.of(Verdict.BREACH) - self.in_holes


@dataclass(frozen=True)
class Alert:
    """Something that must be seen: a breach, or what an audit found."""

    number: int
    """Counts all alerts of a session from 1."""
    verdict: str
    text: str
    event: Mapping[str, Any]
    """The event behind it, by column; empty where there is none."""

    @property
    def time_ns(self) -> int | None:
        """When that was, boot clock."""
        found = self.event.get("time_ns")
        return found if isinstance(found, int) else None

    @property
    def known(self) -> bool:
        """It is a known hole of this kernel, and no news."""
        return bool(self.event.get("hole"))


@dataclass(frozen=True, eq=False)
class Coverage:
    """What can be seen and what was lost."""

    hooks: Rows = field(default_factory=lambda: no_rows("hooks"))
    """One family each, those that see nothing first."""
    live: int | None = None
    """Families that report; None: that is not known yet."""
    blind: Sequence[str] = ()
    """Families that should report and do not."""
    losses: Mapping[str, int] = field(default_factory=dict)
    """Events lost, or without their context, by cause."""
    blind_spots: Sequence[str] = ()
    variants: Mapping[str, str] = field(default_factory=dict)
    problems: Sequence[str] = ()


@dataclass(frozen=True, eq=False)
class Detail:
    """All about one object."""

    object: Mapping[str, Any]
    seals: Sequence[Mapping[str, Any]]
    """Its add_seals calls, oldest first: time_ns, pid, comm, added, before, after, answer, errno,
    verdict, late."""
    matrix: Mapping[tuple[str, str], Sequence[int]]
    """(reason, op) → count of each verdict."""
    holders: Rows
    mappers: Rows
    decisions: Rows
    timeline: Sequence[Mapping[str, Any]] = ()
    """The newest events that were not simply allowed, and how it was made and sealed."""
    whole: bool = True
    """Its whole past was looked at, not the newest events alone."""
    busy: float | None = None


@dataclass(frozen=True, eq=False)
class Guest:
    """All about one virtual machine."""

    strip: "Strip | None"
    """Its memory over time; None: it had none."""
    slots: Rows
    mappers: Rows
    files: frozenset[tuple[int, int]]
    """dev and ino of what backs its memory."""


@dataclass(frozen=True, eq=False)
class Guests:
    """The virtual machines of a recording."""

    rows: Rows = field(default_factory=lambda: no_rows("machines"))
    """One each; its number is its id."""
    guests: Mapping[int, Guest] = field(default_factory=dict)
    """Of the first ones of these, by number."""
    made: bool = False
    """The recording was read for them."""
    problem: str = ""
    """Why it could not be."""


@dataclass(frozen=True, eq=False)
class Audited:
    """What an audit of the recording says."""

    policy: str
    result: str = ""
    """``fail``, ``indeterminate``, ``pass``, ``not-applicable``; empty: none was made yet."""
    rows: Rows = field(default_factory=lambda: no_rows("audit"))
    """A claim about one object each, the worst first."""
    found: "RecordingAudit | None" = None
    problem: str = ""
    """Why there is no audit."""

    def until(self, now: "Now") -> "Audited":
        """What a replay knows: rows whose violation is still to come are left out.

        The result of all is known at the end; a claim that is broken already is so for ever.
        """
        times = self.rows.columns.get("time_ns")
        if not isinstance(times, np.ndarray):
            return replace(self, result="")
        seen = [place for place, when in enumerate(times.tolist()) if not now.is_ahead(when)]
        order = self.rows.order[np.isin(self.rows.order, seen)]
        rows = replace(self.rows, order=order, total=len(order))
        found = replace(self, rows=rows, result="")
        return replace(found, result="fail") if found.broken else found

    @property
    def broken(self) -> int:
        """Claims about an object that do not hold."""
        column = self.rows.columns.get("state")
        shown = column[self.rows.order] if isinstance(column, np.ndarray) else ()
        return sum(one == "fail" for one in shown)


@dataclass(frozen=True, eq=False)
class Snapshot:
    """Everything a screen shows."""

    request: Request = field(default_factory=Request)
    """What was requested when it was made."""
    path: str = ""
    manifest: Manifest = field(default_factory=Manifest)
    now: Now = field(default_factory=Now)
    verdicts: Verdicts = field(default_factory=Verdicts)
    rows: Rows = field(default_factory=lambda: no_rows("objects"))
    totals: Mapping[str, int] = field(default_factory=dict)
    """Rows of each table."""
    coverage: Coverage = field(default_factory=Coverage)
    alerts: Sequence[Alert] = ()
    """The newest alerts, oldest first."""
    detail: Detail | None = None
    audited: Audited | None = None
    """None: there is no policy."""
    guests: Guests | None = None
    """None: nobody wants to see them."""
    callers: tuple[int, Sequence[str]] = (0, ())
    """Who called: of which ``user_stack``, and a line a function; empty: not known."""
    found: tuple[int, int | None] = (0, None)
    """Number of the search that was answered last, and the row that it found."""
    wall: Wall = no_clock

    @property
    def hooks_live(self) -> int:
        """Hooks that report; those of a module that was loaded meanwhile too."""
        live = self.coverage.live
        hooks = self.manifest.hooks
        return sum(hook.state() == HookState.LIVE for hook in hooks) if live is None else live


INTERVAL_S = 0.22
"""Between two snapshots."""
OnAlert = Callable[[Sequence[Alert]], None]
"""Is given new alerts, oldest first, in the reader's thread."""
