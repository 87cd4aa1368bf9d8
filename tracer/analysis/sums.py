"""What decisions add up to: small tables of numbers (:data:`RULES`) that grow batch by batch.

Which batches there are, and which of them come first, makes no difference; sums of parts are added
up by :func:`merge`::

    merge(words, first, second)  is  the sums of first and second

Words are numbers here (:class:`Words` knows them), and so are objects and groups: a column
``object`` or ``group`` is the place of a row in the table ``objects`` or ``groups``.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tracer.analysis.batches import Batch, Source, Vocabulary
from tracer.analysis.grouping import BEFORE, NEVER, Array, Codes, Columns, Places, Rules, Table
from tracer.labels import MAX_ERRNO, SEALS_UNKNOWN, VM_MAYWRITE, VM_SHARED, VM_WRITE
from tracer.rules.verdicts import Outcome, Verdict
from tracer.rules.verdicts import words as verdict_words
from tracer.words import Flag, Op

if TYPE_CHECKING:
    import pandas as pd

VERDICTS = verdict_words()
RANK_BITS = 40
"""A row's rank is ``source << RANK_BITS | row``: the order of arrival among all sources."""
SWEPT, TOLD = -(1 << 60), -(1 << 61)
"""Added to the ranks of what the sweep and announcements tell: an event of the same time knows
better."""
MOST_CASES = 10_000
"""Cases of one verdict that are kept; decisions of others are only counted."""
MOST_BUSY = 10_000
"""EBUSY that are kept: somebody may try for ever."""
MOST_MAPPINGS = 1 << 20
"""Mappings that have ended are forgotten when there are so many."""
EBUSY = -16
FIRST_STEP_NS = 1_000_000
_GROWTH = 10
MOST_STEPS = 50_000
"""Steps of time; of more, each becomes ten times as wide."""
LATE_NS = 60 * 10**9
"""Events arrive in another order than they happened, but never so late."""

OBJECT = ("boot", "dev", "ino", "gen")
"""What names an object; ``boot`` is the number of its host's boot."""
SHOWN = (
    "tid", "seals", "seals_after", "size", "size_after", "offset", "length", "answer",
    "duration_ns", "flags", "writable",
)  # fmt: skip
"""Columns that equal decisions may differ in: those of the first one are kept."""
_LATEST = {
    "last_op": "op", "last_answer": "answer", "cgroup": "cgroup", "start_ns": "start_ns",
    "exec_id": "exec_id",
}  # fmt: skip
"""What groups keep of their last decision."""
_COUNTED = ("count", "first_ns", "last_ns", "verdict")
_SEALING = ("time_ns", "op", "seals", "seals_after", "arg", "answer", "writable")

RULES: dict[str, Rules] = {
    "objects": Rules(
        OBJECT,
        # When anything was heard of it, the end of the first sweep of /proc that saw it, when it
        # was made, and when it was first mapped shared and able to write.
        least=("first_ns", "swept_ns", "created_ns", "mapped_ns"),
        # Its kind in announcements and in events, whether events name it without a generation.
        # Seals are only ever added (mm/memfd.c:memfd_add_seals), so of the sets seen the largest
        # number is the latest; negative: not known.
        most=("kind_told", "kind_seen", "in_events", "evicted_ns", "sealed"),
        last={
            ("size_ns", "size_rank"): ("size",),  # size_ns: the return of the call that saw it
            ("named_ns", "named_rank"): ("name",),
        },
        first={
            ("announced_ns", "announced_rank"): ("order",),  # by the kernel side
            ("owned_ns", "owned_rank"): ("owner",),
        },
    ),
    # All that one (pid, fd, uid, comm) did with one object: the finest sums.
    "groups": Rules(
        ("object", "pid", "fd", "uid", "comm"),
        total=VERDICTS,
        least=("used_ns", "first_ns"),  # used_ns: when it first had to do with its object
        most=("held",),  # whether it had to do with it before the trace
        last={("last_ns", "last_rank"): tuple(_LATEST)},
    ),
    "hosts": Rules(("boot",), most=("now_ns",)),
    "sources": Rules(("source",), total=VERDICTS),
    "reasons": Rules(("boot", "op", "outcome"), ("count",), ("first_ns",), ("last_ns",)),
    "cases": Rules(
        ("group", "outcome", "op", "error", "arg"),
        total=("count",),
        least=("first_ns",),
        most=("last_ns", "verdict"),
        first={("rank",): SHOWN},
    ),
    "unlisted": Rules(("verdict",), total=("count",)),
    "sealing": Rules(("rank",), most=("group", *_SEALING)),
    # Mappings are known by object, address space and address.
    "maps": Rules(("object", "mm", "address"), last={("when", "rank"): ("live", "arg")}),
    "told": Rules(("boot", "pid", "address")),
    "baseline": Rules(
        ("object", "pid", "address"), most=("over",), last={("when", "rank"): ("arg",)}
    ),
}
"""How rows of each table add up. ``objects`` and ``groups`` come before what refers to them."""


