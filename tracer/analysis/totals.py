"""The tables that judged decisions add up to, of many batches (tracer.analysis.sums).

Every table has, for each row, how many decisions got which verdict (``allowed``, ``error``,
``blocked``, ``indeterminate``, ``unexplained``, ``breach``), their number ``decisions``, the
``worst`` verdict, the time of the first and of the last one in ns of the boot clock (``first_ns``,
``last_ns``), and ``host`` and ``boot_id``, which tell several recordings apart. Rows come worst
first. What is not known is NA. Text is escaped text (tracer.escape).
"""

from collections.abc import Mapping, Sequence
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
    OWNER_UNKNOWN,
    Array,
    Codes,
    Columns,
    Rules,
    Table,
    distinct,
    grouped,
)
from tracer.analysis.objects import all_known
from tracer.analysis.sums import OBJECT, VERDICTS, Sums
from tracer.filter.mask import ACTOR, PLACES, TASKS, Coded, Numbers, told
from tracer.labels import cause
from tracer.recording.pieces import Together
from tracer.recording.places import Places
from tracer.recording.tasks import Tasks
from tracer.rules.verdicts import Verdict
from tracer.words import Seal

STEPS = 200
"""Steps of time at most, where no width was requested."""
_NAMING = ("boot", "kind_told", "kind_seen", "name", "dev", "ino", "gen")
_LISTED = [
    "host", "boot_id", "verdict", "count", "first_ns", "last_ns", "pid", "tid", "uid", "comm",
    *PLACES, *TASKS, "op",
    "kind", "dev", "ino", "gen", "name", "fd", "seals", "seals_after", "size", "size_after",
    "offset", "length", "arg", "answer", "errno", "duration_ns", "flags", "writable", "expected",
    "reason", "rule", "hole", "severity",
]  # fmt: skip


def _counting(key: tuple[str, ...]) -> Rules:
    """How groups of a coarser table add up."""
    return Rules(
        key,
        total=VERDICTS,
        least=("first_ns",),
        last={
            ("last_ns", "last_rank"): (
                "last_op",
                "last_answer",
                "uid",
                "comm",
                "cgroup",
                "start_ns",
                "exec_id",
            )
        },
    )


def _some(columns: Columns, rows: Array) -> dict[str, Array]:
    if rows.dtype == np.bool_ and rows.all():
        return dict(columns)
    return {name: column[rows] for name, column in columns.items()}


