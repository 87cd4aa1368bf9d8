"""What decisions add up to: small tables of numbers.

:func:`sums_of` makes the tables of one batch, :func:`tracer.analysis.running.merge` adds those of
two. Which batches there are, and which of them are added first, makes no difference::

    merge(sums_of(first), sums_of(second))  is  sums_of(first and second)

Words are numbers here (:class:`Words` knows them), so that a table is cheap to add and to look at.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tracer.analysis.batches import Batch, Source, Vocabulary
from tracer.analysis.grouping import (
    BEFORE,
    NEVER,
    Array,
    Codes,
    Numbered,
    Rules,
    arrays,
    columns_of,
    found_in,
    grouped,
    stacked,
)
from tracer.labels import MAX_ERRNO, SEALS_UNKNOWN, VM_MAYWRITE, VM_SHARED, VM_WRITE
from tracer.rules.verdicts import Outcome, Verdict
from tracer.rules.verdicts import words as verdict_words
from tracer.words import Flag, Op

VERDICTS = verdict_words()
RANK_BITS = 40
"""A row's rank is ``source << RANK_BITS | row``: the order of arrival among all sources."""
MOST_CASES = 10_000
"""Cases of one verdict that are kept; decisions of others are only counted."""
MOST_BUSY = 10_000
"""EBUSY that are kept: somebody may try for ever."""
EBUSY = -16
FIRST_STEP_NS = 1_000_000
_GROWTH = 10
MOST_STEPS = 50_000
"""Steps of time; of more, each becomes ten times as wide."""
LATE_NS = 60 * 10**9
"""Events arrive in another order than they happened, but never so late."""


OBJECT = ("boot", "dev", "ino", "gen")
"""What names an object; ``boot`` is the number of its host's boot."""
GROUP = (*OBJECT, "pid", "fd", "uid", "comm")
"""All that one (pid, fd, uid, comm) did with one object: the finest sums."""
SHOWN = (
    "tid", "seals", "seals_after", "size", "size_after", "offset", "length", "answer",
    "duration_ns", "flags", "writable",
)  # fmt: skip
"""Columns that equal decisions may differ in: those of the first one are kept."""
_SEALING = ("time_ns", "op", "seals", "seals_after", "arg", "answer", "writable")
KEY_TYPES: dict[str, type[np.generic]] = {
    "boot": np.uint32, "dev": np.uint32, "ino": np.uint64, "gen": np.uint32, "pid": np.uint32,
    "fd": np.int32, "uid": np.uint32, "comm": np.int32,
}  # fmt: skip

RULES: dict[str, Rules] = {
    "groups": Rules(
        GROUP,
        total=VERDICTS,
        least=("used_ns", "first_ns"),  # used_ns: when it first had to do with its object
        most=("held",),  # whether it had to do with it before the trace
        last={("last_ns", "last_rank"): ("last_op", "last_answer")},
    ),
    "objects": Rules(
        OBJECT,
        least=("first_ns", "swept_ns", "created_ns", "mapped_ns"),
        most=("kind_told", "kind_seen", "in_events", "evicted_ns", "seals"),
        last={
            ("size_ns", "size_rank"): ("size",),
            ("named_ns", "named_rank"): ("name",),
        },
        first={
            ("announced_ns", "announced_rank"): ("order",),
            ("owned_ns", "owned_rank"): ("owner",),
        },
    ),
    "hosts": Rules(("boot",), most=("now_ns",)),
    "sources": Rules(("source",), total=VERDICTS),
    "reasons": Rules(("boot", "op", "outcome"), ("count",), ("first_ns",), ("last_ns",)),
    "steps": Rules(("boot", "time_ns"), total=VERDICTS, most=("step_ns",)),
    "cases": Rules(
        (*GROUP, "outcome", "op", "error", "arg"),
        total=("count",),
        least=("first_ns",),
        most=("last_ns", "verdict"),
        first={("rank", "rank"): SHOWN},
    ),
    "unlisted": Rules(("verdict",), total=("count",)),
    "sealing": Rules(("rank",), most=(*GROUP, *_SEALING)),
    # Mappings are known by object, address space and address.
    "maps": Rules((*OBJECT, "mm", "address"), last={("when", "rank"): ("live", "arg")}),
    "told": Rules(("boot", "pid", "address")),
    "baseline": Rules(
        (*OBJECT, "pid", "address"), most=("over",), last={("when", "rank"): ("arg",)}
    ),
}
"""How rows of each table add up. Tables without rows are left out of :data:`Sums`."""