class Words:
    """Numbers for hosts, recordings, comms, names and outcomes; they stay what they are."""

    def __init__(self) -> None:
        self.sources: list[Source] = []
        self.boots: list[str] = []
        self.comms = Vocabulary()
        self.names = Vocabulary()
        self.outcomes: list[Outcome] = []
        self.verdicts = np.empty(0, np.int64)
        """Of each outcome."""
        self._places: dict[Source, tuple[int, int]] = {}
        self._outcome_ids: dict[Outcome, int] = {}
        self._comms: dict[int, tuple[Vocabulary, npt.NDArray[np.int32]]] = {}

    def place(self, source: Source) -> tuple[int, int]:
        """The numbers of a recording and of its host's boot."""
        if source not in self._places:
            if source.boot_id not in self.boots:
                self.boots.append(source.boot_id)
            self._places[source] = len(self.sources), self.boots.index(source.boot_id)
            self.sources.append(source)
        return self._places[source]

    def comms_of(self, batch: Batch) -> npt.NDArray[np.int32]:
        """The comm of each row."""
        words, known = self._comms.get(id(batch.comms), (batch.comms, None))
        if known is None or len(known) < len(words.texts):
            known = self.comms.codes(words.texts)
            self._comms[id(words)] = words, known
        return known[batch["comm"]]

    def outcome_ids(self, outcomes: Sequence[Outcome]) -> npt.NDArray[np.int32]:
        """The number of each outcome."""
        ids = [self._outcome_ids.setdefault(one, len(self._outcome_ids)) for one in outcomes]
        if len(self.outcomes) < len(self._outcome_ids):
            self.outcomes.extend(list(self._outcome_ids)[len(self.outcomes) :])
            self.verdicts = np.array([one.verdict for one in self.outcomes], np.int64)
        return np.array(ids, np.int32)


class Rows:
    """A batch, and the places of its rows in the sums that it is added to."""

    def __init__(self, batch: Batch, source: int, boot: int, objects: Codes, groups: Codes) -> None:
        self.batch, self.source, self.boot = batch, source, boot
        self.objects, self.groups = objects, groups

    def __len__(self) -> int:
        return len(self.batch)

    @cached_property
    def rank(self) -> Codes:
        """Each row's place in the order of arrival among all sources."""
        rank: Codes = self.batch["row"] + (self.source << RANK_BITS)
        return rank

    def some(self, places: Array) -> "Rows":
        batch, objects, groups = self.batch.take(places), self.objects[places], self.groups[places]
        return Rows(batch, self.source, self.boot, objects, groups)