class _Counted:
    """Sums of decisions, one row for each key of a table."""

    def __init__(self, columns: Columns) -> None:
        self.columns = columns
        self.counts = np.stack([columns[word] for word in VERDICTS], axis=1)
        """(rows, verdicts)"""

    @classmethod
    def by(cls, key: tuple[str, ...], groups: Columns) -> "_Counted":
        """Groups with the same key as one."""
        return cls(grouped(groups, _counting(key)))

    def some(self, rows: Array) -> "_Counted":
        return _Counted(_some(self.columns, rows))

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
        sums: Sums,
        losses: Mapping[Source, pd.DataFrame] | None = None,
        problems: Mapping[Source, Sequence[str]] | None = None,
    ) -> None:
        """``sums``: as they are now; they do not change any more."""
        self.sums, self.words = sums, sums.words
        self.sources = tuple(self.words.sources)
        self.boots = tuple(self.words.boots)
        self._problems = {source: tuple(found) for source, found in (problems or {}).items()}
        self._losses = dict(losses or {})
        self.objects, self.same_as = all_known(sums)
        """All that is known of each object, and the row under which each of them is shown."""

    # Decisions and sums

    @cached_property
    def groups(self) -> dict[str, Array]:
        """The finest sums of decisions; ``asked`` is the object that was asked for."""
        groups = self.sums["groups"].columns()
        some = np.zeros(len(groups["object"]), np.bool_)
        for word in VERDICTS:
            some |= groups[word] > 0
        groups = _some(groups, some)
        return {**groups, "asked": groups["object"], "object": self.same_as[groups["object"]]}

    @cached_property
    def _by_source(self) -> npt.NDArray[np.int64]:
        """Decisions of each source by verdict."""
        counts, found = np.zeros((len(self.sources), len(VERDICTS)), np.int64), self.sums["sources"]
        counts[found["source"]] = np.stack([found[word] for word in VERDICTS], axis=1)
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

    def file_columns(self, objects: Array) -> Frame:
        """The host and the object of each row; ``objects``: rows of :attr:`objects`."""
        know = _some({name: self.objects[name] for name in _NAMING}, objects)
        told, seen = know["kind_told"], know["kind_seen"]
        return {
            **self.host_columns(know["boot"]),
            "kind": enum("kind", np.where(told > 0, told, seen)),
            "name": Coded(know["name"], self.words.names.texts),
            "dev": know["dev"],
            "ino": know["ino"],
            "gen": know["gen"],
        }

    def comms(self, codes: Array) -> Coded:
        return Coded(codes, self.words.comms.texts)

    def who(self, boots: Array, rows: Mapping[str, Array]) -> dict[str, Coded | Array]:
        """What the cgroup and the actor of each row tell (``PLACES``, ``TASKS``); of several
        recordings of a boot, what the first tells that knows it."""
        # Of nobody, who is in no recording: the columns alone.
        none = {name: rows[name][:0] for name in ("cgroup", *ACTOR)}
        found = told(none["cgroup"], [none[name] for name in ACTOR], Places(), Tasks())
        for name, column in found.items():
            empty = np.zeros(len(boots), getattr(column, "dtype", None))
            found[name] = Coded(np.full(len(boots), -1), []) if isinstance(column, Coded) else empty
        for number, boot in enumerate(self.boots):
            sources = [one for one in self.sources if one.boot_id == boot]
            places = Together(Places, [one.places for one in sources])
            tasks = Together(Tasks, [one.tasks for one in sources])
            mine = boots == number
            who = [rows[name][mine] for name in ACTOR]
            for name, column in told(rows["cgroup"][mine], who, places, tasks).items():
                before = found[name]
                if not isinstance(column, Coded) or not isinstance(before, Coded):
                    np.asarray(before)[mine] = column
                    continue
                codes = np.array(before.codes)
                codes[mine] = np.asarray(column.codes) + len(before.words)
                found[name] = Coded(codes, [*before.words, *column.words])
        return found

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

        ``pid``, ``comm``, ``uid`` and what its cgroup tells (tracer.filter.mask.PLACES), as they
        were at the last decision, ``fd`` (-1: not known, as
        in a kernel thread), the object's ``kind``, ``name``, ``dev``, ``ino``, ``gen``. A number
        that was closed and opened for another object has a row for each.
        """
        return shown(self.columns("fds"))

    @cached_property
    def by_process(self) -> pd.DataFrame:
        """One row a process id; ``comm``, ``uid`` and places (``PLACES``) are of its last decision.

        ``comms`` and ``uids`` say how many it had: threads have names of their own, exec gives a
        new one, and a process id that was used again looks just like that (events do not tell the
        one from the other). ``objects`` and ``fds``: how many it asked about and through.
        """
        return shown(self.columns("processes"))

    def columns(self, table: str) -> Frame:
        """``objects``, ``fds`` or ``processes`` as plain columns: words as codes."""
        return {"objects": self._objects, "fds": self._fds, "processes": self._processes}[table]()

    def _objects(self) -> Frame:
        know = self.objects
        # Calls that made no file (ino 0) are about none.
        rows = np.flatnonzero((self.same_as == np.arange(len(self.same_as))) & (know["ino"] != 0))
        counted = Table(_counting(("object",)))
        counted.add(self.groups)
        place = np.full(len(self.same_as), -1)
        place[counted["object"]] = np.arange(len(counted))
        names = counted.rules.nothing()
        found = _Counted({name: counted.at(place[rows], name) for name in names})
        order = found.order(*(know[name][rows] for name in OBJECT))
        rows, found = rows[order], found.some(order)
        know = _some(know, rows)
        gone = know["evicted_ns"] != BEFORE
        hosts = self.sums["hosts"]
        now = np.full(len(self.boots), BEFORE)
        now[hosts["boot"]] = hosts["now_ns"]
        mapped, writable = mappings.live(self.sums, self.objects["evicted_ns"], self.same_as)
        return {
            **self.file_columns(rows),
            "seals": Numbers(know["sealed"].astype(np.uint32), know["sealed"] >= 0),
            "size": Numbers(know["size"], know["size_ns"] != BEFORE),
            "owner_uid": Numbers(know["owner"], know["owner"] != OWNER_UNKNOWN),
            "processes": self._distinct("pid")[rows],
            "fds": self._distinct("pid", "fd")[rows],
            "mappings": mapped[rows],
            "writable": writable[rows],
            **found.frame(),
            "created_ns": Numbers(know["created_ns"], know["created_ns"] != NEVER),
            "evicted_ns": Numbers(know["evicted_ns"], gone),
            "age_ns": np.where(gone, know["evicted_ns"], now[know["boot"]]) - know["first_ns"],
        }

    def _distinct(self, *names: str) -> Codes:
        """By object: how many different processes, or descriptors with a number, asked for it."""
        groups = self.groups
        if "fd" in names:
            groups = _some(groups, groups["fd"] != -1)
        objects, *_ = distinct(groups["object"], *(groups[name] for name in names))
        return np.bincount(objects, minlength=len(self.same_as))

    def _fds(self) -> Frame:
        know = self.objects
        groups = _some(self.groups, know["ino"][self.groups["object"]] != 0)
        found = _Counted.by(("object", "pid", "fd"), groups)
        boot, dev, ino, gen = (know[name][found.columns["object"]] for name in OBJECT)
        # By the number without its sign, as keys of two halves had it.
        pid, fd = found.columns["pid"], found.columns["fd"].view(np.uint32)
        found = found.some(found.order(boot, pid, fd, dev, ino, gen))
        columns, files = found.columns, self.file_columns(found.columns["object"])
        return {
            "host": files.pop("host"),
            "boot_id": files.pop("boot_id"),
            "pid": columns["pid"],
            "comm": self.comms(columns["comm"]),
            "uid": columns["uid"],
            **self.who(know["boot"][columns["object"]], columns),
            "fd": columns["fd"],
            **files,
            **found.frame(),
        }

    def _processes(self) -> Frame:
        files = self.objects["ino"][self.groups["object"]] != 0
        groups = {**self.groups, "boot": self.objects["boot"][self.groups["object"]]}
        counted = Table(_counting(("boot", "pid")))
        processes = counted.add(groups)
        found = _Counted(counted.columns())
        rows = found.order(found.columns["boot"], found.columns["pid"])
        found = found.some(rows)

        def how_many(name: str, among: Any = slice(None)) -> Codes:
            processes_of, *_ = distinct(processes[among], groups[name][among])
            return np.bincount(processes_of, minlength=len(rows))[rows]

        return {
            **self.host_columns(found.columns["boot"]),
            "pid": found.columns["pid"],
            "comm": self.comms(found.columns["comm"]),
            "uid": found.columns["uid"],
            **self.who(found.columns["boot"], found.columns),
            "comms": how_many("comm"),
            "uids": how_many("uid"),
            "objects": how_many("object", files),
            "fds": how_many("fd", files & (groups["fd"] != -1)),
            **found.frame(),
        }

    @cached_property
    def _reasons(self) -> dict[str, Array]:
        found = self.sums["reasons"].columns()
        return {**found, "verdict": self.words.verdicts[found["outcome"]]}

    @cached_property
    def by_op(self) -> pd.DataFrame:
        """One row an operation: op x verdict."""
        reasons = self._reasons
        rules = Rules(("boot", "op"), VERDICTS, ("first_ns",), ("last_ns",))
        counts = {
            word: np.where(reasons["verdict"] == verdict, reasons["count"], 0)
            for verdict, word in enumerate(VERDICTS)
        }
        found = _Counted(grouped({**reasons, **counts}, rules))
        found = found.some(found.order(found.columns["boot"], found.columns["op"]))
        return shown(
            {
                **self.host_columns(found.columns["boot"]),
                "op": enum("op", found.columns["op"]),
                **found.frame(last=False),
            }
        )

    @cached_property
    def by_rule(self) -> pd.DataFrame:
        """One row for each (verdict, op, expected, reason, rule, hole), with severity."""
        known = self.words.outcomes
        told = np.array([repr(tuple(outcome)) for outcome in known], object)
        place = np.argsort(np.argsort(told, kind="stable"), kind="stable")
        reasons, outcome = self._reasons, self._reasons["outcome"]
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
        found = self.sums["cases"].columns()
        groups = _some(self.sums["groups"].columns(), found["group"])
        found |= {name: groups[name] for name in ("object", "fd", "uid", "comm", "cgroup", *ACTOR)}
        found = _some(found, np.lexsort((found["rank"], -found["count"], -found["verdict"])))
        frame = shown(
            {
                **found,
                **self.file_columns(self.same_as[found["object"]]),
                "comm": self.comms(found["comm"]),
                **self.who(self.objects["boot"][found["object"]], found),
                **outcome_columns(found["outcome"], self.words.outcomes),
                "verdict": found["verdict"].astype(np.int8),
                "op": enum("op", found["op"]),
                "errno": errno_codes(found["answer"]),
            }
        )
        return frame.assign(reason=_with_causes(frame))[_LISTED]

    @property
    def unlisted(self) -> dict[str, int]:
        """Decisions by verdict that :attr:`listed` has no room for; ``{}``: none."""
        found = self.sums["unlisted"]
        pairs = sorted(zip(found["verdict"].tolist(), found["count"].tolist(), strict=True))
        return {Verdict(verdict).word: count for verdict, count in pairs}

    @property
    def unannounced(self) -> int:
        """Decisions on objects that the kernel side never announced.

        Their owner, folio order and perhaps name are not known, so that verdicts which depend on
        these are ``indeterminate``.
        """
        know, groups = self.objects, self.groups
        never = (know["announced_ns"] == NEVER) & (know["ino"] != 0)
        # The object that was asked for, not the one under which it is shown.
        mine = never[groups["asked"]]
        return int(sum(groups[word][mine].sum() for word in VERDICTS))

    @property
    def left_out(self) -> int:
        """Memory files that can never be sealed: only their creation was recorded."""
        boots = [one.boot_id for one in self.sources if one.leaves_out]
        hosts = [place for place, boot in enumerate(self.boots) if boot in boots]
        know = self.objects
        sealed = (know["sealed"] == int(Seal.SEAL)) & (know["ino"] != 0)
        alone = self.same_as == np.arange(len(self.same_as))
        return int((sealed & alone & np.isin(know["boot"], hosts)).sum())

    def over_time(self, step_ns: int | None = None) -> pd.DataFrame:
        """Decisions by verdict in steps of ``step_ns``; ``time_ns`` is the start of a step.

        Each host has a clock of its own, so its steps are its own: from the first to the last with
        a decision, those without between them too. ``step_ns`` is rounded up to a multiple of what
        was counted by (1 ms, in a long recording ten, hundred ... times as much). None: the
        smallest 1, 2 or 5 x 10^n that gives at most 200 steps.
        """
        pieces = []
        for boot in sorted(self.sums.steps):
            width, first, counted = self.sums.steps[boot].counts()
            last = first + len(counted) - 1
            step = step_ns or _width(first * width, last * width, width)
            times, factor = first + np.arange(len(counted)), max(1, -(-step // width))
            first, last, width = first // factor, last // factor, width * factor
            counts = np.zeros((last - first + 1, len(VERDICTS)), np.int64)
            np.add.at(counts, times // factor - first, counted)
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