OBJECT_KINDS: dict[str, tuple[npt.DTypeLike, int]] = {
    "announced_ns": (np.int64, NEVER),  # by the kernel side, first
    "announced_rank": (np.int64, 0),
    "order": (np.uint8, 255),  # folio_order_max; 255: never announced
    "owner": (np.uint32, 0xFFFFFFFF),  # not known
    "owned_ns": (np.int64, NEVER),
    "owned_rank": (np.int64, 0),
    "in_events": (np.bool_, 0),  # where the generation is 0
    "kind_told": (np.uint8, 0),  # by announcements
    "kind_seen": (np.uint8, 0),  # in events
    "name": (np.int32, -1),
    "named_ns": (np.int64, BEFORE),
    "named_rank": (np.int64, -1),
    "first_ns": (np.int64, NEVER),  # of anything about it
    "swept_ns": (np.int64, NEVER),  # the end of the first sweep of /proc that saw it
    "created_ns": (np.int64, NEVER),
    "evicted_ns": (np.int64, BEFORE),
    "mapped_ns": (np.int64, NEVER),  # shared and able to write, first
    "seals": (np.int64, -1),  # -1: not known
    "size": (np.uint64, 0),
    "size_ns": (np.int64, BEFORE),  # the return of the call that saw this size
    "size_rank": (np.int64, -1),
}
"""What is known of an object: type and the value for "not known"."""
_OF_EVENTS = ("kind_seen", "in_events", "first_ns", "created_ns", "evicted_ns", "mapped_ns",
              "seals", "size_ns", "size_rank", "size")  # fmt: skip

COLUMN_TYPES: dict[str, npt.DTypeLike] = {
    **KEY_TYPES, "op": np.uint8, "last_op": np.uint8, "error": np.uint32, "arg": np.uint64,
    "tid": np.uint32, "seals": np.uint32, "seals_after": np.uint32, "size": np.uint64,
    "size_after": np.uint64, "length": np.uint64, "flags": np.uint32, "writable": np.int32,
    "held": np.bool_,
}  # fmt: skip
"""Of columns that are not int64."""

Sums = Mapping[str, pd.DataFrame]
"""The tables of :data:`RULES` by name."""


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
    """A batch with the numbers that its rows are grouped by."""

    def __init__(self, words: Words, batch: Batch) -> None:
        self.words, self.batch = words, batch
        self.source, self.boot = words.place(batch.source)
        self.objects = Numbered([batch["dev"], batch["ino"], batch["gen"]])

    def __len__(self) -> int:
        return len(self.batch)

    @cached_property
    def rank(self) -> Codes:
        """Each row's place in the order of arrival among all sources."""
        rank: Codes = self.batch["row"] + (self.source << RANK_BITS)
        return rank

    def keys(self, names: Sequence[str], rows: Array) -> dict[str, Array]:
        """The columns ``names`` of :data:`GROUP` of some rows."""
        found: dict[str, Array] = {}
        for name in names:
            if name == "boot":
                found[name] = np.full(len(rows), self.boot, np.uint32)
            elif name == "comm":
                found[name] = self.comms[rows]
            else:
                found[name] = self.batch[name][rows].astype(KEY_TYPES[name], copy=False)
        return found

    def groups(self) -> Numbered:
        batch = self.batch
        return Numbered([self.objects.codes, batch["pid"], batch["fd"], batch["uid"], self.comms])

    @cached_property
    def comms(self) -> npt.NDArray[np.int32]:
        return self.words.comms_of(self.batch)

    def some(self, which: npt.NDArray[np.bool_]) -> "Rows":
        return self if which.all() else Rows(self.words, self.batch.take(which.nonzero()[0]))