class Sums:
    """The tables of :data:`RULES`, and decisions over time."""

    def __init__(self, words: Words, most_cases: int | None = None) -> None:
        """:param most_cases: of one verdict that are kept (default: :data:`MOST_CASES`)."""
        self.words = words
        self._most_cases = MOST_CASES if most_cases is None else most_cases
        self.tables = {name: Table(rules) for name, rules in RULES.items()}
        self.steps: dict[int, Steps] = {}
        """Of each boot."""
        self._most_mappings = MOST_MAPPINGS

    def __getitem__(self, name: str) -> Table:
        return self.tables[name]

    def frame(self, name: str) -> "pd.DataFrame":
        """A table as it is now."""
        return self.tables[name].frame()

    def copy(self) -> "Sums":
        """Sums that can grow without changing these."""
        other = Sums(self.words, self._most_cases)
        other.tables = {name: table.copy() for name, table in self.tables.items()}
        other.steps = {boot: steps.copy() for boot, steps in self.steps.items()}
        other._most_mappings = self._most_mappings
        return other

    def add(self, other: "Sums") -> None:
        """Adds sums with the same words; these come first, where not everything can be kept."""
        tables = {name: table.columns() for name, table in other.tables.items()}
        self.add_tables(tables, other.steps)

    def add_tables(
        self, tables: Mapping[str, dict[str, Array]], steps: "Mapping[int, Steps]"
    ) -> None:
        """The same of sums as columns, in the order of :data:`RULES`, and their steps of time."""
        places: dict[str, Codes] = {}
        for name, columns in tables.items():
            for to in ("object", "group"):
                if to in columns:
                    columns[to] = places[f"{to}s"][columns[to]]
            if name == "cases":
                self._cases(columns)
            elif name == "sealing":
                self._sealing(columns)
            else:
                places[name] = self.tables[name].add(columns)
        for boot, found in steps.items():
            self.steps.setdefault(boot, Steps()).merge(found)

    # A batch

    def rows(self, batch: Batch) -> Rows:
        """A batch whose objects and groups have places here."""
        source, boot = self.words.place(batch.source)
        objects = self["objects"].places({**batch.columns, "boot": _full(boot, batch)})
        comms = self.words.comms_of(batch)
        groups = self["groups"].places({**batch.columns, "object": objects, "comm": comms})
        return Rows(batch, source, boot, objects, groups)

    def objects_of(self, batch: Batch) -> Codes:
        """The places of a batch's objects; -1: nothing is known of it."""
        _, boot = self.words.place(batch.source)
        return self["objects"].keys.find([_full(boot, batch), *(batch[n] for n in OBJECT[1:])])

    def announced(self, objects: Codes) -> npt.NDArray[np.bool_]:
        """Whether the kernel side announced the objects at these places."""
        announced: npt.NDArray[np.bool_] = self["objects"].at(objects, "announced_ns") != NEVER
        return announced

    def observe(self, rows: Rows, *, timeline: bool = True) -> None:
        """Takes what events tell of objects and mappings, whether they are decisions or not.

        ``timeline``: and how objects were sealed.
        """
        batch, objects, groups = rows.batch, rows.objects, self["groups"]
        self._facts(rows, rows.rank)
        ops, when = batch["op"], batch["time_ns"]
        blank = (batch["gen"] == 0).nonzero()[0]
        self["objects"].put(objects[blank], {"in_events": np.ones(len(blank), np.bool_)})
        begun = (ops == Op.MAP).nonzero()[0]
        begun = begun[writable(batch["arg"][begun])]
        self["objects"].put(objects[begun], {"mapped_ns": when[begun]})
        used = _used(batch)
        groups.put(rows.groups[used], {"used_ns": when[used]})
        self._mappings(rows)
        if timeline:
            self._seals(rows)

    def _facts(self, rows: Rows, rank: Array) -> None:
        """What is known of objects."""
        batch, at, table = rows.batch, rows.objects, self["objects"]
        ops, when, end = batch["op"], batch["time_ns"], batch["time_ns"] + batch["duration_ns"]
        self["hosts"].add({"boot": _boots(rows.boot, 1), "now_ns": np.array([end.max()])})
        table.put(at, {"first_ns": when, "kind_seen": batch["kind"]})
        made = ((ops == Op.CREATE) & (batch["answer"] >= 0)).nonzero()[0]
        table.put(at[made], {"created_ns": when[made]})
        gone = (ops == Op.EVICT).nonzero()[0]
        table.put(at[gone], {"evicted_ns": when[gone]})
        after, size = batch["seals_after"], batch["size_after"]
        missing = (batch["flags"] & np.uint32(Flag.RETURN_MISSING)) != 0
        if missing.any():
            there = (~missing).nonzero()[0]
            at, after, size, end, rank = (one[there] for one in (at, after, size, end, rank))
        sealed = after.astype(np.int64)
        sealed[after == SEALS_UNKNOWN] = -1
        table.put(at, {"sealed": sealed, "size_ns": end, "size_rank": rank, "size": size})

    def _mappings(self, rows: Rows) -> None:
        """Begins and ends of mappings, and of which process and address events tell."""
        ops = rows.batch["op"]
        places = ((ops == Op.MAP) | (ops == Op.UNMAP)).nonzero()[0]
        if not len(places):
            return
        rows = rows.some(places)
        batch, begins = rows.batch, ops[places] == Op.MAP
        columns = {
            **batch.columns,
            "object": rows.objects,
            "boot": _full(rows.boot, batch),
            "address": batch["answer"].view(np.uint64),
            "when": batch["time_ns"],
            "rank": rows.rank,
            "live": begins,
        }
        self["maps"].add(columns)
        # A fork is told by the parent, about an address space that is not its own.
        forked = ((batch["flags"] & np.uint32(Flag.OTHER_MM)) != 0) & begins
        told = RULES["told"].key
        self["told"].places({name: columns[name][~forked] for name in told})
        if len(self["maps"]) > self._most_mappings:
            self._forget_old_mappings()

    def _forget_old_mappings(self) -> None:
        """Forgets mappings that ended long ago."""
        self["baseline"].put(np.arange(len(self["baseline"])), {"over": self.over()})
        maps = self["maps"]
        self.tables["maps"] = maps.some(
            maps["live"] | (maps["when"] > maps["when"].max() - LATE_NS)
        )
        self.tables["told"] = Table(RULES["told"])
        self._most_mappings = max(MOST_MAPPINGS, 2 * len(self["maps"]))

    def over(self) -> npt.NDArray[np.bool_]:
        """Mappings of the baseline that count no more: events told of their process and address."""
        old = self["baseline"]
        boots = self["objects"]["boot"][old["object"]]
        over: npt.NDArray[np.bool_] = old["over"]
        return over | (self["told"].keys.find([boots, old["pid"], old["address"]]) >= 0)

    def _seals(self, rows: Rows) -> None:
        """Of each object its creation and at most one row for each seal that it got, and EBUSY."""
        batch, op = rows.batch, rows.batch["op"]
        requested = ((op == Op.ADD_SEALS) | (op == Op.CREATE)).nonzero()[0]
        answers, created = batch["answer"][requested], op[requested] == Op.CREATE
        changed = (answers == 0) & (batch["seals_after"][requested] != batch["seals"][requested])
        some = requested[np.where(created, answers >= 0, changed | (answers == EBUSY))]
        if len(some):
            columns = {name: batch[name][some] for name in _SEALING}
            self._sealing({**columns, "group": rows.groups[some], "rank": rows.rank[some]})

    def _sealing(self, columns: Columns) -> None:
        """Without the EBUSY behind the first :data:`MOST_BUSY`."""
        busy = is_busy(columns)
        if busy.any():
            room = MOST_BUSY - int(is_busy(self["sealing"].columns()).sum())
            columns = _some(columns, ~busy | (busy.cumsum() <= room))
        self["sealing"].add(columns)

    def count(self, rows: Rows, outcome: Array) -> None:
        """Counts decisions. ``outcome``: of each row, as a number of the words; -1: none."""
        decided = (outcome >= 0).nonzero()[0]
        if not len(decided):
            return
        if len(decided) < len(rows):
            rows, outcome = rows.some(decided), outcome[decided]
        batch, when, outcome = rows.batch, rows.batch["time_ns"], outcome.astype(np.int64)
        verdict = self.words.verdicts[outcome]
        groups = self["groups"]
        latest = {"first_ns": when, "last_ns": when, "last_rank": rows.rank}
        answers = {name: batch[column] for name, column in _LATEST.items()}
        groups.put(rows.groups, {**latest, **answers})
        counts = np.bincount(verdict, minlength=len(VERDICTS))
        for number in np.flatnonzero(counts).tolist():
            groups.put(rows.groups[verdict == number], {VERDICTS[number]: np.ones(1, np.int64)})
        columns = dict(zip(VERDICTS, counts[:, None], strict=True))
        self["sources"].add({"source": np.array([rows.source]), **columns})
        self._reasons(rows.boot, batch["op"], outcome, when)
        self.steps.setdefault(rows.boot, Steps()).add(when, verdict)
        some = (verdict != Verdict.ALLOWED).nonzero()[0]
        if len(some):
            rows, when = rows.some(some), when[some]
            answer = rows.batch["answer"]
            error = np.where((answer < 0) & (answer >= -MAX_ERRNO), -answer, 0)
            self._cases(
                {
                    **rows.batch.columns,
                    "group": rows.groups,
                    "outcome": outcome[some],
                    "error": error.astype(np.uint32),
                    "count": np.ones(len(some), np.int64),
                    "first_ns": when,
                    "last_ns": when,
                    "verdict": verdict[some],
                    "rank": rows.rank,
                }
            )

    def _reasons(self, boot: int, op: Array, outcome: Array, when: Array) -> None:
        # There are few of both: they are counted by their own numbers.
        codes = outcome << 8
        codes |= op
        count = np.bincount(codes)
        first_ns, last_ns = np.full(len(count), when.max()), np.full(len(count), BEFORE)
        np.minimum.at(first_ns, codes, when)
        np.maximum.at(last_ns, codes, when)
        some = np.flatnonzero(count)
        columns = {"op": (some & 0xFF).astype(np.uint8), "outcome": some >> 8}
        columns |= {"count": count[some], "first_ns": first_ns[some], "last_ns": last_ns[some]}
        self["reasons"].add({"boot": _boots(boot, len(some)), **columns})

    def _cases(self, columns: Columns) -> None:
        """Equal decisions as one, of each verdict the first :data:`MOST_CASES`."""
        cases, verdict = self["cases"], columns["verdict"]
        places = cases.keys.find([columns[name] for name in cases.rules.key])
        room = self._most_cases - np.bincount(cases["verdict"], minlength=len(VERDICTS))
        new = ((places < 0) & (room[verdict] > 0)).nonzero()[0]
        if len(new):
            keys, key = Places(), [columns[name][new] for name in cases.rules.key]
            numbers = keys.of(key)
            kinds = np.empty(len(keys), np.int64)
            kinds[numbers] = verdict[new]
            new = new[~_behind(kinds, room)[numbers]]
            places[new] = cases.places(_some(columns, new))
        listed = (places >= 0).nonzero()[0]
        if len(listed) < len(places):
            dropped = places < 0
            counts = {"verdict": verdict[dropped], "count": columns["count"][dropped]}
            self["unlisted"].add(counts)
        at, counts = places[listed], {name: columns[name][listed] for name in _COUNTED}
        cases.put(at, counts)
        first = listed[columns["rank"][listed] < cases.at(at, "rank")]
        cases.put(places[first], {name: columns[name][first] for name in ("rank", *SHOWN)})

    # The sweep of /proc

    def baseline(self, rows: Rows) -> None:
        """Takes what the sweep at the start found: facts, holders and mappings."""
        batch, at, table = rows.batch, rows.objects, self["objects"]
        self._facts(rows, rows.rank + SWEPT)
        table.put(at, {"swept_ns": batch["time_ns"] + batch["duration_ns"]})
        self["groups"].put(rows.groups, {"held": np.ones(len(rows), np.bool_)})
        maps = (batch["op"] == Op.MAP).nonzero()[0]
        written = maps[writable(batch["arg"][maps])]
        table.put(at[written], {"mapped_ns": np.full(len(written), BEFORE)})
        self["baseline"].add(
            {
                "object": at[maps],
                "pid": batch["pid"][maps],
                "address": batch["answer"][maps].view(np.uint64),
                "when": batch["time_ns"][maps],
                "rank": rows.rank[maps],
                "arg": batch["arg"][maps],
            }
        )


