"""The tables that judged decisions add up to, of many batches (tracer.analysis.running).

Every table has, for each row, how many decisions got which verdict (``allowed``, ``error``,
``blocked``, ``indeterminate``, ``unexplained``, ``breach``), their number ``decisions``, the
``worst`` verdict, the time of the first and of the last one in ns of the boot clock (``first_ns``,
``last_ns``), and ``host`` and ``boot_id``, which tell several recordings apart. Rows come worst
first. What is not known is NA. Text is escaped text (tracer.escape).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tracer.analysis import mappings, timeline
from tracer.analysis.batches import Source
from tracer.analysis.frames import (
    Frame,
    enum,
    errno_codes,
    outcome_columns,
    shown,
)
from tracer.analysis.grouping import (
    BEFORE,
    NEVER,
    Array,
    Codes,
    Numbered,
    Rules,
    columns_of,
    grouped,
)
from tracer.analysis.objects import (
    OWNER_UNKNOWN,
    all_known,
    numbers_of,
)
from tracer.analysis.running import Running
from tracer.analysis.sums import VERDICTS, Sums, Words
from tracer.filter.mask import Coded, Numbers
from tracer.labels import cause
from tracer.rules.verdicts import Verdict
from tracer.words import Seal

STEPS = 200
"""Steps of time at most, where no width was requested."""
_OF_LAST = ("last_op", "last_answer", "uid", "comm")
_LISTED = [
    "host", "boot_id", "verdict", "count", "first_ns", "last_ns", "pid", "tid", "uid", "comm", "op",
    "kind", "dev", "ino", "gen", "name", "fd", "seals", "seals_after", "size", "size_after",
    "offset", "length", "arg", "answer", "errno", "duration_ns", "flags", "writable", "expected",
    "reason", "rule", "hole", "severity",
]  # fmt: skip


@dataclass(frozen=True)
class _Counted:
    """Sums of decisions, one row for each key of a table."""

    counts: npt.NDArray[np.int64]
    """(rows, verdicts)"""
    columns: Mapping[str, Array]

    @classmethod
    def by(cls, groups: pd.DataFrame, numbers: Numbered) -> "_Counted":
        """``groups``: rows of the table ``groups``; ``numbers``: the rows of the wanted table."""
        rules = Rules(
            (),
            total=VERDICTS,
            least=("first_ns",),
            last={("last_ns", "last_rank"): _OF_LAST},
        )
        found = grouped(groups, rules, numbers)
        columns = columns_of(found)
        counts = np.empty((numbers.count, len(VERDICTS)), np.int64)
        for place, word in enumerate(VERDICTS):
            counts[:, place] = columns[word]
        return cls(counts, columns)

    def some(self, rows: Array) -> "_Counted":
        columns = {name: column[rows] for name, column in self.columns.items()}
        return type(self)(self.counts[rows], columns)

    @property
    def decisions(self) -> Array:
        total: Array = self.counts.sum(axis=1)
        return total

    @property
    def worst(self) -> Array:
        """The worst verdict, -1 where there was none."""
        there = self.counts[:, ::-1] > 0
        return np.where(there.any(axis=1), len(VERDICTS) - 1 - np.argmax(there, axis=1), -1)

    def order(self, *keys: Array) -> Codes:
        """The rows worst first, then those with more of it, then with more of all, then by keys."""
        worst = self.worst
        most = np.take_along_axis(self.counts, worst.clip(0)[:, None], 1)[:, 0]
        return np.lexsort([*reversed(keys), -self.decisions, -most, -worst])

    def frame(self, *, last: bool = True) -> Frame:
        """Decisions by verdict, when, and (``last``) the latest one."""
        first_ns, last_ns = self.columns["first_ns"], self.columns["last_ns"]
        some = last_ns >= first_ns
        valid = None if some.all() else some
        frame: Frame = {
            **dict(zip(VERDICTS, np.ascontiguousarray(self.counts.T), strict=True)),
            "decisions": self.decisions,
            "worst": self.worst.astype(np.int8),
            "first_ns": Numbers(first_ns, valid),
            "last_ns": Numbers(last_ns, valid),
        }
        if last:
            answers = np.where(some, self.columns["last_answer"], 0)
            ops = self.columns["last_op"].astype(np.int64)
            frame["last_op"] = enum("op", np.where(some, ops, -1))
            frame["last_answer"] = Numbers(answers, valid)
            frame["last_errno"] = errno_codes(answers)
        return frame


class Tables:
    """What decisions add up to at one moment; a table is made when it is first needed."""

    def __init__(
        self,
        words: Words,
        total: Sums,
        known: Sums,
        losses: Mapping[Source, pd.DataFrame] | None = None,
        problems: Mapping[Source, Sequence[str]] | None = None,
    ) -> None:
        """``known``: sums of announcements and the baseline; the others are those of events."""
        self.words = words
        self.sources = tuple(words.sources)
        self.boots = tuple(words.boots)
        self.total, self.known = total, known
        self._problems = {source: tuple(found) for source, found in (problems or {}).items()}
        self._losses = dict(losses or {})
        self.objects, self.same_as = all_known(known, total)
        """All that is known of each object, and the row under which each of them is shown."""
        now = np.full(len(self.boots), BEFORE)
        for part in (known, total):
            if "hosts" in part:
                np.maximum.at(now, part["hosts"]["boot"].to_numpy(), part["hosts"]["now_ns"])
        self._now = now

    # Decisions and sums

    @cached_property
    def groups(self) -> pd.DataFrame:
        """The finest sums of decisions, each with the row of its ``object``."""
        groups = self.total.get("groups")
        if groups is None:
            return Running.nothing("groups").assign(object=np.empty(0, np.int64))
        some = np.zeros(len(groups), np.bool_)
        for word in VERDICTS:
            some |= groups[word].to_numpy() > 0
        groups = groups if some.all() else groups[some]
        return groups.assign(object=self.same_as[numbers_of(self.objects, groups)])

    @cached_property
    def _by_source(self) -> npt.NDArray[np.int64]:
        """Decisions of each source by verdict."""
        counts = np.zeros((len(self.sources), len(VERDICTS)), np.int64)
        found = self.total.get("sources")
        if found is not None:
            counts[found["source"].to_numpy()] = found[list(VERDICTS)].to_numpy()
        return counts

    @property
    def verdicts(self) -> dict[str, int]:
        """Decisions by verdict, all six."""
        return dict(zip(VERDICTS, self._by_source.sum(axis=0).tolist(), strict=True))

    @property
    def decisions(self) -> int:
        """How many decisions were counted."""
        return sum(self.verdicts.values())

    @cached_property
    def recordings(self) -> pd.DataFrame:
        """One row a recording: path, host, boot_id, kernel, decisions by verdict."""
        counts = self._by_source
        frame: Frame = {}
        for name, attribute in (
            ("path", "path"), ("host", "host"), ("boot_id", "boot_id"), ("kernel", "release")
        ):  # fmt: skip
            texts = [getattr(source, attribute) for source in self.sources]
            frame[name] = Coded(np.arange(len(texts)), texts)
        frame |= dict(zip(VERDICTS, counts.T, strict=True))
        return shown({**frame, "decisions": counts.sum(axis=1)}, texts=frame)

    # What rows have in common

    def host_columns(self, boots: Array) -> Frame:
        """host and boot_id of each row."""
        names: dict[str, str] = {}
        for source in self.sources:
            names[source.boot_id] = names.get(source.boot_id) or source.host
        texts = [names.get(boot, "") for boot in self.boots]
        distinct = list(dict.fromkeys(texts))
        codes = np.array([distinct.index(text) for text in texts], np.int64)
        boots = boots.astype(np.int64)
        return {
            "host": Coded(codes[boots] if len(boots) else boots, distinct),
            "boot_id": Coded(boots, self.boots),
        }

    def object_columns(self, objects: Array) -> Frame:
        """The object of each row; ``objects``: rows of :attr:`objects`."""
        know = {
            name: self.objects[name].to_numpy()[objects]
            for name in ("kind_told", "kind_seen", "name", "dev", "ino", "gen")
        }
        told, seen = know["kind_told"], know["kind_seen"]
        return {
            "kind": enum("kind", np.where(told > 0, told, seen)),
            "name": Coded(know["name"], self.words.names.texts),
            "dev": know["dev"],
            "ino": know["ino"],
            "gen": know["gen"],
        }

    def who(self, rows: Mapping[str, Array]) -> Frame:
        """comm and uid."""
        return {"comm": Coded(rows["comm"], self.words.comms.texts), "uid": rows["uid"]}

    # The tables

    @cached_property
    def by_object(self) -> pd.DataFrame:
        """One row a memory file, those without decisions too.

        ``kind``, ``name``, ``dev``, ``ino``, ``gen``; as it is now: ``seals``, ``size`` (bytes),
        ``mappings`` that exist and those of them that are shared and ``writable`` (as far as events
        and the baseline tell); ``owner_uid``; how many ``processes`` asked, through how many
        ``fds``; ``last_op``, ``last_answer`` and ``last_errno`` of the latest decision;
        ``created_ns`` (NA: before the trace, or not seen), ``evicted_ns`` (NA: still there);
        ``age_ns``: from when it was first heard of to its end, or to the last that was heard of
        its host. It may be older if ``created_ns`` is NA.
        """
        return shown(self.columns("objects"))

    @cached_property
    def by_fd(self) -> pd.DataFrame:
        """One row for each (process, file descriptor, object) that decisions were asked for.

        ``pid``, ``comm`` and ``uid`` (as they were at the last decision), ``fd`` (-1: not known, as
        in a kernel thread), the object's ``kind``, ``name``, ``dev``, ``ino``, ``gen``. A number
        that was closed and opened for another object has a row for each.
        """
        return shown(self.columns("fds"))

    @cached_property
    def by_process(self) -> pd.DataFrame:
        """One row a process id; ``comm`` and ``uid`` are those of its last decision.

        ``comms`` and ``uids`` say how many it had: threads have names of their own, exec gives a
        new one, and a process id that was used again looks just like that (events do not tell the
        one from the other). ``objects`` and ``fds``: how many it asked about and through.
        """
        return shown(self.columns("processes"))

    def columns(self, table: str) -> Frame:
        """``objects``, ``fds`` or ``processes`` as plain columns: words as codes."""
        return {"objects": self._objects, "fds": self._fds, "processes": self._processes}[table]()

    def _objects(self) -> Frame:
        know = columns_of(self.objects)
        count = len(self.objects)
        # Calls that made no file (ino 0) are about none.
        rows = np.flatnonzero((self.same_as == np.arange(count)) & (know["ino"] != 0))
        found, place = self._of_objects
        found = found.some(place[rows])
        order = found.order(*(know[name][rows] for name in ("boot", "dev", "ino", "gen")))
        rows, found = rows[order], found.some(order)
        know = {name: column[rows] for name, column in know.items()}
        boots = know["boot"].astype(np.int64)
        gone = know["evicted_ns"] != BEFORE
        mapped, writable = self._mappings

        def maybe(values: Array, valid: Array) -> Numbers:
            return Numbers(values, valid)

        end = np.where(gone, know["evicted_ns"], self._now[boots])
        return {
            **self.host_columns(boots),
            **self.object_columns(rows),
            "seals": maybe(know["seals"].astype(np.uint32), know["seals"] >= 0),
            "size": maybe(know["size"], know["size_ns"] != BEFORE),
            "owner_uid": maybe(know["owner"], know["owner"] != OWNER_UNKNOWN),
            "processes": self._distinct("pid")[rows],
            "fds": self._distinct("pid", "fd")[rows],
            "mappings": mapped[rows],
            "writable": writable[rows],
            **found.frame(),
            "created_ns": maybe(know["created_ns"], know["created_ns"] != NEVER),
            "evicted_ns": maybe(know["evicted_ns"], gone),
            "age_ns": end - know["first_ns"],
        }

    @cached_property
    def _of_objects(self) -> tuple[_Counted, Codes]:
        """Sums by object, and the row of each object in them; the last row is for those without."""
        groups = self.groups
        numbers = Numbered([groups["object"].to_numpy()])
        found = _Counted.by(groups, numbers)
        place = np.full(len(self.objects), numbers.count)
        place[groups["object"].to_numpy()[numbers.first]] = np.arange(numbers.count)
        columns = {
            name: np.append(column, np.array([_NONE.get(name, 0)], column.dtype))
            for name, column in found.columns.items()
        }
        counts = np.vstack([found.counts, np.zeros((1, len(VERDICTS)), np.int64)])
        return _Counted(counts, columns), place

    @cached_property
    def _mappings(self) -> tuple[Codes, Codes]:
        return mappings.live(self.total, self.objects, self.same_as)

    def _distinct(self, *names: str) -> Codes:
        """By object: how many different processes, or descriptors with a number, asked for it."""
        groups = self.groups
        if "fd" in names:
            groups = groups[groups["fd"].to_numpy() != -1]
        objects = groups["object"].to_numpy()
        numbers = Numbered([objects, *(groups[name].to_numpy() for name in names)])
        return np.bincount(objects[numbers.first], minlength=len(self.objects))

    def _fds(self) -> Frame:
        groups, know = self.groups, self.objects
        groups = groups[know["ino"].to_numpy()[groups["object"].to_numpy()] != 0]
        key = {name: groups[name].to_numpy() for name in ("object", "pid", "fd")}
        numbers = Numbered([*key.values()])
        objects, pid, fd = (column[numbers.first] for column in key.values())
        found = _Counted.by(groups, numbers)
        boot, dev, ino, gen = (know[n].to_numpy()[objects] for n in ("boot", "dev", "ino", "gen"))
        # By the number without its sign, as keys of two halves had it.
        rows = found.order(boot, pid, fd.view(np.uint32), dev, ino, gen)
        found = found.some(rows)
        return {
            **self.host_columns(boot[rows]),
            "pid": pid[rows],
            **self.who(found.columns),
            "fd": fd[rows],
            **self.object_columns(objects[rows]),
            **found.frame(),
        }

    def _processes(self) -> Frame:
        groups = self.groups
        boots, pids = groups["boot"].to_numpy(), groups["pid"].to_numpy()
        numbers = Numbered([boots, pids])
        boot, pid = boots[numbers.first], pids[numbers.first]
        found = _Counted.by(groups, numbers)
        rows = found.order(boot, pid)
        found = found.some(rows)
        files = self.objects["ino"].to_numpy()[groups["object"].to_numpy()] != 0
        numbered = files & (groups["fd"].to_numpy() != -1)

        def how_many(name: str, among: Array | None = None) -> Codes:
            some = slice(None) if among is None else among.nonzero()[0]
            codes = numbers.codes[some]
            first = Numbered([codes, groups[name].to_numpy()[some]]).first
            return np.bincount(codes[first], minlength=numbers.count)[rows]

        return {
            **self.host_columns(boot[rows]),
            "pid": pid[rows],
            **self.who(found.columns),
            "comms": how_many("comm"),
            "uids": how_many("uid"),
            "objects": how_many("object", files),
            "fds": how_many("fd", numbered),
            **found.frame(),
        }

    @cached_property
    def _reasons(self) -> pd.DataFrame:
        found = self.total.get("reasons")
        found = Running.nothing("reasons") if found is None else found
        return found.assign(verdict=self.words.verdicts[found["outcome"].to_numpy(np.int64)])

    @cached_property
    def by_op(self) -> pd.DataFrame:
        """One row an operation: op x verdict."""
        reasons = self._reasons
        key = [reasons[name].to_numpy() for name in ("boot", "op")]
        numbers = Numbered(key)
        counts = np.zeros((numbers.count, len(VERDICTS)), np.int64)
        np.add.at(counts, (numbers.codes, reasons["verdict"].to_numpy()), reasons["count"])
        columns = {
            "first_ns": numbers.least(reasons["first_ns"].to_numpy()),
            "last_ns": numbers.most(reasons["last_ns"].to_numpy()),
        }
        boot, op = (column[numbers.first] for column in key)
        found = _Counted(counts, columns)
        rows = found.order(boot, op)
        return shown(
            {
                **self.host_columns(boot[rows]),
                "op": enum("op", op[rows]),
                **found.some(rows).frame(last=False),
            }
        )

    @cached_property
    def by_rule(self) -> pd.DataFrame:
        """One row for each (verdict, op, expected, reason, rule, hole), with severity."""
        known = self.words.outcomes
        told = np.array([repr(tuple(outcome)) for outcome in known], object)
        place = np.argsort(np.argsort(told, kind="stable"), kind="stable")
        reasons = columns_of(self._reasons)
        outcome = reasons["outcome"].astype(np.int64)
        rows = np.lexsort(
            [
                place[outcome] if len(outcome) else outcome,
                reasons["op"],
                reasons["boot"],
                -reasons["count"],
                -reasons["verdict"],
            ]
        )
        return shown(
            {
                **self.host_columns(reasons["boot"][rows]),
                "verdict": reasons["verdict"][rows].astype(np.int8),
                "op": enum("op", reasons["op"][rows]),
                **outcome_columns(outcome[rows], known),
                "decisions": reasons["count"][rows],
                "first_ns": reasons["first_ns"][rows],
                "last_ns": reasons["last_ns"][rows],
            }
        )

    @cached_property
    def listed(self) -> pd.DataFrame:
        """Decisions that were not simply allowed; equal ones are one row with ``count``.

        Equal: same process, user, comm, fd, object, op, argument, error and outcome. ``tid``,
        ``seals``, ``size``, ``offset``, ``length``, ``answer`` and the rest are those of the first.
        Where no rule is the ``reason`` of an error, its errno is (tracer.labels.cause).
        At most :data:`tracer.analysis.sums.MOST_CASES` rows a verdict; :attr:`unlisted` has the
        others.
        """
        cases = self.total.get("cases")
        cases = Running.nothing("cases") if cases is None else cases
        found = columns_of(cases)
        order = np.lexsort((found["rank"], -found["count"], -found["verdict"].astype(np.int64)))
        found = {name: column[order] for name, column in found.items()}
        objects = self.same_as[numbers_of(self.objects, cases)[order]]
        frame = shown(
            {
                **found,
                **self.host_columns(found["boot"]),
                **self.object_columns(objects),
                **self.who(found),
                **outcome_columns(found["outcome"].astype(np.int64), self.words.outcomes),
                "verdict": found["verdict"].astype(np.int8),
                "op": enum("op", found["op"]),
                "errno": errno_codes(found["answer"]),
            }
        )
        return frame.assign(reason=_with_causes(frame))[_LISTED]

    @property
    def unlisted(self) -> dict[str, int]:
        """Decisions by verdict that :attr:`listed` has no room for; ``{}``: none."""
        found = self.total.get("unlisted")
        if found is None:
            return {}
        pairs = sorted(zip(found["verdict"].tolist(), found["count"].tolist(), strict=True))
        return {Verdict(verdict).word: count for verdict, count in pairs}

    @property
    def unannounced(self) -> int:
        """Decisions on objects that the kernel side never announced.

        Their owner, folio order and perhaps name are not known, so that verdicts which depend on
        these are ``indeterminate``.
        """
        know = self.objects
        never = (know["announced_ns"].to_numpy() == NEVER) & (know["ino"].to_numpy() != 0)
        groups = self.groups
        # The object that asked, not the one under which it is shown.
        mine = groups[never[numbers_of(know, groups)]]
        return int(mine[list(VERDICTS)].to_numpy().sum())

    @property
    def left_out(self) -> int:
        """Memory files that can never be sealed: only their creation was recorded."""
        boots = [one.boot_id for one in self.sources if one.leaves_out]
        hosts = [place for place, boot in enumerate(self.boots) if boot in boots]
        know = self.objects
        sealed = (know["seals"].to_numpy() == int(Seal.SEAL)) & (know["ino"].to_numpy() != 0)
        alone = self.same_as == np.arange(len(know))
        return int((sealed & alone & np.isin(know["boot"].to_numpy(), hosts)).sum())

    def over_time(self, step_ns: int | None = None) -> pd.DataFrame:
        """Decisions by verdict in steps of ``step_ns``; ``time_ns`` is the start of a step.

        Each host has a clock of its own, so its steps are its own: from the first to the last with
        a decision, those without between them too. ``step_ns`` is rounded up to a multiple of what
        was counted by (1 ms, in a long recording ten, hundred ... times as much). None: the
        smallest 1, 2 or 5 x 10^n that gives at most 200 steps.
        """
        steps = self.total.get("steps")
        pieces = []
        for boot in sorted(set(steps["boot"].tolist())) if steps is not None else ():
            assert steps is not None
            mine = steps[steps["boot"] == boot]
            width = int(mine["step_ns"].iloc[0])
            times = mine["time_ns"].to_numpy()
            step = step_ns or _width(int(times.min()), int(times.max()), width)
            width *= max(1, -(-step // width))
            first, last = int(times.min()) // width, int(times.max()) // width
            counts = np.zeros((last - first + 1, len(VERDICTS)), np.int64)
            np.add.at(counts, times // width - first, mine[list(VERDICTS)].to_numpy())
            every = (first + np.arange(len(counts))) * width
            frame = {
                **self.host_columns(np.full(len(every), boot)),
                "time_ns": every,
                "step_ns": np.full(len(every), width),
                **dict(zip(VERDICTS, counts.T, strict=True)),
                "decisions": counts.sum(axis=1),
            }
            pieces.append(shown(frame))
        if not pieces:
            names = ["host", "boot_id", "time_ns", "step_ns", *VERDICTS, "decisions"]
            return pd.DataFrame({name: [] for name in names})
        return pd.concat(pieces, ignore_index=True)

    # Seals in time

    @cached_property
    def seals(self) -> pd.DataFrame:
        """One row for each creation and each change of an object's seals; by object, then by time.

        host, boot_id, kind, name, dev, ino, gen, ``time_ns``, pid, comm, ``op`` (``create`` or
        ``add_seals``), ``seals`` before, ``added``, ``seals_after``.
        """
        return timeline.seals(self)

    @cached_property
    def late_seals(self) -> pd.DataFrame:
        """Seals against writing that came when others could have written already.

        One row for each F_ADD_SEALS that added WRITE or FUTURE_WRITE to an object which was mapped
        shared and writable at that moment, or had been used by another process: what is in it may
        be theirs. (That its maker had mapped and filled it is how sealing is meant.) host, boot_id,
        kind, name, dev, ino, gen, ``time_ns``, pid, comm; ``seal``: its names; ``writable``:
        mappings that could write at that moment, as the kernel counted (under FUTURE_WRITE they
        still can); ``mapped``: whether one was seen at any time before; ``others``: processes that
        had used it before; ``why``: all that in words.
        """
        return timeline.late_seals(self)

    @cached_property
    def busy(self) -> pd.DataFrame:
        """F_ADD_SEALS that failed EBUSY, at most tracer.analysis.sums.MOST_BUSY.

        host, boot_id, kind, name, dev, ino, gen, ``time_ns``, pid, comm, ``added`` (the seals asked
        for), ``writable`` (shared writable mappings, as the kernel counted at entry; 0: pages were
        pinned). tracer.analysis.timeline.holders adds who held them.
        """
        return timeline.busy(self)

    # What is missing

    @property
    def problems(self) -> list[str]:
        """What could not be read, in sentences; with several recordings, each behind its path."""
        several = len(self.sources) > 1
        return [
            f"{source.path}: {sentence}" if several else sentence
            for source, found in self._problems.items()
            for sentence in found
        ]

    @cached_property
    def losses(self) -> pd.DataFrame:
        """What was lost: path, host, boot_id, cause, hook, ``count`` events."""
        columns = ["path", "host", "boot_id", "cause", "hook", "count"]
        pieces = []
        for source, frame in self._losses.items():
            piece = frame.groupby(["cause", "hook"], observed=True, as_index=False)["count"].sum()
            piece = piece[piece["count"] > 0]
            where = {"path": source.path, "host": source.host, "boot_id": source.boot_id}
            pieces.append(piece.astype({"cause": "str", "hook": "str"}).assign(**where))
        if not pieces:
            return pd.DataFrame(columns=columns)
        rows: pd.DataFrame = pd.concat(pieces, ignore_index=True)
        return rows.reindex(columns=columns)


_NONE = {"first_ns": NEVER, "last_ns": BEFORE}


def _width(low: int, high: int, unit: int) -> int:
    """The smallest 1, 2 or 5 x ``unit`` x 10^n ns that needs at most STEPS steps."""
    power = unit
    while True:
        for digit in (1, 2, 5):
            step = digit * power
            if high // step - low // step < STEPS:
                return step
        power *= 10


def _with_causes(frame: pd.DataFrame) -> Any:
    """The reasons; where no rule is the reason of an error, what its errno means."""
    texts = [
        cause(op, answer) if verdict == Verdict.ERROR.word and not reason else reason
        for verdict, reason, op, answer in zip(
            *(frame[name] for name in ("verdict", "reason", "op", "answer")), strict=True
        )
    ]
    known = {text: code for code, text in enumerate(dict.fromkeys(texts))}
    codes = np.array([known[text] for text in texts], np.int64)
    return shown({"reason": Coded(codes, list(known))})["reason"].array
