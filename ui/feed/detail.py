"""All about one object, gathered from its events."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from tracer.analysis.batch import Batch
from tracer.model import seals as seal_words
from tracer.model.errnos import errno_name
from tracer.model.seals import Seal
from tracer.model.verdicts import Verdict
from tracer.model.words import Op
from ui.feed.book import Book
from ui.feed.groups import of_records
from ui.feed.judging import Columns, readable
from ui.feed.log import WINDOW
from ui.feed.mapped import Mapped
from ui.feed.scan import Scan
from ui.request import Key, Window
from ui.rows import Rows, no_rows
from ui.snapshot import Detail

_NO_WRITES = int(Seal.WRITE | Seal.FUTURE_WRITE)
_MOST = 1 << 16
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
        """Who held and mapped it when the trace began."""
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
        columns = readable(self._book.judging.judged(part))
        rows = Rows("", columns, part["row"], np.arange(len(part)), len(part))
        self._count(columns, rows)
        for place in np.flatnonzero(np.isin(part["op"], (Op.MAP, Op.UNMAP, Op.ADD_SEALS))).tolist():
            event = rows.record(place)
            if event["op"] == "add_seals":
                self._sealing(event)
            elif event["op"] == "map":
                self._mapped.begins(event)
            else:
                self._mapped.ends(event)
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
        asked, before, after = event["arg"], event["seals"], event["seals_after"]
        answer = event["answer"]
        notes = []
        holders = self._mapped.writers()
        if answer == -16 and holders:
            notes.append(f"busy: mapped writable by {holders}")
        if answer == 0 and asked & _NO_WRITES and not before & _NO_WRITES and holders:
            notes.append(f"late: already mapped writable by {holders}")
        self._seals.append(
            {
                "time_ns": event["time_ns"],
                "pid": event["pid"],
                "comm": event["comm"],
                "asked": seal_words.names(asked, self._book.source.bit5),
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
        share = self.scan.share
        return Detail(
            object=self._object(objects),
            seals=list(self._seals),
            matrix={key: tuple(counts) for key, counts in self._matrix.items()},
            holders=self._holders(fds),
            mappers=self._mapped.rows(objects.now_ns),
            decisions=self._decisions(window, objects),
            busy=share,
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
                continue  # it asked by address, or nobody knows through which one
            seen.add(who)
            records.append(record | {"fmode": self._fmode.get(who, 0)})
            ids.append(int(fds.ids[place]))
        for who, row in self._opened.items():
            if who not in seen:
                names = records[0] if records else {}
                blank = dict.fromkeys(names)
                told = {name: row[name] for name in ("pid", "comm", "uid", "fd")}
                told |= {"fmode": self._fmode.get(who, row["fmode"])}
                records.append(blank | told | {"worst": -1, "decisions": 0, "last_ns": None})
                ids.append(-2 - len(ids))
        return of_records("holders", records, ids, fds.now_ns)

    def _decisions(self, window: Window, objects: Rows) -> Rows:
        if not self._numbers:
            return no_rows("decisions")
        numbers = np.concatenate(self._numbers)[-_MOST:]
        self._numbers = [numbers]
        count = len(numbers)
        start = max(0, count - WINDOW)
        if window.first:
            start = 0
        elif window.around is not None:
            middle = int(np.searchsorted(numbers, window.around))
            start = max(0, min(middle - WINDOW // 2, count - WINDOW))
        end = min(count, start + WINDOW)
        columns = self._book.log.take(numbers[start:end])
        if columns is None:
            return no_rows("decisions")
        ids = np.asarray(columns["row"], np.int64)
        return Rows(
            "decisions", columns, ids, np.arange(len(ids)), count, objects.start_ns,
            objects.now_ns, start > 0, end < count, bit5=self._book.source.bit5,
        )  # fmt: skip
