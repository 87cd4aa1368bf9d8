"""The report: recordings read once, and what every form of it (text, JSON, CSV, HTML) shows."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import pandas as pd

from tracer.analysis import copies
from tracer.analysis.batches import Source
from tracer.analysis.decisions import Decisions, Keep, Window, read
from tracer.analysis.executed import executed
from tracer.analysis.origins import Found, Origins, Way, recorded
from tracer.analysis.timeline import holders
from tracer.analysis.totals import Tables
from tracer.filter.mask import PLACES, TASKS
from tracer.filter.query import Query
from tracer.labels import counted
from tracer.output import coverage as coverages
from tracer.output import summary as summaries
from tracer.output.coverage import Coverage
from tracer.output.summary import Breach, Summary
from tracer.output.tables import LISTED, WORST_FIRST
from tracer.recording import several
from tracer.recording.format import EVENTS
from tracer.recording.reader import Recording
from tracer.recording.several import Unread
from tracer.stacks.names import Names
from tracer.stacks.shown import LEFT_OUT
from tracer.walltime import ALWAYS, Period, WallClock

TABLES = ("object", "fd", "process", "op", "rule")
"""What ``--by`` may ask for."""
COLUMNS = frozenset(
    {
        *EVENTS.names,
        "name",
        "expected",
        "reason",
        "rule",
        "verdict",
        "hole",
        "severity",
        *PLACES,
        *TASKS,
    }
)
"""What a filter can ask for."""

Step = Callable[[str, int], None]
"""Called with a recording's path and how many of its events have been read."""
Tell = Callable[[str], None]
"""Called with sentences for stderr."""

_PICTURES = 8
"""Virtual machines whose memory is drawn."""
_OBJECT = ["boot_id", "dev", "ino", "gen"]
_NOTHING = pd.DataFrame()
_BEFORE = np.iinfo(np.int64).min


@dataclass(frozen=True)
class Question:
    """What the report is limited to, in the words of the command line; None: everything."""

    filter: str | None = None
    since: str | None = None
    until: str | None = None

    def __str__(self) -> str:
        limits = {"filter": self.filter, "since": self.since, "until": self.until}
        return ", ".join(f"{name} {value}" for name, value in limits.items() if value)


@dataclass(frozen=True)
class Request:
    """Which decisions the report is about."""

    query: Query = field(default_factory=Query)
    period: Period = ALWAYS

    @property
    def question(self) -> Question:
        limits = self.period.since, self.period.until
        since, until = (one.text if one else None for one in limits)
        return Question(str(self.query) or None, since, until)

    @property
    def keep(self) -> Keep | None:
        """The filter as the driver takes it."""
        return self.query.mask if self.query else None


class Listing(NamedTuple):
    """Decisions of one verdict, one by one."""

    verdict: str
    heading: str
    """``BLOCKED: 40 decisions, 3 different``."""
    rows: pd.DataFrame
    """Of :attr:`Report.listed`."""
    more: str
    """Of how many decisions there is no row, as a sentence; mostly empty."""