def sums_of(
    rows: Rows,
    outcome: Array,
    *,
    seen: bool = False,
    timeline: bool = True,
    listed: "Listed | None" = None,
) -> dict[str, pd.DataFrame]:
    """The sums of one batch.

    ``outcome``: of each row, as a number of ``rows.words``; -1: it does not count. ``seen``: what
    the events tell of their objects was taken already. ``timeline``: with how objects were sealed.
    ``listed``: that of the sums to which these will be added.
    """
    if not len(rows):
        return {}
    groups = rows.groups()
    made = {"groups": _groups(rows, groups, outcome, seen=seen)}
    if not seen:
        made |= observed(rows, rows.rank, timeline=timeline)
    decided = (outcome >= 0).nonzero()[0]
    if len(decided):
        made |= _decisions(rows, decided, outcome, groups, listed)
    return {name: frame for name, frame in made.items() if len(frame)}


_IS_END = np.isin(np.arange(256), (Op.UNMAP, Op.EVICT))


def _used(batch: Batch) -> npt.NDArray[np.bool_] | None:
    """Which rows show that a process had to do with the object; None: all."""
    ended = _IS_END[batch["op"]]
    if not ended.any():
        return None
    # The end of an object, or of an address space, is told by whoever let go of it last.
    other = (batch["flags"] & np.uint32(Flag.OTHER_MM)) != 0
    used: npt.NDArray[np.bool_] = ~ended | ((batch["op"] == Op.UNMAP) & ~other)
    return used


def _groups(rows: Rows, groups: Numbered, outcome: Array, *, seen: bool) -> pd.DataFrame:
    batch, when, count = rows.batch, rows.batch["time_ns"], groups.count
    found: dict[str, Any] = rows.keys(GROUP, groups.first)
    used_ns = np.full(count, NEVER)
    if not seen:
        used = _used(batch)
        if used is None:
            used_ns = groups.least(when)
        else:
            np.minimum.at(used_ns, groups.codes[used], when[used])
    codes: Codes = groups.codes
    decided: Any = slice(None)
    if (outcome < 0).any():
        decided = (outcome >= 0).nonzero()[0]
        codes = codes[decided]
    when, verdict = when[decided], rows.words.verdicts[outcome[decided]]
    counts = np.bincount(codes * len(VERDICTS) + verdict, minlength=count * len(VERDICTS))
    counts = np.ascontiguousarray(counts.reshape(count, -1).T)
    first_ns = np.full(count, NEVER)
    np.minimum.at(first_ns, codes, when)
    found |= dict(zip(VERDICTS, counts, strict=True))
    last_ns, last_rank = np.full(count, BEFORE), np.full(count, -1)
    last_op, last_answer = np.zeros(count, np.uint8), np.zeros(count, np.int64)
    if len(codes):
        numbers, rank = groups if len(codes) == len(rows) else Numbered([codes]), rows.rank[decided]
        last = numbers.last(when, rank)
        at = codes[last]
        last_ns[at], last_rank[at] = when[last], rank[last]
        last_op[at] = batch["op"][decided][last]
        last_answer[at] = batch["answer"][decided][last]
    return pd.DataFrame(
        {
            **found,
            "used_ns": used_ns,
            "first_ns": first_ns,
            "held": np.zeros(count, np.bool_),
            "last_ns": last_ns,
            "last_rank": last_rank,
            "last_op": last_op,
            "last_answer": last_answer,
        },
        copy=False,
    )