def merge(words: Words, *parts: Sums) -> Sums:
    """What several sums add up to; the earlier ones first, where not everything can be kept."""
    found = Sums(words)
    for part in parts:
        found.add(part)
    return found


def _boots(boot: int, count: int) -> npt.NDArray[np.uint32]:
    return np.full(count, boot, np.uint32)


def _full(boot: int, batch: Batch) -> npt.NDArray[np.uint32]:
    return _boots(boot, len(batch))


def _some(columns: Columns, rows: Array) -> dict[str, Array]:
    return {name: column[rows] for name, column in columns.items()}


def _behind(verdict: Array, room: Array) -> npt.NDArray[np.bool_]:
    """Which rows are behind the first ones of their verdict that there is room for."""
    behind = np.zeros(len(verdict), np.bool_)
    for number, places in enumerate(room.tolist()):
        behind[np.flatnonzero(verdict == number)[max(places, 0) :]] = True
    return behind


_IS_END = np.isin(np.arange(256), (Op.UNMAP, Op.EVICT))


def _used(batch: Batch) -> Any:
    """Which rows show that a process had to do with the object."""
    ended = _IS_END[batch["op"]]
    if not ended.any():
        return slice(None)
    # The end of an object, or of an address space, is told by whoever let go of it last.
    other = (batch["flags"] & np.uint32(Flag.OTHER_MM)) != 0
    return ~ended | ((batch["op"] == Op.UNMAP) & ~other)