@dataclass(frozen=True)
class Report:
    """Everything that a form of the report needs; tables are worst first."""

    question: Question
    coverage: tuple[Coverage, ...]
    verdicts: Mapping[str, int]
    """Decisions by verdict, all six."""
    listed: pd.DataFrame
    """The decisions of tables.LISTED verdicts, equal ones as one row with ``count``."""
    tables: Mapping[str, pd.DataFrame]
    """Those of :data:`TABLES` that were wanted."""
    over_time: pd.DataFrame
    """Columns host, boot_id, time_ns (start of a step), step_ns, and one a verdict."""
    late: pd.DataFrame
    """Seals that came after the file was shared or mapped writable."""
    busy: pd.DataFrame
    """F_ADD_SEALS that failed EBUSY, with who held writable mappings."""
    executed: pd.DataFrame = field(default_factory=pd.DataFrame)
    """Programs run from memory files, those first that could still be changed (see there)."""
    machines: pd.DataFrame = field(default_factory=pd.DataFrame)
    """Virtual machines with private memory (`tracer.analysis.copies`); none where the report is
    limited to some decisions."""
    pictures: tuple[copies.Picture, ...] = ()
    """Of the memory of some of them over time."""
    seals: pd.DataFrame = field(default_factory=pd.DataFrame)
    """Each file's creation and each change of its seals, file by file."""
    unlisted: Mapping[str, int] = field(default_factory=dict)
    """By verdict: decisions that are counted, and for which ``listed`` had no room."""
    left_out: int = 0
    """Memory files that can never be sealed, of which only the creation was recorded."""
    unannounced: int = 0
    """Decisions on files whose announcement never came: of these little is known."""
    clocks: Mapping[str, WallClock] = field(default_factory=dict)
    """By boot id: which time it was."""
    breaches: tuple[Breach, ...] = ()
    """The breaches by cause."""
    origins: pd.DataFrame = field(default_factory=pd.DataFrame)
    """Decisions by the function that they come from, as far as stacks were recorded."""
    unread: tuple[Unread, ...] = ()
    """Recordings that were named, and are in none of the numbers."""
    ways: tuple[Way, ...] = ()
    """Each way that decisions came."""

    @property
    def summary(self) -> Summary:
        """What it comes to."""
        return summaries.of_report(
            self.breaches, self.verdicts, self.coverage, str(self.question), len(self.busy),
            self.left_out, len(self.unread),
        )  # fmt: skip

    @property
    def decisions(self) -> int:
        """Decisions in the report."""
        return sum(self.verdicts.values())

    @property
    def several(self) -> bool:
        """Whether a column must say which host a row is of."""
        return len({one.host for one in self.coverage}) > 1

    @property
    def refused_from(self) -> pd.DataFrame:
        """:attr:`origins` of what was not simply allowed."""
        if self.origins.empty:
            return self.origins
        return self.origins[self.origins["verdict"] != "allowed"]

    def notes(self) -> Iterator[str]:
        """What the numbers of verdicts do not tell."""
        if self.left_out:
            files = "memory file" if self.left_out == 1 else "memory files"
            yield (
                f"{self.left_out:,} {files} can never be sealed (made without MFD_ALLOW_SEALING, "
                "or sealed SEAL alone): calls from then on were not recorded; record with "
                "--unsealable for those"
            )
        if self.unannounced:
            yield (
                f"{self.unannounced:,} decisions are on files whose name, owner and largest folio "
                "are not known"
            )

    def listings(self) -> Iterator[Listing]:
        """The decisions that were not simply allowed, one by one, the worst first.

        Breaches by known holes of their kernel stand apart from new ones.
        """
        for verdict in LISTED:
            found = self.listed[self.listed["verdict"] == verdict]
            count, missing = self.verdicts.get(verdict, 0), self.unlisted.get(verdict, 0)
            if not count:
                continue
            more = (
                f"{missing:,} more decisions are counted, but not kept one by one"
                if missing
                else ""
            )
            if verdict != "breach":
                yield Listing(verdict, _heading(verdict.upper(), count, found), found, more)
                continue
            old = found["hole"].notna()
            parts = [("NEW BREACH", ~old), ("BREACH BY KNOWN HOLES", old)]
            there = [(word, found[rows]) for word, rows in parts if rows.any()]
            for place, (word, some) in enumerate(there):
                of_them = int(some["count"].sum())
                last = more if place == len(there) - 1 else ""
                yield Listing(verdict, _heading(word, of_them, some), some, last)


def _heading(word: str, count: int, found: pd.DataFrame) -> str:
    """``BLOCKED: 40 decisions, 3 different``."""
    different = f", {len(found):,} different" if 1 < len(found) < count else ""
    return f"{word}: {counted(count, 'decision')}{different}"


class Reader:
    """One recording of several, and the part of it that the report is about."""

    def __init__(self, recording: Recording, host: str, request: Request, tell: Tell) -> None:
        self.recording = recording
        self.source = replace(Source.of(recording), host=host)
        self._query = request.query
        self._last_ns: int | None = None
        self.clock, last_ns = recording.clock(), recording.last_ns
        self.window = Window(*request.period.limits(recording.path, self.clock, last_ns, tell))

    def read(self, into: Decisions, step: Step, columns: Sequence[str] = ()) -> None:
        """Gives the driver everything. ``columns``: what its observers need beside the usual."""

        def stepped(count: int, last_ns: int) -> None:
            step(self.recording.path, count)
            self.was_read(last_ns)

        wanted = {*columns, *self._query.columns()}
        read(
            self.recording,
            into,
            source=self.source,
            window=self.window,
            columns=wanted,
            step=stepped,
        )

    def was_read(self, last_ns: int | None) -> None:
        """Somebody else read a part of it, of which ``last_ns`` is the latest time."""
        if last_ns is not None:
            self._last_ns = max(last_ns, self._last_ns or 0)

    def coverage(self, decisions: int) -> Coverage:
        """What it could see and lost; to be called when it has been read."""
        source = self.source
        found = coverages.coverage(self.recording, source.host, source.boot_id, self._last_ns)
        return replace(found, decisions=decisions)


def readers_of(recordings: Sequence[Recording], request: Request, tell: Tell) -> list[Reader]:
    """Each of them with its part of the request. UserError."""
    hosts = coverages.labels([recording.manifest for recording in recordings])
    return [
        Reader(recording, host, request, tell)
        for recording, host in zip(recordings, hosts, strict=True)
    ]


def _clocks(readers: Sequence[Reader]) -> dict[str, WallClock]:
    """Of each boot, by all recordings of it."""
    found: dict[str, WallClock] = {}
    for reader in readers:
        clock = found.setdefault(reader.source.boot_id, WallClock())
        clock.extend(reader.clock.anchors)
    return found


def ordered(verdicts: Mapping[str, int]) -> dict[str, int]:
    """All six verdicts, the worst first."""
    return {word: int(verdicts.get(word, 0)) for word in WORST_FIRST}


