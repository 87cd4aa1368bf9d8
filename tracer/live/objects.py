"""Second looks at all events, a batch at a time: for a filter, or for one object."""

import time
from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from errno import EBUSY
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from tracer import words as seal_words
from tracer.analysis.batches import Batch, joined
from tracer.analysis.decisions import Decisions, Judged
from tracer.analysis.frames import concat, stacked
from tracer.analysis.grouping import BEFORE, NEVER, Rules, grouped
from tracer.analysis.mappings import KEY, MAPPED, lifetimes
from tracer.analysis.timeline import with_holders
from tracer.analysis.totals import Tables
from tracer.filter.grammar import QueryError
from tracer.filter.query import Query
from tracer.labels import errno_name, is_shared, vm_text
from tracer.live.book import Book
from tracer.live.groups import Grouped, RowIds
from tracer.live.log import Columns, Log, readable, shown
from tracer.live.snapshot import Detail, Key, Rows, Window, no_rows, of_columns, of_records
from tracer.rules.verdicts import Verdict
from tracer.words import Op, Seal

MOST = 1 << 15
"""Starts and ends of mappings of one object that are known at a time."""


class Mapped:
    """The mappings of one object, from their events (tracer.analysis.mappings)."""

    def __init__(self) -> None:
        self._events: list[Batch] = []
        self._lives: tuple[pd.DataFrame, pd.DataFrame] | None = None

    def add(self, part: Batch) -> bool:
        """The next events of the object; True: they are so many that it has to :meth:`forget`."""
        rows = np.flatnonzero(np.isin(part["op"], (Op.MAP, Op.UNMAP)))
        if len(rows):
            self._events.append(part.take(rows))
            self._lives = None
        return sum(map(len, self._events)) > 2 * MOST

    def forget(self) -> None:
        """Forgets mappings that ended, then the oldest."""
        whole = joined(self._events)
        rules = Rules(("mm", "answer"), last={("time_ns", "row"): ("place",)})
        last = grouped({**whole.columns, "place": np.arange(len(whole))}, rules)
        self._events = [whole.take(np.sort(last["place"])[-MOST:])]

    def lives(self, baseline: pd.DataFrame) -> pd.DataFrame:
        """One row a mapping; ``baseline``: those that the sweep at the start found."""
        if self._lives is None or self._lives[0] is not baseline:
            events = concat(self._events, MAPPED)
            found = lifetimes(events.assign(boot_id=""), baseline.assign(boot_id=""))
            self._lives = baseline, found
        return self._lives[1]


def _mappers(lives: pd.DataFrame) -> Rows:
    """Mappings as a table: those that can write first."""
    found = lives.assign(
        shared=[is_shared(flags) for flags in lives["arg"]],
        perms=[vm_text(flags) for flags in lives["arg"]],
        first_ns=lives["begin_ns"].astype(object).where(lives["begin_ns"] != BEFORE, None),
    ).sort_values(["writable", "shared", "pid", "address"], ascending=[False, False, True, True])
    ids = [hash(who) & 0x7FFFFFFFFFFF for who in zip(found["pid"], found["address"], strict=True)]
    records: list[Any] = found.to_dict("records")
    return of_records("mappers", records, ids, None)


class Scan:
    """Gives each event of a log once to ``take``, old ones first, until none is left."""

    def __init__(self, log: Log, take: Callable[[Batch], None], first: int = 0) -> None:
        """``first``: the event that it starts with."""
        self._log = log
        self._take = take
        self.seen = first
        """How many it has seen."""

    @property
    def share(self) -> float | None:
        """How much it has seen, None: all but what just came."""
        rows = self._log.rows
        return self.seen / rows if rows - self.seen > 1 << 16 else None

    def step(self) -> bool:
        """Goes on by one batch; False: it has to wait for one."""
        rows = self._log.rows
        span = self._log.span(self.seen) if self.seen < rows else None
        if span is None:
            return False
        batch = self._log.batch(self.seen)
        if batch is not None:
            first = int(batch["row"][0])
            # The log in memory and the segments are cut at different places.
            end = min(len(batch), rows - first)
            if self.seen > first or end < len(batch):
                batch = batch.take(np.arange(self.seen - first, end))
            self._take(batch)
        self.seen = min(span[1], rows)
        return True


