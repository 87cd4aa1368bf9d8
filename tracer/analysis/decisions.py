"""The one driver: from recordings, finished or growing, to judged decisions and their sums::

    found = Decisions(keep=query.mask, observers=[look])
    read(recording, found, window=Window(since_ns, until_ns))
    found.tables().by_object

Whoever wants to know decisions is an observer: it is given each batch of those that count, judged,
exactly once. Whoever follows a recording that is being written gives its pieces as they come to
:meth:`Decisions.objects`, :meth:`Decisions.mappings` and :meth:`Decisions.add`; :func:`read` does
that with all that there is. Which pieces there are makes no difference (tracer.analysis.sums).

Objects may be announced after their events: decisions on an object whose announcement has not come
wait for it (in :meth:`Decisions.tables` they are judged as they stand, without what it would tell).
"""

import ctypes
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tracer.analysis.batches import Array, Batch, Source, Vocabulary, columns_of
from tracer.analysis.features import COLUMNS
from tracer.analysis.judge import Judge
from tracer.filter.mask import ACTOR, PLACES, TASKS, Coded, acted, placed, told
from tracer.recording.format import EVENTS, EVERY, TABLES
from tracer.rules.variants import HOLES
from tracer.stacks.recorded import TABLES as STACKS
from tracer.words import Flag, Op

if TYPE_CHECKING:
    import pandas as pd

    from tracer.analysis.objects import Table
    from tracer.analysis.parts import Counted
    from tracer.analysis.sums import Rows, Sums, Words
    from tracer.analysis.totals import Tables
    from tracer.recording.reader import Recording

T = TypeVar("T")

MANY = 6 << 16
"""Rows of a batch; smaller pieces (segments of a quiet recording) are put together up to this.

More cost memory, fewer are added up more often.
"""
ALL = tuple(EVENTS.names)
NEEDED = tuple(
    name
    for name in ALL
    if name in {*COLUMNS, "time_ns", "dev", "ino", "gen", "fd", "mm"}
    or name in {"pid", "start_ns", "exec_id", "tid", "uid", "cgroup", "comm"}
)
"""What judging and counting need."""
WAITING = 1 << 18
"""Decisions that wait for their object's announcement; of more, the oldest are judged without."""
UNKNOWN = Source()


class Window(NamedTuple):
    """A part of a recording: boot-clock times, ns; None: no limit.

    Decisions before ``since_ns`` do not count, though they tell how objects then were; of what
    happened from ``until_ns`` on nothing does.
    """

    since_ns: int | None = None
    until_ns: int | None = None


EVERYTHING = Window()

# Reading


def batches(
    recording: "Recording",
    columns: Iterable[str] | None = None,
    ops: Collection[Op] | None = None,
    *,
    source: Source | None = None,
    where: Callable[[Batch], Array] | None = None,
    rows: int = MANY,
    segments: range = EVERY,
    first: int = 0,
) -> Iterator[Batch]:
    """The events of ``recording`` as they are now, in the order of arrival, in batches.

    ``columns``: those that are needed (default: all); ``row`` comes always.
    ``ops``: only events of these; ``where``: only those for which it gives True (one bool a row).
    ``rows``: a batch of what is read has at most so many. ``segments``: of these alone, of which
    the first event has the number ``first``.
    A row keeps its number, whatever is left out. Raises StoreError; what cannot be read is
    skipped and told in ``recording.problems``.
    """
    names = ALL if columns is None else [name for name in ALL if name in set(columns)]
    wanted = [*dict.fromkeys([*names, *(["op"] if ops is not None else [])])]
    source = source or Source.of(recording)
    tables = recording.tables("events", wanted, segments)
    found = ahead(_pieces(tables, wanted, source, rows, first))
    for batch in found:
        if ops is not None:
            batch = batch.take(np.isin(batch["op"], list(ops)))
        if where is not None and len(batch):
            batch = batch.take(where(batch))
        if len(batch):
            yield batch


def follow(recording: "Recording", poll_s: float = 0.1) -> Iterator[Batch]:
    """Batches of a recording that is being written, until it ends (Recording.follow)."""
    source, comms, row = Source.of(recording), Vocabulary(), 0
    for table in recording.follow(poll_s):
        for start in range(0, table.num_rows, MANY):
            piece = table.slice(start, MANY)
            yield batch_of(piece, ALL, source, comms, row)
            row += piece.num_rows