def _decisions(
    rows: Rows, decided: Array, outcome: Array, groups: Numbered, listed: "Listed | None"
) -> dict[str, pd.DataFrame]:
    """Reasons, steps, cases and counts by source: of decisions alone."""
    outcome, when = outcome[decided].astype(np.int64), rows.batch["time_ns"][decided]
    verdict = rows.words.verdicts[outcome]
    op = rows.batch["op"][decided]
    counts = np.bincount(verdict, minlength=len(VERDICTS))
    source = {"source": [rows.source], **dict(zip(VERDICTS, counts[:, None], strict=True))}
    return {
        "sources": pd.DataFrame(source),
        "reasons": _reasons(rows.boot, op, outcome, when),
        "steps": steps_of(when, verdict, rows.boot),
        **_cases(rows, decided, outcome, verdict, groups, listed),
    }


def _reasons(boot: int, op: Array, outcome: Array, when: Array) -> pd.DataFrame:
    # There are few of both: their own numbers will do.
    codes = outcome << 8
    codes |= op
    count = np.bincount(codes)
    first_ns, last_ns = np.full(len(count), NEVER), np.full(len(count), BEFORE)
    np.minimum.at(first_ns, codes, when)
    np.maximum.at(last_ns, codes, when)
    some = np.flatnonzero(count)
    return pd.DataFrame(
        {
            "boot": np.full(len(some), boot, np.uint32),
            "op": (some & 0xFF).astype(np.uint8),
            "outcome": some >> 8,
            "count": count[some],
            "first_ns": first_ns[some],
            "last_ns": last_ns[some],
        }
    )


def steps_of(when: Array, verdict: Array, boot: int = 0) -> pd.DataFrame:
    """Decisions by verdict in steps of time; their width depends on the whole time alone."""
    if not len(when):
        return pd.DataFrame()
    steps = when // FIRST_STEP_NS
    low, kinds = int(steps.min()), len(VERDICTS)
    if int(steps.max()) - low < 1 << 20:
        steps -= low
        counts = np.bincount(
            steps * kinds + verdict, minlength=(int(steps.max()) + 1) * kinds
        ).reshape(-1, kinds)
        used = np.flatnonzero(counts.any(axis=1))
        counts, times = counts[used], (used + low) * FIRST_STEP_NS
    else:
        numbers = Numbered([steps])
        counts = np.bincount(numbers.codes * kinds + verdict, minlength=numbers.count * kinds)
        counts, times = counts.reshape(-1, kinds), steps[numbers.first] * FIRST_STEP_NS
    found = pd.DataFrame(
        {
            "boot": np.full(len(times), boot, np.uint32),
            "time_ns": times,
            "step_ns": np.full(len(times), FIRST_STEP_NS),
            **dict(zip(VERDICTS, counts.T, strict=True)),
        }
    )
    return fitting(found)