class Filtered:
    """Sums of the decisions that match a filter, and of nothing else."""

    def __init__(self, book: Book, query: Query, ids: RowIds) -> None:
        self.query = query
        self.problem = ""
        self._book = book
        self._decisions = Decisions(keep=self._keep, timeline=False)
        self._announced = 0
        self.scan = Scan(book.log, self._decisions.add)
        self.sums = Grouped(
            self._decisions.tables,
            lambda: self.scan.seen,
            ids,
            filtered=True,
            wall=book.clock.at,
            bit5=book.source.bit5,
        )

    def announce(self) -> None:
        """Takes the announcements that are new."""
        tables = self._book.announced[self._announced :]
        if tables:
            table = pa.concat_tables(tables)
            complete = self._book.is_complete
            self._decisions.objects(table, self._book.source, complete=complete)
        self._announced = len(self._book.announced)

    def _keep(self, judged: Judged) -> npt.NDArray[np.bool_]:
        try:
            return self.query.mask(judged)
        except QueryError as error:
            self.problem = error.problem
            return np.zeros(judged.rows, bool)


_NO_WRITES = int(Seal.WRITE | Seal.FUTURE_WRITE)
_MOST_EVENTS = 1 << 16
"""Events of one object that are known at a time."""
_SEALINGS = 200
_TIMELINE = 60
_TOLD = (Op.CREATE, Op.ADD_SEALS)
"""Operations that a timeline has whatever came of them."""
_EXPLAIN_S = 2.0
"""Who maps it is found out so often, where nobody looks at all of it."""
_SWEPT = [*MAPPED, "uid", "fd", "fmode"]
Held = dict[tuple[int, int], Mapping[str, Any]]
"""By process id and descriptor: when it was first seen."""