def writable(vm_flags: Array) -> npt.NDArray[np.bool_]:
    """:func:`tracer.labels.is_writable` of a whole column."""
    may = (vm_flags & np.uint64(VM_WRITE | VM_MAYWRITE)) != 0
    found: npt.NDArray[np.bool_] = may & ((vm_flags & np.uint64(VM_SHARED)) != 0)
    return found


def is_busy(sealing: Columns) -> npt.NDArray[np.bool_]:
    """Which rows are F_ADD_SEALS that failed EBUSY."""
    found: npt.NDArray[np.bool_] = (sealing["answer"] == EBUSY) & (sealing["op"] == Op.ADD_SEALS)
    return found


class Steps:
    """Decisions by verdict in steps of time, whose width depends on the whole time alone."""

    def __init__(self) -> None:
        self._width, self._base = FIRST_STEP_NS, 0
        self._counts = np.zeros((0, len(VERDICTS)), np.int64)
        self._span: tuple[int, int] | None = None

    def copy(self) -> "Steps":
        other = Steps()
        other._width, other._base, other._span = self._width, self._base, self._span
        other._counts = self._counts.copy()
        return other

    def add(self, when: Array, verdict: Array) -> None:
        """Counts rows: their times (ns) and their verdicts."""
        if len(when):
            self._widen(int(when.min()), int(when.max()))
            places = (when // self._width - self._base) * len(VERDICTS) + verdict
            np.add.at(self._counts.reshape(-1), places, 1)

    def merge(self, other: "Steps") -> None:
        """Adds those of another part."""
        if other._span is not None:
            self._widen(*other._span, other._width)
            self._put(other._width, *other.counts()[1:])

    def _widen(self, low: int, high: int, width: int = FIRST_STEP_NS) -> None:
        """Makes room for a span of time."""
        before = self._span or (low, high)
        low, high = self._span = min(low, before[0]), max(high, before[1])
        width = max(width, self._width)
        while high // width - low // width >= MOST_STEPS:
            width *= _GROWTH
        first, count = low // width, high // width - low // width + 1
        is_room = first >= self._base and first + count <= self._base + len(self._counts)
        if width != self._width or not is_room:
            old = self._width, self._base, self._counts
            self._width, self._base = width, first
            # Time goes on: not each batch needs a new array.
            self._counts = np.zeros((count * 3 // 2, len(VERDICTS)), np.int64)
            self._put(*old)

    def _put(self, width: int, first: int, counts: npt.NDArray[np.int64]) -> None:
        some = np.flatnonzero(counts.any(axis=1))
        np.add.at(self._counts, (some + first) * width // self._width - self._base, counts[some])

    def counts(self) -> tuple[int, int, npt.NDArray[np.int64]]:
        """The width of a step in ns, the number of the first one, and (steps, verdicts)."""
        if self._span is None:
            return self._width, 0, self._counts
        low, high = (time // self._width for time in self._span)
        return self._width, low, self._counts[low - self._base : high - self._base + 1]
