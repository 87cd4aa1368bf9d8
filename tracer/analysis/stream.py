"""Events of one recording, row by row: named, judged, filtered, in the order of time.

For whoever prints each event. Whoever wants sums is an observer of the driver
(:mod:`tracer.analysis.decisions`), which judges here as well.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tracer.analysis.batches import Batch, Source, Vocabulary
from tracer.analysis.decisions import EVERYTHING, NEEDED, Decisions, Judged, Window, batch_of
from tracer.filter.mask import ACTOR, PLACES, TASKS, Coded, acted, matching, placed, told
from tracer.filter.mask import columns as columns_of
from tracer.filter.query import Query
from tracer.recording.follow import EVERYTHING as TABLES
from tracer.recording.follow import Follower
from tracer.recording.format import EVENTS
from tracer.recording.identity import EVENT_COLUMNS, OBJECT_COLUMNS, SWEEP_COLUMNS, Identities
from tracer.recording.tables import booleans, empty, integers, plain, texts
from tracer.rules.verdicts import words as verdict_words
from tracer.stacks.recorded import TABLES as STACKS
from tracer.walltime import WallClock
from tracer.words import Op

if TYPE_CHECKING:
    from tracer.recording.reader import Recording

JUDGED = ("verdict", "expected", "reason", "rule", "hole", "severity")
"""The columns that judging adds; null (severity: 0) for what no rule judges."""
COLUMNS = frozenset({*EVENTS.names, "name", *JUDGED, *PLACES, *TASKS})
"""What a filter can ask for."""
MAPPINGS = tuple(op.name.lower() for op in (Op.MAP, Op.UNMAP, Op.EVICT))
"""Operations that nobody requested: most rows of many recordings."""
_OF_OBJECTS = (*OBJECT_COLUMNS, "seq", "folio_order_max", "owner_uid", "mode", "size", "seals")
_STEP = 1 << 16
"""Rows that are turned into Python objects at once."""
_HELD = 1 << 20
"""Rows that wait for earlier ones at most; where more would, half of them are given."""
_PAUSE_S = 0.1

Numbers = npt.NDArray[np.int64]


class Stream:
    """The events of ``recording`` that are wanted, now or (``follow``) until it ends.

    :attr:`names`, :attr:`places`, :attr:`tasks`, :attr:`stacks` and :attr:`clock` know what is
    known so far.
    """

    def __init__(
        self,
        recording: "Recording",
        *,
        query: Query | None = None,
        window: Window = EVERYTHING,
        columns: Sequence[str] | None = None,
        follow: bool = False,
    ) -> None:
        """``columns``: those that are needed beside :data:`JUDGED`, None: all."""
        self.names = Identities()
        self.clock = WallClock()
        self.late = 0
        """Rows that are given behind later ones: more came between than can wait."""
        self._recording, self._window, self._follow = recording, window, follow
        query = query or Query()
        raw = [term for term in query.terms if not term.columns() & {*JUDGED}]
        self._raw = Query(tuple(raw))
        self._judged = Query(tuple(term for term in query.terms if term not in raw))
        self._source, self._comms = Source.of(recording), Vocabulary()
        self.places, self.tasks = self._source.places, self._source.tasks
        self.stacks = self._source.stacks
        self._decisions = Decisions(timeline=False)
        self._columns: list[str] | None = None
        if columns is not None and not follow:
            wanted = {*columns, *columns_of(query), *NEEDED, *EVENT_COLUMNS}
            self._columns = [name for name in EVENTS.names if name in wanted]
        if not follow:
            for name, needed in (
                ("clocks", ["time_ns", "realtime_ns"]),
                ("objects", [*_OF_OBJECTS]),
                ("mappings", [*SWEEP_COLUMNS]),
                ("cgroups", None),
                ("tasks", None),
                *((name, None) for name in STACKS),
            ):
                for table in recording.tables(name, needed):
                    self._take(name, table)

    def _take(self, name: str, table: pa.Table) -> None:
        """What is no event."""
        if name == "objects":
            self.names.announce(table)
            self._decisions.objects(table, self._source)
        elif name == "mappings":
            self.names.sweep(table)
        elif name == "cgroups":
            self.places.add(table)
        elif name == "tasks":
            self.tasks.add(table)
        elif name in STACKS:
            self.stacks.take(name, table)
        elif name == "clocks":
            both = (table.column(one).to_pylist() for one in ("time_ns", "realtime_ns"))
            self.clock.extend(zip(*both, strict=True))

    def tables(self) -> Iterator[pa.Table]:
        """Tables of at most 65,536 events, with the columns :data:`JUDGED` behind theirs and, if
        they have their cgroups and actors, what these tell (``PLACES``, ``TASKS``).

        Followed events are in the order of time as far as they come together. StoreError.
        """
        if self._follow:
            yield from self._followed()
            return
        # What comes next may be of a time before: it is known of each piece what else comes.
        ends, floors = self._floors()
        rows, order = 0, _Order()
        for table in self._recording.tables("events", self._columns):
            rows += table.num_rows
            place = int(np.searchsorted(ends, rows, "right"))
            floor = int(floors[place]) if place < len(floors) else None
            ready = order.of(self._wanted(table), floor)
            self.late = order.late
            yield from _steps(ready)
        ready = order.of(None, None)
        self.late = order.late
        yield from _steps(ready)

    def _floors(self) -> tuple[Numbers, Numbers]:
        """Of each piece the number of its last event, and the earliest time from it on."""
        found = [
            (table.num_rows, int(_times(table).min()))
            for table in self._recording.tables("events", ["time_ns"])
            if table.num_rows
        ]
        counts, least = np.array(found, np.int64).reshape(-1, 2).T
        return np.cumsum(counts), np.minimum.accumulate(least[::-1])[::-1]

    def _followed(self) -> Iterator[pa.Table]:
        import time

        follower = Follower(self._recording, TABLES)
        try:
            while not follower.over:
                for name, table in follower.step():
                    if name == "events":
                        yield from _steps(_Order().of(self._wanted(table), None))
                    else:
                        self._take(name, table)
                if not follower.over:
                    time.sleep(_PAUSE_S)
        finally:
            follower.close()

    def _wanted(self, table: pa.Table) -> pa.Table | None:
        """Those of a table's events that are wanted, judged."""
        self.names.observe(table)
        since_ns, until_ns = self._window
        if since_ns is not None or until_ns is not None:
            when = _times(table)
            wanted = np.ones(len(when), bool) if since_ns is None else when >= since_ns
            if until_ns is not None:
                wanted &= when < until_ns
            table = table.filter(booleans(wanted))
        if not table.num_rows:
            return None
        found = next(matching([table], self._raw, self.names, self.places, self.tasks), None)
        if found is None:
            return None
        judged = self._judge(found)
        return next(matching([judged], self._judged, self.names, self.places, self.tasks), None)

    def _judge(self, table: pa.Table) -> pa.Table:
        names = [name for name in NEEDED if name in table.column_names]
        batch = batch_of(table, names, self._source, self._comms, 0)
        judged = self._decisions.judge(batch)
        for name in JUDGED:
            table = table.append_column(name, _arrow(name, judged))
        for name, known in self._who(batch, table.column_names).items():
            column = _coded(known) if isinstance(known, Coded) else integers(known)
            table = table.append_column(name, column)
        return table

    def _who(self, batch: Batch, names: Collection[str]) -> Mapping[str, Coded | Numbers]:
        """What cgroups and actors of rows tell, of those that they have."""
        acts, named = "exec_id" in names, "cgroup" in names
        who = [batch[one] for one in ACTOR] if acts else []
        if acts and named:
            return told(batch["cgroup"], who, self.places, self.tasks)
        if named:
            return placed(batch["cgroup"], self.places)
        return acted(who, self.tasks) if acts else {}