class ObjectBook:
    """Reads a recording's events again for one object, and goes on with what comes."""

    def __init__(self, book: Book, key: Key, first: int = 0) -> None:
        """``first``: the event that it starts with; the recording is not read for older ones."""
        self.key = key
        self.first = first
        self._book = book
        self._numbers: list[npt.NDArray[np.int64]] = []
        self._seals: list[dict[str, Any]] = []
        self._timeline: deque[Mapping[str, Any]] = deque(maxlen=_TIMELINE)
        self._explain_s = 0.0
        self._matrix: dict[tuple[str, str], list[int]] = {}
        self._mapped = Mapped()
        self._explained: pd.DataFrame | None = None
        self._evicted_ns: int | None = None
        self._fmode: dict[tuple[int, int], int] = {}
        self._used: Held = {}
        self._opened: Held = {}
        self._mappers = no_rows("mappers")
        self._version: object = None  # of what the sweep at the start found
        self._sweep({key[2]})
        self.scan = Scan(book.log, self._take, first)

    # Gathering

    def _sweep(self, gens: Collection[int]) -> None:
        """Takes what the sweep at the start found of the object, with one of these generations."""
        found = [concat([], _SWEPT)]
        for batch in self._book.baseline:
            mine = self._is_mine(batch) & np.isin(batch["gen"], list(gens))
            found.append(concat([batch.take(np.flatnonzero(mine))], _SWEPT))
        self._swept = stacked(found).assign(gen=self.key[2])
        opened: list[Any] = self._swept[self._swept["op"] == "open"].to_dict("records")
        self._opened = {(row["pid"], row["fd"]): row for row in opened}

    def _is_mine(self, columns: Any) -> npt.NDArray[np.bool_]:
        """Which rows have its device and inode number."""
        dev, ino, _ = self.key
        mine: npt.NDArray[np.bool_] = (columns["ino"] == ino) & (columns["dev"] == dev)
        return mine

    def _baseline(self, tables: Tables) -> None:
        """Which rows of the sweep without a generation are meant, ``tables`` say."""
        known = tables.objects
        gen, same = known["gen"], np.flatnonzero(self._is_mine(known))
        mine = gen[tables.same_as[same]] == self.key[2]
        gens = {self.key[2], *gen[same[mine]].tolist()}
        version = len(self._book.baseline), gens
        if self._version != version:
            self._version = version
            self._sweep(gens)

    def _take(self, batch: Batch) -> None:
        mine = self._is_mine(batch) & (batch["gen"] == self.key[2])
        places = np.flatnonzero(mine)
        if not len(places):
            return
        part = batch.take(places)
        self._numbers.append(np.asarray(part["row"]))
        columns = readable(self._book.decisions.judge(part))
        rows = of_columns("", columns)
        self._count(columns, rows)
        told = (columns["verdict"] > Verdict.ALLOWED) | np.isin(part["op"], _TOLD)
        for place in np.flatnonzero(told)[-_TIMELINE:].tolist():
            self._timeline.append(rows.record(place))
        for place in np.flatnonzero(part["op"] == Op.ADD_SEALS)[-_SEALINGS:].tolist():
            self._sealing(rows.record(place))
        del self._seals[:-_SEALINGS]
        if self._mapped.add(part):
            self._explain()
            for call in self._seals:
                call["writers"] = ""  # what is said of it stays
            self._mapped.forget()
        for time_ns in part["time_ns"][part["op"] == Op.EVICT].tolist():
            self._evicted_ns = max(time_ns, self._evicted_ns or time_ns)
            self._explained = None
        self._use(part, rows)
        known = part["fmode"] > 0
        who = zip(part["pid"][known].tolist(), part["fd"][known].tolist(), strict=True)
        self._fmode.update(zip(who, part["fmode"][known].tolist(), strict=True))

    def _use(self, part: Batch, rows: Rows) -> None:
        """Who came through a descriptor; without one (by address, in a kernel thread), nobody."""
        numbered = np.flatnonzero(part["fd"] >= 0)
        who = part["pid"][numbered].astype(np.int64) << 32 | part["fd"][numbered]
        for place in numbered[np.unique(who, return_index=True)[1]].tolist():
            event = rows.record(place)
            self._used.setdefault((event["pid"], event["fd"]), event)

    def _count(self, columns: Columns, rows: Rows) -> None:
        verdicts, ops = columns["verdict"], columns["op"]
        reasons = columns["reason"]
        key = (reasons.codes.astype(np.int64) + 1) << 16 | ops.codes.astype(np.int64) << 8
        key |= verdicts.astype(np.int64) & 0xFF
        _, first, count = np.unique(key, return_index=True, return_counts=True)
        for place, number in zip(first.tolist(), count.tolist(), strict=True):
            verdict = rows.value("verdict", place)
            if verdict < 0:
                continue
            denied = verdict not in (Verdict.ALLOWED, Verdict.ERROR)
            reason = str(rows.value("reason", place) or "") if denied else ""
            cell = (reason, str(rows.value("op", place)))
            self._matrix.setdefault(cell, [0] * len(Verdict))[verdict] += number

    def _sealing(self, event: Mapping[str, Any]) -> None:
        added, before, answer = event["arg"], event["seals"], event["answer"]
        late = answer == 0 and added & _NO_WRITES and not before & _NO_WRITES
        self._seals.append(
            {
                "time_ns": event["time_ns"],
                "pid": event["pid"],
                "comm": event["comm"],
                "added": seal_words.names(added, self._book.source.bit5),
                "before": before,
                "after": event["seals_after"],
                "answer": answer,
                "errno": errno_name(answer),
                "verdict": event["verdict"],
                "writers": "busy:" if answer == -EBUSY else "late: already" if late else "",
                "notes": None,  # not known yet
            }
        )

    def _explain(self) -> None:
        """Who maps it; and of calls that failed, or came too late, who could write then."""
        lives = self._mapped.lives(self._swept)
        if lives is self._explained and all(call["notes"] is not None for call in self._seals):
            return
        self._explained = lives
        there = lives["end_ns"] == NEVER
        if self._evicted_ns is not None:  # mappings go with their object, seen or not
            there &= lives["begin_ns"] > self._evicted_ns
        self._mappers = _mappers(lives[there])
        calls = [call for call in self._seals if call["writers"]]
        key = dict(zip(KEY, ("", *self.key), strict=True))
        then = pd.DataFrame([key | {"time_ns": call["time_ns"]} for call in calls])
        found = with_holders(then, lives)["holders"] if calls else ()
        for call in self._seals:
            call["notes"] = call["notes"] or []
        for call, holders in zip(calls, found, strict=True):
            call["notes"] = [f"{call['writers']} mapped writable by {holders}"] if holders else []

    # What is known

    def brief(self, tables: Tables, objects: Rows) -> Detail:
        """What stands beside a table; it costs little."""
        self._baseline(tables)
        now_s = time.monotonic()
        if self._explained is None or now_s >= self._explain_s:
            self._explain()
            self._explain_s = now_s + _EXPLAIN_S
        return self._detail(objects, no_rows("fds"), no_rows("decisions"))

    def detail(self, tables: Tables, objects: Rows, fds: Rows, window: Window) -> Detail:
        """As the screen shows it; ``objects`` and ``fds`` are the whole tables."""
        self._baseline(tables)
        self._explain()
        return self._detail(objects, fds, self._decisions(window, objects))

    def _detail(self, objects: Rows, fds: Rows, decisions: Rows) -> Detail:
        return Detail(
            object=self._object(objects),
            seals=list(map(dict, self._seals)),
            matrix={key: tuple(counts) for key, counts in self._matrix.items()},
            holders=self._holders(fds),
            mappers=replace(self._mappers, now_ns=objects.now_ns, wall=self._book.clock.at),
            decisions=decisions,
            timeline=tuple(self._timeline),
            whole=not self.first,
            busy=self.scan.share,
        )

    def _mine(self, rows: Rows) -> npt.NDArray[np.intp]:
        if "ino" not in rows.columns:
            return np.empty(0, np.intp)
        return np.flatnonzero(
            self._is_mine(rows.columns) & (np.asarray(rows.columns["gen"]) == self.key[2])
        )

    def _object(self, objects: Rows) -> Mapping[str, Any]:
        found = self._mine(objects)
        if len(found):
            record = objects.record(int(found[0]))
            sealed = record.get("seals") == int(Seal.SEAL)
            return record | {"left_out": sealed and self._book.source.leaves_out}
        return {"dev": self.key[0], "ino": self.key[1], "gen": self.key[2], "kind": None}

    def _holders(self, fds: Rows) -> Rows:
        records, ids = [], []
        held: Held = {**self._opened, **self._used, **self._opened}
        fmode = {who: row["fmode"] for who, row in self._opened.items()} | self._fmode
        for place in self._mine(fds).tolist():
            record = fds.record(place)
            if record["fd"] >= 0:  # else it came by address, or nobody knows through which one
                records.append(record)
                ids.append(int(fds.ids[place]))
        decided = {(record["pid"], record["fd"]) for record in records}
        blank = dict.fromkeys(records[0] if records else ())
        for who, row in held.items():
            if who not in decided:
                known = {name: row[name] for name in ("pid", "comm", "uid", "fd")}
                records.append({**blank, **known, "worst": -1, "decisions": 0, "last_ns": None})
                ids.append(-2 - len(ids))
        for record in records:
            record["fmode"] = fmode.get((record["pid"], record["fd"]), 0)
        held_by = of_records("holders", records, ids, fds.now_ns)
        return replace(held_by, wall=self._book.clock.at)

    def _decisions(self, window: Window, objects: Rows) -> Rows:
        if not self._numbers:
            return no_rows("decisions")
        numbers = np.concatenate(self._numbers)[-_MOST_EVENTS:]
        self._numbers = [numbers]
        count = len(numbers)
        start, end = shown(window, count, lambda row: int(np.searchsorted(numbers, row)))
        return replace(
            self._book.log.table("decisions", numbers[start:end]),
            total=count, start_ns=objects.start_ns, now_ns=objects.now_ns, before=start > 0,
            after=end < count, bit5=self._book.source.bit5, wall=self._book.clock.at,
        )  # fmt: skip