def batch_of(
    table: pa.Table, names: Sequence[str], source: Source, comms: Vocabulary, row: int
) -> Batch:
    """An events table as a Batch; ``row`` is the number of its first event in ``source``."""
    columns = columns_of(table, names, comms)
    columns["row"] = np.arange(row, row + table.num_rows)
    return Batch(source, columns, comms)


@contextmanager
def _system_memory() -> Iterator[None]:
    """Lets Arrow take memory from malloc.

    Its own pool gives memory back at once and gets it again, cleared by the kernel, for each
    batch: a fifth of all the time.
    """
    usual = pa.default_memory_pool()
    pa.set_memory_pool(pa.system_memory_pool())
    try:
        yield
    finally:
        pa.set_memory_pool(usual)


def _pieces(
    tables: Iterator[pa.Table], names: Sequence[str], source: Source, rows: int, row: int
) -> Iterator[Batch]:
    comms = Vocabulary()
    filled = 0
    whole: dict[str, Array] = {}
    with _system_memory():
        for table in tables:
            for start in range(0, table.num_rows, rows):
                columns = batch_of(table.slice(start, rows), names, source, comms, row).columns
                count = len(columns["row"])
                row += count
                if filled + count > rows:
                    yield Batch(source, {name: one[:filled] for name, one in whole.items()}, comms)
                    whole, filled = {}, 0
                # Each piece is copied at once, so that a batch is in memory once.
                whole = whole or {name: np.empty(rows, one.dtype) for name, one in columns.items()}
                for name, column in columns.items():
                    whole[name][filled : filled + count] = column
                filled += count
        if filled:
            yield Batch(source, {name: one[:filled] for name, one in whole.items()}, comms)


def ahead(items: Iterator[T]) -> Iterator[T]:
    """``items``, the next of which is made in a thread while the last one is used.

    What ``items`` raises is raised here, after all that came before it.
    """
    try:
        with ThreadPoolExecutor(1) as thread:
            following = thread.submit(next, items, None)
            while (item := following.result()) is not None:
                following = thread.submit(next, items, None)
                yield item
    finally:
        if isinstance(items, Generator):
            items.close()


def read(
    recording: "Recording",
    into: "Decisions",
    *,
    source: Source | None = None,
    window: Window = EVERYTHING,
    columns: Collection[str] = (),
    step: Callable[[int, int], None] | None = None,
    segments: range = EVERY,
    first: int = 0,
) -> None:
    """Gives all that there is of a recording to ``into``.

    ``columns``: what observers and ``keep`` need beside :data:`NEEDED`. ``step`` is told how many
    events have been read and the latest time of the last of them. ``segments``, ``first``: the part
    of its events that is read (:func:`batches`). Raises StoreError; what cannot be read is skipped
    and told in ``recording.problems`` and the tables' ``problems``.
    """
    source = source or Source.of(recording)
    # Nothing more is announced once nobody writes it any more, whether it was ended or killed.
    growing = recording.alive
    into.window(source, window)
    into.losses(_stored(recording, "losses"), source)
    into.objects(_stored(recording, "objects"), source, complete=not growing)
    into.mappings(_stored(recording, "mappings"), source)
    for table in recording.tables("cgroups"):
        source.places.add(table)
    for name in STACKS:
        for table in recording.tables(name):
            source.stacks.take(name, table)
    for table in recording.tables("tasks"):
        source.tasks.add(table)
    names = [name for name in dict.fromkeys([*NEEDED, *columns]) if name in EVENTS.names]
    count = 0
    for batch in batches(recording, names, source=source, segments=segments, first=first):
        count += len(batch)
        if step is not None:
            step(count, int(batch["time_ns"].max()))
        into.add(batch)
    if growing:  # what was announced meanwhile
        into.objects(_stored(recording, "objects"), source, complete=True)
    into.problems(recording.problems, source)
    give_back()


def _stored(recording: "Recording", name: str) -> "pd.DataFrame":
    """A table without what is not stored in it."""
    return recording.frame(name, TABLES[name].names)