_VERDICTS = texts([*verdict_words()])


def _coded(column: Coded) -> pa.Array:
    words = list(column.words)
    null = np.array([*(word is None for word in words), True])[column.codes]
    codes = np.asarray(column.codes, np.int32)
    return pa.DictionaryArray.from_arrays(
        integers(np.where(null, 0, codes), null), texts([word or "" for word in words] or [""])
    )


def _arrow(name: str, judged: Judged) -> pa.Array:
    column: Any = judged[name]
    if isinstance(column, Coded):
        return _coded(column)
    if name == "verdict":
        null = column < 0
        return pa.DictionaryArray.from_arrays(integers(np.where(null, 0, column), null), _VERDICTS)
    return integers(column)


def _times(table: pa.Table) -> Numbers:
    found: Numbers = np.concatenate(
        [np.empty(0, np.int64), *(plain(chunk) for chunk in table.column("time_ns").chunks)]
    )
    return found


class _Order:
    """Puts tables of events into the order of time."""

    def __init__(self) -> None:
        self._held: list[pa.Table] = []
        self._rows = self._new = 0
        """Held; of these, not yet sorted among the others."""
        self._least_ns = np.iinfo(np.int64).max
        """Of the held ones."""
        self._last_ns = np.iinfo(np.int64).min
        # Somebody may have made dictionaries so that they do not go together.
        self._without_dictionaries = False
        self.late = 0

    def of(self, table: pa.Table | None, floor_ns: int | None) -> pa.Table:
        """Of all so far and ``table`` those that nothing may come before any more.

        ``floor_ns``: whatever comes later is of this time or later; None: nothing comes.
        """
        if table is not None and table.num_rows:
            self._held.append(_strings(table) if self._without_dictionaries else table)
            self._rows, self._new = self._rows + table.num_rows, self._new + table.num_rows
            self._least_ns = min(self._least_ns, int(_times(table).min()))
        if not self._held or (floor_ns is not None and self._waits(floor_ns)):
            return empty(EVENTS)
        try:
            whole = pa.concat_tables(self._held).unify_dictionaries()
        except pa.ArrowInvalid:
            self._without_dictionaries, self._held = True, [_strings(one) for one in self._held]
            whole = pa.concat_tables(self._held)
        when = _times(whole)
        if len(when) > 1 and (when[1:] < when[:-1]).any():
            order = np.argsort(when, kind="stable")
            whole, when = whole.take(integers(order)), when[order]
        count = len(when)
        if floor_ns is not None:
            most = _HELD if len(when) <= _HELD else _HELD // 2
            count = max(int(np.searchsorted(when, floor_ns, "right")), len(when) - most)
        self.late += int((when[:count] < self._last_ns).sum())
        if count:
            self._last_ns = max(self._last_ns, int(when[count - 1]))
        self._held = [whole.slice(count)] if count < len(when) else []
        self._rows, self._new = len(when) - count, 0
        self._least_ns = int(when[count]) if self._held else np.iinfo(np.int64).max
        return whole.slice(0, count)

    def _waits(self, floor_ns: int) -> bool:
        """Whether none can be given, or few of many: these are not sorted again for a few."""
        few = self._new * 4 < self._rows
        return self._rows <= _HELD and (few or self._least_ns > floor_ns)


def _strings(table: pa.Table) -> pa.Table:
    """With texts as such instead of dictionaries."""
    for place, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            plain_ = table.column(place).cast(field.type.value_type)
            table = table.set_column(place, field.name, plain_)
    return table


def _steps(table: pa.Table) -> Iterator[pa.Table]:
    for start in range(0, table.num_rows, _STEP):
        yield table.slice(start, _STEP)