def fitting(steps: pd.DataFrame) -> pd.DataFrame:
    """Steps as wide as it takes, on each host, to be fewer than :data:`MOST_STEPS`."""
    parts = []
    for boot in np.unique(steps["boot"].to_numpy()).tolist():
        mine = steps[steps["boot"].to_numpy() == boot] if len(steps) else steps
        times = mine["time_ns"].to_numpy()
        low, high = int(times.min()), int(times.max())
        step = int(mine["step_ns"].to_numpy().max())
        while high // step - low // step >= MOST_STEPS:
            step *= _GROWTH
        if (mine["step_ns"].to_numpy() != step).any():
            mine = mine.assign(time_ns=times // step * step, step_ns=step)
            mine = grouped(mine, RULES["steps"])
        parts.append(mine)
    return stacked(parts)


def _error(answers: Array) -> Array:
    """The error number of each answer, 0 where it is none."""
    return np.where((answers < 0) & (answers >= -MAX_ERRNO), -answers, 0).astype(np.uint32)


def _cases(
    rows: Rows,
    decided: Array,
    outcome: Array,
    verdict: Array,
    groups: Numbered,
    listed: "Listed | None",
) -> dict[str, pd.DataFrame]:
    """Decisions that were not allowed, equal ones as one, with the first of them as it was."""
    which = (verdict != Verdict.ALLOWED).nonzero()[0]
    batch, made = rows.batch, {}
    if listed is not None and len(which):
        some = {n: batch[n][decided[which]] for n in ("ino", "gen", "pid", "op", "arg")}
        may_be = listed.may_be(some, verdict[which])
        dropped = np.bincount(verdict[which[~may_be]])
        others = np.flatnonzero(dropped)
        made["unlisted"] = pd.DataFrame({"verdict": others, "count": dropped[others]})
        which = which[may_be]
    places, outcome, verdict = decided[which], outcome[which], verdict[which]
    if not len(places):
        return made
    op, arg, error = batch["op"][places], batch["arg"][places], _error(batch["answer"][places])
    numbers = Numbered([groups.codes[places], outcome, op, error, arg])
    first, when = numbers.first, batch["time_ns"][places]
    at = places[first]
    made["cases"] = pd.DataFrame(
        {
            **rows.keys(GROUP, at),
            "outcome": outcome[first],
            "op": op[first],
            "error": error[first],
            "arg": arg[first],
            "count": np.bincount(numbers.codes, minlength=len(first)),
            "first_ns": numbers.least(when),
            "last_ns": numbers.most(when),
            "verdict": verdict[first],
            "rank": rows.rank[at],
            **{name: batch[name][at] for name in SHOWN},
        },
        copy=False,
    )
    return made


# What events tell of their objects, decisions or not


def observed(rows: Rows, rank: Array, *, timeline: bool = False) -> dict[str, pd.DataFrame]:
    """Facts about objects, mappings that begin and end, and how objects were sealed."""
    now_ns = int((rows.batch["time_ns"] + rows.batch["duration_ns"]).max())
    made = {
        "hosts": pd.DataFrame({"boot": np.array([rows.boot], np.uint32), "now_ns": [now_ns]}),
        "objects": _objects(rows, rank),
        **_mappings(rows, rank),
    }
    if timeline:
        made["sealing"] = _sealing(rows, rank)
    return made


def _objects(rows: Rows, rank: Array) -> pd.DataFrame:
    batch, objects, when = rows.batch, rows.objects, rows.batch["time_ns"]
    codes, ops, count = objects.codes, batch["op"], objects.count
    found: dict[str, Any] = rows.keys(OBJECT, objects.first)
    for name in _OF_EVENTS:
        kind, unknown = OBJECT_KINDS[name]
        found[name] = np.full(count, unknown, kind)
    found["first_ns"] = objects.least(when)
    kinds = batch["kind"]
    if (kinds == kinds[0]).all():
        found["kind_seen"][:] = kinds[0]
    else:
        np.maximum.at(found["kind_seen"], codes, kinds)
    found["in_events"] = (found["gen"] == 0) & (rank[0] >= 0)
    made = (ops == Op.CREATE).nonzero()[0]
    made = made[batch["answer"][made] >= 0]
    np.minimum.at(found["created_ns"], codes[made], when[made])
    gone = (ops == Op.EVICT).nonzero()[0]
    np.maximum.at(found["evicted_ns"], codes[gone], when[gone])
    begun = (ops == Op.MAP).nonzero()[0] if rank[0] >= 0 else np.empty(0, np.int64)
    begun = begun[writable(batch["arg"][begun])]
    np.minimum.at(found["mapped_ns"], codes[begun], when[begun])
    # Seals are only ever added (mm/memfd.c:memfd_add_seals), so of the sets seen the largest
    # number is the latest.
    missing = (batch["flags"] & np.uint32(Flag.RETURN_MISSING)) != 0
    end, after, size = when + batch["duration_ns"], batch["seals_after"], batch["size_after"]
    if missing.any():
        there = (~missing).nonzero()[0]
        codes, rank, end, after, size = (one[there] for one in (codes, rank, end, after, size))
        objects = Numbered([codes])
    seals = after.astype(np.int64)
    seals[after == SEALS_UNKNOWN] = -1
    np.maximum.at(found["seals"], codes, seals)
    if len(codes):
        last = objects.last(end, rank)
        at = codes[last]
        found["size_ns"][at], found["size_rank"][at] = end[last], rank[last]
        found["size"][at] = size[last]
    return pd.DataFrame(found, copy=False)


def writable(vm_flags: Array) -> npt.NDArray[np.bool_]:
    """:func:`tracer.labels.is_writable` of a whole column."""
    may = (vm_flags & np.uint64(VM_WRITE | VM_MAYWRITE)) != 0
    found: npt.NDArray[np.bool_] = may & ((vm_flags & np.uint64(VM_SHARED)) != 0)
    return found


def _mappings(rows: Rows, rank: Array) -> dict[str, pd.DataFrame]:
    """Begins and ends of mappings, and of which process and address events tell."""
    ops = rows.batch["op"]
    if rank[0] < 0:
        return {}
    places = ((ops == Op.MAP) | (ops == Op.UNMAP)).nonzero()[0]
    if not len(places):
        return {}
    batch = rows.batch
    address = batch["answer"][places].view(np.uint64)
    begins = ops[places] == Op.MAP
    maps = pd.DataFrame(
        {
            **rows.keys(OBJECT, places),
            "mm": batch["mm"][places],
            "address": address,
            "when": batch["time_ns"][places],
            "rank": rank[places],
            "live": begins,
            "arg": batch["arg"][places],
        }
    )
    # A fork is told by the parent, about an address space that is not its own.
    forked = ((batch["flags"][places] & np.uint32(Flag.OTHER_MM)) != 0) & begins
    own = (~forked).nonzero()[0]
    told = pd.DataFrame({**rows.keys(("boot", "pid"), places[own]), "address": address[own]})
    return {"maps": grouped(maps, RULES["maps"]), "told": grouped(told, RULES["told"])}


def over(total: Sums) -> Array:
    """Which mappings of the baseline count no more: events told of their process and address."""
    old = total["baseline"]
    known: Array = old["over"].to_numpy()
    if not len(total.get("told", ())):
        return known
    key = RULES["told"].key
    since: Array = found_in(arrays(total["told"], key), arrays(old, key)) >= 0
    return known | since


def without_old(total: Sums) -> dict[str, pd.DataFrame]:
    """Tables of mappings without those that ended long ago."""
    maps = total["maps"]
    when = maps["when"].to_numpy()
    stay = maps["live"].to_numpy() | (when > when.max() - LATE_NS)
    found = {"maps": maps[stay], "told": total["told"].head(0)}
    if "baseline" in total:
        found["baseline"] = total["baseline"].assign(over=over(total))
    return found


def _sealing(rows: Rows, rank: Array) -> pd.DataFrame:
    """Of each object its creation and at most one row for each seal that it got, and EBUSY."""
    batch = rows.batch
    op = batch["op"]
    asked = ((op == Op.ADD_SEALS) | (op == Op.CREATE)).nonzero()[0]
    answers, created = batch["answer"][asked], op[asked] == Op.CREATE
    changed = (answers == 0) & (batch["seals_after"][asked] != batch["seals"][asked])
    kept = np.where(created, answers >= 0, changed | (answers == EBUSY))
    some = asked[kept]
    found = {**rows.keys(GROUP, some), "rank": rank[some]}
    return few_busy(pd.DataFrame(found | {name: batch[name][some] for name in _SEALING}))


def few_busy(sealing: pd.DataFrame) -> pd.DataFrame:
    """Without the EBUSY behind the first :data:`MOST_BUSY`."""
    busy = is_busy(sealing)
    return sealing if busy.sum() <= MOST_BUSY else sealing[~busy | (busy.cumsum() <= MOST_BUSY)]


def is_busy(sealing: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """Which rows are F_ADD_SEALS that failed EBUSY."""
    found = (sealing["answer"] == EBUSY) & (sealing["op"] == int(Op.ADD_SEALS))
    return np.asarray(found.to_numpy(), np.bool_)


def no_objects() -> pd.DataFrame:
    """The table ``objects`` without rows."""
    return full(pd.DataFrame({name: np.empty(0, KEY_TYPES[name]) for name in OBJECT}))


def full(objects: pd.DataFrame) -> pd.DataFrame:
    """With all columns: what nobody told is not known."""
    rows = len(objects)
    missing = {
        name: np.full(rows, unknown, kind)
        for name, (kind, unknown) in OBJECT_KINDS.items()
        if name not in objects
    }
    found = {name: objects[name].to_numpy() for name in objects} | missing
    return pd.DataFrame({name: found[name] for name in (*OBJECT, *OBJECT_KINDS)}, copy=False)


def baseline_sums(rows: Rows) -> tuple[dict[str, pd.DataFrame], dict[str, pd.DataFrame]]:
    """What the sweep of /proc at the start found: facts and holders, and mappings."""
    batch, objects = rows.batch, rows.objects
    none = np.full(len(rows), -1)
    found = observed(rows, none)
    swept_ns = objects.least(batch["time_ns"] + batch["duration_ns"])
    maps = (batch["op"] == Op.MAP).nonzero()[0]
    written = objects.codes[maps[writable(batch["arg"][maps])]]
    mapped_ns = np.full(objects.count, NEVER)
    mapped_ns[written] = BEFORE
    found["objects"] = full(found["objects"].assign(swept_ns=swept_ns, mapped_ns=mapped_ns))
    groups = _groups(rows, rows.groups(), none, seen=True)
    found["groups"] = groups.assign(held=True)
    mapped = pd.DataFrame(
        {
            **rows.keys((*OBJECT, "pid"), maps),
            "address": batch["answer"][maps].view(np.uint64),
            "over": np.zeros(len(maps), np.bool_),  # events have told of this process and address
            "when": batch["time_ns"][maps],
            "rank": batch["row"][maps],
            "arg": batch["arg"][maps],
        }
    )
    return found, {"baseline": grouped(mapped, RULES["baseline"])}


def few_cases(cases: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The first :data:`MOST_CASES` of each verdict, and how many decisions the others are."""
    verdict = cases["verdict"].to_numpy()
    if np.bincount(verdict, minlength=1).max() <= MOST_CASES:
        return cases, pd.DataFrame()
    behind = np.zeros(len(cases), np.bool_)
    for one in np.flatnonzero(np.bincount(verdict) > MOST_CASES).tolist():
        behind[np.flatnonzero(verdict == one)[MOST_CASES:]] = True
    dropped = cases.loc[behind, ["verdict", "count"]]
    return cases[~behind].reset_index(drop=True), grouped(dropped, RULES["unlisted"])


class Listed:
    """A quick look at which rows may be of a case that is listed: most are not, and only counted.

    What it lets through is looked at closely all the same.
    """

    def __init__(self, cases: pd.DataFrame) -> None:
        verdict = cases["verdict"].to_numpy()
        self.full = np.bincount(verdict, minlength=len(VERDICTS)) >= MOST_CASES
        """By verdict."""
        self._marks = np.zeros(1 << _MARK_BITS, np.bool_)
        self._marks[_marks(columns_of(cases))] = True

    def may_be(self, columns: Mapping[str, Array], verdict: Array) -> npt.NDArray[np.bool_]:
        found: npt.NDArray[np.bool_] = ~self.full[verdict] | self._marks[_marks(columns)]
        return found


_MARK_BITS = 20


def _marks(columns: Mapping[str, Array]) -> npt.NDArray[np.int64]:
    mixed = columns["ino"].astype(np.uint64) ^ columns["arg"].astype(np.uint64)
    for name in ("pid", "gen", "op"):
        mixed *= np.uint64(0x9E3779B97F4A7C15)
        mixed ^= columns[name].astype(np.uint64)
    mixed *= np.uint64(0x9E3779B97F4A7C15)
    return (mixed >> np.uint64(64 - _MARK_BITS)).view(np.int64)
