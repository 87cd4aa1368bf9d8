"""Goes over all events again, a batch at a time: for a filter, or for all about one object."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tracer import words as seal_words
from tracer.analysis.batches import Batch
from tracer.analysis.decisions import Decisions, Judged
from tracer.filter.grammar import QueryError
from tracer.filter.query import Query
from tracer.labels import errno_name, is_shared, is_writable, vm_text
from tracer.live import cells
from tracer.live.book import Book
from tracer.live.groups import Grouped, RowIds
from tracer.live.log import Columns, Log, readable, shown
from tracer.live.snapshot import Detail, Key, Rows, Window, no_rows, of_columns, of_records
from tracer.rules.verdicts import Verdict
from tracer.words import Flag, Op, Seal

_MOST = 1 << 16
"""Mappings that are known at a time."""
_SHOWN = 5


class Mapped:
    """The mappings that exist, by address space and address."""

    def __init__(self) -> None:
        self._found: dict[tuple[Any, int], dict[str, Any]] = {}

    def before(self, row: Mapping[str, Any]) -> None:
        """One from before the trace: its process is known, its address space is not."""
        self._add(row, ("before", row["pid"]))

    def add(self, event: Mapping[str, Any]) -> None:
        """A new mapping."""
        self._add(event, event["mm"])

    def remove(self, event: Mapping[str, Any]) -> None:
        """A mapping ends."""
        address = event["answer"]
        known = self._found.pop((event["mm"], address), None)
        if known is None and not event["flags"] & Flag.OTHER_MM:
            self._found.pop((("before", event["pid"]), address), None)

    def gone(self) -> None:
        """The object is no more: so is every mapping of it, though its end was not seen."""
        self._found.clear()

    def _add(self, event: Mapping[str, Any], space: Any) -> None:
        flags = event["arg"]
        if len(self._found) >= _MOST:
            self._found.pop(next(iter(self._found)))
        self._found[space, event["answer"]] = {
            "pid": event["pid"],
            "comm": event["comm"],
            "shared": is_shared(flags),
            "writable": is_writable(flags),
            "perms": vm_text(flags),
            "offset": event["offset"],
            "length": event["length"],
            "address": event["answer"],
            "first_ns": event["time_ns"],
        }

    def writers(self) -> str:
        """Who could write through a shared mapping now: ``a/1, b/2 and 3 more``."""
        mine = (one for one in self._found.values() if one["writable"])
        found = sorted({cells.who(one["comm"], one["pid"]) for one in mine})
        more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        return ", ".join(found[:_SHOWN]) + more

    def rows(self, now_ns: int | None) -> Rows:
        """As a table: those that can write first."""
        found = sorted(
            self._found.values(),
            key=lambda one: (not one["writable"], not one["shared"], one["pid"], one["address"]),
        )
        ids = [hash((one["pid"], one["address"])) & 0x7FFFFFFFFFFF for one in found]
        return of_records("mappers", found, ids, now_ns)


class Scan:
    """Gives each event of a log once to ``take``, old ones first, until none is left."""

    def __init__(self, log: Log, take: Callable[[Batch], None]) -> None:
        self._log = log
        self._take = take
        self.seen = 0
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
        self.sums = Grouped(self._decisions.tables, lambda: self.scan.seen, ids, filtered=True)

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


class ObjectBook:
    """Reads a recording's events again for one object, and goes on with what comes."""

    def __init__(self, book: Book, key: Key) -> None:
        self.key = key
        self._book = book
        self._numbers: list[npt.NDArray[np.int64]] = []
        self._seals: list[dict[str, Any]] = []
        self._matrix: dict[tuple[str, str], list[int]] = {}
        self._mapped = Mapped()
        self._fmode: dict[tuple[int, int], int] = {}
        self._opened: dict[tuple[int, int], dict[str, Any]] = {}  # held before, or used so since
        self._before()
        self.scan = Scan(book.log, self._take)

    # Gathering

    def _before(self) -> None:
        """Who held and mapped it when the trace started."""
        dev, ino, gen = self.key
        for table in self._book.baseline:
            for row in table.to_pylist():
                if (row["dev"], row["ino"]) != (dev, ino) or row["gen"] not in (0, gen):
                    continue
                if row["op"] == "map":
                    self._mapped.before(row)
                elif row["op"] == "open":
                    self._fmode[row["pid"], row["fd"]] = row["fmode"]
                    self._opened[row["pid"], row["fd"]] = row

    def _take(self, batch: Batch) -> None:
        dev, ino, gen = self.key
        mine = (batch["ino"] == ino) & (batch["dev"] == dev) & (batch["gen"] == gen)
        places = np.flatnonzero(mine)
        if not len(places):
            return
        part = batch.take(places)
        self._numbers.append(np.asarray(part["row"]))
        columns = readable(self._book.decisions.judge(part))
        rows = of_columns("", columns)
        self._count(columns, rows)
        for place in np.flatnonzero(np.isin(part["op"], (Op.MAP, Op.UNMAP, Op.ADD_SEALS))).tolist():
            event = rows.record(place)
            if event["op"] == "add_seals":
                self._sealing(event)
            elif event["op"] == "map":
                self._mapped.add(event)
            else:
                self._mapped.remove(event)
        if (part["op"] == Op.EVICT).any():
            self._mapped.gone()
        self._held(part, rows)
        known = part["fmode"] > 0
        who = zip(part["pid"][known].tolist(), part["fd"][known].tolist(), strict=True)
        self._fmode.update(zip(who, part["fmode"][known].tolist(), strict=True))

    def _held(self, part: Batch, rows: Rows) -> None:
        """Who came through a descriptor; without one (by address, in a kernel thread), nobody."""
        numbered = np.flatnonzero(part["fd"] >= 0)
        who = part["pid"][numbered].astype(np.int64) << 32 | part["fd"][numbered]
        for place in numbered[np.unique(who, return_index=True)[1]].tolist():
            event = rows.record(place)
            self._opened.setdefault((event["pid"], event["fd"]), event)

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
        added, before, after = event["arg"], event["seals"], event["seals_after"]
        answer = event["answer"]
        notes = []
        holders = self._mapped.writers()
        if answer == -16 and holders:
            notes.append(f"busy: mapped writable by {holders}")
        if answer == 0 and added & _NO_WRITES and not before & _NO_WRITES and holders:
            notes.append(f"late: already mapped writable by {holders}")
        self._seals.append(
            {
                "time_ns": event["time_ns"],
                "pid": event["pid"],
                "comm": event["comm"],
                "added": seal_words.names(added, self._book.source.bit5),
                "before": before,
                "after": after,
                "answer": answer,
                "errno": errno_name(answer),
                "verdict": event["verdict"],
                "notes": notes,
            }
        )
        del self._seals[:-_SEALINGS]

    # What is known

    def detail(self, objects: Rows, fds: Rows, window: Window) -> Detail:
        """As the screen shows it; ``objects`` and ``fds`` are the whole tables."""
        return Detail(
            object=self._object(objects),
            seals=list(self._seals),
            matrix={key: tuple(counts) for key, counts in self._matrix.items()},
            holders=self._holders(fds),
            mappers=self._mapped.rows(objects.now_ns),
            decisions=self._decisions(window, objects),
            busy=self.scan.share,
        )

    def _mine(self, rows: Rows) -> npt.NDArray[np.intp]:
        if "ino" not in rows.columns:
            return np.empty(0, np.intp)
        dev, ino, gen = (np.asarray(rows.columns[name]) for name in ("dev", "ino", "gen"))
        return np.flatnonzero((ino == self.key[1]) & (dev == self.key[0]) & (gen == self.key[2]))

    def _object(self, objects: Rows) -> Mapping[str, Any]:
        found = self._mine(objects)
        if len(found):
            record = objects.record(int(found[0]))
            sealed = record.get("seals") == int(Seal.SEAL)
            return record | {"left_out": sealed and self._book.source.leaves_out}
        return {"dev": self.key[0], "ino": self.key[1], "gen": self.key[2], "kind": None}

    def _holders(self, fds: Rows) -> Rows:
        records, ids = [], []
        seen = set()
        for place in self._mine(fds).tolist():
            record = fds.record(place)
            who = record["pid"], record["fd"]
            if record["fd"] < 0:
                continue  # it came by address, or nobody knows through which one
            seen.add(who)
            records.append(record | {"fmode": self._fmode.get(who, 0)})
            ids.append(int(fds.ids[place]))
        for who, row in self._opened.items():
            if who not in seen:
                names = records[0] if records else {}
                blank = dict.fromkeys(names)
                known = {name: row[name] for name in ("pid", "comm", "uid", "fd")}
                known |= {"fmode": self._fmode.get(who, row["fmode"])}
                records.append(blank | known | {"worst": -1, "decisions": 0, "last_ns": None})
                ids.append(-2 - len(ids))
        return of_records("holders", records, ids, fds.now_ns)

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
            after=end < count, bit5=self._book.source.bit5,
        )  # fmt: skip