def build(
    paths: Sequence[str],
    request: Request,
    step: Step,
    tell: Tell,
    wanted: Sequence[str] = TABLES,
    names: Names | None = None,
    jobs: int = 1,
) -> Report:
    """The report of the recordings ``paths``.

    :param step: see :data:`Step`.
    :param tell: see :data:`Tell`.
    :param wanted: the tables to make, for some are long; with all of them comes ``Report.seals``.
    :param names: looks up where decisions come from; None: that is not wanted.
    :param jobs: processes that read and judge.
    :raises StoreError: none can be read, or one only until its middle.
    :raises UserError: the request's times cannot be found in one; a process was killed.
    """
    with ExitStack() as stack:
        recordings, unread = several.opened(paths, stack)
        readers = readers_of(recordings, request, tell)
        decisions = Decisions(keep=request.keep)
        stacks = Origins()
        called = names is not None and any(recorded(reader.recording) for reader in readers)
        columns = ["user_stack"] if called else []
        if jobs > 1:
            stacks = _by_processes(jobs, readers, decisions, step, request, columns)
        else:
            if called:
                decisions.observe(stacks)
            for reader in readers:
                reader.read(decisions, step, columns)
        tables = decisions.tables()
        sums = dict(zip(tables.recordings["path"], tables.recordings["decisions"], strict=True))
        # Reads once more, if there is any, and may find more problems.
        busy = holders([reader.recording for reader in readers], tables)
        read_ = [(reader.recording, reader.source) for reader in readers]
        ran = executed(read_, tables)
        whole = request.question == Question()
        machines, pictures = copies.machines(read_, _PICTURES) if whole else (_NOTHING, [])
        found = [reader.coverage(int(sums.get(reader.source.path, 0))) for reader in readers]
        by_name: dict[str, pd.DataFrame] = {name: getattr(tables, f"by_{name}") for name in wanted}
        if any(source.stacks.left_out for source in stacks.counts):
            tell(LEFT_OUT)
        came = Found(stacks.counts, names) if names is not None and called else None
        late, seals = tables.late_seals, tables.seals if wanted == TABLES else _NOTHING
        if not whole:
            late, busy, seals, ran = (
                _narrowed(one, tables, readers) for one in (late, busy, seals, ran)
            )
            if "object" in by_name:  # files without such a decision are no answer to a question
                objects = by_name["object"]
                by_name["object"] = objects[objects["decisions"] > 0]
        return Report(
            question=request.question,
            coverage=tuple(found),
            unread=unread,
            verdicts=ordered(tables.verdicts),
            listed=tables.listed,
            tables=by_name,
            over_time=tables.over_time(),
            late=late,
            busy=busy,
            executed=ran,
            machines=machines,
            pictures=tuple(pictures),
            seals=seals,
            unlisted=tables.unlisted,
            left_out=tables.left_out,
            unannounced=tables.unannounced,
            clocks=_clocks(readers),
            origins=_NOTHING if came is None else came.frame(),
            ways=() if came is None else tuple(came.ways()),
            breaches=summaries.breaches(tables.by_rule, found) if tables.verdicts["breach"] else (),
        )


def _by_processes(
    jobs: int,
    readers: Sequence[Reader],
    into: Decisions,
    step: Step,
    request: Request,
    columns: Sequence[str],
) -> Origins:
    """Has ``jobs`` processes read and judge, and gives where decisions come from, if asked for."""
    from tracer.analysis import parts

    by_path = {reader.recording.path: reader for reader in readers}
    wanted = (*columns, *request.query.columns())

    def counted(path: str, count: int, last_ns: int | None) -> None:
        step(path, count)
        by_path[path].was_read(last_ns)

    asked = [
        (one.recording, one.source, parts.Asked(one.window, request.keep, wanted, bool(columns)))
        for one in readers
    ]
    with parts.processes(jobs, [parts.__name__]) as executor:
        ahead = max(parts.AHEAD, 2 * jobs)
        sources, origins = parts.count_all(executor, asked, into, counted, ahead)
    for reader, source in zip(readers, sources, strict=True):
        reader.source = source
    return origins


def _narrowed(frame: pd.DataFrame, tables: Tables, readers: Sequence[Reader]) -> pd.DataFrame:
    """The rows about files that have decisions, since the start of the window of their boot."""
    if frame.empty:
        return frame
    windows: dict[str, int] = {}
    for reader in readers:
        start = _BEFORE if reader.window.since_ns is None else reader.window.since_ns
        windows[reader.source.boot_id] = min(start, windows.get(reader.source.boot_id, start))
    objects = tables.by_object
    keys = objects.loc[objects["decisions"] > 0, _OBJECT].astype({"boot_id": object})
    boots = frame["boot_id"].astype(object)
    about = frame.assign(boot_id=boots).merge(keys, on=_OBJECT, how="left", indicator=True)
    in_time = (frame["time_ns"] >= boots.map(windows)).to_numpy()
    return frame[(about["_merge"] == "both").to_numpy() & in_time]