def give_back() -> None:
    """Gives memory that is free back to the system: batches leave much of it behind."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's own
    if trim is not None:
        trim(0)


def summarize(
    recordings: "Sequence[Recording]",
    *,
    keep: "Keep | None" = None,
    columns: Collection[str] = (),
    windows: Sequence[Window] | None = None,
    step: Callable[[int, int], None] | None = None,
) -> "Tables":
    """The tables of all decisions in ``recordings``, each judged by what its self-test found.

    ``keep``: see :class:`Decisions`; ``windows``: one a recording; the others: see :func:`read`.
    """
    found = Decisions(keep=keep)
    for place, recording in enumerate(recordings):
        window = EVERYTHING if windows is None else windows[place]
        read(recording, found, window=window, columns=columns, step=step)
    return found.tables()


# Judging


class Judged(Mapping[str, Any]):
    """Columns of judged rows as tracer.filter takes them: numpy arrays, and texts as ``Coded``.

    All that the batch has, plus ``name``, ``expected``, ``reason``, ``rule``, ``hole`` (texts),
    ``verdict`` (numbers of tracer.rules.verdicts.Verdict, -1: no decision) and ``severity``, and,
    with ``cgroup``, what that tells (``PLACES``), likewise of who acted (``TASKS``). They are made
    when they are wanted.
    """

    def __init__(self, words: "Words", batch: Batch, outcome: Array, name: Array) -> None:
        self.batch, self._outcome, self._words = batch, outcome, words
        self._made: dict[str, Callable[[], Any]] = {
            "comm": lambda: Coded(batch["comm"], batch.comms.texts),
            "name": lambda: Coded(name, words.names.texts),
            "verdict": lambda: self._number("verdict", -1),
            "severity": lambda: self._number("severity", 0),
        }
        for text in ("expected", "reason", "rule", "hole"):
            self._made[text] = partial(self._text, text)
        named = "cgroup" in batch.columns
        acts = {*ACTOR} <= {*batch.columns}
        for one in (*(PLACES if named else ()), *(TASKS if acts else ())):
            # What is claimed depends on both; of all else one half is enough.
            both = named and acts and one in ("place", "vm_claimed")
            self._made[one] = partial(self._who, one, both)

    def _text(self, name: str) -> Coded:
        return Coded(self._outcome, [getattr(one, name) for one in self._words.outcomes])

    def _who(self, name: str, both: bool) -> Coded | Array:
        if both:
            return self._told[name]
        return self._placed[name] if name in PLACES else self._acted[name]

    @cached_property
    def _told(self) -> dict[str, Coded | Array]:
        who = [self.batch[one] for one in ACTOR]
        return told(self.batch["cgroup"], who, self.source.places, self.source.tasks)

    @cached_property
    def _acted(self) -> dict[str, Coded | Array]:
        return acted([self.batch[one] for one in ACTOR], self.source.tasks)

    @cached_property
    def _placed(self) -> dict[str, Coded]:
        return placed(self.batch["cgroup"], self.source.places)

    def _number(self, name: str, none: int) -> npt.NDArray[np.int8]:
        # One more at the end: that is what -1 finds.
        known = [int(getattr(one, name)) for one in self._words.outcomes]
        return np.array([*known, none], np.int8)[self._outcome]

    @property
    def source(self) -> Source:
        """The recording that the rows are from."""
        return self.batch.source

    @property
    def rows(self) -> int:
        return len(self.batch)

    def frame(self) -> "pd.DataFrame":
        """As a DataFrame: words as categoricals, ``errno`` behind ``answer``."""
        from tracer.analysis.frames import enum, errno_codes, shown

        columns: dict[str, Any] = {}
        for name in self:
            column = self[name]
            columns[name] = enum(name, column) if name in ("op", "kind", "hook") else column
            if name == "answer":
                columns["errno"] = errno_codes(column)
        return shown(columns)

    def __getitem__(self, name: str) -> Any:
        return self._made[name]() if name in self._made else self.batch[name]

    def __iter__(self) -> Iterator[str]:
        yield from dict.fromkeys([*self.batch.columns, *self._made])

    def __len__(self) -> int:
        return sum(1 for _ in self)


Keep = Callable[[Judged], npt.NDArray[np.bool_]]
Observer = Callable[[Judged], None]


class Decisions:
    """Judges what comes of any number of recordings, and sums it up."""

    def __init__(
        self,
        variants: Mapping[str, str] | None = None,
        *,
        keep: Keep | None = None,
        observers: Sequence[Observer] = (),
        timeline: bool = True,
        most_cases: int | None = None,
    ) -> None:
        """``variants``: what the kernel does (None: what each source's self-test found).

        ``keep``: which decisions count; it gets judged columns and gives one bool a row, as
        ``tracer.filter.parse(text).mask`` does. ``observers`` get those that count.

        ``timeline``: each F_ADD_SEALS is kept, for ``seals``, ``late_seals`` and ``busy``; without,
        these are empty, and memory does not grow with their number.

        ``most_cases``: of each verdict that are kept one by one (default: as many as are shown).
        """
        from tracer.analysis.sums import Sums, Words

        self.words: Words = Words()
        self._sums = Sums(self.words, most_cases)
        self._variants = variants
        self._keep = keep
        self._observers = tuple(observers)
        self._timeline = timeline
        self._told: dict[Source, int] = {}  # announcements
        self._judges: dict[object, Judge] = {}
        self._waiting: list[Rows] = []
        self._problems: dict[Source, dict[str, None]] = {}
        self._losses: dict[Source, pd.DataFrame] = {}
        self._complete: set[Source] = set()
        self._windows: dict[Source, Window] = {}

    def observe(self, observer: Observer) -> None:
        """One more observer: of what comes from now on."""
        self._observers = (*self._observers, observer)

    # What comes

    def window(self, source: Source, window: Window) -> None:
        """Which part of a recording counts; to be said before its events come."""
        self.words.place(source)
        self._windows[source] = window

    def objects(self, frame: "Table", source: Source = UNKNOWN, *, complete: bool = False) -> None:
        """Takes announcements: rows of the table ``objects`` of ``source``; they may come again.

        ``complete``: no more will come, so that nothing has to wait.
        """
        from tracer.analysis.objects import announced
        from tracer.analysis.sums import RANK_BITS

        number, boot = self.words.place(source)
        told = self._told.get(source, 0)
        announced(self._sums, frame, boot, (number << RANK_BITS) + told)
        self._told[source] = told + len(frame)
        if complete:
            self._complete.add(source)
        waiting, self._waiting = self._waiting, []
        for rows in waiting:
            self._count(rows)

    def mappings(self, frame: "Table", source: Source = UNKNOWN) -> None:
        """Takes the baseline: rows of the table ``mappings`` of ``source``; they may come again.

        What an audit asked at the end, or about something else, is no part of it.
        """
        if not len(frame):
            return
        batch = scanned(frame, source)
        if len(batch):
            self._sums.baseline(self._sums.rows(batch))

    def losses(self, frame: "pd.DataFrame", source: Source = UNKNOWN) -> None:
        """Takes the whole table ``losses`` of ``source`` as it is now."""
        self.words.place(source)
        self._losses[source] = frame

    def lost(self, source: Source) -> "pd.DataFrame":
        """The table that :meth:`losses` got."""
        return self._losses[source]

    def problems(self, found: Iterable[str], source: Source = UNKNOWN) -> None:
        """Takes sentences about what could not be read; one that is known already is not new."""
        self._problems.setdefault(source, {}).update(dict.fromkeys(found))

    def add(self, batch: Batch) -> None:
        """Takes events: each row once, those of one source in their order."""
        until_ns = self._windows.get(batch.source, EVERYTHING).until_ns
        if until_ns is not None:
            batch = batch.take(batch["time_ns"] < until_ns)
        if not len(batch):
            return
        rows = self._sums.rows(batch)
        self._sums.observe(rows, timeline=self._timeline)
        self._count(rows)
        while sum(map(len, self._waiting)) > WAITING:
            rows = self._waiting.pop(0)
            outcome = self._codes(rows.batch, rows.objects)
            self._sums.count(rows, self._wanted(rows, outcome, self._observers))

    def add_counted(self, counted: "Counted", source: Source) -> None:
        """Takes what somebody else counted of a part of ``source`` (tracer.analysis.parts)."""
        self._sums.add_tables(*counted.recoded(self.words, source))
        self.problems(counted.problems, source)

    # Judging

    def judge(self, batch: Batch) -> Judged:
        """Events judged by what is known now, and not counted."""
        objects = self._sums.objects_of(batch)
        return self._judged(batch, self._codes(batch, objects), objects)

    def _codes(self, batch: Batch, objects: Array) -> Array:
        """The outcome of each row, as a number of :attr:`words`; -1: no decision."""
        variants = batch.source.variants if self._variants is None else self._variants
        known = batch.source.holes
        key = frozenset(variants.items()), known
        if key not in self._judges:
            holes = [one for one in HOLES if known is None or one.name in known]
            self._judges[key] = Judge(variants, holes=holes)
        judge = self._judges[key]
        of_objects: dict[str, Array] = {
            "folio_order_max": self._sums["objects"].at(objects, "order"),
            "owner_uid": self._sums["objects"].at(objects, "owner"),
        }
        codes = judge.codes({**batch.columns, **of_objects})
        # One more at the end: that is what -1 finds.
        return np.append(self.words.outcome_ids(judge.outcomes), np.int32(-1))[codes]

    def _count(self, rows: "Rows") -> None:
        """Judges and counts; decisions on objects that are not announced yet wait."""
        outcome = self._codes(rows.batch, rows.objects)
        if rows.batch.source not in self._complete:
            # A call that made no file is about no object.
            announced = self._sums.announced(rows.objects) | (rows.batch["ino"] == 0)
            late = ~announced & (outcome >= 0)
            if late.any():
                self._waiting.append(rows.some(late))
                outcome = np.where(late, np.int32(-1), outcome)
        self._sums.count(rows, self._wanted(rows, outcome, self._observers))

    def _wanted(self, rows: "Rows", outcome: Array, observers: Sequence[Observer]) -> Array:
        """The outcomes without those that do not count; observers get the others."""
        since_ns = self._windows.get(rows.batch.source, EVERYTHING).since_ns
        if since_ns is not None:
            outcome = np.where(rows.batch["time_ns"] >= since_ns, outcome, np.int32(-1))
        if self._keep is None and not observers:
            return outcome
        places = (outcome >= 0).nonzero()[0]
        judged = self._judged(rows.batch, outcome, rows.objects, places)
        if self._keep is not None and len(places):
            kept = self._keep(judged)
            if not kept.all():
                places = places[kept]
                chosen = np.full(len(outcome), -1, np.int32)
                chosen[places] = outcome[places]
                outcome = chosen
                judged = self._judged(rows.batch, outcome, rows.objects, places)
        for observer in observers if len(places) else ():
            observer(judged)
        return outcome

    def _judged(
        self, batch: Batch, outcome: Array, objects: Array, places: Array | None = None
    ) -> Judged:
        """Judged rows, of a batch or of some ``places`` in it."""
        if places is not None and len(places) < len(batch):
            batch, outcome, objects = batch.take(places), outcome[places], objects[places]
        return Judged(self.words, batch, outcome, self._sums["objects"].at(objects, "name"))

    # What it adds up to

    def sums(self) -> "Sums":
        """As they are now; what comes later does not change them."""
        sums = self._sums.copy()
        for rows in self._waiting:
            outcome = self._wanted(rows, self._codes(rows.batch, rows.objects), ())
            sums.count(rows, outcome)
        return sums

    def tables(self) -> "Tables":
        """:meth:`sums` as tables."""
        from tracer.analysis.totals import Tables

        sums = self.sums()
        problems = {source: tuple(found) for source, found in self._problems.items()}
        return Tables(sums, self._losses, problems)


def _batch(frame: "Table", source: Source) -> Batch:
    if not isinstance(frame, pa.Table):
        from tracer.analysis.frames import batch_of

        return batch_of(frame, source)
    comms = Vocabulary()
    found = columns_of(frame, EVENTS.names, comms)
    return Batch(source, {**found, "row": np.arange(len(frame))}, comms)


def scanned(frame: "Table", source: Source) -> Batch:
    """What the sweep of /proc at the start found, of rows of the table ``mappings``.

    Without permission (no mode) it knows no size.
    """
    batch = _batch(frame, source)
    final = (batch["flags"] & np.uint32(Flag.FINAL)) != 0
    batch = batch.take((np.isin(batch["op"], (Op.OPEN, Op.MAP)) & ~final).nonzero()[0])
    blind = np.where(batch["mode"] == 0, np.uint32(Flag.RETURN_MISSING), np.uint32(0))
    return Batch(batch.source, {**batch.columns, "flags": batch["flags"] | blind}, batch.comms)
